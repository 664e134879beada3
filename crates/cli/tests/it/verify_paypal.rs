//! `quittance verify --gateway paypal`

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::Value;

use crate::shop::{Said, Shop, corpus};

struct Delivery {
    webhook_id: String,
    at: String,
    headers: Vec<String>,
    body: Vec<u8>,
    certificate: Vec<u8>,
}

fn header_lines(headers: &Value) -> Vec<String> {
    let headers = headers.as_object().expect("headers").iter();
    headers.map(|(name, value)| format!("{name}: {}", value.as_str().expect("a value"))).collect()
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(corpus(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn read_json(path: &str) -> Value {
    serde_json::from_slice(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn verify(shop: &Shop, delivery: &Delivery, further: &[&str]) -> Said {
    let certificate = shop.write("certificate.pem", &delivery.certificate).display().to_string();
    let body = shop.write("body", &delivery.body).display().to_string();
    let mut arguments = vec!["verify", "--gateway", "paypal", "--secret", &delivery.webhook_id, "--at", &delivery.at];
    arguments.extend(["--body", &body, "--certificate", &certificate]);
    delivery.headers.iter().for_each(|header| arguments.extend(["--header", header]));
    arguments.extend(further);
    shop.run(&arguments)
}

#[track_caller]
fn assert_verdict(name: &str, said: &Said, valid: bool) -> Value {
    let report: Value =
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{name}: {error} {}", said.stderr));
    assert_eq!(report["verdict"], if valid { "valid" } else { "invalid" }, "{name}: {report}");
    assert_eq!(report["reason"].is_null(), valid, "{name}: {report}");
    assert_eq!(said.status, Some(i32::from(!valid)), "{name}: {report}");
    report
}

#[test]
fn every_vector_gets_its_verdict() {
    let shop = Shop::new();
    let vectors = read_json("vectors/paypal.json");
    let vectors = vectors.as_array().expect("a list");
    assert!(vectors.len() >= 15, "{} vectors", vectors.len());
    for vector in vectors {
        let text = |field: &str| vector[field].as_str().expect(field);
        let delivery = Delivery {
            webhook_id: text("key").to_owned(),
            at: vector["timestamp_now"].to_string(),
            headers: header_lines(&vector["headers"]),
            body: BASE64_STANDARD.decode(text("body_base64")).expect("base64"),
            certificate: text("cert_pem").as_bytes().to_vec(),
        };
        assert_verdict(text("name"), &verify(&shop, &delivery, &[]), vector["expect"] == "valid");
    }
}

#[test]
fn recorded_deliveries_are_paypals_while_their_certificate_is_valid() {
    let shop = Shop::new();
    let index = read_json("events/paypal/index.json");
    let signed = index.as_array().expect("a list").iter().filter(|entry| entry["headers_file"].is_string());
    let mut seen = 0;
    for entry in signed {
        seen += 1;
        let text = |field: &str| entry[field].as_str().expect(field);
        let headers = read_json(&format!("events/paypal/{}", text("headers_file")));
        let mut delivery = Delivery {
            webhook_id: text("webhook_id").to_owned(),
            at: headers["paypal-transmission-time"].as_str().expect("a time").to_owned(),
            headers: header_lines(&headers),
            body: read(&format!("events/paypal/{}", text("file"))),
            certificate: read("events/paypal/CERT-360caa42-fca2a594-1a5f47cb.pem"),
        };
        assert_verdict(text("file"), &verify(&shop, &delivery, &[]), true);
        if seen > 1 {
            continue;
        }
        // Four days are PayPal's tolerance unless another one is given.
        delivery.at = "2024-08-05T00:00:00Z".to_owned();
        assert_verdict("two days late", &verify(&shop, &delivery, &[]), true);
        let late =
            assert_verdict("later than was asked for", &verify(&shop, &delivery, &["--tolerance", "300"]), false);
        assert!(late["reason"].as_str().expect("a reason").contains("clock"), "{late}");
        delivery.at = "2026-11-20T00:00:00Z".to_owned();
        let expired = assert_verdict("expired", &verify(&shop, &delivery, &[]), false);
        assert!(expired["reason"].as_str().expect("a reason").contains("certificate"), "{expired}");
    }
    assert!(seen >= 14, "{seen} deliveries");
}

#[test]
fn what_cannot_be_used_is_said() {
    let shop = Shop::new();
    let none = shop.write("none.pem", b"none").display().to_string();
    let body = shop.write("body", b"{}").display().to_string();
    let base = ["verify", "--gateway", "paypal", "--secret", "W", "--body", &body];
    let with = |further: &[&str]| shop.run(&[&base[..], further].concat());
    assert!(with(&["--certificate", &none]).error().contains("certificate"));
    assert!(with(&["--certificate", "nowhere"]).error().contains("nowhere"));
    assert!(with(&["--certificate", &none, "--trust", &none]).error().contains("certificate"));
    // What is refused without a certificate needs none, and nothing is fetched.
    assert_verdict("no header", &with(&[]), false);
    assert_verdict(
        "not PayPal's",
        &with(&["--header", "PayPal-Cert-Url: https://evil.example/v1/notifications/certs/C"]),
        false,
    );
    let no_id = shop.run(&["verify", "--gateway", "paypal", "--secret", "a b", "--body", &body]);
    assert_verdict("no webhook id", &no_id, false);
}
