//! The door: who may deliver, how much, how fast, and whether the gateway signed it.
//! Nothing that is not verified gets past it.

use std::net::IpAddr;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, Method};
use domain::Timestamp;
use gateways::{Gateway, Reason, Verdict};

use crate::body::{self, Received};
use crate::limits::sender;
use crate::refusal::{Excess, Refusal};
use crate::{App, Endpoint};

/// A delivery that its gateway signed. Its body's share of the memory is held as long
/// as this is.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) headers: HeaderMap,
    received: Received,
    pub(crate) received_at: Timestamp,
}

impl Delivery {
    pub(crate) fn body(&self) -> &Bytes {
        &self.received.bytes
    }
}

/// What a limit counts, beside the endpoint and the address.
#[derive(Hash)]
enum Counted {
    OfAnAddress(Option<IpAddr>),
    OfAll,
    FailedSignatures(Option<IpAddr>),
}

/// Takes in what `client` delivers to this endpoint, if it may and its gateway signed it.
pub(crate) async fn admit(
    app: &App,
    endpoint: &Endpoint,
    client: Option<IpAddr>,
    request: Request,
) -> Result<Delivery, Refusal> {
    let (head, mut body) = request.into_parts();
    let may = may_deliver(app, endpoint, client, &head.method, &head.headers);
    let received = match may {
        Ok(()) => body::read(&app.bodies, &mut body, endpoint.limits.body_bytes_max).await,
        Err(refusal) => Err(refusal),
    };
    let received = match received {
        Ok(received) => received,
        Err(refusal) => {
            if !matches!(refusal, Refusal::SlowBody | Refusal::BrokenBody | Refusal::Crowded) {
                body::drain(&head.headers, body);
            }
            return Err(refusal);
        }
    };
    let received_at = app.clock.now();
    match verify(endpoint, &head.headers, &received.bytes, received_at).await? {
        Verdict::Valid { .. } => Ok(Delivery { headers: head.headers, received, received_at }),
        Verdict::Invalid(reason) => Err(badly_signed(app, endpoint, client, reason)),
    }
}

async fn verify(endpoint: &Endpoint, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Result<Verdict, Refusal> {
    let (secrets, tolerance_seconds) = (endpoint.secrets.at(now), endpoint.limits.tolerance_seconds);
    match &endpoint.paypal {
        Some(paypal) => {
            paypal.verify(headers, body, secrets, now, tolerance_seconds).await.map_err(Refusal::Unverifiable)
        }
        None => Ok(endpoint.gateway.verify(headers, body, secrets, now, tolerance_seconds)),
    }
}

/// What can be said before the body is read.
fn may_deliver(
    app: &App,
    endpoint: &Endpoint,
    client: Option<IpAddr>,
    method: &Method,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    if method != Method::POST {
        return Err(Refusal::Method);
    }
    let limits = &endpoint.limits;
    let take = |counted, rate| {
        let now = app.clock.now();
        let taken = app.limiter.take((&endpoint.path, counted), rate, now);
        taken.map_err(|wait| Refusal::TooMany(Excess { wait, kept_back: app.excess_lines.pass(now) }))
    };
    if let Some(rate) = limits.of_an_address {
        take(Counted::OfAnAddress(client.map(sender)), rate)?;
    }
    if let Some(rate) = limits.of_all {
        take(Counted::OfAll, rate)?;
    }
    if endpoint.secrets.at(app.clock.now()).is_empty() {
        return Err(Refusal::NotConfigured);
    }
    if body::announces_more_than(headers, limits.body_bytes_max) {
        return Err(Refusal::TooLarge);
    }
    match unproved(endpoint, headers, app.clock.now()) {
        Some(reason) => Err(badly_signed(app, endpoint, client, reason)),
        None => Ok(()),
    }
}

/// Why no body at all could be verified with these headers; `None` where one could.
fn unproved(endpoint: &Endpoint, headers: &HeaderMap, now: Timestamp) -> Option<Reason> {
    let one_of: &[&str] = match endpoint.gateway {
        Gateway::Stripe => &["stripe-signature"],
        Gateway::Paypal => &["paypal-transmission-sig"],
        Gateway::Generic => &["x-webhook-signature", "webhook-signature", "svix-signature"],
        Gateway::StandardWebhooks => &["webhook-signature", "svix-signature"],
        // An API key says all that there is to say.
        Gateway::Microservice => match endpoint.gateway.verify(headers, &[], endpoint.secrets.at(now), now, 0) {
            Verdict::Valid { .. } => return None,
            Verdict::Invalid(reason) => return Some(reason),
        },
    };
    let is_there = one_of.iter().any(|name| headers.contains_key(*name));
    (!is_there).then_some(Reason::HeaderMissing)
}

/// Verified or not is found out first, so that who signs well is never told to wait for
/// those who do not.
fn badly_signed(app: &App, endpoint: &Endpoint, client: Option<IpAddr>, reason: Reason) -> Refusal {
    let now = app.clock.now();
    let counted = (&endpoint.path, Counted::FailedSignatures(client.map(sender)));
    match app.limiter.take(counted, endpoint.limits.failed_signatures, now) {
        Ok(()) => Refusal::Signature(reason),
        Err(wait) => Refusal::TooManySignatures(Excess { wait, kept_back: app.unsigned_lines.pass(now) }),
    }
}
