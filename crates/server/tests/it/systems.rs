//! The five systems that Quittance replaces (PRODUCT.md, rows A to E), each at its own
//! paths and in its own replies, from its first call to its end.

mod bookings;
mod e_commerce;
mod external_payments;
mod point_of_sale;
mod portal;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::it::app::{NOW, Reply};
use crate::it::built_in::BuiltIn;

/// The event of Stripe's with `created` so many seconds later.
fn later(seconds: i64, event: &str) -> String {
    let mut event: Value = serde_json::from_str(event).expect("JSON");
    event["created"] = json!(NOW.seconds() + seconds);
    event.to_string()
}

/// An event of PayPal's about this resource.
fn paypal(event_id: &str, event_type: &str, resource: Value) -> String {
    json!({
        "id": event_id, "event_version": "1.0", "create_time": "2025-11-20T16:00:00Z", "resource_version": "2.0",
        "event_type": event_type, "resource": resource, "links": [],
    })
    .to_string()
}

/// `PAYMENT.CAPTURE.<what>` of 15.00 USD for the order `PPO-1`, unless `more` says otherwise.
fn capture(event_id: &str, what: &str, more: Value) -> String {
    let mut resource = json!({
        "id": "CAP-1", "status": what, "amount": { "value": "15.00", "currency_code": "USD" },
        "supplementary_data": { "related_ids": { "order_id": "PPO-1" } },
        "create_time": "2025-11-20T15:59:00Z", "update_time": "2025-11-20T16:00:00Z",
    });
    resource.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    paypal(event_id, &format!("PAYMENT.CAPTURE.{what}"), resource)
}

impl BuiltIn {
    /// A delivery that is taken, and applied before this ends.
    #[track_caller]
    fn takes(&self, path: &str, body: impl ToString) -> impl Future<Output = Value> {
        let (place, path, body) = (std::panic::Location::caller(), path.to_owned(), body.to_string());
        async move {
            let reply = self.posted(&path, body).await;
            assert_eq!(reply.status, StatusCode::OK, "{place}: {}", reply.text);
            self.settled().await;
            reply.json()
        }
    }
}

/// What a reply says under these keys.
fn said(reply: &Value, keys: &[&str]) -> Value {
    keys.iter().map(|key| ((*key).to_owned(), reply[*key].clone())).collect::<serde_json::Map<_, _>>().into()
}

/// That a delivery was answered exactly so.
#[track_caller]
fn is(reply: &Reply, status: u16, body: &Value) {
    assert_eq!((reply.status.as_u16(), &reply.json()), (status, body), "{}", reply.text);
    assert_eq!(reply.header("content-type"), "application/json");
}
