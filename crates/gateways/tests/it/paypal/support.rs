//! A PayPal whose key is ours, and PayPal's own recorded deliveries.

use domain::{AccountId, EventFacts, Scope, Timestamp};
use gateways::paypal::{self, Certificates, Delivery, Trust, envelope, normalise};
use gateways::{Secret, Verdict};
use http::{HeaderMap, HeaderName, HeaderValue};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, RsaKeySize};
use secrecy::SecretString;

pub const LIVE_NAME: &str = "messageverificationcerts.paypal.com";
pub const SANDBOX_NAME: &str = "messageverificationcerts.sandbox.paypal.com";
pub const CERTIFICATE_URL: &str = "https://api.paypal.com/v1/notifications/certs/CERT-1-a";
pub const WEBHOOK_ID: &str = "8PT597110X687430L";
pub const NOW: i64 = 1_800_000_000;

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

pub fn webhook_id(text: &str) -> Secret {
    gateways::paypal::secret(&SecretString::from(text)).expect("a webhook id")
}

/// Signs what PayPal would, with a certificate for these names from a root of its own.
pub struct Signer {
    key: paypal::Signer,
    pub root_pem: String,
    pub pem: String,
}

impl Signer {
    pub fn new(names: &[&str]) -> Self {
        Self::with(names, |_| {})
    }

    pub fn with(names: &[&str], edit: impl FnOnce(&mut CertificateParams)) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut of_root = CertificateParams::new(Vec::<String>::new()).expect("no names");
        of_root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(of_root, KeyPair::generate().expect("a key")).expect("a root");
        let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
        let mut params = CertificateParams::new(names).expect("names");
        edit(&mut params);
        let certificate = params.signed_by(&key, &root).expect("a certificate");
        let pair = paypal::Signer::from_pkcs8(&key.serialize_der()).expect("the same key");
        Self { key: pair, root_pem: root.pem(), pem: certificate.pem() }
    }

    pub fn certificates(&self) -> Certificates {
        Certificates::from_pem(self.pem.as_bytes()).expect("a certificate")
    }

    pub fn trust(&self) -> Trust {
        Trust::public(None).with_roots(self.root_pem.as_bytes()).expect("a root")
    }

    /// The headers of a delivery now.
    pub fn headers(&self, transmission_id: &str, body: &[u8]) -> HeaderMap {
        let delivery =
            Delivery { webhook_id: WEBHOOK_ID, transmission_id, at: at(NOW), certificate_url: CERTIFICATE_URL };
        let signed = self.key.sign(&delivery, body).expect("signed");
        headers(&signed.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
    }

    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now: i64, tolerance_seconds: u64) -> Verdict {
        let ids = [webhook_id(WEBHOOK_ID)];
        let (certificates, trust) = (self.certificates(), self.trust());
        gateways::paypal::verify(headers, body, &ids, &certificates, &trust, at(now), tolerance_seconds)
    }
}

pub fn headers(values: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in values {
        headers.append(HeaderName::try_from(*name).expect(name), HeaderValue::from_str(value).expect(value));
    }
    headers
}

/// The event as an endpoint that makes payments takes it in.
pub fn event_facts(body: &[u8]) -> EventFacts {
    let text = String::from_utf8_lossy(body);
    let envelope = envelope(&HeaderMap::new(), body).unwrap_or_else(|error| panic!("{error}: {text}"));
    let mut facts = normalise(body, at(NOW)).unwrap_or_else(|error| panic!("{error}: {text}")).facts;
    facts.creates = true;
    let scope = Scope { account: AccountId::default(), gateway: "paypal".to_owned(), mode: envelope.mode };
    EventFacts { scope, facts, decides: gateways::Gateway::Paypal.decides(&envelope.event_type) }
}
