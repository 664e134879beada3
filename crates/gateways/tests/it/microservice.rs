//! The payment service: an API key, and what it may say.

use domain::Timestamp;
use gateways::{Envelope, Gateway, NotAnEvent, Reason, Verdict};
use http::{HeaderMap, HeaderValue};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::{headers_of, only_external, secret_of};

const NOW: Timestamp = Timestamp::from_seconds(1_763_654_400);

fn envelope(body: &str) -> Result<Envelope, NotAnEvent> {
    Gateway::Microservice.envelope(&HeaderMap::new(), body.as_bytes())
}

fn body(changes: Value) -> String {
    let mut body = json!({
        "paymentId": "P-1", "orderId": "6735", "status": "completed", "paymentMethod": "webpay",
        "event": "payment.completed", "timestamp": "2025-11-20T15:00:00Z",
        "metadata": {"providerTransactionId": "TXN-9"},
    });
    for (key, value) in changes.as_object().expect("an object") {
        body[key] = value.clone();
    }
    body.to_string()
}

#[test]
fn every_configured_key_and_no_other_is_let_in() {
    let secrets = ["old-key", "new-key"].map(|text| secret_of(Gateway::Microservice, text));
    let verify = |headers: &HeaderMap| Gateway::Microservice.verify(headers, b"any", &secrets, NOW, 0);
    let cases: [(&[(&str, &str)], Verdict); 9] = [
        (&[("x-api-key", "old-key")], Verdict::Valid { secret: 0 }),
        (&[("X-API-Key", "new-key")], Verdict::Valid { secret: 1 }),
        (&[("x-api-key", "new-key2")], Verdict::Invalid(Reason::ApiKeyWrong)),
        (&[("x-api-key", "new-ke")], Verdict::Invalid(Reason::ApiKeyWrong)),
        (&[("x-api-key", "NEW-KEY")], Verdict::Invalid(Reason::ApiKeyWrong)),
        (&[("x-api-key", "")], Verdict::Invalid(Reason::ApiKeyWrong)),
        (&[("x-api-key", "new-key"), ("x-api-key", "new-key")], Verdict::Invalid(Reason::ApiKeyRepeated)),
        (&[("authorization", "Bearer new-key")], Verdict::Invalid(Reason::ApiKeyMissing)),
        (&[], Verdict::Invalid(Reason::ApiKeyMissing)),
    ];
    for (headers, verdict) in cases {
        assert_eq!(verify(&headers_of(headers)), verdict, "{headers:?}");
    }
    let mut bytes = HeaderMap::new();
    bytes.insert("x-api-key", HeaderValue::from_bytes(b"\xff\xfe").expect("bytes"));
    assert_eq!(verify(&bytes), Verdict::Invalid(Reason::ApiKeyWrong));
    let nobody = Gateway::Microservice.verify(&headers_of(&[("x-api-key", "k")]), b"", &[], NOW, 0);
    assert_eq!(nobody, Verdict::Invalid(Reason::NoSecret));
    // Another gateway's secret, even of the same text, is no API key.
    let stripes = [secret_of(Gateway::Stripe, "k")];
    let verdict = Gateway::Microservice.verify(&headers_of(&[("x-api-key", "k")]), b"", &stripes, NOW, 0);
    assert_eq!(verdict, Verdict::Invalid(Reason::ApiKeyWrong));
    assert!(Gateway::Microservice.secret(&SecretString::from("two\nlines")).is_err());
}

#[test]
fn the_events_id_is_never_one_that_was_claimed() {
    let id = |changes: Value| envelope(&body(changes)).expect("an event").event_id;
    let base = id(json!({}));
    assert!(base.starts_with("evt_"), "{base}");
    let same = [
        json!({"id": "evt_claimed", "eventId": "evt_claimed", "event_id": "evt_claimed"}),
        json!({"metadata": {"providerTransactionId": "TXN-9", "id": "evt_claimed"}}),
        json!({"event": "PAYMENT_COMPLETED"}),
        json!({"timestamp": "2025-11-20T16:00:00.000+01:00"}),
        json!({"paymentMethod": "paypal"}),
    ];
    for changes in same {
        assert_eq!(id(changes.clone()), base, "{changes}");
    }
    let claims = headers_of(&[("webhook-id", "evt_claimed"), ("x-event-id", "evt_claimed")]);
    assert_eq!(Gateway::Microservice.envelope(&claims, body(json!({})).as_bytes()).expect("an event").event_id, base);
    for changes in [
        json!({"paymentId": "P-2"}),
        json!({"orderId": "6736"}),
        json!({"metadata": {"providerTransactionId": "TXN-8"}}),
        json!({"status": "failed", "event": null}),
        json!({"timestamp": "2025-11-20T15:00:01Z"}),
        json!({"amount": "1.00"}),
    ] {
        assert_ne!(id(changes.clone()), base, "{changes}");
    }
}

