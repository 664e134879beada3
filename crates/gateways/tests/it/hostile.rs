//! Whatever comes in at the gateways of a merchant's own systems, nothing panics and
//! nothing forged passes; what makes an event is read the same way twice.

use domain::Timestamp;
use gateways::sample::{TYPES, Wanted};
use gateways::{Gateway, Verdict};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::Value;

use crate::support::{secret_of, signed};

const NOW: Timestamp = Timestamp::from_seconds(1_763_654_400);
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const GATEWAYS: [Gateway; 3] = [Gateway::Generic, Gateway::Microservice, Gateway::StandardWebhooks];

const KEYS: &[&str] = &[
    "payment_id",
    "transaction_id",
    "status",
    "amount",
    "currency",
    "metadata",
    "timestamp",
    "created_at",
    "event_id",
    "id",
    "method",
    "error",
    "failure_reason",
    "paymentId",
    "orderId",
    "paymentMethod",
    "event",
    "type",
    "data",
    "providerTransactionId",
    "transactionId",
    "order_id",
    "code",
    "message",
];
const WORDS: &[&str] = &[
    "completed",
    "failed",
    "payment.failed",
    "webpay",
    "USD",
    "JPY",
    "150.00",
    "1e309",
    "-0",
    "2025-11-20T16:00:00Z",
    "9999-12-31T23:59:59Z",
    "",
    "\u{0}",
    "é",
    "TXN-1",
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

/// An object in which a key may be repeated and a number may be of any size.
fn any_object_text() -> impl Strategy<Value = String> {
    let number = "-?[0-9]{1,400}(\\.[0-9]{1,400})?([eE][+-]?[0-9]{1,12})?".prop_map(|number| number);
    let value = prop_oneof![any_json().prop_map(|value| value.to_string()), number];
    let field = (prop::sample::select(KEYS), value).prop_map(|(key, value)| format!("\"{key}\":{value}"));
    prop::collection::vec(field, 0..8).prop_map(|fields| format!("{{{}}}", fields.join(",")))
}

/// A real payload with bytes changed and its end cut off, so that it is nearly one.
fn nearly_a_payload() -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
    let cut = prop::option::of(any::<prop::sample::Index>());
    (prop::sample::select(GATEWAYS.to_vec()), prop::sample::select(TYPES), any::<u64>(), edits, cut).prop_map(
        |(gateway, event_type, seed, edits, cut)| {
            let event = Wanted::default().event(gateway, event_type, seed, NOW).expect(event_type);
            let mut body = event.body.into_bytes();
            for (index, byte) in edits {
                let index = index.index(body.len());
                body[index] = byte;
            }
            body.truncate(cut.map_or(usize::MAX, |cut| cut.index(body.len())));
            body
        },
    )
}

fn is_read_or_refused(body: &[u8]) {
    let mut headers = HeaderMap::new();
    for headers_too in [false, true] {
        if headers_too {
            headers.insert("webhook-id", HeaderValue::from_static("msg_1"));
        }
        for gateway in GATEWAYS {
            let text = String::from_utf8_lossy(body);
            let envelope = gateway.envelope(&headers, body);
            assert_eq!(envelope, gateway.envelope(&headers, body), "{text}");
            let statement = gateway.normalise(body, NOW);
            assert_eq!(statement, gateway.normalise(body, NOW), "{text}");
            // What is accepted can be applied.
            assert!(envelope.is_err() || statement.is_ok(), "{gateway:?}: {text}");
            if let Ok(envelope) = envelope {
                assert!(!envelope.event_id.is_empty() && envelope.event_id.len() <= 255, "{gateway:?}: {text}");
            }
        }
    }
}

