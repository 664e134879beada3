//! What several of the tests use.

use std::path::{Path, PathBuf};

use domain::{AccountId, EventFacts, Ledger, Mode, Payment, Scope, Timestamp};
use gateways::stripe::{envelope, normalise};
use gateways::{Secret, Verdict};
use http::{HeaderMap, HeaderValue};
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
    EventFacts { scope: scope(envelope.mode), facts }
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
