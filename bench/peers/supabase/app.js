// POST /api/webhooks/stripe, handed to the engine: it checks the signature over the raw
// body and writes the event's object into its table. The gateway gets its 200 after that.
import { StripeSync } from '@supabase/stripe-sync-engine';
import express from 'express';

const sync = new StripeSync({
  poolConfig: {
    connectionString: process.env.DATABASE_URL,
    max: Number(process.env.POOL_MAX ?? 10),
  },
  schema: 'stripe',
  stripeSecretKey: process.env.STRIPE_SECRET_KEY ?? 'sk_test_unused',
  stripeWebhookSecret: process.env.STRIPE_WEBHOOK_SECRET,
  // Nothing is fetched from the gateway: what is measured is what happens here.
  autoExpandLists: false,
  backfillRelatedEntities: false,
});

export const app = express();
app.disable('x-powered-by');
app.disable('etag');

app.post('/api/webhooks/stripe', express.raw({ type: '*/*', limit: '1mb' }), async (request, response) => {
  try {
    await sync.processWebhook(request.body, request.headers['stripe-signature']);
    response.json({ received: true });
  } catch (error) {
    console.error('Webhook failed:', error.message);
    response.status(400).json({ error: 'webhook failed' });
  }
});

app.get('/api/webhooks/health', async (_request, response) => {
  await sync.postgresClient.query('SELECT 1');
  response.json({ status: 'ok' });
});
