//! What a system has in its database, against what it acknowledged.

use anyhow::{Context, ensure};
use gateways::stripe::sample::Life;

use crate::check::wrong_payments;
use crate::quittance::Payment;

use super::about::Counts;
use super::database::ask;
use super::system::{Keeps, System};

/// Everything that was acknowledged is there: each event, processed, with its body; each
/// payment and its order, with a history that ends where the order stands; each refund
/// and dispute.
const RECORDS: &str = "
    SELECT (SELECT count(*) FROM webhook_events),
           (SELECT count(*) FROM webhook_events WHERE processed AND payload IS NOT NULL),
           (SELECT count(*) FROM payments),
           (SELECT count(*) FROM orders o
            WHERE payment_status = (SELECT to_status FROM order_status_history h
                                    WHERE h.order_id = o.id ORDER BY h.id DESC LIMIT 1)),
           (SELECT count(*) FROM refunds),
           (SELECT count(*) FROM disputes)";

const OBJECTS: &str = "
    SELECT (SELECT count(*) FROM stripe.payment_intents), (SELECT count(*) FROM stripe.charges),
           (SELECT count(*) FROM stripe.refunds), (SELECT count(*) FROM stripe.disputes)";

const PAYMENTS: &str = "
    SELECT gateway_transaction_id, payment_status, dispute_status, amount_captured, amount_refunded FROM payments";

/// Looks for the rows of everything that was acknowledged, and for no other ones.
///
/// # Errors
/// When some are missing or too many: the run does not count.
pub fn rows(system: System, database_url: &str, acknowledged: Counts) -> anyhow::Result<()> {
    let Counts { events, intents, charges, refunds, disputes } = acknowledged;
    let (sql, expected) = match system.keeps() {
        Keeps::Records => (RECORDS, vec![events, events, intents, intents, refunds, disputes]),
        Keeps::Objects => (OBJECTS, vec![intents, charges, refunds, disputes]),
    };
    let row = ask(database_url, sql)?.into_iter().next().context("a row of counts")?;
    let found = row.iter().map(|count| count.parse()).collect::<Result<Vec<usize>, _>>()?;
    ensure!(
        found == expected,
        "{} acknowledged {acknowledged:?}; its tables have {found:?} where {expected:?} should be",
        system.name()
    );
    Ok(())
}

/// The payments of these lives that do not stand where their lives ended; `None` where
/// only the gateway's objects are kept.
///
/// # Errors
/// When the database does not answer.
pub fn wrong<'a>(
    system: System,
    database_url: &str,
    lives: impl IntoIterator<Item = &'a Life>,
) -> anyhow::Result<Option<Vec<String>>> {
    if system.keeps() == Keeps::Objects {
        return Ok(None);
    }
    let payments = ask(database_url, PAYMENTS)?.into_iter().map(payment).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(Some(wrong_payments(lives, &payments)))
}

fn payment(row: Vec<String>) -> anyhow::Result<Payment> {
    let [intent, status, dispute_status, captured, refunded] =
        <[String; 5]>::try_from(row).ok().context("a row of five")?;
    Ok(Payment {
        gateway_transaction_id: Some(intent),
        status,
        dispute_status,
        amount_captured: captured.parse()?,
        amount_refunded: refunded.parse()?,
    })
}
