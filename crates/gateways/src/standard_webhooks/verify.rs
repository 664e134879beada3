//! Signatures: `webhook-id`, `webhook-timestamp` and `webhook-signature`, a list of
//! `version,base64` with spaces between. `v1` is HMAC-SHA256 and `v1a` Ed25519, over
//! id, timestamp and raw body with dots between.
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use aws_lc_rs::signature::{ED25519, ED25519_PUBLIC_KEY_LEN, UnparsedPublicKey};
use aws_lc_rs::{constant_time, hmac};
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::engine::{DecodePaddingMode, Engine};
use domain::Timestamp;
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};

use crate::json;
use crate::signature::{BadSecret, Reason, Secret, only_value, parse_seconds, within};

/// How many signatures are considered; the bound keeps a hostile header from
/// costing more than an honest one.
pub const SIGNATURES_MAX: usize = 16;

/// What a sender of the one or of the other name calls its headers.
pub(crate) struct Names {
    pub(crate) id: &'static str,
    pub(crate) timestamp: &'static str,
    pub(crate) signature: &'static str,
}

pub(crate) const STANDARD_NAMES: Names =
    Names { id: "webhook-id", timestamp: "webhook-timestamp", signature: "webhook-signature" };
/// The scheme's first implementation, which many senders use.
const SVIX_NAMES: Names = Names { id: "svix-id", timestamp: "svix-timestamp", signature: "svix-signature" };

impl Names {
    /// One set of names is used for all three: only so is the id that is read the
    /// one that was signed.
    fn in_use(headers: &HeaderMap) -> &'static Self {
        if SVIX_NAMES.any(headers) && !STANDARD_NAMES.any(headers) { &SVIX_NAMES } else { &STANDARD_NAMES }
    }

    fn any(&self, headers: &HeaderMap) -> bool {
        [self.id, self.timestamp, self.signature].iter().any(|name| headers.contains_key(*name))
    }
}

/// Whether the delivery has any of the scheme's headers.
pub(crate) fn is_used(headers: &HeaderMap) -> bool {
    Names::in_use(headers).any(headers)
}

/// What verifies: a shared secret, or the sender's public key.
#[derive(Clone)]
pub(crate) enum Key {
    Hmac(Box<hmac::Key>),
    Ed25519([u8; ED25519_PUBLIC_KEY_LEN]),
}

/// As Python's reader, which the scheme's users go by: with padding or without.
const SECRET_BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

impl Key {
    /// Base64 with or without `whsec_` before it, or `whpk_` and a public key.
    pub(crate) fn read(text: &SecretString) -> Result<Self, BadSecret> {
        let text = text.expose_secret();
        if let Some(public) = text.strip_prefix("whpk_") {
            let public = SECRET_BASE64.decode(public).ok().and_then(|bytes| bytes.try_into().ok());
            return public
                .map(Self::Ed25519)
                .ok_or(BadSecret("not an Ed25519 public key: 32 bytes, in base64, are after `whpk_`"));
        }
        if text.starts_with("whsk_") {
            return Err(BadSecret("this is the sender's private key; what verifies is its public key, `whpk_…`"));
        }
        Self::shared(text).ok_or(BadSecret("not a Standard Webhooks secret: it is base64 but for its prefix"))
    }

    /// A shared secret; `None` if it is not base64, or empty.
    pub(crate) fn shared(text: &str) -> Option<Self> {
        let bytes = SECRET_BASE64.decode(text.strip_prefix("whsec_").unwrap_or(text)).ok()?;
        (!bytes.is_empty()).then(|| Self::from_bytes(&bytes))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self::Hmac(Box::new(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// The value of the signature header; `None` for a public key, which signs nothing.
    pub(crate) fn sign(&self, id: &str, at: Timestamp, body: &[u8]) -> Option<String> {
        let Self::Hmac(key) = self else { return None };
        let tag = tag(key, id, &at.seconds().to_string(), body);
        Some(format!("v1,{}", STANDARD.encode(tag)))
    }
}

/// Which of `secrets` signed this delivery within the tolerance, in the past or in
/// the future; `keys_of` gives a secret's keys for this scheme.
pub(crate) fn check(
    headers: &HeaderMap,
    body: &[u8],
    secrets: &[Secret],
    keys_of: impl Fn(&Secret) -> &[Key],
    now: Timestamp,
    tolerance_seconds: u64,
) -> Result<usize, Reason> {
    if secrets.is_empty() {
        return Err(Reason::NoSecret);
    }
    let names = Names::in_use(headers);
    let id = id(headers)?;
    let signed_at_text = only_value(headers, names.timestamp)?;
    let signed_at = parse_seconds(signed_at_text).ok_or(Reason::HeaderMalformed)?;
    let signatures = Signatures::parse(only_value(headers, names.signature)?)?;
    let signed_by = |key: &Key| match key {
        Key::Hmac(key) => {
            let tag = tag(key, id, signed_at_text, body);
            signatures.hmac.iter().any(|made| constant_time::verify_slices_are_equal(made, tag.as_ref()).is_ok())
        }
        Key::Ed25519(public) if !signatures.ed25519.is_empty() => {
            let message = [id.as_bytes(), b".", signed_at_text.as_bytes(), b".", body].concat();
            let public = UnparsedPublicKey::new(&ED25519, public);
            signatures.ed25519.iter().any(|made| public.verify(&message, made).is_ok())
        }
        Key::Ed25519(_) => false,
    };
    let signed_with = |secret: &Secret| keys_of(secret).iter().any(signed_by);
    let secret = secrets.iter().position(signed_with).ok_or(Reason::NoMatch)?;
    within(tolerance_seconds, signed_at, now)?;
    Ok(secret)
}

/// The event's id. Only where [`check`] succeeded is it the sender's.
pub(crate) fn id(headers: &HeaderMap) -> Result<&str, Reason> {
    let id = only_value(headers, Names::in_use(headers).id)?;
    if json::is_id(id) { Ok(id) } else { Err(Reason::HeaderMalformed) }
}

/// When the sender signed, for an event that tells no time of its own.
pub(crate) fn signed_at(headers: &HeaderMap) -> Option<Timestamp> {
    let text = only_value(headers, Names::in_use(headers).timestamp).ok()?;
    parse_seconds(text).map(Timestamp::from_seconds)
}

fn tag(key: &hmac::Key, id: &str, signed_at: &str, body: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    for part in [id.as_bytes(), b".", signed_at.as_bytes(), b".", body] {
        context.update(part);
    }
    context.sign()
}

/// Signatures by version, because the version decides the algorithm.
#[derive(Default)]
struct Signatures {
    hmac: Vec<Vec<u8>>,
    ed25519: Vec<Vec<u8>>,
}

impl Signatures {
    /// What is of another version, or not base64, signs nothing.
    fn parse(text: &str) -> Result<Self, Reason> {
        let mut signatures = Self::default();
        let mut known = false;
        for (version, encoded) in text.split(' ').filter_map(|entry| entry.split_once(',')).take(SIGNATURES_MAX) {
            let of_version = match version {
                "v1" => &mut signatures.hmac,
                "v1a" => &mut signatures.ed25519,
                _ => continue,
            };
            known = true;
            of_version.extend(STANDARD.decode(encoded));
        }
        if known { Ok(signatures) } else { Err(Reason::NoSignature) }
    }
}
