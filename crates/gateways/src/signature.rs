//! What every signature check shares.

use aws_lc_rs::hmac;
use secrecy::{ExposeSecret, SecretString};

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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Signed with the secret at this index.
    Valid {
        secret: usize,
    },
    Invalid(Reason),
}

/// A signing secret, ready for use. Shows nothing of itself.
#[derive(Clone)]
pub struct Secret {
    key: hmac::Key,
}

impl Secret {
    /// Uses the text's bytes as they are: Stripe's `whsec_` is part of the key.
    pub fn from_text(text: &SecretString) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, text.expose_secret().as_bytes()) }
    }

    pub(crate) fn key(&self) -> &hmac::Key {
        &self.key
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}
