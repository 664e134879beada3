//! POST /api/webhooks/stripe: checks the signature over the raw body, and in one
//! transaction stores the event and does what it asks for. The gateway gets its 200
//! once that is committed.

mod event;
mod payments;
mod signature;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;

use crate::event::Event;

const BODY_LEN_MAX: usize = 1 << 20;
const CONNECTIONS_MAX: u32 = 32;

#[derive(Clone)]
struct App {
    pool: PgPool,
    secret: Arc<str>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let variable = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set"));
    let connections_max = match std::env::var("POOL_MAX") {
        Ok(text) => text.parse().context("POOL_MAX is not a number")?,
        Err(_) => CONNECTIONS_MAX,
    };
    let pool = PgPoolOptions::new()
        .max_connections(connections_max)
        // A connection that broke shows at its next statement; asking first is a round trip each time.
        .test_before_acquire(false)
        .connect(&variable("DATABASE_URL")?)
        .await?;
    sqlx::migrate!().run(&pool).await?;
    let app = App { pool, secret: variable("STRIPE_WEBHOOK_SECRET")?.into() };
    let router = Router::new()
        .route("/api/webhooks/stripe", post(stripe_webhook))
        .route("/api/webhooks/health", get(health))
        .layer(DefaultBodyLimit::max(BODY_LEN_MAX))
        .with_state(app);
    let port = std::env::var("PORT").unwrap_or_else(|_| "0".to_owned());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, router).await?;
    Ok(())
}

async fn stripe_webhook(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Response {
    let now_seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let header = headers.get("stripe-signature").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !signature::is_valid(app.secret.as_bytes(), header, &body, now_seconds) {
        return refuse("signature verification failed");
    }
    let Ok(text) = std::str::from_utf8(&body) else { return refuse("the body is not UTF-8") };
    let Ok(event) = serde_json::from_str::<Event>(text) else { return refuse("the body is not an event") };
    match take(&app.pool, &event, text).await {
        Ok(is_new) => {
            let status = if is_new { "success" } else { "duplicate" };
            Json(json!({"received": true, "status": status, "event_id": event.id})).into_response()
        }
        Err(error) => {
            eprintln!("event {} ({}) failed: {error:#}", event.id, event.kind);
            if let Err(again) = keep_for_review(&app.pool, &event, text, &error).await {
                eprintln!("event {} could not be kept either: {again}", event.id);
            }
            let reply = Json(json!({"status": "error", "error": "processing failed"}));
            (StatusCode::INTERNAL_SERVER_ERROR, reply).into_response()
        }
    }
}

fn refuse(why: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"status": "error", "error": why}))).into_response()
}

/// Returns whether the event is new. One that failed before is stored but not
/// processed, and is taken again.
async fn take(pool: &PgPool, event: &Event<'_>, body: &str) -> anyhow::Result<bool> {
    let mut transaction = pool.begin().await?;
    let stored = sqlx::query(
        "INSERT INTO webhook_events (event_id, event_type, payload, processed, processed_at)
         VALUES ($1, $2, $3::jsonb, true, now())
         ON CONFLICT (event_id) DO UPDATE SET processed = true, processed_at = now(), error_message = NULL
         WHERE NOT webhook_events.processed",
    )
    .bind(&*event.id)
    .bind(&*event.kind)
    .bind(body)
    .execute(&mut *transaction)
    .await?;
    let is_new = stored.rows_affected() == 1;
    if is_new {
        payments::apply(&mut transaction, event).await?;
    }
    transaction.commit().await?;
    Ok(is_new)
}

async fn keep_for_review(pool: &PgPool, event: &Event<'_>, body: &str, error: &anyhow::Error) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO webhook_events (event_id, event_type, payload, error_message)
         VALUES ($1, $2, $3::jsonb, $4)
         ON CONFLICT (event_id) DO UPDATE SET error_message = EXCLUDED.error_message
         WHERE NOT webhook_events.processed",
    )
    .bind(&*event.id)
    .bind(&*event.kind)
    .bind(body)
    .bind(format!("{error:#}"))
    .execute(pool)
    .await?;
    Ok(())
}

async fn health(State(app): State<App>) -> Response {
    match sqlx::query("SELECT 1").execute(&app.pool).await {
        Ok(_) => Json(json!({"status": "ok"})).into_response(),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
