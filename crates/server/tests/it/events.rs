//! `/api/webhooks/events` and `/api/webhooks/stats`.

use axum::http::StatusCode;
use domain::Mode;
use serde_json::{Value, json};
use server::Endpoint;

use crate::it::app::{HOOK, NOW, TestApp, about, id_of, secret, unrelated};

#[tokio::test]
async fn pages_lose_and_repeat_nothing() {
    let app = TestApp::new().await;
    for number in 0..25 {
        app.accept(unrelated(&format!("evt_{number}"))).await;
    }
    let (mut seen, mut path) = (Vec::new(), "/api/webhooks/events?limit=10".to_owned());
    loop {
        let page = app.get(&path).await.json();
        let rows = page["data"].as_array().unwrap();
        assert!(rows.len() <= 10);
        seen.extend(rows.iter().map(|row| row["event_id"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/api/webhooks/events?limit=10&cursor={cursor}");
    }
    assert_eq!(seen, (0..25).rev().map(|number| format!("evt_{number}")).collect::<Vec<_>>());
    let exactly = app.get("/api/webhooks/events?limit=25").await.json();
    assert_eq!(exactly["next_cursor"], Value::Null, "the last page says so");
    app.finish().await;
}

#[tokio::test]
async fn questions_that_make_no_sense_are_named() {
    let app = TestApp::new().await;
    let cases = [
        ("/api/webhooks/events?limit=0", "1 to 200"),
        ("/api/webhooks/events?limit=201", "1 to 200"),
        ("/api/webhooks/events?limit=-1", "limit"),
        ("/api/webhooks/events?limit=many", "limit"),
        ("/api/webhooks/events?cursor=x", "next_cursor"),
        ("/api/webhooks/events?state=sad", "dead"),
        ("/api/webhooks/events?since=yesterday", "since"),
        ("/api/webhooks/events?until=2026-11-20", "until"),
        ("/api/webhooks/events?account=a%20b", "a b"),
        ("/api/webhooks/events?stat=dead", "stat"),
        ("/api/webhooks/events/evt_1?accont=a", "accont"),
        ("/api/webhooks/stats?window=1h", "window"),
        ("/api/payments?state=paid", "state"),
        ("/api/payments?status=sad", "refunded"),
        ("/api/payments?limit=0", "1 to 200"),
        ("/api/orders?cursor=1.5", "next_cursor"),
        ("/api/orders?order=1", "order"),
    ];
    for (path, named) in cases {
        let reply = app.get(path).await;
        reply.is_problem(400, "bad_request");
        assert!(reply.json()["detail"].as_str().unwrap().contains(named), "{path}: {}", reply.text);
    }
    assert_eq!(app.get("/api/webhooks/events?limit=200").await.status, StatusCode::OK);
    app.finish().await;
}

#[tokio::test]
async fn filters_let_through_what_they_say() {
    let app = TestApp::new().await;
    app.accept(unrelated("evt_1")).await;
    app.clock.set(NOW.plus_micros(60_000_000));
    let paid = about("payment_intent.succeeded", "pi_1", "6735");
    app.deliver("/api/webhooks/stripe", paid.as_str()).await;
    app.settled().await;
    let payment = app.get("/api/payments").await.json()["data"][0]["id"].as_str().unwrap().to_owned();
    let id = id_of(&paid);
    let both = vec![id.as_str(), "evt_1"];
    let cases = [
        (String::new(), both.clone()),
        ("gateway=stripe&account=default".to_owned(), both.clone()),
        ("gateway=paypal".to_owned(), vec![]),
        ("account=nobody".to_owned(), vec![]),
        ("endpoint=/api/webhooks/stripe".to_owned(), vec![id.as_str()]),
        ("type=customer.created".to_owned(), vec!["evt_1"]),
        ("state=applied".to_owned(), vec![id.as_str()]),
        ("state=ignored".to_owned(), vec!["evt_1"]),
        (format!("payment={payment}"), vec![id.as_str()]),
        ("since=2025-11-20T16:01:00Z".to_owned(), vec![id.as_str()]),
        ("until=2025-11-20T17:01:00%2B01:00".to_owned(), vec!["evt_1"]),
        ("q=pi_1".to_owned(), vec![id.as_str()]),
        ("q=customer".to_owned(), vec!["evt_1"]),
    ];
    for (query, expected) in cases {
        let rows = app.get(&format!("/api/webhooks/events?{query}")).await.json();
        let ids: Vec<_> =
            rows["data"].as_array().unwrap().iter().map(|row| row["event_id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected, "{query}");
    }
    app.finish().await;
}

#[tokio::test]
async fn an_event_is_shown_with_what_belongs_to_it() {
    let app = TestApp::new().await;
    let body = about("payment_intent.succeeded", "pi_1", "6735");
    app.accept(body.as_str()).await;
    app.settled().await;
    app.clock.set(NOW.plus_micros(5_000_000));
    app.deliver("/api/webhooks/stripe", body.as_str()).await;
    let shown = app.get(&format!("/api/webhooks/events/{}", id_of(&body))).await.json();
    assert_eq!(shown["payload"], serde_json::from_str::<Value>(&body).unwrap());
    assert_eq!(
        shown["deliveries"],
        json!([
            {"endpoint": HOOK, "received_at": "2025-11-20T16:00:00Z"},
            {"endpoint": "/api/webhooks/stripe", "received_at": "2025-11-20T16:00:05Z"},
        ])
    );
    let changes: Vec<_> =
        shown["changes"].as_array().unwrap().iter().map(|change| (&change["subject"], &change["to"])).collect();
    assert_eq!(changes, [(&json!("payment"), &json!("paid")), (&json!("order"), &json!("paid"))]);
    assert_eq!(
        (&shown["state"], &shown["processed"], &shown["object_id"]),
        (&json!("applied"), &json!(true), &json!("pi_1"))
    );
    app.get("/api/webhooks/events/evt_nobody").await.is_problem(404, "event_not_found");
    app.finish().await;
}

#[tokio::test]
async fn a_payload_is_shown_as_it_was_delivered() {
    let app = TestApp::new().await;
    let body = "{\"id\":\"evt_1\",  \"object\":\"event\",\n\"type\":\"customer.created\",\"n\":1.0,\"big\":123456789012345678901234567890,\"o\":{\"b\":1,\"a\":2}}";
    app.accept(body).await;
    let shown = app.get("/api/webhooks/events/evt_1").await;
    assert!(shown.text.contains(body), "no number is rounded, no key moves: {}", shown.text);
    app.finish().await;
}

#[tokio::test]
async fn events_that_share_an_id_can_be_told_apart() {
    let mut live = Endpoint::stripe("/live", vec![secret("whsec_test")]);
    (live.mode, live.connected_accounts) = (Some(Mode::Live), vec!["acct_1".to_owned()]);
    let app = TestApp::with([live, Endpoint::stripe(HOOK, vec![secret("whsec_test")])]).await;
    let in_live = unrelated("evt_1").replace("false", "true");
    app.accept(unrelated("evt_1")).await;
    app.deliver("/live", in_live.as_str()).await;
    app.deliver("/live", in_live.replace("true", r#"true,"account":"acct_1""#)).await;
    app.settled().await;
    app.get("/api/webhooks/events/evt_1").await.is_problem(409, "event_ambiguous");
    app.get("/api/webhooks/events/evt_1?mode=live").await.is_problem(409, "event_ambiguous");
    let cases = [
        ("mode=test", "test", ""),
        ("mode=live&connected_account=", "live", ""),
        ("connected_account=acct_1", "live", "acct_1"),
    ];
    for (query, mode, connected) in cases {
        let shown = app.get(&format!("/api/webhooks/events/evt_1?{query}")).await.json();
        assert_eq!((&shown["mode"], &shown["connected_account"]), (&json!(mode), &json!(connected)), "{query}");
        let replayed = app.post(&format!("/api/webhooks/events/evt_1/replay?{query}"), "").await.json();
        assert_eq!(replayed["replayed"], 1, "{query}: it alone");
        app.settled().await;
    }
    app.post("/api/webhooks/events/evt_1/replay", "").await.is_problem(409, "event_ambiguous");
    app.finish().await;
}

#[tokio::test]
async fn a_replay_runs_again_and_a_dry_one_only_tells() {
    let app = TestApp::new().await;
    let created = about("payment_intent.created", "pi_1", "6735");
    let paid = about("payment_intent.succeeded", "pi_1", "6735");
    app.accept(created.as_str()).await;
    app.settled().await;
    // As if the second one had never got to be applied.
    app.accept(paid.as_str()).await;
    app.settled().await;
    let one = format!("/api/webhooks/events/{}/replay", id_of(&paid));
    let nothing = app.post(&format!("{one}?dry_run=true"), "").await.json();
    assert_eq!(nothing, json!({"replayed": 1, "dry_run": true, "changes": []}), "it was applied");
    assert_eq!(app.store.backlog().await.unwrap().events, 0, "a dry run writes nothing");
    assert_eq!(app.post(&one, "").await.json(), json!({"replayed": 1, "dry_run": false}));
    app.settled().await;
    let history = app.get("/api/orders/6735").await.json()["status_history"].as_array().unwrap().len();
    assert_eq!(history, 2, "pending, paid: nothing again");

    let many = |filter: Value| {
        let app = &app;
        async move { app.post("/api/webhooks/events/replay", &filter.to_string()).await }
    };
    assert_eq!(many(json!({"type": "payment_intent.created", "dry_run": true})).await.json()["replayed"], 1);
    assert_eq!(many(json!({"state": "applied"})).await.json(), json!({"replayed": 2, "dry_run": false}));
    app.settled().await;
    for (filter, named) in [
        (json!({}), "which"),
        (json!({"account": "default"}), "which"),
        (json!({"q": ""}), "which"),
        (json!({"states": "dead"}), "states"),
        (json!({"state": "sad"}), "dead"),
        (json!([]), "filter"),
    ] {
        let reply = many(filter.clone()).await;
        reply.is_problem(400, "bad_request");
        assert!(reply.json()["detail"].as_str().unwrap().contains(named), "{filter}: {}", reply.text);
    }
    app.post("/api/webhooks/events/replay", "{").await.is_problem(400, "bad_request");
    app.post("/api/webhooks/events/replay", "").await.is_problem(400, "bad_request");
    app.post("/api/webhooks/events/evt_nobody/replay", "").await.is_problem(404, "event_not_found");
    app.post(&format!("{one}?dryrun=true"), "").await.is_problem(400, "bad_request");
    app.finish().await;
}

#[tokio::test]
async fn what_was_kept_aside_is_not_replayed_nor_foretold() {
    let mut live = Endpoint::stripe(HOOK, vec![secret("whsec_test")]);
    live.mode = Some(Mode::Live);
    let app = TestApp::with([live]).await;
    let body = about("payment_intent.succeeded", "pi_1", "6735");
    assert_eq!(app.accept(body.as_str()).await["status"], "ignored");
    for (path, filter) in [
        (format!("/api/webhooks/events/{}/replay?dry_run=", id_of(&body)), ""),
        ("/api/webhooks/events/replay".to_owned(), r#"{"state":"ignored","dry_run":"#),
    ] {
        let (dry, wet) = if filter.is_empty() {
            (app.post(&format!("{path}true"), "").await, app.post(&format!("{path}false"), "").await)
        } else {
            (app.post(&path, &format!("{filter}true}}")).await, app.post(&path, &format!("{filter}false}}")).await)
        };
        assert_eq!(dry.json(), json!({"replayed": 0, "dry_run": true, "changes": []}), "{path}");
        assert_eq!(wet.json(), json!({"replayed": 0, "dry_run": false}), "{path}");
    }
    assert_eq!(app.get("/api/payments").await.json()["data"], json!([]));
    app.finish().await;
}

#[tokio::test]
async fn stats_count_a_day_unless_asked_otherwise() {
    let app = TestApp::new().await;
    assert_eq!(app.get("/api/webhooks/stats").await.json()["success_rate"], Value::Null, "of nothing there is no rate");
    app.accept(unrelated("evt_1")).await;
    app.settled().await;
    app.clock.set(NOW.plus_micros(25 * 3_600_000_000));
    app.accept(about("payment_intent.succeeded", "pi_1", "6735")).await;
    app.accept(unrelated("evt_2")).await;
    app.accept(unrelated("evt_3")).await;
    app.settled().await;
    app.database().execute("UPDATE event SET state = 'dead' WHERE event_id = 'evt_3'").await;
    let day = app.get("/api/webhooks/stats").await.json();
    assert_eq!(
        (&day["total"], &day["applied"], &day["ignored"], &day["dead"]),
        (&json!(3), &json!(1), &json!(1), &json!(1))
    );
    assert_eq!((&day["success_rate"], &day["since"]), (&json!(66.67), &json!("2025-11-20T17:00:00Z")));
    let ever = app.get("/api/webhooks/stats?since=2025-11-20T16:00:00Z").await.json();
    assert_eq!((&ever["total"], &ever["success_rate"]), (&json!(4), &json!(75.0)));
    app.finish().await;
}
