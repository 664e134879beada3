//! SPEC.md's table of replies, row by row, at each of the endpoints that exist without a
//! configuration file.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use domain::Mode;
use gateways::Gateway;
use serde_json::{Value, json};
use server::Endpoint;
use server::endpoint::Secrets;
use server::limits::Rate;

use crate::it::app::{NOW, Reply, post};
use crate::it::built_in::{
    BOOKINGS, BuiltIn, PATHS, PORTAL, SHOP, SHOP_PAYPAL, TILL, gateway_at, is_applied, paid, register,
};
use crate::it::gateway::event;

/// That it was taken, in the one shape; returns the rest of what it says.
#[track_caller]
fn taken(reply: &Reply, status: &str, context: &str) -> Value {
    let mut body = reply.json();
    assert_eq!((reply.status, reply.header("content-type")), (StatusCode::OK, "application/json"), "{context}: {body}");
    assert_eq!((&body["received"], &body["status"]), (&json!(true), &json!(status)), "{context}: {body}");
    assert!(body["event_id"].as_str().is_some_and(|id| !id.is_empty()), "{context}: {body}");
    let fields = body.as_object_mut().unwrap();
    fields.remove("received");
    fields.remove("status");
    body
}

#[tokio::test]
async fn new_then_seen_before() {
    for path in PATHS {
        let app = BuiltIn::start().await;
        let id = register(&app, path, 1).await;
        let body = paid(path, 1);
        let first = app.posted(path, body.as_str()).await;
        let said = taken(&first, if is_applied(path) { "success" } else { "accepted" }, path);
        if is_applied(path) {
            let transaction_id = (gateway_at(path) == Gateway::Generic).then_some("TXN-1");
            let mut expected = json!({
                "event_id": said["event_id"], "message": "Payment confirmed", "payment_id": id,
                "payment_status": "paid", "order_id": "order-1",
            });
            if let Some(transaction_id) = transaction_id {
                expected["transaction_id"] = json!(transaction_id);
            }
            assert_eq!(said, expected, "{path}");
        } else {
            assert_eq!(said.as_object().unwrap().len(), 1, "{path}: nothing is known yet: {said}");
        }
        app.settled().await;
        for at in [path.to_owned(), format!("{path}/")] {
            let again = app.posted(&at, body.as_str()).await;
            assert_eq!(taken(&again, "duplicate", path), said, "{path}: with the fields of the first");
        }
        assert_eq!(app.seen(&format!("/api/payments/{id}")).await["payment_status"], "paid", "{path}");
        app.finish_sound().await;
    }
}

/// What was stored and not applied is as good as new: a duplicate swallows no failed work.
#[tokio::test]
async fn seen_before_and_not_applied_runs_again() {
    for path in PATHS {
        for state in ["failed", "dead"] {
            let app = BuiltIn::start().await;
            register(&app, path, 1).await;
            app.posted(path, paid(path, 1)).await;
            app.settled().await;
            let undone = format!("UPDATE event SET state = '{state}', due_at = NULL, attempts = 12, error = 'x'");
            app.database().execute(&undone).await;
            let again = app.posted(path, paid(path, 1)).await;
            taken(&again, if is_applied(path) { "success" } else { "accepted" }, &format!("{path} {state}"));
            app.settled().await;
            taken(&app.posted(path, paid(path, 1)).await, "duplicate", path);
            app.finish_sound().await;
        }
    }
}

/// Who waits for the outcome is told that there is none; who does not, that it is stored.
#[tokio::test]
async fn what_is_of_no_concern_is_ignored() {
    for path in PATHS {
        let body = match gateway_at(path) {
            Gateway::Stripe => event("evt_1", "customer.created", &json!({ "id": "cus_1", "object": "customer" })),
            Gateway::Paypal => {
                r#"{"id":"WH-1","event_type":"BILLING.PLAN.CREATED","resource":{"id":"P-1"}}"#.to_owned()
            }
            _ => continue, // All that they say is of concern.
        };
        let app = BuiltIn::start().await;
        let first = app.posted(path, body.as_str()).await;
        taken(&first, if is_applied(path) { "ignored" } else { "accepted" }, path);
        app.settled().await;
        let again = app.posted(path, body).await;
        taken(&again, if is_applied(path) { "ignored" } else { "duplicate" }, path);
        let events = app.seen("/api/webhooks/events").await;
        assert_eq!(events["data"][0]["state"], "ignored", "{path}");
        app.finish_sound().await;
    }
}

