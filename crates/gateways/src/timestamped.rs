//! `t=<unix seconds>,v1=<hex>[,v1=<hex>…]` in one header: HMAC-SHA256 over `t`, a
//! dot and the raw body. Stripe's scheme, which others took over.
//! <https://docs.stripe.com/webhooks/signature>

use std::fmt::Write;

use aws_lc_rs::{constant_time, hmac};
use domain::Timestamp;

use crate::signature::{Reason, Secret, only_value, parse_seconds, within};

/// How many `v1` values are considered. While a secret is rolled there are two;
/// the bound keeps a hostile header from costing more than an honest one.
pub const SIGNATURES_MAX: usize = 16;

const TAG_LEN: usize = 32;

/// The header's value for `body`, signed at that time. `None` if the secret is no
/// text that signs.
pub(crate) fn sign(secret: &Secret, at: Timestamp, body: &[u8]) -> Option<String> {
    let signed_at = at.seconds().to_string();
    let tag = tag(secret.hmac()?, &signed_at, body);
    let mut header = format!("t={signed_at},v1=");
    for byte in tag.as_ref() {
        let _ = write!(header, "{byte:02x}"); // Writing to a string cannot fail.
    }
    Some(header)
}

/// Which of `secrets` signed these raw bytes within the tolerance, in the past or
/// in the future. The signature decides first, so that a clock that is wrong reads
/// as such and not as a wrong secret.
pub(crate) fn check(
    header_name: &str,
    headers: &http::HeaderMap,
    body: &[u8],
    secrets: &[Secret],
    now: Timestamp,
    tolerance_seconds: u64,
) -> Result<usize, Reason> {
    if secrets.is_empty() {
        return Err(Reason::NoSecret);
    }
    let header = Header::parse(only_value(headers, header_name)?)?;
    let signed_by = |secret: &Secret| {
        let Some(key) = secret.hmac() else { return false };
        let tag = tag(key, header.signed_at_text, body);
        let candidates = &header.signatures[..header.signatures_len];
        candidates.iter().any(|candidate| constant_time::verify_slices_are_equal(candidate, tag.as_ref()).is_ok())
    };
    let secret = secrets.iter().position(signed_by).ok_or(Reason::NoMatch)?;
    within(tolerance_seconds, header.signed_at, now)?;
    Ok(secret)
}

fn tag(key: &hmac::Key, signed_at: &str, body: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(signed_at.as_bytes());
    context.update(b".");
    context.update(body);
    context.sign()
}

struct Header<'a> {
    /// As received, because these characters are what was signed.
    signed_at_text: &'a str,
    signed_at: i64,
    signatures: [[u8; TAG_LEN]; SIGNATURES_MAX],
    signatures_len: usize,
}

impl<'a> Header<'a> {
    fn parse(text: &'a str) -> Result<Self, Reason> {
        let mut signed_at = None;
        let mut signatures = [[0; TAG_LEN]; SIGNATURES_MAX];
        let mut signatures_len = 0;
        let mut has_signature = false;
        for item in text.split(',') {
            match item.split_once('=').ok_or(Reason::HeaderMalformed)? {
                ("t", digits) => {
                    let seconds = parse_seconds(digits).ok_or(Reason::HeaderMalformed)?;
                    if signed_at.replace((digits, seconds)).is_some() {
                        return Err(Reason::HeaderMalformed); // Which of the two was signed?
                    }
                }
                ("v1", hex) => {
                    has_signature = true;
                    if let (Some(tag), Some(slot)) = (decode_hex(hex), signatures.get_mut(signatures_len)) {
                        *slot = tag;
                        signatures_len += 1;
                    }
                }
                _ => {} // `v0` is for tests only; other schemes may come.
            }
        }
        let (signed_at_text, signed_at) = signed_at.ok_or(Reason::HeaderMalformed)?;
        if !has_signature {
            return Err(Reason::NoSignature);
        }
        Ok(Self { signed_at_text, signed_at, signatures, signatures_len })
    }
}

/// Lower case only, as Stripe writes it: one signature has one spelling.
fn decode_hex(hex: &str) -> Option<[u8; TAG_LEN]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let hex = hex.as_bytes();
    if hex.len() != TAG_LEN * 2 {
        return None;
    }
    let mut tag = [0; TAG_LEN];
    for (byte, pair) in tag.iter_mut().zip(hex.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(tag)
}
