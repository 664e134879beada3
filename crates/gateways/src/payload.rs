//! What the payloads of a merchant's own systems have in common: an outcome, ids of
//! several kinds, and perhaps an amount and a time. They are written by hand, so
//! what is wrong with one is said rather than guessed around.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use domain::external::{ExternalIds, Seen, StatedAmount};
use domain::intent::{Details, Failure};
use domain::lattice::Latest;
use domain::money::Decimal;
use domain::{Currency, Facts, Timestamp};
use serde_json::value::RawValue;

use crate::json::{self, Raw, TEXT_CHARS_MAX, WORD_CHARS_MAX, tolerant};
use crate::{NotAnEvent, Statement};

/// How far a sender's clock may be ahead of ours, in seconds, before its time is
/// taken for a mistake.
const CLOCK_SKEW_SECONDS: i64 = 300;

/// From here on a number is milliseconds, as JavaScript has them, and not seconds:
/// in seconds it would be the year 5138.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// How many hexadecimal digits of the hash make an event's id.
const EVENT_ID_DIGITS: usize = 40;

/// The two words that these senders have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Completed,
    Failed,
}

/// Parts of words by which an event's name says how a payment went, however it is
/// spelled (`payment.failed`, `PAYMENT_DECLINED`, `paymentSucceeded`).
const FAILURES: [&str; 11] =
    ["fail", "declin", "denied", "cancel", "reject", "expire", "error", "unsuccess", "unpaid", "incomplete", "void"];
const SUCCESSES: [&str; 7] = ["complet", "succe", "paid", "approv", "captur", "confirm", "settled"];
/// Of what is neither a payment's success nor its failure.
const OTHERS: [&str; 5] = ["refund", "disput", "chargeback", "revers", "pending"];

impl Outcome {
    /// Whether an event of this name says something else.
    pub fn is_contradicted_by(self, event: &str) -> bool {
        let event = event.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| event.contains(word));
        if says(&OTHERS) {
            return true;
        }
        match self {
            Self::Completed => says(&FAILURES),
            Self::Failed => says(&SUCCESSES) && !says(&FAILURES),
        }
    }

    pub(crate) fn read(raw: Raw<'_>) -> Result<Self, NotAnEvent> {
        match raw.text().as_deref() {
            Some("completed") => Ok(Self::Completed),
            Some("failed") => Ok(Self::Failed),
            _ => Err(NotAnEvent("`status` is neither `completed` nor `failed`")),
        }
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }

    pub(crate) const fn event_type(self) -> &'static str {
        match self {
            Self::Completed => "payment.completed",
            Self::Failed => "payment.failed",
        }
    }
}

/// When the sender says that it happened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum SaidTime {
    #[default]
    Nothing,
    Instant(Timestamp),
    /// Without an offset, or no time at all.
    Unreadable(String),
}

impl SaidTime {
    /// RFC 3339, or seconds or milliseconds since 1970.
    pub(crate) fn read(raw: Raw<'_>) -> Result<Self, NotAnEvent> {
        if !raw.is_some() {
            return Ok(Self::Nothing);
        }
        if let Some(number) = raw.integer() {
            return Ok(Self::Instant(match number {
                MILLISECONDS_FROM.. => Timestamp::from_micros(number.saturating_mul(1000)),
                seconds => Timestamp::from_seconds(seconds),
            }));
        }
        let text = raw.scalar_text(WORD_CHARS_MAX).ok_or(NotAnEvent("a time is neither a text nor a number"))?;
        Ok(Timestamp::parse(&text).map_or(Self::Unreadable(text), Self::Instant))
    }

    pub(crate) fn or(self, other: Self) -> Self {
        if self == Self::Nothing { other } else { self }
    }

    pub(crate) const fn instant(&self) -> Option<Timestamp> {
        match self {
            Self::Instant(at) => Some(*at),
            Self::Nothing | Self::Unreadable(_) => None,
        }
    }

    /// One text for one instant, however it was written.
    fn canonical(&self) -> String {
        match self {
            Self::Nothing => String::new(),
            Self::Instant(at) => at.micros().to_string(),
            Self::Unreadable(text) => text.clone(),
        }
    }
}

/// A payment as such a sender states it.
#[derive(Clone, Debug)]
pub(crate) struct Payload {
    pub(crate) outcome: Outcome,
    pub(crate) ids: ExternalIds,
    pub(crate) amount: Option<StatedAmount>,
    pub(crate) currency: Option<Currency>,
    pub(crate) time: SaidTime,
    pub(crate) method: Option<String>,
    pub(crate) failure: Option<Failure>,
    pub(crate) metadata: BTreeMap<String, String>,
}

impl Payload {
    /// An id for the event where the sender gives it none that a signature covers: a
    /// hash of what it says, so that neither white space nor the order of keys makes
    /// another event of it, and nobody can claim an id before its event.
    pub(crate) fn event_id(&self) -> String {
        let amount = match &self.amount {
            Some(StatedAmount::Money(money)) => money.to_string(),
            Some(StatedAmount::Decimal(decimal)) => decimal.as_str().to_owned(),
            None => self.currency.map(|currency| currency.to_string()).unwrap_or_default(),
        };
        let mut hash = digest::Context::new(&digest::SHA256);
        let ids = [&self.ids.payment, &self.ids.order, &self.ids.transaction];
        let ids = ids.map(|id| id.as_deref().unwrap_or_default());
        let time = self.time.canonical();
        for part in ids.into_iter().chain([self.outcome.as_str(), &time, &amount]) {
            hash.update(&(part.len() as u64).to_be_bytes()); // Lengths keep ("ab","c") from ("a","bc").
            hash.update(part.as_bytes());
        }
        let digits: String = hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("evt_{}", &digits[..EVENT_ID_DIGITS])
    }

