//! A: Stripe events at a till update its transactions and make refund records, linked to
//! the original; event ids are unique; what failed is kept for review.

use serde_json::{Value, json};

use super::{later, said};
use crate::it::built_in::{BuiltIn, TILL};
use crate::it::gateway::{event, intent, path, refund};

fn charge(event_id: &str, event_type: &str, more: &Value) -> String {
    let mut object = json!({
        "id": "ch_till", "object": "charge", "status": "succeeded", "amount": 1500, "amount_captured": 1500,
        "amount_refunded": 0, "captured": true, "paid": true, "refunded": false, "currency": "usd",
        "payment_intent": "pi_till",
    });
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event(event_id, event_type, &object)
}

fn reader(event_id: &str, outcome: &str, failure_code: Option<&str>) -> String {
    let action = json!({
        "type": "process_payment_intent", "status": outcome, "failure_code": failure_code,
        "process_payment_intent": { "payment_intent": "pi_till" },
    });
    let object = json!({ "id": "tmr_1", "object": "terminal.reader", "livemode": false, "action": action });
    event(event_id, &format!("terminal.reader.action_{outcome}"), &object)
}

/// A card is declined at the reader, works the second time, and two refunds follow.
fn day_at_the_till() -> Vec<String> {
    let declined = json!({
        "latest_charge": "ch_declined",
        "last_payment_error": { "code": "card_declined", "message": "Your card was declined.", "charge": "ch_declined" },
    });
    vec![
        intent("evt_created", "created", "pi_till", json!({})),
        later(1, &reader("evt_declined", "failed", Some("card_declined"))),
        later(1, &intent("evt_failed", "payment_failed", "pi_till", declined)),
        later(2, &reader("evt_read", "succeeded", None)),
        later(3, &charge("evt_charged", "charge.succeeded", &json!({}))),
        later(3, &intent("evt_paid", "succeeded", "pi_till", json!({ "latest_charge": "ch_till" }))),
        later(9, &refund("evt_refund_1", "re_1", "pi_till", 400)),
        later(9, &charge("evt_refunded_1", "charge.refunded", &json!({ "amount_refunded": 400 }))),
        later(10, &refund("evt_refund_2", "re_2", "pi_till", 1100)),
        later(10, &charge("evt_refunded_2", "charge.refunded", &json!({ "amount_refunded": 1500, "refunded": true }))),
    ]
}

/// What the merchant is left with, without the ids and times of this run.
async fn left(app: &BuiltIn) -> (Value, Vec<Vec<String>>) {
    let payments = app.seen("/api/payments").await;
    let [payment] = &payments["data"].as_array().unwrap()[..] else { panic!("one payment: {payments:#}") };
    let keys = ["id", "payment_status", "amount", "amount_captured", "amount_refunded", "captured_at", "flags"];
    (said(payment, &keys), app.rows("SELECT gateway_refund_id, status, amount FROM refunds ORDER BY 1").await)
}

#[tokio::test]
async fn a_day_at_the_till() {
    let app = BuiltIn::start().await;
    let events = day_at_the_till();
    let mut statuses = Vec::new();
    for (number, body) in events.iter().enumerate() {
        let at = if number % 2 == 0 { TILL.to_owned() } else { format!("{TILL}/") };
        let reply = app.takes(&at, body).await;
        assert_eq!((&reply["received"], &reply["status"]), (&json!(true), &json!("accepted")), "{reply}");
        statuses.push(app.seen("/api/payments").await["data"][0]["payment_status"].as_str().unwrap().to_owned());
    }
    let expected = ["pending", "pending", "failed", "failed", "paid", "paid"];
    assert_eq!(statuses[..6], expected, "each event shows at once: {statuses:?}");
    assert_eq!(statuses[6..], ["partially_refunded", "partially_refunded", "refunded", "refunded"], "{statuses:?}");

    let payments = app.seen("/api/payments").await;
    let id = payments["data"][0]["id"].as_str().unwrap();
    let payment = app.seen(&format!("/api/payments/{id}")).await;
    assert_eq!((&payment["amount_captured"], &payment["failed_attempts"]), (&json!(1500), &json!(1)), "{payment:#}");
    assert_eq!(payment["captured_at"], "2025-11-20T16:00:03Z", "by the gateway's clock");
    assert_eq!(payment["flags"], json!([]));
    assert_eq!(
        app.path_of("payment", id).await,
        path(&["pending", "failed", "paid", "partially_refunded", "refunded"])
    );
    let about_it: Vec<&str> =
        payment["events"].as_array().unwrap().iter().map(|event| event["event_id"].as_str().unwrap()).collect();
    assert_eq!(about_it.len(), events.len(), "the reader's too: {about_it:?}");

    // Refunds are records of their own, linked to the original.
    let linked = format!("SELECT gateway_refund_id, amount, status FROM refunds WHERE payment_id = '{id}' ORDER BY 1");
    assert_eq!(app.rows(&linked).await, [["re_1", "400", "succeeded"], ["re_2", "1100", "succeeded"]]);
    let listed = app.seen("/api/refunds").await;
    assert!(listed["data"].as_array().unwrap().iter().all(|refund| refund["payment_id"] == id), "{listed:#}");
    let details = "SELECT gateway_response->'refunds'->1->>'amount', gateway_transaction_id FROM payments";
    assert_eq!(app.rows(details).await, [["1100", "pi_till"]]);

    // The event's id is unique: all of it once more is nothing.
    let before = left(&app).await;
    for body in &events {
        assert_eq!(app.takes(TILL, body).await["status"], "duplicate");
    }
    assert_eq!(left(&app).await, before);
    let counted = "SELECT count(*), count(DISTINCT event_id) FROM webhook_events";
    assert_eq!(app.rows(counted).await, [[events.len().to_string(), events.len().to_string()]]);
    app.finish_sound().await;
}

