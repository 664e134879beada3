//! Which URLs and which certificates are PayPal's.

use domain::Mode;
use gateways::Reason;
use gateways::paypal::{Certificates, Trust, certificate_url};

use super::support::{LIVE_NAME, NOW, SANDBOX_NAME, Signer, at, headers};

#[test]
fn only_paypals_own_urls_are_taken() {
    let long = format!("https://api.paypal.com/v1/notifications/certs/{}", "x".repeat(129));
    let cases = [
        ("https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-1a5f47cb", Some(Mode::Live)),
        ("https://api-m.paypal.com/v1/notifications/certs/CERT_1", Some(Mode::Live)),
        ("https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1", Some(Mode::Test)),
        ("https://api-m.sandbox.paypal.com/v1/notifications/certs/CERT-1", Some(Mode::Test)),
        ("http://api.paypal.com/v1/notifications/certs/CERT-1", None),
        ("HTTPS://api.paypal.com/v1/notifications/certs/CERT-1", None),
        ("https://API.paypal.com/v1/notifications/certs/CERT-1", None),
        ("https://api.paypal.com:443/v1/notifications/certs/CERT-1", None),
        ("https://api.paypal.com:8443/v1/notifications/certs/CERT-1", None),
        ("https://api.paypal.com@evil.example/v1/notifications/certs/CERT-1", None),
        ("https://user@api.paypal.com/v1/notifications/certs/CERT-1", None),
        ("https://evil.example/api.paypal.com/v1/notifications/certs/CERT-1", None),
        ("https://api.paypal.com.evil.example/v1/notifications/certs/CERT-1", None),
        ("https://www.paypal.com/v1/notifications/certs/CERT-1", None),
        ("https://api.paypal.com./v1/notifications/certs/CERT-1", None),
        ("https://api.paypal.com\\@evil.example/v1/notifications/certs/CERT-1", None),
        ("https://api.paypal.com/v1/notifications/certs/", None),
        ("https://api.paypal.com/v1/notifications/certs", None),
        ("https://api.paypal.com/v1/notifications/test", None),
        ("https://api.paypal.com/v1/notifications/certs/../../oauth2/token", None),
        ("https://api.paypal.com/v1/notifications/certs/a/b", None),
        ("https://api.paypal.com/v1/notifications/certs/a?b", None),
        ("https://api.paypal.com/v1/notifications/certs/a#b", None),
        ("https://api.paypal.com/v1/notifications/certs/a%2fb", None),
        ("https://api.paypal.com//v1/notifications/certs/CERT-1", None),
        (" https://api.paypal.com/v1/notifications/certs/CERT-1", None),
        ("https://169.254.169.254/v1/notifications/certs/CERT-1", None),
        ("file:///etc/passwd", None),
        ("", None),
        (&long, None),
    ];
    for (url, mode) in cases {
        let read = certificate_url(&headers(&[("PayPal-Cert-Url", url)]));
        match mode {
            Some(mode) => {
                let read = read.expect(url);
                assert_eq!((read.to_string(), read.mode()), (url.to_owned(), mode));
            }
            None => assert_eq!(read, Err(Reason::CertificateUrl), "{url:?}"),
        }
    }
    assert_eq!(certificate_url(&headers(&[])), Err(Reason::HeaderMissing));
    let url = "https://api.paypal.com/v1/notifications/certs/CERT-1";
    assert_eq!(
        certificate_url(&headers(&[("paypal-cert-url", url), ("paypal-cert-url", url)])),
        Err(Reason::HeaderRepeated)
    );
    let of_base =
        certificate_url(&headers(&[("paypal-cert-url", url)])).expect("PayPal's").under("http://127.0.0.1:1/");
    assert_eq!(of_base, "http://127.0.0.1:1/v1/notifications/certs/CERT-1");
}

#[test]
fn the_name_is_the_signers_of_that_environment_exactly() {
    let other = "messageverificationcerts.paypal.com.evil.example";
    // Which of PayPal's systems it is the signer of, if any.
    let cases: [(&[&str], Option<Mode>); 8] = [
        (&[LIVE_NAME], Some(Mode::Live)),
        (&[SANDBOX_NAME], Some(Mode::Test)),
        (&["other.example", LIVE_NAME], Some(Mode::Live)),
        (&["*.paypal.com"], None),
        (&["www.paypal.com"], None),
        (&[other], None),
        (&["messageverificationcerts2.paypal.com"], None),
        (&[], None),
    ];
    for (names, signs_for) in cases {
        let signer = Signer::new(names);
        let certificates = signer.certificates();
        for mode in [Mode::Live, Mode::Test] {
            let expected = if signs_for == Some(mode) { Ok(()) } else { Err(Reason::CertificateName) };
            assert_eq!(certificates.check(&signer.trust(), mode, at(NOW)), expected, "{names:?} {mode:?}");
        }
        let public = certificates.check(&Trust::public(None), Mode::Live, at(NOW));
        assert_eq!(public, Err(Reason::CertificateUntrusted), "{names:?}");
    }
}

#[test]
fn a_certificate_counts_while_it_is_valid() {
    let signer = Signer::with(&[LIVE_NAME], |params| {
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
    });
    let (begin, end) = (1_767_225_600, 1_798_761_600);
    let outside = Err(Reason::CertificateNotValidThen);
    for (seconds, expected) in
        [(begin - 1, outside), (begin, Ok(())), (end, Ok(())), (end + 1, outside), (-1, outside), (i64::MIN, outside)]
    {
        let found = signer.certificates().check(&signer.trust(), Mode::Live, at(seconds));
        assert_eq!(found, expected, "{seconds}");
    }
}

#[test]
fn another_ones_intermediate_or_root_helps_nobody() {
    let (signer, other) = (Signer::new(&[LIVE_NAME]), Signer::new(&[LIVE_NAME]));
    let chain = format!("{}{}", signer.pem, other.root_pem);
    let certificates = Certificates::from_pem(chain.as_bytes()).expect("two");
    assert_eq!(certificates.check(&other.trust(), Mode::Live, at(NOW)), Err(Reason::CertificateUntrusted));
    // What is sent along is never trusted, only what is configured.
    let chain = format!("{}{}", signer.pem, signer.root_pem);
    let certificates = Certificates::from_pem(chain.as_bytes()).expect("two");
    assert_eq!(certificates.check(&Trust::public(None), Mode::Live, at(NOW)), Err(Reason::CertificateUntrusted));
    assert!(Trust::public(None).with_roots(b"none").is_err());
}
