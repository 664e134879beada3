// POST /api/webhooks/stripe: checks the signature over the raw body, and in one
// transaction stores the event and does what it asks for. The gateway gets its 200
// once that is committed.
import express from 'express';
import pg from 'pg';
import Stripe from 'stripe';
import { apply } from './payments.js';

const secret = process.env.STRIPE_WEBHOOK_SECRET;
// Verifying webhooks takes no API key, but the client is not made without one.
const stripe = new Stripe(process.env.STRIPE_SECRET_KEY ?? 'sk_test_unused');
const pool = new pg.Pool({
  connectionString: process.env.DATABASE_URL,
  max: Number(process.env.POOL_MAX ?? 10),
});

// Money fits a double: a bigint need not come as text.
pg.types.setTypeParser(pg.types.builtins.INT8, Number);

// A name makes pg prepare a statement, once on each connection.
const INSERT_EVENT = {
  name: 'insert-event',
  // An event that failed before is stored but not processed: it is taken again.
  text: `INSERT INTO webhook_events (event_id, event_type, payload, processed, processed_at)
         VALUES ($1, $2, $3, true, now())
         ON CONFLICT (event_id) DO UPDATE SET processed = true, processed_at = now(), error_message = NULL
         WHERE NOT webhook_events.processed
         RETURNING id`,
};
const INSERT_FAILED_EVENT = {
  name: 'insert-failed-event',
  text: `INSERT INTO webhook_events (event_id, event_type, payload, error_message)
         VALUES ($1, $2, $3, $4)
         ON CONFLICT (event_id) DO UPDATE SET error_message = EXCLUDED.error_message
         WHERE NOT webhook_events.processed`,
};

/** Returns whether the event is new. */
async function take(event, body) {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    const stored = await client.query({ ...INSERT_EVENT, values: [event.id, event.type, body] });
    if (stored.rowCount === 1) {
      await apply(client, event);
    }
    await client.query('COMMIT');
    client.release();
    return stored.rowCount === 1;
  } catch (error) {
    // A connection that cannot even roll back is thrown away.
    await client.query('ROLLBACK').then(() => client.release(), (broken) => client.release(broken));
    throw error;
  }
}

export const app = express();
app.disable('x-powered-by');
app.disable('etag');

app.post('/api/webhooks/stripe', express.raw({ type: '*/*', limit: '1mb' }), async (request, response) => {
  let event;
  try {
    event = stripe.webhooks.constructEvent(request.body, request.headers['stripe-signature'], secret);
  } catch {
    response.status(400).json({ status: 'error', error: 'signature verification failed' });
    return;
  }
  const body = request.body.toString('utf8');
  try {
    const isNew = await take(event, body);
    response.json({ received: true, status: isNew ? 'success' : 'duplicate', event_id: event.id });
  } catch (error) {
    console.error(`event ${event.id} (${event.type}) failed:`, error);
    await pool
      .query({ ...INSERT_FAILED_EVENT, values: [event.id, event.type, body, error.message] })
      .catch((again) => console.error(`event ${event.id} could not be kept either:`, again));
    response.status(500).json({ status: 'error', error: 'processing failed' });
  }
});

app.get('/api/webhooks/health', async (_request, response) => {
  await pool.query('SELECT 1');
  response.json({ status: 'ok' });
});
