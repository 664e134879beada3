//! `Stripe-Signature`. <https://docs.stripe.com/webhooks/signature>

use domain::Timestamp;

use crate::signature::{Secret, Verdict};
use crate::timestamped;

pub const SIGNATURE_HEADER: &str = "stripe-signature";

pub use timestamped::SIGNATURES_MAX;

/// Whether one of `secrets` signed these raw bytes within the tolerance, in the
/// past or in the future.
pub fn verify(
    headers: &http::HeaderMap,
    body: &[u8],
    secrets: &[Secret],
    now: Timestamp,
    tolerance_seconds: u64,
) -> Verdict {
    timestamped::check(SIGNATURE_HEADER, headers, body, secrets, now, tolerance_seconds).into()
}

/// The header's value with which Stripe would send `body` at that time; empty if
/// the secret is another gateway's.
pub fn sign(secret: &Secret, at: Timestamp, body: &[u8]) -> String {
    timestamped::sign(secret, at, body).unwrap_or_default()
}
