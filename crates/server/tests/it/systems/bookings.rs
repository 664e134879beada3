//! D: a paid checkout session confirms a booking if its dates are still free, else cancels
//! it; a failure cancels it; the redirect is a second way in, and neither confirms twice.

use serde_json::{Value, json};

use super::{later, said};
use crate::it::built_in::{BOOKINGS, BuiltIn};
use crate::it::gateway::{intent, path, session};
use crate::it::log::Log;

const TAKEN: &str = "Booking cancelled: dates no longer available";

/// A booking of the cabin for 15.00 USD.
async fn booked(app: &BuiltIn, id: &str, start: &str, end: &str) {
    let booking = json!({
        "id": id, "resource_id": "cabin", "start": start, "end": end, "amount": 1500, "currency": "USD",
        "session_id": format!("cs_{id}"),
    });
    assert_eq!(app.made("/api/bookings", booking).await["status"], "pending");
}

async fn cabin() -> BuiltIn {
    let app = BuiltIn::start().await;
    app.made("/api/resources", json!({"id": "cabin", "name": "Cabin by the lake"})).await;
    app
}

/// Of this booking's session, paid unless `more` says otherwise.
fn of_booking(what: &str, id: &str, more: &Value) -> String {
    let mut all = json!({ "payment_intent": format!("pi_{id}"), "metadata": { "booking_id": id } });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    session(&format!("evt_{what}_{id}"), what, &format!("cs_{id}"), all)
}

async fn state(app: &BuiltIn, id: &str) -> [String; 3] {
    let booking = app.seen(&format!("/api/bookings/{id}")).await;
    ["status", "payment_status", "reason"].map(|key| booking[key].as_str().unwrap_or("-").to_owned())
}

#[tokio::test]
async fn the_first_to_pay_has_the_dates_and_the_other_is_told_why_not() {
    let log = Log::collect();
    let app = cabin().await;
    booked(&app, "1", "2026-12-01", "2026-12-05").await;
    booked(&app, "2", "2026-12-04", "2026-12-08").await;
    booked(&app, "3", "2026-12-05", "2026-12-06").await; // Begins on the day on which the first one ends.

    let won = app.takes(&format!("{BOOKINGS}/"), of_booking("completed", "1", &json!({}))).await;
    let expected = json!({ "received": true, "status": "success", "message": "Booking confirmed", "booking_id": "1" });
    assert_eq!(said(&won, &["received", "status", "message", "booking_id"]), expected);
    let lost = app.takes(BOOKINGS, of_booking("completed", "2", &json!({}))).await;
    let expected = json!({ "received": true, "status": "success", "message": TAKEN, "booking_id": "2" });
    assert_eq!(said(&lost, &["received", "status", "message", "booking_id"]), expected, "200: nothing is wrong");
    assert_eq!(app.takes(BOOKINGS, of_booking("completed", "3", &json!({}))).await["message"], "Booking confirmed");

    assert_eq!(state(&app, "1").await, ["confirmed", "paid", "-"]);
    assert_eq!(state(&app, "2").await, ["cancelled", "paid", "dates_unavailable"]);
    assert_eq!(state(&app, "3").await, ["confirmed", "paid", "-"], "ranges are half-open");
    assert_eq!(app.rows("SELECT lost_to FROM bookings WHERE id = '2'").await, [["1"]]);
    let monitored = "SELECT * FROM bookings WHERE status = 'confirmed' AND payment_status = 'paid'";
    let mut monitored: Vec<String> = app.rows(monitored).await.into_iter().map(|mut row| row.remove(0)).collect();
    monitored.sort();
    assert_eq!(monitored, ["1", "3"]);

    // The lines that people already watch for.
    for (line, times) in [
        ("Booking 1 confirmed successfully via webhook", 1),
        ("Booking 2 cancelled due to availability conflict", 1),
        ("Booking 2 confirmed successfully via webhook", 0),
        ("Processing webhook event: checkout.session.completed", 3),
    ] {
        assert_eq!(log.saying(line).len(), times, "{line}");
    }
    let conflict = &log.saying("Booking 2 cancelled due to availability conflict")[0];
    assert_eq!((&conflict["event_id"], &conflict["subject"]), (&json!("evt_completed_2"), &json!("booking")));

    // Again, both are told what they were told, and nothing happens.
    for (id, message) in [("1", "Booking confirmed"), ("2", TAKEN)] {
        let again = app.takes(BOOKINGS, of_booking("completed", id, &json!({}))).await;
        assert_eq!((&again["status"], &again["message"]), (&json!("duplicate"), &json!(message)), "{again}");
    }
    assert_eq!(app.notices("1").await, [("booking.confirmed".to_owned(), 1)]);
    assert_eq!(app.notices("2").await, [("booking.cancelled".to_owned(), 1)]);
    assert_eq!(app.path_of("booking", "2").await, path(&["pending", "cancelled"]));
    app.finish_sound().await;
}

