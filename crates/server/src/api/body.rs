//! What comes in with a POST: whose it is, its `Idempotency-Key`, and its body, read key
//! by key so that every mistake is answered with the name of what is wrong.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use domain::money::Minor;
use domain::{AccountId, Currency, Days};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;
use store::Idempotency;

use super::Params;
use super::payments::WhichParams;
use crate::App;
use crate::auth::{Writer, account_of};
use crate::body as incoming;
use crate::error::ApiError;
use crate::refusal::Refusal;

/// What is registered is small.
pub const BODY_BYTES_MAX: usize = 256 * 1024;
/// Of ids, references, names and keys.
const TEXT_LEN_MAX: usize = 255;
/// Of a gateway's or a method's name.
const WORD_LEN_MAX: usize = 64;
const METADATA_KEYS_MAX: usize = 50;
const METADATA_KEY_LEN_MAX: usize = 64;
const METADATA_VALUE_LEN_MAX: usize = 1000;
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A POST by somebody who may change things.
#[derive(Debug)]
pub struct Command {
    /// Whose payments it is about: the key's account, else the one that was asked for,
    /// else the default.
    pub account: AccountId,
    pub idempotency: Option<Idempotency>,
    body: Bytes,
}

impl FromRequest<App> for Command {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (mut parts, mut body) = request.into_parts();
        let command = Self::read(&mut parts, &mut body, app).await;
        if command.is_err() {
            incoming::drain(&parts.headers, body);
        }
        command
    }
}

impl Command {
    async fn read(parts: &mut Parts, body: &mut Body, app: &App) -> Result<Self, ApiError> {
        let Writer(key) = Writer::from_request_parts(parts, app).await?;
        let Params(which) = Params::<WhichParams>::from_request_parts(parts, app).await?;
        let account = account_of(&key, which.account.as_deref())?.unwrap_or_default();
        let key = idempotency_key(&parts.headers)?;
        if incoming::announces_more_than(&parts.headers, BODY_BYTES_MAX) {
            return Err(ApiError::BODY_TOO_LARGE);
        }
        let received = incoming::read(&app.bodies, body, BODY_BYTES_MAX).await.map_err(|refusal| match refusal {
            Refusal::TooLarge => ApiError::BODY_TOO_LARGE,
            Refusal::SlowBody => ApiError::BODY_TOO_SLOW,
            Refusal::Crowded => ApiError::CROWDED,
            _ => ApiError::bad_request("the body could not be read"),
        })?;
        let body = received.bytes.clone();
        let request =
            [parts.method.as_str().as_bytes(), parts.uri.path().as_bytes(), account.as_str().as_bytes(), &body];
        let idempotency = key.map(|key| Idempotency::of(key, &request));
        Ok(Self { account, idempotency, body })
    }

    /// The body's keys, which are among `known`.
    pub fn fields(&self, known: &'static [&'static str]) -> Result<Fields, ApiError> {
        let Object(values) = serde_json::from_slice(&self.body)
            .map_err(|error| ApiError::bad_request(format!("the body is a JSON object: {error}")))?;
        Fields::of(values, "", known)
    }

    /// That nothing is said beside the path: the body is empty, or an empty object.
    pub fn has_no_fields(&self) -> Result<(), ApiError> {
        if self.body.iter().all(u8::is_ascii_whitespace) { Ok(()) } else { self.fields(&[]).map(|_| ()) }
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let text = key
        .to_str()
        .ok()
        .filter(|text| (1..=TEXT_LEN_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()));
    match (text, keys.next()) {
        (Some(text), None) => Ok(Some(text.to_owned())),
        _ => Err(ApiError::bad_request(format!(
            "Idempotency-Key is one of 1 to {TEXT_LEN_MAX} visible ASCII characters, without spaces"
        ))),
    }
}

/// A JSON object that has no key twice.
struct Object(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;

        impl<'de> Visitor<'de> for Keys {
            type Value = Object;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut values = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    if values.contains_key(&key) {
                        return Err(A::Error::custom(format_args!("{key:?} is there twice")));
                    }
                    values.insert(key, value);
                }
                Ok(Object(values))
            }
        }

        deserializer.deserialize_map(Keys)
    }
}

