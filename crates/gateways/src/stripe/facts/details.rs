//! What describes a payment without deciding anything about it.

use domain::intent::{Details, Failure};

use super::Object;
use crate::json::{Raw, TEXT_CHARS_MAX, WORD_CHARS_MAX, tolerant};

tolerant! { Typed { kind: Raw<'de> = "type" } }
tolerant! { Person { email: Raw<'de> = "email" } }

pub(super) fn details(object: &Object<'_>) -> Details {
    let metadata = object.metadata.metadata();
    Details {
        amount: object.amount.minor(),
        currency: object.currency.currency(),
        order_id: metadata.get("order_id").and_then(|text| order_id(text)),
        customer: object.customer.id(),
        description: object.description.short_text(TEXT_CHARS_MAX),
        method: method(object),
        metadata,
    }
}

/// A session says more of who paid and for which order.
pub(super) fn session_details(object: &Object<'_>) -> Details {
    let mut details = details(object);
    details.amount = object.amount_total.minor();
    if details.order_id.is_none() {
        details.order_id = object.client_reference_id.text().and_then(|text| order_id(&text));
    }
    if details.customer.is_none() {
        let email = object.customer_details.read::<Person<'_>>().email;
        details.customer =
            email.short_text(WORD_CHARS_MAX).or_else(|| object.customer_email.short_text(WORD_CHARS_MAX));
    }
    details
}

/// `None` if neither says anything, so that silence overwrites nothing.
pub(super) fn failure(code: Option<String>, message: Raw<'_>) -> Option<Failure> {
    let message = message.short_text(TEXT_CHARS_MAX);
    (code.is_some() || message.is_some()).then_some(Failure { code, message })
}

pub(super) fn word(raw: Raw<'_>) -> Option<String> {
    raw.short_text(WORD_CHARS_MAX)
}

/// The charge's method or, before there is a charge, the only one that is offered.
fn method(object: &Object<'_>) -> Option<String> {
    let used = object.payment_method_details.read::<Typed<'_>>().kind;
    word(used).or_else(|| match object.payment_method_types.items()[..] {
        [only] => word(only),
        _ => None,
    })
}

/// An order's id is looked up, so half of one would be another order's.
fn order_id(text: &str) -> Option<String> {
    crate::json::is_id(text).then(|| text.to_owned())
}
