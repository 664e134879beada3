//! `X-API-Key`: a shared secret sent as it is. It covers neither the body nor the
//! time.

use aws_lc_rs::{constant_time, digest};
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};

use crate::signature::{BadSecret, Key, Reason, Secret, Verdict};

pub const API_KEY_HEADER: &str = "x-api-key";

pub fn secret(text: &SecretString) -> Result<Secret, BadSecret> {
    let key = text.expose_secret();
    if http::HeaderValue::from_str(key).is_err() {
        return Err(BadSecret("an API key that cannot be sent in a header"));
    }
    Ok(Secret::new(Key::ApiKeyHash(digest::digest(&digest::SHA256, key.as_bytes()))))
}

/// The header with which the service delivers.
pub fn sign(text: &SecretString) -> Result<Vec<(&'static str, String)>, BadSecret> {
    secret(text)?; // Whatever could not be configured cannot be sent either.
    Ok(vec![(API_KEY_HEADER, text.expose_secret().to_owned())])
}

/// Whether the API key sent is one of `secrets`. What is compared are hashes, so
/// that neither the time nor the length of a key tells how near a guess is.
pub fn verify(headers: &HeaderMap, secrets: &[Secret]) -> Verdict {
    check(headers, secrets).into()
}

fn check(headers: &HeaderMap, secrets: &[Secret]) -> Result<usize, Reason> {
    if secrets.is_empty() {
        return Err(Reason::NoSecret);
    }
    let mut values = headers.get_all(API_KEY_HEADER).iter();
    let sent = values.next().ok_or(Reason::ApiKeyMissing)?;
    if values.next().is_some() {
        return Err(Reason::ApiKeyRepeated);
    }
    let sent = digest::digest(&digest::SHA256, sent.as_bytes());
    let is_sent = |secret: &Secret| match secret.key() {
        Key::ApiKeyHash(key) => constant_time::verify_slices_are_equal(key.as_ref(), sent.as_ref()).is_ok(),
        _ => false,
    };
    secrets.iter().position(is_sent).ok_or(Reason::ApiKeyWrong)
}