#[test]
fn nesting_is_bounded() {
    for (open, close) in [("[", "]"), ("{\"data\":", "}"), ("{\"metadata\":", "}")] {
        for depth in [10, 127, 129, 100_000] {
            let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            is_read_or_refused(nested.as_bytes());
            is_read_or_refused(format!(r#"{{"payment_id":1,"status":"completed","metadata":{nested}}}"#).as_bytes());
            is_read_or_refused(open.repeat(depth).as_bytes());
        }
    }
}

proptest! {
    #[test]
    fn bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        is_read_or_refused(&body);
    }

    #[test]
    fn odd_json_is_read_or_refused(json in any_json(), object in any_object_text()) {
        is_read_or_refused(json.to_string().as_bytes());
        is_read_or_refused(object.as_bytes());
        is_read_or_refused(format!(r#"{{"type":"x","data":{object}}}"#).as_bytes());
    }

    #[test]
    fn damaged_payloads_are_read_or_refused(body in nearly_a_payload()) {
        is_read_or_refused(&body);
    }

    #[test]
    fn any_header_gets_a_verdict(
        sent in prop::collection::vec((0..7_usize, prop_oneof![
            prop::collection::vec(32_u8..=255, 0..80),
            "(v1|v1a|v2),[A-Za-z0-9+/]{0,90}={0,2}( v1,[A-Za-z0-9+/]{43}=)?".prop_map(String::into_bytes),
            "t=[0-9]{1,12},v1=[0-9a-f]{64}".prop_map(String::into_bytes),
            "[0-9]{1,20}".prop_map(String::into_bytes),
        ]), 0..6),
        body in any::<Vec<u8>>(),
    ) {
        const NAMES: [&str; 7] = ["webhook-id", "webhook-timestamp", "webhook-signature", "svix-id", "svix-signature",
            "x-webhook-signature", "x-api-key"];
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(HeaderName::from_static(NAMES[name]), value);
            }
        }
        for gateway in GATEWAYS {
            let verdict = gateway.verify(&headers, &body, &[secret_of(gateway, SECRET)], NOW, u64::MAX);
            prop_assert!(matches!(verdict, Verdict::Invalid(_)), "{:?} {:?}", gateway, headers);
            let _ = gateway.envelope(&headers, &body);
        }
    }

    #[test]
    fn no_byte_that_is_signed_can_be_changed(
        index in any::<prop::sample::Index>(), flip in 1_u8..=255, seed in any::<u64>(),
    ) {
        for gateway in [Gateway::Generic, Gateway::StandardWebhooks] {
            let event = Wanted::default().event(gateway, "payment.completed", seed, NOW).expect("a type");
            let mut body = event.body.into_bytes();
            let headers = signed(gateway, SECRET, &event.id, NOW, &body);
            let secrets = [secret_of(gateway, SECRET)];
            prop_assert_eq!(gateway.verify(&headers, &body, &secrets, NOW, 0), Verdict::Valid { secret: 0 });
            let index = index.index(body.len());
            body[index] ^= flip;
            let verdict = gateway.verify(&headers, &body, &secrets, NOW, 0);
            prop_assert!(matches!(verdict, Verdict::Invalid(_)));
        }
    }

    #[test]
    fn samples_say_what_was_wanted(
        amount in 0..1_000_000_000_i64, code in prop::sample::select(vec!["USD", "JPY", "KWD"]), seed in any::<u64>(),
        payment in prop::option::of("[a-zA-Z0-9\"\\\\ -]{1,20}"), transaction in prop::option::of("TXN-[0-9]{6}"),
    ) {
        let currency = domain::Currency::parse(code);
        let amount = domain::money::Minor::new(amount);
        let wanted =
            Wanted { payment_id: payment.clone(), transaction_id: transaction.clone(), amount, currency, ..Wanted::default() };
        for gateway in GATEWAYS {
            for event_type in TYPES {
                let event = wanted.event(gateway, event_type, seed, NOW).expect("a type");
                prop_assert_eq!(&event, &wanted.event(gateway, event_type, seed, NOW).expect("a type"));
                let headers = signed(gateway, SECRET, &event.id, NOW, event.body.as_bytes());
                let envelope = gateway.envelope(&headers, event.body.as_bytes()).expect("an event");
                prop_assert_eq!((&*envelope.event_type, &envelope.event_id), (*event_type, &event.id));
                let statement = gateway.normalise(event.body.as_bytes(), NOW).expect("an event");
                let external = statement.facts.externals.values().next().expect("a payment");
                let seen = if *event_type == "payment.completed" { &external.completed } else { &external.failed };
                let money = seen.amounts.first().and_then(|stated| stated.money()).expect("an amount");
                prop_assert_eq!((Some(money.amount), Some(money.currency)), (amount, currency));
                prop_assert!(payment.as_ref().is_none_or(|id| external.payment_ids.contains(id)));
                prop_assert!(transaction.as_ref().is_none_or(|id| external.transaction_ids.contains(id)));
            }
        }
    }
}
