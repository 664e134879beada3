//! Delivers events as a gateway would: signed at the moment they are sent.

use std::time::Duration;

use anyhow::{Context, anyhow};
use engine::Clock;
use gateways::Gateway;
use secrecy::SecretString;

use crate::config::is_web_address;
use crate::output::WrongUsage;

/// A gateway gives up on an endpoint that takes longer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One gateway's way of delivering to one URL.
#[derive(Clone, Debug)]
pub struct Sender {
    client: reqwest::Client,
    url: String,
    gateway: Gateway,
    secret: SecretString,
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

impl std::fmt::Display for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.status, self.body.trim_end())
    }
}

impl Sender {
    /// Fails for a secret that signs nothing, and for what is no URL.
    pub fn new(url: &str, gateway: Gateway, secret: SecretString) -> anyhow::Result<Self> {
        if !is_web_address(url) {
            let why = format!("{url:?} is no URL like http://127.0.0.1:8080/api/webhooks/stripe");
            return Err(WrongUsage(why).into());
        }
        gateway.sign(&secret, "", Clock::System.now(), b"")?;
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none()) // A gateway counts a redirect as a failure.
            .user_agent(concat!("Quittance/", env!("CARGO_PKG_VERSION"), " (simulated gateway)"))
            .build()
            .context("the HTTP client does not start")?;
        Ok(Self { client, url: url.to_owned(), gateway, secret, clock: Clock::System })
    }

    /// `event_id` is sent where the gateway names an event in a header.
    pub async fn deliver(&self, event_id: &str, body: &str) -> anyhow::Result<Reply> {
        let mut request = self.client.post(&self.url).header("content-type", "application/json; charset=utf-8");
        for (name, value) in self.gateway.sign(&self.secret, event_id, self.clock.now(), body.as_bytes())? {
            request = request.header(name, value);
        }
        let sent = request.body(body.to_owned()).send().await.map_err(|error| self.no_reply(&error))?;
        let status = sent.status().as_u16();
        Ok(Reply { status, body: sent.text().await.map_err(|error| self.no_reply(&error))? })
    }

    /// One line: the library's own says the URL twice and the cause last.
    fn no_reply(&self, error: &reqwest::Error) -> anyhow::Error {
        let url = &self.url;
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        if error.is_connect() {
            anyhow!("nothing answers at {url} ({cause}): is `quittance serve` running there?")
        } else if error.is_timeout() {
            anyhow!("no reply from {url} within {} s", TIMEOUT.as_secs())
        } else {
            anyhow!("no reply from {url}: {cause}")
        }
    }
}
