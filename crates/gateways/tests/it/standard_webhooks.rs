//! Standard Webhooks: the specification's vectors, and what is read of a body.

use base64::prelude::{BASE64_STANDARD, Engine};
use domain::{Facts, Timestamp};
use gateways::{Gateway, Reason, Statement, Verdict};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::json;

use crate::support::{corpus, headers_of, only_external, read_json, secret_of, signed};

const GATEWAY: Gateway = Gateway::StandardWebhooks;
const NOW: Timestamp = Timestamp::from_seconds(1_763_654_400);
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[test]
fn every_vector_gets_its_verdict() {
    let vectors = read_json(&corpus("vectors/standard-webhooks.json"));
    let vectors = vectors.as_array().expect("a list");
    assert!(vectors.len() >= 30, "{} vectors", vectors.len());
    for vector in vectors {
        let name = vector["name"].as_str().expect("name");
        let mut headers = HeaderMap::new();
        for (key, value) in vector["headers"].as_object().expect("headers") {
            let key = HeaderName::try_from(key.as_str()).expect(name);
            headers.append(key, HeaderValue::from_str(value.as_str().expect(name)).expect(name));
        }
        let body = match vector["body_repeat"].as_object() {
            Some(repeat) => {
                let count = repeat["count"].as_u64().and_then(|count| usize::try_from(count).ok()).expect(name);
                repeat["byte"].as_str().expect(name).repeat(count).into_bytes()
            }
            None => BASE64_STANDARD.decode(vector["body_base64"].as_str().expect(name)).expect(name),
        };
        let secrets = [secret_of(GATEWAY, vector["key"].as_str().expect(name))];
        let now = Timestamp::from_seconds(vector["timestamp_now"].as_i64().expect(name));
        let verdict = GATEWAY.verify(&headers, &body, &secrets, now, vector["tolerance_s"].as_u64().expect(name));
        match vector["expect"].as_str() {
            Some("valid") => assert_eq!(verdict, Verdict::Valid { secret: 0 }, "{name}"),
            Some("invalid") => assert!(matches!(verdict, Verdict::Invalid(_)), "{name}: {verdict:?}"),
            expect => panic!("{name}: {expect:?}"),
        }
        assert_ne!(verdict, Verdict::Invalid(Reason::NoSecret), "{name}");
    }
}

#[test]
fn headers_are_read_exactly() {
    let body = b"{}";
    let value = |name: &str, headers: &HeaderMap| headers[name].to_str().expect("text").to_owned();
    let good = signed(GATEWAY, SECRET, "msg_1", NOW, body);
    let (time, signature) = (value("webhook-timestamp", &good), value("webhook-signature", &good));
    let valid = Verdict::Valid { secret: 0 };
    let malformed = Verdict::Invalid(Reason::HeaderMalformed);
    let no_match = Verdict::Invalid(Reason::NoMatch);
    let others = format!("v2,AAAA v1,AAAA {signature}");
    let many = format!("{}{signature}", "v1,AAAA ".repeat(16));
    let (id, at, by) = ("webhook-id", "webhook-timestamp", "webhook-signature");
    let cases: Vec<(Vec<(&str, &str)>, Verdict)> = vec![
        (vec![(id, "msg_1"), (at, &time), (by, &signature)], valid),
        (vec![("svix-id", "msg_1"), ("svix-timestamp", &time), ("svix-signature", &signature)], valid),
        (vec![(id, "msg_1"), (at, &time), (by, &others)], valid),
        (vec![(id, "msg_1"), (at, &time), (by, &many)], no_match),
        (vec![(id, "msg_1"), (id, "msg_1"), (at, &time), (by, &signature)], Verdict::Invalid(Reason::HeaderRepeated)),
        (vec![(id, "msg_1"), (at, &time), (at, &time), (by, &signature)], Verdict::Invalid(Reason::HeaderRepeated)),
        (
            vec![(id, "msg_1"), (at, &time), (by, &signature), (by, &signature)],
            Verdict::Invalid(Reason::HeaderRepeated),
        ),
        // One set of names only: else another id than the signed one could be read.
        (
            vec![(id, "msg_1"), ("svix-timestamp", &time), ("svix-signature", &signature)],
            Verdict::Invalid(Reason::HeaderMissing),
        ),
        (vec![(id, ""), (at, &time), (by, &signature)], malformed),
        (vec![(id, "msg_1"), (at, "+1763654400"), (by, &signature)], malformed),
        (vec![(id, "msg_1"), (at, "1763654400.0"), (by, &signature)], malformed),
        (vec![(id, "msg_1"), (at, ""), (by, &signature)], malformed),
        (vec![(id, "msg_1"), (at, "99999999999999999999"), (by, &signature)], malformed),
        (vec![(id, "msg_1"), (at, "01763654400"), (by, &signature)], no_match),
        (vec![(id, "msg_1"), (at, &time), (by, &signature[3..])], Verdict::Invalid(Reason::NoSignature)),
        (vec![(id, "msg_1"), (at, &time), (by, "")], Verdict::Invalid(Reason::NoSignature)),
        (vec![(id, "msg_2"), (at, &time), (by, &signature)], no_match),
        (vec![], Verdict::Invalid(Reason::HeaderMissing)),
    ];
    for (headers, verdict) in cases {
        let secrets = [secret_of(GATEWAY, SECRET)];
        assert_eq!(GATEWAY.verify(&headers_of(&headers), body, &secrets, NOW, 300), verdict, "{headers:?}");
    }
}

