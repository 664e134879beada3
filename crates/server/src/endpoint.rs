//! Where gateways deliver.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use domain::{AccountId, Mode, Timestamp};
use engine::clients::paypal::PaypalVerifier;
use gateways::{Gateway, Secret};

use crate::client_address::Proxies;
use crate::limits::Rate;

/// A body may be this large unless the endpoint says otherwise.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// What one address may send wrongly signed to one endpoint in a minute before it is
/// told to wait.
pub const FAILED_SIGNATURES_A_MINUTE: u32 = 60;

/// When a delivery is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reply {
    /// Once the event is durable.
    #[default]
    Accepted,
    /// Once it is applied too, with what came of it.
    Applied,
}

impl Reply {
    pub const ALL: [Self; 2] = [Self::Accepted, Self::Applied];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Applied => "applied",
        }
    }
}

/// What happens to an event about a payment that nobody registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmatched {
    /// It makes the payment.
    #[default]
    Create,
    /// It waits for it.
    Reject,
}

impl Unmatched {
    pub const ALL: [Self; 2] = [Self::Create, Self::Reject];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Reject => "reject",
        }
    }
}

/// What happens to a payment of another amount or currency than was registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnAmountMismatch {
    /// It is flagged, and confirmed all the same.
    #[default]
    Flag,
    /// It stays pending until somebody releases it.
    Hold,
}

impl OnAmountMismatch {
    pub const ALL: [Self; 2] = [Self::Flag, Self::Hold];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Hold => "hold",
        }
    }
}

/// How a PayPal delivery is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verification {
    /// Here, with the certificate that PayPal signed it with.
    #[default]
    Certificate,
    /// By asking PayPal, with the original bytes.
    Postback,
}

impl Verification {
    pub const ALL: [Self; 2] = [Self::Certificate, Self::Postback];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Postback => "postback",
        }
    }
}

/// An endpoint's secrets, each with the instant from which it counts no more.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// Those that last longest come first, so that those in force are a slice.
    keys: Vec<Secret>,
    /// In the same order; the far end of time where there is none.
    expiries: Vec<Timestamp>,
}

/// Later than anything that is compared with it.
const NEVER: Timestamp = Timestamp::from_micros(i64::MAX);

impl Secrets {
    pub fn new(secrets: impl IntoIterator<Item = (Secret, Option<Timestamp>)>) -> Self {
        let mut all: Vec<(Secret, Timestamp)> =
            secrets.into_iter().map(|(key, expires_at)| (key, expires_at.unwrap_or(NEVER))).collect();
        all.sort_by_key(|(_, expires_at)| std::cmp::Reverse(*expires_at));
        let (keys, expiries) = all.into_iter().unzip();
        Self { keys, expiries }
    }

    /// Those that count at this instant.
    pub fn at(&self, now: Timestamp) -> &[Secret] {
        let in_force = self.expiries.iter().take_while(|expires_at| **expires_at > now).count();
        &self.keys[..in_force]
    }

    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Those instants at which one ends to count, the last one first.
    pub fn expiries(&self) -> impl Iterator<Item = Timestamp> {
        self.expiries.iter().copied().filter(|expires_at| *expires_at != NEVER)
    }
}

impl From<Vec<Secret>> for Secrets {
    /// They never expire.
    fn from(secrets: Vec<Secret>) -> Self {
        Self::new(secrets.into_iter().map(|secret| (secret, None)))
    }
}

/// What an endpoint takes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub body_bytes_max: usize,
    pub tolerance_seconds: u64,
    /// Of one address; `None` for as many as come.
    pub of_an_address: Option<Rate>,
    /// Of all addresses together; `None` for as many as come.
    pub of_all: Option<Rate>,
    /// Wrongly signed ones of one address. What is signed well is never refused by it.
    pub failed_signatures: Rate,
}

impl Limits {
    /// What an endpoint of this gateway starts with.
    pub const fn of(gateway: Gateway) -> Self {
        Self {
            body_bytes_max: BODY_BYTES_MAX,
            tolerance_seconds: gateway.tolerance_seconds(),
            of_an_address: None,
            of_all: None,
            failed_signatures: Rate::a_minute(FAILED_SIGNATURES_A_MINUTE),
        }
    }
}

/// One URL path at which one gateway delivers for one account.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Without a slash at the end.
    pub path: String,
    pub gateway: Gateway,
    pub account: AccountId,
    /// Without any the endpoint does not run.
    pub secrets: Secrets,
    /// Which variable or key sets the secrets, for people who look for it.
    pub set_by: String,
    pub reply: Reply,
    pub unmatched: Unmatched,
    pub on_amount_mismatch: OnAmountMismatch,
    pub verification: Verification,
    /// What verifies PayPal's deliveries; without it none of them is verified.
    pub paypal: Option<Arc<PaypalVerifier>>,
    pub limits: Limits,
    /// Events of another mode are kept and ignored; `None` takes both.
    pub mode: Option<Mode>,
    /// Connected accounts whose events count as this account's.
    pub connected_accounts: Vec<String>,
}

impl Endpoint {
    /// With the defaults, for the account `default`.
    pub fn new(path: &str, gateway: Gateway, secrets: impl Into<Secrets>) -> Self {
        Self {
            path: path.to_owned(),
            gateway,
            account: AccountId::default(),
            secrets: secrets.into(),
            set_by: String::new(),
            reply: Reply::default(),
            unmatched: Unmatched::default(),
            on_amount_mismatch: OnAmountMismatch::default(),
            verification: Verification::default(),
            paypal: None,
            limits: Limits::of(gateway),
            mode: None,
            connected_accounts: Vec::new(),
        }
    }

    /// As [`Self::new`], for Stripe.
    pub fn stripe(path: &str, secrets: Vec<Secret>) -> Self {
        Self { set_by: "STRIPE_WEBHOOK_SECRET".to_owned(), ..Self::new(path, Gateway::Stripe, secrets) }
    }

    /// Whether an event about an unknown payment makes it.
    pub const fn creates(&self) -> bool {
        matches!(self.unmatched, Unmatched::Create)
    }
}

/// Endpoints by path, and what is trusted to say where a delivery came from.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    by_path: HashMap<String, Arc<Endpoint>>,
    pub proxies: Proxies,
}

impl Endpoints {
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        let named = endpoints.into_iter().map(|endpoint| (endpoint.path.clone(), Arc::new(endpoint)));
        Self { by_path: named.collect(), proxies: Proxies::default() }
    }

    #[must_use]
    pub fn behind(self, proxies: Proxies) -> Self {
        Self { proxies, ..self }
    }

    /// A slash at the end of `path` makes no difference.
    pub fn at(&self, path: &str) -> Option<&Arc<Endpoint>> {
        self.by_path.get(path.strip_suffix('/').unwrap_or(path))
    }

    /// In the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        let mut all: Vec<&Endpoint> = self.by_path.values().map(AsRef::as_ref).collect();
        all.sort_by(|a, b| a.path.cmp(&b.path));
        all.into_iter()
    }
}

/// The endpoints in force. They can be replaced while the server runs: a request under
/// way keeps the endpoint that it started with.
#[derive(Debug, Default)]
pub struct InForce {
    endpoints: RwLock<Arc<Endpoints>>,
}

impl InForce {
    pub fn new(endpoints: Endpoints) -> Self {
        Self { endpoints: RwLock::new(Arc::new(endpoints)) }
    }

    pub fn get(&self) -> Arc<Endpoints> {
        self.endpoints.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn replace(&self, endpoints: Endpoints) {
        *self.endpoints.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(endpoints);
    }
}
