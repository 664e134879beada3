//! Deriving all state again from stored events, to compare it with what is there.

use std::collections::BTreeMap;

use crate::apply::{AsDelivered, restate};
use domain::ledger::{Entry, OrderEntry};
use domain::{AccountId, EventFacts, Ledger, Mode, Payment, Scope};
use gateways::Gateway;
use store::{Store, StoredOrder, StoredPart, StoredPayment};

/// Rows read at a time.
const PAGE: u32 = 500;

/// Where what is stored differs from what the events say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub account: AccountId,
    /// `payment pay_…`, `order 6735`
    pub subject: String,
    pub stored: String,
    pub derived: String,
}

#[derive(Clone, Debug, Default)]
pub struct Comparison {
    pub events: u64,
    pub payments: u64,
    pub orders: u64,
    pub bookings: u64,
    pub differences: Vec<Difference>,
}

/// Folds every stored event that was applied before into fresh state, from its
/// bodies where they are still there and else from its stored facts, and compares
/// it with the stored payments and orders. Writes nothing. Events that settle
/// meanwhile would show as differences: wait for an empty backlog.
pub async fn check(store: &Store) -> store::Result<Comparison> {
    let mut comparison = Comparison::default();
    for account in store.accounts().await? {
        let ledger = derive(store, &account, &mut comparison).await?;
        compare_payments(store, &account, &ledger, &mut comparison).await?;
        compare_orders(store, &account, &ledger, &mut comparison).await?;
        compare_bookings(store, &account, &ledger, &mut comparison).await?;
    }
    Ok(comparison)
}

async fn derive(store: &Store, account: &AccountId, comparison: &mut Comparison) -> store::Result<Ledger> {
    let mut ledger = Ledger::of_inputs();
    put_registered(store, account, &mut ledger).await?;
    let mut after = 0;
    loop {
        let page = store.statements(account, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(ledger) };
        after = last.seq;
        for statement in page {
            let gateway = Gateway::parse(&statement.scope.gateway);
            let endpoint = AsDelivered { creates: statement.creates, holds_mismatch: statement.holds_mismatch };
            let from_bodies = gateway
                .filter(|_| !statement.bodies.is_empty())
                .and_then(|gateway| restate(gateway, &statement.bodies, statement.received_at, endpoint));
            let facts = from_bodies.unwrap_or(statement.facts);
            ledger.apply(&EventFacts { scope: statement.scope, facts, decides: false });
            comparison.events += 1;
        }
    }
}

/// What the application registered, before anything that gateways said of it: the end is
/// the same.
async fn put_registered(store: &Store, account: &AccountId, ledger: &mut Ledger) -> store::Result<()> {
    let mut after = String::new();
    loop {
        let page = store.stored_orders(account, &after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.id);
        for order in page {
            if let Some(due) = order.due {
                ledger.register_order(&order.id, due);
            }
        }
    }
    after.clear();
    loop {
        let page = store.stored_bookings(account, &after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.id);
        for booking in page {
            ledger.register_booking(&booking.id, booking.inputs);
        }
    }
    after.clear();
    let nowhere = Scope { account: account.clone(), gateway: String::new(), mode: Mode::Live };
    loop {
        let page = store.registrations(account, &after, PAGE).await?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after.clone_from(last);
        for (id, registration) in page {
            ledger.register(&nowhere, &id, registration);
        }
    }
}