/// Of another mode than the endpoint's, or of a connected account that is not listed.
#[tokio::test]
async fn what_is_for_somebody_else_is_kept_and_ignored() {
    let with_modes = |path: &&str| matches!(gateway_at(path), Gateway::Stripe | Gateway::Paypal);
    for path in PATHS.into_iter().filter(with_modes) {
        let app = BuiltIn::with(|endpoint| Endpoint { mode: Some(Mode::Live), ..endpoint }).await;
        let (of_test, of_stranger) = match gateway_at(path) {
            Gateway::Stripe => {
                let edited = |edit: fn(&mut Value)| {
                    let mut event: Value = serde_json::from_str(&paid(path, 1)).unwrap();
                    edit(&mut event);
                    event.to_string()
                };
                let stranger = |event: &mut Value| {
                    event["livemode"] = json!(true);
                    event["account"] = json!("acct_stranger");
                };
                (paid(path, 1), Some(edited(stranger)))
            }
            _ => {
                let mut event: Value = serde_json::from_str(&paid(path, 1)).unwrap();
                event["links"] = json!([{ "rel": "self", "href": "https://api.sandbox.paypal.com/v1/x" }]);
                (event.to_string(), None)
            }
        };
        register(&app, path, 1).await;
        for body in [Some(of_test), of_stranger].into_iter().flatten() {
            taken(&app.posted(path, body.as_str()).await, "ignored", path);
            app.settled().await;
            let kept = app.seen("/api/webhooks/events").await["data"][0].clone();
            assert_eq!((&kept["state"], &kept["processed"]), (&json!("ignored"), &json!(true)), "{path}: {kept}");
        }
        assert_eq!(app.seen("/api/payments/own-1").await["payment_status"], "pending", "{path}: it moves nothing");
        app.finish_sound().await;
    }
}

#[tokio::test]
async fn what_is_not_what_the_gateway_sends_is_400() {
    let bodies = ["", "{}", "[]", "null", "not JSON", "{\"id\":", "\"text\"", "{\"status\":\"completed\"}"];
    let app = BuiltIn::start().await;
    for path in PATHS {
        for body in bodies {
            let error = app.posted(path, body).await.is_refusal(400);
            assert!(error.starts_with("not an event: "), "{path} {body:?}: {error}");
        }
    }
    assert_eq!(app.store.count_events(&Default::default()).await.unwrap(), 0);
    app.finish().await;
}

/// The same text, whatever is wrong with it: 401 where the secret is the merchant's own.
#[tokio::test]
async fn a_signature_that_is_missing_wrong_or_stale_is_400_or_401() {
    const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;
    let app = BuiltIn::start().await;
    for path in PATHS {
        let gateway = gateway_at(path);
        let (status, body) = match gateway {
            Gateway::Generic | Gateway::Microservice => (401, paid(path, 1)),
            _ => (400, paid(path, 1)),
        };
        let of_this = app.headers(gateway, body.as_bytes());
        let of_another_body = app.headers(gateway, b"{}");
        app.clock.set(NOW.plus_micros(-5 * DAY_MICROS));
        let stale = app.headers(gateway, body.as_bytes());
        app.clock.set(NOW);
        let broken = of_this.iter().map(|(name, value)| (*name, value.replace(['3', 'k', 'q'], "x"))).collect();
        let mut tries = vec![vec![], broken];
        if gateway != Gateway::Microservice {
            tries.extend([of_another_body, stale]); // A key is not tied to a body or a time.
        }
        let mut replies = Vec::new();
        for headers in tries {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let reply = app.send(post(path, &headers, body.clone())).await;
            reply.is_refusal(status);
            replies.push(reply.text);
        }
        replies.dedup();
        assert_eq!(replies.len(), 1, "{path}: {replies:?}");
        assert!(!replies[0].contains("not an event"), "{path}: nothing is read before");
    }
    assert_eq!(app.store.count_events(&Default::default()).await.unwrap(), 0);
    app.finish().await;
}

