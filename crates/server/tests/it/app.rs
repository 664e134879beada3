//! A server of a test's own, and a client that speaks like its callers.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use domain::{AccountId, Timestamp};
use engine::{Clock, Engine};
use gateways::Secret;
use gateways::stripe::sample::{Overrides, Sampler};
use gateways::stripe::{SIGNATURE_HEADER, sign};
use http_body_util::BodyExt;
use secrecy::SecretString;
use serde_json::Value;
use server::{App, Endpoint, Endpoints, PublicConfig};
use store::{ApiKey, KeyScope, Store};
use testdb::Database;
use tower::ServiceExt;

/// 2025-11-20T16:00:00Z
pub const NOW: Timestamp = Timestamp::from_seconds(1_763_654_400);
pub const HOOK: &str = "/payments/webhook";
const DEADLINE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

pub fn secret(text: &str) -> Secret {
    Secret::from_text(&SecretString::from(text))
}

pub fn account(name: &str) -> AccountId {
    AccountId::parse(name).expect(name)
}

#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// A refusal of the API: its status, its media type and its code.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str) {
        let problem = self.json();
        assert_eq!((self.status.as_u16(), problem["code"].as_str()), (status, Some(code)), "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(problem["status"], status);
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{}", self.text);
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{}", self.text);
    }

    /// A refusal of a delivery, in the one shape that gateways get.
    #[track_caller]
    pub fn is_refusal(&self, status: u16) -> String {
        let body = self.json();
        assert_eq!((self.status.as_u16(), body["status"].as_str()), (status, Some("error")), "{}", self.text);
        assert_eq!(self.header("content-type"), "application/json");
        body["error"].as_str().unwrap_or_else(|| panic!("no text: {}", self.text)).to_owned()
    }
}

/// Its end asserts that nothing is left to be applied: end it with [`TestApp::finish`],
/// or say with [`TestApp::leave_pending`] that it is meant to be so.
pub struct TestApp {
    pub store: Store,
    pub clock: Clock,
    app: Option<App>,
    pub router: Router,
    engine: Option<Engine>,
    database: Database,
    finished: bool,
}

impl TestApp {
    /// With the two endpoints that exist without a configuration, for `whsec_test`.
    pub async fn new() -> Self {
        let secrets = || vec![secret("whsec_test")];
        Self::with([Endpoint::stripe(HOOK, secrets()), Endpoint::stripe("/api/webhooks/stripe", secrets())]).await
    }

    pub async fn with(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        let database = crate::database().await;
        Self::on(database, Clock::manual(NOW), endpoints).await
    }

    /// On a database that may have others.
    pub async fn on(database: Database, clock: Clock, endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        let store = Store::open(database.url()).await.expect("it opens");
        store.migrate().await.expect("it migrates");
        let engine = Engine::start(store.clone(), clock.clone());
        let app = App::new(store.clone(), engine.intake(), clock.clone(), Endpoints::new(endpoints));
        let router = server::router(app.clone());
        Self { store, clock, app: Some(app), router, engine: Some(engine), database, finished: false }
    }

    /// Puts other endpoints in force.
    pub fn reload(&self, endpoints: Endpoints) {
        self.app.as_ref().expect("it runs").endpoints.replace(endpoints);
    }

    /// Serves with what everybody may know.
    pub fn publish(&mut self, public: PublicConfig) {
        let app = self.app.take().expect("it runs").with_public(public);
        self.router = server::router(app.clone());
        self.app = Some(app);
    }

    pub fn database(&self) -> &Database {
        &self.database
    }

