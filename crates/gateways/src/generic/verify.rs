//! A merchant's own system signs either like Stripe, in `X-Webhook-Signature`, or
//! by Standard Webhooks.

use aws_lc_rs::hmac;
use domain::Timestamp;
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};

use crate::signature::{Key, Secret, Verdict};
use crate::{standard_webhooks, timestamped};

pub const SIGNATURE_HEADER: &str = "x-webhook-signature";

/// The text's bytes are the key. For Standard Webhooks headers so is what its
/// base64 decodes to, with or without `whsec_` before it, as that scheme's
/// libraries read it.
pub fn secret(text: &SecretString) -> Secret {
    let bytes = text.expose_secret().as_bytes();
    let mut standard = vec![standard_webhooks::Key::from_bytes(bytes)];
    standard.extend(standard_webhooks::Key::shared(text.expose_secret()));
    Secret::new(Key::Generic { text: hmac::Key::new(hmac::HMAC_SHA256, bytes), standard })
}

/// Whether one of `secrets` signed this delivery within the tolerance, in the past
/// or in the future.
pub fn verify(headers: &HeaderMap, body: &[u8], secrets: &[Secret], now: Timestamp, tolerance_seconds: u64) -> Verdict {
    if is_standard(headers) {
        return standard_webhooks::check(headers, body, secrets, Secret::standard_webhooks, now, tolerance_seconds)
            .into();
    }
    timestamped::check(SIGNATURE_HEADER, headers, body, secrets, now, tolerance_seconds).into()
}

/// The header with which such a system would deliver `body` at that time.
pub fn sign(secret: &Secret, at: Timestamp, body: &[u8]) -> Vec<(&'static str, String)> {
    timestamped::sign(secret, at, body).map(|value| (SIGNATURE_HEADER, value)).into_iter().collect()
}

/// Whether the delivery counts as signed by Standard Webhooks. With both kinds of
/// headers it does not: then nothing covers `webhook-id`.
pub(super) fn is_standard(headers: &HeaderMap) -> bool {
    !headers.contains_key(SIGNATURE_HEADER) && standard_webhooks::is_used(headers)
}
