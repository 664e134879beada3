//! Instants. The domain never asks what time it is; instants come in with facts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An instant: microseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Whole seconds since the epoch, as Stripe's `created`. Saturates.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Rounded towards the past.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    pub const fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Reads an RFC 3339 instant (an offset is required). `None` if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|t| Self(t.as_microsecond()))
    }
}

/// For what people read; stored facts keep microseconds.
pub(crate) fn rfc3339<S: serde::Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match at {
        Some(at) => serializer.collect_str(at),
        None => serializer.serialize_none(),
    }
}

/// RFC 3339 in UTC with as many decimals as there are (`2026-11-20T16:01:00Z`).
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(instant) => write!(f, "{instant}"),
            // Outside the years −9999 to 9999, where RFC 3339 has no notation.
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_compare_by_time_and_not_by_text() {
        let instant = Timestamp::parse("2024-03-07T18:27:56.100Z");
        assert_eq!(instant, Timestamp::parse("2024-03-07T18:27:56.1Z"));
        assert_eq!(instant, Timestamp::parse("2024-03-07T20:27:56.1+02:00"));
        for not_an_instant in ["", "2018-19-12T22:20:32.000Z", "2024-03-07T18:27:56", "yesterday"] {
            assert_eq!(Timestamp::parse(not_an_instant), None, "{not_an_instant:?}");
        }
    }

    #[test]
    fn display_is_rfc_3339_and_total() {
        assert_eq!(Timestamp::from_seconds(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp::from_micros(i64::MAX).to_string(), "9223372036854775807us");
        assert_eq!(Timestamp::from_seconds(i64::MAX).micros(), i64::MAX);
        assert_eq!(Timestamp::from_micros(-1).seconds(), -1);
    }
}
