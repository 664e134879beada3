//! Errors of the API, as `application/problem+json` (RFC 9457).

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

/// When to come again after a refusal that is ours, in seconds.
const RETRY_AFTER_SECONDS: u64 = 5;

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

    pub const PAYMENT_AMBIGUOUS: Self = Self::fixed(
        StatusCode::CONFLICT,
        "payment_ambiguous",
        "several accounts have a payment of this id; say which with `account`",
    );
    pub const RESOURCE_NOT_FOUND: Self =
        Self::fixed(StatusCode::NOT_FOUND, "resource_not_found", "there is no such resource");
    pub const BOOKING_NOT_FOUND: Self =
        Self::fixed(StatusCode::NOT_FOUND, "booking_not_found", "there is no such booking");
    pub const BOOKING_AMBIGUOUS: Self = Self::fixed(
        StatusCode::CONFLICT,
        "booking_ambiguous",
        "several accounts have a booking of this id; say which with `account`",
    );
    pub const CURRENCY_MISMATCH: Self = Self::fixed(
        StatusCode::UNPROCESSABLE_ENTITY,
        "currency_mismatch",
        "a payment is registered in the currency of its order",
    );
    pub const AMOUNT_UNKNOWN: Self = Self::fixed(
        StatusCode::UNPROCESSABLE_ENTITY,
        "amount_unknown",
        "say the payment's amount and currency: nobody registered what is due for its order",
    );
    pub const BODY_TOO_LARGE: Self =
        Self::fixed(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "the body is larger than 256 KiB");
    pub const BODY_TOO_SLOW: Self =
        Self::fixed(StatusCode::REQUEST_TIMEOUT, "body_too_slow", "the body did not arrive in time");
    pub const CROWDED: Self =
        Self::fixed(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "too much is coming in at once; try again");

    const fn fixed(status: StatusCode, code: &'static str, detail: &'static str) -> Self {
        Self { status, code, detail: std::borrow::Cow::Borrowed(detail) }
    }

    /// The request is not understood; `detail` says what to change.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "bad_request", detail: detail.into().into() }
    }
}

/// Why nothing was registered.
impl From<store::Refusal> for ApiError {
    fn from(refusal: store::Refusal) -> Self {
        use store::{Noun, Refusal};
        let (status, code) = match &refusal {
            Refusal::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
            Refusal::Differs(Noun::Order) => (StatusCode::CONFLICT, "order_exists"),
            Refusal::Differs(Noun::Payment) => (StatusCode::CONFLICT, "payment_exists"),
            Refusal::Differs(Noun::Resource) => (StatusCode::CONFLICT, "resource_exists"),
            Refusal::Differs(Noun::Booking) => (StatusCode::CONFLICT, "booking_exists"),
            Refusal::NameTaken(_) => (StatusCode::CONFLICT, "reference_taken"),
            Refusal::SessionTaken | Refusal::SessionOfAnother => (StatusCode::CONFLICT, "session_taken"),
            Refusal::NotHeld => (StatusCode::CONFLICT, "payment_not_held"),
            Refusal::Missing(Noun::Order) => (StatusCode::NOT_FOUND, "order_not_found"),
            Refusal::Missing(Noun::Payment) => (StatusCode::NOT_FOUND, "payment_not_found"),
            Refusal::Missing(Noun::Resource) => (StatusCode::NOT_FOUND, "resource_not_found"),
            Refusal::Missing(Noun::Booking) => (StatusCode::NOT_FOUND, "booking_not_found"),
        };
        Self { status, code, detail: refusal.to_string().into() }
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
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        response
    }
}
