//! C: a payment is made, marked pending at an external site, and confirmed by that site's
//! webhook: generic, Stripe or PayPal.

use serde_json::{Value, json};

use super::{capture, is, said};
use crate::it::built_in::{BuiltIn, EXTERNAL, EXTERNAL_PAYPAL, EXTERNAL_STRIPE};
use crate::it::gateway::{intent, path, session};
use crate::it::log::Log;

/// An order of 150.00 USD with one payment that waits for a site outside.
async fn waiting(app: &BuiltIn, registered: Value) -> String {
    app.made("/api/orders", json!({"id": "EXT-1", "amount": 15000, "currency": "USD"})).await;
    let payment = app.made("/api/orders/EXT-1/payments", registered).await;
    let id = payment["id"].as_str().unwrap().to_owned();
    let marked = app.post(&format!("/api/payments/{id}/external-pending"), r#"{"external_id":"site-77"}"#).await;
    assert_eq!(marked.status.as_u16(), 200, "{}", marked.text);
    let marked = said(&marked.json(), &["payment_status", "external_pending", "external_id"]);
    assert_eq!(marked, json!({"payment_status": "pending", "external_pending": true, "external_id": "site-77"}));
    id
}

/// SPEC.md's generic payload.
fn completed(more: &Value) -> String {
    let mut payload = json!({
        "payment_id": "site-77", "transaction_id": "TXN-123456", "status": "completed", "amount": 150.00,
        "currency": "USD", "metadata": {},
    });
    payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    payload.to_string()
}

async fn ends_paid(app: BuiltIn, id: &str) {
    let order = app.seen("/api/orders/EXT-1").await;
    assert_eq!((&order["payment_status"], &order["amount_paid"]), (&json!("paid"), &json!(15000)), "{order:#}");
    assert_eq!(app.path_of("payment", id).await, path(&["pending", "paid"]));
    assert_eq!(app.path_of("order", "EXT-1").await, path(&["pending", "paid"]));
    assert_eq!(app.notices(id).await, [("payment.paid".to_owned(), 1)]);
    assert_eq!(app.rows("SELECT count(*) FROM payments").await, [["1"]]);
    app.finish_sound().await;
}

/// The same payment can be confirmed by whichever of the three the site uses, and each
/// tells its sender what came of it, the first time and on a retry.
#[tokio::test]
async fn each_of_the_three_confirms_the_payment_that_waits() {
    let unit = json!({ "amount": { "value": "150.00", "currency_code": "USD" }, "custom_id": "", "invoice_id": "" });
    let cents = json!({ "amount": 15000 });
    let named = |key: &str, name: &str| json!({ key: name, "amount": 15000 });
    let on_session = json!({ "amount_total": 15000, "payment_intent": "pi_1", "client_reference_id": "EXT-1" });
    let of_transaction = completed(&json!({ "payment_id": null }));
    let ways: [(&str, Value, &str, String); 9] = [
        ("generic, by both", named("transaction_id", "TXN-123456"), EXTERNAL, completed(&json!({}))),
        ("generic, by transaction_id", named("transaction_id", "TXN-123456"), EXTERNAL, of_transaction),
        ("generic, by external_id", cents.clone(), EXTERNAL, completed(&json!({ "transaction_id": null }))),
        ("generic, as text", cents.clone(), EXTERNAL, completed(&json!({ "amount": "150.00" }))),
        (
            "generic, without an amount",
            cents.clone(),
            EXTERNAL,
            r#"{"payment_id":"site-77","status":"completed"}"#.into(),
        ),
        (
            "Stripe, by intent",
            named("gateway_transaction_id", "pi_1"),
            EXTERNAL_STRIPE,
            intent("evt_1", "succeeded", "pi_1", cents.clone()),
        ),
        ("Stripe, by order", cents.clone(), EXTERNAL_STRIPE, session("evt_1", "completed", "cs_1", on_session)),
        (
            "PayPal, by order",
            named("gateway_transaction_id", "PPO-1"),
            EXTERNAL_PAYPAL,
            capture("WH-1", "COMPLETED", unit.clone()),
        ),
        (
            "PayPal, by capture",
            named("gateway_transaction_id", "CAP-1"),
            EXTERNAL_PAYPAL,
            capture("WH-1", "COMPLETED", unit),
        ),
    ];
    for (number, (way, registered, endpoint, body)) in ways.into_iter().enumerate() {
        let app = BuiltIn::start().await;
        let id = waiting(&app, registered).await;
        let slash = if number % 2 == 0 { "/" } else { "" };
        let reply = app.posted(&format!("{endpoint}{slash}"), body.as_str()).await;
        let first = reply.json();
        let expected = json!({ "received": true, "status": "success", "message": "Payment confirmed",
                               "payment_id": id, "payment_status": "paid", "order_id": "EXT-1" });
        let keys = ["received", "status", "message", "payment_id", "payment_status", "order_id"];
        assert_eq!((reply.status.as_u16(), said(&first, &keys)), (200, expected), "{way}: {first}");
        if endpoint == EXTERNAL && body.contains("TXN-123456") {
            assert_eq!(first["transaction_id"], "TXN-123456", "{way}");
        }
        assert!(first["event_id"].as_str().is_some_and(|id| !id.is_empty()), "{way}: {first}");
        let mut again = first.clone();
        again["status"] = json!("duplicate");
        is(&app.posted(endpoint, body).await, 200, &again);
        ends_paid(app, &id).await;
    }
}

/// The amount is a decimal and never a float in between; another one than was registered
/// is a warning, a flag, and not more, since the application named the payment itself.
#[tokio::test]
async fn another_amount_is_flagged_and_warned_of() {
    let cases = [
        ("150.00", "USD", false, "paid"),
        ("150", "USD", false, "paid"),
        ("1.5e2", "USD", false, "paid"),
        ("150.01", "USD", true, "paid"),
        ("100.00", "USD", true, "pending"),
        ("150.00", "EUR", true, "pending"),
    ];
    for (amount, currency, differs, order_status) in cases {
        let log = Log::collect();
        let app = BuiltIn::start().await;
        let id = waiting(&app, json!({ "transaction_id": "TXN-123456" })).await;
        let body = completed(&json!({ "currency": currency })).replace("150.0", amount);
        let reply = app.takes(EXTERNAL, body).await;
        assert_eq!(reply["message"], "Payment confirmed", "{amount} {currency}: {reply}");
        let payment = app.seen(&format!("/api/payments/{id}")).await;
        let flags = if differs { json!(["amount_mismatch"]) } else { json!([]) };
        assert_eq!((&payment["payment_status"], &payment["flags"]), (&json!("paid"), &flags), "{amount} {currency}");
        assert_eq!(payment["captured_currency"], currency, "in what was paid: {payment:#}");
        let warnings: Vec<Value> = log.lines().into_iter().filter(|line| line["flag"] == "amount_mismatch").collect();
        assert_eq!(warnings.len(), usize::from(differs), "{amount} {currency}: {warnings:?}");
        assert!(warnings.iter().all(|line| line["level"] == "WARN" && line["payment_id"] == id), "{warnings:?}");
        let order = app.seen("/api/orders/EXT-1").await;
        assert_eq!(order["payment_status"], order_status, "{amount} {currency}: {order:#}");
        app.finish_sound().await;
    }
}

/// What a payer can choose confirms nothing for less: it is held until somebody releases it.
#[tokio::test]
async fn less_under_a_name_that_the_payer_chose_is_held() {
    let by_metadata = |amount: i64, currency: &str| {
        intent(
            "evt_1",
            "succeeded",
            "pi_x",
            json!({ "amount": amount, "currency": currency, "metadata": { "payment_id": "77" } }),
        )
    };
    let by_custom_id = |value: &str| {
        let amount = json!({ "value": value, "currency_code": "USD" });
        capture("WH-1", "COMPLETED", json!({ "amount": amount, "custom_id": "77" }))
    };
    let cases = [
        (EXTERNAL_STRIPE, by_metadata(15000, "usd"), "paid"),
        (EXTERNAL_STRIPE, by_metadata(16000, "usd"), "paid"),
        (EXTERNAL_STRIPE, by_metadata(100, "usd"), "pending"),
        (EXTERNAL_STRIPE, by_metadata(15000, "jpy"), "pending"),
        (EXTERNAL_PAYPAL, by_custom_id("150.00"), "paid"),
        (EXTERNAL_PAYPAL, by_custom_id("1.00"), "pending"),
    ];
    for (endpoint, body, status) in cases {
        let app = BuiltIn::start().await;
        waiting(&app, json!({ "id": "77" })).await;
        let reply = app.takes(endpoint, &body).await;
        let payment = app.seen("/api/payments/77").await;
        assert_eq!(payment["payment_status"], status, "{body}");
        assert_eq!(app.seen("/api/orders/EXT-1").await["payment_status"], status, "{body}");
        if status == "pending" {
            assert!(reply["message"].as_str().unwrap().starts_with("Payment held"), "{reply}");
            assert_eq!(payment["hold_reason"], "amount_mismatch");
            assert_eq!(app.notices("77").await, []);
            let released = app.post("/api/payments/77/release", "").await;
            assert_eq!(
                said(&released.json(), &["payment_status", "hold_reason"]),
                json!({ "payment_status": "paid", "hold_reason": null }),
                "{}",
                released.text
            );
        }
        assert_eq!(app.notices("77").await, [("payment.paid".to_owned(), 1)], "{body}");
        app.finish_sound().await;
    }
}

/// 404 for what nobody registered; it is kept, and joins the payment once that is there.
#[tokio::test]
async fn what_nobody_registered_is_404_until_it_is() {
    let stripe = intent("evt_1", "succeeded", "pi_1", json!({ "amount": 15000 }));
    let paypal = capture("WH-1", "COMPLETED", json!({ "amount": { "value": "150.00", "currency_code": "USD" } }));
    let ways = [
        (EXTERNAL, completed(&json!({})), json!({ "transaction_id": "TXN-123456" })),
        (EXTERNAL_STRIPE, stripe, json!({ "gateway_transaction_id": "pi_1" })),
        (EXTERNAL_PAYPAL, paypal, json!({ "gateway_transaction_id": "PPO-1" })),
    ];
    for (endpoint, body, registered) in ways {
        let app = BuiltIn::start().await;
        for _ in 0..2 {
            let error = app.posted(endpoint, body.as_str()).await.is_refusal(404);
            assert!(error.contains("registered"), "{error}");
        }
        let kept = "SELECT state, processed, error_message IS NOT NULL FROM webhook_events";
        assert_eq!(app.rows(kept).await, [["waiting", "0", "1"]], "{endpoint}: kept once, and it says so");
        assert_eq!(app.seen("/api/payments").await["data"], json!([]));
        app.made("/api/orders", json!({"id": "EXT-1", "amount": 15000, "currency": "USD"})).await;
        let payment = app.made("/api/orders/EXT-1/payments", registered).await;
        assert_eq!(payment["payment_status"], "paid", "joined at once: {payment:#}");
        let id = payment["id"].as_str().unwrap();
        let retried = app.posted(endpoint, body.as_str()).await;
        let keys = ["received", "status", "message", "payment_id"];
        let expected =
            json!({ "received": true, "status": "duplicate", "message": "Payment confirmed", "payment_id": id });
        assert_eq!((retried.status.as_u16(), said(&retried.json(), &keys)), (200, expected));
        assert_eq!(app.rows(kept).await, [["applied", "1", "0"]]);
        assert_eq!(app.notices(id).await, [("payment.paid".to_owned(), 1)]);
        assert_eq!(app.path_of("order", "EXT-1").await, path(&["pending", "paid"]));
        app.finish_sound().await;
    }
}

#[tokio::test]
async fn a_failure_fails_and_a_later_success_confirms() {
    let app = BuiltIn::start().await;
    let id = waiting(&app, json!({ "transaction_id": "TXN-123456" })).await;
    let failed = completed(&json!({ "status": "failed", "error": { "code": "declined", "message": "No." } }));
    let reply = app.takes(EXTERNAL, &failed).await;
    assert_eq!((&reply["status"], &reply["message"]), (&json!("success"), &json!("Payment failed")), "{reply}");
    let payment = app.seen(&format!("/api/payments/{id}")).await;
    assert_eq!((&payment["payment_status"], &payment["failure"]["code"]), (&json!("failed"), &json!("declined")));
    assert_eq!(app.seen("/api/orders/EXT-1").await["payment_status"], "failed");
    app.clock.set(crate::it::app::NOW.plus_micros(60_000_000));
    assert_eq!(app.takes(EXTERNAL, completed(&json!({}))).await["message"], "Payment confirmed");
    assert_eq!(app.path_of("payment", &id).await, path(&["pending", "failed", "paid"]));
    let payment = app.seen(&format!("/api/payments/{id}")).await;
    assert_eq!(payment["flags"], json!([]), "failed, then completed, is a retry");
    app.finish_sound().await;
}
