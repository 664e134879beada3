//! The endpoints: those that exist without a configuration file, and those it adds.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use anyhow::{Context, bail};
use domain::{AccountId, Mode};
use gateways::Gateway;
use secrecy::SecretString;
use server::Endpoint;
use server::endpoint::{Limits, OnAmountMismatch, Reply, Secrets, Unmatched, Verification};
use server::limits::Rate;
use toml::Spanned;

use super::file::{self, Source};
use super::paypal::Paypal;
use super::secrets::{Found, Lookup};

/// A path that exists without a configuration file: its gateway, and how it answers.
type Given = (&'static str, Gateway, Reply, Unmatched);

const GIVEN: [Given; 8] = [
    ("/payments/webhook", Gateway::Stripe, Reply::Accepted, Unmatched::Create),
    ("/api/webhooks/stripe", Gateway::Stripe, Reply::Accepted, Unmatched::Create),
    ("/api/webhooks/paypal", Gateway::Paypal, Reply::Accepted, Unmatched::Create),
    ("/api/v1/order-payments/webhooks/payment", Gateway::Generic, Reply::Applied, Unmatched::Reject),
    ("/api/v1/order-payments/webhooks/stripe", Gateway::Stripe, Reply::Applied, Unmatched::Reject),
    ("/api/v1/order-payments/webhooks/paypal", Gateway::Paypal, Reply::Applied, Unmatched::Reject),
    ("/webhooks/stripe", Gateway::Stripe, Reply::Applied, Unmatched::Reject),
    ("/api/payments/webhook", Gateway::Microservice, Reply::Applied, Unmatched::Reject),
];

/// What is known of a path that exists without a configuration file.
pub fn given_endpoint(path: &str) -> Option<(Gateway, Unmatched)> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let given = GIVEN.iter().find(|(given, ..)| *given == path);
    given.map(|(_, gateway, _, unmatched)| (*gateway, *unmatched))
}

/// Paths below this have a limit by address without being configured, generous enough
/// for a gateway that catches up.
const LIMITED_PREFIX: &str = "/api/v1/order-payments/";
const LIMITED_A_SECOND: NonZeroU32 = NonZeroU32::new(100).expect("not zero");
const LIMITED_BURST: NonZeroU32 = NonZeroU32::new(500).expect("not zero");

const NAME_LEN_MAX: usize = 64;
const PATH_LEN_MAX: usize = 255;
/// What fits in a limit. Bodies wait in memory, so they cannot be of any size.
const BODY_BYTES: RangeInclusive<u64> = 1..=16 * 1024 * 1024;
const TOLERANCE_SECONDS: RangeInclusive<u64> = 1..=30 * 24 * 60 * 60;
const RATE: RangeInclusive<u64> = 1..=1_000_000;

/// The secrets of the paths that exist without being configured.
#[derive(Clone, Debug, Default)]
pub struct GivenSecrets {
    by_gateway: BTreeMap<&'static str, Vec<Found>>,
}

/// Which variable, and which list in the file, holds the secrets of a gateway's paths.
const fn sources(gateway: Gateway) -> (&'static str, &'static str) {
    match gateway {
        Gateway::Stripe => ("STRIPE_WEBHOOK_SECRET", "stripe.webhook_secrets"),
        Gateway::Paypal => ("PAYPAL_WEBHOOK_ID", "paypal.webhook_ids"),
        Gateway::Generic | Gateway::StandardWebhooks => ("WEBHOOK_SECRET", "generic.webhook_secrets"),
        Gateway::Microservice => ("PAYMENT_API_KEY", "microservice.api_keys"),
    }
}

impl GivenSecrets {
    pub fn find(file: &file::File, source: &Source, lookup: &mut Lookup<'_>) -> anyhow::Result<Self> {
        let mut by_gateway = BTreeMap::new();
        for (gateway, list) in [
            (Gateway::Stripe, &file.stripe.webhook_secrets),
            (Gateway::Paypal, &file.paypal.webhook_ids),
            (Gateway::Generic, &file.generic.webhook_secrets),
            (Gateway::Microservice, &file.microservice.api_keys),
        ] {
            let (variable, key) = sources(gateway);
            let found = match (lookup.environment)(variable) {
                Some(value) => lookup.in_variable(variable, gateway, &value)?,
                None => lookup.in_file(source, key, gateway, list)?,
            };
            by_gateway.insert(gateway.as_str(), found);
        }
        Ok(Self { by_gateway })
    }