/// One gateway's valid signature opens no other gateway's door.
#[tokio::test]
async fn nobody_delivers_at_anothers_door() {
    let app = BuiltIn::start().await;
    for path in PATHS {
        for sender in PATHS.into_iter().filter(|sender| gateway_at(sender) != gateway_at(path)) {
            let body = paid(sender, 1);
            let headers = app.headers(gateway_at(sender), body.as_bytes());
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let reply = app.send(post(path, &headers, body)).await;
            assert!(matches!(reply.status.as_u16(), 400 | 401), "{sender} at {path}: {}", reply.text);
        }
    }
    assert_eq!(app.store.count_events(&Default::default()).await.unwrap(), 0);
    app.finish().await;
}

#[tokio::test]
async fn what_nobody_registered_is_404_or_a_payment() {
    for path in PATHS {
        let app = BuiltIn::start().await;
        for _ in 0..2 {
            let reply = app.posted(path, paid(path, 1)).await;
            if is_applied(path) {
                reply.is_refusal(404);
            } else {
                assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.text);
            }
            app.settled().await;
        }
        let payments = app.seen("/api/payments").await["data"].as_array().unwrap().len();
        assert_eq!(payments, usize::from(!is_applied(path)), "{path}");
        let event = app.seen("/api/webhooks/events").await["data"][0].clone();
        let state = if is_applied(path) { "waiting" } else { "applied" };
        assert_eq!((&event["state"], &event["processed"]), (&json!(state), &json!(!is_applied(path))), "{path}");
        assert_eq!(event["error_message"].is_string(), is_applied(path), "{path}: {event}");
        app.finish_sound().await;
    }
}

/// Only what confirms or fails a payment can be missed.
#[tokio::test]
async fn what_decides_nothing_is_ignored_where_nobody_asked() {
    let app = BuiltIn::start().await;
    let charge = json!({ "id": "ch_1", "object": "charge", "status": "succeeded", "payment_intent": "pi_1" });
    let reader = json!({ "id": "tmr_1", "object": "terminal.reader", "action": {
        "type": "process_payment_intent", "status": "succeeded", "process_payment_intent": { "payment_intent": "pi_1" } } });
    for (id, event_type, object) in
        [("evt_1", "charge.updated", charge), ("evt_2", "terminal.reader.action_succeeded", reader)]
    {
        taken(&app.posted(BOOKINGS, event(id, event_type, &object)).await, "ignored", event_type);
    }
    app.finish_sound().await;
}

#[tokio::test]
async fn another_method_is_405_and_too_large_is_413() {
    let app = BuiltIn::start().await;
    for path in PATHS {
        for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE] {
            for at in [path.to_owned(), format!("{path}/")] {
                let reply = app.send(Request::builder().method(&method).uri(&at).body(Body::empty()).unwrap()).await;
                reply.is_refusal(405);
                assert_eq!(reply.header("allow"), "POST", "{method} {at}");
            }
        }
        let fitting = |size: usize| format!("{}{}", paid(path, 1), " ".repeat(size - paid(path, 1).len()));
        app.posted(path, fitting(1024 * 1024 + 1)).await.is_refusal(413);
        assert!(app.posted(path, fitting(1024 * 1024)).await.status != StatusCode::PAYLOAD_TOO_LARGE, "{path}");
    }
    app.settled().await;
    app.finish().await;
}

#[tokio::test]
async fn too_many_from_there_is_429_with_a_time_to_come_again() {
    let app = BuiltIn::with(|mut endpoint| {
        endpoint.limits.of_an_address = Some(Rate::a_minute(2));
        endpoint
    })
    .await;
    for (n, path) in (1..).zip(PATHS) {
        register(&app, path, n).await;
        for _ in 0..2 {
            assert_eq!(app.posted(path, paid(path, n)).await.status, StatusCode::OK, "{path}");
        }
        let reply = app.posted(path, paid(path, n)).await;
        reply.is_refusal(429);
        assert!(reply.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 1), "{path}");
        app.clock.set(app.clock.now().plus_micros(61_000_000));
        assert_eq!(app.posted(path, paid(path, n)).await.status, StatusCode::OK, "{path}: later it is taken again");
    }
    app.finish().await;
}

