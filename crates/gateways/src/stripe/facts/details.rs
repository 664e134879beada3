//! What describes a payment without deciding anything about it.

use std::collections::BTreeMap;

use domain::intent::{Details, Failure};

use super::Object;
use crate::stripe::json::{Raw, shorten, tolerant};

/// Stripe's own limits. <https://docs.stripe.com/api/metadata>
const METADATA_KEYS_MAX: usize = 50;
const METADATA_KEY_CHARS_MAX: usize = 40;
const METADATA_VALUE_CHARS_MAX: usize = 500;

/// Of descriptions and messages; Stripe's are shorter.
pub(super) const TEXT_CHARS_MAX: usize = 1000;

/// Of codes, methods and e-mail addresses.
const WORD_CHARS_MAX: usize = 255;

tolerant! { Typed { kind: Raw<'de> = "type" } }
tolerant! { Person { email: Raw<'de> = "email" } }

pub(super) fn details(object: &Object<'_>) -> Details {
    let metadata = metadata(object.metadata);
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

fn metadata(raw: Raw<'_>) -> BTreeMap<String, String> {
    let entries = raw.entries(METADATA_KEYS_MAX).into_iter();
    entries
        .filter_map(|(key, value)| {
            let value = value.scalar_text(METADATA_VALUE_CHARS_MAX)?;
            Some((shorten(&key, METADATA_KEY_CHARS_MAX), value))
        })
        .collect()
}

/// An order's id is looked up, so half of one would be another order's.
fn order_id(text: &str) -> Option<String> {
    crate::stripe::json::is_id(text).then(|| text.to_owned())
}
