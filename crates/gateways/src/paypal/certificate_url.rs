//! Where PayPal says that its certificate is. The URL comes with the delivery,
//! before anything is verified, so nothing of it is followed but a name from a list
//! of four and a plain id.

use std::fmt;

use domain::Mode;
use http::HeaderMap;

use super::verify::CERTIFICATE_URL_HEADER;
use crate::signature::{Reason, only_value};

/// <https://developer.paypal.com/api/rest/requests/#link-apibaseurls>, and the names
/// that were in use before.
const HOSTS: [(&str, Mode); 4] = [
    ("api.paypal.com", Mode::Live),
    ("api-m.paypal.com", Mode::Live),
    ("api.sandbox.paypal.com", Mode::Test),
    ("api-m.sandbox.paypal.com", Mode::Test),
];

const PATH: &str = "/v1/notifications/certs/";

/// PayPal's have about 30 characters.
const ID_LEN_MAX: usize = 128;

/// A certificate's place at PayPal, put together anew from checked parts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CertificateUrl {
    host: &'static str,
    mode: Mode,
    id: String,
}

impl CertificateUrl {
    /// Whether PayPal's sandbox (test) or its real system has it.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The path under a base from the configuration, where one stands in for PayPal.
    pub fn under(&self, base: &str) -> String {
        format!("{}{PATH}{}", base.trim_end_matches('/'), self.id)
    }
}

impl fmt::Display for CertificateUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{PATH}{}", self.host, self.id)
    }
}

/// The place of the certificate that a delivery names, if it is one of PayPal's:
/// `https`, one of four hosts exactly, no port, no user, no query, the path of
/// certificates, and an id of letters, digits, `-`, `_`.
pub fn certificate_url(headers: &HeaderMap) -> Result<CertificateUrl, Reason> {
    let (host, mode, path) = parts(headers)?;
    let id = path.strip_prefix(PATH).ok_or(Reason::CertificateUrl)?;
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if id.is_empty() || id.len() > ID_LEN_MAX || !plain {
        return Err(Reason::CertificateUrl);
    }
    Ok(CertificateUrl { host, mode, id: id.to_owned() })
}

/// Which of PayPal's systems the delivery says that it comes from.
pub(super) fn environment(headers: &HeaderMap) -> Result<Mode, Reason> {
    parts(headers).map(|(_, mode, _)| mode)
}

/// Whether a URL is of one of PayPal's systems, and of which.
pub(super) fn environment_of(url: &str) -> Option<Mode> {
    split(url).map(|(_, mode, _)| mode)
}

/// Which of PayPal's systems an API base is (`https://api-m.sandbox.paypal.com`);
/// `None` of another's.
pub fn environment_of_base(base: &str) -> Option<Mode> {
    environment_of(&format!("{}/", base.trim_end_matches('/')))
}

fn parts(headers: &HeaderMap) -> Result<(&'static str, Mode, &str), Reason> {
    split(only_value(headers, CERTIFICATE_URL_HEADER)?).ok_or(Reason::CertificateUrl)
}

fn split(url: &str) -> Option<(&'static str, Mode, &str)> {
    let rest = url.strip_prefix("https://")?;
    let path = rest.find('/').map(|slash| rest.split_at(slash));
    let (authority, path) = path?;
    HOSTS.iter().find(|(host, _)| *host == authority).map(|(host, mode)| (*host, *mode, path))
}
