//! Delivers events as a gateway would: signed at the moment they are sent.

use std::time::Duration;

use anyhow::Context;
use engine::Clock;
use gateways::{Secret, stripe};

/// A gateway gives up on an endpoint that takes longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One gateway's way of delivering to one URL.
#[derive(Clone, Debug)]
pub struct Sender {
    client: reqwest::Client,
    url: String,
    secret: Secret,
    clock: Clock,
}

/// What the endpoint answered.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub body: String,
}

impl Reply {
    pub const fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }
}

impl Sender {
    pub fn new(url: &str, secret: Secret) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none()) // A gateway counts a redirect as a failure.
            .user_agent(concat!("Quittance/", env!("CARGO_PKG_VERSION"), " (simulated gateway)"))
            .build()
            .context("the HTTP client does not start")?;
        Ok(Self { client, url: url.to_owned(), secret, clock: Clock::System })
    }

    pub async fn deliver(&self, body: &str) -> anyhow::Result<Reply> {
        let signature = stripe::sign(&self.secret, self.clock.now(), body.as_bytes());
        let sent = self
            .client
            .post(&self.url)
            .header("content-type", "application/json; charset=utf-8")
            .header(stripe::SIGNATURE_HEADER, signature)
            .body(body.to_owned())
            .send()
            .await
            .with_context(|| format!("no reply from {}", self.url))?;
        let status = sent.status().as_u16();
        Ok(Reply { status, body: sent.text().await.context("the reply broke off")? })
    }
}
