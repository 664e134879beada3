//! Calls to gateways.

pub mod paypal;

use std::time::Duration;

use reqwest::redirect::Policy;

/// Of one call, from its first byte to its last.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The gateway could not be asked, so nothing is known. Says why, and never a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreachable(String);

impl From<reqwest::Error> for Unreachable {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Self(format!("{error}{cause}"))
    }
}

/// A client that goes where it is told and nowhere else: no redirect is followed, and
/// no proxy from the environment is used.
fn client(is_https_only: bool) -> Result<reqwest::Client, Unreachable> {
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(Policy::none())
        .no_proxy()
        .https_only(is_https_only)
        .user_agent(concat!("Quittance/", env!("CARGO_PKG_VERSION")));
    Ok(client.build()?)
}

/// At most so many bytes of an answer's body; more is an error.
async fn body(mut response: reqwest::Response, len_max: usize) -> Result<Vec<u8>, Unreachable> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > len_max {
            return Err(Unreachable(format!("the answer has more than {len_max} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
