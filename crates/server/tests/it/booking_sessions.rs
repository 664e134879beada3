//! Bookings and checkout sessions: whoever comes back from the gateway's page, and which
//! booking a session pays for.

use serde_json::{Value, json};

use crate::it::app::NOW;
use crate::it::bookings::{book, checkout, confirmed, house, lost_to, pending, state};
use crate::it::gateway::{CREATES, REJECTS, intent, path};

/// By SEPA and the like the page is completed first and paid days later.
#[tokio::test]
async fn a_session_that_is_completed_and_paid_later_confirms_then() {
    let app = house().await;
    book(&app, "1", "2026-12-01", "2026-12-05", json!({})).await;
    app.hears(REJECTS, &checkout("1", "completed", json!({"payment_status": "unpaid"}))).await;
    assert_eq!(state(&app, "1").await, pending());
    app.hears(REJECTS, &checkout("1", "async_payment_succeeded", json!({}))).await;
    assert_eq!(state(&app, "1").await, confirmed());

    book(&app, "2", "2026-12-05", "2026-12-08", json!({})).await;
    app.hears(REJECTS, &checkout("2", "completed", json!({"payment_status": "unpaid"}))).await;
    let day_after = (NOW.seconds() + 86_400).to_string();
    let failed = checkout("2", "async_payment_failed", json!({})).replace(&NOW.seconds().to_string(), &day_after);
    app.hears(REJECTS, &failed).await;
    let failed = [json!("cancelled"), json!("failed"), json!("payment_failed"), Value::Null];
    assert_eq!(state(&app, "2").await, failed);
    app.finish_sound().await;
}

/// The payer comes back from the gateway's page before, or after, its webhook.
#[tokio::test]
async fn coming_back_from_the_page_confirms_once() {
    let confirm = r#"{"session_id":"cs_1"}"#;
    // Nothing but the session says which booking is meant.
    let body = checkout("1", "completed", json!({"metadata": {}}));
    for at in [REJECTS, CREATES] {
        for webhook_first in [true, false] {
            let app = house().await;
            let case = format!("at {at}, webhook first {webhook_first}");
            book(&app, "1", "2026-12-01", "2026-12-05", json!({})).await;
            if webhook_first {
                app.hears(at, &body).await;
                assert_eq!(state(&app, "1").await, pending(), "{case}");
            }
            let reply = app.post("/api/bookings/1/confirm", confirm).await;
            let shown = reply.json();
            if webhook_first {
                assert_eq!((reply.status.as_u16(), &shown["status"]), (200, &json!("confirmed")), "{case}: {shown:#}");
                assert_eq!(shown.get("detail"), None);
            } else {
                assert_eq!((reply.status.as_u16(), &shown["status"]), (202, &json!("pending")), "{case}: {shown:#}");
                assert!(shown["detail"].as_str().unwrap().contains("webhook is awaited"), "{shown:#}");
                app.hears(at, &body).await;
            }
            assert_eq!(state(&app, "1").await, confirmed(), "{case}");
            for _ in 0..2 {
                let again = app.post("/api/bookings/1/confirm", confirm).await;
                assert_eq!((again.status.as_u16(), &again.json()["status"]), (200, &json!("confirmed")), "{case}");
                app.hears(at, &body).await;
            }
            assert_eq!(app.path_of("booking", "1").await, path(&["pending", "confirmed"]), "{case}");
            assert_eq!(app.notices("1").await, [("booking.confirmed".to_owned(), 1)], "{case}");
            book(&app, "2", "2026-12-01", "2026-12-05", json!({})).await;
            app.post("/api/bookings/2/confirm", confirm).await.is_problem(409, "session_taken");
            for wrong in ["{}", r#"{"session_id":"../pi_1"}"#, r#"{"session_id":7}"#, r#"{"session":"cs_1"}"#, ""] {
                app.post("/api/bookings/1/confirm", wrong).await.is_problem(400, "bad_request");
            }
            app.finish_sound().await;
        }
    }
}

