//! A delivery's way in: limits, signature, which event it is, and on to disk. No
//! rule of business runs here, and nothing is parsed before it is verified.

use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use engine::Refused;
use gateways::{Envelope, Verdict};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use store::{NewEvent, Receipt};
use tokio::sync::OwnedSemaphorePermit;

use crate::{App, Endpoint};

/// How long a sender may take for its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// When to come again after a refusal that is ours.
const RETRY_AFTER_SECONDS: &str = "5";

/// Said for every signature failure, so that a forger learns nothing from it.
const BAD_SIGNATURE: &str = "signature verification failed";

#[derive(Serialize)]
struct Accepted<'a> {
    received: bool,
    status: &'static str,
    event_id: &'a str,
}

#[derive(Serialize)]
struct Rejected<'a> {
    status: &'static str,
    error: &'a str,
}

/// Why nothing was accepted.
enum Refusal {
    Method,
    NotConfigured,
    TooLarge,
    SlowBody,
    BrokenBody,
    Signature(gateways::Reason),
    NotAnEvent(gateways::NotAnEvent),
    /// Too many bodies are on their way at once.
    Crowded,
    Intake(Refused),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotConfigured | Self::Crowded | Self::Intake(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::BrokenBody | Self::Signature(_) | Self::NotAnEvent(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// For the sender.
    fn message(&self) -> String {
        match self {
            Self::Method => "deliveries are POSTed".to_owned(),
            Self::NotConfigured => "this endpoint is not configured".to_owned(),
            Self::TooLarge => "the body is too large".to_owned(),
            Self::SlowBody => "the body did not arrive in time".to_owned(),
            Self::BrokenBody => "the body could not be read".to_owned(),
            Self::Signature(_) => BAD_SIGNATURE.to_owned(),
            Self::NotAnEvent(why) => format!("not an event: {why}"),
            Self::Crowded | Self::Intake(_) => "not accepted, try again later".to_owned(),
        }
    }

    fn log(&self, endpoint: &Endpoint) {
        let path = endpoint.path.as_str();
        match self {
            Self::NotConfigured => tracing::error!(
                endpoint = path,
                "Delivery refused: the endpoint has no secret, set {}",
                endpoint.secret_variable
            ),
            Self::Signature(reason) => tracing::warn!(endpoint = path, %reason, "Delivery refused: signature"),
            Self::NotAnEvent(reason) => tracing::warn!(endpoint = path, %reason, "Delivery refused: not an event"),
            Self::Intake(reason) => tracing::warn!(endpoint = path, %reason, "Delivery refused: not stored"),
            Self::Method | Self::TooLarge | Self::SlowBody | Self::BrokenBody | Self::Crowded => {
                tracing::warn!(endpoint = path, reason = self.message(), "Delivery refused");
            }
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        let body = Rejected { status: "error", error: &self.message() };
        let mut response = json(status, &body);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    let text = serde_json::to_vec(body).unwrap_or_default(); // Texts and booleans always serialise.
    let content_type = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, content_type, text).into_response()
}

/// Takes whatever no other route took; endpoints are looked up, not routed, so that
/// they can change while the server runs.
pub async fn receive(State(app): State<App>, request: Request) -> Response {
    let Some(endpoint) = app.endpoints.at(request.uri().path()) else {
        return crate::error::ApiError::NO_SUCH_PATH.into_response();
    };
    let started = Instant::now();
    match accept(&app, endpoint, request).await {
        Ok((event_id, receipt)) => {
            let status = match receipt {
                Receipt::New | Receipt::Again => "accepted",
                Receipt::Duplicate => "duplicate",
                Receipt::Ignored => "ignored",
            };
            let micros = started.elapsed().as_micros() as u64;
            tracing::info!(endpoint = endpoint.path, event_id, outcome = status, micros, "Delivery stored");
            json(StatusCode::OK, &Accepted { received: true, status, event_id: &event_id })
        }
        Err(refusal) => {
            refusal.log(endpoint);
            refusal.into_response()
        }
    }
}

async fn accept(app: &App, endpoint: &Endpoint, request: Request) -> Result<(String, Receipt), Refusal> {
    if request.method() != Method::POST {
        return Err(Refusal::Method);
    }
    if endpoint.secrets.is_empty() {
        return Err(Refusal::NotConfigured);
    }
    let (head, body) = request.into_parts();
    let received = read_body(app, &head.headers, body, endpoint.body_bytes_max).await?;
    let body = &received.bytes;
    let received_at = app.clock.now();
    let verdict =
        endpoint.gateway.verify(&head.headers, body, &endpoint.secrets, received_at, endpoint.tolerance_seconds);
    if let Verdict::Invalid(reason) = verdict {
        return Err(Refusal::Signature(reason));
    }
    let envelope = endpoint.gateway.envelope(body).map_err(Refusal::NotAnEvent)?;
    let ignored_because = of_no_concern(endpoint, &envelope);
    let event_id = envelope.event_id.clone();
    let event = NewEvent::new(
        endpoint.account.clone(),
        endpoint.gateway.as_str(),
        envelope.mode,
        envelope.connected_account.unwrap_or_default(),
        envelope.event_id,
        envelope.event_type,
        envelope.api_version,
        envelope.created_at,
        endpoint.path.clone(),
        endpoint.creates,
        ignored_because,
        received_at,
        body.clone(),
    );
    let receipt = app.intake.submit(event).await.map_err(Refusal::Intake)?;
    Ok((event_id, receipt))
}

/// Why the endpoint keeps an event without applying it.
fn of_no_concern(endpoint: &Endpoint, envelope: &Envelope) -> Option<&'static str> {
    if endpoint.mode.is_some_and(|mode| mode != envelope.mode) {
        return Some("its mode is not the endpoint's");
    }
    let connected = envelope.connected_account.as_ref();
    if connected.is_some_and(|account| !endpoint.connected_accounts.contains(account)) {
        return Some("its connected account is not one of the endpoint's");
    }
    None
}

/// Reads the body while it arrives. What it takes is counted before the sender is
/// known, over all senders together, so that nobody fills the memory from outside.
async fn read_body(app: &App, headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Received, Refusal> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|bytes| bytes > bytes_max) {
        return Err(Refusal::TooLarge);
    }
    let reading = gather(app, Limited::new(body, bytes_max));
    tokio::time::timeout(BODY_TIMEOUT, reading).await.map_err(|_| Refusal::SlowBody)?
}

/// A body, and its share of the memory for bodies.
struct Received {
    bytes: Bytes,
    _share: Option<OwnedSemaphorePermit>,
}

async fn gather(app: &App, mut body: Limited<Body>) -> Result<Received, Refusal> {
    let mut received = Received { bytes: Bytes::new(), _share: None };
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| match error.is::<LengthLimitError>() {
            true => Refusal::TooLarge,
            false => Refusal::BrokenBody,
        })?;
        let Ok(data) = frame.into_data() else { continue }; // Trailers.
        let size = u32::try_from(data.len()).map_err(|_| Refusal::TooLarge)?;
        let share = app.body_bytes.clone().try_acquire_many_owned(size).map_err(|_| Refusal::Crowded)?;
        match &mut received._share {
            Some(whole) => whole.merge(share),
            None => received._share = Some(share),
        }
        if received.bytes.is_empty() && rest.is_empty() {
            received.bytes = data; // Most bodies come in one piece, which is not copied.
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&received.bytes);
            }
            rest.extend_from_slice(&data);
        }
    }
    if !rest.is_empty() {
        received.bytes = rest.freeze();
    }
    Ok(received)
}
