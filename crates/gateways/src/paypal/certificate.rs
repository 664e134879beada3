//! Whether a certificate is PayPal's: it chains to a public root, was valid when the
//! delivery came, and is for the name that signs PayPal's messages.

use std::sync::{Arc, LazyLock};

use domain::{Mode, Timestamp};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};

use crate::signature::Reason;

/// A chain of PayPal's has three certificates.
const CERTIFICATES_MAX: usize = 10;

/// PayPal hands out the certificate alone, without the one that issued it, so the
/// issuers that it is known to use are here (as <https://www.digicert.com/kb/digicert-root-certificates.htm>
/// has them).
const INTERMEDIATES: [&[u8]; 2] = [
    include_bytes!("certificates/digicert-sha2-extended-validation-server-ca.pem"),
    include_bytes!("certificates/digicert-ev-rsa-ca-g2.pem"),
];

/// The root of PayPal's certificates until 2025. Browsers have retired it; deliveries
/// that were signed under it are verified as of the time they came.
const FORMER_ROOT: &[u8] = include_bytes!("certificates/digicert-high-assurance-ev-root-ca.pem");

/// Mozilla's roots and PayPal's former one.
static PUBLIC_ROOTS: LazyLock<Vec<TrustAnchor<'static>>> = LazyLock::new(|| {
    let former = pem_certificates(FORMER_ROOT).unwrap_or_default();
    let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().chain(&former);
    roots.filter_map(|root| anchor_from_trusted_cert(root).ok().map(|anchor| anchor.to_owned())).collect()
});

static KNOWN_INTERMEDIATES: LazyLock<Vec<CertificateDer<'static>>> =
    LazyLock::new(|| INTERMEDIATES.iter().flat_map(|pem| pem_certificates(pem).unwrap_or_default()).collect());

/// The text has no certificate in PEM, or too many of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no certificate in PEM, or there are more than {CERTIFICATES_MAX}")]
pub struct NotCertificates;

/// A signer's certificate, with those between it and the root as far as they were
/// sent along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificates {
    signer: CertificateDer<'static>,
    intermediates: Vec<CertificateDer<'static>>,
}

impl Certificates {
    /// Reads PEM: the signer's certificate first.
    pub fn from_pem(pem: &[u8]) -> Result<Self, NotCertificates> {
        let mut certificates = pem_certificates(pem)?;
        let signer = certificates.remove(0);
        Ok(Self { signer, intermediates: certificates })
    }

    /// Whether it is PayPal's signer of that environment, valid at that time.
    pub fn check(&self, trust: &Trust, environment: Mode, at: Timestamp) -> Result<(), Reason> {
        self.trusted(trust, environment, at).map(|_| ())
    }

    pub(super) fn trusted(&self, trust: &Trust, environment: Mode, at: Timestamp) -> Result<EndEntityCert<'_>, Reason> {
        let signer = EndEntityCert::try_from(&self.signer).map_err(|_| Reason::CertificateUntrusted)?;
        let intermediates: Vec<_> = self.intermediates.iter().chain(&*KNOWN_INTERMEDIATES).cloned().collect();
        let at = u64::try_from(at.seconds()).map_err(|_| Reason::CertificateNotValidThen)?;
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(at));
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        let under = |anchors: &[TrustAnchor<'static>]| {
            let usage = KeyUsage::server_auth();
            signer.verify_for_usage(algorithms, anchors, &intermediates, at, usage, None, None).map(|_| ())
        };
        let further =
            |first: Error| if trust.further_roots.is_empty() { Err(first) } else { under(&trust.further_roots) };
        under(&PUBLIC_ROOTS).or_else(further).map_err(|error| match error {
            Error::CertExpired { .. } | Error::CertNotValidYet { .. } => Reason::CertificateNotValidThen,
            _ => Reason::CertificateUntrusted,
        })?;
        // Exactly that name: a wildcard would be for other servers than the signer's.
        if !signer.valid_dns_names().any(|name| name == signer_name(environment)) {
            return Err(Reason::CertificateName);
        }
        Ok(signer)
    }
}

const fn signer_name(environment: Mode) -> &'static str {
    match environment {
        Mode::Live => "messageverificationcerts.paypal.com",
        Mode::Test => "messageverificationcerts.sandbox.paypal.com",
    }
}

/// What is trusted to say who PayPal is.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    /// Which of PayPal's systems may deliver; `None` takes either.
    pub environment: Option<Mode>,
    further_roots: Arc<[TrustAnchor<'static>]>,
}

impl Trust {
    /// The public roots, and no other.
    pub fn public(environment: Option<Mode>) -> Self {
        Self { environment, further_roots: Arc::default() }
    }

    /// Trusts these certificates as roots, too: for a proxy that signs anew, and for
    /// tests.
    pub fn with_roots(mut self, pem: &[u8]) -> Result<Self, NotCertificates> {
        let roots = pem_certificates(pem)?;
        let anchor = |root| anchor_from_trusted_cert(root).map(|anchor| anchor.to_owned());
        self.further_roots = roots.iter().map(anchor).collect::<Result<_, _>>().map_err(|_| NotCertificates)?;
        Ok(self)
    }
}

/// One at least.
fn pem_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, NotCertificates> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).take(CERTIFICATES_MAX + 1).collect();
    let certificates = certificates.map_err(|_| NotCertificates)?;
    if certificates.is_empty() || certificates.len() > CERTIFICATES_MAX {
        Err(NotCertificates)
    } else {
        Ok(certificates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shipped_can_be_read_and_chains_to_a_public_root() {
        assert!(PUBLIC_ROOTS.len() > 100, "{}", PUBLIC_ROOTS.len());
        assert_eq!(KNOWN_INTERMEDIATES.len(), INTERMEDIATES.len());
        // Within the validity of all of them.
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_700_000_000));
        for intermediate in &*KNOWN_INTERMEDIATES {
            let issuer = EndEntityCert::try_from(intermediate).expect("a certificate");
            let usage = KeyUsage::server_auth();
            let verified =
                issuer.verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &PUBLIC_ROOTS, &[], at, usage, None, None);
            // It was issued by a root that is here; that it issues others itself is the point.
            assert!(matches!(verified, Err(Error::CaUsedAsEndEntity)), "{:?}", verified.err());
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let many = [FORMER_ROOT; CERTIFICATES_MAX + 1].concat();
        let cut = &FORMER_ROOT[..FORMER_ROOT.len() / 2];
        for pem in [&b""[..], b"hello", cut, &many, b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
            assert_eq!(Certificates::from_pem(pem), Err(NotCertificates), "{:?}", String::from_utf8_lossy(pem));
        }
        assert!(Certificates::from_pem(FORMER_ROOT).is_ok());
    }
}
