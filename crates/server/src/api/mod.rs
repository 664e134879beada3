//! The merchant's questions. One file a noun.

pub mod orders;
pub mod payments;
pub mod webhooks;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;

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

fn instant(name: &str, text: Option<&str>) -> Result<Option<domain::Timestamp>, ApiError> {
    let read = |text: &str| {
        domain::Timestamp::parse(text)
            .ok_or_else(|| ApiError::bad_request(format!("{name} is an instant like 2026-11-20T16:01:00Z")))
    };
    text.map(read).transpose()
}