#[test]
fn a_secret_that_cannot_verify_is_refused_where_it_is_configured() {
    let refused = ["", "whsec_", "whsec_not base64!", "whpk_", "whpk_AAAA", "whsk_6Xb/dCcHpPea", "päss"];
    for text in refused {
        let error = GATEWAY.secret(&SecretString::from(text)).expect_err(text);
        assert!(text.len() < 7 || !error.to_string().contains(&text[6..]), "{error} shows a secret");
    }
    let public = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
    assert!(GATEWAY.secret(&SecretString::from(public)).is_ok());
    assert!(GATEWAY.sign(&SecretString::from(public), "msg_1", NOW, b"{}").is_err());
}

#[test]
fn a_signed_body_is_an_event_whatever_it_is() {
    let headers = signed(GATEWAY, SECRET, "msg_1", NOW, b"");
    let cases: [(&[u8], &str, Option<i64>); 8] = [
        (br#"{"type":"invoice.paid","timestamp":"2025-11-20T15:00:00Z"}"#, "invoice.paid", Some(1_763_650_800)),
        (br#"{"type":"invoice.paid"}"#, "invoice.paid", Some(1_763_654_400)),
        (br#"{"type":7}"#, "unknown", Some(1_763_654_400)),
        (b"[1,2]", "unknown", Some(1_763_654_400)),
        (b"a=b&type=c", "unknown", Some(1_763_654_400)),
        (b"", "unknown", Some(1_763_654_400)),
        (b"\xff\xfe\x00", "unknown", Some(1_763_654_400)),
        (br#"{"type":"#, "unknown", Some(1_763_654_400)),
    ];
    for (body, event_type, created_at) in cases {
        let text = String::from_utf8_lossy(body);
        let envelope = GATEWAY.envelope(&headers, body).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!((envelope.event_id.as_str(), envelope.event_type.as_str()), ("msg_1", event_type), "{text}");
        assert_eq!(envelope.created_at.map(Timestamp::seconds), created_at, "{text}");
        let statement = GATEWAY.normalise(body, NOW).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(statement, Statement::default(), "{text}");
    }
}

#[test]
fn a_generic_payment_is_read_from_the_body_or_its_data() {
    let payment = json!({"payment_id": "P-1", "status": "completed", "amount": 150, "currency": "USD"});
    let mut whole = payment.clone();
    whole["type"] = "payment.completed".into();
    let data = json!({"type": "payment.completed", "timestamp": "2025-11-20T15:00:00Z", "data": payment});
    for (body, at) in [(whole, NOW), (data, Timestamp::from_seconds(1_763_650_800))] {
        let statement = GATEWAY.normalise(body.to_string().as_bytes(), NOW).expect("an event");
        let (key, external) = only_external(&statement);
        assert_eq!((key, external.completed_at()), ("payment:P-1", Some(at)), "{body}");
        assert_eq!(statement.object_id.as_deref(), Some("P-1"));
    }
    for none in [
        json!({"type": "payment.completed", "data": {"payment_id": "P-1", "status": "pending"}}),
        json!({"type": "payment.completed", "data": {"payment_id": "P-1", "status": "completed", "amount": -1}}),
        json!({"type": "payment.completed", "data": [{"payment_id": "P-1", "status": "completed"}]}),
    ] {
        assert_eq!(
            GATEWAY.normalise(none.to_string().as_bytes(), NOW).expect("an event").facts,
            Facts::default(),
            "{none}"
        );
    }
}

/// "Completed" may be the refund's word, or the dispute's: what the type speaks against
/// is not stated, neither of the body nor of its `data`.
#[test]
fn what_the_type_contradicts_is_not_stated() {
    let cases = [
        ("refund.created", "completed", false),
        ("charge.dispute.closed", "completed", false),
        ("payment.failed", "completed", false),
        ("payment.completed", "failed", false),
        ("refund.failed", "failed", false),
        ("payment.completed", "completed", true),
        ("payment.failed", "failed", true),
        ("payment.updated", "completed", true),
    ];
    for (event_type, status, is_stated) in cases {
        let payment = json!({"payment_id": "P-1", "status": status, "amount": 150, "currency": "USD"});
        let mut whole = payment.clone();
        whole["type"] = event_type.into();
        for body in [whole, json!({"type": event_type, "data": payment})] {
            let statement = GATEWAY.normalise(body.to_string().as_bytes(), NOW).expect("an event");
            if !is_stated {
                assert_eq!(statement, Statement::default(), "{body}");
                continue;
            }
            let (key, external) = only_external(&statement);
            let said = if status == "completed" { &external.completed } else { &external.failed };
            assert_eq!((key, said.first.get()), ("payment:P-1", Some(NOW)), "{body}");
        }
    }
}
