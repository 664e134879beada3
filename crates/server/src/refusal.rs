//! Why a delivery was not accepted: what its sender is told, and what the log says.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::Instant;

use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use engine::Refused;
use gateways::Gateway;
use serde::Serialize;

use crate::limits::{Throttle, TooMany};
use crate::{App, Endpoint};

/// When to come again after a refusal that is ours, in seconds.
const RETRY_AFTER_SECONDS: u64 = 5;

/// Said for every signature failure, so that a forger learns nothing from it.
const BAD_SIGNATURE: &str = "signature verification failed";

#[derive(Serialize)]
struct Rejected<'a> {
    status: &'static str,
    error: &'a str,
}

/// One too many of what a stranger can send at will.
#[derive(Debug)]
pub(crate) struct Excess {
    pub(crate) wait: TooMany,
    /// How many of them were not logged; `None` where this one is not either.
    pub(crate) kept_back: Option<u64>,
}

/// Lines of one kind that pass at once; then one passes now and then.
const LINES_AT_ONCE: u32 = 20;

/// Lines about what a stranger can cause at will, each kind by itself, so that much of
/// one hides nothing of another.
#[derive(Debug)]
pub(crate) struct StrangersLines {
    method: Throttle,
    not_configured: Throttle,
    too_large: Throttle,
    slow_body: Throttle,
    broken_body: Throttle,
    crowded: Throttle,
    signature: Throttle,
    unverifiable: Throttle,
}

impl Default for StrangersLines {
    fn default() -> Self {
        let throttle = || Throttle::with_burst(LINES_AT_ONCE);
        Self {
            method: throttle(),
            not_configured: throttle(),
            too_large: throttle(),
            slow_body: throttle(),
            broken_body: throttle(),
            crowded: throttle(),
            signature: throttle(),
            unverifiable: throttle(),
        }
    }
}

impl StrangersLines {
    /// What holds back lines about `refusal`; `None` where its sender was verified, or
    /// where it was counted before.
    const fn of(&self, refusal: &Refusal) -> Option<&Throttle> {
        Some(match refusal {
            Refusal::Method => &self.method,
            Refusal::NotConfigured => &self.not_configured,
            Refusal::TooLarge => &self.too_large,
            Refusal::SlowBody => &self.slow_body,
            Refusal::BrokenBody => &self.broken_body,
            Refusal::Crowded => &self.crowded,
            Refusal::Signature(_) => &self.signature,
            Refusal::Unverifiable(_) => &self.unverifiable,
            Refusal::TooMany(_)
            | Refusal::TooManySignatures(_)
            | Refusal::NotAnEvent(_)
            | Refusal::Intake(_)
            | Refusal::Forged(_)
            | Refusal::Unmatched(_)
            | Refusal::NotApplied(_) => return None,
        })
    }
}

/// Why nothing was accepted.
#[derive(Debug)]
pub(crate) enum Refusal {
    Method,
    NotConfigured,
    TooLarge,
    SlowBody,
    BrokenBody,
    Signature(gateways::Reason),
    /// The gateway, which has to be asked about it, does not answer.
    Unverifiable(engine::clients::Unreachable),
    NotAnEvent(gateways::NotAnEvent),
    /// More of this address, or of all, than the endpoint takes.
    TooMany(Excess),
    /// As `Signature`, once too often.
    TooManySignatures(Excess),
    /// Too many bodies are on their way at once, and this one was slow.
    Crowded,
    Intake(Refused),
    /// Its transmission came with another body before. This and the next ones hold the
    /// event's id.
    Forged(String),
    /// It is stored and waits: no such payment or booking is registered.
    Unmatched(String),
    /// It is stored, and applying it failed; it is tried again.
    NotApplied(String),
}

