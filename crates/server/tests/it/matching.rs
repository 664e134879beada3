//! Which registered payment an event means, and what becomes of money that differs.

use serde_json::{Value, json};

use crate::it::app::TestApp;
use crate::it::gateway::{CREATES, GENERIC, HOLDS, REJECTS, intent, path, refund, session, shop};

async fn order(app: &TestApp, id: &str, amount: i64) {
    app.made("/api/orders", json!({"id": id, "amount": amount, "currency": "USD"})).await;
}

async fn payment(app: &TestApp, order: &str, body: Value) {
    app.made(&format!("/api/orders/{order}/payments"), body).await;
}

async fn status(app: &TestApp, id: &str) -> String {
    let payment = app.seen(&format!("/api/payments/{id}")).await;
    payment["payment_status"].as_str().unwrap().to_owned()
}

/// One event that names five registered payments, each in another way. Those that come
/// first in the contract are left out one by one.
#[tokio::test]
async fn a_payment_is_looked_up_by_the_best_of_its_names() {
    let registered = [
        ("by-transaction", json!({"id": "by-transaction", "transaction_id": "TXN-1"})),
        ("by-external", json!({"id": "by-external", "external_id": "pi_1"})),
        ("by-gateway", json!({"id": "by-gateway", "gateway_transaction_id": "pi_1"})),
        ("by-metadata", json!({"id": "by-metadata"})),
        ("by-order", json!({"id": "by-order"})),
    ];
    let metadata = json!({"transaction_id": "TXN-1", "payment_id": "by-metadata", "order_id": "of-metadata"});
    let body = intent("evt_1", "succeeded", "pi_1", json!({ "metadata": metadata }));
    for at in [REJECTS, CREATES] {
        for early in [false, true] {
            for first in 0..registered.len() {
                let app = shop().await;
                if early {
                    app.hears(at, &body).await;
                }
                for (order_id, _) in &registered[first..] {
                    let order_id = if *order_id == "by-order" { "of-metadata" } else { order_id };
                    order(&app, order_id, 1500).await;
                }
                // The best name last, so that it is not the first that is found.
                for (name, body) in registered[first..].iter().rev() {
                    if !early || *name == registered[first].0 {
                        let order_id = if *name == "by-order" { "of-metadata" } else { name };
                        payment(&app, order_id, body.clone()).await;
                    }
                }
                if !early {
                    app.hears(at, &body).await;
                }
                let case = format!("{} at {at}, early {early}", registered[first].0);
                assert_eq!(status(&app, registered[first].0).await, "paid", "{case}");
                let paid = app.seen("/api/payments?status=paid").await;
                assert_eq!(paid["data"].as_array().unwrap().len(), 1, "{case}");
                app.finish_sound().await;
            }
        }
    }
}

