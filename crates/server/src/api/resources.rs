//! `/api/resources`: what can be booked.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use domain::Days;
use serde::{Deserialize, Serialize};
use store::ResourceRow;

use super::body::{self, Command};
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

/// `GET /api/resources`
pub async fn list(
    State(app): State<App>,
    Reader(key): Reader,
    Params(params): Params<ListParams>,
) -> Result<Json<Page<ResourceRow>>, ApiError> {
    let limit = limit(params.limit)?;
    let account = account_of(&key, params.account.as_deref())?;
    let rows = app.store.list_resources(account.as_ref(), cursor(params.cursor.as_deref())?, limit + 1).await?;
    Ok(Json(Page::of(rows, limit, |resource| resource.row)))
}

/// `GET /api/resources/{id}`
pub async fn show(
    State(app): State<App>,
    Reader(key): Reader,
    Path(id): Path<String>,
    Params(which): Params<WhichParams>,
) -> Result<Json<ResourceRow>, ApiError> {
    let account = account_of(&key, which.account.as_deref())?.unwrap_or_default();
    Ok(Json(app.store.show_resource(&account, &id).await?.ok_or(ApiError::RESOURCE_NOT_FOUND)?))
}

/// `POST /api/resources`
pub async fn register(State(app): State<App>, command: Command) -> Result<Response, ApiError> {
    let now = app.clock.now();
    let mut fields = command.fields(&["id", "name"])?;
    let id = fields.id("id")?.unwrap_or_else(|| new_id("res", now));
    let name = fields.reference("name")?;
    let name = fields.required("name", name)?;
    let Command { account, idempotency, .. } = command;
    let registered = app.store.register_resource(&account, id, name, idempotency, now).await??;
    let shown = app.store.show_resource(&account, registered.id()).await?.ok_or(ApiError::RESOURCE_NOT_FOUND)?;
    tracing::info!(%account, resource_id = shown.id, status = made(&registered).as_u16(), "Resource registered");
    Ok(answered(made(&registered), &registered, shown))
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AvailabilityParams {
    account: Option<String>,
    from: Option<String>,
    to: Option<String>,
}

/// The first day, and the first day after the last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Range {
    start: String,
    end: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct Availability {
    resource_id: String,
    from: String,
    to: String,
    /// Whether all of it can be booked.
    available: bool,
    /// What confirmed bookings hold of it, in order.
    taken: Vec<Range>,
    free: Vec<Range>,
}

/// `GET /api/resources/{id}/availability?from&to`
pub async fn availability(
    State(app): State<App>,
    Reader(key): Reader,
    Path(id): Path<String>,
    Params(params): Params<AvailabilityParams>,
) -> Result<Json<Availability>, ApiError> {
    let account = account_of(&key, params.account.as_deref())?.unwrap_or_default();
    let missing = || ApiError::bad_request("say which days: ?from=2026-12-01&to=2026-12-08");
    let (from, to) = (params.from.ok_or_else(missing)?, params.to.ok_or_else(missing)?);
    let asked = body::days(("from", &from), ("to", &to))?;
    let resource = app.store.show_resource(&account, &id).await?.ok_or(ApiError::RESOURCE_NOT_FOUND)?;
    let held = app.store.taken_days(&account, &resource.id, &asked).await?;
    let (taken, free) = divide(&asked, &held);
    Ok(Json(Availability { resource_id: resource.id, from, to, available: taken.is_empty(), taken, free }))
}

/// What is held of the days that were asked for, and what is not. `held` is in order and
/// disjoint; days written as `YYYY-MM-DD` sort as text.
fn divide(asked: &Days, held: &[Days]) -> (Vec<Range>, Vec<Range>) {
    let range = |start: &str, end: &str| Range { start: start.to_owned(), end: end.to_owned() };
    let (mut taken, mut free) = (Vec::new(), Vec::new());
    let mut day = asked.start();
    for days in held {
        let (start, end) = (days.start().max(asked.start()), days.end().min(asked.end()));
        if day < start {
            free.push(range(day, start));
        }
        taken.push(range(start, end));
        day = end;
    }
    if day < asked.end() {
        free.push(range(day, asked.end()));
    }
    (taken, free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_taken_is_free() {
        type Ranges<'a> = &'a [(&'a str, &'a str)];
        let cases: [(&str, Ranges<'_>, Ranges<'_>, Ranges<'_>); 5] = [
            ("nothing is taken", &[], &[], &[("01", "10")]),
            ("all is taken", &[("01", "10")], &[("01", "10")], &[]),
            ("more than all", &[("00", "12")], &[("01", "10")], &[]),
            ("within", &[("02", "04"), ("04", "05")], &[("02", "04"), ("04", "05")], &[("01", "02"), ("05", "10")]),
            ("over the ends", &[("00", "03"), ("08", "12")], &[("01", "03"), ("08", "10")], &[("03", "08")]),
        ];
        let day = |text: &str| if text == "00" { "2026-11-30".to_owned() } else { format!("2026-12-{text}") };
        for (name, held, taken, free) in cases {
            let days: Vec<Days> =
                held.iter().map(|(start, end)| Days::parse(&day(start), &day(end)).expect("days")).collect();
            let ranges = |all: Ranges<'_>| -> Vec<Range> {
                all.iter().map(|(start, end)| Range { start: day(start), end: day(end) }).collect()
            };
            let asked = Days::parse("2026-12-01", "2026-12-10").expect("days");
            assert_eq!(divide(&asked, &days), (ranges(taken), ranges(free)), "{name}");
        }
    }
}
