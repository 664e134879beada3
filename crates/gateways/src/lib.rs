//! From a gateway's bytes to facts, in three pure steps: [`Gateway::verify`] says
//! whether the gateway signed them, [`Gateway::envelope`] which event it is, and
//! [`Gateway::normalise`] what it states.

pub mod generic;
mod json;
pub mod microservice;
mod payload;
pub mod paypal;
pub mod sample;
pub mod signature;
pub mod standard_webhooks;
pub mod stripe;
mod timestamped;

use domain::{Facts, Mode, Timestamp};
use secrecy::SecretString;

pub use signature::{BadSecret, Reason, Secret, Verdict};

/// A kind of sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gateway {
    Stripe,
    Paypal,
    Generic,
    Microservice,
    StandardWebhooks,
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
    pub const ALL: [Self; 5] = [Self::Stripe, Self::Paypal, Self::Generic, Self::Microservice, Self::StandardWebhooks];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stripe => "stripe",
            Self::Paypal => "paypal",
            Self::Generic => "generic",
            Self::Microservice => "microservice",
            Self::StandardWebhooks => "standard-webhooks",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|gateway| gateway.as_str() == name)
    }

    /// Makes what a merchant configures ready for [`Gateway::verify`].
    pub fn secret(self, text: &SecretString) -> Result<Secret, BadSecret> {
        match self {
            Self::Stripe => Ok(Secret::from_text(text)),
            Self::Paypal => paypal::secret(text),
            Self::Generic => Ok(generic::secret(text)),
            Self::Microservice => microservice::secret(text),
            Self::StandardWebhooks => standard_webhooks::secret(text),
        }
    }

    /// Whether one of `secrets` signed these raw bytes, no longer ago (and no
    /// further ahead) than `tolerance_seconds`. An API key signs nothing: it is only
    /// whether one of them was sent.
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
            // Its certificate has to be there first: see [`paypal::verify`].
            Self::Paypal => Verdict::Invalid(Reason::CertificateMissing),
            Self::Generic => generic::verify(headers, body, secrets, now, tolerance_seconds),
            Self::Microservice => microservice::verify(headers, secrets),
            Self::StandardWebhooks => standard_webhooks::verify(headers, body, secrets, now, tolerance_seconds),
        }
    }

    /// How far a signature's time may be away unless the merchant says otherwise.
    pub const fn tolerance_seconds(self) -> u64 {
        match self {
            Self::Paypal => paypal::TOLERANCE_SECONDS,
            Self::Stripe | Self::Generic | Self::Microservice | Self::StandardWebhooks => 300,
        }
    }

    /// What the sender calls a delivery on each of its tries, where the signature covers
    /// that name but hardly the body: then one name may stand for one body only.
    pub fn transmission_id(self, headers: &http::HeaderMap) -> Option<&str> {
        match self {
            Self::Paypal => paypal::transmission_id(headers),
            Self::Stripe | Self::Generic | Self::Microservice | Self::StandardWebhooks => None,
        }
    }

    /// Reads which event a *verified* delivery is. Of the headers only those count
    /// that the signature covers.
    pub fn envelope(self, headers: &http::HeaderMap, body: &[u8]) -> Result<Envelope, NotAnEvent> {
        match self {
            Self::Stripe => stripe::envelope(body),
            Self::Paypal => paypal::envelope(headers, body),
            Self::Generic => generic::envelope(headers, body),
            Self::Microservice => microservice::envelope(body),
            Self::StandardWebhooks => standard_webhooks::envelope(headers, body),
        }
    }

    /// Whether an event of this type confirms or fails a payment. Only then is it missed
    /// where nobody registered that payment; what else is said of it is of no concern.
    pub fn decides(self, event_type: &str) -> bool {
        match self {
            Self::Stripe => stripe::DECIDING_TYPES.contains(&event_type),
            Self::Paypal => paypal::DECIDING_TYPES.contains(&event_type),
            Self::Generic | Self::Microservice | Self::StandardWebhooks => true,
        }
    }

    /// Reads what a verified body states. Total: what is unknown states nothing.
    /// `received_at` stands in where the body has no time that can be relied on; it
    /// has to be the same whenever the same event is read again.
    pub fn normalise(self, body: &[u8], received_at: Timestamp) -> Result<Statement, NotAnEvent> {
        match self {
            Self::Stripe => stripe::normalise(body),
            Self::Paypal => paypal::normalise(body, received_at),
            Self::Generic => generic::normalise(body, received_at),
            Self::Microservice => microservice::normalise(body, received_at),
            Self::StandardWebhooks => Ok(standard_webhooks::normalise(body, received_at)),
        }
    }

    /// The headers with which a sender that has this secret would deliver `body` at
    /// that time. `event_id` counts only where it is sent in a header.
    pub fn sign(
        self,
        secret: &SecretString,
        event_id: &str,
        at: Timestamp,
        body: &[u8],
    ) -> Result<Vec<(&'static str, String)>, BadSecret> {
        match self {
            Self::Stripe => Ok(vec![(stripe::SIGNATURE_HEADER, stripe::sign(&Secret::from_text(secret), at, body))]),
            Self::Paypal => Err(BadSecret("PayPal signs with a key that nobody else has")),
            Self::Generic => Ok(generic::sign(&generic::secret(secret), at, body)),
            Self::Microservice => microservice::sign(secret),
            Self::StandardWebhooks => standard_webhooks::sign(&standard_webhooks::secret(secret)?, event_id, at, body),
        }
    }
}
