// Lays the engine's tables into the empty database at DATABASE_URL.
import { createRequire } from 'node:module';
import pg from 'pg';

// Its ES module looks for the SQL beside a `__dirname` that there is none of.
const { runMigrations } = createRequire(import.meta.url)('@supabase/stripe-sync-engine');

// Its SQL hands a function to the role that a Supabase database has. Roles are the whole
// server's: it may be there.
const client = new pg.Client({ connectionString: process.env.DATABASE_URL });
await client.connect();
await client.query('CREATE ROLE postgres').catch((error) => {
  if (error.code !== '42710') throw error;
});
await client.end();

// It logs an error instead of throwing it.
const logger = {
  info() {},
  error(error, message) {
    console.error(message, error);
    process.exitCode = 1;
  },
};
await runMigrations({ databaseUrl: process.env.DATABASE_URL, schema: 'stripe', logger });
