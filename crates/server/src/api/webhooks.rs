//! `/api/webhooks`: health, and the stored events.

use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{ApiKey, EventDetail, EventFilter, EventRow, EventState, StateCounts};

use super::{Page, Params, Path, cursor, instant, limit};
use crate::App;
use crate::auth::{Reader, Writer, account_of};
use crate::error::ApiError;

/// A backlog older than this is a trouble of its own.
const OLDEST_PENDING_SECONDS_MAX: i64 = 60;
/// Who cannot be written to for so long accepts nothing.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
const STATS_WINDOW_MICROS: i64 = 24 * 60 * 60 * 1_000_000;

#[derive(Clone, Debug, Serialize)]
pub struct Health {
    status: &'static str,
    database: &'static str,
    /// Stored events that are not applied yet.
    backlog: u64,
    oldest_pending_seconds: i64,
    version: &'static str,
}

/// For so long it is remembered whether the database can be written to.
const PROBE_KEPT: Duration = Duration::from_secs(1);

/// Whether the database could be written to, and when that was found out. Held while
/// it is found out, so that anybody's asking costs the writer one look a second.
#[derive(Debug, Default)]
pub(crate) struct Probe(tokio::sync::Mutex<Option<(Instant, bool)>>);

impl Probe {
    async fn is_writable(&self, store: &store::Store) -> bool {
        let mut last = self.0.lock().await;
        if let Some((_, is_writable)) = last.filter(|(at, _)| at.elapsed() < PROBE_KEPT) {
            return is_writable;
        }
        let is_writable = matches!(tokio::time::timeout(PROBE_TIMEOUT, store.ping()).await, Ok(Ok(())));
        *last = Some((Instant::now(), is_writable));
        is_writable
    }
}

async fn look(app: &App) -> (StatusCode, Health) {
    let mut health = Health {
        status: "degraded",
        database: "unavailable",
        backlog: 0,
        oldest_pending_seconds: 0,
        version: env!("CARGO_PKG_VERSION"),
    };
    // This one says at once that the database is away; who reads waits for a connection.
    if app.intake.is_failing() || !app.probe.is_writable(&app.store).await {
        return (StatusCode::SERVICE_UNAVAILABLE, health);
    }
    let Ok(Ok(backlog)) = tokio::time::timeout(PROBE_TIMEOUT, app.store.backlog()).await else {
        return (StatusCode::SERVICE_UNAVAILABLE, health);
    };
    let age = |since: domain::Timestamp| app.clock.now().seconds().saturating_sub(since.seconds()).max(0);
    health.database = "ok";
    health.backlog = backlog.events;
    health.oldest_pending_seconds = backlog.oldest_received_at.map_or(0, age);
    if health.oldest_pending_seconds <= OLDEST_PENDING_SECONDS_MAX {
        health.status = "ok";
    }
    (StatusCode::OK, health)
}

/// `GET /api/webhooks/health`, open to all. 503 when nothing can be accepted.
pub async fn health(State(app): State<App>) -> (StatusCode, Json<Health>) {
    let (status, health) = look(&app).await;
    (status, Json(health))
}