/// An asynchronous method: completed is not paid. Who pays meanwhile has the dates.
#[tokio::test]
async fn unpaid_waits_and_is_confirmed_when_the_money_comes() {
    let app = cabin().await;
    booked(&app, "1", "2026-12-01", "2026-12-05").await;
    booked(&app, "2", "2026-12-01", "2026-12-05").await;
    let unpaid = json!({ "payment_status": "unpaid" });
    for id in ["1", "2"] {
        let reply = app.takes(BOOKINGS, of_booking("completed", id, &unpaid)).await;
        assert_eq!((&reply["status"], &reply["message"]), (&json!("success"), &json!("Payment updated")), "{reply}");
        assert_eq!(state(&app, id).await, ["pending", "pending", "-"]);
    }
    let paid = later(60, &of_booking("async_payment_succeeded", "2", &json!({})));
    assert_eq!(app.takes(BOOKINGS, paid).await["message"], "Booking confirmed");
    let paid = later(61, &of_booking("async_payment_succeeded", "1", &json!({})));
    assert_eq!(app.takes(BOOKINGS, paid).await["message"], TAKEN);
    assert_eq!(state(&app, "2").await, ["confirmed", "paid", "-"]);
    assert_eq!(state(&app, "1").await, ["cancelled", "paid", "dates_unavailable"]);
    app.finish_sound().await;
}

/// Each way in which a payment can fail cancels the booking; its dates stay free, and a
/// later success on the same booking still claims them.
#[tokio::test]
async fn a_failure_cancels_and_a_later_success_claims() {
    let named = json!({ "metadata": { "booking_id": "1" } });
    let failures = [
        later(5, &of_booking("async_payment_failed", "1", &json!({}))),
        of_booking("expired", "1", &json!({ "payment_intent": null })),
        intent("evt_failed", "payment_failed", "pi_1", named.clone()),
        intent("evt_canceled", "canceled", "pi_0", named),
    ];
    for failure in failures {
        let app = cabin().await;
        booked(&app, "1", "2026-12-01", "2026-12-05").await;
        let reply = app.takes(BOOKINGS, &failure).await;
        assert_eq!(reply["message"], "Booking cancelled: payment failed", "{failure}: {reply}");
        assert_eq!(state(&app, "1").await, ["cancelled", "failed", "payment_failed"], "{failure}");
        let free = app.seen("/api/resources/cabin/availability?from=2026-12-01&to=2026-12-05").await;
        assert_eq!(free["available"], true, "{free:#}");
        let paid = intent("evt_paid", "succeeded", "pi_1", json!({ "metadata": { "booking_id": "1" } }));
        assert_eq!(app.takes(BOOKINGS, later(60, &paid)).await["message"], "Booking confirmed", "{failure}");
        assert_eq!(state(&app, "1").await, ["confirmed", "paid", "-"], "{failure}");
        assert_eq!(app.path_of("booking", "1").await, path(&["pending", "cancelled", "confirmed"]), "{failure}");
        app.finish_sound().await;
    }
}

