//! How what an event means is written.

use anyhow::Context;
use sqlx::{FromRow, PgConnection};
use time::OffsetDateTime;

use crate::event::{Dispute, Event, Refund, Statement};

#[derive(Clone, PartialEq, FromRow)]
struct Payment {
    id: i64,
    order_id: Option<String>,
    payment_status: String,
    dispute_status: String,
    amount_captured: i64,
    amount_refunded: i64,
    captured_at: Option<OffsetDateTime>,
    failure_code: Option<String>,
    failure_message: Option<String>,
}

impl Payment {
    /// Where it stands when this is said of it. What came is not taken back by what
    /// comes late.
    fn next_status(&self, said: Option<&'static str>) -> String {
        let next = match (self.amount_captured, said) {
            (1.., _) if self.amount_refunded >= self.amount_captured => "refunded",
            (1.., _) if self.amount_refunded > 0 => "partially_refunded",
            (1.., _) => "paid",
            (_, Some("canceled")) => "canceled",
            (_, None | Some("pending")) => &self.payment_status,
            _ if matches!(&*self.payment_status, "canceled" | "authorized") => &self.payment_status,
            (_, Some(said)) => said,
        };
        next.to_owned()
    }
}

/// Writes what an event means.
pub async fn apply(db: &mut PgConnection, event: &Event<'_>) -> anyhow::Result<()> {
    let Some(said) = event.statement() else { return Ok(()) };
    let (before, is_new) = lock_payment(db, &said).await?;
    let mut after = before.clone();

    if let (None, Some(order)) = (&before.order_id, said.order) {
        insert_order(db, order, &said).await?;
        after.order_id = Some(order.to_owned());
    }
    if let Some(captured) = &said.captured {
        after.amount_captured = before.amount_captured.max(captured.amount);
        after.captured_at = Some(match before.captured_at {
            Some(at) => at,
            None => OffsetDateTime::from_unix_timestamp(captured.at_seconds)?,
        });
    }
    if let Some(failure) = &said.failure {
        after.failure_code = failure.code.map(str::to_owned);
        after.failure_message = failure.message.map(str::to_owned);
    }
    if let Some(refunded) = said.refunded {
        after.amount_refunded = refunded;
    }
    if let Some(refund) = &said.refund {
        after.amount_refunded = upsert_refund(db, before.id, &said, refund).await?;
    }
    if let Some(dispute) = &said.dispute {
        upsert_dispute(db, before.id, &said, dispute).await?;
        if !matches!(&*before.dispute_status, "won" | "lost") {
            let is_over = matches!(dispute.status, "won" | "lost");
            after.dispute_status = if is_over { dispute.status } else { "open" }.to_owned();
        }
    }
    after.payment_status = after.next_status(said.status);

    if after != before {
        update_payment(db, &after).await?;
    }
    let is_moved = after.payment_status != before.payment_status || after.order_id != before.order_id;
    if let Some(order) = &after.order_id
        && (is_new || is_moved)
    {
        if is_moved {
            sqlx::query("UPDATE orders SET payment_status = $2, updated_at = now() WHERE id = $1")
                .bind(order)
                .bind(&after.payment_status)
                .execute(&mut *db)
                .await?;
        }
        sqlx::query(
            "INSERT INTO order_status_history (order_id, payment_id, from_status, to_status, event_id)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(order)
        .bind(before.id)
        .bind((!is_new).then_some(&before.payment_status))
        .bind(&after.payment_status)
        .bind(&*event.id)
        .execute(db)
        .await?;
    }
    Ok(())
}

/// The payment's row, made if it is not there, locked until the transaction ends; and
/// whether it was made.
async fn lock_payment(db: &mut PgConnection, said: &Statement<'_>) -> anyhow::Result<(Payment, bool)> {
    if let Some(payment) = locked(db, said.intent).await? {
        return Ok((payment, false));
    }
    if let Some(order) = said.order {
        insert_order(db, order, said).await?;
    }
    let made = sqlx::query_as(
        "INSERT INTO payments (gateway_transaction_id, order_id, payment_status, amount, currency)
         VALUES ($1, $2, 'pending', $3, $4)
         ON CONFLICT (gateway_transaction_id) DO NOTHING
         RETURNING id, order_id, payment_status, dispute_status, amount_captured, amount_refunded, captured_at,
                   failure_code, failure_message",
    )
    .bind(said.intent)
    .bind(said.order)
    .bind(said.amount)
    .bind(said.currency)
    .fetch_optional(&mut *db)
    .await?;
    match made {
        Some(payment) => Ok((payment, true)),
        // Another event of it came at the same moment and made it.
        None => Ok((locked(db, said.intent).await?.context("a payment went away")?, false)),
    }
}

async fn locked(db: &mut PgConnection, intent: &str) -> sqlx::Result<Option<Payment>> {
    sqlx::query_as(
        "SELECT id, order_id, payment_status, dispute_status, amount_captured, amount_refunded, captured_at,
                failure_code, failure_message
         FROM payments WHERE gateway_transaction_id = $1 FOR UPDATE",
    )
    .bind(intent)
    .fetch_optional(db)
    .await
}

async fn insert_order(db: &mut PgConnection, order: &str, said: &Statement<'_>) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO orders (id, payment_status, amount, currency) VALUES ($1, 'pending', $2, $3)
         ON CONFLICT (id) DO NOTHING",
    )
    .bind(order)
    .bind(said.amount)
    .bind(said.currency)
    .execute(db)
    .await?;
    Ok(())
}

