// What an event means for its payment, and how that is written.

/** What an event says of its payment; null when it is of no concern to any. */
function statement(event) {
  const object = event.data.object;
  switch (event.type) {
    case 'payment_intent.created':
      return ofIntent(object, 'pending');
    case 'payment_intent.requires_action':
      return ofIntent(object, 'requires_action');
    case 'payment_intent.processing':
      return ofIntent(object, 'processing');
    case 'payment_intent.amount_capturable_updated':
      return ofIntent(object, 'authorized');
    case 'payment_intent.payment_failed':
      return { ...ofIntent(object, 'failed'), failure: object.last_payment_error };
    case 'payment_intent.succeeded':
      return { ...ofIntent(object, 'paid'), captured: object.amount_received, at: event.created };
    case 'payment_intent.canceled':
      return ofIntent(object, 'canceled');
    case 'charge.pending':
      return ofCharge(object, 'processing');
    case 'charge.failed':
      return { ...ofCharge(object, 'failed'), failure: { code: object.failure_code, message: object.failure_message } };
    case 'charge.succeeded':
    case 'charge.captured':
      // An authorisation succeeds too; the money comes with its capture.
      return object.captured
        ? { ...ofCharge(object, 'paid'), captured: object.amount_captured, at: event.created }
        : ofCharge(object, 'authorized');
    case 'charge.refunded':
      return {
        ...ofCharge(object, 'paid'),
        captured: object.amount_captured,
        at: object.created,
        // Stripe counts what a partial capture released as refunded.
        refunded: object.amount_refunded - (object.amount - object.amount_captured),
      };
    case 'checkout.session.completed':
    case 'checkout.session.async_payment_succeeded':
      return object.payment_status === 'paid'
        ? { ...ofSession(object, 'paid'), captured: object.amount_total, at: event.created }
        : null;
    case 'refund.created':
    case 'refund.updated':
    case 'refund.failed':
    case 'charge.refund.updated':
      return { ...ofPart(object), refund: object };
    case 'charge.dispute.created':
    case 'charge.dispute.updated':
    case 'charge.dispute.funds_withdrawn':
    case 'charge.dispute.funds_reinstated':
    case 'charge.dispute.closed':
      return { ...ofPart(object), dispute: object };
    default:
      return null;
  }
}

const ofIntent = (intent, status) => ({
  intent: intent.id,
  order: intent.metadata.order_id ?? null,
  amount: intent.amount,
  currency: intent.currency,
  status,
});
const ofCharge = (charge, status) => ({
  intent: charge.payment_intent,
  order: charge.metadata.order_id ?? null,
  amount: charge.amount,
  currency: charge.currency,
  status,
});
const ofSession = (session, status) => ({
  intent: session.payment_intent,
  order: session.metadata.order_id ?? session.client_reference_id,
  amount: session.amount_total,
  currency: session.currency,
  status,
});
/** A refund or a dispute: it names no order, and its status is its own. */
const ofPart = (part) => ({
  intent: part.payment_intent,
  order: null,
  amount: part.amount,
  currency: part.currency,
});

/** Where a payment stands when this is said of it. What came is not taken back by what comes late. */
function nextStatus({ payment_status: status, amount_captured: captured, amount_refunded: refunded }, said) {
  if (captured > 0) {
    if (refunded >= captured) return 'refunded';
    return refunded > 0 ? 'partially_refunded' : 'paid';
  }
  if (status === 'canceled' || said === 'canceled') return 'canceled';
  if (status === 'authorized' || said === undefined || said === 'pending') return status;
  return said;
}

function disputeStatus(before, said) {
  if (before === 'won' || before === 'lost') return before;
  return said === 'won' || said === 'lost' ? said : 'open';
}

/** Writes what an event means, in the transaction of `client`. */
export async function apply(client, event) {
  const said = statement(event);
  if (said === null) return;
  const { before, isNew } = await lockPayment(client, said);
  const after = { ...before };

  if (before.order_id === null && said.order !== null) {
    await insertOrder(client, said);
    after.order_id = said.order;
  }
  if (said.captured !== undefined) {
    after.amount_captured = Math.max(before.amount_captured, said.captured);
    after.captured_at = before.captured_at ?? new Date(said.at * 1000);
  }
  if (said.failure) {
    after.failure_code = said.failure.code;
    after.failure_message = said.failure.message;
  }
  if (said.refunded !== undefined) {
    after.amount_refunded = said.refunded;
  }
  if (said.refund !== undefined) {
    after.amount_refunded = await upsertRefund(client, before.id, said.refund);
  }
  if (said.dispute !== undefined) {
    await upsertDispute(client, before.id, said.dispute);
    after.dispute_status = disputeStatus(before.dispute_status, said.dispute.status);
  }
  after.payment_status = nextStatus(after, said.status);

  if (Object.keys(after).some((name) => after[name] !== before[name])) {
    await client.query({
      ...UPDATE_PAYMENT,
      values: [
        before.id,
        after.order_id,
        after.payment_status,
        after.dispute_status,
        after.amount_captured,
        after.amount_refunded,
        after.captured_at,
        after.failure_code,
        after.failure_message,
      ],
    });
  }
  const isMoved = after.payment_status !== before.payment_status || after.order_id !== before.order_id;
  if (after.order_id !== null && (isNew || isMoved)) {
    if (isMoved) {
      await client.query({ ...UPDATE_ORDER, values: [after.order_id, after.payment_status] });
    }
    const from = isNew ? null : before.payment_status;
    await client.query({
      ...INSERT_HISTORY,
      values: [after.order_id, before.id, from, after.payment_status, event.id],
    });
  }
}

