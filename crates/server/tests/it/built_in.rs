//! The endpoints that exist without a configuration file, as SPEC.md lists them, and
//! their senders, each of which signs as its gateway does.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use engine::clients::paypal::PaypalVerifier;
use gateways::paypal::{Delivery, Signer, Trust};
use gateways::{Gateway, Secret};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, RsaKeySize};
use secrecy::SecretString;
use serde_json::json;
use server::Endpoint;
use server::endpoint::{Reply, Unmatched};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::it::app::{self, TestApp};
use crate::it::gateway::intent;

/// A, point of sale.
pub const TILL: &str = "/payments/webhook";
/// B, e-commerce.
pub const SHOP: &str = "/api/webhooks/stripe";
pub const SHOP_PAYPAL: &str = "/api/webhooks/paypal";
/// C, external payments.
pub const EXTERNAL: &str = "/api/v1/order-payments/webhooks/payment";
pub const EXTERNAL_STRIPE: &str = "/api/v1/order-payments/webhooks/stripe";
pub const EXTERNAL_PAYPAL: &str = "/api/v1/order-payments/webhooks/paypal";
/// D, bookings.
pub const BOOKINGS: &str = "/webhooks/stripe";
/// E, the portal.
pub const PORTAL: &str = "/api/payments/webhook";

/// SPEC.md, "Endpoints that exist without a configuration file".
pub const ENDPOINTS: [(&str, Gateway, Reply, Unmatched); 8] = [
    (TILL, Gateway::Stripe, Reply::Accepted, Unmatched::Create),
    (SHOP, Gateway::Stripe, Reply::Accepted, Unmatched::Create),
    (SHOP_PAYPAL, Gateway::Paypal, Reply::Accepted, Unmatched::Create),
    (EXTERNAL, Gateway::Generic, Reply::Applied, Unmatched::Reject),
    (EXTERNAL_STRIPE, Gateway::Stripe, Reply::Applied, Unmatched::Reject),
    (EXTERNAL_PAYPAL, Gateway::Paypal, Reply::Applied, Unmatched::Reject),
    (BOOKINGS, Gateway::Stripe, Reply::Applied, Unmatched::Reject),
    (PORTAL, Gateway::Microservice, Reply::Applied, Unmatched::Reject),
];

const PATIENCE: Duration = Duration::from_secs(30);
const SIGNER_NAME: &str = "messageverificationcerts.paypal.com";
const CERTIFICATE_URL: &str = "https://api.paypal.com/v1/notifications/certs/CERT-1";

/// Of each gateway's endpoints. No two are alike, so that none opens another's door.
pub const fn secret_of(gateway: Gateway) -> &'static str {
    match gateway {
        Gateway::Stripe => "whsec_test",
        Gateway::Paypal => "8PT597110X687430L",
        Gateway::Generic => "generic_test_secret",
        Gateway::Microservice => "portal_test_key",
        Gateway::StandardWebhooks => "whsec_dGVzdC1zZWNyZXQtb2Ytb3Vycw==",
    }
}

fn ready(gateway: Gateway) -> Secret {
    gateway.secret(&SecretString::from(secret_of(gateway))).expect("a secret")
}

/// PayPal's key and certificate under a root of our own, and a server that hands the
/// certificate out.
struct Paypal {
    signer: Signer,
    verifier: Arc<PaypalVerifier>,
}

impl Paypal {
    async fn start() -> Self {
        let mut of_root = CertificateParams::new(Vec::<String>::new()).expect("no names");
        of_root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(of_root, KeyPair::generate().expect("a key")).expect("a root");
        let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
        let params = CertificateParams::new(vec![SIGNER_NAME.to_owned()]).expect("a name");
        let pem = params.signed_by(&key, &root).expect("a certificate").pem();
        let address = hand_out(pem).await;
        let trust = Trust::public(None).with_roots(root.pem().as_bytes()).expect("a root");
        let verifier = PaypalVerifier::by_certificate(trust, Some(format!("http://{address}"))).expect("a client");
        Self { signer: Signer::from_pkcs8(&key.serialize_der()).expect("the same key"), verifier: Arc::new(verifier) }
    }
}

/// Answers every request with this text.
pub async fn hand_out(text: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.is_ok_and(|read| read > 0) {}
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", text.len());
            stream.write_all(format!("{head}{text}").as_bytes()).await.expect("whoever asks waits");
        }
    });
    address
}

/// A server with those eight endpoints, and those who deliver there.
pub struct BuiltIn {
    app: TestApp,
    paypal: Paypal,
}

impl Deref for BuiltIn {
    type Target = TestApp;

    fn deref(&self) -> &TestApp {
        &self.app
    }
}

impl BuiltIn {
    pub async fn start() -> Self {
        Self::with(|endpoint| endpoint).await
    }

