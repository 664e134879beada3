//! `/api/disputes`

use axum::Json;
use axum::extract::State;
use domain::DisputeStatus;
use serde::Deserialize;
use store::{DisputeFilter, DisputeRow};

use super::{Page, Params, cursor, limit, word};
use crate::App;
use crate::auth::{Reader, account_of};
use crate::error::ApiError;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListParams {
    account: Option<String>,
    payment: Option<String>,
    status: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// `GET /api/disputes`
pub async fn list(
    State(app): State<App>,
    Reader(key): Reader,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<DisputeRow>>, ApiError> {
    let limit = limit(params.limit)?;
    let filter = DisputeFilter {
        account: account_of(&key, params.account.as_deref())?,
        status: word("status", params.status, DisputeStatus::ALL, |status| status.as_str())?,
        payment: params.payment,
        before: cursor(params.cursor.as_deref())?,
    };
    let rows = app.store.list_disputes(&filter, limit + 1).await?;
    Ok(Json(Page::of(rows, limit, |dispute| dispute.row)))
}
