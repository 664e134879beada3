//! `/api/orders`

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use store::{HistoryRow, OrderRow, PaymentFilter, PaymentRow};

use super::payments::WhichParams;
use super::{Page, Params, cursor, limit};
use crate::App;
use crate::auth::{Reader, account_of};
use crate::error::ApiError;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListParams {
    account: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// `GET /api/orders`
pub async fn list(
    State(app): State<App>,
    Reader(key): Reader,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<OrderRow>>, ApiError> {
    let limit = limit(params.limit)?;
    let account = account_of(&key, params.account.as_deref())?;
    let rows = app.store.list_orders(account.as_ref(), cursor(params.cursor.as_deref())?, limit + 1).await?;
    Ok(Json(Page::of(rows, limit, |order| order.row)))
}

/// Payments of an order that its page shows.
const PAYMENTS_SHOWN_MAX: u32 = 200;

#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    order: OrderRow,
    payments: Vec<PaymentRow>,
    status_history: Vec<HistoryRow>,
}

/// `GET /api/orders/{id}`
pub async fn show(
    State(app): State<App>,
    Reader(key): Reader,
    Path(id): Path<String>,
    Params(which): Params<WhichParams>,
) -> Result<Response, ApiError> {
    let account = account_of(&key, which.account.as_deref())?;
    let order = match app.store.show_order(account.as_ref(), &id).await {
        Err(store::Error::Conflict(_)) => return Err(ApiError::ORDER_AMBIGUOUS),
        other => other?.ok_or(ApiError::ORDER_NOT_FOUND)?,
    };
    let of_order = PaymentFilter {
        account: Some(order.account.clone()),
        order_id: Some(order.id.clone()),
        ..PaymentFilter::default()
    };
    let payments = app.store.list_payments(&of_order, PAYMENTS_SHOWN_MAX).await?;
    let status_history = app.store.history_of(&order.account, &[&order.id]).await?;
    Ok(Json(Shown { order, payments, status_history }).into_response())
}
