//! From a gateway's bytes to facts, in three pure steps: [`Gateway::verify`] says
//! whether the gateway signed them, [`Gateway::envelope`] which event it is, and
//! [`Gateway::normalise`] what it states.

pub mod signature;
pub mod stripe;

use domain::{Facts, Mode, Timestamp};

pub use signature::{Reason, Secret, Verdict};

/// A kind of sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gateway {
    Stripe,
}

/// Which event a body is: what is needed to store it, and nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub event_id: String,
    pub event_type: String,
    pub api_version: Option<String>,
    pub mode: Mode,
    /// The connected account that it happened on, where there is one.
    pub connected_account: Option<String>,
    /// By the gateway's clock.
    pub created_at: Option<Timestamp>,
}

/// The body is not what this gateway sends; the text says why, without quoting it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAnEvent(pub &'static str);

/// What an event states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// Empty where the event concerns no payment.
    pub facts: Facts,
    /// The object that the event is about (`pi_…`, `re_…`), if it shows or names one.
    pub object_id: Option<String>,
    /// The event names an object without showing it.
    pub needs_fetch: bool,
}

impl Gateway {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stripe => "stripe",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::Stripe].into_iter().find(|gateway| gateway.as_str() == name)
    }

    /// Whether one of `secrets` signed these raw bytes, no longer ago (and no
    /// further ahead) than `tolerance_seconds`.
    pub fn verify(
        self,
        headers: &http::HeaderMap,
        body: &[u8],
        secrets: &[Secret],
        now: Timestamp,
        tolerance_seconds: u64,
    ) -> Verdict {
        match self {
            Self::Stripe => stripe::verify(headers, body, secrets, now, tolerance_seconds),
        }
    }

    /// Reads which event a *verified* body is.
    pub fn envelope(self, body: &[u8]) -> Result<Envelope, NotAnEvent> {
        match self {
            Self::Stripe => stripe::envelope(body),
        }
    }

    /// Reads what a verified body states. Total: what is unknown states nothing.
    pub fn normalise(self, body: &[u8]) -> Result<Statement, NotAnEvent> {
        match self {
            Self::Stripe => stripe::normalise(body),
        }
    }
}
