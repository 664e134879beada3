//! Charges. <https://docs.stripe.com/api/charges/object>

use domain::charge::{ChargeFacts, ChargeRank};
use domain::lattice::{Earliest, Largest};
use domain::money::Minor;
use domain::{Facts, Phase};

use super::details::{details, failure, word};
use super::{Object, Said, refund};

pub(super) fn state(object: &Object<'_>, said: &Said<'_>, facts: &mut Facts) {
    let Some(id) = object.id.id() else { return };
    let rank = rank(object);
    let succeeded = rank == Some(ChargeRank::Succeeded);
    // Versions before 2012-10 had no separate capture.
    let captured = succeeded && object.captured.flag() != Some(false);
    let voided = object.captured.flag() != Some(true)
        && (said.is("charge.expired") || (object.captured.is_some() && object.refunded.flag() == Some(true)));
    let phase = match rank {
        Some(ChargeRank::Pending) => Some(Phase::Processing),
        Some(ChargeRank::Succeeded) => (!captured && !voided).then_some(Phase::Authorized),
        Some(ChargeRank::Failed) => Some(Phase::Failed),
        None => None,
    };
    let mut charge = ChargeFacts {
        rank: rank.into(),
        captured_at: if captured { Earliest::of(said.at) } else { Earliest::default() },
        // Zero says nothing, and before the capture it would stick.
        amount_captured: object.amount_captured.minor().filter(|amount| captured || *amount > Minor::ZERO).into(),
        amount_refunded: object.amount_refunded.minor().filter(|amount| *amount > Minor::ZERO).into(),
        voided,
        newest: Largest::from(phase.map(|phase| (said.at, phase))),
        details: said.latest(details(object)),
        type_disagrees: type_disagrees(object, said, rank, captured),
        ..ChargeFacts::default()
    };
    charge.intents.extend(object.payment_intent.id());
    if let Some(failure) = failure(word(object.failure_code), object.failure_message) {
        charge.failure = said.latest(failure);
    }
    // Versions before 2022-11-15 show the refunds, too.
    for shown in object.refunds.list() {
        refund::state_of_charge(&shown.read(), said, &id, &charge.intents, facts);
    }
    facts.charges.insert(id, charge);
}

/// Before 2015-02-18 success was called `paid`, and before 2014 there was no
/// status: then the flag and the error tell.
fn rank(object: &Object<'_>) -> Option<ChargeRank> {
    match object.status.text().as_deref() {
        Some("pending") => Some(ChargeRank::Pending),
        Some("succeeded" | "paid") => Some(ChargeRank::Succeeded),
        Some("failed") => Some(ChargeRank::Failed),
        Some(_) => None,
        None if object.paid.flag() == Some(true) => Some(ChargeRank::Succeeded),
        None if object.failure_code.is_some() || object.failure_message.is_some() => Some(ChargeRank::Failed),
        None => None,
    }
}

fn type_disagrees(object: &Object<'_>, said: &Said<'_>, rank: Option<ChargeRank>, captured: bool) -> bool {
    match said.event_type {
        "charge.succeeded" => rank != Some(ChargeRank::Succeeded),
        "charge.captured" => !captured,
        "charge.failed" => rank != Some(ChargeRank::Failed),
        "charge.expired" => object.captured.flag() == Some(true),
        "charge.refunded" => object.amount_refunded.integer() == Some(0),
        _ => false,
    }
}
