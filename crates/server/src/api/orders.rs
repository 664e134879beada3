//! `/api/orders`

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use domain::money::Money;
use serde::{Deserialize, Serialize};
use store::{HistoryRow, NewOrder, OrderRow, PaymentFilter, PaymentRow};

use super::body::{Command, Fields};
use super::payments::WhichParams;
use super::{Page, Params, Path, answered, cursor, limit, made, new_id};
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
pub struct Shown {
    #[serde(flatten)]
    order: OrderRow,
    payments: Vec<PaymentRow>,
    status_history: Vec<HistoryRow>,
}

async fn shown(app: &App, order: OrderRow) -> Result<Shown, ApiError> {
    let of_order = PaymentFilter {
        account: Some(order.account.clone()),
        order_id: Some(order.id.clone()),
        ..PaymentFilter::default()
    };
    let payments = app.store.list_payments(&of_order, PAYMENTS_SHOWN_MAX).await?;
    let status_history = app.store.history_of_order(&order.account, &order.id).await?;
    Ok(Shown { order, payments, status_history })
}

/// `GET /api/orders/{id}`
pub async fn show(
    State(app): State<App>,
    Reader(key): Reader,
    Path(id): Path<String>,
    Params(which): Params<WhichParams>,
) -> Result<Json<Shown>, ApiError> {
    let account = account_of(&key, which.account.as_deref())?;
    let order = match app.store.show_order(account.as_ref(), &id).await {
        Err(store::Error::Conflict(_)) => return Err(ApiError::ORDER_AMBIGUOUS),
        other => other?.ok_or(ApiError::ORDER_NOT_FOUND)?,
    };
    Ok(Json(shown(&app, order).await?))
}

/// `POST /api/orders`: what is due for an order.
pub async fn register(State(app): State<App>, command: Command) -> Result<Response, ApiError> {
    let now = app.clock.now();
    let mut fields = command.fields(&["id", "amount", "currency", "customer", "metadata"])?;
    let id = fields.id("id")?;
    let (amount, currency) = (fields.amount("amount")?, fields.currency("currency")?);
    let due = Money { amount: fields.required("amount", amount)?, currency: fields.required("currency", currency)? };
    let customer = fields.object("customer", "customer.", &["reference", "email", "name"])?;
    let metadata = fields.metadata("metadata")?;
    let order = NewOrder {
        id: id.unwrap_or_else(|| new_id("ord", now)),
        due,
        customer: customer.map(customer_text).transpose()?,
        metadata: (!metadata.is_empty()).then(|| serde_json::json!(metadata).to_string()),
    };
    let Command { account, idempotency, .. } = command;
    let registered = app.store.register_order(&account, order, idempotency, now).await??;
    tracing::info!(%account, order_id = registered.id(), status = made(&registered).as_u16(), "Order registered");
    let order = app.store.show_order(Some(&account), registered.id()).await?.ok_or(ApiError::ORDER_NOT_FOUND)?;
    Ok(answered(made(&registered), &registered, shown(&app, order).await?))
}

/// As it is stored: the same customer has the same text.
fn customer_text(mut fields: Fields) -> Result<String, ApiError> {
    let mut customer = serde_json::Map::new();
    for name in ["reference", "email", "name"] {
        if let Some(text) = fields.reference(name)? {
            customer.insert(name.to_owned(), text.into());
        }
    }
    Ok(serde_json::Value::Object(customer).to_string())
}