    pub fn of(&self, gateway: Gateway) -> &[Found] {
        self.by_gateway.get(gateway.as_str()).map_or(&[], Vec::as_slice)
    }

    /// As texts, to sign with.
    pub fn texts(&self, gateway: Gateway) -> impl Iterator<Item = &SecretString> {
        self.of(gateway).iter().map(|found| &found.text)
    }
}

fn ready(gateway: Gateway, found: &[Found]) -> anyhow::Result<Secrets> {
    let mut ready = Vec::new();
    for Found { text, expires_at } in found {
        ready.push((gateway.secret(text)?, *expires_at));
    }
    Ok(Secrets::new(ready))
}

/// What the endpoints are made of.
pub struct Parts<'a> {
    pub source: &'a Source,
    pub file: &'a file::File,
    pub given: &'a GivenSecrets,
    pub accounts: &'a BTreeMap<AccountId, Option<String>>,
    pub paypal: &'a BTreeMap<AccountId, Paypal>,
}

impl Parts<'_> {
    /// All endpoints. One in the file replaces the one that its path has anyway.
    pub fn endpoints(&self, lookup: &mut Lookup<'_>) -> anyhow::Result<Vec<Endpoint>> {
        let mut configured: Vec<Endpoint> = Vec::new();
        let mut names = BTreeSet::new();
        for (number, entry) in self.file.endpoints.iter().enumerate() {
            let endpoint = self.configured(number, entry, lookup)?;
            let here = || self.source.at(entry.span(), "endpoints");
            let name = entry.get_ref().name.as_ref().map(|name| name.get_ref().clone());
            if let Some(name) = name.filter(|name| !names.insert(name.clone())) {
                bail!("{}: two endpoints are named {name:?}; name one of them otherwise", here());
            }
            if configured.iter().any(|other| other.path == endpoint.path) {
                bail!("{}: two endpoints are at {}; give one of them another path", here(), endpoint.path);
            }
            configured.push(endpoint);
        }
        let verification = self.default_verification()?;
        for given in GIVEN
            .iter()
            .filter(|(path, ..)| configured.iter().all(|endpoint| endpoint.path != *path))
            .collect::<Vec<_>>()
        {
            configured.push(self.given(given, verification)?);
        }
        Ok(configured)
    }

    fn default_verification(&self) -> anyhow::Result<Verification> {
        let key = |span| self.source.at(span, "paypal.verification");
        let Some(written) = &self.file.paypal.verification else { return Ok(Verification::default()) };
        let verification = one_of(&Verification::ALL, Verification::as_str, written, &key)?;
        self.can_ask(verification, &AccountId::default(), || key(written.span()))?;
        Ok(verification)
    }

    fn given(&self, (path, gateway, reply, unmatched): &Given, verification: Verification) -> anyhow::Result<Endpoint> {
        let mut endpoint = Endpoint::new(path, *gateway, ready(*gateway, self.given.of(*gateway))?);
        endpoint.set_by = sources(*gateway).0.to_owned();
        (endpoint.reply, endpoint.unmatched, endpoint.verification) = (*reply, *unmatched, verification);
        endpoint.limits = default_limits(path, *gateway);
        Ok(endpoint)
    }

    fn configured(
        &self,
        number: usize,
        entry: &Spanned<file::Endpoint>,
        lookup: &mut Lookup<'_>,
    ) -> anyhow::Result<Endpoint> {
        let written = entry.get_ref();
        let label = match &written.name {
            Some(name) => format!("endpoints.{}", name.get_ref()),
            None => format!("endpoints[{number}]"),
        };
        let at = |span: std::ops::Range<usize>, key: &str| self.source.at(span, &format!("{label}{key}"));
        let path = path_of(written, &at, || at(entry.span(), ""))?;
        let gateway = match &written.gateway {
            Some(name) => {
                let all: Vec<&str> = Gateway::ALL.into_iter().map(Gateway::as_str).collect();
                Gateway::parse(name.get_ref()).with_context(|| {
                    format!(
                        "{}: {:?} is no gateway; it is one of {}",
                        at(name.span(), ".gateway"),
                        name.get_ref(),
                        all.join(", ")
                    )
                })?
            }
            None => bail!("{}: gateway is missing; say who delivers there", at(entry.span(), "")),
        };
        let secrets_key = format!("{label}.secrets");
        if written.secrets.is_empty() {
            bail!(
                "{}: an endpoint needs a secret; list one, like \"env:NAME\" or \"file:PATH\"",
                self.source.at(entry.span(), &secrets_key)
            );
        }
        let found = lookup.in_file(self.source, &secrets_key, gateway, &written.secrets)?;
        let mut endpoint = Endpoint::new(&path, gateway, ready(gateway, &found)?);
        endpoint.set_by = secrets_key;
        endpoint.account = self.account_of(written.account.as_ref(), &|span| at(span, ".account"))?;
        if let Some(written) = &written.reply {
            endpoint.reply = one_of(&Reply::ALL, Reply::as_str, written, &|span| at(span, ".reply"))?;
        }
        if let Some(written) = &written.unmatched {
            endpoint.unmatched = one_of(&Unmatched::ALL, Unmatched::as_str, written, &|span| at(span, ".unmatched"))?;
        }
        if let Some(written) = &written.on_amount_mismatch {
            let key = |span| at(span, ".on_amount_mismatch");
            endpoint.on_amount_mismatch = one_of(&OnAmountMismatch::ALL, OnAmountMismatch::as_str, written, &key)?;
        }
        if let Some(written) = &written.mode {
            endpoint.mode = Some(one_of(&[Mode::Live, Mode::Test], Mode::as_str, written, &|span| at(span, ".mode"))?);
        }
        endpoint.verification =
            self.verification(written, gateway, &endpoint.account, &|span| at(span, ".verification"))?;
        endpoint.connected_accounts.clone_from(&written.connected_accounts);
        endpoint.limits =
            limits(default_limits(&path, gateway), &written.limits, &|span, key| at(span, &format!(".limits.{key}")))?;
        Ok(endpoint)
    }

    fn account_of(
        &self,
        written: Option<&Spanned<String>>,
        at: &dyn Fn(std::ops::Range<usize>) -> String,
    ) -> anyhow::Result<AccountId> {
        let Some(written) = written else { return Ok(AccountId::default()) };
        let name = written.get_ref();
        match AccountId::parse(name).filter(|account| self.accounts.contains_key(account)) {
            Some(account) => Ok(account),
            None => bail!("{}: {name:?} is no account; add [accounts.{name}]", at(written.span())),
        }
    }

    fn verification(
        &self,
        written: &file::Endpoint,
        gateway: Gateway,
        account: &AccountId,
        at: &dyn Fn(std::ops::Range<usize>) -> String,
    ) -> anyhow::Result<Verification> {
        let Some(said) = &written.verification else { return Ok(Verification::default()) };
        if gateway != Gateway::Paypal {
            bail!("{}: only PayPal's deliveries can be verified in another way", at(said.span()));
        }
        let verification = one_of(&Verification::ALL, Verification::as_str, said, at)?;
        self.can_ask(verification, account, || at(said.span()))?;
        Ok(verification)
    }

    fn can_ask(&self, verification: Verification, account: &AccountId, at: impl Fn() -> String) -> anyhow::Result<()> {
        if verification == Verification::Postback
            && self.paypal.get(account).is_none_or(|paypal| paypal.credentials.is_none())
        {
            let section = if *account == AccountId::default() {
                "paypal".to_owned()
            } else {
                format!("accounts.{account}.paypal")
            };
            bail!("{}: PayPal cannot be asked without client_id and client_secret; set them in [{section}]", at());
        }
        Ok(())
    }
}

