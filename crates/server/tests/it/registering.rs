//! What the application registers, and what it is refused.

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};
use server::{Endpoint, PublicConfig};
use store::KeyScope;

use crate::it::app::{NOW, TestApp, account, post, secret, with_key};
use crate::it::gateway::{REJECTS, intent, refund, shop};

const COMMANDS: [&str; 8] = [
    "/api/orders",
    "/api/orders/6735/payments",
    "/api/payments/1/external-pending",
    "/api/payments/1/release",
    "/api/resources",
    "/api/bookings",
    "/api/bookings/1/cancel",
    "/api/bookings/1/confirm",
];
const READS: [&str; 8] = [
    "/api/orders",
    "/api/refunds",
    "/api/disputes",
    "/api/resources",
    "/api/resources/1",
    "/api/resources/1/availability?from=2026-12-01&to=2026-12-02",
    "/api/bookings",
    "/api/bookings/1",
];

async fn registered() -> TestApp {
    let app = shop().await;
    app.made("/api/orders", json!({"id": "6735", "amount": 15000, "currency": "USD"})).await;
    app.made("/api/resources", json!({"id": "1", "name": "Sea view"})).await;
    app
}

#[tokio::test]
async fn an_order_is_registered_and_shown() {
    let app = TestApp::new().await;
    let order = json!({
        "id": "6735", "amount": 15000, "currency": "usd",
        "customer": {"reference": "C-7", "email": "maud@example.com", "name": "Maud de Vries"},
        "metadata": {"table": "4"},
    });
    let made = app.made("/api/orders", order.clone()).await;
    let expected = json!({
        "account": "default", "id": "6735", "payment_status": "pending", "amount": 15000, "currency": "USD",
        "amount_paid": 0, "amount_refunded": 0,
        "customer": {"reference": "C-7", "email": "maud@example.com", "name": "Maud de Vries"},
        "metadata": {"table": "4"}, "created_at": "2025-11-20T16:00:00Z", "updated_at": "2025-11-20T16:00:00Z",
        "payments": [],
        "status_history": [{
            "subject": "order", "subject_id": "6735", "payment_id": "", "from": null, "to": "pending",
            "event_id": null, "at": "2025-11-20T16:00:00Z",
        }],
    });
    assert_eq!(made, expected);
    assert_eq!(app.seen("/api/orders/6735").await, expected);
    let again = app.post("/api/orders", &order.to_string()).await;
    assert_eq!((again.status.as_u16(), again.json()), (200, expected.clone()));
    for (key, other) in [
        ("amount", json!(15001)),
        ("currency", json!("EUR")),
        ("customer", json!({"reference": "C-8"})),
        ("customer", Value::Null),
        ("metadata", json!({})),
    ] {
        let mut differing = order.clone();
        differing[key] = other;
        app.post("/api/orders", &differing.to_string()).await.is_problem(409, "order_exists");
    }
    assert_eq!(app.seen("/api/orders/6735").await, expected);
    let columns = "SELECT amount || currency || (customer->>'email') || (metadata->>'table') FROM orders";
    let row = app.database().value(columns).await;
    assert_eq!(row, "15000USDmaud@example.com4");
    app.finish_sound().await;
}

