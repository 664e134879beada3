//! Which path leads where.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::uri::{PathAndQuery, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use tower::ServiceExt;

use crate::api::{bookings, config, disputes, orders, payments, refunds, resources, webhooks};
use crate::error::ApiError;
use crate::{App, ingress};

/// Every path of the product. Endpoints are looked up before the routes, because they
/// can change while the server runs, and because one of them (`/api/payments/webhook`)
/// lies where the API would see a payment's id. A slash at the end makes no difference.
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
        .route("/api/payments/{id}/external-pending", post(payments::expect_external))
        .route("/api/payments/{id}/release", post(payments::release))
        .route("/api/orders", get(orders::list).post(orders::register))
        .route("/api/orders/{id}", get(orders::show))
        .route("/api/orders/{id}/payments", post(payments::register))
        .route("/api/refunds", get(refunds::list))
        .route("/api/disputes", get(disputes::list))
        .route("/api/resources", get(resources::list).post(resources::register))
        .route("/api/resources/{id}", get(resources::show))
        .route("/api/resources/{id}/availability", get(resources::availability))
        .route("/api/bookings", get(bookings::list).post(bookings::register))
        .route("/api/bookings/{id}", get(bookings::show))
        .route("/api/bookings/{id}/cancel", post(bookings::cancel))
        .route("/api/bookings/{id}/confirm", post(bookings::confirm))
        .route("/api/config/public", get(config::public))
        .route("/healthz", get(|| async { StatusCode::OK }))
        .route("/readyz", get(webhooks::ready))
        .method_not_allowed_fallback(|| async { ApiError::METHOD });
    let api = api.fallback(|| async { ApiError::NO_SUCH_PATH }).with_state(app.clone());
    Router::new().fallback(dispatch).with_state(Arc::new(Front { app, api }))
}

/// Paths that are the product's own, each with all that lies below it.
const RESERVED: [&str; 18] = [
    "/api/bookings",
    "/api/config",
    "/api/disputes",
    "/api/notifications",
    "/api/orders",
    "/api/payments",
    "/api/refunds",
    "/api/resources",
    "/api/stream",
    "/api/subscriptions",
    "/api/webhooks/events",
    "/api/webhooks/health",
    "/api/webhooks/stats",
    "/dashboard",
    "/healthz",
    "/metrics",
    "/pay",
    "/readyz",
];

/// Whether no endpoint may be put at this path, because it would hide a page of ours.
pub fn is_reserved(path: &str) -> bool {
    path == "/payments/webhook-dashboard"
        || RESERVED
            .iter()
            .any(|own| path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// The endpoints, and the routes behind them.
struct Front {
    app: App,
    api: Router,
}

async fn dispatch(State(front): State<Arc<Front>>, request: Request) -> Response {
    let endpoints = front.app.endpoints.get();
    if let Some(endpoint) = endpoints.at(request.uri().path()) {
        return ingress::receive(&front.app, &endpoints, endpoint, request).await;
    }
    let Ok(response) = front.api.clone().oneshot(without_slash(request)).await;
    response
}

fn without_slash(mut request: Request) -> Request {
    let uri = request.uri();
    let path = uri.path();
    if path.len() > 1 && path.ends_with('/') {
        let query = uri.query().map_or(String::new(), |query| format!("?{query}"));
        let shortened = PathAndQuery::try_from(format!("{}{query}", &path[..path.len() - 1]));
        let mut parts = uri.clone().into_parts();
        if let Ok(shortened) = shortened {
            parts.path_and_query = Some(shortened);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
    }
    request
}