/// The payer comes back before the webhook, after it, and again and again: one confirmation.
#[tokio::test]
async fn the_redirect_and_the_webhook_confirm_once_together() {
    let back = r#"{"session_id":"cs_1"}"#;
    for redirects_before in [0, 1, 3] {
        let log = Log::collect();
        let app = cabin().await;
        booked(&app, "1", "2026-12-01", "2026-12-05").await;
        for _ in 0..redirects_before {
            let early = app.post("/api/bookings/1/confirm", back).await;
            assert_eq!((early.status.as_u16(), &early.json()["status"]), (202, &json!("pending")), "{}", early.text);
        }
        let reply = app.takes(BOOKINGS, of_booking("completed", "1", &json!({}))).await;
        assert_eq!(reply["message"], "Booking confirmed");
        for _ in 0..3 {
            let late = app.post("/api/bookings/1/confirm", back).await;
            assert_eq!((late.status.as_u16(), &late.json()["status"]), (200, &json!("confirmed")), "{}", late.text);
        }
        assert_eq!(app.path_of("booking", "1").await, path(&["pending", "confirmed"]));
        assert_eq!(app.notices("1").await, [("booking.confirmed".to_owned(), 1)]);
        assert_eq!(log.saying("Booking 1 confirmed successfully via webhook").len(), 1);
        app.finish_sound().await;
    }
}

/// By its session, else by what the metadata names; what nobody booked is 404, until it is.
#[tokio::test]
async fn a_booking_is_found_by_session_then_by_name() {
    let app = cabin().await;
    booked(&app, "1", "2026-12-01", "2026-12-05").await;
    booked(&app, "2", "2026-12-11", "2026-12-15").await;
    let misled = of_booking("completed", "1", &json!({ "metadata": { "booking_id": "2" } }));
    assert_eq!(app.takes(BOOKINGS, misled).await["booking_id"], "1", "what the application named goes first");
    let by_name = of_booking("completed", "2", &json!({ "id": "cs_other" }));
    assert_eq!(app.takes(BOOKINGS, by_name).await["booking_id"], "2");
    let early = of_booking("completed", "3", &json!({}));
    app.posted(BOOKINGS, early.as_str()).await.is_refusal(404);
    let booking = json!({ "id": "3", "resource_id": "cabin", "start": "2026-12-05", "end": "2026-12-11",
                          "amount": 1500, "currency": "USD" });
    assert_eq!(app.made("/api/bookings", booking).await["status"], "confirmed", "what came early joins");
    let retried = app.takes(BOOKINGS, early).await;
    assert_eq!((&retried["status"], &retried["message"]), (&json!("duplicate"), &json!("Booking confirmed")));
    app.finish_sound().await;
}

/// A hundred guests pay for the same nights at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_paid_at_once_exactly_one_is_confirmed() {
    const GUESTS: usize = 100;
    let app = cabin().await;
    for guest in 0..GUESTS {
        // Not all of the same nights, but all of the night of the 4th.
        booked(&app, &format!("g{guest}"), &format!("2026-12-0{}", 1 + guest % 4), "2026-12-05").await;
    }
    let app = std::sync::Arc::new(app);
    let paying: Vec<_> = (0..GUESTS)
        .map(|guest| {
            let app = app.clone();
            let body = of_booking("completed", &format!("g{guest}"), &json!({}));
            tokio::spawn(async move { app.posted(BOOKINGS, body).await })
        })
        .collect();
    let mut told = std::collections::BTreeMap::<String, usize>::new();
    for paying in paying {
        let reply = paying.await.unwrap();
        assert_eq!(reply.status.as_u16(), 200, "{}", reply.text);
        *told.entry(reply.json()["message"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(told, [("Booking confirmed".to_owned(), 1), (TAKEN.to_owned(), GUESTS - 1)].into());
    let app = std::sync::Arc::into_inner(app).expect("all have paid");
    let ends = "SELECT status, payment_status, reason, count(*) FROM bookings GROUP BY 1, 2, 3 ORDER BY 1";
    let lost = (GUESTS - 1).to_string();
    assert_eq!(
        app.rows(ends).await,
        [["cancelled", "paid", "dates_unavailable", &lost], ["confirmed", "paid", "NULL", "1"]]
    );
    let winner = app.rows("SELECT id FROM bookings WHERE status = 'confirmed'").await.remove(0).remove(0);
    assert_eq!(app.rows("SELECT DISTINCT lost_to FROM bookings WHERE status = 'cancelled'").await, [[winner]]);
    app.finish_sound().await;
}