/// `GET /readyz`: whether to send traffic here.
pub async fn ready(State(app): State<App>) -> StatusCode {
    look(&app).await.0
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListParams {
    account: Option<String>,
    gateway: Option<String>,
    endpoint: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    state: Option<String>,
    payment: Option<String>,
    since: Option<String>,
    until: Option<String>,
    q: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

fn event_state(text: Option<&str>) -> Result<Option<EventState>, ApiError> {
    let known = || EventState::ALL.map(EventState::as_str).join(", ");
    let read =
        |text| EventState::parse(text).ok_or_else(|| ApiError::bad_request(format!("state is one of {}", known())));
    text.map(read).transpose()
}

impl ListParams {
    fn filter(self, key: &ApiKey) -> Result<EventFilter, ApiError> {
        Ok(EventFilter {
            account: account_of(key, self.account.as_deref())?,
            state: event_state(self.state.as_deref())?,
            since: instant("since", self.since.as_deref())?,
            until: instant("until", self.until.as_deref())?,
            before: cursor(self.cursor.as_deref())?,
            gateway: self.gateway,
            endpoint: self.endpoint,
            event_type: self.event_type,
            payment: self.payment,
            q: self.q,
            event_id: None,
        })
    }
}

/// `GET /api/webhooks/events`
pub async fn list(
    State(app): State<App>,
    Reader(key): Reader,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<EventRow>>, ApiError> {
    let limit = limit(params.limit)?;
    let rows = app.store.list_events(&params.filter(&key)?, limit + 1).await?;
    Ok(Json(Page::of(rows, limit, |event| event.seq)))
}

/// Which of several events with one id is meant.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhichParams {
    account: Option<String>,
    gateway: Option<String>,
    mode: Option<String>,
    connected_account: Option<String>,
}

/// Events that may share one id: the account's, by gateway, mode and connected account.
const NAMESAKES_MAX: u32 = 200;

async fn find(app: &App, key: &ApiKey, event_id: String, which: WhichParams) -> Result<EventRow, ApiError> {
    let filter = EventFilter {
        account: account_of(key, which.account.as_deref())?,
        gateway: which.gateway,
        event_id: Some(event_id),
        ..EventFilter::default()
    };
    let mut found = app.store.list_events(&filter, NAMESAKES_MAX).await?;
    found.retain(|event| {
        which.mode.as_ref().is_none_or(|mode| *mode == event.mode)
            && which.connected_account.as_ref().is_none_or(|account| *account == event.connected_account)
    });
    match (found.pop(), found.pop()) {
        (None, _) => Err(ApiError::EVENT_NOT_FOUND),
        (Some(event), None) => Ok(event),
        (Some(_), Some(_)) => Err(ApiError::EVENT_AMBIGUOUS),
    }
}

#[derive(Debug, Serialize)]
struct Delivery<'a> {
    endpoint: &'a str,
    received_at: String,
}

#[derive(Debug, Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    detail: &'a EventDetail,
    /// As it was delivered; null once it was dropped by age.
    payload: Option<&'a RawValue>,
    deliveries: Vec<Delivery<'a>>,
}

/// `GET /api/webhooks/events/{id}`
pub async fn show(
    State(app): State<App>,
    Reader(key): Reader,
    Path(id): Path<String>,
    Params(which): Params<WhichParams>,
) -> Result<Response, ApiError> {
    let event = find(&app, &key, id, which).await?;
    let detail = app.store.show_event(&event.account, event.seq).await?.ok_or(ApiError::EVENT_NOT_FOUND)?;
    let first = Delivery { endpoint: &detail.event.endpoint, received_at: detail.event.created_at.to_string() };
    let more = detail
        .redeliveries
        .iter()
        .map(|delivery| Delivery { endpoint: &delivery.endpoint, received_at: delivery.received_at.to_string() });
    let shown = Shown {
        payload: detail.body.as_deref().and_then(|body| serde_json::from_slice(body).ok()),
        deliveries: std::iter::once(first).chain(more).collect(),
        detail: &detail,
    };
    Ok(Json(shown).into_response())
}

#[derive(Clone, Debug, Serialize)]
pub struct Replayed {
    /// Events put back to be applied (with `dry_run`: that would be).
    replayed: u64,
    dry_run: bool,
    /// What applying them again would change.
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<Vec<serde_json::Value>>,
}

/// How many events a dry run looks at.
const PREVIEW_MAX: u32 = 200;

async fn replay_filtered(app: &App, filter: &EventFilter, dry_run: bool) -> Result<Json<Replayed>, ApiError> {
    if !dry_run {
        let replayed = app.store.replay_events(filter, app.clock.now()).await?;
        tracing::info!(replayed, "Events put back by a caller");
        return Ok(Json(Replayed { replayed, dry_run, changes: None }));
    }
    let replayed = app.store.count_replayable(filter).await?;
    let events = app.store.list_events(filter, PREVIEW_MAX).await?;
    let changes = Some(preview(app, events).await?);
    Ok(Json(Replayed { replayed, dry_run, changes }))
}

