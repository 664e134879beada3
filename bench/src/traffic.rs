//! Where the events come from: the lives of payments, interleaved, as `gateways` writes them.

use domain::Timestamp;
use gateways::{Secret, stripe};
use secrecy::SecretString;

pub(crate) fn secret(text: &str) -> Secret {
    Secret::from_text(&SecretString::from(text))
}

/// The value of `Stripe-Signature`.
pub(crate) fn signature(secret: &Secret, now_seconds: i64, body: &[u8]) -> String {
    stripe::sign(secret, Timestamp::from_seconds(now_seconds), body)
}

/// STUB until `gateways::stripe::sample` is there.
pub(crate) fn interleaved(count: usize, seed: u64, now_seconds: i64, mut take: impl FnMut(&str, &[u8])) {
    let pad = "x".repeat(2_200);
    for index in 0..count {
        let id = format!("evt_{seed:016x}{index:08x}");
        let life = index / 3;
        let (kind, status) = [
            ("payment_intent.created", "requires_payment_method"),
            ("payment_intent.succeeded", "succeeded"),
            ("payment_intent.processing", "processing"),
        ][index % 3];
        let body = format!(
            r#"{{"id":"{id}","object":"event","api_version":"2025-03-31.basil","created":{now_seconds},"livemode":false,"type":"{kind}","data":{{"object":{{"id":"pi_{seed:016x}{life:08x}","object":"payment_intent","amount":2000,"amount_received":0,"currency":"usd","status":"{status}","description":"{pad}","metadata":{{"order_id":"ord_{life}"}}}}}}}}"#
        );
        take(&id, body.as_bytes());
    }
}
