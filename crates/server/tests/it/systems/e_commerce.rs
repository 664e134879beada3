//! B: eleven Stripe types, and PayPal's. 200 at once, processed after; payment and order
//! in step, with a status history; refunds, disputes; the monitoring SQL.

use domain::Timestamp;
use serde_json::{Value, json};

use super::{capture, later, paypal, said};
use crate::it::built_in::{BuiltIn, SHOP, SHOP_PAYPAL};
use crate::it::gateway::{event, intent, path, refund};

/// The charge of `pi_shop`.
fn charge(event_id: &str, event_type: &str, more: &Value) -> String {
    let mut object = json!({
        "id": "ch_shop", "object": "charge", "status": "succeeded", "amount": 1500, "amount_captured": 1500,
        "amount_refunded": 0, "captured": true, "paid": true, "refunded": false, "currency": "usd",
        "payment_intent": "pi_shop", "metadata": { "order_id": "6735" },
    });
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    event(event_id, event_type, &object)
}

fn dispute(event_id: &str, what: &str, id: &str, status: &str) -> String {
    let object = json!({
        "id": id, "object": "dispute", "amount": 1500, "currency": "usd", "status": status,
        "reason": "fraudulent", "charge": "ch_shop", "payment_intent": "pi_shop", "created": 1_763_654_500,
        "evidence_details": { "due_by": 1_764_633_600 }, "balance_transactions": [{ "id": "txn_1", "net": -3000 }],
    });
    event(event_id, &format!("charge.dispute.{what}"), &object)
}

fn of_shop(event_id: &str, what: &str, more: &Value) -> String {
    let mut all = json!({ "metadata": { "order_id": "6735" } });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    intent(event_id, what, "pi_shop", all)
}

/// The order as its page shows it: its status, what was paid and given back, and its
/// only payment's status and dispute status.
async fn order(app: &BuiltIn, id: &str) -> (String, i64, i64, String, String) {
    let order = app.seen(&format!("/api/orders/{id}")).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let payments = order["payments"].as_array().unwrap();
    assert!(payments.len() <= 1, "{order:#}");
    let (paid, refunded) = (order["amount_paid"].as_i64().unwrap(), order["amount_refunded"].as_i64().unwrap());
    let of_payment = |key: &str| payments.first().map_or_else(String::new, |payment| text(&payment[key]));
    (text(&order["payment_status"]), paid, refunded, of_payment("payment_status"), of_payment("dispute_status"))
}