impl Refusal {
    /// Who asks with an API key or an HMAC of the merchant's own is told 401; Stripe,
    /// PayPal and Standard Webhooks document 400.
    fn status(&self, gateway: Gateway) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotConfigured | Self::Unverifiable(_) | Self::Crowded | Self::Intake(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::TooMany(_) | Self::TooManySignatures(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Signature(_) if matches!(gateway, Gateway::Generic | Gateway::Microservice) => {
                StatusCode::UNAUTHORIZED
            }
            Self::BrokenBody | Self::Signature(_) | Self::Forged(_) | Self::NotAnEvent(_) => StatusCode::BAD_REQUEST,
            Self::Unmatched(_) => StatusCode::NOT_FOUND,
            Self::NotApplied(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// For the sender.
    fn message(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Method => "deliveries are POSTed",
            Self::NotConfigured => "this endpoint is not configured",
            Self::TooLarge => "the body is too large",
            Self::SlowBody => "the body did not arrive in time",
            Self::BrokenBody => "the body could not be read",
            Self::Signature(_) | Self::Forged(_) => BAD_SIGNATURE,
            Self::Unmatched(_) => "no such payment or booking is registered; it is kept until it is",
            Self::NotApplied(_) => "it is stored, but applying it failed; it will be tried again",
            Self::NotAnEvent(why) => return Cow::Owned(format!("not an event: {why}")),
            Self::TooMany(_) | Self::TooManySignatures(_) => "too many requests, try again later",
            Self::Unverifiable(_) | Self::Crowded | Self::Intake(_) => "not accepted, try again later",
        })
    }

    const fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Self::TooMany(excess) | Self::TooManySignatures(excess) => Some(excess.wait.retry_after_seconds),
            Self::NotConfigured | Self::Unverifiable(_) | Self::Crowded | Self::Intake(_) => Some(RETRY_AFTER_SECONDS),
            _ => None,
        }
    }

    /// Where the sender was verified, so that it is known which event it is.
    const fn event_id(&self) -> Option<&str> {
        match self {
            Self::Forged(id) | Self::Unmatched(id) | Self::NotApplied(id) => Some(id.as_str()),
            _ => None,
        }
    }

    /// For the operator: one line, with the reason that the sender is not told. Of what
    /// strangers can cause at will, not every one is logged.
    pub(crate) fn log(&self, app: &App, endpoint: &Endpoint, client: Option<IpAddr>, started: Instant) {
        let kept_back = match app.strangers_lines.of(self).map(|throttle| throttle.pass(app.clock.now())) {
            None => None,
            Some(None) => return,
            Some(Some(number)) => (number > 0).then_some(number),
        };
        let reason = match self {
            Self::Signature(reason) => reason.to_string(),
            Self::Forged(_) => "its transmission came with another body before".to_owned(),
            Self::Intake(reason) => reason.to_string(),
            Self::Unverifiable(reason) => reason.to_string(),
            Self::NotConfigured => format!("no secret is in force, set {}", endpoint.set_by),
            Self::TooMany(excess) | Self::TooManySignatures(excess) => match excess.kept_back {
                None => return,
                Some(number) => format!("{number} more like it were refused since this was last said"),
            },
            other => other.message().into_owned(),
        };
        let what = match self {
            Self::NotConfigured => "the endpoint does not run",
            Self::Signature(_) | Self::Forged(_) => "signature",
            Self::Unmatched(_) => "nobody registered it",
            Self::NotApplied(_) => "applying failed",
            Self::TooMany(_) => "too many requests",
            Self::TooManySignatures(_) => "too many failed signatures",
            Self::NotAnEvent(_) => "not an event",
            Self::Unverifiable(_) => "it could not be verified",
            Self::Intake(_) => "not stored",
            Self::Method | Self::TooLarge | Self::SlowBody | Self::BrokenBody | Self::Crowded => "not taken",
        };
        tracing::warn!(
            endpoint = endpoint.path,
            gateway = endpoint.gateway.as_str(),
            account = %endpoint.account,
            client = client.map(tracing::field::display),
            event_id = self.event_id(),
            outcome = "refused",
            status = self.status(endpoint.gateway).as_u16(),
            duration_ms = started.elapsed().as_secs_f64() * 1000.0,
            reason,
            kept_back,
            "Delivery refused: {what}"
        );
    }

    pub(crate) fn response(&self, gateway: Gateway) -> Response {
        let status = self.status(gateway);
        let mut response = json(status, &Rejected { status: "error", error: &self.message() });
        if let Some(seconds) = self.retry_after_seconds() {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        response
    }
}

pub(crate) fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    let text = serde_json::to_vec(body).unwrap_or_default(); // Texts and booleans always serialise.
    let content_type = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, content_type, text).into_response()
}
