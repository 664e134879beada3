//! Events and registrations, whichever comes first.

use serde_json::{Value, json};

use crate::it::app::TestApp;
use crate::it::gateway::{CREATES, GENERIC, GENERIC_CREATES, REJECTS, intent, path, refund, session, shop};

/// How the application and its gateway may name one payment.
struct Naming {
    name: &'static str,
    /// What is registered beside amount and currency.
    registered: Value,
    /// What the gateway sends, and where it is taken by who rejects and by who creates.
    body: String,
    at: [&'static str; 2],
}

fn namings() -> Vec<Naming> {
    let stripe = |name, registered, body| Naming { name, registered, body, at: [REJECTS, CREATES] };
    let generic = |name, registered, body: Value| Naming {
        name,
        registered,
        body: body.to_string(),
        at: [GENERIC, GENERIC_CREATES],
    };
    let paid = |more| intent("evt_1", "succeeded", "pi_1", more);
    vec![
        stripe("gateway reference", json!({"gateway_transaction_id": "pi_1"}), paid(json!({}))),
        stripe("intent as external_id", json!({"external_id": "pi_1"}), paid(json!({}))),
        stripe("intent as transaction_id", json!({"transaction_id": "pi_1"}), paid(json!({}))),
        stripe("metadata.payment_id", json!({"id": "77"}), paid(json!({"metadata": {"payment_id": "77"}}))),
        stripe("metadata.order_id", json!({}), paid(json!({"metadata": {"order_id": "6735"}}))),
        stripe(
            "metadata.transaction_id",
            json!({"transaction_id": "TXN-1"}),
            paid(json!({"metadata": {"transaction_id": "TXN-1"}})),
        ),
        stripe(
            "session as gateway reference",
            json!({"gateway_transaction_id": "cs_1"}),
            session("evt_1", "completed", "cs_1", json!({"payment_intent": "pi_1"})),
        ),
        stripe(
            "client_reference_id",
            json!({}),
            session("evt_1", "completed", "cs_1", json!({"client_reference_id": "6735"})),
        ),
        generic(
            "generic transaction_id",
            json!({"transaction_id": "TXN-1"}),
            json!({"transaction_id": "TXN-1", "status": "completed", "amount": 15.00, "currency": "USD"}),
        ),
        generic(
            "generic payment_id as external_id",
            json!({"external_id": "4711"}),
            json!({"payment_id": "4711", "status": "completed"}),
        ),
        generic("generic payment_id as id", json!({"id": "4711"}), json!({"payment_id": 4711, "status": "completed"})),
    ]
}

impl Naming {
    async fn deliver(&self, app: &TestApp, at: &str) {
        if self.at[0] == GENERIC {
            app.deliver_generic(at, &serde_json::from_str(&self.body).unwrap()).await;
        } else {
            app.deliver(at, self.body.as_str()).await;
        }
        app.settled().await;
    }