#[tokio::test]
async fn eleven_types_keep_payment_and_order_in_step() {
    let app = BuiltIn::start().await;
    app.made("/api/orders", json!({"id": "6735", "amount": 1500, "currency": "USD"})).await;
    let declined = json!({ "last_payment_error": { "code": "card_declined", "charge": "ch_0" } });
    let held = json!({ "captured": false, "amount_captured": 0 });
    let updated = event(
        "evt_8",
        "refund.updated",
        &json!({"id": "re_1", "object": "refund", "status": "succeeded", "amount": 500, "currency": "usd",
                "charge": "ch_shop", "payment_intent": "pi_shop"}),
    );
    let all_back = json!({ "amount_refunded": 1500, "refunded": true });
    // What each says, and what the order and its payment are then.
    let steps = [
        (of_shop("evt_1", "requires_action", &json!({})), ("requires_action", 0, 0, "requires_action", "none")),
        (of_shop("evt_2", "processing", &json!({})), ("processing", 0, 0, "processing", "none")),
        (of_shop("evt_3", "payment_failed", &declined), ("failed", 0, 0, "failed", "none")),
        (charge("evt_4", "charge.succeeded", &held), ("authorized", 0, 0, "authorized", "none")),
        (of_shop("evt_5", "succeeded", &json!({ "latest_charge": "ch_shop" })), ("paid", 1500, 0, "paid", "none")),
        (charge("evt_6", "charge.succeeded", &json!({})), ("paid", 1500, 0, "paid", "none")),
        (
            charge("evt_7", "charge.refunded", &json!({ "amount_refunded": 500 })),
            ("partially_refunded", 1500, 500, "partially_refunded", "none"),
        ),
        (updated, ("partially_refunded", 1500, 500, "partially_refunded", "none")),
        (
            dispute("evt_9", "created", "dp_1", "needs_response"),
            ("partially_refunded", 1500, 500, "partially_refunded", "open"),
        ),
        (
            dispute("evt_10", "updated", "dp_1", "under_review"),
            ("partially_refunded", 1500, 500, "partially_refunded", "open"),
        ),
        (dispute("evt_11", "closed", "dp_1", "won"), ("partially_refunded", 1500, 500, "partially_refunded", "won")),
        (charge("evt_12", "charge.refunded", &all_back), ("refunded", 1500, 1500, "refunded", "won")),
    ];
    for (number, (body, expected)) in steps.iter().enumerate() {
        let body = later(number as i64, body);
        let at = if number % 2 == 0 { SHOP.to_owned() } else { format!("{SHOP}/") };
        let reply = app.takes(&at, &body).await;
        assert_eq!(said(&reply, &["received", "status"]), json!({"received": true, "status": "accepted"}));
        let (order_status, paid, refunded, status, disputed) = *expected;
        let expected = (order_status.to_owned(), paid, refunded, status.to_owned(), disputed.to_owned());
        assert_eq!(order(&app, "6735").await, expected, "after {body}");
    }
    let states =
        ["pending", "requires_action", "processing", "failed", "authorized", "paid", "partially_refunded", "refunded"];
    assert_eq!(app.path_of("order", "6735").await, path(&states));
    let history = "SELECT to_status, event_id FROM order_status_history WHERE order_id = '6735' ORDER BY id";
    let by = [
        ("requires_action", "evt_1"),
        ("processing", "evt_2"),
        ("failed", "evt_3"),
        ("authorized", "evt_4"),
        ("paid", "evt_5"),
        ("partially_refunded", "evt_7"),
        ("refunded", "evt_12"),
    ];
    assert_eq!(
        app.rows(history).await[1..],
        by.map(|(status, event)| [status, event]),
        "each with the event that did it"
    );

    app.made("/api/orders", json!({"id": "6736", "amount": 1500, "currency": "USD"})).await;
    let canceled = intent("evt_13", "canceled", "pi_2", json!({ "metadata": { "order_id": "6736" } }));
    app.takes(SHOP, canceled).await;
    assert_eq!(app.seen("/api/orders/6736").await["payment_status"], "canceled");
    app.finish_sound().await;
}

/// What a partial capture releases is no refund, though Stripe counts it as one.
#[tokio::test]
async fn a_partial_capture_is_no_refund() {
    let app = BuiltIn::start().await;
    let part = json!({ "amount_received": 1000, "latest_charge": "ch_shop" });
    let charged = json!({ "amount_captured": 1000, "amount_refunded": 500 });
    app.takes(SHOP, charge("evt_1", "charge.captured", &charged)).await;
    app.takes(SHOP, of_shop("evt_2", "succeeded", &part)).await;
    let paid = ("paid".to_owned(), 1000, 0, "paid".to_owned(), "none".to_owned());
    assert_eq!(order(&app, "6735").await, paid);
    // Of what was captured a part, and then the rest, goes back.
    let charged = json!({ "amount_captured": 1000, "amount_refunded": 700 });
    app.takes(SHOP, refund("evt_3", "re_1", "pi_shop", 200)).await;
    app.takes(SHOP, charge("evt_4", "charge.refunded", &charged)).await;
    let (status, _, refunded, ..) = order(&app, "6735").await;
    assert_eq!((status.as_str(), refunded), ("partially_refunded", 200));
    app.takes(SHOP, refund("evt_5", "re_2", "pi_shop", 800)).await;
    let (status, _, refunded, ..) = order(&app, "6735").await;
    assert_eq!((status.as_str(), refunded), ("refunded", 1000));
    let payments = app.seen("/api/payments").await;
    assert_eq!(payments["data"][0]["flags"], json!([]), "nothing of it is odd");
    app.finish_sound().await;
}

