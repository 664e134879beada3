//! Where gateways deliver.

use std::collections::HashMap;

use domain::{AccountId, Mode};
use gateways::{Gateway, Secret};

/// A body may be this large unless the endpoint says otherwise.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How far a signature's time may be from ours, in seconds.
/// <https://docs.stripe.com/webhooks#replay-attacks>
pub const TOLERANCE_SECONDS: u64 = 300;

/// One URL path at which one gateway delivers for one account.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Without a slash at the end.
    pub path: String,
    pub gateway: Gateway,
    pub account: AccountId,
    /// None: the endpoint does not run.
    pub secrets: Vec<Secret>,
    /// Which variable sets the secrets, for people who look for it.
    pub secret_variable: &'static str,
    pub tolerance_seconds: u64,
    pub body_bytes_max: usize,
    /// Whether an event about an unknown payment makes it.
    pub creates: bool,
    /// Events of another mode are kept and ignored; `None` takes both.
    pub mode: Option<Mode>,
    /// Connected accounts whose events count as this account's.
    pub connected_accounts: Vec<String>,
}

impl Endpoint {
    /// With the defaults, for Stripe and the account `default`.
    pub fn stripe(path: &str, secrets: Vec<Secret>) -> Self {
        Self {
            path: path.to_owned(),
            gateway: Gateway::Stripe,
            account: AccountId::default(),
            secrets,
            secret_variable: "STRIPE_WEBHOOK_SECRET",
            tolerance_seconds: TOLERANCE_SECONDS,
            body_bytes_max: BODY_BYTES_MAX,
            creates: true,
            mode: None,
            connected_accounts: Vec::new(),
        }
    }
}

/// Endpoints by path.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    by_path: HashMap<String, Endpoint>,
}

impl Endpoints {
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        Self { by_path: endpoints.into_iter().map(|endpoint| (endpoint.path.clone(), endpoint)).collect() }
    }

    /// A slash at the end of `path` makes no difference.
    pub fn at(&self, path: &str) -> Option<&Endpoint> {
        self.by_path.get(path.strip_suffix('/').unwrap_or(path))
    }

    /// In the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        let mut all: Vec<&Endpoint> = self.by_path.values().collect();
        all.sort_by(|a, b| a.path.cmp(&b.path));
        all.into_iter()
    }
}
