//! Who asks: API keys as bearer tokens. Cookies never authenticate the API.

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use domain::AccountId;
use store::{ApiKey, KeyScope};

use crate::App;
use crate::error::ApiError;

/// A caller whose key may at least read.
#[derive(Clone, Debug)]
pub struct Reader(pub ApiKey);

/// A caller whose key may change things.
#[derive(Clone, Debug)]
pub struct Writer(pub ApiKey);

impl FromRequestParts<App> for Reader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        authenticate(parts, app, KeyScope::Read).await.map(Self)
    }
}

impl FromRequestParts<App> for Writer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        authenticate(parts, app, KeyScope::Write).await.map(Self)
    }
}

async fn authenticate(parts: &Parts, app: &App, needed: KeyScope) -> Result<ApiKey, ApiError> {
    let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (scheme, secret) = header.and_then(|text| text.split_once(' ')).ok_or(ApiError::UNAUTHENTICATED)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(ApiError::UNAUTHENTICATED);
    }
    let key = app.store.key_by_secret(secret.trim()).await?.ok_or(ApiError::UNAUTHENTICATED)?;
    if key.scope < needed { Err(ApiError::FORBIDDEN) } else { Ok(key) }
}

/// The account that a request is about: the key's own, or of a key for all accounts
/// the one that was asked for, if any.
pub fn account_of(key: &ApiKey, asked: Option<&str>) -> Result<Option<AccountId>, ApiError> {
    let asked = match asked {
        Some(name) => {
            Some(AccountId::parse(name).ok_or_else(|| ApiError::bad_request(format!("{name:?} is no account")))?)
        }
        None => None,
    };
    match (&key.account, asked) {
        (Some(own), Some(asked)) if *own != asked => Err(ApiError::FORBIDDEN),
        (Some(own), _) => Ok(Some(own.clone())),
        (None, asked) => Ok(asked),
    }
}
