//! A delivery's way in: through the [`door`], then which event it is, and on to disk. No
//! rule of business runs here, and nothing is parsed before it is verified.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use gateways::{Envelope, Gateway};
use store::{EventIdentity, NewEvent, Receipt};

use crate::client_address::Peer;
use crate::door;
use crate::endpoint::{self, Endpoints, OnAmountMismatch};
use crate::refusal::{Refusal, json};
use crate::reply::{self, Answer, Awaited, Reply};
use crate::{App, Endpoint};

/// Takes a delivery to `endpoint`, which is one of `endpoints`.
pub(crate) async fn receive(app: &App, endpoints: &Endpoints, endpoint: &Arc<Endpoint>, request: Request) -> Response {
    let started = Instant::now();
    let client = client(endpoints, &request);
    let (event_id, answer) = match accept(app, endpoint, client, request).await {
        Ok((event_id, answer)) => (event_id, answer),
        Err(refusal) => {
            refusal.log(app, endpoint, client, started);
            return refusal.response(endpoint.gateway);
        }
    };
    let (outcome, status) = (answer.outcome(), answer.status());
    log_accepted(endpoint, &event_id, outcome, status, started);
    json(status, &Reply { received: true, status: outcome, event_id: &event_id, outcome: answer.fields() })
}

/// Who is at the other end; `None` where no connection says it.
fn client(endpoints: &Endpoints, request: &Request) -> Option<IpAddr> {
    let Peer(peer) = *request.extensions().get()?;
    Some(endpoints.proxies.client(peer, request.headers()))
}

/// One line for a delivery that was taken.
fn log_accepted(endpoint: &Endpoint, event_id: &str, outcome: &str, status: StatusCode, started: Instant) {
    tracing::info!(
        endpoint = endpoint.path,
        gateway = endpoint.gateway.as_str(),
        account = %endpoint.account,
        event_id,
        outcome,
        status = status.as_u16(),
        duration_ms = started.elapsed().as_secs_f64() * 1000.0,
        "Delivery accepted"
    );
}

async fn accept(
    app: &App,
    endpoint: &Endpoint,
    client: Option<IpAddr>,
    request: Request,
) -> Result<(String, Answer), Refusal> {
    let delivery = door::admit(app, endpoint, client, request).await?;
    let envelope = endpoint.gateway.envelope(&delivery.headers, delivery.body()).map_err(Refusal::NotAnEvent)?;
    let ignored_because = of_no_concern(endpoint, &envelope);
    let event_id = envelope.event_id.clone();
    let awaited = (endpoint.reply == endpoint::Reply::Applied).then(|| Awaited {
        settled: app.intake.settlement_of(&event_id), // Before it can be settled.
        event: EventIdentity {
            gateway: endpoint.gateway.as_str(),
            mode: envelope.mode,
            connected_account: envelope.connected_account.clone().unwrap_or_default(),
            event_id: event_id.clone(),
        },
    });
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
        endpoint.creates(),
        ignored_because,
        delivery.received_at,
        delivery.body().clone(),
    )
    .in_json(is_json(endpoint.gateway, delivery.body()))
    .holding_mismatch(endpoint.on_amount_mismatch == OnAmountMismatch::Hold)
    .of_transmission(endpoint.gateway.transmission_id(&delivery.headers).map(str::to_owned));
    let receipt = app.intake.submit(event).await.map_err(Refusal::Intake)?;
    let answer = match (receipt, awaited) {
        (Receipt::Forged, _) => return Err(Refusal::Forged(event_id)),
        (Receipt::Ignored, _) => Answer::Ignored,
        (Receipt::New | Receipt::Again, None) => Answer::Accepted,
        (Receipt::Duplicate, None) => Answer::Duplicate(None),
        (Receipt::Duplicate, Some(awaited)) => reply::of_duplicate(app, endpoint, awaited.event).await?,
        (Receipt::New | Receipt::Again, Some(awaited)) => reply::once_applied(app, endpoint, awaited).await?,
    };
    Ok((event_id, answer))
}

/// Of the other gateways, whose events have to be JSON, this is known already.
fn is_json(gateway: Gateway, body: &[u8]) -> bool {
    gateway != Gateway::StandardWebhooks || serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
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
