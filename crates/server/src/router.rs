//! Which path leads where.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};

use crate::api::{orders, payments, webhooks};
use crate::error::ApiError;
use crate::{App, ingress};

/// Every path of the product. Deliveries take what is left over, because endpoints
/// are looked up while the server runs.
pub fn router(app: App) -> Router {
    let api = Router::new()
        .route("/api/webhooks/health", get(webhooks::health))
        .route("/api/webhooks/events", get(webhooks::list))
        .route("/api/webhooks/events/replay", post(webhooks::replay_many))
        .route("/api/webhooks/events/{id}", get(webhooks::show))
        .route("/api/webhooks/events/{id}/replay", post(webhooks::replay))
        .route("/api/webhooks/stats", get(webhooks::stats))
        .route("/api/payments", get(payments::list))
        .route("/api/payments/{id}", get(payments::show))
        .route("/api/orders", get(orders::list))
        .route("/api/orders/{id}", get(orders::show))
        .route("/healthz", get(|| async { StatusCode::OK }))
        .route("/readyz", get(webhooks::ready))
        .method_not_allowed_fallback(|| async { ApiError::METHOD });
    api.fallback(ingress::receive).with_state(app)
}
