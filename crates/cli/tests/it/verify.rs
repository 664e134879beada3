//! `quittance verify`

use base64::prelude::{BASE64_STANDARD, Engine};
use domain::Timestamp;
use gateways::{Secret, stripe};
use secrecy::SecretString;
use serde_json::Value;

use crate::shop::{Said, Shop, corpus};

/// What [`Shop::run`] says of one vector, given as a file or on standard input.
fn verify(shop: &Shop, vector: &Value, at: &str, on_stdin: bool) -> Said {
    let text = |field: &str| vector[field].as_str().expect("a text").to_owned();
    let body = match vector["body_repeat"]["count"].as_u64().and_then(|count| usize::try_from(count).ok()) {
        Some(count) => vector["body_repeat"]["byte"].as_str().expect("a byte").repeat(count).into_bytes(),
        None => BASE64_STANDARD.decode(text("body_base64")).expect("base64"),
    };
    let gateway = text("gateway");
    let (file, secret, tolerance) =
        (shop.write("body", &body).display().to_string(), text("key"), vector["tolerance_s"].to_string());
    let mut arguments =
        vec!["verify", "--gateway", &gateway, "--secret", &secret, "--at", at, "--tolerance", &tolerance];
    let headers: Vec<String> = vector["headers"]
        .as_object()
        .expect("headers")
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.as_str().expect("a value")))
        .collect();
    headers.iter().for_each(|header| arguments.extend(["--header", header]));
    if on_stdin {
        arguments.extend(["--body", "-"]);
        return shop.run_with_input(&arguments, &body);
    }
    arguments.extend(["--body", &file]);
    shop.run(&arguments)
}

#[test]
fn every_vector_gets_its_verdict() {
    let shop = Shop::new();
    let vectors = ["vectors/stripe.json", "vectors/standard-webhooks.json"].map(|file| {
        let vectors = std::fs::read(corpus(file)).expect("the corpus");
        let vectors: Vec<Value> = serde_json::from_slice(&vectors).expect("JSON");
        assert!(vectors.len() >= 30, "{file}: {} vectors", vectors.len());
        vectors
    });
    for vector in vectors.iter().flatten() {
        let (name, expected) = (&vector["name"], vector["expect"].as_str().expect("a verdict"));
        for on_stdin in [false, true] {
            let said = verify(&shop, vector, &vector["timestamp_now"].to_string(), on_stdin);
            let report: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(report["verdict"], expected, "{name}: {report}");
            assert_eq!(said.status, Some(i32::from(expected != "valid")), "{name}: {report}");
            assert_eq!(report["reason"].is_null(), expected == "valid", "{name}: {report}");
        }
    }
}

#[test]
fn the_time_may_be_written_out() {
    let shop = Shop::new();
    let vectors = std::fs::read(corpus("vectors/stripe.json")).expect("the corpus");
    let vectors: Vec<Value> = serde_json::from_slice(&vectors).expect("JSON");
    let vector = vectors.iter().find(|vector| vector["name"] == "node-event-basic").expect("it is in the corpus");
    // 1 700 000 000 seconds after 1970, and the 300 s around it.
    for (at, status) in [
        ("2023-11-14T22:13:20Z", 0),
        ("2023-11-14T23:13:20+01:00", 0),
        ("2023-11-14T22:18:20Z", 0),
        ("2023-11-14T22:18:21Z", 1),
        ("2023-11-14T22:08:19Z", 1),
    ] {
        assert_eq!(verify(&shop, vector, at, false).status, Some(status), "{at}");
    }
}

#[test]
fn secrets_may_be_references_and_several() {
    let shop = Shop::new();
    let vectors = std::fs::read(corpus("vectors/stripe.json")).expect("the corpus");
    let vectors: Vec<Value> = serde_json::from_slice(&vectors).expect("JSON");
    let mut vector = vectors.into_iter().find(|vector| vector["name"] == "node-event-basic").expect("it is there");
    shop.write("secret", "whsec_test_secret\n");
    vector["key"] = format!("file:{}", shop.path("secret").display()).into();
    verify(&shop, &vector, "1700000000", false).ok();
    let body = shop.path("body").display().to_string();
    let header = format!("stripe-signature:{}", vector["headers"]["Stripe-Signature"].as_str().expect("a header"));
    let arguments = ["verify", "--gateway", "stripe", "--secret", "whsec_old", "--secret", "env:STRIPE_WEBHOOK_SECRET"];
    let rest = ["--at", "1700000000", "--header", &header, "--body", &body];
    let mut command = shop.command(&[&arguments[..], &rest].concat());
    crate::shop::said(command.env("STRIPE_WEBHOOK_SECRET", "whsec_test_secret")).ok();
    crate::shop::said(command.env("STRIPE_WEBHOOK_SECRET", "whsec_new,whsec_test_secret")).ok();
}

