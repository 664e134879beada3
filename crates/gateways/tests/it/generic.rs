//! The generic gateway: how a merchant's own system signs, and what it may say.

use domain::external::StatedAmount;
use domain::{Currency, Timestamp};
use gateways::{Envelope, Gateway, NotAnEvent, Reason, Verdict};
use http::HeaderMap;
use serde_json::{Value, json};

use crate::support::{headers_of, only_external, secret_of, signed};

const NOW: Timestamp = Timestamp::from_seconds(1_763_654_400);
const SECRET: &str = "generic-secret";
const BODY: &str = r#"{"payment_id":"P-1","transaction_id":"TXN-123456","status":"completed","amount":150.00,
    "currency":"USD","metadata":{"note":"a"}}"#;

fn envelope(body: &str) -> Result<Envelope, NotAnEvent> {
    Gateway::Generic.envelope(&HeaderMap::new(), body.as_bytes())
}

fn event_id(body: &str) -> String {
    envelope(body).unwrap_or_else(|error| panic!("{error}: {body}")).event_id
}

/// The payload of the specification with these keys changed; null takes one out.
fn changed(changes: Value) -> String {
    let mut body = json!({"payment_id": "P-1", "transaction_id": "TXN-123456", "status": "completed"});
    for (key, value) in changes.as_object().expect("an object") {
        body[key] = value.clone();
    }
    body.to_string()
}

#[test]
fn both_ways_of_signing_are_valid_with_one_secret() {
    let verify = |headers: &HeaderMap, now, text| {
        Gateway::Generic.verify(headers, BODY.as_bytes(), &[secret_of(Gateway::Generic, text)], now, 300)
    };
    let valid = Verdict::Valid { secret: 0 };
    let whsec = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    for (signer, text) in [
        (Gateway::Generic, SECRET),
        (Gateway::Generic, whsec),
        (Gateway::StandardWebhooks, whsec),
        (Gateway::StandardWebhooks, &whsec[6..]),
    ] {
        let headers = signed(signer, text, "msg_1", NOW, BODY.as_bytes());
        assert_eq!(verify(&headers, NOW, text), valid, "{signer:?} {text}");
        assert_eq!(verify(&headers, NOW, "another"), Verdict::Invalid(Reason::NoMatch), "{signer:?} {text}");
        for (seconds, verdict) in [
            (300, valid),
            (-300, valid),
            (301, Verdict::Invalid(Reason::OutsideTolerance(301))),
            (-301, Verdict::Invalid(Reason::OutsideTolerance(-301))),
        ] {
            let now = Timestamp::from_seconds(NOW.seconds() + seconds);
            assert_eq!(verify(&headers, now, text), verdict, "{signer:?} {text}");
        }
    }
    assert_eq!(verify(&HeaderMap::new(), NOW, SECRET), Verdict::Invalid(Reason::HeaderMissing));
    let stripes = headers_of(&[("stripe-signature", "t=1,v1=00")]);
    assert_eq!(verify(&stripes, NOW, SECRET), Verdict::Invalid(Reason::HeaderMissing));
}

/// A secret that is no base64 is its bytes for Standard Webhooks too.
#[test]
fn a_plain_secret_signs_standard_webhooks_by_its_bytes() {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let as_whsec = format!("whsec_{}", BASE64_STANDARD.encode(SECRET));
    let headers = signed(Gateway::StandardWebhooks, &as_whsec, "msg_1", NOW, BODY.as_bytes());
    let secrets = [secret_of(Gateway::Generic, SECRET)];
    let verdict = Gateway::Generic.verify(&headers, BODY.as_bytes(), &secrets, NOW, 300);
    assert_eq!(verdict, Verdict::Valid { secret: 0 });
}

