//! Whatever comes in, nothing panics and nothing forged passes.

use std::fmt::Write;

use domain::Timestamp;
use gateways::Verdict;
use gateways::stripe::sample::{LifeKind, Overrides, Sampler};
use gateways::stripe::{envelope, normalise, object_facts, sign, verify};
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{headers, secret, verify as verify_one};

const NOW: i64 = 1_800_000_000;

/// Keys and words that the reader looks for, so that odd values get to where they
/// might do harm.
const KEYS: &[&str] = &[
    "id",
    "object",
    "status",
    "amount",
    "created",
    "charges",
    "latest_charge",
    "last_payment_error",
    "metadata",
    "refunds",
    "data",
    "charge",
    "payment_intent",
    "balance_transactions",
    "action",
    "process_payment_intent",
    "payment_status",
    "customer",
    "captured",
    "paid",
    "net",
    "code",
    "order_id",
];
const WORDS: &[&str] = &[
    "payment_intent",
    "charge",
    "refund",
    "dispute",
    "checkout.session",
    "terminal.reader",
    "succeeded",
    "failed",
    "canceled",
    "complete",
    "paid",
    "unpaid",
    "won",
    "pi_1",
    "ch_1",
    "usd",
    "",
    "\u{0}",
    "é",
];

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(WORDS).prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 8, |inner| {
        let key = prop_oneof![4 => prop::sample::select(KEYS).prop_map(str::to_owned), 1 => ".{0,8}".prop_map(|s| s)];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(key, inner, 0..8).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A real event with bytes changed, so that it is nearly one.
fn nearly_an_event() -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let body = (prop::sample::select(gateways::stripe::sample::TYPES), any::<u64>()).prop_map(|(event_type, seed)| {
        let mut sampler = Sampler::new(seed);
        sampler.single(event_type, Timestamp::from_seconds(NOW), &Overrides::default()).expect(event_type).body
    });
    (body, edits).prop_map(|(body, edits)| {
        let mut body = body.into_bytes();
        for (index, byte) in edits {
            let index = index.index(body.len());
            body[index] = byte;
        }
        body
    })
}

fn normalise_is_as_total_as_the_envelope(body: &[u8]) {
    assert_eq!(envelope(body).is_ok(), normalise(body).is_ok(), "{}", String::from_utf8_lossy(body));
    let _ = object_facts(body, Timestamp::from_seconds(NOW), "fetch");
}

proptest! {
    #[test]
    fn bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        normalise_is_as_total_as_the_envelope(&body);
    }

    #[test]
    fn odd_json_is_read_or_refused(data in any_json(), object in any_json(), event_type in "[a-z_.]{1,30}") {
        normalise_is_as_total_as_the_envelope(data.to_string().as_bytes());
        let event = json!({"id": "evt_1", "object": "event", "type": event_type, "created": 5, "data": {"object": object}});
        prop_assert!(envelope(event.to_string().as_bytes()).is_ok());
        normalise_is_as_total_as_the_envelope(event.to_string().as_bytes());
        let event = json!({"id": "evt_1", "object": "event", "type": event_type, "data": data, "related_object": object});
        normalise_is_as_total_as_the_envelope(event.to_string().as_bytes());
    }

    #[test]
    fn damaged_events_are_read_or_refused(body in nearly_an_event()) {
        normalise_is_as_total_as_the_envelope(&body);
    }

    #[test]
    fn any_header_gets_a_verdict(value in prop::collection::vec(32_u8..=255, 0..200), body in any::<Vec<u8>>()) {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.insert("Stripe-Signature", value);
        }
        let verdict = verify(&headers, &body, &[secret("whsec_test")], Timestamp::from_seconds(NOW), 300);
        prop_assert!(matches!(verdict, Verdict::Invalid(_)));
    }

    #[test]
    fn headers_of_the_right_parts_get_a_verdict(
        items in prop::collection::vec(("(t|v0|v1|v2|)", "(=|==|)", "(-?[0-9]{0,22}|[0-9a-f]{64}|.{0,8})"), 0..40),
    ) {
        let mut header = String::new();
        for (name, equals, value) in items {
            write!(header, ",{name}{equals}{value}").expect("a string");
        }
        if HeaderValue::from_str(&header).is_ok() {
            let verdict = verify_one(header.trim_start_matches(','), b"body", "whsec_test", NOW);
            prop_assert!(matches!(verdict, Verdict::Invalid(_)));
        }
    }

    #[test]
    fn what_is_signed_is_valid(key in ".{1,64}", body in any::<Vec<u8>>(), at in 0_i64..4_000_000_000, skew in -300_i64..=300) {
        let secret = secret(&key);
        let header = sign(&secret, Timestamp::from_seconds(at), &body);
        let now = Timestamp::from_seconds(at + skew);
        prop_assert_eq!(verify(&headers(&[&header]), &body, &[secret], now, 300), Verdict::Valid { secret: 0 });
    }

    #[test]
    fn no_byte_can_be_changed(index in any::<prop::sample::Index>(), flip in 1_u8..=255, seed in any::<u64>()) {
        let at = Timestamp::from_seconds(NOW);
        let life = Sampler::new(seed).life(LifeKind::Success, at, &Overrides::default());
        let body = life.events[0].body.as_bytes();
        let header = sign(&secret("whsec_test"), at, body);
        let index = index.index(header.len() + body.len());
        let (mut header, mut body) = (header.into_bytes(), body.to_vec());
        match index.checked_sub(header.len()) {
            None => header[index] ^= flip,
            Some(index) => body[index] ^= flip,
        }
        if let Ok(value) = HeaderValue::from_bytes(&header) {
            let mut headers = HeaderMap::new();
            headers.insert("Stripe-Signature", value);
            let verdict = verify(&headers, &body, &[secret("whsec_test")], at, 300);
            prop_assert!(matches!(verdict, Verdict::Invalid(_)), "{}", String::from_utf8_lossy(&header));
        }
    }
}
