//! Refunds. <https://docs.stripe.com/api/refunds/object>

use std::collections::BTreeSet;

use domain::Facts;
use domain::lattice::{Earliest, Join};
use domain::refund::{RefundFacts, RefundStatus};

use super::details::word;
use super::{Object, Said};

pub(super) fn state(object: &Object<'_>, said: &Said<'_>, facts: &mut Facts) {
    let Some(id) = object.id.id() else { return };
    let mut refund = read(object, said);
    let failed = refund.seen.contains(&RefundStatus::Failed);
    refund.type_disagrees = said.is("refund.failed") && !failed;
    facts.refunds.insert(id, refund);
}

/// A refund that a charge shows. One without an id, as before 2014, cannot be told
/// from another; the charge's `amount_refunded` still counts it.
pub(super) fn state_of_charge(
    object: &Object<'_>,
    said: &Said<'_>,
    charge_id: &str,
    intents: &BTreeSet<String>,
    facts: &mut Facts,
) {
    let Some(id) = object.id.id() else { return };
    let mut refund = read(object, said);
    refund.charges.insert(charge_id.to_owned());
    refund.intents.extend(intents.iter().cloned());
    facts.refunds.entry(id).or_default().join(refund);
}

fn read(object: &Object<'_>, said: &Said<'_>) -> RefundFacts {
    let mut refund = RefundFacts::default();
    // Before 2015 a refund had no status: it was made, or there was none.
    let status = object.status.text();
    refund.seen.extend(match status.as_deref() {
        Some(status) => RefundStatus::parse(status),
        None => Some(RefundStatus::Succeeded),
    });
    refund.amounts.extend(object.amount.minor());
    refund.currencies.extend(object.currency.currency());
    refund.charges.extend(object.charge.id());
    refund.intents.extend(object.payment_intent.id());
    refund.created_at = object.created.instant().map(Earliest::of).unwrap_or_default();
    refund.reason = word(object.reason).map(|reason| said.latest(reason)).unwrap_or_default();
    refund.failure_reason = word(object.failure_reason).map(|reason| said.latest(reason)).unwrap_or_default();
    refund
}
