//! PayPal's own word on a delivery. It is given the very bytes that came: written
//! anew, numbers would look different and PayPal would deny them.
//! <https://developer.paypal.com/docs/api/webhooks/v1/#verify-webhook-signature_post>

use std::time::Duration;

use domain::Timestamp;
use gateways::paypal::{Transmission, webhook_id};
use gateways::{Reason, Secret, Verdict};
use http::{HeaderMap, StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::{Mutex, Semaphore};

use super::Credentials;
use crate::clients::{Unreachable, body, client};

/// PayPal's answers are a few hundred bytes; a token has about a thousand.
const ANSWER_LEN_MAX: usize = 64 * 1024;

/// More deliveries at once wait.
const CALLS_MAX: usize = 16;

/// But for no longer than this: PayPal delivers again.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// A token is not used so shortly before it ends.
const TOKEN_MARGIN_SECONDS: i64 = 60;

#[derive(Debug)]
pub(super) struct Postback {
    client: reqwest::Client,
    base: String,
    credentials: Credentials,
    token: Mutex<Option<Token>>,
    calls: Semaphore,
}

#[derive(Clone, Debug)]
struct Token {
    secret: SecretString,
    ends_at: Timestamp,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: SecretString,
    #[serde(default)]
    expires_in: i64,
}

#[derive(Serialize)]
struct Question<'a> {
    auth_algo: &'a str,
    cert_url: &'a str,
    transmission_id: &'a str,
    transmission_sig: &'a str,
    transmission_time: &'a str,
    webhook_id: &'a str,
}

impl Question<'_> {
    /// With the body put in byte for byte; it has to be one JSON value.
    fn with(&self, body: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = serde_json::to_vec(self)?;
        text.pop(); // The closing brace.
        text.extend_from_slice(b",\"webhook_event\":");
        text.extend_from_slice(body);
        text.push(b'}');
        Ok(text)
    }
}

#[derive(Deserialize)]
struct Answer {
    verification_status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Status {
    Success,
    Failure,
}

impl Postback {
    pub(super) fn new(credentials: Credentials, base: &str) -> Result<Self, Unreachable> {
        let base = base.trim_end_matches('/').to_owned();
        let is_https = base.starts_with("https://");
        Ok(Self {
            client: client(is_https)?,
            base,
            credentials,
            token: Mutex::default(),
            calls: Semaphore::new(CALLS_MAX),
        })
    }

    pub(super) async fn verify(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        webhook_ids: &[Secret],
        now: Timestamp,
        tolerance_seconds: u64,
    ) -> Result<Verdict, Unreachable> {
        let transmission = match Transmission::read(headers) {
            Ok(transmission) => transmission,
            Err(reason) => return Ok(Verdict::Invalid(reason)),
        };
        if webhook_ids.is_empty() {
            return Ok(Verdict::Invalid(Reason::NoSecret));
        }
        // Not to read it, but because what is put between two keys has to be one value.
        if serde_json::from_slice::<&RawValue>(body).is_err() {
            return Ok(Verdict::Invalid(Reason::NotJson));
        }
        let age = now.seconds().saturating_sub(transmission.at.seconds());
        if age.unsigned_abs() > tolerance_seconds {
            return Ok(Verdict::Invalid(Reason::OutsideTolerance(age)));
        }
        for (index, secret) in webhook_ids.iter().enumerate() {
            let Some(webhook_id) = webhook_id(secret) else { continue };
            let question = Question {
                auth_algo: transmission.algorithm,
                cert_url: transmission.certificate_url,
                transmission_id: transmission.id,
                transmission_sig: transmission.signature,
                transmission_time: transmission.time,
                webhook_id: webhook_id.as_str(),
            };
            let text = question.with(body).map_err(|error| Unreachable(error.to_string()))?;
            if self.ask(text, now).await? {
                return Ok(Verdict::Valid { secret: index });
            }
        }
        Ok(Verdict::Invalid(Reason::Denied))
    }

    /// Whether PayPal says that it sent this. A token that PayPal does not take any
    /// more is replaced once.
    async fn ask(&self, question: Vec<u8>, now: Timestamp) -> Result<bool, Unreachable> {
        let turn = tokio::time::timeout(TURN_TIMEOUT, self.calls.acquire()).await;
        let turn = turn.map_err(|_| Unreachable("PayPal is asked about too many deliveries at once".to_owned()))?;
        let _permit = turn.map_err(|error| Unreachable(error.to_string()))?;
        let mut refused = None;
        for _ in 0..2 {
            let token = self.token(refused.as_ref(), now).await?;
            let request = self
                .client
                .post(format!("{}/v1/notifications/verify-webhook-signature", self.base))
                .bearer_auth(token.expose_secret())
                .header(header::CONTENT_TYPE, "application/json")
                .body(question.clone());
            let response = request.send().await?;
            match response.status() {
                StatusCode::OK => {
                    let answer: Answer = serde_json::from_slice(&body(response, ANSWER_LEN_MAX).await?)
                        .map_err(|_| Unreachable("PayPal's answer about a delivery cannot be read".to_owned()))?;
                    return Ok(matches!(answer.verification_status, Status::Success));
                }
                // What it was shown is nothing that it could have sent.
                StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY => return Ok(false),
                StatusCode::UNAUTHORIZED => refused = Some(token),
                status => return Err(Unreachable(format!("PayPal answered {status} about a delivery"))),
            }
        }
        Err(Unreachable("PayPal does not take the token that it gave".to_owned()))
    }

    /// A token that lasts, and is not the one that was refused. Those who need one at
    /// the same time share one request.
    async fn token(&self, refused: Option<&SecretString>, now: Timestamp) -> Result<SecretString, Unreachable> {
        let mut kept = self.token.lock().await;
        let is_refused = |token: &Token| refused.is_some_and(|r| r.expose_secret() == token.secret.expose_secret());
        if let Some(token) = kept.as_ref().filter(|token| token.ends_at > now && !is_refused(token)) {
            return Ok(token.secret.clone());
        }
        let credentials = &self.credentials;
        let request = self
            .client
            .post(format!("{}/v1/oauth2/token", self.base))
            .basic_auth(credentials.client_id.expose_secret(), Some(credentials.client_secret.expose_secret()))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body("grant_type=client_credentials");
        let response = request.send().await?;
        if response.status() != StatusCode::OK {
            let status = response.status();
            return Err(Unreachable(format!("PayPal answered {status} to the client's id and secret")));
        }
        let answer: TokenAnswer = serde_json::from_slice(&body(response, ANSWER_LEN_MAX).await?)
            .map_err(|_| Unreachable("PayPal's answer has no token".to_owned()))?;
        let lasts =
            Duration::from_secs(u64::try_from(answer.expires_in.saturating_sub(TOKEN_MARGIN_SECONDS)).unwrap_or(0));
        let ends_at = now.plus_micros(i64::try_from(lasts.as_micros()).unwrap_or(i64::MAX));
        *kept = Some(Token { secret: answer.access_token.clone(), ends_at });
        Ok(answer.access_token)
    }
}