    /// What it states about the payment. `received_at` stands in for a time that
    /// cannot be relied on.
    pub(crate) fn statement(self, received_at: Timestamp) -> Statement {
        let latest_believed = received_at.plus_micros(CLOCK_SKEW_SECONDS * 1_000_000);
        let believed = self.time.instant().filter(|at| *at <= latest_believed);
        let at = believed.unwrap_or(received_at);
        let by = self.event_id();
        let object_id = self.ids.transaction.clone().or_else(|| self.ids.payment.clone());
        let order_id = self.ids.order.clone().or_else(|| self.metadata.get("order_id").cloned());
        let money = self.amount.as_ref().and_then(StatedAmount::money);
        let details = Details {
            amount: money.map(|money| money.amount),
            currency: self.currency,
            order_id: order_id.filter(|id| json::is_id(id)),
            method: self.method,
            metadata: self.metadata,
            ..Details::default()
        };
        let mut facts = Facts::default();
        let Some((key, mut external)) = self.ids.facts() else { return Statement::default() };
        let object_id = object_id.or_else(|| external.order_ids.first().cloned());
        let seen = Seen {
            amounts: self.amount.into_iter().collect(),
            details: Latest::said(at, &by, details),
            ..Seen::at(at)
        };
        match self.outcome {
            Outcome::Completed => external.completed = seen,
            Outcome::Failed => {
                external.failed = seen;
                external.failure = self.failure.map_or_else(Latest::unsaid, |failure| Latest::said(at, &by, failure));
            }
        }
        external.time_unreliable = believed.is_none();
        facts.externals.insert(key, external);
        Statement { facts, object_id, needs_fetch: false }
    }
}

pub(crate) fn raw(value: Option<&RawValue>) -> Raw<'_> {
    value.map(Raw::from).unwrap_or_default()
}

/// An id as a text, or as the whole number that a database gave out.
pub(crate) fn id(value: Option<&RawValue>, wrong: &'static str) -> Result<Option<String>, NotAnEvent> {
    id_of(raw(value), wrong)
}

pub(crate) fn id_of(value: Raw<'_>, wrong: &'static str) -> Result<Option<String>, NotAnEvent> {
    if !value.is_some() || value.is_empty_text() {
        return Ok(None);
    }
    let text = value.text().map(|text| text.into_owned()).or_else(|| value.digits().map(str::to_owned));
    text.filter(|text| json::is_id(text)).map(Some).ok_or(NotAnEvent(wrong))
}

/// A short text, such as a method.
pub(crate) fn word(value: Option<&RawValue>, wrong: &'static str) -> Result<Option<String>, NotAnEvent> {
    let value = raw(value);
    if !value.is_some() || value.is_empty_text() {
        return Ok(None);
    }
    value.short_text(WORD_CHARS_MAX).map(Some).ok_or(NotAnEvent(wrong))
}

pub(crate) fn metadata(value: Option<&RawValue>) -> Result<BTreeMap<String, String>, NotAnEvent> {
    let value = raw(value);
    if value.is_some() && !value.is_object() {
        return Err(NotAnEvent("`metadata` is not an object"));
    }
    Ok(value.metadata())
}

/// An amount, a decimal number or the text of one, with its currency. It is never a
/// float in between: 150.10 is 15010 cents, not nearly so.
pub(crate) fn amount(
    amount: Option<&RawValue>,
    currency: Option<&RawValue>,
) -> Result<(Option<StatedAmount>, Option<Currency>), NotAnEvent> {
    let (amount, currency) = (raw(amount), raw(currency));
    let currency = match currency.is_some() && !currency.is_empty_text() {
        true => Some(currency.currency().ok_or(NotAnEvent("`currency` is not an ISO 4217 code like `USD`"))?),
        false => None,
    };
    if !amount.is_some() {
        return Ok((None, currency));
    }
    let wrong = NotAnEvent("`amount` is not a decimal number like 150.00, or less than zero");
    let text = amount.scalar_text(usize::MAX).ok_or(wrong)?; // Cut, it would be another number.
    let decimal = Decimal::parse(&text).ok_or(wrong)?;
    let stated = match currency {
        Some(currency) => StatedAmount::Money(
            decimal
                .in_currency(currency)
                .ok_or(NotAnEvent("`amount` has more decimals than its currency, or is too large"))?,
        ),
        None => StatedAmount::Decimal(decimal),
    };
    Ok((Some(stated), currency))
}

tolerant! { Reason { code: Raw<'de> = "code", message: Raw<'de> = "message" } }

/// Why it failed: a text, or an object with `code` and `message`.
pub(crate) fn failure(value: Option<&RawValue>) -> Result<Option<Failure>, NotAnEvent> {
    let value = raw(value);
    if !value.is_some() || value.is_empty_text() {
        return Ok(None);
    }
    if let Some(message) = value.short_text(TEXT_CHARS_MAX) {
        return Ok(Some(Failure { code: None, message: Some(message) }));
    }
    if !value.is_object() {
        return Err(NotAnEvent("the reason of the failure is neither a text nor an object"));
    }
    let reason: Reason<'_> = value.read();
    let failure =
        Failure { code: reason.code.short_text(WORD_CHARS_MAX), message: reason.message.short_text(TEXT_CHARS_MAX) };
    Ok((failure != Failure::default()).then_some(failure))
}

/// Reads a body's one JSON object. A key that is repeated is refused: readers would
/// differ over what was said.
pub(crate) fn read<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T, NotAnEvent> {
    if !text.trim_ascii_start().starts_with('{') {
        return Err(NotAnEvent("the body is not a JSON object")); // A derived reader would take an array.
    }
    serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => NotAnEvent("a key is repeated"),
        _ => NotAnEvent("the body is not JSON"),
    })
}