#[tokio::test]
async fn a_dispute_has_its_reason_amount_deadline_and_outcome() {
    for (verdict, outcome) in [("lost", "lost"), ("won", "won"), ("warning_closed", "won")] {
        let app = BuiltIn::start().await;
        app.takes(SHOP, of_shop("evt_1", "succeeded", &json!({ "latest_charge": "ch_shop" }))).await;
        app.takes(SHOP, dispute("evt_2", "created", "dp_1", "warning_needs_response")).await;
        let open = app.seen("/api/disputes").await["data"][0].clone();
        let shown =
            said(&open, &["gateway_dispute_id", "charge_id", "status", "amount", "currency", "reason", "due_by"]);
        let expected = json!({
            "gateway_dispute_id": "dp_1", "charge_id": "ch_shop", "status": "open", "amount": 1500, "currency": "USD",
            "reason": "fraudulent", "due_by": "2025-12-02T00:00:00Z",
        });
        assert_eq!(shown, expected, "{open:#}");
        // The end comes before what was in between: it stays the end.
        app.takes(SHOP, later(20, &dispute("evt_4", "closed", "dp_1", verdict))).await;
        app.takes(SHOP, later(10, &dispute("evt_3", "updated", "dp_1", "warning_under_review"))).await;
        let closed = "SELECT status, stage, net FROM disputes";
        assert_eq!(app.rows(closed).await, [[outcome, verdict, "-3000"]]);
        let of_payment = "SELECT payment_status, dispute_status, metadata->'dispute'->>'reason' FROM payments";
        assert_eq!(app.rows(of_payment).await, [["paid", outcome, "fraudulent"]], "disputes change nothing else");
        assert_eq!(
            app.path_of("payment_dispute", &payment_id(&app).await).await,
            path_from("none", &["open", outcome])
        );
        app.finish_sound().await;
    }
}

async fn payment_id(app: &BuiltIn) -> String {
    app.rows("SELECT id FROM payments").await.remove(0).remove(0)
}

fn path_from(first: &str, states: &[&str]) -> Vec<(Option<String>, String)> {
    path(&[&[first], states].concat()).split_off(1)
}

/// An approved order is not paid, a pending capture neither; what `REFUNDED` shows is the
/// refund.
#[tokio::test]
async fn paypal_pays_an_order_too() {
    let app = BuiltIn::start().await;
    app.made("/api/orders", json!({"id": "6735", "amount": 1500, "currency": "USD"})).await;
    app.made("/api/orders/6735/payments", json!({"gateway": "paypal", "gateway_transaction_id": "PPO-1"})).await;
    let unit = json!({ "reference_id": "default", "amount": { "value": "15.00", "currency_code": "USD" } });
    let approved = json!({ "id": "PPO-1", "status": "APPROVED", "purchase_units": [unit] });
    let refund = json!({
        "id": "REF-1", "status": "COMPLETED", "amount": { "value": "4.00", "currency_code": "USD" },
        "links": [{ "rel": "up", "href": "https://api.paypal.com/v2/payments/captures/CAP-1" }],
    });
    let case = |status: &str, outcome: Value| {
        json!({
            "dispute_id": "PP-D-1", "status": status, "reason": "UNAUTHORISED", "dispute_life_cycle_stage": "CHARGEBACK",
            "dispute_amount": { "value": "11.00", "currency_code": "USD" }, "dispute_outcome": outcome,
            "disputed_transactions": [{ "seller_transaction_id": "CAP-1" }], "update_time": "2025-11-20T16:00:00Z",
            "seller_response_due_date": "2025-12-02T00:00:00Z",
        })
    };
    let won = json!({ "outcome_code": "RESOLVED_SELLER_FAVOUR" });
    let steps = [
        (paypal("WH-1", "CHECKOUT.ORDER.APPROVED", approved), ("processing", 0, 0, "processing", "none")),
        (capture("WH-2", "PENDING", json!({})), ("processing", 0, 0, "processing", "none")),
        (capture("WH-3", "COMPLETED", json!({})), ("paid", 1500, 0, "paid", "none")),
        (
            paypal("WH-4", "PAYMENT.CAPTURE.REFUNDED", refund),
            ("partially_refunded", 1500, 400, "partially_refunded", "none"),
        ),
        (
            paypal("WH-5", "CUSTOMER.DISPUTE.CREATED", case("WAITING_FOR_SELLER_RESPONSE", Value::Null)),
            ("partially_refunded", 1500, 400, "partially_refunded", "open"),
        ),
        (
            paypal("WH-6", "CUSTOMER.DISPUTE.RESOLVED", case("RESOLVED", won)),
            ("partially_refunded", 1500, 400, "partially_refunded", "won"),
        ),
    ];
    for (number, (body, expected)) in steps.iter().enumerate() {
        let at = if number % 2 == 0 { SHOP_PAYPAL.to_owned() } else { format!("{SHOP_PAYPAL}/") };
        let reply = app.takes(&at, body).await;
        assert_eq!(said(&reply, &["received", "status"]), json!({"received": true, "status": "accepted"}));
        let (order_status, paid, refunded, status, disputed) = *expected;
        let expected = (order_status.to_owned(), paid, refunded, status.to_owned(), disputed.to_owned());
        assert_eq!(order(&app, "6735").await, expected, "after {body}");
        assert_eq!(app.takes(SHOP_PAYPAL, body).await["status"], "duplicate");
    }
    assert_eq!(app.rows("SELECT gateway_refund_id, amount FROM refunds").await, [["REF-1", "400"]]);
    app.finish_sound().await;
}