/// Two registered payments that one event names: whichever got it keeps it, and deriving
/// state again agrees.
#[tokio::test]
async fn what_belongs_to_one_payment_is_not_given_to_another() {
    let body =
        intent("evt_1", "succeeded", "pi_1", json!({"metadata": {"transaction_id": "TXN-1", "payment_id": "a"}}));
    for at in [REJECTS, CREATES] {
        for early in [false, true] {
            let app = shop().await;
            order(&app, "6735", 3000).await;
            if early {
                app.hears(at, &body).await;
            }
            payment(&app, "6735", json!({"id": "a", "amount": 1500})).await;
            if !early {
                app.hears(at, &body).await;
            }
            payment(&app, "6735", json!({"id": "b", "amount": 1500, "transaction_id": "TXN-1"})).await;
            let other = r#"{"id":"c","amount":1500,"gateway_transaction_id":"pi_1"}"#;
            app.post("/api/orders/6735/payments", other).await.is_problem(409, "reference_taken");
            app.post("/api/payments/b/external-pending", r#"{"external_id":"pi_1"}"#)
                .await
                .is_problem(409, "reference_taken");
            app.hears(at, &refund("evt_2", "re_1", "pi_1", 500)).await;
            app.hears(at, &body.replace("evt_1", "evt_3")).await;
            assert_eq!(status(&app, "a").await, "partially_refunded", "at {at}, early {early}");
            assert_eq!(status(&app, "b").await, "pending", "at {at}, early {early}");
            app.finish_sound().await;
        }
    }
}

#[tokio::test]
async fn a_generic_payment_id_may_be_either_name() {
    for (registered, sent) in [
        (json!({"id": "1", "transaction_id": "TXN-1"}), json!({"payment_id": "1", "transaction_id": "TXN-1"})),
        (json!({"id": "1", "transaction_id": "TXN-1"}), json!({"payment_id": "other", "transaction_id": "TXN-1"})),
        (json!({"id": "1", "external_id": "E-1"}), json!({"payment_id": "E-1", "transaction_id": "unknown"})),
        (json!({"id": "1", "external_id": "E-1"}), json!({"payment_id": "1", "transaction_id": "unknown"})),
    ] {
        let app = shop().await;
        order(&app, "6735", 1500).await;
        payment(&app, "6735", registered.clone()).await;
        let mut body = json!({"status": "completed", "amount": 15.0, "currency": "USD"});
        body.as_object_mut().unwrap().extend(sent.as_object().unwrap().clone());
        app.deliver_generic(GENERIC, &body).await;
        assert_eq!(status(&app, "1").await, "paid", "{registered} {sent}");
        app.finish_sound().await;
    }
}

/// By its order alone a payment is meant if it is the only one that nothing belongs to.
#[tokio::test]
async fn of_an_order_with_two_open_payments_neither_is_meant() {
    let app = shop().await;
    order(&app, "6735", 4500).await;
    for id in ["a", "b"] {
        payment(&app, "6735", json!({"id": id, "amount": 1500})).await;
    }
    let paid = |n: u32| {
        let metadata = json!({"metadata": {"order_id": "6735"}});
        intent(&format!("evt_{n}"), "succeeded", &format!("pi_{n}"), metadata)
    };
    app.hears(REJECTS, &paid(1)).await;
    assert_eq!((status(&app, "a").await, status(&app, "b").await), ("pending".to_owned(), "pending".to_owned()));
    let shown = app.seen("/api/orders/6735").await;
    assert_eq!(
        (shown["payments"].as_array().unwrap().len(), &shown["amount_paid"]),
        (3, &json!(1500)),
        "its own payment"
    );

    app.hears(REJECTS, &intent("evt_a", "succeeded", "pi_a", json!({"metadata": {"payment_id": "a"}}))).await;
    assert_eq!(status(&app, "a").await, "paid");
    app.hears(REJECTS, &paid(2)).await;
    assert_eq!(status(&app, "b").await, "paid", "now it is the only one");
    app.hears(REJECTS, &paid(3)).await;
    let shown = app.seen("/api/orders/6735").await;
    assert_eq!((shown["payments"].as_array().unwrap().len(), &shown["amount_paid"]), (4, &json!(6000)));
    assert_eq!((&shown["payment_status"], app.notices("6735").await.len()), (&json!("paid"), 1));
    app.finish_sound().await;
}

/// A refund of what was taken by the order follows it, whatever comes between.
#[tokio::test]
async fn what_is_said_later_of_the_same_object_goes_the_same_way() {
    let app = shop().await;
    order(&app, "6735", 1500).await;
    payment(&app, "6735", json!({"id": "a"})).await;
    app.hears(REJECTS, &intent("evt_1", "payment_failed", "pi_1", json!({"metadata": {"order_id": "6735"}}))).await;
    payment(&app, "6735", json!({"id": "b"})).await;
    app.hears(REJECTS, &intent("evt_2", "succeeded", "pi_1", json!({"metadata": {"order_id": "6735"}}))).await;
    app.hears(REJECTS, &refund("evt_3", "re_1", "pi_1", 1500)).await;
    assert_eq!((status(&app, "a").await, status(&app, "b").await), ("refunded".to_owned(), "pending".to_owned()));
    assert_eq!(app.path_of("payment", "a").await, path(&["pending", "failed", "paid", "refunded"]));
    app.finish_sound().await;
}

/// Paid otherwise than registered.
#[tokio::test]
async fn money_that_differs_is_flagged_or_held() {
    let by_reference = json!({"id": "1", "gateway_transaction_id": "pi_1"});
    let by_metadata = json!({"id": "1"});
    let named = json!({"payment_id": "1"});
    let cases = [
        ("as asked, by reference", REJECTS, &by_reference, json!({}), "paid", false),
        ("as asked, by metadata", REJECTS, &by_metadata, json!({}), "paid", false),
        ("less, by reference", REJECTS, &by_reference, json!({"amount": 500}), "paid", true),
        ("euros, by reference", REJECTS, &by_reference, json!({"currency": "eur"}), "paid", true),
        ("less, by metadata", REJECTS, &by_metadata, json!({"amount": 500}), "held", true),
        ("euros, by metadata", REJECTS, &by_metadata, json!({"currency": "eur"}), "held", true),
        ("more, by metadata", REJECTS, &by_metadata, json!({"amount": 1501}), "paid", true),
        ("less, by metadata, creating", CREATES, &by_metadata, json!({"amount": 500}), "held", true),
        ("less, by reference, creating", CREATES, &by_reference, json!({"amount": 500}), "paid", true),
        ("as asked, by reference, holding", HOLDS, &by_reference, json!({}), "paid", false),
        ("less, by reference, holding", HOLDS, &by_reference, json!({"amount": 500}), "held", true),
        ("more, by reference, holding", HOLDS, &by_reference, json!({"amount": 1501}), "held", true),
        (
            "a partial capture, by metadata",
            REJECTS,
            &by_metadata,
            json!({"amount": 1500, "amount_received": 700}),
            "paid",
            false,
        ),
    ];
    for (name, at, registered, sent, expected, flagged) in cases {
        for early in [false, true] {
            let case = format!("{name}, early {early}");
            let app = shop().await;
            let mut fields = json!({ "metadata": named });
            fields.as_object_mut().unwrap().extend(sent.as_object().unwrap().clone());
            let body = intent("evt_1", "succeeded", "pi_1", fields);
            if early {
                app.hears(at, &body).await;
            }
            order(&app, "6735", 1500).await;
            payment(&app, "6735", registered.clone()).await;
            if !early {
                app.hears(at, &body).await;
            }
            let shown = app.seen("/api/payments/1").await;
            let held = expected == "held";
            let status = if held { "pending" } else { expected };
            assert_eq!(shown["payment_status"], status, "{case}: {shown:#}");
            assert_eq!(shown["hold_reason"], if held { json!("amount_mismatch") } else { Value::Null }, "{case}");
            let flags = shown["flags"].as_array().unwrap();
            assert_eq!(flags.contains(&json!("amount_mismatch")), flagged, "{case}: {flags:?}");
            assert_eq!((&shown["amount"], &shown["currency"]), (&json!(1500), &json!("USD")), "{case}, as registered");
            let told = app.notices("1").await.contains(&("payment.paid".to_owned(), 1));
            // Who made a payment of it before it was registered has said so.
            assert_eq!(told, !held || early && at == CREATES, "{case}");
            app.finish_sound().await;
        }
    }
}

#[tokio::test]
async fn what_is_held_counts_once_it_is_released() {
    let app = shop().await;
    order(&app, "6735", 1500).await;
    payment(&app, "6735", json!({"id": "1"})).await;
    app.post("/api/payments/1/release", "").await.is_problem(409, "payment_not_held");
    app.post("/api/payments/none/release", "").await.is_problem(404, "payment_not_found");
    let less = json!({"amount": 1499, "metadata": {"payment_id": "1"}});
    app.hears(REJECTS, &intent("evt_1", "succeeded", "pi_1", less)).await;
    let held = app.seen("/api/orders/6735").await;
    assert_eq!((&held["payment_status"], &held["amount_paid"]), (&json!("pending"), &json!(0)));
    assert_eq!(app.database().value("SELECT hold_reason FROM payments").await, "amount_mismatch");

    app.post("/api/payments/1/release", r#"{"amount":1}"#).await.is_problem(400, "bad_request");
    for _ in 0..2 {
        let released = app.post("/api/payments/1/release", "").await;
        assert_eq!(released.status.as_u16(), 200, "{}", released.text);
        let released = released.json();
        assert_eq!((&released["payment_status"], &released["hold_reason"]), (&json!("paid"), &Value::Null));
        assert_eq!(released["flags"], json!(["amount_mismatch"]), "it is still seen");
    }
    // One cent is missing from what is due.
    assert_eq!(app.seen("/api/orders/6735").await["payment_status"], "pending");
    payment(&app, "6735", json!({"id": "2", "amount": 1, "gateway_transaction_id": "pi_2"})).await;
    app.hears(REJECTS, &intent("evt_2", "succeeded", "pi_2", json!({"amount": 1}))).await;
    assert_eq!(app.seen("/api/orders/6735").await["payment_status"], "paid");
    assert_eq!(app.path_of("payment", "1").await, path(&["pending", "paid"]));
    assert_eq!(
        (app.notices("1").await, app.notices("6735").await),
        (vec![("payment.paid".to_owned(), 1)], vec![("order.paid".to_owned(), 1)])
    );
    app.finish_sound().await;
}

/// A payer who paid too little pays again.
#[tokio::test]
async fn a_second_payment_of_the_right_amount_needs_no_release() {
    let app = shop().await;
    order(&app, "6735", 1500).await;
    payment(&app, "6735", json!({"id": "1", "gateway_transaction_id": "pi_1"})).await;
    app.hears(HOLDS, &intent("evt_1", "succeeded", "pi_1", json!({"amount": 100}))).await;
    assert_eq!(app.seen("/api/payments/1").await["hold_reason"], "amount_mismatch");
    app.hears(REJECTS, &intent("evt_2", "succeeded", "pi_2", json!({"metadata": {"order_id": "6735"}}))).await;
    let shown = app.seen("/api/orders/6735").await;
    assert_eq!((&shown["payment_status"], &shown["amount_paid"]), (&json!("paid"), &json!(1500)));
    app.finish_sound().await;
}

#[tokio::test]
async fn an_order_is_paid_when_its_payments_reach_what_is_due() {
    let app = shop().await;
    order(&app, "6735", 4500).await;
    for (number, amount, expected) in [(1, 1500, "pending"), (2, 2999, "pending"), (3, 1, "paid")] {
        let id = format!("{number}");
        let reference = format!("pi_{number}");
        payment(&app, "6735", json!({"id": id, "amount": amount, "gateway_transaction_id": reference})).await;
        let body = intent(&format!("evt_{number}"), "succeeded", &reference, json!({ "amount": amount }));
        app.hears(REJECTS, &body).await;
        assert_eq!(status(&app, &id).await, "paid");
        assert_eq!(app.seen("/api/orders/6735").await["payment_status"], expected, "after {number}");
    }
    app.hears(REJECTS, &refund("evt_4", "re_1", "pi_2", 2999)).await;
    assert_eq!(app.seen("/api/orders/6735").await["payment_status"], "partially_refunded");
    assert_eq!(app.path_of("order", "6735").await, path(&["pending", "paid", "partially_refunded"]));
    app.finish_sound().await;
}

/// The session names its intent: what the application knows by one it knows by the other.
#[tokio::test]
async fn what_belongs_to_a_registered_object_is_vouched_for() {
    let app = shop().await;
    order(&app, "6735", 1500).await;
    payment(&app, "6735", json!({"id": "1", "gateway_transaction_id": "cs_1"})).await;
    let less = json!({"amount": 500, "metadata": {"payment_id": "1"}});
    app.hears(REJECTS, &intent("evt_1", "succeeded", "pi_1", less)).await;
    assert_eq!(app.seen("/api/payments/1").await["hold_reason"], "amount_mismatch", "by metadata alone");
    let paid = json!({"payment_intent": "pi_1", "amount_total": 500});
    app.hears(REJECTS, &session("evt_2", "completed", "cs_1", paid)).await;
    let shown = app.seen("/api/payments/1").await;
    assert_eq!((&shown["payment_status"], &shown["hold_reason"]), (&json!("paid"), &Value::Null), "{shown:#}");
    app.finish_sound().await;
}

/// What the application says later ties together what it knows.
#[tokio::test]
async fn a_payment_waits_for_an_outside_site() {
    let app = shop().await;
    order(&app, "6735", 1500).await;
    payment(&app, "6735", json!({"id": "1", "method": "webpay"})).await;
    for _ in 0..2 {
        let reply = app.post("/api/payments/1/external-pending", r#"{"external_id":"E-1"}"#).await;
        assert_eq!(reply.status.as_u16(), 200, "{}", reply.text);
        let shown = reply.json();
        assert_eq!((&shown["external_pending"], &shown["external_id"]), (&json!(true), &json!("E-1")));
        assert_eq!((&shown["payment_status"], &shown["method"]), (&json!("pending"), &json!("webpay")));
    }
    app.post("/api/payments/none/external-pending", r#"{"external_id":"E-1"}"#)
        .await
        .is_problem(404, "payment_not_found");
    app.post("/api/payments/1/external-pending", "{}").await.is_problem(400, "bad_request");
    payment(&app, "6735", json!({"id": "2"})).await;
    app.post("/api/payments/2/external-pending", r#"{"external_id":"E-1"}"#).await.is_problem(409, "reference_taken");
    app.deliver_generic(GENERIC, &json!({"payment_id": "E-1", "status": "completed"})).await;
    let shown = app.seen("/api/payments/1").await;
    assert_eq!((&shown["payment_status"], &shown["external_pending"]), (&json!("paid"), &json!(false)));
    assert_eq!(app.path_of("payment", "1").await, path(&["pending", "paid"]));

    // The outside site was faster than the application.
    app.deliver_generic(GENERIC, &json!({"payment_id": "E-2", "status": "completed"})).await;
    app.settled().await;
    let reply = app.post("/api/payments/2/external-pending", r#"{"external_id":"E-2"}"#).await;
    assert_eq!(reply.json()["payment_status"], "paid", "{}", reply.text);
    assert_eq!(app.path_of("payment", "2").await, path(&["pending", "paid"]));
    app.finish_sound().await;
}
