//! Errors of the API, as `application/problem+json` (RFC 9457).

use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

/// `code` is contract; `detail` is for people. What went wrong inside is logged
/// and never sent.
#[derive(Clone, Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    detail: std::borrow::Cow<'static, str>,
}

impl ApiError {
    pub const NO_SUCH_PATH: Self = Self::fixed(StatusCode::NOT_FOUND, "no_such_path", "nothing is at this path");
    pub const METHOD: Self =
        Self::fixed(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this path does not take that method");
    pub const UNAUTHENTICATED: Self = Self::fixed(
        StatusCode::UNAUTHORIZED,
        "unauthenticated",
        "send `Authorization: Bearer KEY` with a key made by `quittance keys create`",
    );
    pub const FORBIDDEN: Self =
        Self::fixed(StatusCode::FORBIDDEN, "forbidden", "the key's scope or account does not allow this");
    pub const EVENT_NOT_FOUND: Self = Self::fixed(StatusCode::NOT_FOUND, "event_not_found", "there is no such event");
    pub const EVENT_AMBIGUOUS: Self = Self::fixed(
        StatusCode::CONFLICT,
        "event_ambiguous",
        "several events have this id; say which with `account`, `gateway`, `mode` or `connected_account`",
    );
    pub const PAYMENT_NOT_FOUND: Self =
        Self::fixed(StatusCode::NOT_FOUND, "payment_not_found", "there is no such payment");
    pub const ORDER_NOT_FOUND: Self = Self::fixed(StatusCode::NOT_FOUND, "order_not_found", "there is no such order");
    pub const ORDER_AMBIGUOUS: Self = Self::fixed(
        StatusCode::CONFLICT,
        "order_ambiguous",
        "several accounts have an order of this id; say which with `account`",
    );

    const fn fixed(status: StatusCode, code: &'static str, detail: &'static str) -> Self {
        Self { status, code, detail: std::borrow::Cow::Borrowed(detail) }
    }

    /// The request is not understood; `detail` says what to change.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "bad_request", detail: detail.into().into() }
    }
}

impl From<store::Error> for ApiError {
    fn from(error: store::Error) -> Self {
        tracing::error!(%error, "a request failed");
        match error {
            store::Error::Unavailable(_) | store::Error::Closed => {
                Self::fixed(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the database is away; try again")
            }
            _ => Self::fixed(StatusCode::INTERNAL_SERVER_ERROR, "internal", "this failed; the log says why"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        let content_type = [(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"))];
        let mut response = (self.status, content_type, body.to_string()).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
