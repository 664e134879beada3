//! Refunds, and what PayPal or a bank took back.
//! <https://developer.paypal.com/docs/api/payments/v2/#refunds_get>

use domain::Facts;
use domain::lattice::{Earliest, Join, Largest};
use domain::refund::{RefundFacts, RefundStatus};

use super::details::{failure, word};
use super::links::parents;
use super::{Resource, Said, instant};
use crate::json::{Raw, tolerant};
use crate::paypal::amount::money;

tolerant! { Breakdown { total_refunded_amount: Raw<'de> = "total_refunded_amount" } }

/// Returns the refund's id.
pub(super) fn state(resource: &Resource<'_>, said: &Said<'_>, reversed: bool, facts: &mut Facts) -> Option<String> {
    let mut id = resource.id.id()?;
    let mut captures = parents(resource).captures;
    if captures.is_empty() && said.event_type.starts_with("PAYMENT.SALE.") {
        // The first API shows the sale itself, with what was taken from it: its one
        // reversal has no id of its own.
        captures.insert(id.clone());
        id = format!("{id}-reversal");
    }
    let status = resource.status_word();
    let seen = match status.as_deref() {
        Some("PENDING") => Some(RefundStatus::Pending),
        Some("COMPLETED") => Some(RefundStatus::Succeeded),
        Some("CANCELLED" | "CANCELED") => Some(RefundStatus::Canceled),
        Some("FAILED") => Some(RefundStatus::Failed),
        // Of a sale that is shown instead.
        Some("REVERSED" | "REFUNDED") => Some(RefundStatus::Succeeded),
        _ => None,
    };
    let amount = money(resource.amount);
    let of_capture = resource.seller_payable_breakdown.read::<Breakdown<'_>>().total_refunded_amount;
    let total = money(of_capture).or_else(|| money(resource.total_refunded_amount));
    let failure = if seen == Some(RefundStatus::Failed) { failure(resource) } else { None };
    facts.refunds.entry(id.clone()).or_default().join(RefundFacts {
        seen: seen.into_iter().collect(),
        amounts: amount.iter().map(|money| money.amount).collect(),
        currencies: amount.iter().map(|money| money.currency).collect(),
        captures,
        reversed,
        total_refunded: Largest::from(total.map(|money| money.amount)),
        created_at: instant(resource.create_time).map(Earliest::of).unwrap_or_default(),
        reason: word(resource.note_to_payer).map(|note| said.latest(note)).unwrap_or_default(),
        failure_reason: failure.and_then(|failure| failure.code).map(|code| said.latest(code)).unwrap_or_default(),
        ..RefundFacts::default()
    });
    Some(id)
}