async fn update_payment(db: &mut PgConnection, payment: &Payment) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE payments
         SET order_id = $2, payment_status = $3, dispute_status = $4, amount_captured = $5, amount_refunded = $6,
             captured_at = $7, failure_code = $8, failure_message = $9, updated_at = now()
         WHERE id = $1",
    )
    .bind(payment.id)
    .bind(&payment.order_id)
    .bind(&payment.payment_status)
    .bind(&payment.dispute_status)
    .bind(payment.amount_captured)
    .bind(payment.amount_refunded)
    .bind(payment.captured_at)
    .bind(&payment.failure_code)
    .bind(&payment.failure_message)
    .execute(db)
    .await?;
    Ok(())
}

/// Returns how much of the payment is refunded now.
async fn upsert_refund(
    db: &mut PgConnection,
    payment_id: i64,
    said: &Statement<'_>,
    refund: &Refund<'_>,
) -> sqlx::Result<i64> {
    sqlx::query(
        "INSERT INTO refunds (gateway_refund_id, payment_id, status, amount, currency, reason, failure_reason)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (gateway_refund_id) DO UPDATE
         SET status = EXCLUDED.status, failure_reason = EXCLUDED.failure_reason, updated_at = now()
         WHERE refunds.status NOT IN ('failed', 'canceled')",
    )
    .bind(refund.id)
    .bind(payment_id)
    .bind(refund.status)
    .bind(said.amount)
    .bind(said.currency)
    .bind(refund.reason)
    .bind(refund.failure_reason)
    .execute(&mut *db)
    .await?;
    sqlx::query_scalar(
        "SELECT coalesce(sum(amount), 0)::bigint FROM refunds WHERE payment_id = $1 AND status = 'succeeded'",
    )
    .bind(payment_id)
    .fetch_one(db)
    .await
}

async fn upsert_dispute(
    db: &mut PgConnection,
    payment_id: i64,
    said: &Statement<'_>,
    dispute: &Dispute<'_>,
) -> anyhow::Result<()> {
    sqlx::query(
        "INSERT INTO disputes (gateway_dispute_id, payment_id, status, amount, currency, reason, due_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (gateway_dispute_id) DO UPDATE
         SET status = EXCLUDED.status, due_by = EXCLUDED.due_by, updated_at = now()
         WHERE disputes.status NOT IN ('won', 'lost')",
    )
    .bind(dispute.id)
    .bind(payment_id)
    .bind(dispute.status)
    .bind(said.amount)
    .bind(said.currency)
    .bind(dispute.reason)
    .bind(dispute.due_by_seconds.map(OffsetDateTime::from_unix_timestamp).transpose()?)
    .execute(db)
    .await?;
    Ok(())
}