async fn compare_bookings(
    store: &Store,
    account: &AccountId,
    ledger: &Ledger,
    comparison: &mut Comparison,
) -> store::Result<()> {
    let mut after = String::new();
    loop {
        let page = store.stored_bookings(account, &after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after.clone_from(&last.id);
        for stored in page {
            comparison.bookings += 1;
            let derived = ledger.bookings().get(&stored.id).filter(|entry| entry.inputs.claim == stored.inputs.claim);
            let describe = |status: &str, payment_status: &str| format!("{status}, payment {payment_status}");
            let derived = derived.map_or_else(
                || "another claim".to_owned(),
                |entry| describe(entry.booking.status.as_str(), entry.booking.payment_status.as_str()),
            );
            let subject = format!("booking {}", stored.id);
            let stored = describe(&stored.status, &stored.payment_status);
            if derived != stored {
                comparison.differences.push(Difference { account: account.clone(), subject, stored, derived });
            }
        }
    }
}

async fn compare_payments(
    store: &Store,
    account: &AccountId,
    ledger: &Ledger,
    comparison: &mut Comparison,
) -> store::Result<()> {
    let mut missing: BTreeMap<&str, &Entry> =
        ledger.payments().iter().map(|(id, entry)| (id.as_str(), entry)).collect();
    let mut after = String::new();
    loop {
        let page = store.stored_payments(account, &after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.id);
        for stored in page {
            comparison.payments += 1;
            let derived = missing.remove(stored.id.as_str()).map(|entry| derived_payment(&stored.id, entry));
            if derived.as_ref() != Some(&stored) {
                let derived = derived.map_or_else(|| "nothing".to_owned(), |payment| describe(&payment));
                let subject = format!("payment {}", stored.id);
                let stored = describe(&stored);
                comparison.differences.push(Difference { account: account.clone(), subject, stored, derived });
            }
        }
    }
    for (id, entry) in missing {
        comparison.differences.push(Difference {
            account: account.clone(),
            subject: format!("payment {id}"),
            stored: "nothing".to_owned(),
            derived: describe(&derived_payment(id, entry)),
        });
    }
    Ok(())
}

/// The row that the entry would be.
fn derived_payment(id: &str, entry: &Entry) -> StoredPayment {
    let payment = &entry.payment;
    StoredPayment {
        id: id.to_owned(),
        scope: entry.scope.clone(),
        facts: entry.facts.clone(),
        visible: payment.visible,
        status: payment.status.as_str().to_owned(),
        dispute_status: payment.dispute_status.as_str().to_owned(),
        amount_captured: payment.amount_captured.units(),
        amount_refunded: payment.amount_refunded.units(),
        order_id: payment.order_id.clone(),
        parts: derived_parts(payment),
    }
}

fn derived_parts(payment: &Payment) -> BTreeMap<String, StoredPart> {
    let refunds = payment.refunds.iter().map(|refund| {
        let part = StoredPart {
            gateway_id: refund.gateway_refund_id.clone(),
            charge_id: refund.charge_id.clone(),
            status: refund.status.as_str().to_owned(),
            amount: Some(refund.amount.units()),
        };
        (refund.id.clone(), part)
    });
    let disputes = payment.disputes.iter().map(|dispute| {
        let part = StoredPart {
            gateway_id: dispute.gateway_dispute_id.clone(),
            charge_id: dispute.charge_id.clone(),
            status: dispute.status.as_str().to_owned(),
            amount: dispute.amount.map(|amount| amount.units()),
        };
        (dispute.id.clone(), part)
    });
    refunds.chain(disputes).collect()
}

fn describe(payment: &StoredPayment) -> String {
    let StoredPayment { status, dispute_status, amount_captured, amount_refunded, order_id, parts, .. } = payment;
    let order = order_id.as_deref().unwrap_or("none");
    let parts: Vec<String> = parts.iter().map(|(id, part)| format!(", {id} {}", part.status)).collect();
    format!(
        "{status}, dispute {dispute_status}, captured {amount_captured}, refunded {amount_refunded}, order {order}{}",
        parts.concat()
    )
}

async fn compare_orders(
    store: &Store,
    account: &AccountId,
    ledger: &Ledger,
    comparison: &mut Comparison,
) -> store::Result<()> {
    let mut seen = std::collections::BTreeSet::new();
    let mut after = String::new();
    loop {
        let page = store.stored_orders(account, &after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.id);
        for stored in page {
            comparison.orders += 1;
            let order = ledger.orders().get(&stored.id).and_then(|entry| derived_order(&stored, entry));
            if order.as_ref() != Some(&stored) {
                comparison.differences.push(Difference {
                    account: account.clone(),
                    subject: format!("order {}", stored.id),
                    stored: stored.payment_status.clone(),
                    derived: order.map_or_else(|| "nothing".to_owned(), |order| order.payment_status),
                });
            }
            seen.insert(stored.id);
        }
    }
    let visible = ledger.orders().iter().filter(|(id, entry)| entry.order.is_some() && !seen.contains(*id));
    for (id, entry) in visible {
        comparison.differences.push(Difference {
            account: account.clone(),
            subject: format!("order {id}"),
            stored: "nothing".to_owned(),
            derived: entry.order.as_ref().map_or_else(String::new, |order| order.payment_status.to_string()),
        });
    }
    Ok(())
}

fn derived_order(stored: &StoredOrder, entry: &OrderEntry) -> Option<StoredOrder> {
    entry.order.as_ref().map(|order| StoredOrder {
        id: stored.id.clone(),
        due: stored.due,
        payment_status: order.payment_status.as_str().to_owned(),
        amount_paid: order.amount_paid.units(),
        amount_refunded: order.amount_refunded.units(),
    })
}
