//! One payment of which three gateways speak, registered by and by: whatever comes first, the
//! end is the same, and there is one row for each thing.

use serde_json::{Value, json};

use crate::it::app::NOW;
use crate::it::built_in::{BOOKINGS, BuiltIn, EXTERNAL, EXTERNAL_PAYPAL, EXTERNAL_STRIPE, PORTAL, SHOP, SHOP_PAYPAL};
use crate::it::corpus::state;
use crate::it::gateway::{event, intent, refund};

const ROUNDS: u64 = 40;

/// Either a delivery at a path, or a call of the application.
#[derive(Clone)]
enum Step {
    Delivery(&'static str, String),
    Call(&'static str, Value),
}

/// What three gateways say of the payment `own`.
fn deliveries() -> Vec<Step> {
    let generic = |status: &str, seconds: i64, more: Value| {
        let mut body = json!({ "status": status, "amount": 15.00, "currency": "USD",
                               "timestamp": NOW.plus_micros(seconds * 1_000_000).to_string() });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Step::Delivery(EXTERNAL, body.to_string())
    };
    let paypal = |path, id: &str, event_type: &str, resource: Value| {
        let body =
            json!({ "id": id, "event_type": event_type, "create_time": "2025-11-20T16:00:00Z", "resource": resource });
        Step::Delivery(path, body.to_string())
    };
    let capture = json!({ "id": "CAP-1", "status": "COMPLETED", "custom_id": "own",
                          "amount": { "value": "15.00", "currency_code": "USD" } });
    let returned = json!({ "id": "REF-1", "status": "COMPLETED", "amount": { "value": "2.00", "currency_code": "USD" },
                           "links": [{ "rel": "up", "href": "https://api.paypal.com/v2/payments/captures/CAP-1" }] });
    let dispute = json!({ "id": "dp_1", "object": "dispute", "status": "needs_response", "amount": 1500,
                          "currency": "usd", "charge": "ch_1", "payment_intent": "pi_1" });
    let portal = json!({ "paymentId": "site-77", "orderId": "6735", "status": "failed", "paymentMethod": "webpay" });
    vec![
        generic("failed", -60, json!({ "transaction_id": "TXN-1" })),
        generic("completed", -30, json!({ "transaction_id": "TXN-1", "payment_id": "site-77" })),
        Step::Delivery(EXTERNAL_STRIPE, intent("evt_1", "payment_failed", "pi_1", json!({}))),
        Step::Delivery(SHOP, intent("evt_2", "succeeded", "pi_1", json!({ "latest_charge": "ch_1" }))),
        Step::Delivery(BOOKINGS, refund("evt_3", "re_1", "pi_1", 300)),
        Step::Delivery(SHOP, event("evt_4", "charge.dispute.created", &dispute)),
        paypal(EXTERNAL_PAYPAL, "WH-1", "PAYMENT.CAPTURE.COMPLETED", capture),
        paypal(SHOP_PAYPAL, "WH-2", "PAYMENT.CAPTURE.REFUNDED", returned),
        Step::Delivery(PORTAL, portal.to_string()),
    ]
}

/// The order comes before its payment, and that before what is said of it; what the gateways
/// say comes at any time.
fn steps(rng: &mut fastrand::Rng) -> Vec<Step> {
    let calls = [
        Step::Call("/api/orders", json!({ "id": "6735", "amount": 1500, "currency": "USD" })),
        Step::Call(
            "/api/orders/6735/payments",
            json!({ "id": "own", "transaction_id": "TXN-1", "gateway_transaction_id": "pi_1" }),
        ),
        Step::Call("/api/payments/own/external-pending", json!({ "external_id": "site-77" })),
    ];
    let mut steps = deliveries();
    let again: Vec<Step> = steps.iter().filter(|_| rng.bool()).cloned().collect();
    steps.extend(again);
    rng.shuffle(&mut steps);
    let mut places: Vec<usize> = calls.iter().map(|_| rng.usize(..=steps.len())).collect();
    places.sort_unstable();
    for (place, call) in places.into_iter().zip(calls).rev() {
        steps.insert(place, call);
    }
    steps
}

#[tokio::test]
async fn three_gateways_and_the_application_in_any_order() {
    let mut ends: Vec<(u64, _, String)> = Vec::new();
    for seed in 0..ROUNDS {
        let app = BuiltIn::start().await;
        let mut told = Vec::new();
        for step in steps(&mut fastrand::Rng::with_seed(seed)) {
            match step {
                Step::Delivery(path, body) => {
                    let reply = app.posted(path, body.as_str()).await;
                    assert!([200, 404].contains(&reply.status.as_u16()), "seed {seed}: {}", reply.text);
                    told.push(format!("{path} {body} -> {}", reply.text));
                }
                Step::Call(path, body) => {
                    let reply = app.post(path, &body.to_string()).await;
                    assert!(reply.status.is_success(), "seed {seed}: {}", reply.text);
                    told.push(path.to_owned());
                }
            }
        }
        app.settled().await;
        assert_eq!(app.rows("SELECT id FROM payments").await, [["own"]], "seed {seed}: {told:#?}");
        let rows = "SELECT gateway_refund_id, count(*) FROM refunds GROUP BY 1 ORDER BY 1";
        assert_eq!(app.rows(rows).await, [["REF-1", "1"], ["re_1", "1"]], "seed {seed}: {told:#?}");
        assert_eq!(app.rows("SELECT gateway_dispute_id FROM disputes").await, [["dp_1"]], "seed {seed}: {told:#?}");
        // Two where Stripe's and PayPal's objects were payments of their own, each paid,
        // before the application registered the one that they are.
        let paid = app.rows("SELECT count(*) FROM notifications WHERE type = 'payment.paid'").await;
        assert!([["1"], ["2"]].iter().any(|count| paid == [count]), "seed {seed}: {paid:?} {told:#?}");
        ends.push((seed, state(&app).await, told.join("\n")));
        app.finish_sound().await;
    }
    let (_, expected, first) = &ends[0];
    for (seed, end, told) in &ends {
        assert_eq!(end, expected, "seed {seed}:\n{told}\n\ninstead of\n{first}");
    }
}