/// An object's keys, taken out one by one. A null is as if the key were not there.
#[derive(Debug)]
pub struct Fields {
    values: BTreeMap<String, Value>,
    /// The keys that lead to the object, with a point after each.
    within: &'static str,
}

impl Fields {
    fn of(
        mut values: BTreeMap<String, Value>,
        within: &'static str,
        known: &'static [&'static str],
    ) -> Result<Self, ApiError> {
        if let Some(unknown) = values.keys().find(|key| !known.contains(&key.as_str())) {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(ApiError::bad_request(format!(
                "{:?} is no key here; known are: {known}",
                format!("{within}{unknown}")
            )));
        }
        values.retain(|_, value| !value.is_null());
        Ok(Self { values, within })
    }

    fn wrong(&self, name: &str, what: &str) -> ApiError {
        ApiError::bad_request(format!("{}{name} is {what}", self.within))
    }

    fn text(&mut self, name: &str, what: &str, fits: impl Fn(&str) -> bool) -> Result<Option<String>, ApiError> {
        match self.values.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) if fits(&text) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, what)),
        }
    }

    pub fn required<T>(&self, name: &str, value: Option<T>) -> Result<T, ApiError> {
        value.ok_or_else(|| ApiError::bad_request(format!("{}{name} is missing", self.within)))
    }

    /// An id that the application gives, and that can stand in a path.
    pub fn id(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        self.text(name, ID, is_id)
    }

    /// A name that something has elsewhere.
    pub fn reference(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        self.text(name, "a text of 1 to 255 characters, none of them a control character", is_line)
    }

    /// The name of a gateway or of a way to pay.
    pub fn word(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        let fits = |text: &str| is_line(text) && text.len() <= WORD_LEN_MAX && !text.contains(char::is_whitespace);
        self.text(name, "a word of 1 to 64 characters, like \"stripe\" or \"card\"", fits)
    }

    /// A gateway's checkout session.
    pub fn session(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        let fits = |text: &str| {
            (1..=TEXT_LEN_MAX).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        self.text(name, "a checkout session's id, like \"cs_test_a1\": 1 to 255 letters, digits, - and _", fits)
    }

    /// Of several words one.
    pub fn one_of<T>(
        &mut self,
        name: &str,
        words: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        match self.values.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => {
                read(&text).map(Some).ok_or_else(|| self.wrong(name, &format!("one of: {words}")))
            }
            Some(_) => Err(self.wrong(name, &format!("one of: {words}"))),
        }
    }

    /// At least 1: nobody can pay nothing.
    pub fn amount(&mut self, name: &str) -> Result<Option<Minor>, ApiError> {
        let Some(value) = self.values.remove(name) else { return Ok(None) };
        let amount = value.as_i64().filter(|units| *units >= 1).and_then(Minor::new);
        let what = "an integer of at least 1 in the currency's minor unit (15000 for 150.00 USD)";
        amount.map(Some).ok_or_else(|| self.wrong(name, what))
    }

    pub fn currency(&mut self, name: &str) -> Result<Option<Currency>, ApiError> {
        let Some(value) = self.values.remove(name) else { return Ok(None) };
        let currency = value.as_str().and_then(Currency::parse);
        currency.map(Some).ok_or_else(|| self.wrong(name, "an ISO 4217 code of three letters, like \"USD\""))
    }

    /// `start` and `end`, both of them.
    pub fn days(&mut self) -> Result<Days, ApiError> {
        let mut day = |name: &str| {
            let value = self.values.remove(name);
            let value = self.required(name, value)?;
            value.as_str().map(str::to_owned).ok_or_else(|| self.wrong(name, DAY))
        };
        let (start, end) = (day("start")?, day("end")?);
        days(("start", &start), ("end", &end))
    }

    /// Texts by name; empty where there are none.
    pub fn metadata(&mut self, name: &str) -> Result<BTreeMap<String, String>, ApiError> {
        let Some(value) = self.values.remove(name) else { return Ok(BTreeMap::new()) };
        let Value::Object(entries) = value else { return Err(self.wrong(name, "an object of texts")) };
        if entries.len() > METADATA_KEYS_MAX {
            return Err(self.wrong(name, &format!("an object of at most {METADATA_KEYS_MAX} keys")));
        }
        let mut metadata = BTreeMap::new();
        for (key, value) in entries {
            let fits = (1..=METADATA_KEY_LEN_MAX).contains(&key.chars().count()) && !key.contains(char::is_control);
            let text = value.as_str().filter(|text| text.chars().count() <= METADATA_VALUE_LEN_MAX);
            let (true, Some(text)) = (fits, text) else {
                let what = format!(
                    "an object of texts: keys of 1 to {METADATA_KEY_LEN_MAX} characters, values of at most \
                     {METADATA_VALUE_LEN_MAX}; {key:?} is not so"
                );
                return Err(self.wrong(name, &what));
            };
            metadata.insert(key, text.to_owned());
        }
        Ok(metadata)
    }

    /// An object within this one. `within` is `name` with a point after it.
    pub fn object(
        &mut self,
        name: &str,
        within: &'static str,
        known: &'static [&'static str],
    ) -> Result<Option<Self>, ApiError> {
        match self.values.remove(name) {
            None => Ok(None),
            Some(Value::Object(values)) => Self::of(values.into_iter().collect(), within, known).map(Some),
            Some(_) => Err(self.wrong(name, "an object")),
        }
    }
}

