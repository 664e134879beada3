//! Payment intents. <https://docs.stripe.com/payments/paymentintents/lifecycle>

use domain::intent::IntentFacts;
use domain::lattice::{Earliest, Largest};
use domain::{Facts, Phase};

use super::details::{details, failure, word};
use super::{Object, Said};
use crate::json::{Raw, tolerant};

tolerant! {
    PaymentError {
        charge: Raw<'de> = "charge",
        code: Raw<'de> = "code",
        decline_code: Raw<'de> = "decline_code",
        kind: Raw<'de> = "type",
        message: Raw<'de> = "message",
    }
}

pub(super) fn state(object: &Object<'_>, said: &Said<'_>, facts: &mut Facts) {
    let Some(id) = object.id.id() else { return };
    let status = object.status.text();
    let status = status.as_deref().unwrap_or_default();
    let mut intent = IntentFacts {
        details: said.latest(details(object)),
        type_disagrees: final_status(said.event_type).is_some_and(|claimed| claimed != status),
        ..IntentFacts::default()
    };
    // Only which charges there are: how an embedded charge is doing was true when
    // the intent was rendered, or for another attempt.
    let charges = object.charges.list();
    intent.charges.extend(charges.iter().filter_map(|charge| charge.id()));
    intent.charges.extend(object.latest_charge.id());
    match status {
        "succeeded" => intent.succeeded_at = Earliest::of(said.at),
        "canceled" => intent.canceled_at = Earliest::of(object.canceled_at.instant().unwrap_or(said.at)),
        _ => intent.newest = phase(object, status, said).map(|phase| (said.at, phase)).into(),
    }
    // Zero before success says nothing, and would stick in versions without it.
    let received = object.amount_received.minor().filter(|amount| amount.units() > 0 || status == "succeeded");
    intent.amount_received = Largest::from(received);
    if let Some((_, Phase::Failed)) = intent.newest.get() {
        state_failure(object, said, &mut intent);
    } else if object.last_payment_error.is_some() {
        intent.charges.extend(object.last_payment_error.read::<PaymentError<'_>>().charge.id());
    }
    facts.intents.insert(id, intent);
}

/// Names before 2019-02-11 said `source` for `payment_method`, and nothing for
/// `requires_action`. There is no status "failed": an attempt's failure leads back
/// to where a payment method is required.
fn phase(object: &Object<'_>, status: &str, said: &Said<'_>) -> Option<Phase> {
    match status {
        "requires_payment_method" | "requires_source" => {
            let failed = object.last_payment_error.is_some() || said.is("payment_intent.payment_failed");
            Some(if failed { Phase::Failed } else { Phase::Pending })
        }
        "requires_confirmation" => Some(Phase::Pending),
        "requires_action" | "requires_source_action" => Some(Phase::RequiresAction),
        "processing" => Some(Phase::Processing),
        "requires_capture" => Some(Phase::Authorized),
        _ => None,
    }
}

fn state_failure(object: &Object<'_>, said: &Said<'_>, intent: &mut IntentFacts) {
    let error: PaymentError<'_> = object.last_payment_error.read();
    let charge = error.charge.id();
    let code = word(error.code).or_else(|| word(error.decline_code)).or_else(|| word(error.kind));
    // Two events about one attempt have to name it alike, so by its charge if it
    // got as far as making one.
    let attempt = charge.clone().or_else(|| object.latest_charge.id());
    let unnamed = || format!("{}:{}", said.at.seconds(), code.as_deref().unwrap_or_default());
    intent.failed_attempts.insert(attempt.unwrap_or_else(unnamed));
    intent.charges.extend(charge);
    if let Some(failure) = failure(code, error.message) {
        intent.failure = said.latest(failure);
    }
}

/// The status that an event of this type has to show.
fn final_status(event_type: &str) -> Option<&'static str> {
    match event_type {
        "payment_intent.succeeded" => Some("succeeded"),
        "payment_intent.canceled" => Some("canceled"),
        _ => None,
    }
}
