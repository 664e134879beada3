//! Bookings: who has which days, and how that came about.

use serde_json::{Value, json};

use crate::it::app::TestApp;
use crate::it::gateway::{CREATES, GENERIC, REJECTS, intent, path, refund, session, shop};

pub async fn house() -> TestApp {
    let app = shop().await;
    app.made("/api/resources", json!({"id": "house", "name": "House by the lake"})).await;
    app
}

pub async fn book(app: &TestApp, id: &str, start: &str, end: &str, more: Value) -> Value {
    let mut body = json!({
        "id": id, "resource_id": "house", "start": start, "end": end, "amount": 1500, "currency": "USD",
    });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    app.made("/api/bookings", body).await
}

/// A checkout session about this booking.
pub fn checkout(booking: &str, what: &str, more: Value) -> String {
    let mut fields = json!({"metadata": {"booking_id": booking}, "payment_intent": format!("pi_{booking}")});
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    session(&format!("evt_{booking}_{what}"), what, &format!("cs_{booking}"), fields)
}

/// Status, status of payment, reason, and to which booking its days went.
pub async fn state(app: &TestApp, id: &str) -> [Value; 4] {
    let booking = app.seen(&format!("/api/bookings/{id}")).await;
    ["status", "payment_status", "reason", "lost_to"].map(|key| booking[key].clone())
}

pub fn confirmed() -> [Value; 4] {
    [json!("confirmed"), json!("paid"), Value::Null, Value::Null]
}

pub fn pending() -> [Value; 4] {
    [json!("pending"), json!("pending"), Value::Null, Value::Null]
}

pub fn lost_to(winner: &str) -> [Value; 4] {
    [json!("cancelled"), json!("paid"), json!("dates_unavailable"), json!(winner)]
}