const ID: &str = "a text of 1 to 255 characters that can stand in a path: no spaces, slashes or control characters";
const DAY: &str = "a day like 2026-12-01";

fn is_id(text: &str) -> bool {
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && c != '/' && c != '\\';
    (1..=TEXT_LEN_MAX).contains(&text.chars().count()) && text.chars().all(plain) && text != "." && text != ".."
}

fn is_line(text: &str) -> bool {
    let fits = (1..=TEXT_LEN_MAX).contains(&text.chars().count());
    fits && !text.contains(char::is_control) && text.trim() == text
}

/// A half-open range of days: the second is the first day after it.
pub fn days((start, first): (&str, &str), (end, after): (&str, &str)) -> Result<Days, ApiError> {
    // What begins on a day, and only on a day, can end on the day after the last one.
    for (name, text) in [(start, first), (end, after)] {
        if Days::parse(text, LAST_DAY).is_none() && text != LAST_DAY {
            return Err(ApiError::bad_request(format!("{name} is {DAY}")));
        }
    }
    Days::parse(first, after)
        .ok_or_else(|| ApiError::bad_request(format!("{end} is the first day after it, so later than {start}")))
}

const LAST_DAY: &str = "9999-12-31";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_can_stand_in_a_path() {
        for id in ["1", "6735", "ord_1", "Bestellung-é", "a.b", "50%", &"x".repeat(255)] {
            assert!(is_id(id), "{id:?}");
        }
        for none in ["", " ", "a b", "a/b", "a\\b", "a\n", "\u{0}", "a\u{a0}b", ".", "..", &"x".repeat(256)] {
            assert!(!is_id(none), "{none:?}");
        }
    }

    #[test]
    fn a_range_of_days_says_which_end_is_wrong() {
        let read = |start, end| days(("from", start), ("to", end));
        assert!(read("2026-12-01", "2026-12-05").is_ok());
        assert!(read("2026-12-31", "9999-12-31").is_ok());
        for (start, end, wrong) in [
            ("2026-02-30", "2026-03-05", "from"),
            ("", "2026-03-05", "from"),
            ("2026-12-01", "tomorrow", "to"),
            ("2026-12-01", "2026-13-01", "to"),
            ("2026-12-05", "2026-12-05", "to"),
            ("2026-12-06", "2026-12-05", "to"),
        ] {
            let detail = format!("{:?}", read(start, end).expect_err("no range"));
            assert!(detail.contains(&format!("\"{wrong} is")), "{start} to {end}: {detail}");
        }
    }
}
