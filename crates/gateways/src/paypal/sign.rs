//! Signing as PayPal does, for what stands in for it: simulations and tests.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use domain::Timestamp;

use super::verify::{
    ALGORITHM, ALGORITHM_HEADER, CERTIFICATE_URL_HEADER, SIGNATURE_HEADER, TRANSMISSION_ID_HEADER,
    TRANSMISSION_TIME_HEADER, signed_text,
};
use crate::BadSecret;

/// The key that belongs to a certificate. Shows nothing of itself.
pub struct Signer(RsaKeyPair);

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(…)")
    }
}

/// What is signed beside the body, and where the certificate is said to be.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    pub webhook_id: &'a str,
    pub transmission_id: &'a str,
    pub at: Timestamp,
    pub certificate_url: &'a str,
}

impl Signer {
    /// Reads an RSA key in PKCS #8 (DER).
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, BadSecret> {
        RsaKeyPair::from_pkcs8(der).map(Self).map_err(|_| BadSecret("it is no RSA key in PKCS #8"))
    }

    /// The headers with which PayPal would deliver `body`.
    pub fn sign(&self, delivery: &Delivery<'_>, body: &[u8]) -> Result<Vec<(&'static str, String)>, BadSecret> {
        let time = delivery.at.to_string();
        let signed = signed_text(delivery.transmission_id, &time, delivery.webhook_id, body);
        let mut signature = vec![0; self.0.public_modulus_len()];
        let signing = self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature);
        signing.map_err(|_| BadSecret("the key does not sign"))?;
        Ok(vec![
            (TRANSMISSION_ID_HEADER, delivery.transmission_id.to_owned()),
            (TRANSMISSION_TIME_HEADER, time),
            (SIGNATURE_HEADER, BASE64_STANDARD.encode(signature)),
            (CERTIFICATE_URL_HEADER, delivery.certificate_url.to_owned()),
            (ALGORITHM_HEADER, ALGORITHM.to_owned()),
        ])
    }
}
