//! Recorded events from a file.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use domain::{AccountId, Timestamp};
use gateways::Gateway;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;
use server::endpoint::Unmatched;
use store::NewEvent;

use crate::config::given_endpoint;

const STANDARD_INPUT: &str = "-";
/// When a delivery was received that does not say so, and whose body says no time.
const RECEIVED_AT: Timestamp = Timestamp::from_seconds(1_735_689_600); // 2025-01-01T00:00:00Z

/// A delivery as it may be written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delivery<'a> {
    /// Unless given, the endpoint's; else Stripe.
    gateway: Option<String>,
    /// Its path.
    endpoint: Option<String>,
    account: Option<String>,
    /// What becomes of a payment that nobody registered; unless given, the endpoint's.
    unmatched: Option<String>,
    received_at: Option<String>,
    /// Those that name the event.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A text is the body; anything else is the body itself.
    #[serde(borrow)]
    body: &'a RawValue,
}

/// What a gateway lists.
#[derive(Deserialize)]
struct List<'a> {
    object: String,
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
}

/// Whether it is a delivery rather than what was delivered.
#[derive(Deserialize)]
struct Looked<'a> {
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

/// `-` reads standard input.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<NewEvent>> {
    let is_standard_input = path == Path::new(STANDARD_INPUT);
    let named = if is_standard_input { "standard input".to_owned() } else { path.display().to_string() };
    let text =
        if is_standard_input { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(path) };
    let text = text.with_context(|| format!("{named} cannot be read"))?;
    let entries = entries(&text);
    if entries.is_empty() {
        bail!("{named} holds no event: write one a line, or an array of them");
    }
    let parsed = entries.iter().map(|(place, text)| event(text).with_context(|| format!("{named}, {place}")));
    parsed.collect()
}

/// Each with its place: of an array, of what a gateway lists, or one a line.
fn entries(text: &str) -> Vec<(String, &str)> {
    if let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(text) {
        return numbered(items);
    }
    if let Ok(list) = serde_json::from_str::<List<'_>>(text)
        && list.object == "list"
    {
        return numbered(list.data);
    }
    if serde_json::from_str::<&RawValue>(text).is_ok() {
        return vec![("event 1".to_owned(), text.trim())];
    }
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| (format!("line {number}"), line.trim())).collect()
}

fn numbered(items: Vec<&RawValue>) -> Vec<(String, &str)> {
    (1..).zip(items).map(|(number, item)| (format!("event {number}"), item.get())).collect()
}

fn event(text: &str) -> anyhow::Result<NewEvent> {
    let looked: Looked<'_> = serde_json::from_str(text).context("it is no JSON object")?;
    if looked.body.is_none() {
        let gateway = Gateway::Stripe;
        return as_delivered(gateway, &HeaderMap::new(), text, AccountId::default(), None, None, None);
    }
    let delivery: Delivery<'_> = serde_json::from_str(text).context("it is no delivery")?;
    let given = delivery.endpoint.as_deref().and_then(given_endpoint);
    let gateway = match (&delivery.gateway, given) {
        (Some(name), _) => Gateway::parse(name).with_context(|| format!("no gateway {name:?} is known"))?,
        (None, Some((gateway, _))) => gateway,
        (None, None) => Gateway::Stripe,
    };
    let account = match &delivery.account {
        Some(name) => AccountId::parse(name).with_context(|| format!("{name:?} is no account"))?,
        None => AccountId::default(),
    };
    let unmatched = match delivery.unmatched.as_deref() {
        Some(word) => {
            let known = Unmatched::ALL.into_iter().find(|unmatched| unmatched.as_str() == word);
            Some(known.with_context(|| format!("unmatched is create or reject, not {word:?}"))?)
        }
        None => None,
    };
    let received_at = match &delivery.received_at {
        Some(text) => {
            Some(Timestamp::parse(text).with_context(|| format!("{text:?} is no instant like 2026-11-20T16:01:00Z"))?)
        }
        None => None,
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &delivery.headers {
        let header = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
        let (name, value) = header.with_context(|| format!("{name} is no header"))?;
        headers.insert(name, value);
    }
    let quoted: Option<String> = serde_json::from_str(delivery.body.get()).ok();
    let body = quoted.as_deref().unwrap_or(delivery.body.get());
    as_delivered(gateway, &headers, body, account, delivery.endpoint, unmatched, received_at)
}

/// As the server would have handed it in.
fn as_delivered(
    gateway: Gateway,
    headers: &HeaderMap,
    body: &str,
    account: AccountId,
    endpoint: Option<String>,
    unmatched: Option<Unmatched>,
    received_at: Option<Timestamp>,
) -> anyhow::Result<NewEvent> {
    let envelope = gateway
        .envelope(headers, body.as_bytes())
        .map_err(|error| anyhow!("it is nothing that {} sends: {error}", gateway.as_str()))?;
    let endpoint = endpoint.unwrap_or_else(|| format!("/hooks/{}", gateway.as_str()));
    let unmatched =
        unmatched.or(given_endpoint(&endpoint).map(|(_, unmatched)| unmatched)).unwrap_or(Unmatched::Create);
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok();
    let event = NewEvent::new(
        account,
        gateway.as_str(),
        envelope.mode,
        envelope.connected_account.unwrap_or_default(),
        envelope.event_id,
        envelope.event_type,
        envelope.api_version,
        envelope.created_at,
        endpoint,
        unmatched == Unmatched::Create,
        None,
        received_at.or(envelope.created_at).unwrap_or(RECEIVED_AT),
        body.to_owned(),
    );
    Ok(event.in_json(is_json))
}
