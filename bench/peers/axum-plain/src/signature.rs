//! `Stripe-Signature: t=…,v1=…`: HMAC-SHA256 over the time, a dot and the raw body.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const TOLERANCE_SECONDS: u64 = 300;

pub fn is_valid(secret: &[u8], header: &str, body: &[u8], now_seconds: u64) -> bool {
    let values = |name: &'static str| {
        header.split(',').filter_map(move |part| part.split_once('=').filter(|(n, _)| *n == name).map(|(_, v)| v))
    };
    let Some(time) = values("t").next() else { return false };
    let Ok(sent_seconds) = time.parse::<u64>() else { return false };
    if now_seconds.abs_diff(sent_seconds) > TOLERANCE_SECONDS {
        return false;
    }
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return false };
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    values("v1").filter_map(|value| hex::decode(value).ok()).any(|tag| mac.clone().verify_slice(&tag).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_signed_body_is_valid_and_only_for_a_while() {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"whsec_1").unwrap();
        mac.update(b"1780000000.{}");
        let header = format!("t=1780000000,v1={}", hex::encode(mac.finalize().into_bytes()));
        let table = [
            ("whsec_1", "{}", 1_780_000_000, true),
            ("whsec_1", "{}", 1_780_000_301, false),
            ("whsec_1", "{ }", 1_780_000_000, false),
            ("whsec_2", "{}", 1_780_000_000, false),
        ];
        for (secret, body, now_seconds, expected) in table {
            assert_eq!(is_valid(secret.as_bytes(), &header, body.as_bytes(), now_seconds), expected, "{body}");
        }
        assert!(!is_valid(b"whsec_1", "", b"{}", 1_780_000_000));
    }
}
