//! Checkout sessions. <https://docs.stripe.com/api/checkout/sessions/object>

use domain::lattice::{Earliest, Largest};
use domain::session::SessionFacts;
use domain::{Facts, Phase};

use super::details::session_details;
use super::{Object, Said};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Open,
    Complete,
    Expired,
}

/// A session that sets up a payment method for later is of no concern.
pub(super) fn state(object: &Object<'_>, said: &Said<'_>, facts: &mut Facts) {
    let Some(id) = object.id.id() else { return };
    if object.mode.text().as_deref() == Some("setup") {
        return;
    }
    let claimed = claimed_status(said.event_type);
    let paid_word = paid_word(object, said);
    let shown = shown_status(object);
    let status = shown.or(claimed).or((paid_word == Some(true)).then_some(Status::Complete));
    let completed = status == Some(Status::Complete);
    let paid = completed && paid_word == Some(true);
    let phase = match status {
        Some(Status::Open) => Some(Phase::Pending),
        Some(Status::Complete) if paid => None,
        Some(Status::Complete) if said.is("checkout.session.async_payment_failed") => Some(Phase::Failed),
        Some(Status::Complete) => Some(Phase::Processing),
        Some(Status::Expired) | None => None,
    };
    let type_disagrees = claimed.is_some() && status != claimed
        || said.is("checkout.session.async_payment_succeeded") && !paid
        || said.is("checkout.session.async_payment_failed") && paid;
    let session = SessionFacts {
        paid_at: if paid { Earliest::of(said.at) } else { Earliest::default() },
        completed,
        expired: status == Some(Status::Expired),
        newest: Largest::from(phase.map(|phase| (said.at, phase))),
        intents: object.payment_intent.id().into_iter().collect(),
        details: said.latest(session_details(object)),
        type_disagrees,
    };
    facts.sessions.insert(id, session);
}

/// Versions before 2021 show no status: then the type is all there is.
fn shown_status(object: &Object<'_>) -> Option<Status> {
    match object.status.text().as_deref() {
        Some("open") => Some(Status::Open),
        Some("complete") => Some(Status::Complete),
        Some("expired") => Some(Status::Expired),
        _ => None,
    }
}

fn claimed_status(event_type: &str) -> Option<Status> {
    match event_type {
        "checkout.session.completed"
        | "checkout.session.async_payment_succeeded"
        | "checkout.session.async_payment_failed" => Some(Status::Complete),
        "checkout.session.expired" => Some(Status::Expired),
        _ => None,
    }
}

/// Whether the payment is said to be there, `None` where nothing says so.
///
/// `payment_status` came in 2020, with the first methods whose money arrives after
/// the session. An event without it is from before, when a session completed only
/// once it was paid: an inference from those versions, not documented.
fn paid_word(object: &Object<'_>, said: &Said<'_>) -> Option<bool> {
    let on_success = || match said.event_type {
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" => Some(true),
        _ => None,
    };
    match object.payment_status.text().as_deref() {
        Some("paid") => Some(true),
        // It is so from the start: only the completion tells that it was accepted.
        Some("no_payment_required") if shown_status(object).or(claimed_status(said.event_type)).is_some() => Some(true),
        Some(_) => Some(false),
        None => on_success(),
    }
}