#[tokio::test]
async fn who_comes_back_too_late_is_told() {
    let app = house().await;
    book(&app, "1", "2026-12-01", "2026-12-05", json!({})).await;
    book(&app, "2", "2026-12-01", "2026-12-05", json!({})).await;
    app.hears(REJECTS, &checkout("1", "completed", json!({}))).await;
    app.hears(REJECTS, &checkout("2", "completed", json!({"metadata": {}}))).await;
    let reply = app.post("/api/bookings/2/confirm", r#"{"session_id":"cs_2"}"#).await;
    let shown = reply.json();
    assert_eq!((reply.status.as_u16(), &shown["status"], &shown["lost_to"]), (200, &json!("cancelled"), &json!("1")));
    assert_eq!(state(&app, "2").await, lost_to("1"));
    app.finish_sound().await;
}

/// The session comes from the payer's browser: what it paid is held when it is less.
#[tokio::test]
async fn who_comes_back_with_a_session_of_less_is_not_confirmed() {
    for at in [REJECTS, CREATES] {
        for webhook_first in [true, false] {
            let app = house().await;
            let case = format!("at {at}, webhook first {webhook_first}");
            book(&app, "1", "2026-12-01", "2026-12-05", json!({})).await;
            let cheap = checkout("1", "completed", json!({"metadata": {}, "amount_total": 100}));
            if webhook_first {
                app.hears(at, &cheap).await;
            }
            let reply = app.post("/api/bookings/1/confirm", r#"{"session_id":"cs_1"}"#).await;
            assert_eq!((reply.status.as_u16(), &reply.json()["status"]), (202, &json!("pending")), "{case}");
            if !webhook_first {
                app.hears(at, &cheap).await;
            }
            assert_eq!(state(&app, "1").await, pending(), "{case}");
            let payment = app.seen("/api/bookings/1").await["payments"][0].clone();
            assert_eq!(payment["hold_reason"], "amount_mismatch", "{case}: {payment:#}");
            // The application says what it was for: then it is not the booking's.
            app.made("/api/orders", json!({"id": "9", "amount": 100, "currency": "USD"})).await;
            let paid = app.made("/api/orders/9/payments", json!({"id": "p", "gateway_transaction_id": "cs_1"})).await;
            assert_eq!((&paid["payment_status"], &paid["booking_id"]), (&json!("paid"), &Value::Null), "{case}");
            assert_eq!(state(&app, "1").await, pending(), "{case}");
            assert_eq!(app.seen("/api/bookings/1").await["payment_ids"], json!([]), "{case}");
            app.finish_sound().await;
        }
    }
}

/// What paid for one thing pays for no other, whoever says so.
#[tokio::test]
async fn a_session_of_another_payment_is_refused() {
    for at in [REJECTS, CREATES] {
        let app = house().await;
        book(&app, "1", "2026-12-01", "2026-12-05", json!({})).await;
        book(&app, "2", "2026-12-08", "2026-12-10", json!({})).await;
        app.hears(at, &checkout("1", "completed", json!({}))).await;
        assert_eq!(state(&app, "1").await, confirmed());
        app.hears(at, &checkout("none", "completed", json!({}))).await;
        app.hears(at, &checkout("of_order", "completed", json!({"metadata": {"order_id": "5"}}))).await;
        app.hears(at, &checkout("of_payment", "completed", json!({"metadata": {"payment_id": "p"}}))).await;
        for session in ["cs_1", "cs_none", "cs_of_order", "cs_of_payment"] {
            let body = json!({"session_id": session}).to_string();
            app.post("/api/bookings/2/confirm", &body).await.is_problem(409, "session_taken");
        }
        let third = json!({
            "id": "3", "resource_id": "house", "start": "2026-12-08", "end": "2026-12-10", "amount": 1500,
            "currency": "USD", "session_id": "cs_1",
        });
        app.post("/api/bookings", &third.to_string()).await.is_problem(409, "session_taken");
        app.get("/api/bookings/3").await.is_problem(404, "booking_not_found");
        let untouched = app.seen("/api/bookings/2").await;
        assert_eq!((&untouched["session_ids"], &untouched["payment_ids"]), (&json!([]), &json!([])), "at {at}");
        assert_eq!(state(&app, "1").await, confirmed());
        app.finish_sound().await;
    }
}

/// The payer may come back before anything is known of the session.
#[tokio::test]
async fn a_session_that_turns_out_to_be_for_something_else_is_not_linked() {
    for (metadata, registered) in [
        (json!({"booking_id": "1"}), json!({"id": "p"})),
        (json!({"order_id": "5"}), json!({"id": "p"})),
        (json!({}), json!({"id": "p", "gateway_transaction_id": "cs_1"})),
    ] {
        let app = house().await;
        book(&app, "1", "2026-12-01", "2026-12-05", json!({})).await;
        book(&app, "2", "2026-12-08", "2026-12-10", json!({"amount": 50_000})).await;
        let reply = app.post("/api/bookings/2/confirm", r#"{"session_id":"cs_1"}"#).await;
        assert_eq!(reply.status.as_u16(), 202, "{}", reply.text);
        app.made("/api/orders", json!({"id": "5", "amount": 1500, "currency": "USD"})).await;
        app.made("/api/orders/5/payments", registered).await;
        app.hears(REJECTS, &checkout("1", "completed", json!({"metadata": metadata}))).await;
        assert_eq!(state(&app, "2").await, pending(), "{metadata}");
        assert_eq!(app.seen("/api/bookings/2").await["payment_ids"], json!([]), "{metadata}");
        app.finish_sound().await;
    }
}

/// The session says nothing, and the payment intent after it what is meant.
#[tokio::test]
async fn a_registered_payment_takes_what_a_payer_tied_to_a_booking() {
    let app = house().await;
    book(&app, "1", "2026-12-01", "2026-12-05", json!({})).await;
    app.made("/api/orders", json!({"id": "5", "amount": 100, "currency": "USD"})).await;
    app.made("/api/orders/5/payments", json!({"id": "p"})).await;
    app.post("/api/bookings/1/confirm", r#"{"session_id":"cs_1"}"#).await;
    app.hears(REJECTS, &checkout("1", "completed", json!({"metadata": {}, "amount_total": 100}))).await;
    let fields = json!({"metadata": {"payment_id": "p"}, "amount": 100, "amount_received": 100});
    app.hears(REJECTS, &intent("evt_2", "succeeded", "pi_1", fields)).await;
    assert_eq!(app.seen("/api/payments/p").await["payment_status"], "paid");
    assert_eq!(state(&app, "1").await, pending());
    app.finish_sound().await;
}
