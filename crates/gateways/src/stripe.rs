//! Stripe: webhook signatures, events, and what they state about payments.
//! <https://docs.stripe.com/webhooks>, <https://docs.stripe.com/api/events/object>

mod envelope;
mod facts;
mod json;
pub mod sample;
mod verify;

pub use envelope::envelope;
pub use facts::{normalise, object_facts};
pub use verify::{SIGNATURE_HEADER, SIGNATURES_MAX, sign, verify};
