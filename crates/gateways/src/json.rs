//! Reading JSON that somebody else may change: any key may be missing, of
//! another type, repeated or new, and none of it may cost us the event.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use domain::Timestamp;
use domain::money::{Currency, Minor};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::NotAnEvent;

/// Gateways' ids are short; what is longer is none.
const ID_BYTES_MAX: usize = 255;

/// Of descriptions and messages; gateways' are shorter.
pub(crate) const TEXT_CHARS_MAX: usize = 1000;

/// Of codes, methods and e-mail addresses.
pub(crate) const WORD_CHARS_MAX: usize = 255;

/// Stripe's own limits, which others get too. <https://docs.stripe.com/api/metadata>
const METADATA_KEYS_MAX: usize = 50;
const METADATA_KEY_CHARS_MAX: usize = 40;
const METADATA_VALUE_CHARS_MAX: usize = 500;

/// Deeper than any gateway nests. It is also what other JSON readers take, the
/// database's among them.
const DEPTH_MAX: usize = 128;

/// The text of a JSON document that is safe to read.
pub(crate) fn document(body: &[u8]) -> Result<&str, NotAnEvent> {
    let text = std::str::from_utf8(body).map_err(|_| NotAnEvent("the body is not UTF-8"))?;
    if is_too_deep(body) {
        return Err(NotAnEvent("the body's JSON is nested too deeply"));
    }
    Ok(text)
}

/// Counting brackets is quick and nearly always enough: without so many of them
/// nothing can be that deep.
fn is_too_deep(body: &[u8]) -> bool {
    let opens = |byte: &u8| matches!(byte, b'{' | b'[');
    // In pieces whose count fits a byte, so that many bytes are compared at once.
    let pieces = body.chunks(usize::from(u8::MAX));
    let count: usize =
        pieces.map(|piece| usize::from(piece.iter().map(|byte| u8::from(opens(byte))).sum::<u8>())).sum();
    if count <= DEPTH_MAX {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'}' | b']' => depth = depth.saturating_sub(1),
            byte if opens(byte) => depth += 1,
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

/// A JSON value that was not read yet; nothing where the key is missing or null.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Raw<'a>(Option<&'a str>);

impl<'de> Deserialize<'de> for Raw<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(Self::from)
    }
}

impl<'a> From<&'a RawValue> for Raw<'a> {
    fn from(value: &'a RawValue) -> Self {
        Self(Some(value.get()).filter(|json| *json != "null"))
    }
}

impl<'a> Raw<'a> {
    pub(crate) const fn is_some(self) -> bool {
        self.0.is_some()
    }