/// Stored, not applied: 500 where the sender waits for it. It is kept and shown; once the
/// cause is mended the retry runs it again.
#[tokio::test]
async fn applying_that_fails_is_500_and_the_retry_succeeds() {
    for path in PATHS {
        let app = BuiltIn::start().await;
        let id = register(&app, path, 1).await;
        app.database().execute("CREATE TABLE kept AS SELECT id, facts FROM payment").await;
        app.database().execute("UPDATE payment SET facts = 'broken'").await;
        let body = paid(path, 1);
        let reply = app.posted(path, body.as_str()).await;
        if is_applied(path) {
            let error = reply.is_refusal(500);
            assert!(
                !error.contains("facts") && !error.contains("corrupt"),
                "{path}: what is inside stays there: {error}"
            );
        } else {
            taken(&reply, "accepted", path);
        }
        app.tried().await;
        let kept = app.rows("SELECT state, processed, error_message IS NOT NULL FROM webhook_events").await;
        assert_eq!(kept, [["failed", "0", "1"]], "{path}");

        app.database().execute("UPDATE payment SET facts = kept.facts FROM kept WHERE kept.id = payment.id").await;
        let retry = app.posted(path, body.as_str()).await;
        taken(&retry, if is_applied(path) { "success" } else { "accepted" }, path);
        app.settled().await;
        assert_eq!(app.seen(&format!("/api/payments/{id}")).await["payment_status"], "paid", "{path}");
        taken(&app.posted(path, body).await, "duplicate", path);
        app.finish_sound().await;
    }
}

#[tokio::test]
async fn without_a_secret_it_is_503_and_nothing_is_accepted() {
    let app = BuiltIn::with(|endpoint| Endpoint { secrets: Secrets::default(), ..endpoint }).await;
    for path in PATHS {
        let reply = app.posted(path, paid(path, 1)).await;
        let error = reply.is_refusal(503);
        assert!(error.contains("not configured"), "{path}: {error}");
        assert!(reply.header("retry-after").parse::<u64>().is_ok(), "{path}");
    }
    assert_eq!(app.store.count_events(&Default::default()).await.unwrap(), 0);
    app.finish().await;
}

/// Five seconds are as long as a sender waits; then it is told that it is stored.
#[tokio::test]
async fn what_takes_longer_than_the_sender_waits_is_202() {
    let app = BuiltIn::start().await;
    register(&app, PORTAL, 1).await;
    let later = if app.database().is_postgres() {
        "CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql
         AS 'BEGIN NEW.due_at = NEW.due_at + 60000000; RETURN NEW; END';
         CREATE TRIGGER later BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION later()"
    } else {
        "CREATE TRIGGER later AFTER INSERT ON event
         BEGIN UPDATE event SET due_at = due_at + 60000000 WHERE seq = NEW.seq; END"
    };
    app.database().execute(later).await;
    let reply = app.posted(PORTAL, paid(PORTAL, 1)).await;
    assert_eq!((reply.status, &reply.json()["status"]), (StatusCode::ACCEPTED, &json!("accepted")), "{}", reply.text);
    assert_eq!(reply.json()["received"], true);
    app.clock.set(NOW.plus_micros(61_000_000));
    app.settled().await;
    let again = taken(&app.posted(PORTAL, paid(PORTAL, 1)).await, "duplicate", PORTAL);
    assert_eq!((&again["message"], &again["payment_id"]), (&json!("Payment confirmed"), &json!("own-1")));
    app.finish_sound().await;
}

