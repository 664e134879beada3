//! What gateways say in tests of what the application registers, and endpoints that hear it.

use axum::http::Method;
use gateways::Gateway;
use secrecy::SecretString;
use serde_json::{Value, json};
use server::Endpoint;
use server::endpoint::{OnAmountMismatch, Unmatched};

use crate::it::app::{NOW, Reply, TestApp, post, secret};

/// Makes payments from events.
pub const CREATES: &str = "/payments/webhook";
/// Takes what concerns registered payments alone.
pub const REJECTS: &str = "/webhooks/stripe";
/// As [`REJECTS`], and holds what is not exactly what was registered.
pub const HOLDS: &str = "/hooks/holds";
pub const GENERIC: &str = "/api/v1/order-payments/webhooks/payment";
pub const GENERIC_CREATES: &str = "/hooks/generic";

/// A server with those five.
pub async fn shop() -> TestApp {
    let secrets = || vec![secret("whsec_test")];
    let rejects = |endpoint: Endpoint| Endpoint { unmatched: Unmatched::Reject, ..endpoint };
    let generic = |path| Endpoint::new(path, Gateway::Generic, secrets());
    TestApp::with([
        Endpoint::stripe(CREATES, secrets()),
        rejects(Endpoint::stripe(REJECTS, secrets())),
        Endpoint { on_amount_mismatch: OnAmountMismatch::Hold, ..rejects(Endpoint::stripe(HOLDS, secrets())) },
        rejects(generic(GENERIC)),
        generic(GENERIC_CREATES),
    ])
    .await
}

/// An event of Stripe's that shows `object`.
pub fn event(event_id: &str, event_type: &str, object: &Value) -> String {
    json!({
        "id": event_id, "object": "event", "type": event_type, "created": NOW.seconds(), "livemode": false,
        "data": { "object": object },
    })
    .to_string()
}

fn with(mut object: Value, more: Value) -> Value {
    let (Some(fields), Value::Object(more)) = (object.as_object_mut(), more) else { panic!("objects") };
    fields.extend(more);
    object
}

/// `payment_intent.<what>` of 1500 cents, unless `more` says otherwise.
pub fn intent(event_id: &str, what: &str, id: &str, more: Value) -> String {
    let status = match what {
        "succeeded" | "canceled" | "processing" | "requires_action" => what,
        "amount_capturable_updated" => "requires_capture",
        _ => "requires_payment_method",
    };
    let amount = more.get("amount").and_then(Value::as_i64).unwrap_or(1500);
    let received = if what == "succeeded" { amount } else { 0 };
    let object = json!({
        "id": id, "object": "payment_intent", "status": status, "amount": 1500, "amount_received": received,
        "currency": "usd", "created": NOW.seconds(), "metadata": {},
    });
    event(event_id, &format!("payment_intent.{what}"), &with(object, more))
}

/// `checkout.session.<what>` of 1500 cents, unless `more` says otherwise.
pub fn session(event_id: &str, what: &str, id: &str, more: Value) -> String {
    let (status, paid) = match what {
        "expired" => ("expired", "unpaid"),
        "async_payment_failed" => ("complete", "unpaid"),
        _ => ("complete", "paid"),
    };
    let object = json!({
        "id": id, "object": "checkout.session", "mode": "payment", "status": status, "payment_status": paid,
        "amount_total": 1500, "currency": "usd", "created": NOW.seconds(), "metadata": {},
    });
    event(event_id, &format!("checkout.session.{what}"), &with(object, more))
}

pub fn refund(event_id: &str, id: &str, intent: &str, amount: i64) -> String {
    let object = json!({
        "id": id, "object": "refund", "status": "succeeded", "amount": amount, "currency": "usd",
        "charge": null, "payment_intent": intent, "created": NOW.seconds(),
    });
    event(event_id, "refund.created", &object)
}

impl TestApp {
    /// What the generic gateway says, signed now.
    pub async fn deliver_generic(&self, path: &str, body: &Value) -> Reply {
        let body = body.to_string();
        let key = SecretString::from("whsec_test");
        let headers = Gateway::Generic.sign(&key, "", self.clock.now(), body.as_bytes()).expect("it signs");
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.send(post(path, &headers, body)).await
    }

    /// Delivers what Stripe says and waits until it is applied.
    pub async fn hears(&self, path: &str, body: &str) {
        self.deliver(path, body).await;
        self.settled().await;
    }

    /// Registers something that has to be new.
    #[track_caller]
    pub fn made(&self, path: &str, body: Value) -> impl Future<Output = Value> {
        let (place, path) = (std::panic::Location::caller(), path.to_owned());
        async move {
            let reply = self.post(&path, &body.to_string()).await;
            assert_eq!(reply.status.as_u16(), 201, "{place}: {}", reply.text);
            reply.json()
        }
    }

    /// A POST with an `Idempotency-Key`.
    pub async fn post_once(&self, key: &str, path: &str, body: &str) -> Reply {
        let bearer = format!("Bearer {}", self.key(store::KeyScope::Write, None).await);
        let headers = [("authorization", bearer.as_str()), ("idempotency-key", key)];
        let request = post(path, &headers, body.to_owned());
        assert_eq!(request.method(), Method::POST);
        self.send(request).await
    }

    /// What is there, once everything is applied.
    pub async fn seen(&self, path: &str) -> Value {
        self.settled().await;
        let reply = self.get(path).await;
        assert_eq!(reply.status.as_u16(), 200, "{path}: {}", reply.text);
        reply.json()
    }

    /// How often each notice is in the outbox, of those that name this subject.
    pub async fn notices(&self, subject_id: &str) -> Vec<(String, i64)> {
        let of_subject = format!(
            "SELECT type, count(*) FROM notifications WHERE subject_id = '{subject_id}' GROUP BY type ORDER BY type"
        );
        let rows = self.rows(&of_subject).await;
        rows.into_iter().map(|row| (row[0].clone(), row[1].parse().expect("a number"))).collect()
    }

    /// The states of a subject's kind in the order in which they were observed.
    pub async fn path_of(&self, subject: &str, id: &str) -> Vec<(Option<String>, String)> {
        let of_subject = format!(
            "SELECT coalesce(from_status, ''), to_status FROM history
             WHERE subject = '{subject}' AND subject_id = '{id}' ORDER BY seq"
        );
        let rows = self.rows(&of_subject).await;
        let from = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        rows.iter().map(|row| (from(&row[0]), row[1].clone())).collect()
    }

    /// Everything is applied, and deriving it again from what is stored gives the same.
    #[track_caller]
    pub fn finish_sound(self) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            self.settled().await;
            let comparison = engine::rebuild::check(&self.store).await.expect("it compares");
            assert_eq!(comparison.differences, [], "{place}");
            self.finish().await;
        }
    }
}

/// As a test writes a path of states: from nothing, each to the next.
pub fn path(states: &[&str]) -> Vec<(Option<String>, String)> {
    let from = std::iter::once(None).chain(states.iter().map(|state| Some((*state).to_owned())));
    from.zip(states.iter().map(|state| (*state).to_owned())).collect()
}