    /// What people's SQL says: each row as its columns' texts.
    pub async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        self.database.rows(sql).await
    }

    /// Everything accepted is applied; then the engine stops.
    pub async fn finish(mut self) {
        self.settled().await;
        self.finished = true;
        self.stop().await;
    }

    /// The test leaves work undone on purpose.
    pub async fn leave_pending(mut self) {
        self.finished = true;
        self.stop().await;
    }

    async fn stop(&mut self) {
        (self.router, self.app) = (Router::new(), None); // They hold the way in open.
        if let Some(engine) = self.engine.take() {
            engine.stop().await;
        }
    }

    pub async fn settled(&self) {
        let mut look_again = tokio::time::interval(LOOK_AGAIN);
        let settling = async {
            while self.store.backlog().await.expect("it answers").events > 0 {
                look_again.tick().await;
            }
        };
        if tokio::time::timeout(DEADLINE, settling).await.is_err() {
            let events = self.store.list_events(&Default::default(), 10).await;
            panic!("still to be applied after {DEADLINE:?}: {events:#?}");
        }
    }

    pub async fn send(&self, request: Request<Body>) -> Reply {
        let reply = self.router.clone().oneshot(request).await.expect("the router is infallible");
        let (head, body) = reply.into_parts();
        let bytes = body.collect().await.expect("a whole body").to_bytes();
        Reply { status: head.status, headers: head.headers, text: String::from_utf8(bytes.to_vec()).expect("text") }
    }

    /// A delivery that is signed now with `whsec_test`.
    pub async fn deliver(&self, path: &str, body: impl Into<Vec<u8>>) -> Reply {
        let body = body.into();
        let signature = sign(&secret("whsec_test"), self.clock.now(), &body);
        self.send(post(path, &[(SIGNATURE_HEADER, &signature)], body)).await
    }

    /// A delivery that has to be taken.
    #[track_caller]
    pub fn accept(&self, body: impl Into<Vec<u8>>) -> impl Future<Output = Value> {
        let (place, body) = (std::panic::Location::caller(), body.into());
        async move {
            let reply = self.deliver(HOOK, body).await;
            assert_eq!(reply.status, StatusCode::OK, "{place}: {}", reply.text);
            reply.json()
        }
    }

    pub async fn key(&self, scope: KeyScope, of: Option<&str>) -> String {
        let name = of.unwrap_or("all");
        let key = ApiKey {
            id: format!("key_{name}_{}", scope.as_str()),
            account: of.map(account),
            scope,
            name: "of a test".to_owned(),
            created_at: NOW,
            revoked_at: None,
        };
        let secret = format!("qk_{name}_{}", scope.as_str());
        if self.store.key_by_secret(&secret).await.expect("it looks").is_none() {
            self.store.create_key(&key, &secret).await.expect("it is made");
        }
        secret
    }

    pub async fn get_as(&self, key: &str, path: &str) -> Reply {
        self.send(with_key(Method::GET, path, key, Body::empty())).await
    }

    /// As somebody who may read everything.
    pub async fn get(&self, path: &str) -> Reply {
        let key = self.key(KeyScope::Read, None).await;
        self.get_as(&key, path).await
    }

    pub async fn post_as(&self, key: &str, path: &str, body: &str) -> Reply {
        self.send(with_key(Method::POST, path, key, Body::from(body.to_owned()))).await
    }

    /// As somebody who may change everything.
    pub async fn post(&self, path: &str, body: &str) -> Reply {
        let key = self.key(KeyScope::Write, None).await;
        self.post_as(&key, path, body).await
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if !self.finished && !std::thread::panicking() {
            panic!("a test has to end its TestApp with `finish` or `leave_pending`");
        }
    }
}

pub fn with_key(method: Method, path: &str, key: &str, body: Body) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {key}"));
    request.body(body).expect("a request")
}

pub fn post(path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let request = Request::builder().method(Method::POST).uri(path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(body.into()).expect("a request")
}

/// An event of no concern.
pub fn unrelated(event_id: &str) -> String {
    format!(r#"{{"id":"{event_id}","object":"event","type":"customer.created","livemode":false}}"#)
}

/// A lifelike event about this payment intent and order.
pub fn about(event_type: &str, intent: &str, order_id: &str) -> String {
    let overrides = Overrides {
        payment_intent: Some(intent.to_owned()),
        order_id: Some(order_id.to_owned()),
        ..Overrides::default()
    };
    let seed =
        intent.bytes().chain(event_type.bytes()).fold(7, |seed: u64, byte| seed * 31 % 1_000_003 + u64::from(byte));
    Sampler::new(seed).single(event_type, NOW, &overrides).expect("a known type").body
}

pub fn id_of(body: &str) -> String {
    let event: Value = serde_json::from_str(body).expect("JSON");
    event["id"].as_str().expect("an id").to_owned()
}
