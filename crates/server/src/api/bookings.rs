//! `/api/bookings`: who has which days of what can be booked.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::AccountId;
use domain::booking::{BookingReason, BookingStatus, BookingTerms, OnConflict};
use serde::{Deserialize, Serialize};
use store::{BookingFilter, BookingRow, HistoryRow, PaymentRow, Registered};

use super::body::Command;
use super::payments::{WhichParams, warn_of_mismatch};
use super::{Page, Params, Path, answered, cursor, limit, made, new_id, word};
use crate::App;
use crate::auth::{Reader, account_of};
use crate::error::ApiError;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListParams {
    account: Option<String>,
    resource: Option<String>,
    status: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// `GET /api/bookings`
pub async fn list(
    State(app): State<App>,
    Reader(key): Reader,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<BookingRow>>, ApiError> {
    let limit = limit(params.limit)?;
    let filter = BookingFilter {
        account: account_of(&key, params.account.as_deref())?,
        resource_id: params.resource,
        status: word("status", params.status, BookingStatus::ALL, |status| status.as_str())?,
        before: cursor(params.cursor.as_deref())?,
    };
    let rows = app.store.list_bookings(&filter, limit + 1).await?;
    Ok(Json(Page::of(rows, limit, |booking| booking.row)))
}

#[derive(Debug, Serialize)]
pub struct Shown {
    #[serde(flatten)]
    booking: BookingRow,
    payments: Vec<PaymentRow>,
    history: Vec<HistoryRow>,
    /// What is awaited.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'static str>,
}

async fn shown(app: &App, account: Option<&AccountId>, id: &str) -> Result<Shown, ApiError> {
    let booking = match app.store.show_booking(account, id).await {
        Err(store::Error::Conflict(_)) => return Err(ApiError::BOOKING_AMBIGUOUS),
        other => other?.ok_or(ApiError::BOOKING_NOT_FOUND)?,
    };
    let mut payments = Vec::new();
    for payment_id in &booking.payment_ids {
        payments.extend(app.store.show_payment(Some(&booking.account), payment_id).await?);
    }
    let history = app.store.history_of_booking(&booking.account, &booking.id).await?;
    Ok(Shown { booking, payments, history, detail: None })
}

/// `GET /api/bookings/{id}`
pub async fn show(
    State(app): State<App>,
    Reader(key): Reader,
    Path(id): Path<String>,
    Params(which): Params<WhichParams>,
) -> Result<Json<Shown>, ApiError> {
    let account = account_of(&key, which.account.as_deref())?;
    Ok(Json(shown(&app, account.as_ref(), &id).await?))
}

const REGISTERED: [&str; 8] = ["id", "resource_id", "start", "end", "amount", "currency", "session_id", "on_conflict"];

/// What the gateway had said before decided a booking that was open until now.
fn log_decided(shown: &Shown) {
    let Shown { booking, payments, .. } = shown;
    let (account, booking_id) = (&booking.account, &booking.id);
    let lost = booking.reason.as_deref() == Some(BookingReason::DatesUnavailable.as_str());
    let message = match booking.status.as_str() {
        "pending" => return,
        "confirmed" => format!("Booking {booking_id} confirmed successfully via webhook"),
        "cancelled" if lost => format!("Booking {booking_id} cancelled due to availability conflict"),
        status => format!("The booking {booking_id} is {status}"),
    };
    tracing::info!(%account, booking_id, status = booking.status, "{message}");
    payments.iter().for_each(warn_of_mismatch);
}

/// `POST /api/bookings`. Its days are claimed when it is paid, not before.
pub async fn register(State(app): State<App>, command: Command) -> Result<Response, ApiError> {
    let now = app.clock.now();
    let mut fields = command.fields(&REGISTERED)?;
    let id = fields.id("id")?.unwrap_or_else(|| new_id("bkg", now));
    let resource_id = fields.id("resource_id")?;
    let resource_id = fields.required("resource_id", resource_id)?;
    let days = fields.days()?;
    let (amount, currency) = (fields.amount("amount")?, fields.currency("currency")?);
    let (amount, currency) = (fields.required("amount", amount)?, fields.required("currency", currency)?);
    let on_conflict = fields.one_of("on_conflict", "cancel, refund", OnConflict::parse)?;
    let terms = BookingTerms {
        resource_id,
        days,
        amount: Some(amount),
        currency: Some(currency),
        on_conflict: on_conflict.unwrap_or(OnConflict::Cancel),
        session_ids: fields.session("session_id")?.into_iter().collect(),
        hinted_session_ids: BTreeSet::new(),
        released: false,
    };
    let Command { account, idempotency, .. } = command;
    let registered = app.store.register_booking(&account, id, terms, idempotency, now).await??;
    let (booking_id, status) = (registered.id(), made(&registered));
    tracing::info!(%account, booking_id, status = status.as_u16(), "Booking registered");
    let shown = shown(&app, Some(&account), booking_id).await?;
    if matches!(registered, Registered::New(_)) {
        log_decided(&shown);
    }
    Ok(answered(status, &registered, shown))
}

/// `POST /api/bookings/{id}/cancel`: it is given up, and its days are free.
pub async fn cancel(State(app): State<App>, Path(id): Path<String>, command: Command) -> Result<Response, ApiError> {
    command.has_no_fields()?;
    let Command { account, idempotency, .. } = command;
    let registered = app.store.cancel_booking(&account, id, idempotency, app.clock.now()).await??;
    tracing::info!(%account, booking_id = registered.id(), "Booking cancelled by a caller");
    let shown = shown(&app, Some(&account), registered.id()).await?;
    Ok(answered(StatusCode::OK, &registered, shown))
}

const AWAITED: &str = "the gateway has not said yet that this session is paid; its webhook is awaited";
const HELD: &str = "what was paid is not what was asked for: it is held until the payment is released";

/// `POST /api/bookings/{id}/confirm`: the payer came back from the gateway's page with
/// this checkout session, which is the payer's word: it finds the payment, and vouches
/// for nothing. What the gateway said of it counts, whichever way it comes first; a
/// booking is confirmed by that once, or not at all.
pub async fn confirm(State(app): State<App>, Path(id): Path<String>, command: Command) -> Result<Response, ApiError> {
    let mut fields = command.fields(&["session_id"])?;
    let session_id = fields.session("session_id")?;
    let session_id = fields.required("session_id", session_id)?;
    let Command { account, idempotency, .. } = command;
    let before = app.store.show_booking(Some(&account), &id).await?.ok_or(ApiError::BOOKING_NOT_FOUND)?;
    let was_open = before.status == BookingStatus::Pending.as_str();
    let now = app.clock.now();
    let registered = app.store.add_booking_session(&account, id, session_id, idempotency, now).await??;
    let mut shown = shown(&app, Some(&account), registered.id()).await?;
    let is_open = shown.booking.status == BookingStatus::Pending.as_str();
    let is_held = shown.payments.iter().any(|row| row.payment.hold_reason.is_some());
    shown.detail = is_open.then_some(if is_held { HELD } else { AWAITED });
    let status = if is_open { StatusCode::ACCEPTED } else { StatusCode::OK };
    tracing::info!(%account, booking_id = registered.id(), status = shown.booking.status, "Payer came back");
    if was_open {
        log_decided(&shown);
    }
    Ok(answered(status, &registered, shown))
}
