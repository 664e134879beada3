//! Who may ask what.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use server::Endpoint;
use store::KeyScope;

use crate::it::app::{NOW, TestApp, about, account, id_of, secret, unrelated, with_key};

const READS: [&str; 7] = [
    "/api/webhooks/events",
    "/api/webhooks/events/evt_1",
    "/api/webhooks/stats",
    "/api/payments",
    "/api/payments/pay_1",
    "/api/orders",
    "/api/orders/6735",
];
const WRITES: [&str; 2] = ["/api/webhooks/events/replay", "/api/webhooks/events/evt_1/replay"];

#[tokio::test]
async fn without_a_key_nothing_is_answered() {
    let app = TestApp::new().await;
    let key = app.key(KeyScope::Admin, None).await;
    let revoked = app.key(KeyScope::Read, None).await;
    app.store.revoke_key("key_all_read", NOW).await.unwrap();
    let wrong = [
        ("authorization", String::new()),
        ("authorization", key.clone()),
        ("authorization", "Bearer".to_owned()),
        ("authorization", "Bearer ".to_owned()),
        ("authorization", "Bearer nobody".to_owned()),
        ("authorization", format!("Bearer {revoked}")),
        ("authorization", format!("Basic {key}")),
        ("cookie", format!("key={key}; Authorization=Bearer {key}")),
        ("x-api-key", key.clone()),
    ];
    let paths = READS.iter().map(|path| (Method::GET, path)).chain(WRITES.iter().map(|path| (Method::POST, path)));
    for (method, path) in paths {
        for (header, value) in &wrong {
            let request = Request::builder().method(&method).uri(*path).header(*header, value);
            let reply = app.send(request.body(Body::from("not even JSON")).unwrap()).await;
            reply.is_problem(401, "unauthenticated");
            assert_eq!(reply.header("www-authenticate"), "Bearer", "{path} {header}");
        }
        let in_the_query = Request::builder().method(&method).uri(format!("{path}?key={key}&access_token={key}"));
        app.send(in_the_query.body(Body::empty()).unwrap()).await.is_problem(401, "unauthenticated");
    }
    assert_eq!(app.get_as(&format!(" {key} "), "/api/orders").await.status, StatusCode::OK, "spaces do no harm");
    app.finish().await;
}

#[tokio::test]
async fn a_key_does_what_its_scope_allows() {
    let app = TestApp::new().await;
    for scope in KeyScope::ALL {
        let key = app.key(scope, None).await;
        assert_eq!(app.get_as(&key, "/api/webhooks/events").await.status, StatusCode::OK, "{scope:?}");
        let reply = app.post_as(&key, "/api/webhooks/events/replay", r#"{"type":"x"}"#).await;
        match scope {
            KeyScope::Read => reply.is_problem(403, "forbidden"),
            KeyScope::Write | KeyScope::Admin => assert_eq!(reply.json()["replayed"], 0),
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn a_key_of_one_account_sees_nothing_of_another() {
    let endpoints = ["a", "b"].map(|name| {
        let mut endpoint = Endpoint::stripe(&format!("/hooks/{name}"), vec![secret("whsec_test")]);
        endpoint.account = account(name);
        endpoint
    });
    let app = TestApp::with(endpoints).await;
    let body = about("payment_intent.succeeded", "pi_1", "6735");
    let of_b = about("payment_intent.succeeded", "pi_2", "7001");
    for (path, body) in [("/hooks/a", &body), ("/hooks/b", &body), ("/hooks/b", &of_b)] {
        assert_eq!(app.deliver(path, body.as_str()).await.json()["status"], "accepted", "{path}");
    }
    app.settled().await;
    let (key_a, key_b) = (app.key(KeyScope::Write, Some("a")).await, app.key(KeyScope::Write, Some("b")).await);
    let all = app.get("/api/payments").await.json();
    let payment_of = |name: &str, order: &str| {
        let rows = all["data"].as_array().unwrap();
        let row = rows.iter().find(|row| row["account"] == name && row["order_id"] == order).expect(order);
        row["id"].as_str().unwrap().to_owned()
    };
    for (path, of_a, of_b) in [("/api/webhooks/events", 1, 2), ("/api/payments", 1, 2), ("/api/orders", 1, 2)] {
        let count = async |key: &str, path: &str| app.get_as(key, path).await.json()["data"].as_array().unwrap().len();
        assert_eq!((count(&key_a, path).await, count(&key_b, path).await), (of_a, of_b), "{path}");
        app.get_as(&key_a, &format!("{path}?account=b")).await.is_problem(403, "forbidden");
        assert_eq!(count(&key_a, &format!("{path}?account=a")).await, of_a, "its own by name");
    }
    app.get_as(&key_a, &format!("/api/webhooks/events/{}", id_of(&of_b))).await.is_problem(404, "event_not_found");
    app.get_as(&key_a, &format!("/api/payments/{}", payment_of("b", "7001")))
        .await
        .is_problem(404, "payment_not_found");
    app.get_as(&key_a, "/api/orders/7001").await.is_problem(404, "order_not_found");
    app.post_as(&key_a, &format!("/api/webhooks/events/{}/replay", id_of(&of_b)), "")
        .await
        .is_problem(404, "event_not_found");
    let replay = r#"{"type":"payment_intent.succeeded"}"#;
    assert_eq!(app.post_as(&key_a, "/api/webhooks/events/replay", replay).await.json()["replayed"], 1, "its own alone");
    let foreign = r#"{"type":"payment_intent.succeeded","account":"b"}"#;
    app.post_as(&key_a, "/api/webhooks/events/replay", foreign).await.is_problem(403, "forbidden");
    assert_eq!(app.get_as(&key_a, "/api/webhooks/stats").await.json()["total"], 1);
    app.get_as(&key_a, "/api/webhooks/stats?account=b").await.is_problem(403, "forbidden");
    app.get(&format!("/api/webhooks/events/{}", id_of(&body))).await.is_problem(409, "event_ambiguous");
    app.get("/api/orders/6735").await.is_problem(409, "order_ambiguous");
    assert_eq!(app.get("/api/orders/6735?account=b").await.json()["account"], "b");
    app.finish().await;
}

#[tokio::test]
async fn what_is_open_needs_no_key() {
    let app = TestApp::new().await;
    for path in ["/api/webhooks/health", "/healthz", "/readyz"] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        assert_eq!(app.send(request).await.status, StatusCode::OK, "{path}");
    }
    let head = with_key(Method::HEAD, "/api/orders", &app.key(KeyScope::Read, None).await, Body::empty());
    let reply = app.send(head).await;
    assert_eq!((reply.status, reply.text.as_str()), (StatusCode::OK, ""));
    app.accept(unrelated("evt_1")).await;
    app.finish().await;
}