#[tokio::test]
async fn a_booking_is_registered_and_shown() {
    let app = house().await;
    let body = json!({
        "id": "1", "resource_id": "house", "start": "2026-12-01", "end": "2026-12-05", "amount": 15000,
        "currency": "eur", "session_id": "cs_test_a1", "on_conflict": "refund",
    });
    let made = app.made("/api/bookings", body.clone()).await;
    let expected = json!({
        "account": "default", "id": "1", "resource_id": "house", "start": "2026-12-01", "end": "2026-12-05",
        "status": "pending", "payment_status": "pending", "reason": null, "lost_to": null, "amount": 15000,
        "currency": "EUR", "on_conflict": "refund", "session_ids": ["cs_test_a1"], "payment_ids": [],
        "created_at": "2025-11-20T16:00:00Z", "updated_at": "2025-11-20T16:00:00Z", "payments": [],
        "history": [{
            "subject": "booking", "subject_id": "1", "payment_id": "", "from": null, "to": "pending",
            "event_id": null, "at": "2025-11-20T16:00:00Z",
        }],
    });
    assert_eq!(made, expected);
    assert_eq!(app.seen("/api/bookings/1").await, expected);
    let again = app.post("/api/bookings", &body.to_string()).await;
    assert_eq!((again.status.as_u16(), again.json()), (200, expected));
    for (key, other) in [
        ("start", json!("2026-12-02")),
        ("amount", json!(1)),
        ("on_conflict", json!("cancel")),
        ("session_id", json!("cs_other")),
    ] {
        let mut differing = body.clone();
        differing[key] = other;
        app.post("/api/bookings", &differing.to_string()).await.is_problem(409, "booking_exists");
    }
    let mut other = body.clone();
    other["id"] = json!("2");
    app.post("/api/bookings", &other.to_string()).await.is_problem(409, "session_taken");
    other["resource_id"] = json!("none");
    app.post("/api/bookings", &other.to_string()).await.is_problem(404, "resource_not_found");
    app.get("/api/bookings/none").await.is_problem(404, "booking_not_found");
    app.post("/api/bookings/none/cancel", "").await.is_problem(404, "booking_not_found");
    app.post("/api/bookings/none/confirm", r#"{"session_id":"cs_9"}"#).await.is_problem(404, "booking_not_found");
    for (key, wrong, expected) in [
        ("start", json!("2026-12-05"), "end is"),
        ("start", json!("2026-02-30"), "start is"),
        ("end", json!("soon"), "end is"),
        ("end", json!(20261205), "end is"),
        ("end", Value::Null, "end is missing"),
        ("resource_id", Value::Null, "resource_id is missing"),
        ("amount", Value::Null, "amount is missing"),
        ("amount", json!(150.0), "minor unit"),
        ("currency", Value::Null, "currency is missing"),
        ("session_id", json!("cs 1"), "session_id is"),
        ("session_id", json!("x".repeat(256)), "session_id is"),
        ("on_conflict", json!("fight"), "on_conflict is one of: cancel, refund"),
        ("status", json!("confirmed"), "\"status\" is no key here"),
    ] {
        let mut body = body.clone();
        body[key] = wrong;
        let reply = app.post("/api/bookings", &body.to_string()).await;
        reply.is_problem(400, "bad_request");
        assert!(reply.json()["detail"].as_str().unwrap().contains(expected), "{key}: {}", reply.text);
    }
    let app_lists = async |path: &str| app.seen(path).await["data"].as_array().unwrap().len();
    assert_eq!(app_lists("/api/bookings").await, 1);
    assert_eq!(app_lists("/api/bookings?status=pending&resource=house").await, 1);
    assert_eq!(app_lists("/api/bookings?status=confirmed").await, 0);
    assert_eq!(app_lists("/api/bookings?resource=other").await, 0);
    app.get("/api/bookings?status=won").await.is_problem(400, "bad_request");
    app.finish_sound().await;
}

#[tokio::test]
async fn resources_are_listed_and_shown() {
    let app = house().await;
    let made = app.made("/api/resources", json!({"id": "boat", "name": "Boat"})).await;
    let expected = json!({"account": "default", "id": "boat", "name": "Boat", "created_at": "2025-11-20T16:00:00Z"});
    assert_eq!(made, expected);
    assert_eq!(app.seen("/api/resources/boat").await, expected);
    let again = app.post("/api/resources", r#"{"id":"boat","name":"Boat"}"#).await;
    assert_eq!((again.status.as_u16(), again.json()), (200, expected));
    app.post("/api/resources", r#"{"id":"boat","name":"Bigger boat"}"#).await.is_problem(409, "resource_exists");
    app.get("/api/resources/none").await.is_problem(404, "resource_not_found");
    let first = app.seen("/api/resources?limit=1").await;
    assert_eq!(first["data"][0]["id"], "boat");
    let cursor = first["next_cursor"].as_str().unwrap();
    assert_eq!(app.seen(&format!("/api/resources?limit=1&cursor={cursor}")).await["data"][0]["id"], "house");
    app.finish_sound().await;
}

#[tokio::test]
async fn days_are_available_until_somebody_paid_for_them() {
    let app = house().await;
    for (id, start, end) in [("1", "2026-12-01", "2026-12-05"), ("2", "2026-12-08", "2026-12-10")] {
        book(&app, id, start, end, json!({})).await;
    }
    let ask = "/api/resources/house/availability?from=2026-12-03&to=2026-12-12";
    let free = json!({
        "resource_id": "house", "from": "2026-12-03", "to": "2026-12-12", "available": true, "taken": [],
        "free": [{"start": "2026-12-03", "end": "2026-12-12"}],
    });
    assert_eq!(app.seen(ask).await, free);
    for id in ["1", "2"] {
        app.hears(REJECTS, &checkout(id, "completed", json!({}))).await;
    }
    let expected = json!({
        "resource_id": "house", "from": "2026-12-03", "to": "2026-12-12", "available": false,
        "taken": [{"start": "2026-12-03", "end": "2026-12-05"}, {"start": "2026-12-08", "end": "2026-12-10"}],
        "free": [{"start": "2026-12-05", "end": "2026-12-08"}, {"start": "2026-12-10", "end": "2026-12-12"}],
    });
    assert_eq!(app.seen(ask).await, expected);
    let between = app.seen("/api/resources/house/availability?from=2026-12-05&to=2026-12-08").await;
    assert_eq!(between["available"], true, "the day on which one leaves is free");
    app.get("/api/resources/none/availability?from=2026-12-05&to=2026-12-08")
        .await
        .is_problem(404, "resource_not_found");
    for wrong in ["", "?from=2026-12-05", "?from=2026-12-05&to=2026-12-05", "?from=2026-12-05&to=x", "?day=1"] {
        app.get(&format!("/api/resources/house/availability{wrong}")).await.is_problem(400, "bad_request");
    }
    app.finish_sound().await;
}

/// The first that is paid has the days; who comes after loses, and to whom is kept.
#[tokio::test]
async fn of_two_that_overlap_the_first_that_is_paid_is_confirmed() {
    for at in [REJECTS, CREATES] {
        let app = house().await;
        book(&app, "1", "2026-12-01", "2026-12-05", json!({})).await;
        book(&app, "2", "2026-12-04", "2026-12-08", json!({})).await;
        book(&app, "3", "2026-12-05", "2026-12-06", json!({})).await;
        app.hears(at, &checkout("2", "completed", json!({}))).await;
        app.hears(at, &checkout("1", "completed", json!({}))).await;
        app.hears(at, &checkout("3", "completed", json!({}))).await;
        assert_eq!(state(&app, "2").await, confirmed());
        assert_eq!(state(&app, "1").await, lost_to("2"));
        assert_eq!(state(&app, "3").await, lost_to("2"));
        assert_eq!(app.notices("2").await, [("booking.confirmed".to_owned(), 1)]);
        assert_eq!(app.notices("1").await, [("booking.cancelled".to_owned(), 1)]);
        // What comes again, or later, revises neither.
        let winner = app.seen("/api/bookings/2").await;
        let payment = winner["payment_ids"][0].as_str().unwrap().to_owned();
        assert_eq!(
            (&winner["payments"][0]["booking_id"], &winner["payments"][0]["payment_status"]),
            (&json!("2"), &json!("paid"))
        );
        app.hears(at, &checkout("1", "completed", json!({}))).await;
        app.hears(at, &refund("evt_r", "re_1", "pi_2", 1500)).await;
        assert_eq!(app.seen(&format!("/api/payments/{payment}")).await["payment_status"], "refunded");
        let [status, payment_status, ..] = state(&app, "2").await;
        assert_eq!((status, payment_status), (json!("confirmed"), json!("refunded")), "a refund frees nothing");
        assert_eq!(state(&app, "1").await, lost_to("2"));
        assert_eq!(app.path_of("booking", "1").await, path(&["pending", "cancelled"]));

        // Giving it up does.
        for _ in 0..2 {
            let reply = app.post("/api/bookings/2/cancel", "").await;
            assert_eq!((reply.status.as_u16(), &reply.json()["reason"]), (200, &json!("requested")), "{}", reply.text);
        }
        assert_eq!(app.path_of("booking", "2").await, path(&["pending", "confirmed", "cancelled"]));
        assert_eq!(
            app.seen("/api/resources/house/availability?from=2026-12-01&to=2026-12-08").await["available"],
            true
        );
        assert_eq!(state(&app, "1").await, lost_to("2"), "what is lost is lost");
        book(&app, "4", "2026-12-01", "2026-12-08", json!({})).await;
        app.hears(at, &checkout("4", "completed", json!({}))).await;
        assert_eq!(state(&app, "4").await, confirmed());
        app.finish_sound().await;
    }
}

#[tokio::test]
async fn ranges_that_touch_do_not_overlap() {
    let app = house().await;
    for (id, start, end) in
        [("1", "2026-12-01", "2026-12-05"), ("2", "2026-12-05", "2026-12-06"), ("3", "2026-11-01", "2026-12-01")]
    {
        book(&app, id, start, end, json!({})).await;
        app.hears(REJECTS, &checkout(id, "completed", json!({}))).await;
        assert_eq!(state(&app, id).await, confirmed(), "{id}");
    }
    app.made("/api/resources", json!({"id": "boat", "name": "Boat"})).await;
    book(&app, "4", "2026-12-01", "2026-12-05", json!({"resource_id": "boat"})).await;
    app.hears(REJECTS, &checkout("4", "completed", json!({}))).await;
    assert_eq!(state(&app, "4").await, confirmed(), "another resource");
    app.finish_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_paid_at_once_exactly_one_is_confirmed() {
    let app = house().await;
    let ids: Vec<String> = (1..=100).map(|number| format!("b{number}")).collect();
    for id in &ids {
        book(&app, id, "2026-12-01", "2026-12-05", json!({})).await;
    }
    let bodies: Vec<String> = ids.iter().map(|id| checkout(id, "completed", json!({}))).collect();
    let mut deliveries = tokio::task::JoinSet::new();
    for body in bodies {
        let signature = gateways::stripe::sign(&crate::it::app::secret("whsec_test"), app.clock.now(), body.as_bytes());
        let request = crate::it::app::post(REJECTS, &[(gateways::stripe::SIGNATURE_HEADER, &signature)], body);
        let router = app.router.clone();
        deliveries.spawn(async move { tower::ServiceExt::oneshot(router, request).await.unwrap().status() });
    }
    let statuses = deliveries.join_all().await;
    assert!(statuses.iter().all(|status| status.is_success()), "{statuses:?}");
    let winners = app.seen("/api/bookings?status=confirmed&limit=200").await;
    assert_eq!(winners["data"].as_array().unwrap().len(), 1);
    let winner = winners["data"][0]["id"].as_str().unwrap();
    let losers = app.seen("/api/bookings?status=cancelled&limit=200").await;
    let losers = losers["data"].as_array().unwrap();
    assert_eq!(losers.len(), 99);
    assert!(losers.iter().all(|booking| booking["lost_to"] == winner && booking["reason"] == "dates_unavailable"));
    let taken = app.seen("/api/resources/house/availability?from=2026-12-01&to=2026-12-05").await;
    assert_eq!(taken["taken"].as_array().unwrap().len(), 1);
    app.finish_sound().await;
}

/// Registered, paid and come back from the page, all at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_happens_at_once_one_is_confirmed() {
    for at in [REJECTS, CREATES, REJECTS, CREATES] {
        let owned = house().await;
        owned.key(store::KeyScope::Write, None).await;
        let app = &owned;
        let one = |number: u32| async move {
            let id = format!("b{number}");
            let wanted = json!({
                "id": id, "resource_id": "house", "start": "2026-12-01", "end": "2026-12-05", "amount": 1500,
                "currency": "USD",
            })
            .to_string();
            let paid = checkout(&id, "completed", json!({}));
            let confirm = format!(r#"{{"session_id":"cs_{id}"}}"#);
            let back = async {
                app.post("/api/bookings", &wanted).await;
                app.post(&format!("/api/bookings/{id}/confirm"), &confirm).await
            };
            let (registered, delivered, back) =
                tokio::join!(app.post("/api/bookings", &wanted), app.deliver(at, paid.as_str()), back);
            assert!(registered.status.is_success() && back.status.is_success(), "{registered:?} {back:?}");
            assert!(matches!(delivered.status.as_u16(), 200 | 404), "{delivered:?}");
        };
        tokio::join!(one(1), one(2), one(3), one(4), one(5), one(6), one(7), one(8));
        let confirmed = app.seen("/api/bookings?status=confirmed").await;
        assert_eq!(confirmed["data"].as_array().unwrap().len(), 1, "{confirmed:#}");
        let winner = confirmed["data"][0]["id"].as_str().unwrap();
        for number in (1..=8).map(|number| format!("b{number}")).filter(|id| id != winner) {
            assert_eq!(state(app, &number).await, lost_to(winner));
            assert_eq!(app.path_of("booking", &number).await, path(&["pending", "cancelled"]));
        }
        assert_eq!(app.path_of("booking", winner).await, path(&["pending", "confirmed"]));
        assert_eq!(app.notices(winner).await, [("booking.confirmed".to_owned(), 1)]);
        owned.finish_sound().await;
    }
}

/// A failure cancels; a success after it claims, if the days are still free.
#[tokio::test]
async fn a_failed_payment_cancels_until_a_later_one_succeeds() {
    let app = house().await;
    for id in ["1", "2"] {
        book(&app, id, "2026-12-01", "2026-12-05", json!({})).await;
        let failed = intent(
            &format!("evt_{id}"),
            "payment_failed",
            &format!("pi_{id}"),
            json!({"metadata": {"booking_id": id}}),
        );
        app.hears(REJECTS, &failed).await;
        let failed = [json!("cancelled"), json!("failed"), json!("payment_failed"), Value::Null];
        assert_eq!(state(&app, id).await, failed);
    }
    app.hears(REJECTS, &intent("evt_s1", "succeeded", "pi_1", json!({"metadata": {"booking_id": "1"}}))).await;
    assert_eq!(state(&app, "1").await, confirmed());
    app.hears(REJECTS, &intent("evt_s2", "succeeded", "pi_2", json!({"metadata": {"booking_id": "2"}}))).await;
    assert_eq!(state(&app, "2").await, lost_to("1"));
    assert_eq!(app.path_of("booking", "1").await, path(&["pending", "cancelled", "confirmed"]));
    app.finish_sound().await;
}

/// What the gateway said before the booking was there, by its metadata or its session.
#[tokio::test]
async fn a_booking_may_be_registered_after_it_was_paid() {
    let named = checkout("1", "completed", json!({}));
    let by_session = checkout("1", "completed", json!({"metadata": {}}));
    for at in [REJECTS, CREATES] {
        for (body, more) in [(&named, json!({})), (&by_session, json!({"session_id": "cs_1"}))] {
            let mut ends = Vec::new();
            for early in [true, false] {
                let app = house().await;
                let case = format!("at {at}, {more}, early {early}");
                if early {
                    app.hears(at, body).await;
                }
                book(&app, "1", "2026-12-01", "2026-12-05", more.clone()).await;
                if !early {
                    app.hears(at, body).await;
                }
                assert_eq!(state(&app, "1").await, confirmed(), "{case}");
                assert_eq!(app.path_of("booking", "1").await, path(&["pending", "confirmed"]), "{case}");
                assert_eq!(app.notices("1").await, [("booking.confirmed".to_owned(), 1)], "{case}");
                let shown = app.seen("/api/bookings/1").await;
                let payment_id = shown["payment_ids"][0].as_str().unwrap();
                assert_eq!(app.notices(payment_id).await, [("payment.paid".to_owned(), 1)], "{case}");
                assert_eq!(app.path_of("payment", payment_id).await, path(&["paid"]), "{case}");
                assert_eq!(app.seen("/api/webhooks/events").await["data"][0]["state"], "applied", "{case}");
                ends.push(shown["payments"].clone());
                app.hears(at, body).await;
                assert_eq!(app.path_of("booking", "1").await, path(&["pending", "confirmed"]), "{case}, again");
                app.finish_sound().await;
            }
            for end in &mut ends {
                end[0].as_object_mut().unwrap().remove("history");
            }
            assert_eq!(ends[0], ends[1], "at {at}, {more}");
        }
    }
}

/// Named only by what a payer can choose, with less money than was asked for.
#[tokio::test]
async fn a_booking_that_was_underpaid_waits_for_its_release() {
    let app = house().await;
    book(&app, "1", "2026-12-01", "2026-12-05", json!({})).await;
    app.hears(REJECTS, &checkout("1", "completed", json!({"amount_total": 1}))).await;
    assert_eq!(state(&app, "1").await, pending());
    let payment = app.seen("/api/bookings/1").await["payments"][0].clone();
    assert_eq!((&payment["hold_reason"], &payment["payment_status"]), (&json!("amount_mismatch"), &json!("pending")));
    let id = payment["id"].as_str().unwrap();
    let released = app.post(&format!("/api/payments/{id}/release"), "").await;
    assert_eq!(released.json()["payment_status"], "paid", "{}", released.text);
    assert_eq!(state(&app, "1").await, confirmed());

    // A second payment of the booking, and one that the payer vouches for.
    app.hears(REJECTS, &intent("evt_9", "succeeded", "pi_9", json!({"metadata": {"booking_id": "1"}, "amount": 1})))
        .await;
    book(&app, "2", "2026-12-05", "2026-12-08", json!({})).await;
    app.hears(REJECTS, &checkout("2", "completed", json!({"amount_total": 1}))).await;
    assert_eq!(state(&app, "2").await, pending());
    let reply = app.post("/api/bookings/2/confirm", r#"{"session_id":"cs_2"}"#).await;
    assert_eq!((reply.status.as_u16(), &reply.json()["status"]), (202, &json!("pending")), "{}", reply.text);
    assert!(reply.json()["detail"].as_str().unwrap().contains("held"), "{}", reply.text);
    // One that the application vouches for.
    book(&app, "3", "2026-12-05", "2026-12-08", json!({"session_id": "cs_3"})).await;
    app.hears(REJECTS, &checkout("3", "completed", json!({"amount_total": 1}))).await;
    assert_eq!(state(&app, "3").await, confirmed());
    assert_eq!(app.seen("/api/bookings/3").await["payments"][0]["flags"], json!(["amount_mismatch"]));
    app.finish_sound().await;
}

/// Money that was held never was the booking's, and its refund is none of it.
#[tokio::test]
async fn refunding_a_held_payment_confirms_no_booking() {
    let app = house().await;
    book(&app, "1", "2026-12-01", "2026-12-05", json!({})).await;
    let cheap = json!({"metadata": {"booking_id": "1"}, "amount": 100, "amount_received": 100});
    app.hears(REJECTS, &intent("evt_1", "succeeded", "pi_1", cheap)).await;
    assert_eq!(state(&app, "1").await, pending());
    app.hears(REJECTS, &refund("evt_part", "re_1", "pi_1", 40)).await;
    assert_eq!(state(&app, "1").await, pending(), "a part of it");
    app.hears(REJECTS, &refund("evt_rest", "re_2", "pi_1", 60)).await;
    assert_eq!(state(&app, "1").await, pending(), "all of it");
    assert_eq!(app.path_of("booking", "1").await, path(&["pending"]));
    app.finish_sound().await;
}

/// A release that comes after a second payment of the same booking was held too.
#[tokio::test]
async fn a_release_is_for_all_payments_of_the_booking() {
    let app = house().await;
    book(&app, "1", "2026-12-01", "2026-12-05", json!({})).await;
    for number in [1, 2] {
        let fields = json!({"metadata": {"booking_id": "1"}, "amount": 1});
        app.hears(REJECTS, &intent(&format!("evt_{number}"), "succeeded", &format!("pi_{number}"), fields)).await;
    }
    let shown = app.seen("/api/bookings/1").await;
    assert_eq!((&shown["status"], shown["payments"].as_array().unwrap().len()), (&json!("pending"), 2));
    let id = shown["payment_ids"][0].as_str().unwrap();
    app.post(&format!("/api/payments/{id}/release"), "").await;
    let shown = app.seen("/api/bookings/1").await;
    assert_eq!(shown["status"], "confirmed");
    assert!(
        shown["payments"].as_array().unwrap().iter().all(|payment| payment["payment_status"] == "paid"),
        "{shown:#}"
    );
    app.finish_sound().await;
}

#[tokio::test]
async fn a_booking_that_was_given_up_takes_no_days() {
    let app = house().await;
    book(&app, "1", "2026-12-01", "2026-12-05", json!({})).await;
    app.post("/api/bookings/1/cancel", "").await;
    app.hears(REJECTS, &checkout("1", "completed", json!({}))).await;
    let given_up = [json!("cancelled"), json!("paid"), json!("requested"), Value::Null];
    assert_eq!(state(&app, "1").await, given_up, "the money came all the same");
    assert_eq!(app.seen("/api/resources/house/availability?from=2026-12-01&to=2026-12-05").await["available"], true);
    app.finish_sound().await;
}

/// Any of the gateways can pay for a booking.
#[tokio::test]
async fn a_generic_payment_may_be_for_a_booking() {
    let app = house().await;
    book(&app, "1", "2026-12-01", "2026-12-05", json!({})).await;
    let said = json!({
        "payment_id": "4711", "status": "completed", "amount": 15.0, "currency": "USD", "metadata": {"booking_id": "1"},
    });
    app.deliver_generic(GENERIC, &said).await;
    assert_eq!(state(&app, "1").await, confirmed());
    assert_eq!(app.seen("/api/bookings/1").await["payments"][0]["external_id"], "4711");
    app.finish_sound().await;
}

/// The same text may be the id of an order, a payment, a booking and a resource.
#[tokio::test]
async fn things_of_one_id_are_not_mixed_up() {
    let app = shop().await;
    app.made("/api/resources", json!({"id": "house", "name": "House"})).await;
    app.made("/api/orders", json!({"id": "1", "amount": 1500, "currency": "USD"})).await;
    app.made("/api/orders/1/payments", json!({"id": "1", "gateway_transaction_id": "pi_1"})).await;
    book(&app, "1", "2026-12-01", "2026-12-05", json!({})).await;
    app.hears(REJECTS, &intent("evt_1", "succeeded", "pi_1", json!({}))).await;
    app.hears(REJECTS, &checkout("1", "completed", json!({"payment_intent": "pi_other"}))).await;
    for (path, list, expected) in [
        ("/api/orders/1", "status_history", ["order pending", "order paid"]),
        ("/api/payments/1", "history", ["payment pending", "payment paid"]),
        ("/api/bookings/1", "history", ["booking pending", "booking confirmed"]),
    ] {
        let shown = app.seen(path).await;
        let rows = shown[list].as_array().unwrap().iter();
        let told: Vec<String> =
            rows.map(|row| format!("{} {}", row["subject"].as_str().unwrap(), row["to"].as_str().unwrap())).collect();
        assert_eq!(told, expected, "{path}");
    }
    app.finish_sound().await;
}
