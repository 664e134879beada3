//! What several of the tests use.

use std::path::{Path, PathBuf};

use domain::external::ExternalFacts;
use domain::{AccountId, EventFacts, Ledger, Mode, Payment, Scope, Timestamp};
use gateways::stripe::{envelope, normalise};
use gateways::{Gateway, Secret, Statement, Verdict};
use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;

/// Recorded events and signature vectors, which are not part of this repository.
pub fn corpus(path: &str) -> PathBuf {
    let root = std::env::var_os("QUITTANCE_CORPUS").unwrap_or_else(|| {
        panic!(
            "QUITTANCE_CORPUS is not set: point it at the folder with `vectors` and `events`, or run `cargo xtask test`"
        )
    });
    Path::new(&root).join(path)
}

pub fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn read_json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&read(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn secret(text: &str) -> Secret {
    Secret::from_text(&SecretString::from(text))
}

pub fn headers(values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append("Stripe-Signature", HeaderValue::from_str(value).expect(value));
    }
    headers
}

pub fn verify(header: &str, body: &[u8], secret_text: &str, now: i64) -> Verdict {
    gateways::stripe::verify(&headers(&[header]), body, &[secret(secret_text)], Timestamp::from_seconds(now), 300)
}

/// The event as an endpoint that makes payments takes it in.
pub fn event_facts(body: &[u8]) -> EventFacts {
    let text = String::from_utf8_lossy(body);
    let envelope = envelope(body).unwrap_or_else(|error| panic!("{error}: {text}"));
    let mut facts = normalise(body).unwrap_or_else(|error| panic!("{error}: {text}")).facts;
    facts.creates = true;
    let decides = gateways::Gateway::Stripe.decides(&envelope.event_type);
    EventFacts { scope: scope(envelope.mode), facts, decides }
}

pub fn scope(mode: Mode) -> Scope {
    Scope { account: AccountId::default(), gateway: "stripe".to_owned(), mode }
}

pub fn ledger<'a>(events: impl IntoIterator<Item = &'a EventFacts>) -> Ledger {
    let mut ledger = Ledger::default();
    for event in events {
        ledger.apply(event);
    }
    ledger
}

pub fn payments(ledger: &Ledger) -> Vec<&Payment> {
    ledger.payments().values().map(|entry| &entry.payment).collect()
}

/// The secret as that gateway uses it.
pub fn secret_of(gateway: Gateway, text: &str) -> Secret {
    gateway.secret(&SecretString::from(text)).unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub fn headers_of(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::try_from(*name).expect(name);
        headers.append(name, HeaderValue::from_str(value).expect(value));
    }
    headers
}

/// The headers that a sender with this secret would send.
pub fn signed(gateway: Gateway, text: &str, event_id: &str, at: Timestamp, body: &[u8]) -> HeaderMap {
    let signed = gateway.sign(&SecretString::from(text), event_id, at, body).expect("a secret that signs");
    let pairs: Vec<(&str, &str)> = signed.iter().map(|(name, value)| (*name, value.as_str())).collect();
    headers_of(&pairs)
}

/// What a statement has of the only payment in it, under its key.
pub fn only_external(statement: &Statement) -> (&str, &ExternalFacts) {
    assert_eq!(statement.facts.externals.len(), 1, "{statement:?}");
    let (key, external) = statement.facts.externals.first_key_value().expect("one");
    (key, external)
}