fn path_of(
    written: &file::Endpoint,
    at: &dyn Fn(std::ops::Range<usize>, &str) -> String,
    here: impl Fn() -> String,
) -> anyhow::Result<String> {
    if let Some(name) = &written.name {
        let plain = name.get_ref().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !plain || !(1..=NAME_LEN_MAX).contains(&name.get_ref().len()) {
            bail!(
                "{}: {:?} is no name: it is 1 to {NAME_LEN_MAX} letters, digits, `-`, `_` or `.`",
                at(name.span(), ".name"),
                name.get_ref()
            );
        }
    }
    let Some(path) = &written.path else {
        return match &written.name {
            Some(name) => Ok(format!("/hooks/{}", name.get_ref())),
            None => bail!("{}: name is missing; it is served at /hooks/NAME unless path is given", here()),
        };
    };
    let text = path.get_ref().strip_suffix('/').unwrap_or(path.get_ref());
    let said = |why: &str| format!("{}: {:?} {why}", at(path.span(), ".path"), path.get_ref());
    if !text.starts_with('/') || text.len() < 2 {
        bail!(said("is no path; begin it with a slash, like /hooks/till"));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~:@!$&'()*+,;=".contains(&byte);
    if text.contains("//") || text.len() > PATH_LEN_MAX || !text.bytes().all(plain) {
        bail!(said("cannot be a path; use letters, digits, `-`, `_`, `.` and single slashes"));
    }
    let is_given = GIVEN.iter().any(|(given, ..)| *given == text);
    if !is_given && server::router::is_reserved(text) {
        bail!(said("belongs to Quittance itself; choose another, like /hooks/till"));
    }
    Ok(text.to_owned())
}

fn one_of<T: Copy>(
    all: &[T],
    as_str: impl Fn(T) -> &'static str,
    written: &Spanned<String>,
    at: &dyn Fn(std::ops::Range<usize>) -> String,
) -> anyhow::Result<T> {
    let names = || all.iter().map(|one| as_str(*one)).collect::<Vec<_>>().join(" or ");
    let found = all.iter().copied().find(|one| as_str(*one) == written.get_ref());
    found.with_context(|| format!("{}: it is {}", at(written.span()), names()))
}

fn default_limits(path: &str, gateway: Gateway) -> Limits {
    let mut limits = Limits::of(gateway);
    if path.starts_with(LIMITED_PREFIX) {
        limits.of_an_address = Some(Rate::a_second(LIMITED_A_SECOND, LIMITED_BURST));
    }
    limits
}

fn limits(
    mut limits: Limits,
    written: &file::Limits,
    at: &dyn Fn(std::ops::Range<usize>, &str) -> String,
) -> anyhow::Result<Limits> {
    let within = |value: &Option<Spanned<u64>>, key: &str, range: RangeInclusive<u64>| {
        let Some(value) = value else { return Ok(None) };
        if !range.contains(value.get_ref()) {
            bail!("{}: it is a number from {} to {}", at(value.span(), key), range.start(), range.end());
        }
        Ok(Some(*value.get_ref()))
    };
    let rate = |rate: &Option<Spanned<u64>>, rate_key: &str, burst: &Option<Spanned<u64>>, burst_key: &str| {
        let number = within(rate, rate_key, RATE)?;
        let at_once = within(burst, burst_key, RATE)?;
        let number_of = |value: u64| NonZeroU32::try_from(u32::try_from(value)?).map_err(anyhow::Error::from);
        match (number, at_once, burst) {
            (None, Some(_), Some(burst)) => bail!("{}: it needs {rate_key}", at(burst.span(), burst_key)),
            (None, ..) => Ok(None),
            (Some(number), at_once, _) => {
                Ok(Some(Rate::a_second(number_of(number)?, number_of(at_once.unwrap_or(number))?)))
            }
        }
    };
    if let Some(bytes) = within(&written.body_bytes, "body_bytes", BODY_BYTES)? {
        limits.body_bytes_max = usize::try_from(bytes)?;
    }
    if let Some(seconds) = within(&written.tolerance_seconds, "tolerance_seconds", TOLERANCE_SECONDS)? {
        limits.tolerance_seconds = seconds;
    }
    if let Some(rate) = rate(&written.requests_per_second, "requests_per_second", &written.burst, "burst")? {
        limits.of_an_address = Some(rate);
    }
    let (total, total_burst) = (&written.total_requests_per_second, &written.total_burst);
    if let Some(rate) = rate(total, "total_requests_per_second", total_burst, "total_burst")? {
        limits.of_all = Some(rate);
    }
    if let Some(number) = within(&written.failed_signatures_per_minute, "failed_signatures_per_minute", RATE)? {
        limits.failed_signatures = Rate::a_minute(u32::try_from(number)?);
    }
    Ok(limits)
}
