//! Recorded signatures and events. See `DOMAIN.md` for the grades.

use base64::prelude::{BASE64_STANDARD, Engine};
use domain::refund::RefundStatus;
use domain::{DisputeStatus, EventFacts, Facts, Flag, PaymentStatus, Timestamp};
use gateways::stripe::{envelope, normalise, object_facts, verify};
use gateways::{Reason, Verdict};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::support::{corpus, event_facts, ledger, payments, read, read_json, secret};

#[test]
fn every_signature_vector_gets_its_verdict() {
    let vectors = read_json(&corpus("vectors/stripe.json"));
    let vectors = vectors.as_array().expect("a list");
    assert!(vectors.len() >= 36, "{} vectors", vectors.len());
    for vector in vectors {
        let name = vector["name"].as_str().expect("name");
        let mut headers = HeaderMap::new();
        for (key, value) in vector["headers"].as_object().expect("headers") {
            let key = HeaderName::try_from(key.as_str()).expect(name);
            headers.append(key, HeaderValue::from_str(value.as_str().expect(name)).expect(name));
        }
        let body = BASE64_STANDARD.decode(vector["body_base64"].as_str().expect(name)).expect(name);
        let key = vector["key"].as_str().expect(name);
        // An application that has no secret would refuse for another reason.
        let key = if vector["key_irrelevant"].is_null() { key } else { "whsec_any" };
        let now = Timestamp::from_seconds(vector["timestamp_now"].as_i64().expect(name));
        let tolerance = vector["tolerance_s"].as_u64().expect(name);
        let verdict = verify(&headers, &body, &[secret(key)], now, tolerance);
        match vector["expect"].as_str() {
            Some("valid") => assert_eq!(verdict, Verdict::Valid { secret: 0 }, "{name}"),
            Some("invalid") => assert!(matches!(verdict, Verdict::Invalid(_)), "{name}: {verdict:?}"),
            expect => panic!("{name}: {expect:?}"),
        }
        assert_ne!(verdict, Verdict::Invalid(Reason::NoSecret), "{name}");
    }
}

struct Recorded {
    name: String,
    index: Value,
    body: Vec<u8>,
}

fn recorded(kind: &str) -> Vec<Recorded> {
    let index = read_json(&corpus("events/stripe/index.json"));
    let entries = index.as_array().expect("a list").iter().filter(|entry| entry["kind"] == kind);
    entries
        .map(|entry| {
            let name = entry["file"].as_str().expect("file").to_owned();
            let body = read(&corpus("events/stripe").join(&name));
            Recorded { name, index: entry.clone(), body }
        })
        .collect()
}

/// Which types say something about a payment; templates have none yet. A session
/// that sets up a payment method for later has no payment.
fn concerns_payment(event_type: &str, body: &[u8]) -> bool {
    let json: Value = serde_json::from_slice(body).expect(event_type);
    if json["data"]["object"]["mode"] == "setup" {
        return false;
    }
    const PREFIXES: [&str; 6] =
        ["payment_intent.", "charge.", "refund.", "checkout.session.", "terminal.reader.", "{{type}}"];
    PREFIXES.iter().any(|prefix| event_type.starts_with(prefix))
}

#[test]
fn every_event_normalises_or_is_of_no_concern() {
    let events = recorded("event");
    assert!(events.len() >= 118, "{} events", events.len());
    for Recorded { name, index, body } in &events {
        let envelope = envelope(body).unwrap_or_else(|error| panic!("{name}: {error}"));
        let statement = normalise(body).unwrap_or_else(|error| panic!("{name}: {error}"));
        if index["grade"] != "template" {
            assert_eq!(index["type"], envelope.event_type.as_str(), "{name}");
        }
        assert_eq!(index["api_version"].as_str(), envelope.api_version.as_deref(), "{name}");
        assert_eq!(index["created"].is_null(), envelope.created_at.is_none(), "{name}");
        assert_eq!(concerns_payment(&envelope.event_type, body), !statement.facts.is_empty(), "{name}: {statement:?}");
        assert!(!statement.needs_fetch, "{name}: the thin ones name nothing that concerns a payment");
        if statement.facts.has_payment() {
            assert!(statement.object_id.is_some(), "{name}");
        }
    }
}

