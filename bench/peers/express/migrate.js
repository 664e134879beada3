// Lays the tables into the empty database at DATABASE_URL.
import { readFile } from 'node:fs/promises';
import pg from 'pg';

const schema = await readFile(new URL('schema.sql', import.meta.url), 'utf8');
const client = new pg.Client({ connectionString: process.env.DATABASE_URL });
await client.connect();
await client.query(schema);
await client.end();
