//! Standard Webhooks: whoever signs by that specification, whatever they say.
//! <https://www.standardwebhooks.com>

mod verify;

use domain::{Mode, Timestamp};
use http::HeaderMap;
use secrecy::SecretString;

use crate::json::{self, Raw, WORD_CHARS_MAX, tolerant};
use crate::payload::{Payload, SaidTime};
use crate::signature::{self, BadSecret, Secret, Verdict};
use crate::{Envelope, NotAnEvent, Statement, generic};

pub use verify::SIGNATURES_MAX;
pub(crate) use verify::{Key, STANDARD_NAMES, check, id, is_used, signed_at};

/// The type of an event whose body names none.
const TYPE_UNKNOWN: &str = "unknown";

/// A shared secret (`whsec_…`) or the sender's public key (`whpk_…`).
pub fn secret(text: &SecretString) -> Result<Secret, BadSecret> {
    Key::read(text).map(|key| Secret::new(signature::Key::StandardWebhooks([key])))
}

/// Whether one of `secrets` signed this delivery within the tolerance, in the past
/// or in the future.
pub fn verify(headers: &HeaderMap, body: &[u8], secrets: &[Secret], now: Timestamp, tolerance_seconds: u64) -> Verdict {
    check(headers, body, secrets, Secret::standard_webhooks, now, tolerance_seconds).into()
}

/// The headers with which such a sender would deliver `body` at that time.
pub fn sign(
    secret: &Secret,
    event_id: &str,
    at: Timestamp,
    body: &[u8],
) -> Result<Vec<(&'static str, String)>, BadSecret> {
    let signature = secret.standard_webhooks().iter().find_map(|key| key.sign(event_id, at, body));
    let signature = signature.ok_or(BadSecret("a public key verifies; it takes the shared secret to sign"))?;
    Ok(vec![
        (STANDARD_NAMES.id, event_id.to_owned()),
        (STANDARD_NAMES.timestamp, at.seconds().to_string()),
        (STANDARD_NAMES.signature, signature),
    ])
}

tolerant! {
    Body {
        event_type: Raw<'de> = "type",
        timestamp: Raw<'de> = "timestamp",
        data: Raw<'de> = "data",
    }
}

/// Any body that is signed is an event: its id is in the headers.
pub fn envelope(headers: &HeaderMap, body: &[u8]) -> Result<Envelope, NotAnEvent> {
    let event_id = id(headers).map_err(|_| NotAnEvent("`webhook-id` is no id"))?;
    let body = read(body);
    Ok(Envelope {
        event_id: event_id.to_owned(),
        event_type: body.event_type.short_text(WORD_CHARS_MAX).unwrap_or_else(|| TYPE_UNKNOWN.to_owned()),
        api_version: None,
        mode: Mode::Live,
        connected_account: None,
        created_at: said_time(&body).instant().or_else(|| signed_at(headers)),
    })
}

/// What the body, or its `data`, states if it is a payment as the generic gateway
/// reads it; else nothing. A refund that is completed is no completed payment: what the
/// event's type speaks against is not stated.
pub fn normalise(body: &[u8], received_at: Timestamp) -> Statement {
    let read_body = read(body);
    let whole = json::document(body).and_then(generic::read);
    let payload = whole.or_else(|_| json::document(body).and_then(|_| generic::read(read_body.data.json())));
    let event_type = read_body.event_type.short_text(WORD_CHARS_MAX).unwrap_or_default();
    match payload {
        Ok(payload) if !payload.outcome.is_contradicted_by(&event_type) => {
            Payload { time: payload.time.clone().or(said_time(&read_body)), ..payload }.statement(received_at)
        }
        _ => Statement::default(),
    }
}

/// Nothing of a body that is not JSON.
fn read(body: &[u8]) -> Body<'_> {
    json::document(body).ok().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn said_time(body: &Body<'_>) -> SaidTime {
    SaidTime::read(body.timestamp).unwrap_or_default()
}