/// People's monitoring statements, as they have them on PostgreSQL, or their SQLite twins, on
/// the database of a server that had a good day with one failure.
#[tokio::test]
async fn the_monitoring_sql_runs_on_the_database() {
    let app = BuiltIn::start().await;
    let (seconds, a_day_ago) = if app.database().is_postgres() {
        ("SELECT extract(epoch FROM now())::bigint", "NOW() - INTERVAL '24 hours'")
    } else {
        ("SELECT unixepoch()", "datetime('now', '-24 hours')")
    };
    let now: i64 = app.database().value(seconds).await.parse().unwrap();
    app.clock.set(Timestamp::from_seconds(now - 30 * 3600));
    app.takes(SHOP, intent("evt_old", "succeeded", "pi_old", json!({}))).await;
    app.clock.set(Timestamp::from_seconds(now - 3600));
    app.takes(SHOP, of_shop("evt_1", "succeeded", &json!({}))).await;
    app.clock.set(Timestamp::from_seconds(now - 60));
    app.takes(SHOP, event("evt_2", "customer.created", &json!({"id": "cus_1", "object": "customer"}))).await;
    app.database().execute("UPDATE payment SET facts = 'broken' WHERE order_id = '6735'").await;
    app.clock.set(Timestamp::from_seconds(now - 30));
    app.posted(SHOP, refund("evt_3", "re_1", "pi_shop", 100)).await;
    app.tried().await;

    let rate = format!(
        "SELECT COUNT(*) AS total, SUM(CASE WHEN processed THEN 1 ELSE 0 END) AS successful,
                ROUND(100.0 * SUM(CASE WHEN processed THEN 1 ELSE 0 END) / COUNT(*), 2) AS success_rate
         FROM webhook_events WHERE created_at > {a_day_ago}"
    );
    assert_eq!(app.rows(&rate).await, [["3", "2", "66.67"]]);
    let newest = app.rows(
        "SELECT event_type, processed, created_at, processed_at FROM webhook_events ORDER BY created_at DESC LIMIT 10",
    ).await;
    let types: Vec<(&str, &str)> = newest.iter().map(|row| (row[0].as_str(), row[1].as_str())).collect();
    let expected = [
        ("refund.created", "0"),
        ("customer.created", "1"),
        ("payment_intent.succeeded", "1"),
        ("payment_intent.succeeded", "1"),
    ];
    assert_eq!(types, expected);
    assert!(newest[0][3] == "NULL" && newest[1..].iter().all(|row| row[3] != "NULL"), "{newest:?}");
    let troubled = app
        .rows(
            "SELECT event_type, error_message, created_at FROM webhook_events
         WHERE processed = false AND error_message IS NOT NULL ORDER BY created_at DESC",
        )
        .await;
    assert_eq!((troubled.len(), troubled[0][0].as_str()), (1, "refund.created"));
    let latest = "SELECT payment_status FROM payments ORDER BY updated_at DESC LIMIT 1";
    assert_eq!(app.rows(latest).await, [["paid"]]);
    let by_payload = "SELECT * FROM webhook_events WHERE payload->>'type' = 'payment_intent.succeeded'";
    assert_eq!(app.rows(by_payload).await.len(), 2);
    app.leave_pending().await;
}
