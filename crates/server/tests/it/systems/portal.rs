//! E: a portal and its payments microservice. `X-API-Key`, two words, four methods;
//! `completed` completes the payment and its order, `failed` does not.

use serde_json::{Value, json};

use super::{is, said};
use crate::it::app::post;
use crate::it::built_in::{BuiltIn, PORTAL, secret_of};
use crate::it::gateway::path;
use crate::it::log::Log;

const METHODS: [&str; 4] = ["webpay", "inner", "invoice", "paypal"];

/// SPEC.md's microservice payload.
fn message(status: &str, more: &Value) -> String {
    let mut payload = json!({
        "paymentId": "9001", "orderId": "P-9", "status": status, "paymentMethod": "webpay",
        "event": format!("payment.{status}"), "timestamp": "2025-11-20T15:55:00Z",
        "metadata": { "providerTransactionId": "wp-1" },
    });
    payload.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    payload.to_string()
}

/// An order of 9,990 pesos with its payment.
async fn registered(app: &BuiltIn, method: &str) {
    app.made("/api/orders", json!({"id": "P-9", "amount": 9990, "currency": "CLP"})).await;
    app.made("/api/orders/P-9/payments", json!({"id": "9001", "method": method})).await;
}

#[tokio::test]
async fn completed_completes_payment_and_order_by_each_method() {
    for (number, method) in METHODS.into_iter().enumerate() {
        let app = BuiltIn::start().await;
        registered(&app, method).await;
        let body = message("completed", &json!({ "paymentMethod": method }));
        let slash = if number % 2 == 0 { "/" } else { "" };
        let first = app.takes(&format!("{PORTAL}{slash}"), &body).await;
        let expected = json!({
            "received": true, "status": "success", "message": "Payment confirmed", "payment_id": "9001",
            "order_id": "P-9", "payment_status": "paid",
        });
        let keys = ["received", "status", "message", "payment_id", "order_id", "payment_status"];
        assert_eq!(said(&first, &keys), expected, "{method}: {first}");
        let order = app.seen("/api/orders/P-9").await;
        assert_eq!((&order["payment_status"], &order["amount_paid"]), (&json!("paid"), &json!(9990)), "{method}");
        assert_eq!(order["payments"][0]["method"], method);
        let mut again = first.clone();
        again["status"] = json!("duplicate");
        is(&app.posted(PORTAL, body).await, 200, &again);
        assert_eq!(app.notices("P-9").await, [("order.paid".to_owned(), 1)]);
        app.finish_sound().await;
    }
}

/// By the payment's id, by what the application calls it elsewhere, by its transaction, or
/// by the order where it has one payment alone.
#[tokio::test]
async fn one_of_the_ids_is_enough() {
    let none = json!({ "paymentId": null, "orderId": null, "metadata": {} });
    let with = |key: &str, value: Value| {
        let mut ids = none.clone();
        ids[key] = value;
        ids
    };
    for (registered, ids) in [
        (json!({ "id": "9001" }), with("paymentId", json!("9001"))),
        (json!({ "id": "9001" }), with("paymentId", json!(9001))),
        (json!({ "id": "9001", "external_id": "ms-1" }), with("paymentId", json!("ms-1"))),
        (
            json!({ "id": "9001", "transaction_id": "wp-1" }),
            with("metadata", json!({ "providerTransactionId": "wp-1" })),
        ),
        (json!({ "id": "9001" }), with("orderId", json!("P-9"))),
    ] {
        let app = BuiltIn::start().await;
        app.made("/api/orders", json!({"id": "P-9", "amount": 9990, "currency": "CLP"})).await;
        app.made("/api/orders/P-9/payments", registered).await;
        let reply = app.takes(PORTAL, message("completed", &ids)).await;
        assert_eq!((&reply["message"], &reply["payment_id"]), (&json!("Payment confirmed"), &json!("9001")), "{ids}");
        assert_eq!(app.seen("/api/orders/P-9").await["payment_status"], "paid", "{ids}");
        app.finish_sound().await;
    }
}