    /// A string that is not empty.
    pub(crate) fn text(self) -> Option<Cow<'a, str>> {
        let json = self.0.filter(|json| json.len() > 2 && json.starts_with('"'))?;
        if json.contains('\\') {
            return serde_json::from_str(json).ok().map(Cow::Owned);
        }
        Some(Cow::Borrowed(&json[1..json.len() - 1]))
    }

    /// The value's JSON; empty where there is none.
    pub(crate) fn json(self) -> &'a str {
        self.0.unwrap_or_default()
    }

    pub(crate) fn is_empty_text(self) -> bool {
        self.0 == Some("\"\"")
    }

    pub(crate) fn is_object(self) -> bool {
        self.0.is_some_and(|json| json.starts_with('{'))
    }

    /// A whole number of any length that is not negative, as it was written.
    pub(crate) fn digits(self) -> Option<&'a str> {
        self.0.filter(|json| json.bytes().all(|byte| byte.is_ascii_digit()))
    }

    /// A string of at most so many characters; the rest is cut off.
    pub(crate) fn short_text(self, chars_max: usize) -> Option<String> {
        self.text().map(|text| shorten(&text, chars_max))
    }

    /// An id, or the id of the object that stands in its place ("expanded").
    pub(crate) fn id(self) -> Option<String> {
        let id = match self.0?.as_bytes().first() {
            Some(b'{') => self.read::<Identified<'a>>().id.text(),
            _ => self.text(),
        };
        id.filter(|id| is_id(id)).map(Cow::into_owned)
    }

    /// A whole number that fits; never one that was written with a fraction.
    pub(crate) fn integer(self) -> Option<i64> {
        self.0?.parse().ok()
    }

    pub(crate) fn minor(self) -> Option<Minor> {
        self.integer().and_then(Minor::new)
    }

    pub(crate) fn currency(self) -> Option<Currency> {
        self.text().and_then(|text| Currency::parse(&text))
    }

    /// Seconds since the epoch, or RFC 3339 as thin events have it.
    pub(crate) fn instant(self) -> Option<Timestamp> {
        self.integer().map(Timestamp::from_seconds).or_else(|| Timestamp::parse(&self.text()?))
    }

    pub(crate) fn flag(self) -> Option<bool> {
        match self.0? {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// What people put into metadata: text, or a number or boolean as text.
    pub(crate) fn scalar_text(self, chars_max: usize) -> Option<String> {
        match self.0?.as_bytes().first()? {
            b'"' => self.short_text(chars_max),
            b'{' | b'[' => None,
            _ => self.0.map(|json| shorten(json, chars_max)),
        }
    }

    /// What merchants attach to their payments: an object of scalars, as texts.
    pub(crate) fn metadata(self) -> BTreeMap<String, String> {
        let entries = self.entries(METADATA_KEYS_MAX).into_iter();
        entries
            .filter_map(|(key, value)| {
                let value = value.scalar_text(METADATA_VALUE_CHARS_MAX)?;
                Some((shorten(&key, METADATA_KEY_CHARS_MAX), value))
            })
            .collect()
    }

    /// The object's fields; all missing if it is no object.
    pub(crate) fn read<T: Deserialize<'a> + Default>(self) -> T {
        self.0.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
    }

    /// An array's values.
    pub(crate) fn items(self) -> Vec<Self> {
        self.read()
    }

    /// The values of a list object (`{"data": […]}`) or, as very old versions had
    /// it, of a bare array.
    pub(crate) fn list(self) -> Vec<Self> {
        match self.0.and_then(|json| json.as_bytes().first()) {
            Some(b'{') => self.read::<List<'a>>().data.items(),
            _ => self.items(),
        }
    }

    /// An object's keys and values, in order, at most so many.
    pub(crate) fn entries(self, entries_max: usize) -> Vec<(Cow<'a, str>, Self)> {
        let Entries(mut entries) = self.read();
        entries.truncate(entries_max);
        entries
    }
}

/// Cut to so many characters. A NUL, which no database takes as text, becomes
/// the replacement character.
pub(crate) fn shorten(text: &str, chars_max: usize) -> String {
    let end = text.char_indices().nth(chars_max).map_or(text.len(), |(index, _)| index);
    text[..end].replace('\0', "\u{fffd}")
}

pub(crate) fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= ID_BYTES_MAX && !text.contains(char::is_control)
}

/// A JSON key, borrowed unless it was written with escapes.
pub(crate) struct Key<'a>(pub(crate) Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// Passes over an array, for the values that are not what they should be.
pub(crate) fn skip_seq<'de, A: serde::de::SeqAccess<'de>>(mut seq: A) -> Result<(), A::Error> {
    while seq.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// Declares a struct that reads from any JSON value: from an object its keys (the
/// last of a repeated one counts, as in most readers), from anything else nothing.
macro_rules! tolerant {
    ($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty = $key:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        pub(crate) struct $name<'de> { $(pub(crate) $field: $type),+ }

        impl<'de> serde::de::Deserialize<'de> for $name<'de> {
            fn deserialize<D: serde::de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Fields;
                impl<'de> serde::de::Visitor<'de> for Fields {
                    type Value = $name<'de>;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("any JSON")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                        let mut fields = $name::default();
                        while let Some(key) = map.next_key::<$crate::json::Key<'de>>()? {
                            match &*key.0 {
                                $($key => fields.$field = map.next_value()?,)+
                                _ => { map.next_value::<serde::de::IgnoredAny>()?; }
                            }
                        }
                        Ok(fields)
                    }

                    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                        $crate::json::skip_seq(seq)?;
                        Ok($name::default())
                    }

                    fn visit_unit<E>(self) -> Result<Self::Value, E> {
                        Ok($name::default())
                    }

                    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                        Ok($name::default())
                    }

                    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
                        Ok($name::default())
                    }

                    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
                        Ok($name::default())
                    }

                    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
                        Ok($name::default())
                    }

                    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
                        Ok($name::default())
                    }
                }
                deserializer.deserialize_any(Fields)
            }
        }
    };
}
pub(crate) use tolerant;

tolerant! { Identified { id: Raw<'de> = "id" } }
tolerant! { List { data: Raw<'de> = "data" } }

#[derive(Default)]
struct Entries<'a>(Vec<(Cow<'a, str>, Raw<'a>)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    entries.push((key, map.next_value()?));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor)
    }
}
