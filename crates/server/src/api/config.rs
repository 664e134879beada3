//! `/api/config`

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::App;

/// What everybody may know, a payer's browser too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PublicConfig {
    pub stripe_publishable_key: Option<String>,
}

/// `GET /api/config/public`, open to all.
pub async fn public(State(app): State<App>) -> Json<PublicConfig> {
    Json(PublicConfig::clone(&app.public))
}