#[tokio::test]
async fn failed_completes_nothing() {
    let app = BuiltIn::start().await;
    registered(&app, "webpay").await;
    let reply = app.takes(PORTAL, message("failed", &json!({}))).await;
    assert_eq!(
        said(&reply, &["status", "message", "payment_status"]),
        json!({ "status": "success", "message": "Payment failed", "payment_status": "failed" }),
        "{reply}"
    );
    assert_eq!(app.seen("/api/orders/P-9").await["payment_status"], "failed");
    assert_eq!(app.notices("P-9").await.iter().filter(|(kind, _)| kind == "order.paid").count(), 0);
    let later = message("completed", &json!({ "timestamp": "2025-11-20T15:58:00Z" }));
    assert_eq!(app.takes(PORTAL, later).await["message"], "Payment confirmed");
    assert_eq!(app.path_of("order", "P-9").await, path(&["pending", "failed", "paid"]));
    assert_eq!(app.seen("/api/payments/9001").await["flags"], json!([]), "a retry is nothing odd");
    app.finish_sound().await;
}

/// Whichever of the two comes first: what was completed stays so, and somebody should look.
#[tokio::test]
async fn failed_after_completed_changes_nothing_and_is_flagged() {
    let completed = message("completed", &json!({}));
    let failed = message("failed", &json!({ "timestamp": "2025-11-20T15:57:00Z" }));
    for first_failed in [false, true] {
        let log = Log::collect();
        let app = BuiltIn::start().await;
        registered(&app, "webpay").await;
        let order = if first_failed { [&failed, &completed] } else { [&completed, &failed] };
        let mut replies = Vec::new();
        for body in order {
            replies.push(app.takes(PORTAL, body).await);
        }
        let payment = app.seen("/api/payments/9001").await;
        assert_eq!(
            (&payment["payment_status"], &payment["flags"]),
            (&json!("paid"), &json!(["failed_after_completed"]))
        );
        assert_eq!(app.seen("/api/orders/P-9").await["payment_status"], "paid");
        if !first_failed {
            assert_eq!(replies[1]["message"], "Payment is confirmed already", "{}", replies[1]);
            assert_eq!(app.path_of("order", "P-9").await, path(&["pending", "paid"]));
        }
        assert_eq!(log.lines().iter().filter(|line| line["flag"] == "failed_after_completed").count(), 1);
        app.finish_sound().await;
    }
}

#[tokio::test]
async fn each_refusal_has_its_status() {
    let log = Log::collect();
    let app = BuiltIn::start().await;
    registered(&app, "webpay").await;
    let good = message("completed", &json!({}));
    let key = secret_of(gateways::Gateway::Microservice);
    let wrong = [
        vec![],
        vec![("x-api-key", "")],
        vec![("x-api-key", "another_key")],
        vec![("x-api-key", &key[..key.len() - 1])],
        vec![("authorization", key)],
        vec![("x-api-key", "another_key"), ("x-api-key", key)],
    ];
    let mut texts = Vec::new();
    for headers in &wrong {
        texts.push(app.send(post(PORTAL, headers, good.clone())).await.is_refusal(401));
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "whatever is wrong with the key, the text is the same: {texts:?}");
    let bad = [
        "{}".to_owned(),
        "not JSON".to_owned(),
        message("done", &json!({ "event": null })),
        message("completed", &json!({ "event": "payment.failed" })),
        message("failed", &json!({ "event": "payment.completed" })),
        message("completed", &json!({ "paymentMethod": "barter" })),
        message("completed", &json!({ "paymentId": null, "orderId": null, "metadata": {} })),
    ];
    for body in &bad {
        let error = app.posted(PORTAL, body.as_str()).await.is_refusal(400);
        assert!(error.starts_with("not an event: "), "{body}: {error}");
    }
    let nobody = message("completed", &json!({ "paymentId": "9999", "orderId": "P-99", "metadata": {} }));
    app.posted(PORTAL, nobody).await.is_refusal(404);
    assert_eq!(
        app.rows("SELECT state FROM webhook_events").await,
        [["waiting"]],
        "only what was verified and meant something"
    );
    assert_eq!(app.seen("/api/payments/9001").await["payment_status"], "pending");
    // Everything is logged with context, nothing sensitive.
    let lines = log.lines();
    let refused: Vec<&Value> = lines.iter().filter(|line| line["outcome"] == "refused").collect();
    assert_eq!(refused.len(), wrong.len() + bad.len() + 1, "one line each");
    for line in refused {
        assert!(line["endpoint"] == PORTAL && line["status"].is_u64() && line["reason"].is_string(), "{line}");
        assert!(line["duration_ms"].is_number(), "{line}");
    }
    assert!(!log.text().contains(key) && !log.text().contains("another_key"), "a key is logged");
    app.finish().await;
}
