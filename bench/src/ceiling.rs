//! The ceiling: what the machine gives with our HTTP stack, signature check and
//! reading of the event's envelope, and no database. The same reply as Quittance's.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use domain::Timestamp;
use gateways::{Gateway, Secret, Verdict};
use secrecy::SecretString;

use crate::requests::{PATH, SECRET};

const TOLERANCE_SECONDS: u64 = 300;

/// Serves until the process is ended; says where, once it accepts.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(listen: SocketAddr) -> anyhow::Result<()> {
    let secrets: Arc<[Secret]> = Arc::new([Secret::from_text(&SecretString::from(SECRET))]);
    let router = Router::new().route(PATH, post(accept)).with_state(secrets);
    let listener = tokio::net::TcpListener::bind(listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    server::serve::run(listener, router, server::serve::Connections::default(), std::future::pending()).await;
    Ok(())
}

async fn accept(State(secrets): State<Arc<[Secret]>>, headers: HeaderMap, body: Bytes) -> Response {
    let now = Timestamp::from_seconds(crate::now_seconds());
    if !matches!(Gateway::Stripe.verify(&headers, &body, &secrets, now, TOLERANCE_SECONDS), Verdict::Valid { .. }) {
        return StatusCode::BAD_REQUEST.into_response();
    }
    match Gateway::Stripe.envelope(&headers, &body) {
        Ok(envelope) => {
            let id = envelope.event_id;
            let json = format!(r#"{{"received":true,"status":"accepted","event_id":"{id}"}}"#);
            ([(header::CONTENT_TYPE, "application/json")], json).into_response()
        }
        Err(_) => StatusCode::BAD_REQUEST.into_response(),
    }
}
