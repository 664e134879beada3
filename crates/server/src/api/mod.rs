//! The merchant's questions. One file a noun.

pub mod body;
pub mod bookings;
pub mod config;
pub mod disputes;
pub mod orders;
pub mod payments;
pub mod refunds;
pub mod resources;
pub mod webhooks;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::Registered;
use uuid::{NoContext, Uuid};

use crate::error::ApiError;

const LIMIT_DEFAULT: u32 = 50;
const LIMIT_MAX: u32 = 200;

/// A query string whose mistakes are answered as problems.
#[derive(Clone, Copy, Debug)]
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = Query::<T>::from_request_parts(parts, state).await;
        params
            .map(|Query(params)| Self(params))
            .map_err(|error: QueryRejection| ApiError::bad_request(error.body_text()))
    }
}

/// A path's parameters whose mistakes are answered as problems.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(parameters)| Self(parameters))
            .map_err(|error: PathRejection| ApiError::bad_request(error.body_text()))
    }
}

/// One page of a list, newest first.
#[derive(Clone, Debug, Serialize)]
pub struct Page<T> {
    data: Vec<T>,
    /// Where the next page starts; null on the last.
    next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// `rows` were read with one more than `limit`, which tells whether more follow.
    fn of(mut rows: Vec<T>, limit: u32, position: impl Fn(&T) -> i64) -> Self {
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let next_cursor = rows.last().filter(|_| more).map(|last| position(last).to_string());
        Self { data: rows, next_cursor }
    }
}

fn limit(asked: Option<u32>) -> Result<u32, ApiError> {
    match asked.unwrap_or(LIMIT_DEFAULT) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        _ => Err(ApiError::bad_request(format!("limit is a number from 1 to {LIMIT_MAX}"))),
    }
}

fn cursor(text: Option<&str>) -> Result<Option<i64>, ApiError> {
    text.map(|text| text.parse().map_err(|_| ApiError::bad_request("cursor is a `next_cursor` of the page before")))
        .transpose()
}

/// One of the words that a status has, if it was given.
fn word<T: Copy>(
    name: &str,
    text: Option<String>,
    all: &[T],
    as_str: impl Fn(T) -> &'static str,
) -> Result<Option<String>, ApiError> {
    let known = || all.iter().map(|value| as_str(*value)).collect::<Vec<_>>();
    match text {
        Some(text) if !known().contains(&text.as_str()) => {
            Err(ApiError::bad_request(format!("{name} is one of {}", known().join(", "))))
        }
        text => Ok(text),
    }
}

fn instant(name: &str, text: Option<&str>) -> Result<Option<domain::Timestamp>, ApiError> {
    let read = |text: &str| {
        domain::Timestamp::parse(text)
            .ok_or_else(|| ApiError::bad_request(format!("{name} is an instant like 2026-11-20T16:01:00Z")))
    };
    text.map(read).transpose()
}

/// A new id: ids that were made later sort after it.
fn new_id(prefix: &str, now: domain::Timestamp) -> String {
    const MICROS_A_SECOND: i64 = 1_000_000;
    let seconds = u64::try_from(now.seconds()).unwrap_or_default();
    let nanos = now.micros().rem_euclid(MICROS_A_SECOND) * 1000;
    let at = uuid::Timestamp::from_unix(NoContext, seconds, u32::try_from(nanos).unwrap_or_default());
    format!("{prefix}_{}", Uuid::new_v7(at).simple())
}

/// 201 where it is new, and where the same request was answered so before.
const fn made(registered: &Registered) -> StatusCode {
    match registered {
        Registered::New(_) | Registered::Replayed { was_new: true, .. } => StatusCode::CREATED,
        Registered::Before(_) | Registered::Replayed { was_new: false, .. } => StatusCode::OK,
    }
}

/// What a POST came to, as GET shows it.
fn answered(status: StatusCode, registered: &Registered, shown: impl Serialize) -> Response {
    let mut response = (status, Json(shown)).into_response();
    if matches!(registered, Registered::Replayed { .. }) {
        let name = HeaderName::from_static("idempotent-replayed");
        response.headers_mut().insert(name, HeaderValue::from_static("true"));
    }
    response
}