#[test]
fn wrong_usage_is_status_2_and_says_what_is_known() {
    let shop = Shop::new();
    let known = ["verify", "--gateway", "stripe", "--secret", "s", "--body", "-"];
    for (from, to, named) in [("stripe", "stripes", "stripe"), ("--body", "--boddy", "--body"), ("-", "", "--body")] {
        let arguments: Vec<&str> = known.iter().map(|word| if *word == from { to } else { word }).collect();
        let said = shop.run(&arguments).exits(2);
        assert!(said.stderr.contains(named) && said.stdout.is_empty(), "{}", said.stderr);
    }
    let said = shop.run(&["verify", "--gateway", "stripe", "--secret", "s", "--at", "noon", "--body", "-"]).exits(2);
    assert!(said.stderr.contains("noon"), "{}", said.stderr);
    let missing = shop.run(&["verify", "--gateway", "stripe", "--secret", "s", "--body", "nowhere"]).error();
    assert!(missing.contains("nowhere"), "{missing}");
    for header in ["odd", "o dd: 1", "odd: \u{1}"] {
        let said = shop.run(&["verify", "--gateway", "stripe", "--secret", "s", "--header", header, "--body", "-"]);
        assert!(said.stderr.contains("--header") && said.exits(2).stdout.is_empty(), "{header:?}");
    }
}

/// Whoever leaves the secret out can sign what they like.
#[test]
fn an_empty_secret_vouches_for_nothing() {
    let shop = Shop::new();
    let body = shop.write("body", "{}").display().to_string();
    let at = Timestamp::from_seconds(1_700_000_000);
    let signature = stripe::sign(&Secret::from_text(&SecretString::from("")), at, b"{}");
    let header = format!("Stripe-Signature: {signature}");
    let arguments = ["verify", "--gateway", "stripe", "--header", &header, "--at", "1700000000", "--body", &body];
    for secrets in [&["--secret", ""][..], &["--secret", "whsec_other", "--secret", ""]] {
        let said = shop.run(&[&arguments, secrets].concat()).exits(1);
        let report: Value = serde_json::from_str(&said.stdout).expect("a report");
        assert_eq!((&report["verdict"], &report["reason"]), (&"invalid".into(), &"a secret is empty".into()));
    }
}

#[test]
fn the_merchants_own_senders_are_verified_too() {
    let shop = Shop::new();
    shop.write("body", br#"{"payment_id":1,"status":"completed"}"#);
    let body = shop.path("body").display().to_string();
    let verify = |gateway: &str, secret: &str, header: &str| {
        let arguments = ["verify", "--gateway", gateway, "--secret", "other", "--secret", secret, "--header", header];
        shop.run(&[&arguments[..], &["--at", "1763654400", "--body", &body]].concat()).status
    };
    assert_eq!(verify("microservice", "key", "X-API-Key: key"), Some(0));
    assert_eq!(verify("microservice", "key", "X-API-Key: keys"), Some(1));
    // HMAC-SHA256 of `1763654400.` and the body, with the key `generic-secret`.
    let tag = "b26784050f0976451a2e3c3ba8ad8625d8b64d39382956c30c092b3789948e70";
    assert_eq!(verify("generic", "generic-secret", &format!("X-Webhook-Signature: t=1763654400,v1={tag}")), Some(0));
    assert_eq!(verify("generic", "generic", &format!("X-Webhook-Signature: t=1763654400,v1={tag}")), Some(1));
    assert_eq!(verify("generic", "generic-secret", &format!("Stripe-Signature: t=1763654400,v1={tag}")), Some(1));
}