#[test]
fn only_an_id_that_is_signed_is_the_events() {
    let standard = signed(Gateway::StandardWebhooks, "c2VjcmV0", "msg_1", NOW, BODY.as_bytes());
    let id = |headers: &HeaderMap, body: &str| Gateway::Generic.envelope(headers, body.as_bytes()).unwrap().event_id;
    assert_eq!(id(&standard, BODY), "msg_1");
    let mut both = signed(Gateway::Generic, SECRET, "", NOW, BODY.as_bytes());
    both.extend(standard);
    let secrets = [secret_of(Gateway::Generic, SECRET)];
    let verdict = Gateway::Generic.verify(&both, BODY.as_bytes(), &secrets, NOW, 300);
    assert_eq!(verdict, Verdict::Valid { secret: 0 });
    assert_eq!(id(&both, BODY), event_id(BODY), "nothing covers `webhook-id` here");

    assert_eq!(event_id(&changed(json!({"event_id": "evt_7"}))), "evt_7");
    assert_eq!(event_id(&changed(json!({"id": 7}))), "7");
    assert_eq!(event_id(&changed(json!({"id": "x", "event_id": "evt_7"}))), "evt_7");
    // The payment's own id would make one event of all that happens to it.
    assert_eq!(event_id(&changed(json!({"id": "P-1"}))), event_id(&changed(json!({}))));
}

