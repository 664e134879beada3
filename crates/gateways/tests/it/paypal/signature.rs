//! Vectors, recorded deliveries, and the headers case by case.

use base64::prelude::{BASE64_STANDARD, Engine};
use domain::Mode;
use gateways::paypal::{Certificates, TOLERANCE_SECONDS, Trust, secret, transmission_id, verify};
use gateways::{Gateway, Reason, Verdict};
use http::{HeaderMap, HeaderValue};
use secrecy::SecretString;
use serde_json::Value;

use super::support::{LIVE_NAME, NOW, Signer, WEBHOOK_ID, at, headers, webhook_id};
use crate::support::{corpus, read, read_json};

const BODY: &[u8] = br#"{"id":"WH-1","event_type":"PAYMENT.CAPTURE.COMPLETED"}"#;

fn headers_of(vector: &Value, name: &str) -> HeaderMap {
    let pairs = vector.as_object().expect(name).iter();
    let pairs: Vec<_> = pairs.map(|(key, value)| (key.as_str(), value.as_str().expect(name))).collect();
    headers(&pairs)
}

#[test]
fn every_signature_vector_gets_its_verdict() {
    let vectors = read_json(&corpus("vectors/paypal.json"));
    let vectors = vectors.as_array().expect("a list");
    assert!(vectors.len() >= 15, "{} vectors", vectors.len());
    for vector in vectors {
        let name = vector["name"].as_str().expect("name");
        let text = |field: &str| vector[field].as_str().expect(name);
        let body = BASE64_STANDARD.decode(text("body_base64")).expect(name);
        let now = at(vector["timestamp_now"].as_i64().expect(name));
        let ids = [webhook_id(text("key"))];
        // With the issuer, and without, as PayPal hands its certificate out.
        let chains = [format!("{}\n{}", text("cert_pem"), text("intermediate_pem")), text("cert_pem").to_owned()];
        for chain in chains {
            let certificates = Certificates::from_pem(chain.as_bytes()).expect(name);
            let headers = headers_of(&vector["headers"], name);
            let trust = Trust::public(Some(Mode::Test));
            let verdict = verify(&headers, &body, &ids, &certificates, &trust, now, TOLERANCE_SECONDS);
            let expected = match vector["verifier_result"].as_str() {
                Some("ok") => Verdict::Valid { secret: 0 },
                Some("signature") => Verdict::Invalid(Reason::NoMatch),
                Some("algo") => Verdict::Invalid(Reason::Algorithm),
                Some("cert validity") => Verdict::Invalid(Reason::CertificateNotValidThen),
                other => panic!("{name}: {other:?}"),
            };
            assert_eq!(verdict, expected, "{name}");
            assert_eq!(vector["expect"] == "valid", verdict == (Verdict::Valid { secret: 0 }), "{name}");
            let live = Trust::public(Some(Mode::Live));
            let elsewhere = verify(&headers, &body, &ids, &certificates, &live, now, TOLERANCE_SECONDS);
            assert!(matches!(elsewhere, Verdict::Invalid(Reason::Environment | Reason::Algorithm)), "{name}");
        }
    }
}

#[test]
fn every_recorded_delivery_was_signed_by_paypal() {
    let folder = corpus("events/paypal");
    let index = read_json(&folder.join("index.json"));
    let signed: Vec<&Value> =
        index.as_array().expect("a list").iter().filter(|entry| entry["headers_file"].is_string()).collect();
    assert!(signed.len() >= 14, "{} deliveries", signed.len());
    let certificate = read(&folder.join("CERT-360caa42-fca2a594-1a5f47cb.pem"));
    let certificates = Certificates::from_pem(&certificate).expect("a certificate");
    for entry in signed {
        let name = entry["file"].as_str().expect("file");
        let body = read(&folder.join(name));
        let headers_file = entry["headers_file"].as_str().expect(name);
        let headers = headers_of(&read_json(&folder.join(headers_file)), name);
        let sent_at = headers["paypal-transmission-time"].to_str().expect(name);
        let now = domain::Timestamp::parse(sent_at).expect(name);
        let ids = [webhook_id("OTHER"), webhook_id(entry["webhook_id"].as_str().expect(name))];
        let check = |headers: &HeaderMap, body: &[u8], now| {
            verify(headers, body, &ids, &certificates, &Trust::public(None), now, TOLERANCE_SECONDS)
        };
        assert_eq!(check(&headers, &body, now), Verdict::Valid { secret: 1 }, "{name}");
        let mut changed = body.clone();
        changed.push(b' ');
        assert_eq!(check(&headers, &changed, now), Verdict::Invalid(Reason::NoMatch), "{name}");
        let after = at(1_741_392_000); // The day after the certificate ended.
        assert_eq!(check(&headers, &body, after), Verdict::Invalid(Reason::CertificateNotValidThen), "{name}");
        let mut of_sandbox = headers.clone();
        let sandbox = "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1";
        of_sandbox.insert("paypal-cert-url", HeaderValue::from_static(sandbox));
        assert_eq!(check(&of_sandbox, &body, now), Verdict::Invalid(Reason::CertificateName), "{name}");
    }
}