#[tokio::test]
async fn a_day_at_the_till_ends_the_same_in_any_order() {
    let mut events = day_at_the_till();
    let mut ends = Vec::new();
    for seed in 0..8 {
        let app = BuiltIn::start().await;
        for body in &events {
            app.posted(TILL, body.as_str()).await;
        }
        app.settled().await;
        ends.push(left(&app).await);
        app.finish_sound().await;
        fastrand::Rng::with_seed(seed).shuffle(&mut events);
    }
    assert_eq!(ends[0].0["payment_status"], "refunded");
    for (seed, end) in ends.iter().enumerate() {
        assert_eq!(*end, ends[0], "shuffle {seed}");
    }
}

/// An event that cannot be applied is kept with its reason and its body, stops no other,
/// and is applied once somebody mended what was wrong and replays it.
#[tokio::test]
async fn what_failed_is_kept_for_review() {
    let app = BuiltIn::start().await;
    app.takes(TILL, intent("evt_paid", "succeeded", "pi_till", json!({}))).await;
    app.database().execute("CREATE TABLE kept AS SELECT id, facts FROM payment").await;
    app.database().execute("UPDATE payment SET facts = 'broken'").await;
    let refunded = refund("evt_refund", "re_1", "pi_till", 400);
    let taken = app.posted(TILL, refunded.as_str()).await;
    assert_eq!(taken.json()["status"], "accepted", "it is stored, whatever comes after");
    app.posted(TILL, intent("evt_other", "succeeded", "pi_other", json!({}))).await;
    app.tried().await;

    let failed = app.get("/api/webhooks/events?state=failed").await.json();
    let ids: Vec<&Value> = failed["data"].as_array().unwrap().iter().map(|event| &event["event_id"]).collect();
    assert_eq!(ids, ["evt_refund"]);
    let shown = app.get("/api/webhooks/events/evt_refund").await.json();
    assert_eq!(shown["payload"], serde_json::from_str::<Value>(&refunded).unwrap());
    assert!(shown["error_message"].as_str().is_some_and(|why| why.contains("payment")), "{shown:#}");
    assert_eq!(app.get("/api/webhooks/events/evt_other").await.json()["state"], "applied", "it held up nothing");
    let troubled = "SELECT event_type, error_message IS NOT NULL FROM webhook_events
                    WHERE processed = false AND error_message IS NOT NULL ORDER BY created_at DESC";
    assert_eq!(app.rows(troubled).await, [["refund.created", "1"]]);

    app.database().execute("UPDATE payment SET facts = kept.facts FROM kept WHERE kept.id = payment.id").await;
    let replayed = app.post("/api/webhooks/events/evt_refund/replay", "").await;
    assert_eq!((replayed.status.as_u16(), &replayed.json()["replayed"]), (200, &json!(1)), "{}", replayed.text);
    let event = app.seen("/api/webhooks/events/evt_refund").await;
    assert_eq!((&event["state"], &event["processed"]), (&json!("applied"), &json!(true)), "{event:#}");
    assert_eq!(app.rows("SELECT status, amount FROM refunds").await, [["succeeded", "400"]]);
    app.finish_sound().await;
}
