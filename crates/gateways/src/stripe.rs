//! Stripe: webhook signatures, events, and what they state about payments.
//! <https://docs.stripe.com/webhooks>, <https://docs.stripe.com/api/events/object>

mod envelope;
mod facts;
pub mod sample;
mod verify;

pub use envelope::envelope;
pub use facts::{normalise, object_facts};
pub use verify::{SIGNATURE_HEADER, SIGNATURES_MAX, sign, verify};

/// Events that confirm or fail a payment. <https://docs.stripe.com/api/events/types>
pub(crate) const DECIDING_TYPES: [&str; 12] = [
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.canceled",
    "payment_intent.amount_capturable_updated",
    "charge.succeeded",
    "charge.failed",
    "charge.captured",
    "charge.expired",
    "checkout.session.completed",
    "checkout.session.async_payment_succeeded",
    "checkout.session.async_payment_failed",
    "checkout.session.expired",
];