#[test]
fn a_certificate_of_the_right_name_is_not_enough() {
    // A copy of the name under a root of one's own is what a forger makes.
    let signer = Signer::new(&[LIVE_NAME]);
    let headers = signer.headers("t-1", BODY);
    let ids = [webhook_id(WEBHOOK_ID)];
    let verdict =
        verify(&headers, BODY, &ids, &signer.certificates(), &Trust::public(None), at(NOW), TOLERANCE_SECONDS);
    assert_eq!(verdict, Verdict::Invalid(Reason::CertificateUntrusted));
    assert_eq!(signer.verify(&headers, BODY, NOW, TOLERANCE_SECONDS), Verdict::Valid { secret: 0 });
}

#[test]
fn every_header_is_there_once_and_well_formed() {
    let signer = Signer::new(&[LIVE_NAME]);
    let good = signer.headers("t-1", BODY);
    let verify = |headers: &HeaderMap| signer.verify(headers, BODY, NOW, TOLERANCE_SECONDS);
    assert_eq!(verify(&good), Verdict::Valid { secret: 0 });
    let names = [
        "paypal-transmission-id",
        "paypal-transmission-time",
        "paypal-transmission-sig",
        "paypal-cert-url",
        "paypal-auth-algo",
    ];
    for name in names {
        let mut missing = good.clone();
        missing.remove(name);
        assert_eq!(verify(&missing), Verdict::Invalid(Reason::HeaderMissing), "{name}");
        let mut repeated = good.clone();
        repeated.append(name, good[name].clone());
        assert_eq!(verify(&repeated), Verdict::Invalid(Reason::HeaderRepeated), "{name}");
        let mut not_text = good.clone();
        not_text.insert(name, HeaderValue::from_bytes(b"\xff").expect("bytes"));
        assert_eq!(verify(&not_text), Verdict::Invalid(Reason::HeaderMalformed), "{name}");
    }
    let long = "x".repeat(256);
    let cases = [
        ("paypal-transmission-id", "", Reason::HeaderMalformed),
        ("paypal-transmission-id", "t|1", Reason::HeaderMalformed),
        ("paypal-transmission-id", "t 1", Reason::HeaderMalformed),
        ("paypal-transmission-id", &long, Reason::HeaderMalformed),
        ("paypal-transmission-id", "t-2", Reason::NoMatch),
        ("paypal-transmission-time", "", Reason::HeaderMalformed),
        ("paypal-transmission-time", "2018-19-12T22:20:32.000Z", Reason::HeaderMalformed),
        ("paypal-transmission-time", "2027-01-15T08:00:01Z", Reason::NoMatch),
        ("paypal-transmission-time", "2027-01-15T09:00:00+01:00", Reason::NoMatch), // The same instant.
        ("paypal-transmission-sig", "", Reason::HeaderMalformed),
        ("paypal-transmission-sig", "!", Reason::HeaderMalformed),
        ("paypal-transmission-sig", "AAAA", Reason::NoMatch),
        ("paypal-auth-algo", "SHA1withRSA", Reason::Algorithm),
        ("paypal-auth-algo", "sha256withrsa", Reason::Algorithm),
        ("paypal-auth-algo", "none", Reason::Algorithm),
        ("paypal-cert-url", "http://api.paypal.com/v1/notifications/certs/CERT-1", Reason::CertificateUrl),
        ("paypal-cert-url", "https://api.paypal.com.example/v1/notifications/certs/CERT-1", Reason::CertificateUrl),
    ];
    for (name, value, reason) in cases {
        let mut headers = good.clone();
        headers.insert(name, HeaderValue::from_str(value).expect(value));
        assert_eq!(verify(&headers), Verdict::Invalid(reason), "{name}: {value:?}");
    }
}