/// Ids that are made here sort by when they were made.
#[tokio::test]
async fn ids_are_made_in_the_order_of_time() {
    let app = registered().await;
    let mut ids: Vec<Vec<String>> = vec![Vec::new(); 4];
    for minute in 0..3 {
        app.clock.set(NOW.plus_micros(minute * 60_000_000));
        let order = app.made("/api/orders", json!({"amount": 100, "currency": "USD"})).await;
        let order_id = order["id"].as_str().unwrap();
        let booking = json!({
            "resource_id": "1", "start": "2026-12-01", "end": "2026-12-05", "amount": 100, "currency": "USD",
        });
        let made = [
            order.clone(),
            app.made(&format!("/api/orders/{order_id}/payments"), json!({})).await,
            app.made("/api/resources", json!({"name": "Garden"})).await,
            app.made("/api/bookings", booking).await,
        ];
        for (ids, made) in ids.iter_mut().zip(made) {
            ids.push(made["id"].as_str().unwrap().to_owned());
        }
    }
    for (ids, prefix) in ids.iter().zip(["ord_", "pay_", "res_", "bkg_"]) {
        assert!(ids.is_sorted(), "{ids:?}");
        for (id, minute) in ids.iter().zip(0..) {
            let rest = id.strip_prefix(prefix).expect(prefix);
            assert!(rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
            // Milliseconds come first in version 7: RFC 9562, 5.7.
            let millis = NOW.plus_micros(minute * 60_000_000).micros() / 1000;
            assert_eq!(rest[..12], format!("{millis:012x}"), "{id}");
            assert_eq!(&rest[12..13], "7", "{id}");
        }
    }
    app.finish_sound().await;
}

#[tokio::test]
async fn a_payment_is_registered_and_shown() {
    let app = registered().await;
    let body = json!({
        "id": "77", "amount": 5000, "currency": "usd", "gateway": "stripe", "method": "card",
        "transaction_id": "TXN-123456", "external_id": "E/9", "gateway_transaction_id": "pi_1", "metadata": {"seat": "4"},
    });
    let made = app.made("/api/orders/6735/payments", body.clone()).await;
    let expected = json!({
        "account": "default", "id": "77", "order_id": "6735", "amount": 5000, "currency": "USD", "gateway": "stripe",
        "mode": null,
        "method": "card", "transaction_id": "TXN-123456", "external_id": "E/9", "gateway_transaction_id": "pi_1",
        "metadata": {"seat": "4"}, "payment_status": "pending", "dispute_status": "none", "amount_captured": 0,
        "hold_reason": null, "external_pending": false, "booking_id": null, "flags": [], "events": [], "refunds": [],
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(made[key], *value, "{key} of {made:#}");
    }
    assert_eq!(app.seen("/api/payments/77").await, made);
    assert_eq!(app.seen("/api/orders/6735").await["payments"][0]["id"], "77");
    let again = app.post("/api/orders/6735/payments", &body.to_string()).await;
    assert_eq!((again.status.as_u16(), again.json()), (200, made.clone()));
    let mut nameless = body.clone();
    nameless.as_object_mut().unwrap().remove("id");
    let again = app.post("/api/orders/6735/payments", &nameless.to_string()).await;
    assert_eq!((again.status.as_u16(), &again.json()["id"]), (200, &json!("77")), "known by its names");
    let mut renamed = body.clone();
    renamed["id"] = json!("78");
    app.post("/api/orders/6735/payments", &renamed.to_string()).await.is_problem(409, "reference_taken");
    for (key, other) in [("amount", json!(5001)), ("method", json!("cash")), ("transaction_id", json!("TXN-2"))] {
        let mut differing = body.clone();
        differing[key] = other;
        app.post("/api/orders/6735/payments", &differing.to_string()).await.is_problem(409, "payment_exists");
    }
    for key in ["transaction_id", "external_id", "gateway_transaction_id"] {
        let other = json!({"id": "78", key: body[key]}).to_string();
        app.post("/api/orders/6735/payments", &other).await.is_problem(409, "reference_taken");
        let other = json!({key: body[key]}).to_string();
        app.post("/api/orders/6735/payments", &other).await.is_problem(409, "reference_taken");
    }
    let row = "SELECT transaction_id || external_id || gateway_transaction_id || payment_status FROM payments";
    let row = app.database().value(row).await;
    assert_eq!(row, "TXN-123456E/9pi_1pending");
    app.finish_sound().await;
}

#[tokio::test]
async fn what_is_left_out_of_a_payment_is_what_is_due() {
    let app = registered().await;
    let payment = app.made("/api/orders/6735/payments", json!({})).await;
    assert_eq!((&payment["amount"], &payment["currency"]), (&json!(15000), &json!("USD")));
    assert_eq!(payment["gateway"], Value::Null);
    let payment = app.made("/api/orders/6735/payments", json!({"amount": 1})).await;
    assert_eq!((&payment["amount"], &payment["currency"]), (&json!(1), &json!("USD")));
    app.post("/api/orders/6735/payments", r#"{"currency":"EUR"}"#).await.is_problem(422, "currency_mismatch");
    app.post("/api/orders/none/payments", "{}").await.is_problem(404, "order_not_found");
    // An order that only events know of.
    app.hears("/payments/webhook", &intent("evt_1", "succeeded", "pi_1", json!({"metadata": {"order_id": "7001"}})))
        .await;
    app.post("/api/orders/7001/payments", r#"{"amount":100}"#).await.is_problem(422, "amount_unknown");
    app.post("/api/orders/7001/payments", r#"{"currency":"USD"}"#).await.is_problem(422, "amount_unknown");
    let payment = app.made("/api/orders/7001/payments", json!({"amount": 100, "currency": "EUR"})).await;
    assert_eq!((&payment["order_id"], &payment["currency"]), (&json!("7001"), &json!("EUR")));
    app.finish_sound().await;
}

#[tokio::test]
async fn what_cannot_be_understood_is_named() {
    let app = registered().await;
    let order = |more: &str| format!(r#"{{"amount":100,"currency":"USD"{more}}}"#);
    let many: String = (0..51).map(|n| format!(r#""k{n}":"v","#)).collect();
    let cases: Vec<(&str, String, &str)> = vec![
        ("/api/orders", String::new(), "JSON object"),
        ("/api/orders", "amount=100&currency=USD".to_owned(), "JSON object"),
        ("/api/orders", "[]".to_owned(), "JSON object"),
        ("/api/orders", "\"x\"".to_owned(), "JSON object"),
        ("/api/orders", "{\"amount\":100".to_owned(), "JSON object"),
        ("/api/orders", "[".repeat(100_000), "JSON object"),
        ("/api/orders", format!("{}x", order("")), "JSON object"),
        ("/api/orders", r#"{"amount":100,"amount":100,"currency":"USD"}"#.to_owned(), "\"amount\" is there twice"),
        ("/api/orders", order(r#","ammount":1"#), "\"ammount\" is no key here"),
        ("/api/orders", order(r#","payment_status":"paid""#), "payment_status"),
        ("/api/orders", r#"{"currency":"USD"}"#.to_owned(), "amount is missing"),
        ("/api/orders", r#"{"amount":100}"#.to_owned(), "currency is missing"),
        ("/api/orders", r#"{"amount":null,"currency":"USD"}"#.to_owned(), "amount is missing"),
        ("/api/orders", r#"{"amount":19.99,"currency":"USD"}"#.to_owned(), "minor unit"),
        ("/api/orders", r#"{"amount":100.0,"currency":"USD"}"#.to_owned(), "minor unit"),
        ("/api/orders", r#"{"amount":"100","currency":"USD"}"#.to_owned(), "minor unit"),
        ("/api/orders", r#"{"amount":0,"currency":"USD"}"#.to_owned(), "at least 1"),
        ("/api/orders", r#"{"amount":-5,"currency":"USD"}"#.to_owned(), "at least 1"),
        ("/api/orders", r#"{"amount":9223372036854775808,"currency":"USD"}"#.to_owned(), "amount is"),
        ("/api/orders", r#"{"amount":1e400,"currency":"USD"}"#.to_owned(), "JSON object"),
        ("/api/orders", r#"{"amount":100,"currency":"US"}"#.to_owned(), "currency is"),
        ("/api/orders", r#"{"amount":100,"currency":"DOLLAR"}"#.to_owned(), "currency is"),
        ("/api/orders", r#"{"amount":100,"currency":840}"#.to_owned(), "currency is"),
        ("/api/orders", order(r#","id":"""#), "id is"),
        ("/api/orders", order(r#","id":"a b""#), "id is"),
        ("/api/orders", order(r#","id":"a/b""#), "id is"),
        ("/api/orders", order(r#","id":"a\u0000""#), "id is"),
        ("/api/orders", order(r#","id":"..""#), "id is"),
        ("/api/orders", order(r#","id":6735"#), "id is"),
        ("/api/orders", order(&format!(r#","id":"{}""#, "x".repeat(256))), "id is"),
        ("/api/orders", order(r#","metadata":[]"#), "metadata is"),
        ("/api/orders", order(r#","metadata":{"a":{}}"#), "metadata is"),
        ("/api/orders", order(r#","metadata":{"a":1}"#), "metadata is"),
        ("/api/orders", order(&format!(r#","metadata":{{{many}"z":"v"}}"#)), "metadata is"),
        ("/api/orders", order(&format!(r#","metadata":{{"a":"{}"}}"#, "x".repeat(1001))), "metadata is"),
        ("/api/orders", order(r#","customer":"Maud""#), "customer is"),
        ("/api/orders", order(r#","customer":{"phone":"1"}"#), "\"customer.phone\" is no key here"),
        ("/api/orders", order(r#","customer":{"email":7}"#), "customer.email is"),
        ("/api/orders/6735/payments", r#"{"transaction_id":""}"#.to_owned(), "transaction_id is"),
        ("/api/orders/6735/payments", r#"{"transaction_id":" T"}"#.to_owned(), "transaction_id is"),
        ("/api/orders/6735/payments", r#"{"external_id":"a\nb"}"#.to_owned(), "external_id is"),
        ("/api/orders/6735/payments", r#"{"gateway":"a b"}"#.to_owned(), "gateway is"),
        ("/api/orders/6735/payments", r#"{"order_id":"1"}"#.to_owned(), "\"order_id\" is no key here"),
        ("/api/orders/6735/payments", r#"{"amount":1.5}"#.to_owned(), "minor unit"),
        ("/api/resources", "{}".to_owned(), "name is missing"),
        ("/api/resources", r#"{"name":7}"#.to_owned(), "name is"),
    ];
    for (path, body, expected) in cases {
        let shown: String = body.chars().take(80).collect();
        let reply = app.post(path, &body).await;
        reply.is_problem(400, "bad_request");
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(expected), "{path} {shown}: {detail}");
    }
    let write = app.key(KeyScope::Write, None).await;
    let not_utf8 = Body::from(b"{\"amount\":100,\"currency\":\"US\xff\"}".to_vec());
    app.send(with_key(Method::POST, "/api/orders", &write, not_utf8)).await.is_problem(400, "bad_request");
    let large = format!(r#"{{"amount":100,"currency":"USD","metadata":{{"a":"{}"}}}}"#, "x".repeat(300_000));
    app.post("/api/orders", &large).await.is_problem(413, "body_too_large");
    app.send(with_key(Method::DELETE, "/api/orders/6735", &write, Body::empty()))
        .await
        .is_problem(405, "method_not_allowed");
    assert_eq!(app.seen("/api/orders").await["data"].as_array().unwrap().len(), 1, "nothing of it was registered");
    app.finish_sound().await;
}

#[tokio::test]
async fn the_same_key_gives_the_same_result() {
    let app = registered().await;
    let body = r#"{"amount":100,"currency":"USD"}"#;
    let first = app.post_once("k-1", "/api/orders", body).await;
    assert_eq!((first.status.as_u16(), first.header("idempotent-replayed")), (201, ""));
    for _ in 0..2 {
        let again = app.post_once("k-1", "/api/orders", body).await;
        assert_eq!((again.status.as_u16(), again.header("idempotent-replayed")), (201, "true"));
        assert_eq!(again.json(), first.json());
    }
    let other = app.post_once("k-2", "/api/orders", body).await;
    assert_ne!(other.json()["id"], first.json()["id"], "another key is another order");
    app.post_once("k-1", "/api/orders", r#"{"amount":101,"currency":"USD"}"#)
        .await
        .is_problem(422, "idempotency_key_reused");
    app.post_once("k-1", "/api/orders/6735/payments", body).await.is_problem(422, "idempotency_key_reused");
    let slash = app.post_once("k-1", "/api/orders/", body).await;
    assert_eq!(slash.header("idempotent-replayed"), "true", "a slash makes no difference");

    // What was refused is not remembered: the mistake can be mended.
    app.post_once("k-3", "/api/orders/late/payments", "{}").await.is_problem(404, "order_not_found");
    app.made("/api/orders", json!({"id": "late", "amount": 5, "currency": "USD"})).await;
    let made = app.post_once("k-3", "/api/orders/late/payments", "{}").await;
    let again = app.post_once("k-3", "/api/orders/late/payments", "{}").await;
    assert_eq!((made.status.as_u16(), again.json()), (201, made.json()));
    assert_eq!(app.seen("/api/orders/late").await["payments"].as_array().unwrap().len(), 1);

    // What was there already says so again.
    let known = r#"{"id":"6735","amount":15000,"currency":"USD"}"#;
    for replayed in ["", "true"] {
        let reply = app.post_once("k-4", "/api/orders", known).await;
        assert_eq!((reply.status.as_u16(), reply.header("idempotent-replayed")), (200, replayed));
    }
    for key in ["", " ", "a b", "é", &"x".repeat(256)] {
        let bearer = format!("Bearer {}", app.key(KeyScope::Write, None).await);
        let mut request = post("/api/orders", &[("authorization", &bearer)], body);
        let value = axum::http::HeaderValue::from_bytes(key.as_bytes()).unwrap();
        request.headers_mut().insert("idempotency-key", value);
        app.send(request).await.is_problem(400, "bad_request");
    }
    // A day later the key is free.
    app.clock.set(NOW.plus_micros(24 * 60 * 60 * 1_000_000));
    let free = app.post_once("k-1", "/api/orders", r#"{"amount":101,"currency":"USD"}"#).await;
    assert_eq!((free.status.as_u16(), free.header("idempotent-replayed")), (201, ""));
    app.finish_sound().await;
}

#[tokio::test]
async fn every_command_takes_a_key() {
    let app = registered().await;
    let once = async |key: &str, path: &str, body: &str| {
        let first = app.post_once(key, path, body).await;
        assert!(first.status.is_success(), "{path}: {}", first.text);
        let again = app.post_once(key, path, body).await;
        assert_eq!((again.status, again.header("idempotent-replayed")), (first.status, "true"), "{path}");
        assert_eq!(again.json(), first.json(), "{path}");
        let reused = app.post_once(key, path, &format!("{body} ")).await;
        reused.is_problem(422, "idempotency_key_reused");
    };
    once("a", "/api/resources", r#"{"name":"Garden"}"#).await;
    once("b", "/api/orders/6735/payments", r#"{"id":"1","gateway_transaction_id":"pi_1"}"#).await;
    once("c", "/api/payments/1/external-pending", r#"{"external_id":"E"}"#).await;
    app.hears("/hooks/holds", &intent("evt_1", "succeeded", "pi_1", json!({"amount": 100}))).await;
    once("d", "/api/payments/1/release", "").await;
    let booking = r#"{"id":"1","resource_id":"1","start":"2026-12-01","end":"2026-12-05","amount":1,"currency":"USD"}"#;
    once("e", "/api/bookings", booking).await;
    once("f", "/api/bookings/1/confirm", r#"{"session_id":"cs_1"}"#).await;
    once("g", "/api/bookings/1/cancel", "{}").await;
    app.finish_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_at_once_with_one_key_make_one_order() {
    let app = shop().await;
    app.key(KeyScope::Write, None).await;
    let body = r#"{"amount":100,"currency":"USD"}"#;
    let once = || app.post_once("k", "/api/orders", body);
    let all = tokio::join!(once(), once(), once(), once(), once(), once(), once(), once());
    let all = [all.0, all.1, all.2, all.3, all.4, all.5, all.6, all.7];
    for reply in &all {
        assert_eq!((reply.status.as_u16(), &reply.json()["id"]), (201, &all[0].json()["id"]), "{}", reply.text);
    }
    assert_eq!(all.iter().filter(|reply| reply.header("idempotent-replayed").is_empty()).count(), 1);
    assert_eq!(app.seen("/api/orders").await["data"].as_array().unwrap().len(), 1);
    app.finish_sound().await;
}

#[tokio::test]
async fn commands_need_a_key_that_may_write() {
    let app = registered().await;
    let read = app.key(KeyScope::Read, None).await;
    for path in COMMANDS {
        app.send(post(path, &[], "not even JSON")).await.is_problem(401, "unauthenticated");
        app.post_as(&read, path, "not even JSON").await.is_problem(403, "forbidden");
    }
    for path in READS {
        let request = axum::http::Request::get(path).body(Body::empty()).unwrap();
        app.send(request).await.is_problem(401, "unauthenticated");
        let reply = app.get_as(&read, path).await;
        assert!(matches!(reply.status.as_u16(), 200 | 404), "{path}: {}", reply.text);
    }
    app.finish_sound().await;
}

#[tokio::test]
async fn each_account_registers_its_own() {
    let endpoint = |name: &str| Endpoint {
        account: account(name),
        ..Endpoint::stripe(&format!("/hooks/{name}"), vec![secret("whsec_test")])
    };
    let app = TestApp::with([endpoint("a"), endpoint("b")]).await;
    let (key_a, key_b) = (app.key(KeyScope::Write, Some("a")).await, app.key(KeyScope::Write, Some("b")).await);
    let order = r#"{"id":"1","amount":1500,"currency":"USD"}"#;
    let payment = r#"{"id":"1","gateway_transaction_id":"pi_1"}"#;
    let booking = r#"{"id":"1","resource_id":"1","start":"2026-12-01","end":"2026-12-05","amount":1500,"currency":"USD","session_id":"cs_1"}"#;
    for key in [&key_a, &key_b] {
        for (path, body) in [
            ("/api/orders", order),
            ("/api/orders/1/payments", payment),
            ("/api/resources", r#"{"id":"1","name":"Sea view"}"#),
            ("/api/bookings", booking),
        ] {
            let reply = app.post_as(key, path, body).await;
            assert_eq!(reply.status.as_u16(), 201, "{path}: {}", reply.text);
        }
    }
    app.post_as(&key_a, "/api/orders?account=b", order).await.is_problem(403, "forbidden");
    app.post_as(&key_a, "/api/orders?account=a%20b", order).await.is_problem(400, "bad_request");
    app.deliver("/hooks/a", intent("evt_1", "succeeded", "pi_1", json!({}))).await;
    app.settled().await;
    let statuses = async |key: &str| {
        let payment = app.get_as(key, "/api/payments/1").await.json();
        let order = app.get_as(key, "/api/orders/1").await.json();
        (payment["payment_status"].as_str().unwrap().to_owned(), order["payment_status"].as_str().unwrap().to_owned())
    };
    assert_eq!(statuses(&key_a).await, ("paid".to_owned(), "paid".to_owned()));
    assert_eq!(statuses(&key_b).await, ("pending".to_owned(), "pending".to_owned()));
    app.get("/api/orders/1").await.is_problem(409, "order_ambiguous");
    app.get("/api/payments/1").await.is_problem(409, "payment_ambiguous");
    app.get("/api/bookings/1").await.is_problem(409, "booking_ambiguous");
    for path in ["/api/orders/1", "/api/payments/1", "/api/bookings/1", "/api/resources/1"] {
        assert_eq!(app.get(&format!("{path}?account=b")).await.json()["account"], "b", "{path}");
    }
    // A key for all accounts registers where it says, else in the default one.
    let everywhere = app.made("/api/orders?account=b", json!({"id": "2", "amount": 1, "currency": "USD"})).await;
    assert_eq!(everywhere["account"], "b");
    assert_eq!(app.made("/api/orders", json!({"id": "2", "amount": 1, "currency": "USD"})).await["account"], "default");
    let keyed = async |key: &str| {
        let bearer = format!("Bearer {key}");
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", "same")];
        app.send(post("/api/orders", &headers, r#"{"amount":7,"currency":"USD"}"#)).await.json()
    };
    assert_ne!(keyed(&key_a).await["id"], keyed(&key_b).await["id"], "each account has keys of its own");
    app.finish_sound().await;
}

#[tokio::test]
async fn refunds_and_disputes_are_listed() {
    let app = registered().await;
    for number in 1..=3 {
        let reference = format!("pi_{number}");
        let body = json!({"id": format!("{number}"), "gateway_transaction_id": reference});
        app.made("/api/orders/6735/payments", body).await;
        app.hears(REJECTS, &intent(&format!("evt_{number}"), "succeeded", &reference, json!({"amount": 15000}))).await;
        app.hears(REJECTS, &refund(&format!("evt_r{number}"), &format!("re_{number}"), &reference, 100)).await;
        let dispute = json!({
            "id": format!("dp_{number}"), "object": "dispute", "status": "needs_response", "amount": 15000,
            "currency": "usd", "payment_intent": reference, "charge": null, "created": NOW.seconds(),
            "reason": "fraudulent", "evidence_details": {"due_by": NOW.seconds() + 86_400},
        });
        let event_id = format!("evt_d{number}");
        app.hears(REJECTS, &crate::it::gateway::event(&event_id, "charge.dispute.created", &dispute)).await;
    }
    let named = |page: &Value, key: &str| -> Vec<String> {
        page["data"].as_array().unwrap().iter().map(|row| row[key].as_str().unwrap().to_owned()).collect()
    };
    for (path, key, status) in
        [("/api/refunds", "gateway_refund_id", "succeeded"), ("/api/disputes", "gateway_dispute_id", "open")]
    {
        let all = app.seen(path).await;
        let prefix = if key == "gateway_refund_id" { "re" } else { "dp" };
        assert_eq!(named(&all, key), [3, 2, 1].map(|number| format!("{prefix}_{number}")), "{path}");
        assert_eq!(named(&all, "payment_id"), ["3", "2", "1"]);
        let first = app.seen(&format!("{path}?limit=2")).await;
        let cursor = first["next_cursor"].as_str().expect("there is more");
        assert_eq!(named(&app.seen(&format!("{path}?limit=2&cursor={cursor}")).await, "payment_id"), ["1"]);
        assert_eq!(named(&app.seen(&format!("{path}?payment=2")).await, "payment_id"), ["2"]);
        assert_eq!(named(&app.seen(&format!("{path}?status={status}")).await, key).len(), 3);
        assert_eq!(app.seen(&format!("{path}?account=other")).await["data"], json!([]));
        app.get(&format!("{path}?status=nothing")).await.is_problem(400, "bad_request");
        app.get(&format!("{path}?stat=open")).await.is_problem(400, "bad_request");
    }
    let refund = &app.seen("/api/refunds?payment=2").await["data"][0];
    assert_eq!(
        (&refund["amount"], &refund["currency"], &refund["status"]),
        (&json!(100), &json!("USD"), &json!("succeeded"))
    );
    let dispute = &app.seen("/api/disputes?payment=2").await["data"][0];
    assert_eq!((&dispute["reason"], &dispute["stage"]), (&json!("fraudulent"), &json!("needs_response")));
    assert_eq!(dispute["due_by"], "2025-11-21T16:00:00Z");
    let none = app.seen("/api/refunds?status=failed").await;
    assert_eq!((&none["data"], &none["next_cursor"]), (&json!([]), &Value::Null));
    app.finish_sound().await;
}

#[tokio::test]
async fn the_public_key_is_shown_to_everybody() {
    let mut app = TestApp::new().await;
    let ask = || axum::http::Request::get("/api/config/public").body(Body::empty()).unwrap();
    assert_eq!(app.send(ask()).await.json(), json!({"stripe_publishable_key": null}));
    let public = PublicConfig { stripe_publishable_key: Some("pk_test_1".to_owned()) };
    app.publish(public);
    assert_eq!(app.send(ask()).await.json(), json!({"stripe_publishable_key": "pk_test_1"}));
    app.finish_sound().await;
}
