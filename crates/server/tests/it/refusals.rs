//! Deliveries that are refused: nothing is stored, and the reply gives nothing away.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use gateways::Gateway;
use gateways::stripe::{SIGNATURE_HEADER, sign};
use secrecy::SecretString;
use server::Endpoint;

use crate::it::app::{HOOK, NOW, TestApp, post, secret, unrelated};
use crate::it::log::Log;

async fn nothing_is_stored(app: &TestApp) {
    assert_eq!(app.store.count_events(&Default::default()).await.unwrap(), 0);
}

#[tokio::test]
async fn every_wrong_signature_gets_the_same_reply() {
    let app = TestApp::new().await;
    let body = unrelated("evt_1");
    let good = sign(&secret("whsec_test"), NOW, body.as_bytes());
    let signed_at = |seconds: i64| sign(&secret("whsec_test"), NOW.plus_micros(seconds * 1_000_000), body.as_bytes());
    let hex = good.split_once("v1=").expect("a signature").1;
    let cases: Vec<(&str, Vec<String>)> = vec![
        ("missing", vec![]),
        ("empty", vec![String::new()]),
        ("of another secret", vec![sign(&secret("whsec_other"), NOW, body.as_bytes())]),
        ("of another body", vec![sign(&secret("whsec_test"), NOW, b"{}")]),
        ("of another time", vec![good.replace("t=1763654400", "t=1763654401")]),
        ("stale", vec![signed_at(-301)]),
        ("from the future", vec![signed_at(301)]),
        ("without a time", vec![format!("v1={hex}")]),
        ("with two times", vec![format!("t=1763654400,{good}")]),
        ("with a time beyond all times", vec![format!("t={},v1={hex}", "9".repeat(40))]),
        ("with a negative time", vec![format!("t=-1,v1={hex}")]),
        ("without a scheme in use", vec![good.replace("v1", "v0")]),
        ("cut off", vec![good[..good.len() - 2].to_owned()]),
        ("in upper case", vec![format!("t=1763654400,v1={}", hex.to_uppercase())]),
        ("no pairs", vec!["nonsense".to_owned()]),
        ("sent twice", vec![good.clone(), good.clone()]),
        (
            "after sixteen others",
            vec![format!("t=1763654400,{}v1={hex}", format!("v1={},", "0".repeat(64)).repeat(16))],
        ),
    ];
    let mut replies = Vec::new();
    for (name, values) in cases {
        let headers: Vec<(&str, &str)> = values.iter().map(|value| (SIGNATURE_HEADER, value.as_str())).collect();
        let reply = app.send(post(HOOK, &headers, body.clone())).await;
        reply.is_refusal(400);
        replies.push((reply.text, format!("{:?}", reply.headers), name));
    }
    for (text, headers, name) in &replies {
        assert_eq!((text, headers), (&replies[0].0, &replies[0].1), "{name}");
    }
    let invalid_bytes = Request::post(HOOK).header(SIGNATURE_HEADER, &b"t=1\xff"[..]).body(Body::from(body)).unwrap();
    assert_eq!(app.send(invalid_bytes).await.text, replies[0].0);
    nothing_is_stored(&app).await;
    app.finish().await;
}

/// What is not signed is not parsed: even the reply to nonsense is about the signature.
#[tokio::test]
async fn nothing_is_read_before_it_is_verified() {
    let app = TestApp::new().await;
    let of_signature = app.send(post(HOOK, &[], unrelated("evt_1"))).await.text;
    for body in ["", "{", "[[[[", "not JSON"] {
        let reply = app.send(post(HOOK, &[], body)).await;
        reply.is_refusal(400);
        assert_eq!(reply.text, of_signature, "{body:?}");
    }
    app.finish().await;
}

