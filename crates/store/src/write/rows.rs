//! What the rows of derived state hold, in the order of their tables' columns in
//! [`super::statements`].

use domain::booking::Claim;
use domain::ledger::{BookingEntry, Entry};
use domain::{AccountId, Currency, Money, Order, Timestamp};

use super::facts_text;
use crate::sql::{Value, values};
use crate::{Error, Result, payments};

/// In the order of [`PAYMENT`](super::statements::PAYMENT).
pub(crate) fn payment_row<'p>(
    account: &'p AccountId,
    entry: &'p Entry,
    number: i64,
    now: Timestamp,
) -> Result<[Value<'p>; 31]> {
    let payment = &entry.payment;
    let unwritable = |error| Error::corrupt("payment", &payment.id, error);
    let failure = payment.failure.as_ref();
    Ok(values![
        account.as_str(),
        &payment.id,
        &entry.scope.gateway,
        entry.scope.mode.as_str(),
        payment.visible,
        payment.status.as_str(),
        payment.dispute_status.as_str(),
        payment.amount.map(|amount| amount.units()),
        payment.currency.as_ref().map(Currency::code),
        payment.amount_captured.units(),
        payment.amount_refunded.units(),
        payment.amount_refunding.units(),
        payment.captured_at.map(Timestamp::micros),
        &payment.gateway_transaction_id,
        &payment.order_id,
        &payment.customer,
        &payment.method,
        &payment.description,
        failure.and_then(|failure| failure.code.as_deref()),
        failure.and_then(|failure| failure.message.as_deref()),
        payment.failed_attempts as i64,
        serde_json::to_string(&payments::gateway_response(payment)).map_err(unwritable)?,
        serde_json::to_string(&payments::metadata(payment)).map_err(unwritable)?,
        serde_json::to_string(&payment.flags).map_err(unwritable)?,
        facts_text(&entry.facts)?,
        &payment.transaction_id,
        &payment.external_id,
        payment.hold_reason.map(|reason| reason.as_str()),
        &payment.booking_id,
        now.micros(),
        number,
    ])
}

pub(crate) fn refund_row<'r>(
    account: &'r AccountId,
    payment_id: &'r str,
    refund: &'r domain::refund::Refund,
    now: Timestamp,
) -> [Value<'r>; 13] {
    values![
        account.as_str(),
        &refund.id,
        payment_id,
        &refund.gateway_refund_id,
        &refund.charge_id,
        refund.status.as_str(),
        refund.amount.units(),
        refund.currency.as_ref().map(Currency::code),
        &refund.reason,
        &refund.failure_reason,
        refund.created_at.map(Timestamp::micros),
        now.micros(),
        now.micros(),
    ]
}

pub(crate) fn dispute_row<'d>(
    account: &'d AccountId,
    payment_id: &'d str,
    dispute: &'d domain::dispute::Dispute,
    now: Timestamp,
) -> [Value<'d>; 15] {
    values![
        account.as_str(),
        &dispute.id,
        payment_id,
        &dispute.gateway_dispute_id,
        &dispute.charge_id,
        dispute.status.as_str(),
        dispute.stage,
        dispute.amount.map(|amount| amount.units()),
        dispute.currency.as_ref().map(Currency::code),
        &dispute.reason,
        dispute.due_by.map(Timestamp::micros),
        dispute.net,
        dispute.created_at.map(Timestamp::micros),
        now.micros(),
        now.micros(),
    ]
}

pub(crate) fn order_row<'o>(
    account: &'o AccountId,
    id: &'o str,
    due: Option<Money>,
    order: &'o Order,
    now: Timestamp,
) -> [Value<'o>; 9] {
    values![
        account.as_str(),
        id,
        order.payment_status.as_str(),
        order.currency.as_ref().map(Currency::code),
        order.amount_paid.units(),
        order.amount_refunded.units(),
        now.micros(),
        now.micros(),
        due.map(|due| due.amount.units()),
    ]
}

pub(crate) fn booking_row<'b>(
    account: &'b AccountId,
    id: &'b str,
    entry: &'b BookingEntry,
    now: Timestamp,
) -> [Value<'b>; 17] {
    let BookingEntry { inputs, booking, changed: _ } = entry;
    let terms = &inputs.terms;
    let (claim, lost_to) = match &inputs.claim {
        None => (None, None),
        Some(Claim::Won) => (Some("won"), None),
        Some(Claim::Lost(winner)) => (Some("lost"), Some(winner)),
    };
    values![
        account.as_str(),
        id,
        &terms.resource_id,
        terms.days.start(),
        terms.days.end(),
        terms.amount.map(|amount| amount.units()),
        terms.currency.as_ref().map(Currency::code),
        terms.on_conflict.as_str(),
        terms.released,
        inputs.canceled,
        claim,
        lost_to,
        booking.status.as_str(),
        booking.payment_status.as_str(),
        booking.reason.map(|reason| reason.as_str()),
        now.micros(),
        now.micros(),
    ]
}
