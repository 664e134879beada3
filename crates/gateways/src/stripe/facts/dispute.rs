//! Disputes. <https://docs.stripe.com/api/disputes/object>

use domain::dispute::{DisputeDetails, DisputeFacts, DisputeStage};
use domain::lattice::{Earliest, Largest};
use domain::{DisputeStatus, Facts};

use super::details::word;
use super::{Object, Said};
use crate::json::{Raw, tolerant};

tolerant! { Evidence { due_by: Raw<'de> = "due_by" } }
tolerant! { BalanceTransaction { id: Raw<'de> = "id", net: Raw<'de> = "net" } }

/// Before 2013 a dispute had no id; a charge had one at most, so the charge's id
/// stands in for it.
pub(super) fn state(object: &Object<'_>, said: &Said<'_>, facts: &mut Facts) {
    let charge = object.charge.id();
    let Some(id) = object.id.id().or_else(|| charge.clone()) else { return };
    let stage = object.status.text().and_then(|status| DisputeStage::parse(&status));
    let evidence: Evidence<'_> = object.evidence_details.read();
    let details = DisputeDetails {
        amount: object.amount.minor(),
        currency: object.currency.currency(),
        reason: word(object.reason),
        due_by: evidence.due_by.instant().or_else(|| object.evidence_due_by.instant()),
    };
    let is_open = stage.is_none_or(|stage| stage.outcome() == DisputeStatus::Open);
    let transactions = object.balance_transactions.items().into_iter().filter_map(|transaction| {
        let transaction: BalanceTransaction<'_> = transaction.read();
        Some((transaction.id.id()?, Largest::of(transaction.net.integer()?)))
    });
    let dispute = DisputeFacts {
        seen: stage.into_iter().collect(),
        details: said.latest(details),
        charges: charge.into_iter().collect(),
        intents: object.payment_intent.id().into_iter().collect(),
        created_at: object.created.instant().map(Earliest::of).unwrap_or_default(),
        transactions: transactions.collect(),
        type_disagrees: said.is("charge.dispute.closed") && is_open,
        ..DisputeFacts::default()
    };
    facts.disputes.insert(id, dispute);
}
