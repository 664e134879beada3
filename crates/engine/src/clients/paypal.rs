//! Whether PayPal sent a delivery: by its certificate, which is fetched once, or by
//! asking PayPal about each.
//! <https://developer.paypal.com/api/rest/webhooks/rest/#link-verifysignature>

mod certificates;
mod postback;

use domain::Timestamp;
use gateways::paypal::{Transmission, Trust, certificate_url, environment_of_base, verify};
use gateways::{Reason, Secret, Verdict};
use http::HeaderMap;
use secrecy::SecretString;

use super::Unreachable;
use certificates::Cache;
use postback::Postback;

/// PayPal's real system, for [`PaypalVerifier::by_postback`].
pub const LIVE_BASE: &str = "https://api-m.paypal.com";
/// PayPal's sandbox.
pub const SANDBOX_BASE: &str = "https://api-m.sandbox.paypal.com";

/// An application at PayPal.
#[derive(Clone, Debug)]
pub struct Credentials {
    pub client_id: SecretString,
    pub client_secret: SecretString,
}

/// One way to verify PayPal's deliveries. One of them serves many requests at once.
#[derive(Debug)]
pub struct PaypalVerifier(Way);

#[derive(Debug)]
enum Way {
    Certificate { trust: Trust, certificates: Cache },
    Postback(Postback),
}

impl PaypalVerifier {
    /// Verifies by the certificate that a delivery names, fetched from PayPal or, where
    /// the configured API base is not PayPal's own, from what stands in for it there.
    pub fn by_certificate(trust: Trust, base: Option<String>) -> Result<Self, Unreachable> {
        let stands_in = base.filter(|base| environment_of_base(base).is_none());
        Ok(Self(Way::Certificate { trust, certificates: Cache::new(stands_in)? }))
    }

    /// Asks PayPal, at `base`, about every delivery.
    pub fn by_postback(credentials: Credentials, base: &str) -> Result<Self, Unreachable> {
        Ok(Self(Way::Postback(Postback::new(credentials, base)?)))
    }

    /// Whether PayPal sent this. An error means that it is not known yet: the delivery
    /// is to be refused in a way that brings it again (503).
    pub async fn verify(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        webhook_ids: &[Secret],
        now: Timestamp,
        tolerance_seconds: u64,
    ) -> Result<Verdict, Unreachable> {
        match &self.0 {
            Way::Postback(postback) => postback.verify(headers, body, webhook_ids, now, tolerance_seconds).await,
            Way::Certificate { trust, certificates } => {
                // What no certificate could mend is said before one is fetched for it.
                let fit = Transmission::read(headers).and_then(|said| {
                    let age = now.seconds().saturating_sub(said.at.seconds());
                    let is_near = age.unsigned_abs() <= tolerance_seconds;
                    if is_near { certificate_url(headers) } else { Err(Reason::OutsideTolerance(age)) }
                });
                let url = match fit {
                    Ok(url) => url,
                    Err(reason) => return Ok(Verdict::Invalid(reason)),
                };
                Ok(match certificates.get(&url, trust, now).await? {
                    Ok(found) => verify(headers, body, webhook_ids, &found, trust, now, tolerance_seconds),
                    Err(reason) => Verdict::Invalid(reason),
                })
            }
        }
    }
}
