//! RSA-SHA256 over `transmission id|transmission time|webhook id|crc32 of the raw
//! body`, by the key of a certificate that PayPal hands out.
//! <https://developer.paypal.com/api/rest/webhooks/rest/#link-verifysignature>
//!
//! A CRC binds nothing: anybody who has seen one delivery can make another body with
//! the same sum. So one transmission id may stand for one body only, which is the
//! store's to check, and money that moves is asked for at PayPal.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use domain::Timestamp;
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};

use super::certificate::{Certificates, Trust};
use super::certificate_url::environment;
use crate::signature::{BadSecret, Key, Reason, Secret, Verdict, only_value, within};

pub const TRANSMISSION_ID_HEADER: &str = "paypal-transmission-id";
pub const TRANSMISSION_TIME_HEADER: &str = "paypal-transmission-time";
pub const SIGNATURE_HEADER: &str = "paypal-transmission-sig";
pub const CERTIFICATE_URL_HEADER: &str = "paypal-cert-url";
pub const ALGORITHM_HEADER: &str = "paypal-auth-algo";

/// The only algorithm that is taken, whatever else a header may ask for.
pub(super) const ALGORITHM: &str = "SHA256withRSA";

/// PayPal tries for three days, with the time of the first try.
pub const TOLERANCE_SECONDS: u64 = 4 * 24 * 60 * 60;

const TRANSMISSION_ID_LEN_MAX: usize = 255;

/// Of a key of 8192 bits, in base64.
const SIGNATURE_LEN_MAX: usize = 1368;

const WEBHOOK_ID_LEN_MAX: usize = 255;

const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// The id that PayPal gave the merchant's webhook. Part of what is signed, and never
/// taken from the delivery.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookId(String);

impl std::fmt::Debug for WebhookId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookId(…)")
    }
}

impl WebhookId {
    pub fn parse(text: &SecretString) -> Result<Self, BadSecret> {
        let id = text.expose_secret().trim();
        let plain = id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'|');
        if id.is_empty() || id.len() > WEBHOOK_ID_LEN_MAX || !plain {
            return Err(BadSecret("a PayPal webhook id is a short word without spaces"));
        }
        Ok(Self(id.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A webhook id, for [`verify`].
pub fn secret(text: &SecretString) -> Result<Secret, BadSecret> {
    Ok(Secret::new(Key::WebhookId(WebhookId::parse(text)?)))
}

/// The webhook id that a secret is; `None` of another gateway's.
pub fn webhook_id(secret: &Secret) -> Option<&WebhookId> {
    if let Key::WebhookId(id) = secret.key() { Some(id) } else { None }
}

/// What a delivery says of itself, well-formed but not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmission<'a> {
    pub id: &'a str,
    /// As received, because these characters are what was signed.
    pub time: &'a str,
    pub at: Timestamp,
    /// In base64, as received.
    pub signature: &'a str,
    pub algorithm: &'a str,
    pub certificate_url: &'a str,
}

impl<'a> Transmission<'a> {
    /// Every header has to be there once; the algorithm has to be the one that is in
    /// use, and the certificate's host one of PayPal's.
    pub fn read(headers: &'a HeaderMap) -> Result<Self, Reason> {
        let id = only_value(headers, TRANSMISSION_ID_HEADER)?;
        let time = only_value(headers, TRANSMISSION_TIME_HEADER)?;
        let signature = only_value(headers, SIGNATURE_HEADER)?;
        let algorithm = only_value(headers, ALGORITHM_HEADER)?;
        let certificate_url = only_value(headers, CERTIFICATE_URL_HEADER)?;
        let at = Timestamp::parse(time).ok_or(Reason::HeaderMalformed)?;
        if !is_transmission_id(id) || signature.is_empty() || signature.len() > SIGNATURE_LEN_MAX {
            return Err(Reason::HeaderMalformed);
        }
        if algorithm != ALGORITHM {
            return Err(Reason::Algorithm);
        }
        environment(headers)?;
        Ok(Self { id, time, at, signature, algorithm, certificate_url })
    }
}

/// Without the separator of what is signed, so that it can be read in one way only.
fn is_transmission_id(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'|');
    !text.is_empty() && text.len() <= TRANSMISSION_ID_LEN_MAX && plain
}

/// What PayPal calls this delivery, on each of its tries; the signature covers it.
pub fn transmission_id(headers: &HeaderMap) -> Option<&str> {
    only_value(headers, TRANSMISSION_ID_HEADER).ok().filter(|id| is_transmission_id(id))
}

pub(super) fn signed_text(transmission_id: &str, time: &str, webhook_id: &str, body: &[u8]) -> String {
    format!("{transmission_id}|{time}|{webhook_id}|{}", CRC.checksum(body))
}

/// Whether PayPal signed this transmission, and a body with the CRC of this one, for
/// one of these webhook ids, with the key of a certificate that is its own at `now`.
/// The signature decides before the time does, so that a clock that is wrong reads as
/// such.
pub fn verify(
    headers: &HeaderMap,
    body: &[u8],
    webhook_ids: &[Secret],
    certificates: &Certificates,
    trust: &Trust,
    now: Timestamp,
    tolerance_seconds: u64,
) -> Verdict {
    let check = || {
        if webhook_ids.is_empty() {
            return Err(Reason::NoSecret);
        }
        let transmission = Transmission::read(headers)?;
        let environment = environment(headers)?;
        if trust.environment.is_some_and(|expected| expected != environment) {
            return Err(Reason::Environment);
        }
        let signature = BASE64_STANDARD.decode(transmission.signature).map_err(|_| Reason::HeaderMalformed)?;
        let signer = certificates.trusted(trust, environment, now)?;
        let signed_for = |secret: &Secret| {
            let Some(webhook_id) = webhook_id(secret) else { return false };
            let signed = signed_text(transmission.id, transmission.time, webhook_id.as_str(), body);
            let algorithm = webpki::aws_lc_rs::RSA_PKCS1_2048_8192_SHA256;
            signer.verify_signature(algorithm, signed.as_bytes(), &signature).is_ok()
        };
        let secret = webhook_ids.iter().position(signed_for).ok_or(Reason::NoMatch)?;
        within(tolerance_seconds, transmission.at.seconds(), now)?;
        Ok(secret)
    };
    check().into()
}