#[test]
fn every_object_states_what_its_kind_can() {
    let at = Timestamp::from_seconds(1_800_000_000);
    let objects = recorded("resource");
    assert!(objects.len() >= 37, "{} objects", objects.len());
    for Recorded { name, index, body } in &objects {
        let json: Value = serde_json::from_slice(body).expect(name);
        // Some were recorded as an event's `data` is: wrapped.
        let object = [&json["object"], &json["data"]].into_iter().find(|inner| inner.is_object()).unwrap_or(&json);
        let facts = object_facts(object.to_string().as_bytes(), at, "fetch").expect(name).facts;
        let kind = index["type"].as_str().and_then(|text| text.strip_prefix("object.")).expect(name);
        let of_kind: fn(&Facts) -> usize = match kind {
            "payment_intent" => |facts| facts.intents.len(),
            "charge" => |facts| facts.charges.len(),
            "refund" => |facts| facts.refunds.len(),
            "dispute" => |facts| facts.disputes.len(),
            "checkout.session" => |facts| facts.sessions.len(),
            "event" | "invoice" | "terminal.reader" => {
                assert!(facts.is_empty(), "{name}: {facts:?}");
                continue;
            }
            kind => panic!("{name}: {kind}"),
        };
        assert_eq!(of_kind(&facts), 1, "{name}: {facts:?}");
    }
}

#[test]
fn any_order_of_all_events_ends_in_the_same_state() {
    let events: Vec<EventFacts> = recorded("event").iter().map(|event| event_facts(&event.body)).collect();
    let in_order = ledger(&events);
    for seed in [1, 2, 3] {
        let mut shuffled: Vec<&EventFacts> = events.iter().chain(&events).collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut shuffled);
        let shuffled = ledger(shuffled);
        assert_eq!(payments(&in_order), payments(&shuffled), "seed {seed}");
        assert_eq!(in_order.orders().len(), shuffled.orders().len(), "seed {seed}");
        for (id, entry) in in_order.orders() {
            assert_eq!(Some(&entry.order), shuffled.orders().get(id).map(|entry| &entry.order), "seed {seed}, {id}");
        }
    }
}

#[test]
fn a_type_that_its_object_denies_moves_nothing() {
    let mut seen = 0;
    for Recorded { name, index, body } in recorded("event") {
        if index["type_matches_payload"] != false {
            continue;
        }
        seen += 1;
        let ledger = ledger(&[event_facts(&body)]);
        let [payment] = payments(&ledger)[..] else { panic!("{name}: one payment") };
        let (denied, is_final) = match index["type"].as_str().expect(&name) {
            "payment_intent.succeeded" => (payment.status == PaymentStatus::Paid, true),
            "payment_intent.canceled" => (payment.status == PaymentStatus::Canceled, true),
            "payment_intent.amount_capturable_updated" => (payment.status == PaymentStatus::Authorized, false),
            "payment_intent.processing" => (payment.status == PaymentStatus::Processing, false),
            "payment_intent.requires_action" => (payment.status == PaymentStatus::RequiresAction, false),
            "charge.captured" => (payment.status == PaymentStatus::Paid, true),
            "charge.pending" => (payment.status == PaymentStatus::Processing, false),
            "charge.dispute.closed" => (payment.dispute_status != DisputeStatus::Open, true),
            "refund.failed" => (payment.refunds.iter().any(|refund| refund.status == RefundStatus::Failed), true),
            event_type => panic!("{name}: {event_type} is not in the table"),
        };
        assert!(!denied, "{name}: {payment:?}");
        assert_eq!(payment.flags.contains(&Flag::TypeDisagrees), is_final, "{name}: {:?}", payment.flags);
    }
    assert!(seen >= 11, "{seen} events");
}
