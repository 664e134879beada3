//! What every signature check shares.

use aws_lc_rs::{digest, hmac};
use domain::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use crate::{paypal, standard_webhooks};

/// Why a delivery was refused. For the operator; the sender is never told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("the signature header is missing")]
    HeaderMissing,
    #[error("the signature header was sent more than once")]
    HeaderRepeated,
    #[error("the signature header is malformed")]
    HeaderMalformed,
    #[error("the signature header has no signature of a scheme that is in use")]
    NoSignature,
    /// Positive: signed in the past.
    #[error("the signature is {0} s away from this machine's clock")]
    OutsideTolerance(i64),
    #[error("no configured secret made this signature over these bytes")]
    NoMatch,
    #[error("the endpoint has no secret")]
    NoSecret,
    #[error("the signature is of an algorithm that is not in use")]
    Algorithm,
    #[error("the certificate's URL is none of PayPal's")]
    CertificateUrl,
    #[error("there is no certificate to verify it with")]
    CertificateMissing,
    #[error("the certificate was not issued under a root that is trusted")]
    CertificateUntrusted,
    #[error("the certificate was not valid at that time")]
    CertificateNotValidThen,
    #[error("the certificate is not of the one who signs PayPal's messages there")]
    CertificateName,
    #[error("it comes from the other one of PayPal's systems, sandbox or live")]
    Environment,
    #[error("the body is not JSON, so that PayPal cannot be asked about it")]
    NotJson,
    #[error("PayPal was asked, and says that it did not send this")]
    Denied,
    #[error("the API key is missing")]
    ApiKeyMissing,
    #[error("the API key was sent more than once")]
    ApiKeyRepeated,
    #[error("the API key is none of the configured ones")]
    ApiKeyWrong,
}

/// A text that cannot be a secret of its gateway. Says why without showing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSecret(pub &'static str);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Signed with the secret at this index.
    Valid {
        secret: usize,
    },
    Invalid(Reason),
}

impl From<Result<usize, Reason>> for Verdict {
    fn from(checked: Result<usize, Reason>) -> Self {
        checked.map_or_else(Self::Invalid, |secret| Self::Valid { secret })
    }
}

/// A secret, ready for use at the gateway it was made for; at another it is wrong.
/// Shows nothing of itself.
#[derive(Clone)]
pub struct Secret {
    key: Key,
}

#[derive(Clone)]
pub(crate) enum Key {
    Hmac(hmac::Key),
    /// One secret, as two schemes read it.
    Generic {
        text: hmac::Key,
        standard: Vec<standard_webhooks::Key>,
    },
    StandardWebhooks([standard_webhooks::Key; 1]),
    /// PayPal's: it is signed along, with a key that is PayPal's alone.
    WebhookId(paypal::WebhookId),
    /// The SHA-256 of an API key.
    ApiKeyHash(digest::Digest),
}

impl Secret {
    /// Uses the text's bytes as they are: Stripe's `whsec_` is part of the key.
    pub fn from_text(text: &SecretString) -> Self {
        Self::new(Key::Hmac(hmac::Key::new(hmac::HMAC_SHA256, text.expose_secret().as_bytes())))
    }

    pub(crate) const fn new(key: Key) -> Self {
        Self { key }
    }

    pub(crate) const fn key(&self) -> &Key {
        &self.key
    }

    /// The key of the `t=…,v1=…` scheme.
    pub(crate) const fn hmac(&self) -> Option<&hmac::Key> {
        match &self.key {
            Key::Hmac(key) | Key::Generic { text: key, .. } => Some(key),
            _ => None,
        }
    }

    /// The keys of the Standard Webhooks scheme; none if it is another scheme's secret.
    pub(crate) fn standard_webhooks(&self) -> &[standard_webhooks::Key] {
        match &self.key {
            Key::Generic { standard, .. } => standard,
            Key::StandardWebhooks(key) => key,
            _ => &[],
        }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The header's text; it has to be there once.
pub(crate) fn only_value<'a>(headers: &'a http::HeaderMap, name: &str) -> Result<&'a str, Reason> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(Reason::HeaderMissing)?;
    if values.next().is_some() {
        return Err(Reason::HeaderRepeated);
    }
    value.to_str().map_err(|_| Reason::HeaderMalformed)
}

/// Digits only: `parse` alone would take a sign too.
pub(crate) fn parse_seconds(digits: &str) -> Option<i64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

pub(crate) fn within(tolerance_seconds: u64, signed_at: i64, now: Timestamp) -> Result<(), Reason> {
    let age = now.seconds().saturating_sub(signed_at);
    if age.unsigned_abs() > tolerance_seconds { Err(Reason::OutsideTolerance(age)) } else { Ok(()) }
}
