//! Deliveries that are taken.

use axum::http::StatusCode;
use domain::Mode;
use gateways::stripe::{SIGNATURE_HEADER, sign};
use server::Endpoint;

use crate::it::app::{HOOK, NOW, TestApp, about, id_of, post, secret, unrelated};

#[tokio::test]
async fn an_event_is_accepted_then_a_duplicate() {
    let app = TestApp::new().await;
    let body = about("payment_intent.succeeded", "pi_1", "6735");
    let id = id_of(&body);
    let reply = app.deliver(HOOK, body.as_str()).await;
    assert_eq!((reply.status, reply.header("content-type")), (StatusCode::OK, "application/json"));
    assert_eq!(reply.text, format!(r#"{{"received":true,"status":"accepted","event_id":"{id}"}}"#));
    app.settled().await;
    let reply = app.deliver("/api/webhooks/stripe", body).await;
    assert_eq!(reply.text, format!(r#"{{"received":true,"status":"duplicate","event_id":"{id}"}}"#));
    assert_eq!(app.get("/api/payments").await.json()["data"][0]["payment_status"], "paid");
    app.finish().await;
}

#[tokio::test]
async fn an_event_that_is_not_applied_yet_is_no_duplicate() {
    let app = TestApp::new().await;
    let body = about("payment_intent.succeeded", "pi_1", "6735");
    app.accept(body.as_str()).await;
    app.settled().await;
    for state in ["failed", "dead"] {
        let sql = format!("UPDATE event SET state = '{state}', due_at = NULL, attempts = 12, error = 'corrupt'");
        app.database().execute(&sql).await;
        assert_eq!(app.accept(body.as_str()).await["status"], "accepted", "{state}");
        app.settled().await;
        assert_eq!(app.accept(body.as_str()).await["status"], "duplicate", "the retry ran it again");
    }
    app.finish().await;
}

#[tokio::test]
async fn what_is_of_no_concern_is_kept_and_ignored() {
    let mut live = Endpoint::stripe("/live", vec![secret("whsec_test")]);
    live.mode = Some(Mode::Live);
    let mut platform = Endpoint::stripe("/platform", vec![secret("whsec_test")]);
    platform.connected_accounts = vec!["acct_1".to_owned()];
    let app = TestApp::with([live, platform]).await;
    let with = |event_id: &str, more: &str| unrelated(event_id).replace(r#""livemode":false"#, more);
    let cases = [
        ("/live", with("evt_1", r#""livemode":false"#), "ignored"),
        ("/live", with("evt_2", r#""livemode":true"#), "accepted"),
        ("/platform", with("evt_3", r#""account":"acct_1""#), "accepted"),
        ("/platform", with("evt_4", r#""account":"acct_2""#), "ignored"),
        ("/platform", with("evt_5", r#""livemode":true"#), "accepted"),
        ("/live", with("evt_1", r#""livemode":false"#), "duplicate"),
        ("/platform", with("evt_1", r#""livemode":false"#), "accepted"), // What one ignores another may want.
    ];
    for (path, body, status) in cases {
        let reply = app.deliver(path, body.as_str()).await;
        assert_eq!((reply.status, &reply.json()["status"]), (StatusCode::OK, &status.into()), "{path} {body}");
    }
    app.settled().await;
    let kept = app.get("/api/webhooks/events/evt_4").await.json();
    assert_eq!((&kept["state"], &kept["processed"]), (&"ignored".into(), &true.into()));
    assert_eq!(kept["error_message"], "its connected account is not one of the endpoint's");
    assert_eq!(kept["payload"]["account"], "acct_2");
    app.finish().await;
}

#[tokio::test]
async fn a_slash_at_the_end_makes_no_difference() {
    let app = TestApp::new().await;
    for (number, path) in ["/payments/webhook/", "/api/webhooks/stripe", "/api/webhooks/stripe/"].iter().enumerate() {
        let reply = app.deliver(path, unrelated(&format!("evt_{number}"))).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.text);
    }
    let events = app.get("/api/webhooks/events?endpoint=/payments/webhook").await.json();
    assert_eq!(events["data"][0]["event_id"], "evt_0", "it is the same endpoint");
    app.finish().await;
}

#[tokio::test]
async fn the_content_type_is_not_enforced() {
    let app = TestApp::new().await;
    for (number, content_type) in
        ["application/json", "text/plain", "application/x-www-form-urlencoded", ""].iter().enumerate()
    {
        let body = unrelated(&format!("evt_{number}"));
        let signature = sign(&secret("whsec_test"), NOW, body.as_bytes());
        let headers = [(SIGNATURE_HEADER, signature.as_str()), ("content-type", content_type)];
        assert_eq!(app.send(post(HOOK, &headers, body)).await.status, StatusCode::OK, "{content_type:?}");
    }
    app.finish().await;
}

#[tokio::test]
async fn any_of_several_secrets_and_signatures_will_do() {
    let secrets = ["whsec_new", "whsec_old"];
    let app = TestApp::with([Endpoint::stripe(HOOK, secrets.map(secret).to_vec())]).await;
    for (number, signer) in secrets.iter().enumerate() {
        let body = unrelated(&format!("evt_{number}"));
        let signature = sign(&secret(signer), NOW, body.as_bytes());
        let also_by_another = format!("{signature},v1={},v0=x", "0".repeat(64));
        let reply = app.send(post(HOOK, &[(SIGNATURE_HEADER, &also_by_another)], body)).await;
        assert_eq!(reply.status, StatusCode::OK, "{signer}");
    }
    app.finish().await;
}

#[tokio::test]
async fn the_tolerance_is_inclusive_and_of_both_sides() {
    let app = TestApp::new().await;
    for (seconds, status) in [(-300, 200), (300, 200), (-301, 400), (301, 400)] {
        let body = unrelated(&format!("evt_{seconds}"));
        let signature = sign(&secret("whsec_test"), NOW.plus_micros(seconds * 1_000_000), body.as_bytes());
        let reply = app.send(post(HOOK, &[(SIGNATURE_HEADER, &signature)], body)).await;
        assert_eq!(reply.status.as_u16(), status, "{seconds} s");
    }
    app.finish().await;
}
