//! `/api/payments`

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use domain::PaymentStatus;
use serde::{Deserialize, Serialize};
use store::{EventFilter, EventRow, HistoryRow, PaymentFilter, PaymentRow};

use super::{Page, Params, cursor, limit};
use crate::App;
use crate::auth::{Reader, account_of};
use crate::error::ApiError;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListParams {
    account: Option<String>,
    status: Option<String>,
    order: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// `GET /api/payments`
pub async fn list(
    State(app): State<App>,
    Reader(key): Reader,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<PaymentRow>>, ApiError> {
    let limit = limit(params.limit)?;
    let known = || PaymentStatus::ALL.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(", ");
    let status = params.status.as_deref().map(|text| {
        PaymentStatus::parse(text).ok_or_else(|| ApiError::bad_request(format!("status is one of {}", known())))
    });
    let filter = PaymentFilter {
        account: account_of(&key, params.account.as_deref())?,
        status: status.transpose()?,
        order_id: params.order,
        before: cursor(params.cursor.as_deref())?,
    };
    let rows = app.store.list_payments(&filter, limit + 1).await?;
    Ok(Json(Page::of(rows, limit, |payment| payment.number)))
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhichParams {
    pub(crate) account: Option<String>,
}

/// Events and transitions that a payment's page shows.
const SHOWN_MAX: u32 = 200;

#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    payment: PaymentRow,
    history: Vec<HistoryRow>,
    /// Newest first.
    events: Vec<EventRow>,
}

/// `GET /api/payments/{id}`
pub async fn show(
    State(app): State<App>,
    Reader(key): Reader,
    Path(id): Path<String>,
    Params(which): Params<WhichParams>,
) -> Result<Response, ApiError> {
    let account = account_of(&key, which.account.as_deref())?;
    let payment = app.store.show_payment(account.as_ref(), &id).await?.ok_or(ApiError::PAYMENT_NOT_FOUND)?;
    let of_payment = EventFilter {
        account: Some(payment.account.clone()),
        payment: Some(payment.payment.id.clone()),
        ..EventFilter::default()
    };
    let events = app.store.list_events(&of_payment, SHOWN_MAX).await?;
    let refunds = payment.payment.refunds.iter().map(|refund| refund.id.as_str());
    let disputes = payment.payment.disputes.iter().map(|dispute| dispute.id.as_str());
    let subjects: Vec<&str> = std::iter::once(payment.payment.id.as_str()).chain(refunds).chain(disputes).collect();
    let history = app.store.history_of(&payment.account, &subjects).await?;
    Ok(Json(Shown { payment, history, events }).into_response())
}