    async fn register(&self, app: &TestApp) -> String {
        let reply = app.post("/api/orders/6735/payments", &self.registered.to_string()).await;
        assert!(reply.status.is_success(), "{}: {}", self.name, reply.text);
        reply.json()["id"].as_str().unwrap().to_owned()
    }
}

async fn order(app: &TestApp) {
    app.made("/api/orders", json!({"id": "6735", "amount": 1500, "currency": "USD"})).await;
}

/// What both ways have to end in, without the ids that are made up anew.
fn state(payment: &Value, order: &Value) -> Value {
    let mut payment = payment.clone();
    for key in ["id", "events", "history", "refunds"] {
        payment.as_object_mut().unwrap().remove(key);
    }
    json!({
        "payment": payment, "order": order["payment_status"], "paid": order["amount_paid"],
        "payments": order["payments"].as_array().unwrap().len(),
    })
}

#[tokio::test]
async fn whichever_comes_first_the_end_is_the_same() {
    for naming in namings() {
        let mut ends = Vec::new();
        for (early, duplicates) in [(false, false), (false, true), (true, false), (true, true)] {
            let app = shop().await;
            order(&app).await;
            let case = format!("{}, early {early}, duplicates {duplicates}", naming.name);
            let times = if duplicates { 3 } else { 1 };
            let mut id = String::new();
            for step in [early, !early] {
                for _ in 0..times {
                    if step {
                        naming.deliver(&app, naming.at[0]).await;
                    } else {
                        id = naming.register(&app).await;
                        if naming.registered == json!({}) {
                            break; // Without a name or an id it would be another payment.
                        }
                    }
                }
            }
            let payment = app.seen(&format!("/api/payments/{id}")).await;
            assert_eq!(payment["payment_status"], "paid", "{case}: {payment:#}");
            assert_eq!((&payment["flags"], &payment["hold_reason"]), (&json!([]), &Value::Null), "{case}");
            assert_eq!(payment["amount_captured"], 1500, "{case}");
            let order = app.seen("/api/orders/6735").await;
            assert_eq!((&order["payment_status"], &order["amount_paid"]), (&json!("paid"), &json!(1500)), "{case}");
            // An event that names a registered order is a payment of it at once.
            let at_once = early && naming.registered == json!({});
            let states: &[&str] = if at_once { &["paid"] } else { &["pending", "paid"] };
            assert_eq!(app.path_of("payment", &id).await, path(states), "{case}");
            assert_eq!(app.path_of("order", "6735").await, path(&["pending", "paid"]), "{case}");
            assert_eq!(app.notices(&id).await, [("payment.paid".to_owned(), 1)], "{case}");
            assert_eq!(app.notices("6735").await, [("order.paid".to_owned(), 1)], "{case}");
            let events = app.seen("/api/webhooks/events").await;
            assert_eq!((&events["data"][0]["state"], events["data"].as_array().unwrap().len()), (&json!("applied"), 1));
            assert_eq!(payment["events"].as_array().unwrap().len(), 1, "{case}");
            ends.push((case, state(&payment, &order)));
            app.finish_sound().await;
        }
        for (case, end) in &ends[1..] {
            assert_eq!(*end, ends[0].1, "{case}");
        }
    }
}

/// An endpoint that makes payments made one: its id leads to the one that is registered.
#[tokio::test]
async fn a_derived_id_leads_to_the_registered_one() {
    for naming in namings() {
        let app = shop().await;
        let case = naming.name;
        naming.deliver(&app, naming.at[1]).await;
        let derived: Option<String> = app.seen("/api/payments").await["data"][0]["id"].as_str().map(str::to_owned);
        order(&app).await;
        let id = naming.register(&app).await;
        let payment = app.seen(&format!("/api/payments/{id}")).await;
        assert_eq!(payment["payment_status"], "paid", "{case}: {payment:#}");
        if let Some(derived) = &derived {
            assert_ne!(*derived, id, "{case}");
            assert_eq!(app.seen(&format!("/api/payments/{derived}")).await, payment, "{case}");
        }
        assert_eq!(app.seen("/api/payments").await["data"].as_array().unwrap().len(), 1, "{case}");
        assert_eq!(app.seen("/api/orders/6735").await["payment_status"], "paid", "{case}");
        // The generic gateway's statements are no payment by themselves.
        let states: &[&str] = if derived.is_some() { &["paid"] } else { &["pending", "paid"] };
        assert_eq!(app.path_of("payment", &id).await, path(states), "{case}");
        assert_eq!(app.path_of("order", "6735").await.last().unwrap().1, "paid", "{case}");
        assert_eq!(app.seen("/api/webhooks/events").await["data"][0]["state"], "applied", "{case}");
        assert_eq!(derived.is_some(), naming.at[1] == CREATES, "{case}");
        assert_eq!(app.notices(&id).await, [("payment.paid".to_owned(), 1)], "{case}");
        assert_eq!(app.notices("6735").await, [("order.paid".to_owned(), 1)], "{case}");
        naming.deliver(&app, naming.at[1]).await;
        assert_eq!(app.notices(&id).await, [("payment.paid".to_owned(), 1)], "{case}, again");
        app.finish_sound().await;
    }
}

/// A whole life that nobody asked for yet, then the registration.
#[tokio::test]
async fn a_life_that_came_early_joins_with_its_history() {
    let app = shop().await;
    for body in [
        intent("evt_1", "created", "pi_1", json!({})),
        intent("evt_2", "payment_failed", "pi_1", json!({"created": 1_763_654_500})),
        intent("evt_3", "succeeded", "pi_1", json!({})),
        refund("evt_4", "re_1", "pi_1", 500),
    ] {
        app.hears(REJECTS, &body).await;
    }
    let states = |events: &Value| -> Vec<String> {
        let rows = events["data"].as_array().unwrap().iter().rev();
        rows.map(|row| format!("{} {}", row["event_id"].as_str().unwrap(), row["state"].as_str().unwrap())).collect()
    };
    let before = states(&app.seen("/api/webhooks/events").await);
    assert_eq!(before[1..3], ["evt_2 waiting", "evt_3 waiting"], "{before:?}");
    assert_eq!(app.seen("/api/payments").await["data"], json!([]));
    order(&app).await;
    let registered = json!({"gateway_transaction_id": "pi_1", "transaction_id": "TXN-1"});
    let payment = app.made("/api/orders/6735/payments", registered).await;
    let id = payment["id"].as_str().unwrap();
    assert_eq!(payment["payment_status"], "partially_refunded", "{payment:#}");
    assert_eq!(payment["amount_refunded"], 500);
    let expected = ["evt_1 applied", "evt_2 applied", "evt_3 applied", "evt_4 applied"];
    assert_eq!(states(&app.seen("/api/webhooks/events").await), expected);
    assert_eq!(app.path_of("payment", id).await, path(&["pending", "failed", "paid", "partially_refunded"]));
    assert_eq!(app.path_of("order", "6735").await, path(&["pending", "failed", "paid", "partially_refunded"]));
    let told = ["payment.failed", "payment.paid", "payment.partially_refunded"].map(|kind| (kind.to_owned(), 1));
    assert_eq!(app.notices(id).await, told);
    app.finish_sound().await;
}

/// The order is registered after the event that names it.
#[tokio::test]
async fn an_order_that_is_registered_late_has_its_payment() {
    for at in [REJECTS, CREATES] {
        let app = shop().await;
        app.hears(at, &intent("evt_1", "succeeded", "pi_1", json!({"metadata": {"order_id": "6735"}}))).await;
        let registered = app.made("/api/orders", json!({"id": "6735", "amount": 1500, "currency": "usd"})).await;
        assert_eq!((&registered["payment_status"], &registered["amount"]), (&json!("paid"), &json!(1500)), "{at}");
        assert_eq!(registered["payments"][0]["payment_status"], "paid", "{at}");
        assert_eq!(app.path_of("order", "6735").await.last().unwrap().1, "paid", "{at}");
        assert_eq!(app.notices("6735").await, [("order.paid".to_owned(), 1)], "{at}");
        let id = registered["payments"][0]["id"].as_str().unwrap();
        assert_eq!(app.notices(id).await, [("payment.paid".to_owned(), 1)], "{at}");
        app.finish_sound().await;
    }
}

/// Eight connections register while eight others deliver.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_at_once_the_end_is_the_same() {
    for round in 0..6 {
        let app = shop().await;
        order(&app).await;
        app.key(store::KeyScope::Write, None).await;
        let body = intent("evt_1", "succeeded", "pi_1", json!({}));
        let registered = json!({"gateway_transaction_id": "pi_1", "id": "77"}).to_string();
        let register = || app.post("/api/orders/6735/payments", &registered);
        let deliver = || app.deliver(if round % 2 == 0 { REJECTS } else { CREATES }, body.as_str());
        let all = tokio::join!(
            register(),
            deliver(),
            deliver(),
            register(),
            register(),
            deliver(),
            deliver(),
            register(),
            deliver(),
            register(),
            register(),
            deliver(),
            deliver(),
            register(),
            register(),
            deliver(),
        );
        let registrations = [all.0, all.3, all.4, all.7, all.9, all.10, all.13, all.14];
        let new = registrations.iter().filter(|reply| reply.status.as_u16() == 201).count();
        assert_eq!(new, 1, "one of them made it: {registrations:#?}");
        assert!(registrations.iter().all(|reply| reply.status.is_success()));
        let payment = app.seen("/api/payments/77").await;
        assert_eq!((&payment["payment_status"], &payment["amount_captured"]), (&json!("paid"), &json!(1500)));
        assert_eq!(app.seen("/api/payments").await["data"].as_array().unwrap().len(), 1);
        assert_eq!(app.seen("/api/orders/6735").await["payment_status"], "paid");
        assert_eq!(app.path_of("payment", "77").await.last().unwrap().1, "paid");
        assert_eq!(app.path_of("order", "6735").await, path(&["pending", "paid"]), "round {round}");
        assert_eq!(app.notices("77").await, [("payment.paid".to_owned(), 1)]);
        assert_eq!(app.notices("6735").await, [("order.paid".to_owned(), 1)]);
        app.finish_sound().await;
    }
}