    /// With every endpoint changed like this.
    pub async fn with(change: impl Fn(Endpoint) -> Endpoint) -> Self {
        let paypal = Paypal::start().await;
        let endpoints = ENDPOINTS.map(|(path, gateway, reply, unmatched)| {
            let endpoint = Endpoint::new(path, gateway, vec![ready(gateway)]);
            let verifier = (gateway == Gateway::Paypal).then(|| paypal.verifier.clone());
            change(Endpoint { reply, unmatched, paypal: verifier, ..endpoint })
        });
        Self { app: TestApp::with(endpoints).await, paypal }
    }

    /// The headers with which this gateway delivers this body now.
    pub fn headers(&self, gateway: Gateway, body: &[u8]) -> Vec<(&'static str, String)> {
        let at = self.clock.now();
        if gateway != Gateway::Paypal {
            return gateway.sign(&SecretString::from(secret_of(gateway)), "", at, body).expect("it signs");
        }
        let mut hash = DefaultHasher::new();
        body.hash(&mut hash); // A transmission stands for one body, however often it is tried.
        let transmission_id = format!("t-{:x}", hash.finish());
        let webhook_id = secret_of(Gateway::Paypal);
        let delivery = Delivery { webhook_id, transmission_id: &transmission_id, at, certificate_url: CERTIFICATE_URL };
        self.paypal.signer.sign(&delivery, body).expect("it signs")
    }

    /// A delivery to one of the eight, signed as its gateway does.
    pub fn request(&self, path: &str, body: impl Into<Vec<u8>>) -> Request<Body> {
        let body = body.into();
        let headers = self.headers(gateway_at(path), &body);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        app::post(path, &headers, body)
    }

    /// Delivers there, signed.
    pub async fn posted(&self, path: &str, body: impl Into<Vec<u8>>) -> app::Reply {
        self.send(self.request(path, body)).await
    }

    /// Waits until everything that came was applied, or failed to be.
    pub async fn tried(&self) {
        let mut look_again = tokio::time::interval(Duration::from_millis(5));
        let pending = async || self.rows("SELECT 1 FROM event WHERE state = 'pending' LIMIT 1").await;
        let trying = async {
            while !pending().await.is_empty() {
                look_again.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, trying).await.expect("everything is tried in time");
    }

    /// Everything is applied, and deriving it again gives the same.
    #[track_caller]
    pub fn finish_sound(self) -> impl Future<Output = ()> {
        self.app.finish_sound()
    }

    pub async fn finish(self) {
        self.app.finish().await;
    }

    /// As [`TestApp::leave_pending`].
    pub async fn leave_pending(self) {
        self.app.leave_pending().await;
    }
}

/// Who delivers at one of the eight paths.
pub fn gateway_at(path: &str) -> Gateway {
    let path = path.strip_suffix('/').unwrap_or(path);
    let found = ENDPOINTS.iter().find(|(at, ..)| *at == path);
    found.unwrap_or_else(|| panic!("{path} is none of the eight")).1
}

/// Where they are.
pub const PATHS: [&str; 8] = {
    let mut paths = [""; 8];
    let mut number = 0;
    while number < 8 {
        paths[number] = ENDPOINTS[number].0;
        number += 1;
    }
    paths
};

/// Whether a sender there is told the outcome.
pub fn is_applied(path: &str) -> bool {
    ENDPOINTS.iter().any(|(at, _, reply, _)| *at == path && *reply == Reply::Applied)
}

/// What this path's gateway says when payment number `n` is paid.
pub fn paid(path: &str, n: u32) -> String {
    match gateway_at(path) {
        Gateway::Stripe | Gateway::StandardWebhooks => {
            intent(&format!("evt_{n}"), "succeeded", &format!("pi_{n}"), json!({}))
        }
        Gateway::Paypal => json!({
            "id": format!("WH-{n}"), "event_type": "PAYMENT.CAPTURE.COMPLETED", "create_time": "2025-11-20T16:00:00Z",
            "resource": { "id": format!("CAP-{n}"), "status": "COMPLETED",
                          "amount": { "value": "15.00", "currency_code": "USD" } },
        })
        .to_string(),
        Gateway::Generic => json!({
            "transaction_id": format!("TXN-{n}"), "status": "completed", "amount": 15.00, "currency": "USD",
        })
        .to_string(),
        Gateway::Microservice => json!({ "paymentId": format!("MS-{n}"), "status": "completed" }).to_string(),
    }
}

/// Registers payment number `n` so that [`paid`] means it. Returns its id.
pub async fn register(app: &TestApp, path: &str, n: u32) -> String {
    let id = format!("own-{n}");
    let (key, name) = match gateway_at(path) {
        Gateway::Stripe | Gateway::StandardWebhooks => ("gateway_transaction_id", format!("pi_{n}")),
        Gateway::Paypal => ("gateway_transaction_id", format!("CAP-{n}")),
        Gateway::Generic => ("transaction_id", format!("TXN-{n}")),
        Gateway::Microservice => ("external_id", format!("MS-{n}")),
    };
    let order = format!("order-{n}");
    app.made("/api/orders", json!({ "id": order, "amount": 1500, "currency": "USD" })).await;
    app.made(&format!("/api/orders/{order}/payments"), json!({ "id": id, key: name })).await;
    id
}