#[test]
fn the_hashed_id_depends_on_what_is_said_and_not_on_how() {
    let base = r#"{"payment_id":"1","transaction_id":"T","status":"completed","amount":150.00,"currency":"USD",
        "timestamp":"2025-11-20T16:00:00.1Z"}"#;
    let id = event_id(base);
    assert!(id.starts_with("evt_") && id.len() == 44 && id[4..].bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    let same = [
        base.replace("\n        ", " "),
        base.replace(r#""1""#, "1"),
        base.replace("150.00", "150"),
        base.replace("150.00", r#""150.0""#),
        base.replace("150.00", "1.5e2"),
        base.replace("USD", "usd"),
        base.replace(".1Z", ".100Z"),
        base.replace(".1Z", ".1+00:00"),
        base.replace("16:00:00.1Z", "17:00:00.1+01:00"),
        base.replace('}', r#","metadata":{"a":1},"more":[1]}"#),
        r#"{"currency":"USD","amount":150,"created_at":"2025-11-20T16:00:00.1Z","status":"completed",
            "transaction_id":"T","payment_id":1}"#
            .to_owned(),
    ];
    for body in same {
        assert_eq!(event_id(&body), id, "{body}");
    }
    let others = [
        base.replace(r#""1""#, r#""2""#),
        base.replace(r#""T""#, r#""U""#),
        base.replace(r#"payment_id":"1","transaction_id":"T""#, r#"payment_id":"T","transaction_id":"1""#),
        base.replace("completed", "failed"),
        base.replace("150.00", "150.01"),
        base.replace("USD", "EUR"),
        base.replace(r#""currency":"USD","#, ""),
        base.replace(".1Z", ".2Z"),
        base.replace(".1Z", ""),
    ];
    let mut ids: Vec<String> = others.iter().map(|body| event_id(body)).collect();
    ids.push(id);
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "{others:#?}");
}

#[test]
fn what_it_does_not_send_is_refused_and_said() {
    let cases = [
        ("", "JSON"),
        ("[]", "JSON object"),
        ("null", "JSON object"),
        (r#"{"status":"completed""#, "JSON"),
        (r#"{"payment_id":1,"status":"completed"} x"#, "JSON"),
        (r#"{"payment_id":1,"payment_id":2,"status":"completed"}"#, "repeated"),
        (r#"{"payment_id":1,"status":"failed","status":"completed"}"#, "repeated"),
        (r#"{"payment_id":1,"stat\u0075s":"failed","status":"completed"}"#, "repeated"),
        (r#"{"status":"completed"}"#, "payment_id"),
        (r#"{"payment_id":"","status":"completed"}"#, "payment_id"),
        (r#"{"payment_id":null,"transaction_id":null,"status":"completed"}"#, "payment_id"),
        (r#"{"order_id":"6735","status":"completed"}"#, "payment_id"),
        (r#"{"payment_id":1}"#, "`completed` nor `failed`"),
        (r#"{"payment_id":1,"status":"refunded"}"#, "`completed` nor `failed`"),
        (r#"{"payment_id":1,"status":"Completed"}"#, "`completed` nor `failed`"),
        (r#"{"payment_id":1,"status":true}"#, "`completed` nor `failed`"),
        (r#"{"payment_id":1.5,"status":"completed"}"#, "payment_id"),
        (r#"{"payment_id":-1,"status":"completed"}"#, "payment_id"),
        (r#"{"payment_id":{"id":1},"status":"completed"}"#, "payment_id"),
        (r#"{"payment_id":true,"status":"completed"}"#, "payment_id"),
        (r#"{"payment_id":"a\u0000b","status":"completed"}"#, "payment_id"),
        (r#"{"payment_id":1,"transaction_id":[],"status":"completed"}"#, "transaction_id"),
        (r#"{"payment_id":1,"status":"completed","amount":-150}"#, "amount"),
        (r#"{"payment_id":1,"status":"completed","amount":"-0.01","currency":"USD"}"#, "amount"),
        (r#"{"payment_id":1,"status":"completed","amount":"NaN"}"#, "amount"),
        (r#"{"payment_id":1,"status":"completed","amount":NaN}"#, "JSON"),
        (r#"{"payment_id":1,"status":"completed","amount":"150,00"}"#, "amount"),
        (r#"{"payment_id":1,"status":"completed","amount":true}"#, "amount"),
        (r#"{"payment_id":1,"status":"completed","amount":[150]}"#, "amount"),
        (r#"{"payment_id":1,"status":"completed","amount":1e400,"currency":"USD"}"#, "amount"),
        (r#"{"payment_id":1,"status":"completed","amount":150.001,"currency":"USD"}"#, "decimals"),
        (r#"{"payment_id":1,"status":"completed","amount":150.5,"currency":"JPY"}"#, "decimals"),
        (r#"{"payment_id":1,"status":"completed","amount":99999999999999999999,"currency":"USD"}"#, "too large"),
        (r#"{"payment_id":1,"status":"completed","currency":"dollars"}"#, "currency"),
        (r#"{"payment_id":1,"status":"completed","currency":840}"#, "currency"),
        (r#"{"payment_id":1,"status":"completed","metadata":[]}"#, "metadata"),
        (r#"{"payment_id":1,"status":"completed","metadata":"x"}"#, "metadata"),
        (r#"{"payment_id":1,"status":"completed","method":7}"#, "method"),
        (r#"{"payment_id":1,"status":"completed","timestamp":{}}"#, "time"),
        (r#"{"payment_id":1,"status":"completed","event_id":{}}"#, "event_id"),
        (r#"{"payment_id":1,"status":"failed","error":5}"#, "reason"),
    ];
    for (body, named) in cases {
        let error = envelope(body).expect_err(body).to_string();
        assert!(error.contains(named), "{error:?} should name {named:?}: {body}");
    }
    let invalid = [br#"{"payment_id":""#.as_slice(), b"\xff", br#"","status":"completed"}"#].concat();
    assert!(Gateway::Generic.envelope(&HeaderMap::new(), &invalid).is_err());
}

#[test]
fn amounts_are_read_exactly() {
    let cases = [
        ("150.00", "USD", Some(15_000)),
        ("150", "USD", Some(15_000)),
        ("1.5e2", "USD", Some(15_000)),
        ("\"150.00\"", "usd", Some(15_000)),
        ("0.1", "USD", Some(10)),
        ("1.10", "USD", Some(110)),
        ("150.10", "USD", Some(15_010)),
        ("4.35", "USD", Some(435)), // 434.99999999999994 as a float.
        ("1.005000", "KWD", Some(1_005)),
        ("500.00", "JPY", Some(500)),
        ("90071992547409.93", "USD", Some(9_007_199_254_740_993)), // No float holds it.
        ("150.00", "", None),
    ];
    for (amount, currency, units) in cases {
        let body = format!(r#"{{"payment_id":1,"status":"completed","amount":{amount},"currency":"{currency}"}}"#);
        let statement = Gateway::Generic.normalise(body.as_bytes(), NOW).unwrap_or_else(|e| panic!("{e}: {body}"));
        let (_, external) = only_external(&statement);
        let stated = external.completed.amounts.first().expect("an amount");
        assert_eq!(stated.money().map(|money| money.amount.units()), units, "{body}");
        if let StatedAmount::Decimal(decimal) = stated {
            assert_eq!(decimal.as_str(), "150");
            let dollars = Currency::parse("USD").expect("a code");
            assert_eq!(stated.in_currency(dollars).map(|minor| minor.units()), Some(15_000));
        }
    }
}

#[test]
fn a_completed_payment_is_stated_whole() {
    let body = changed(json!({
        "amount": 150, "currency": "EUR", "timestamp": 1_763_654_000, "method": "card",
        "metadata": {"order_id": "6735", "booking_id": 1, "nested": {}}, "unknown": [{}],
    }));
    let read = envelope(&body).expect("an event");
    assert_eq!(read.event_type, "payment.completed");
    assert_eq!(read.created_at, Some(Timestamp::from_seconds(1_763_654_000)));
    let statement = Gateway::Generic.normalise(body.as_bytes(), NOW).expect("an event");
    assert_eq!(statement.object_id.as_deref(), Some("TXN-123456"));
    let (key, external) = only_external(&statement);
    assert_eq!(key, "transaction:TXN-123456");
    assert!(external.transaction_ids.contains("TXN-123456") && external.payment_ids.contains("P-1"));
    assert!(external.failed.first.is_none() && !external.time_unreliable);
    assert_eq!(external.completed_at(), read.created_at);
    let details = external.completed.details.get().expect("details");
    assert_eq!(details.method.as_deref(), Some("card"));
    assert_eq!(details.order_id.as_deref(), Some("6735"));
    assert_eq!(details.amount.map(|amount| amount.units()), Some(15_000));
    let metadata: Vec<(&str, &str)> =
        details.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(metadata, [("booking_id", "1"), ("order_id", "6735")]);
}

#[test]
fn a_failure_says_why() {
    for (reason, code, message) in [
        (json!({"error": "card declined"}), None, Some("card declined")),
        (json!({"failure_reason": {"code": "51", "message": "no funds"}}), Some("51"), Some("no funds")),
    ] {
        let mut reason = reason;
        reason["status"] = "failed".into();
        let body = changed(reason);
        assert_eq!(envelope(&body).expect("an event").event_type, "payment.failed");
        let statement = Gateway::Generic.normalise(body.as_bytes(), NOW).expect("an event");
        let (_, external) = only_external(&statement);
        let failure = external.failure.get().expect("a failure");
        assert_eq!((failure.code.as_deref(), failure.message.as_deref()), (code, message));
        assert!(external.completed.first.is_none());
    }
}

#[test]
fn a_time_that_cannot_be_relied_on_is_when_it_was_received() {
    let received = NOW;
    let cases = [
        (json!(null), received, true),
        (json!("2025-11-20T15:00:00Z"), Timestamp::from_seconds(1_763_650_800), false),
        (json!(1_763_650_800), Timestamp::from_seconds(1_763_650_800), false),
        (json!(1_763_650_800_250_i64), Timestamp::from_micros(1_763_650_800_250_000), false),
        (json!("2025-11-20T15:00:00"), received, true),
        (json!("2025-19-12T22:20:32.000Z"), received, true),
        (json!("yesterday"), received, true),
        (json!("2025-11-20T16:05:00Z"), Timestamp::from_seconds(1_763_654_700), false),
        (json!("2025-11-20T16:05:01Z"), received, true),
        (json!(1.5), received, true),
    ];
    for (time, at, unreliable) in cases {
        let body = changed(json!({"timestamp": time}));
        let statement = Gateway::Generic.normalise(body.as_bytes(), received).expect("an event");
        let (_, external) = only_external(&statement);
        assert_eq!((external.completed_at(), external.time_unreliable), (Some(at), unreliable), "{body}");
    }
}