async fn preview(app: &App, events: Vec<EventRow>) -> Result<Vec<serde_json::Value>, ApiError> {
    let mut changes = Vec::new();
    let mut by_account: std::collections::BTreeMap<_, Vec<i64>> = std::collections::BTreeMap::new();
    for event in events {
        by_account.entry(event.account).or_default().push(event.seq);
    }
    for (account, seqs) in by_account {
        let claimed = app.store.events_to_apply(&account, &seqs).await?;
        for (event_id, outcome) in engine::apply::preview(&app.store, &account, &claimed).await? {
            if let domain::Outcome::Applied { changes: of_event, .. } = outcome {
                let named = of_event.iter().map(|change| serde_json::json!({ "event_id": event_id, "change": change }));
                changes.extend(named);
            }
        }
    }
    Ok(changes)
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayOneParams {
    account: Option<String>,
    gateway: Option<String>,
    mode: Option<String>,
    connected_account: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

/// `POST /api/webhooks/events/{id}/replay`
pub async fn replay(
    State(app): State<App>,
    Writer(key): Writer,
    Path(id): Path<String>,
    Params(params): Params<ReplayOneParams>,
) -> Result<Json<Replayed>, ApiError> {
    let ReplayOneParams { account, gateway, mode, connected_account, dry_run } = params;
    let event = find(&app, &key, id, WhichParams { account, gateway, mode, connected_account }).await?;
    if dry_run {
        let replayed = u64::from(!app.store.events_to_apply(&event.account, &[event.seq]).await?.is_empty());
        return Ok(Json(Replayed { replayed, dry_run, changes: Some(preview(&app, vec![event]).await?) }));
    }
    let replayed = u64::from(app.store.replay_event(&event.account, event.seq, app.clock.now()).await?);
    tracing::info!(event_id = event.event_id, replayed, "Event put back by a caller");
    Ok(Json(Replayed { replayed, dry_run, changes: None }))
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplayManyBody {
    account: Option<String>,
    gateway: Option<String>,
    endpoint: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    state: Option<String>,
    payment: Option<String>,
    since: Option<String>,
    until: Option<String>,
    q: Option<String>,
    #[serde(default)]
    dry_run: bool,
}

/// `POST /api/webhooks/events/replay`: the filter as a JSON object. An empty filter
/// is refused, because it is more often a mistake than a wish.
pub async fn replay_many(State(app): State<App>, Writer(key): Writer, body: Bytes) -> Result<Json<Replayed>, ApiError> {
    let body: ReplayManyBody =
        serde_json::from_slice(&body).map_err(|error| ApiError::bad_request(format!("the filter: {error}")))?;
    let dry_run = body.dry_run;
    let params = ListParams {
        account: body.account,
        gateway: body.gateway,
        endpoint: body.endpoint,
        event_type: body.event_type,
        state: body.state,
        payment: body.payment,
        since: body.since,
        until: body.until,
        q: body.q,
        limit: None,
        cursor: None,
    };
    let filter = params.filter(&key)?;
    if !filter.is_narrow() {
        return Err(ApiError::bad_request("say which events: by type, state, payment, time, …"));
    }
    replay_filtered(&app, &filter, dry_run).await
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatsParams {
    account: Option<String>,
    since: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    since: String,
    #[serde(flatten)]
    counts: StateCounts,
    /// Of a hundred events that are settled, how many succeeded; null without any.
    success_rate: Option<f64>,
}

/// `GET /api/webhooks/stats`: over the last day, or since an instant.
pub async fn stats(
    State(app): State<App>,
    Reader(key): Reader,
    Params(params): Params<StatsParams>,
) -> Result<Json<Stats>, ApiError> {
    let account = account_of(&key, params.account.as_deref())?;
    let day_ago = app.clock.now().plus_micros(-STATS_WINDOW_MICROS);
    let since = instant("since", params.since.as_deref())?.unwrap_or(day_ago);
    let counts = app.store.count_states(account.as_ref(), since).await?;
    let processed = counts.applied + counts.ignored;
    let settled = processed + counts.failed + counts.dead + counts.waiting;
    let success_rate = (settled > 0).then(|| (processed as f64 / settled as f64 * 10_000.0).round() / 100.0);
    Ok(Json(Stats { since: since.to_string(), counts, success_rate }))
}