#[tokio::test]
async fn what_is_signed_but_no_event_is_said_to_be_none() {
    let app = TestApp::new().await;
    let bodies = [
        "",
        "not JSON",
        "[]",
        "null",
        "7",
        "{}",
        r#"{"object":"event"}"#,
        r#"{"id":"evt_1","object":"event"}"#,
        r#"{"id":"evt_1","type":"customer.created"}"#,
        r#"{"id":7,"object":"event","type":"customer.created"}"#,
        r#"{"id":"","object":"event","type":"customer.created"}"#,
        r#"{"id":"evt_1\n","object":"event","type":"customer.created"}"#,
        r#"{"id":"cus_1","object":"customer","type":"individual"}"#,
        r#"{"id":"evt_1","id":"evt_2","object":"event","type":"customer.created"}"#,
    ];
    for body in bodies {
        let error = app.deliver(HOOK, body).await.is_refusal(400);
        assert!(error.starts_with("not an event: ") && !error.contains("evt_"), "{body}: {error}");
    }
    nothing_is_stored(&app).await;
    app.finish().await;
}

#[tokio::test]
async fn unknown_paths_are_not_found() {
    let app = TestApp::new().await;
    for path in
        ["/", "/payments", "/payments/webhook/x", "/payments/webhook//", "/PAYMENTS/WEBHOOK", "/api", "/api/nothing"]
    {
        for method in [Method::GET, Method::POST] {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            app.send(request).await.is_problem(404, "no_such_path");
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn other_methods_are_not_allowed() {
    let app = TestApp::new().await;
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        let request = Request::builder().method(&method).uri(HOOK).body(Body::empty()).unwrap();
        let reply = app.send(request).await;
        reply.is_refusal(405);
        assert_eq!(reply.header("allow"), "POST", "{method}");
    }
    for (path, allowed) in
        [("/api/webhooks/events", "GET,HEAD"), ("/api/webhooks/events/replay", "POST"), ("/healthz", "GET,HEAD")]
    {
        let request = Request::builder().method(Method::DELETE).uri(path).body(Body::empty()).unwrap();
        let reply = app.send(request).await;
        reply.is_problem(405, "method_not_allowed");
        for method in allowed.split(',') {
            assert!(reply.header("allow").contains(method), "{path}: {}", reply.header("allow"));
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn a_body_has_its_limit() {
    let mut small = Endpoint::stripe("/small", vec![secret("whsec_test")]);
    small.limits.body_bytes_max = 1000;
    let app = TestApp::with([small, Endpoint::stripe(HOOK, vec![secret("whsec_test")])]).await;
    let of_size = |event_id: &str, size: usize| {
        let event = unrelated(event_id);
        format!("{event}{}", " ".repeat(size - event.len()))
    };
    const MEBIBYTE: usize = 1024 * 1024;
    let cases = [
        ("/small", 1000, 200),
        ("/small", 1001, 413),
        (HOOK, MEBIBYTE, 200),
        (HOOK, MEBIBYTE + 1, 413),
        (HOOK, 3 * MEBIBYTE, 413),
    ];
    for (number, (path, size, status)) in cases.into_iter().enumerate() {
        for announced in [false, true] {
            let body = of_size(&format!("evt_{number}_{announced}"), size);
            let signature = sign(&secret("whsec_test"), NOW, body.as_bytes());
            let length = size.to_string();
            let mut headers = vec![(SIGNATURE_HEADER, signature.as_str())];
            headers.extend(announced.then_some(("content-length", length.as_str())));
            let reply = app.send(post(path, &headers, body)).await;
            assert_eq!(reply.status.as_u16(), status, "{path}, {size} bytes, announced: {announced}");
            if status == 413 {
                reply.is_refusal(413);
            }
        }
    }
    // A length is believed before anything is read.
    let reply = app.send(post(HOOK, &[("content-length", "99999999")], "")).await;
    reply.is_refusal(413);
    app.finish().await;
}

#[tokio::test]
async fn an_endpoint_without_a_secret_does_not_run() {
    let app = TestApp::with([Endpoint::stripe(HOOK, vec![])]).await;
    let signed_with_nothing = sign(&secret(""), NOW, unrelated("evt_1").as_bytes());
    for headers in [vec![], vec![(SIGNATURE_HEADER, signed_with_nothing.as_str())]] {
        let reply = app.send(post(HOOK, &headers, unrelated("evt_1"))).await;
        let error = reply.is_refusal(503);
        assert!(!error.contains("SECRET"), "the sender does not learn which variable: {error}");
        assert!(reply.header("retry-after").parse::<u32>().is_ok());
    }
    nothing_is_stored(&app).await;
    app.finish().await;
}

#[tokio::test]
async fn a_database_that_is_away_is_503_and_the_retry_is_taken() {
    let app = TestApp::new().await;
    let locked = app.database().locked().await;
    let reply = app.deliver(HOOK, unrelated("evt_1")).await;
    let error = reply.is_refusal(503);
    assert!(!error.contains("database"), "nor what is wrong inside: {error}");
    assert!(reply.header("retry-after").parse::<u32>().is_ok());
    nothing_is_stored(&app).await;
    locked.release().await;
    assert_eq!(app.deliver(HOOK, unrelated("evt_1")).await.status, StatusCode::OK);
    app.finish().await;
}

#[tokio::test]
async fn a_full_queue_is_503() {
    let app = TestApp::new().await;
    let locked = app.database().locked().await;
    let large = |number: usize| format!("{}{}", unrelated(&format!("evt_{number}")), " ".repeat(1_000_000));
    let deliveries = (0..40).map(|number| app.deliver(HOOK, large(number)));
    let mut waiting: Vec<_> = deliveries.map(Box::pin).collect();
    let mut replies = Vec::new();
    for delivery in &mut waiting {
        // One look at each: those that fit wait for the disk, the rest is answered.
        let polled = delivery.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        if let std::task::Poll::Ready(reply) = polled {
            reply.is_refusal(503);
            assert!(reply.header("retry-after").parse::<u32>().is_ok());
            replies.push(reply);
        }
    }
    assert_eq!(replies.len(), 40 - 33, "32 MiB may wait");
    locked.release().await;
    for delivery in waiting.into_iter().take(33) {
        assert_eq!(delivery.await.status, StatusCode::OK);
    }
    app.finish().await;
}

/// Senders of Svix's call the same headers otherwise.
#[tokio::test]
async fn the_other_names_of_standard_webhooks_pass_the_door() {
    let text = SecretString::from("whsec_dGVzdC1zZWNyZXQtb2Ytb3Vycw==");
    let endpoint = |path, gateway: Gateway| Endpoint::new(path, gateway, vec![gateway.secret(&text).unwrap()]);
    let app =
        TestApp::with([endpoint("/standard", Gateway::StandardWebhooks), endpoint("/generic", Gateway::Generic)]).await;
    let generic = r#"{"transaction_id":"TXN-1","status":"completed","amount":15.00,"currency":"USD"}"#;
    for (path, body) in [("/standard", unrelated("evt_1")), ("/generic", generic.to_owned())] {
        let signed = Gateway::StandardWebhooks.sign(&text, "msg_1", NOW, body.as_bytes()).unwrap();
        let named: Vec<(String, String)> =
            signed.into_iter().map(|(name, value)| (name.replace("webhook-", "svix-"), value)).collect();
        let headers: Vec<(&str, &str)> = named.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let reply = app.send(post(path, &headers, body)).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.text);
    }
    app.finish().await;
}

/// Strangers fill no log; who signs well is always heard of.
#[tokio::test]
async fn what_strangers_cause_is_logged_now_and_then() {
    let app = TestApp::new().await;
    let log = Log::collect();
    let get = || Request::get(HOOK).body(Body::empty()).unwrap();
    for _ in 0..50 {
        app.send(get()).await.is_refusal(405);
        app.deliver(HOOK, "not JSON").await.is_refusal(400);
    }
    assert_eq!(log.saying("Delivery refused: not taken").len(), 20);
    assert_eq!(log.saying("Delivery refused: not an event").len(), 50);
    app.send(post(HOOK, &[], unrelated("evt_1"))).await.is_refusal(400);
    assert_eq!(log.saying("Delivery refused: signature").len(), 1, "another kind has its own");
    app.clock.set(NOW.plus_micros(10_000_000));
    for _ in 0..2 {
        app.send(get()).await.is_refusal(405);
    }
    let lines = log.saying("Delivery refused: not taken");
    assert_eq!((lines.len(), &lines[20]["kept_back"]), (21, &serde_json::json!(30)));
    app.finish().await;
}
