//! `/api/payments` and `/api/orders`.

use gateways::stripe::sample::{LifeKind, Overrides, Sampler};
use serde_json::{Value, json};

use crate::it::app::{NOW, TestApp, about};

#[tokio::test]
async fn a_payment_and_its_order_are_shown_with_their_history() {
    let app = TestApp::new().await;
    let life = Sampler::new(4).life(LifeKind::PartialRefunds, NOW, &Overrides::default());
    for event in &life.events {
        app.accept(event.body.as_str()).await;
        app.settled().await;
    }
    let list = app.get("/api/payments").await.json();
    let id = list["data"][0]["id"].as_str().unwrap();
    let shown = app.get(&format!("/api/payments/{id}")).await.json();
    assert_eq!((&shown["payment_status"], &shown["order_id"]), (&json!("partially_refunded"), &json!(life.order_id)));
    assert_eq!(shown["amount_captured"], json!(life.amount_captured));
    assert_eq!(shown["amount_refunded"], json!(life.amount_refunded));
    assert_eq!(shown["refunds"].as_array().unwrap().len(), 2);
    assert_eq!(shown["events"].as_array().unwrap().len(), life.events.len(), "newest first, every one");
    let path: Vec<_> = shown["history"].as_array().unwrap().iter().filter(|row| row["subject"] == "payment").collect();
    let path: Vec<_> = path.iter().map(|row| (row["from"].as_str(), row["to"].as_str().unwrap())).collect();
    assert_eq!(path, [(None, "pending"), (Some("pending"), "paid"), (Some("paid"), "partially_refunded")]);

    let order = app.get(&format!("/api/orders/{}", life.order_id)).await.json();
    assert_eq!((&order["payment_status"], &order["payments"][0]["id"]), (&json!("partially_refunded"), &json!(id)));
    assert_eq!(
        (&order["amount_paid"], &order["amount_refunded"]),
        (&json!(life.amount_captured), &json!(life.amount_refunded))
    );
    let statuses: Vec<_> = order["status_history"].as_array().unwrap().iter().map(|row| &row["to"]).collect();
    assert_eq!(statuses, [&json!("pending"), &json!("paid"), &json!("partially_refunded")]);
    app.get("/api/payments/pay_nobody").await.is_problem(404, "payment_not_found");
    app.get("/api/orders/nobody").await.is_problem(404, "order_not_found");
    app.finish().await;
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let app = TestApp::new().await;
    for number in 0..9 {
        let event_type = if number % 3 == 0 { "payment_intent.created" } else { "payment_intent.succeeded" };
        app.accept(about(event_type, &format!("pi_{number}"), &format!("order-{number}"))).await;
        app.settled().await;
    }
    let orders_of = |page: &Value, key: &str| -> Vec<String> {
        page["data"].as_array().unwrap().iter().map(|row| row[key].as_str().unwrap().to_owned()).collect()
    };
    let newest_first = |numbers: &[i32]| numbers.iter().map(|number| format!("order-{number}")).collect::<Vec<_>>();
    let pending = app.get("/api/payments?status=pending").await.json();
    assert_eq!(orders_of(&pending, "order_id"), newest_first(&[6, 3, 0]));
    let of_order = app.get("/api/payments?order=order-4&account=default").await.json();
    assert_eq!(orders_of(&of_order, "order_id"), newest_first(&[4]));
    for (path, key) in [("/api/payments", "order_id"), ("/api/orders", "id")] {
        let first = app.get(&format!("{path}?limit=5")).await.json();
        assert_eq!(orders_of(&first, key), newest_first(&[8, 7, 6, 5, 4]), "{path}");
        let cursor = first["next_cursor"].as_str().expect("there is more");
        let second = app.get(&format!("{path}?limit=5&cursor={cursor}")).await.json();
        assert_eq!(orders_of(&second, key), newest_first(&[3, 2, 1, 0]), "{path}");
        assert_eq!(second["next_cursor"], Value::Null);
    }
    app.finish().await;
}

#[tokio::test]
async fn what_is_inside_stays_inside() {
    let app = TestApp::new().await;
    app.accept(about("payment_intent.succeeded", "pi_1", "6735")).await;
    app.settled().await;
    let id = app.get("/api/payments").await.json()["data"][0]["id"].as_str().unwrap().to_owned();
    app.database().execute("UPDATE payment SET facts = '{\"secret\": sk_live_1'").await;
    for path in ["/api/payments".to_owned(), format!("/api/payments/{id}"), "/api/orders/6735".to_owned()] {
        let reply = app.get(&path).await;
        reply.is_problem(500, "internal");
        assert!(!reply.text.contains("sk_live") && !reply.text.contains("column"), "{path}: {}", reply.text);
    }
    app.finish().await;
}
