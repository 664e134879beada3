//! `/api/payments`

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::money::{Minor, Money};
use domain::{AccountId, Currency, Flag, PaymentStatus, Registration, Terms};
use serde::{Deserialize, Serialize};
use store::{EventFilter, EventRow, HistoryRow, NewId, OrderRow, PaymentFilter, PaymentRow, Registered};

use super::body::Command;
use super::{Page, Params, Path, answered, cursor, limit, made, new_id};
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
pub struct Shown {
    #[serde(flatten)]
    payment: PaymentRow,
    history: Vec<HistoryRow>,
    /// Newest first.
    events: Vec<EventRow>,
}

async fn shown(app: &App, account: Option<&AccountId>, id: &str) -> Result<Shown, ApiError> {
    let payment = match app.store.show_payment(account, id).await {
        Err(store::Error::Conflict(_)) => return Err(ApiError::PAYMENT_AMBIGUOUS),
        other => other?.ok_or(ApiError::PAYMENT_NOT_FOUND)?,
    };
    let of_payment = EventFilter {
        account: Some(payment.account.clone()),
        payment: Some(payment.payment.id.clone()),
        ..EventFilter::default()
    };
    let events = app.store.list_events(&of_payment, SHOWN_MAX).await?;
    let history = app.store.history_of_payment(&payment.account, &payment.payment.id).await?;
    Ok(Shown { payment, history, events })
}

/// `GET /api/payments/{id}`
pub async fn show(
    State(app): State<App>,
    Reader(key): Reader,
    Path(id): Path<String>,
    Params(which): Params<WhichParams>,
) -> Result<Json<Shown>, ApiError> {
    let account = account_of(&key, which.account.as_deref())?;
    Ok(Json(shown(&app, account.as_ref(), &id).await?))
}

/// What came before it was registered may be another amount, which nobody could see then.
pub(super) fn warn_of_mismatch(row: &PaymentRow) {
    let flag = Flag::AmountMismatch;
    if row.payment.flags.contains(&flag) {
        let (account, payment_id) = (&row.account, &row.payment.id);
        tracing::warn!(%account, payment_id, flag = flag.as_str(), "A payment needs a look: {flag}");
    }
}

const REGISTERED: [&str; 9] = [
    "id",
    "amount",
    "currency",
    "gateway",
    "method",
    "transaction_id",
    "external_id",
    "gateway_transaction_id",
    "metadata",
];

/// `POST /api/orders/{id}/payments`: a payment that is to come, and how its gateway will
/// name it. Without an amount it is what is due for the order.
pub async fn register(
    State(app): State<App>,
    Path(order_id): Path<String>,
    command: Command,
) -> Result<Response, ApiError> {
    let now = app.clock.now();
    let mut fields = command.fields(&REGISTERED)?;
    let id = fields.id("id")?.map_or_else(|| NewId::Made(new_id("pay", now)), NewId::Given);
    let asked = (fields.amount("amount")?, fields.currency("currency")?);
    let order = app.store.show_order(Some(&command.account), &order_id).await?.ok_or(ApiError::ORDER_NOT_FOUND)?;
    let money = money(&order, asked)?;
    let mut registration = Registration::new(Terms {
        order_id: Some(order_id),
        amount: money.amount,
        currency: money.currency,
        gateway: fields.word("gateway")?,
        method: fields.word("method")?,
        metadata: fields.metadata("metadata")?,
    });
    registration.transaction_ids.extend(fields.reference("transaction_id")?);
    registration.external_ids.extend(fields.reference("external_id")?);
    registration.gateway_ids.extend(fields.reference("gateway_transaction_id")?);
    let Command { account, idempotency, .. } = command;
    let registered = app.store.register_payment(&account, id, registration, idempotency, now).await??;
    let (payment_id, status) = (registered.id(), made(&registered));
    tracing::info!(%account, payment_id, order_id = order.id, status = status.as_u16(), "Payment registered");
    let shown = shown(&app, Some(&account), payment_id).await?;
    if matches!(registered, Registered::New(_)) {
        warn_of_mismatch(&shown.payment);
    }
    Ok(answered(status, &registered, shown))
}

/// What is to be paid: what was said, else what is due for the order.
fn money(order: &OrderRow, asked: (Option<Minor>, Option<Currency>)) -> Result<Money, ApiError> {
    let due = order.amount.and_then(Minor::new).zip(order.currency.as_deref().and_then(Currency::parse));
    match (asked, due) {
        ((_, Some(currency)), Some((_, due))) if currency != due => Err(ApiError::CURRENCY_MISMATCH),
        ((amount, _), Some((due, currency))) => Ok(Money { amount: amount.unwrap_or(due), currency }),
        ((Some(amount), Some(currency)), None) => Ok(Money { amount, currency }),
        ((_, None) | (None, _), None) => Err(ApiError::AMOUNT_UNKNOWN),
    }
}

/// `POST /api/payments/{id}/external-pending`: it waits for a site outside of the
/// application, which knows it by `external_id`.
pub async fn expect_external(
    State(app): State<App>,
    Path(id): Path<String>,
    command: Command,
) -> Result<Response, ApiError> {
    let mut fields = command.fields(&["external_id"])?;
    let external_id = fields.reference("external_id")?;
    let external_id = fields.required("external_id", external_id)?;
    let Command { account, idempotency, .. } = command;
    let registered = app.store.expect_external(&account, id, external_id, idempotency, app.clock.now()).await??;
    tracing::info!(%account, payment_id = registered.id(), "Payment waits for an outside site");
    let shown = shown(&app, Some(&account), registered.id()).await?;
    Ok(answered(StatusCode::OK, &registered, shown))
}

/// `POST /api/payments/{id}/release`: a payment that is held counts after all.
pub async fn release(State(app): State<App>, Path(id): Path<String>, command: Command) -> Result<Response, ApiError> {
    command.has_no_fields()?;
    let Command { account, idempotency, .. } = command;
    let registered = app.store.release_payment(&account, id, idempotency, app.clock.now()).await??;
    tracing::info!(%account, payment_id = registered.id(), "Payment released by a caller");
    let shown = shown(&app, Some(&account), registered.id()).await?;
    Ok(answered(StatusCode::OK, &registered, shown))
}