#[test]
fn the_tolerance_goes_both_ways_and_its_end_is_inside() {
    let signer = Signer::new(&[LIVE_NAME]);
    let headers = signer.headers("t-1", BODY);
    let days = i64::try_from(TOLERANCE_SECONDS).expect("four days");
    assert_eq!(days, 345_600);
    for (age, verdict) in [
        (0, Verdict::Valid { secret: 0 }),
        (days, Verdict::Valid { secret: 0 }),
        (-days, Verdict::Valid { secret: 0 }),
        (days + 1, Verdict::Invalid(Reason::OutsideTolerance(days + 1))),
        (-days - 1, Verdict::Invalid(Reason::OutsideTolerance(-days - 1))),
    ] {
        assert_eq!(signer.verify(&headers, BODY, NOW + age, TOLERANCE_SECONDS), verdict, "{age} s");
    }
    assert_eq!(signer.verify(&headers, b"other", NOW + days + 1, 300), Verdict::Invalid(Reason::NoMatch));
}

#[test]
fn a_webhook_id_is_a_word_and_its_own_gateways() {
    for bad in ["", " ", "a b", "a|b", "ä", &"x".repeat(256)] {
        assert!(secret(&SecretString::from(bad)).is_err(), "{bad:?}");
    }
    let signer = Signer::new(&[LIVE_NAME]);
    let headers = signer.headers("t-1", BODY);
    let of_stripe = gateways::Secret::from_text(&SecretString::from(WEBHOOK_ID));
    let verify = |ids: &[gateways::Secret]| {
        gateways::paypal::verify(&headers, BODY, ids, &signer.certificates(), &signer.trust(), at(NOW), 300)
    };
    assert_eq!(verify(&[]), Verdict::Invalid(Reason::NoSecret));
    assert_eq!(verify(&[of_stripe]), Verdict::Invalid(Reason::NoMatch));
    assert_eq!(verify(&[webhook_id("OTHER"), webhook_id(WEBHOOK_ID)]), Verdict::Valid { secret: 1 });
    assert_eq!(format!("{:?}", webhook_id(WEBHOOK_ID)), "Secret(…)");
    // Without the certificate there is nothing to say.
    let verdict = Gateway::Paypal.verify(&headers, BODY, &[webhook_id(WEBHOOK_ID)], at(NOW), 300);
    assert_eq!(verdict, Verdict::Invalid(Reason::CertificateMissing));
}

#[test]
fn the_transmission_has_a_name() {
    let signer = Signer::new(&[LIVE_NAME]);
    let headers = signer.headers("1c6772d0-5106-11ef-9b66-89f3f924d48a", BODY);
    assert_eq!(transmission_id(&headers), Some("1c6772d0-5106-11ef-9b66-89f3f924d48a"));
    assert_eq!(transmission_id(&HeaderMap::new()), None);
    assert_eq!(Gateway::Paypal.transmission_id(&headers), transmission_id(&headers));
    assert_eq!(Gateway::Stripe.transmission_id(&headers), None);
}

/// The reason why one transmission may stand for one body only.
#[test]
fn a_forged_body_with_the_same_crc_passes_under_the_same_transmission() {
    let vectors = read_json(&corpus("vectors/paypal.json"));
    let named = |name: &str| {
        let mut found = vectors.as_array().expect("a list").iter().filter(|vector| vector["name"] == name);
        found.next().unwrap_or_else(|| panic!("{name} is in the corpus")).clone()
    };
    let [real, forged] = ["py-sale-completed-2015-05-18", "derived-crc32-collision-forgery"].map(named);
    assert_ne!(real["body_base64"], forged["body_base64"]);
    let [real, forged] = [real, forged].map(|vector| headers_of(&vector["headers"], "headers"));
    assert!(transmission_id(&real).is_some());
    assert_eq!(transmission_id(&real), transmission_id(&forged));
}