/** The payment's row, made if it is not there, locked until the transaction ends. */
async function lockPayment(client, said) {
  const lock = { ...LOCK_PAYMENT, values: [said.intent] };
  const found = await client.query(lock);
  if (found.rowCount === 1) return { before: found.rows[0], isNew: false };
  if (said.order !== null) {
    await insertOrder(client, said);
  }
  const values = [said.intent, said.order, said.amount, said.currency];
  const made = await client.query({ ...INSERT_PAYMENT, values });
  if (made.rowCount === 1) return { before: made.rows[0], isNew: true };
  // Another event of it came at the same moment and made it.
  return { before: (await client.query(lock)).rows[0], isNew: false };
}

function insertOrder(client, { order, amount, currency }) {
  return client.query({ ...INSERT_ORDER, values: [order, amount, currency] });
}

/** Returns how much of the payment is refunded now. */
async function upsertRefund(client, paymentId, refund) {
  await client.query({
    ...UPSERT_REFUND,
    values: [
      refund.id,
      paymentId,
      refund.status,
      refund.amount,
      refund.currency,
      refund.reason,
      refund.failure_reason ?? null,
    ],
  });
  const sum = await client.query({ ...SUM_REFUNDS, values: [paymentId] });
  return sum.rows[0].refunded;
}

async function upsertDispute(client, paymentId, dispute) {
  const dueBy = dispute.evidence_details?.due_by;
  await client.query({
    ...UPSERT_DISPUTE,
    values: [
      dispute.id,
      paymentId,
      dispute.status,
      dispute.amount,
      dispute.currency,
      dispute.reason,
      dueBy ? new Date(dueBy * 1000) : null,
    ],
  });
}

// A name makes pg prepare a statement, once on each connection.
const PAYMENT_COLUMNS = `id, order_id, payment_status, dispute_status, amount_captured, amount_refunded,
  captured_at, failure_code, failure_message`;
const LOCK_PAYMENT = {
  name: 'lock-payment',
  text: `SELECT ${PAYMENT_COLUMNS} FROM payments WHERE gateway_transaction_id = $1 FOR UPDATE`,
};
const INSERT_ORDER = {
  name: 'insert-order',
  text: `INSERT INTO orders (id, payment_status, amount, currency) VALUES ($1, 'pending', $2, $3)
         ON CONFLICT (id) DO NOTHING`,
};
const INSERT_PAYMENT = {
  name: 'insert-payment',
  text: `INSERT INTO payments (gateway_transaction_id, order_id, payment_status, amount, currency)
         VALUES ($1, $2, 'pending', $3, $4)
         ON CONFLICT (gateway_transaction_id) DO NOTHING
         RETURNING ${PAYMENT_COLUMNS}`,
};
const UPDATE_PAYMENT = {
  name: 'update-payment',
  text: `UPDATE payments
         SET order_id = $2, payment_status = $3, dispute_status = $4, amount_captured = $5, amount_refunded = $6,
             captured_at = $7, failure_code = $8, failure_message = $9, updated_at = now()
         WHERE id = $1`,
};
const UPDATE_ORDER = {
  name: 'update-order',
  text: 'UPDATE orders SET payment_status = $2, updated_at = now() WHERE id = $1',
};
const INSERT_HISTORY = {
  name: 'insert-history',
  text: `INSERT INTO order_status_history (order_id, payment_id, from_status, to_status, event_id)
         VALUES ($1, $2, $3, $4, $5)`,
};
const UPSERT_REFUND = {
  name: 'upsert-refund',
  text: `INSERT INTO refunds (gateway_refund_id, payment_id, status, amount, currency, reason, failure_reason)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (gateway_refund_id) DO UPDATE
         SET status = EXCLUDED.status, failure_reason = EXCLUDED.failure_reason, updated_at = now()
         WHERE refunds.status NOT IN ('failed', 'canceled')`,
};
const SUM_REFUNDS = {
  name: 'sum-refunds',
  text: `SELECT coalesce(sum(amount), 0)::bigint AS refunded FROM refunds
         WHERE payment_id = $1 AND status = 'succeeded'`,
};
const UPSERT_DISPUTE = {
  name: 'upsert-dispute',
  text: `INSERT INTO disputes (gateway_dispute_id, payment_id, status, amount, currency, reason, due_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (gateway_dispute_id) DO UPDATE
         SET status = EXCLUDED.status, due_by = EXCLUDED.due_by, updated_at = now()
         WHERE disputes.status NOT IN ('won', 'lost')`,
};