#[test]
fn an_event_that_contradicts_its_status_is_refused() {
    let completed = [
        "payment.completed",
        "payment_completed",
        "completed",
        "PAYMENT_COMPLETED",
        "payment.success",
        "paymentSucceeded",
        "payment.paid",
        "PAYMENT APPROVED",
        "payment.confirmed",
    ];
    let failed = [
        "payment.failed",
        "payment_failed",
        "failed",
        "PAYMENT_FAILED",
        "paymentFailed",
        "payment.declined",
        "payment.canceled",
        "payment.cancelled",
        "payment.rejected",
        "payment.expired",
        "payment.error",
        "payment.unsuccessful",
    ];
    let neither = ["payment.refunded", "refund.completed", "REFUND_FAILED", "dispute.created", "payment.pending"];
    let neutral = ["payment.updated", "payment", "webpay", "status_changed"];
    let accepted = |event: &str, status: &str| envelope(&body(json!({"event": event, "status": status}))).is_ok();
    for event in completed {
        assert!(accepted(event, "completed") && !accepted(event, "failed"), "{event}");
    }
    for event in failed {
        assert!(accepted(event, "failed") && !accepted(event, "completed"), "{event}");
    }
    for event in neither {
        assert!(!accepted(event, "failed") && !accepted(event, "completed"), "{event}");
    }
    for event in neutral {
        assert!(accepted(event, "failed") && accepted(event, "completed"), "{event}");
    }
}

#[test]
fn what_it_does_not_send_is_refused_and_said() {
    let cases = [
        (json!({"status": null}), "`completed` nor `failed`"),
        (json!({"status": "paid"}), "`completed` nor `failed`"),
        (json!({"paymentMethod": "card"}), "paymentMethod"),
        (json!({"paymentMethod": 1}), "paymentMethod"),
        (json!({"event": 1}), "event"),
        (json!({"event": "payment.failed"}), "contradict"),
        (json!({"paymentId": 1.5}), "paymentId"),
        (json!({"orderId": []}), "orderId"),
        (json!({"metadata": {"providerTransactionId": {}}}), "metadata"),
        (json!({"metadata": 1}), "metadata"),
        (json!({"amount": -1}), "amount"),
        (json!({"timestamp": []}), "time"),
        (json!({"paymentId": null, "orderId": null, "metadata": null}), "paymentId"),
    ];
    for (changes, named) in cases {
        let error = envelope(&body(changes.clone())).expect_err("refused").to_string();
        assert!(error.contains(named), "{error:?} should name {named:?}: {changes}");
    }
    let repeated = envelope(r#"{"paymentId":1,"paymentId":2,"status":"completed"}"#).expect_err("refused");
    assert!(repeated.to_string().contains("repeated"));
}

#[test]
fn one_of_the_ids_is_enough() {
    let cases = [
        (r#"{"paymentId":43,"status":"completed"}"#, "payment:43", "43"),
        (r#"{"orderId":6735,"status":"completed"}"#, "order:6735", "6735"),
        (r#"{"metadata":{"providerTransactionId":"T"},"status":"completed"}"#, "transaction:T", "T"),
        (r#"{"metadata":{"transactionId":7},"status":"completed"}"#, "transaction:7", "7"),
        (r#"{"transactionId":"T","status":"completed"}"#, "transaction:T", "T"),
        (r#"{"paymentId":"P","orderId":"O","status":"completed"}"#, "payment:P", "P"),
    ];
    for (body, key, object_id) in cases {
        let statement = Gateway::Microservice.normalise(body.as_bytes(), NOW).expect(body);
        assert_eq!(only_external(&statement).0, key, "{body}");
        assert_eq!(statement.object_id.as_deref(), Some(object_id), "{body}");
    }
}

#[test]
fn a_payment_is_stated_whole() {
    let body = body(json!({"amount": "25000", "currency": "CLP"}));
    let read = envelope(&body).expect("an event");
    assert_eq!(
        (read.event_type.as_str(), read.created_at),
        ("payment.completed", Some(Timestamp::from_seconds(1_763_650_800)))
    );
    let statement = Gateway::Microservice.normalise(body.as_bytes(), NOW).expect("an event");
    let (key, external) = only_external(&statement);
    assert_eq!(key, "transaction:TXN-9");
    assert!(external.payment_ids.contains("P-1") && external.order_ids.contains("6735"));
    let details = external.completed.details.get().expect("details");
    assert_eq!((details.method.as_deref(), details.order_id.as_deref()), (Some("webpay"), Some("6735")));
    assert_eq!(details.amount.map(|amount| amount.units()), Some(25_000));
    let without_time = body.replace("2025-11-20T15:00:00Z", "2025-11-20T15:00:00");
    let statement = Gateway::Microservice.normalise(without_time.as_bytes(), NOW).expect("an event");
    let (_, external) = only_external(&statement);
    assert_eq!((external.completed_at(), external.time_unreliable), (Some(NOW), true));
}