/// The same id in another API version is a further rendering: kept, and its facts merged.
#[tokio::test]
async fn another_rendering_of_an_event_is_kept_and_merged() {
    for path in [TILL, SHOP, BOOKINGS] {
        let app = BuiltIn::start().await;
        register(&app, path, 1).await;
        let rendering = |version: &str, refunds: Value| {
            let charge = json!({
                "id": "ch_1", "object": "charge", "status": "succeeded", "paid": true, "captured": true, "amount": 1500,
                "amount_captured": 1500, "amount_refunded": 400, "refunded": false, "currency": "usd",
                "payment_intent": "pi_1", "refunds": refunds,
            });
            let mut event: Value = serde_json::from_str(&event("evt_1", "charge.refunded", &charge)).unwrap();
            event["api_version"] = json!(version);
            event.to_string()
        };
        let refund =
            json!({ "id": "re_1", "object": "refund", "amount": 400, "currency": "usd", "status": "succeeded" });
        let (newer, older) = (
            rendering("2024-06-20", Value::Null),
            rendering("2020-08-27", json!({ "object": "list", "data": [refund] })),
        );
        for body in [&newer, &older, &newer, &older] {
            let reply = app.posted(path, body.as_str()).await;
            assert_eq!((reply.status, &reply.json()["event_id"]), (StatusCode::OK, &json!("evt_1")), "{}", reply.text);
            app.settled().await;
        }
        assert_eq!(app.rows("SELECT gateway_refund_id, amount FROM refunds").await, [["re_1", "400"]], "{path}");
        let stored = "SELECT count(*), (SELECT count(*) FROM event_rendering) FROM webhook_events";
        assert_eq!(app.rows(stored).await, [["1", "1"]], "{path}: one event in two renderings");
        let payment = app.seen("/api/payments/own-1").await;
        assert_eq!(
            (&payment["payment_status"], &payment["flags"]),
            (&json!("partially_refunded"), &json!([])),
            "{path}"
        );
        app.finish_sound().await;
    }
}

/// A CRC binds nothing: one transmission of PayPal's is one body.
#[tokio::test]
async fn a_transmission_with_another_body_is_refused() {
    let body = paid(SHOP_PAYPAL, 1);
    let forged =
        with_crc_of(body.as_bytes(), br#"{"id":"WH-2","event_type":"PAYMENT.CAPTURE.COMPLETED","x":""#, b"\"}");
    for (first, second, stored) in [(body.as_bytes(), &forged[..], "WH-1"), (&forged[..], body.as_bytes(), "WH-2")] {
        let app = BuiltIn::start().await;
        let headers = app.headers(Gateway::Paypal, body.as_bytes());
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let send = |body: &[u8]| app.send(post(SHOP_PAYPAL, &headers, body.to_vec()));
        taken(&send(first).await, "accepted", stored);
        let refused = send(second).await;
        refused.is_refusal(400);
        let unsigned = app.send(post(SHOP_PAYPAL, &[], body.clone())).await;
        assert_eq!(refused.text, unsigned.text, "it is told no more than any forger");
        app.settled().await;
        taken(&send(first).await, "duplicate", stored);
        assert_eq!(app.rows("SELECT event_id FROM webhook_events").await, [[stored]]);
        app.finish_sound().await;
    }
}

/// A body between `head` and `tail` that has the CRC of `wanted`. A CRC is linear: what
/// each flipped bit changes adds up, so that finding one is solving equations.
fn with_crc_of(wanted: &[u8], head: &[u8], tail: &[u8]) -> Vec<u8> {
    /// Places for a `0` or a `1`, which differ in one bit; some more than a CRC has bits.
    const PLACES: usize = 40;
    let body = |ones: u64| {
        let digits = (0..PLACES).map(|place| b'0' + (ones >> place & 1) as u8);
        head.iter().copied().chain(digits).chain(tail.iter().copied()).collect::<Vec<u8>>()
    };
    let all_zero = crc(&body(0));
    let mut rest = (crc(wanted) ^ all_zero, 0_u64);
    // Each: what it changes, and which ones do so. No two begin with the same bit.
    let mut basis: Vec<(u32, u64)> = Vec::new();
    let reduce = |basis: &[(u32, u64)], mut vector: (u32, u64)| {
        for (change, ones) in basis {
            if vector.0 ^ change < vector.0 {
                vector = (vector.0 ^ change, vector.1 ^ ones);
            }
        }
        vector
    };
    for place in 0..PLACES {
        let vector = reduce(&basis, (crc(&body(1 << place)) ^ all_zero, 1 << place));
        if vector.0 != 0 {
            basis.push(vector);
            basis.sort_by_key(|(change, _)| std::cmp::Reverse(*change));
        }
    }
    rest = reduce(&basis, rest);
    assert_eq!(rest.0, 0, "the places span every CRC");
    body(rest.1)
}

/// CRC-32, as PayPal signs it.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}
