//! `quittance trigger`

mod registered;

use std::process::ExitCode;

use anyhow::Context;
use domain::money::Minor;
use domain::{Currency, Money, Timestamp};
use engine::Clock;
use gateways::stripe::sample::{Overrides, SampleEvent, Sampler};
use gateways::{Gateway, sample, stripe};
use secrecy::SecretString;

use super::verify::{gateway, instant};
use crate::config::{self, Config, Flags, process_environment};
use crate::output::WrongUsage;
use crate::sender::Sender;
use crate::{say, tell};

/// When seeded events happen: their ids tell the time too, so it has to be the same.
pub const SEEDED_START: Timestamp = Timestamp::from_seconds(1_735_689_600);

/// What is paid where nothing says what is due, in the currency's minor unit.
const AMOUNT_DEFAULT: i64 = 5_000;
const CURRENCY_DEFAULT: &str = "USD";

/// Where to deliver and how to sign.
#[derive(Clone, Debug, clap::Args)]
pub struct Target {
    /// The endpoint's URL [default: the gateway's path at the configured address]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// The endpoint's signing secret, env:NAME or file:PATH [default: the configured one]
    #[arg(long, value_name = "SECRET")]
    secret: Option<SecretString>,
}

/// Where a gateway delivers without configuration, and which variable has its secret.
const fn defaults(gateway: Gateway) -> (Option<&'static str>, &'static str) {
    match gateway {
        Gateway::Stripe => (Some("/api/webhooks/stripe"), "STRIPE_WEBHOOK_SECRET"),
        Gateway::Paypal => (Some("/api/webhooks/paypal"), "PAYPAL_WEBHOOK_ID"),
        Gateway::Generic => (Some("/api/v1/order-payments/webhooks/payment"), "WEBHOOK_SECRET"),
        Gateway::Microservice => (Some("/api/payments/webhook"), "PAYMENT_API_KEY"),
        Gateway::StandardWebhooks => (None, "WEBHOOK_SECRET"),
    }
}

impl Target {
    pub fn sender(&self, gateway: Gateway, flags: &Flags) -> anyhow::Result<Sender> {
        let config = Config::load(flags, None, &process_environment)?;
        let (path, variable) = defaults(gateway);
        let secret = match &self.secret {
            Some(secret) => config::secret("--secret", secret, &process_environment)?,
            None => {
                let configured = config.secrets_of(gateway).next().cloned();
                configured.with_context(|| format!("no secret to sign with: give --secret or set {variable}"))?
            }
        };
        let url = match (&self.to, path) {
            (Some(url), _) => url.clone(),
            (None, Some(path)) => format!("http://{}{path}", config.listen),
            (None, None) => {
                let why = format!("{} has no path without configuration: give --to URL", gateway.as_str());
                return Err(WrongUsage(why).into());
            }
        };
        Sender::new(&url, gateway, secret)
    }
}

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Like `payment_intent.succeeded`
    #[arg(value_name = "TYPE", required_unless_present = "list")]
    event_type: Option<String>,
    /// Name the types
    #[arg(long)]
    list: bool,
    /// Who is to have sent it
    #[arg(long, value_name = "GATEWAY", default_value = "stripe", value_parser = gateway)]
    gateway: Gateway,
    #[command(flatten)]
    target: Target,
    /// The order, of Stripe's as `metadata.order_id`
    #[arg(long, value_name = "ID")]
    order_id: Option<String>,
    /// The booking, as `metadata.booking_id`
    #[arg(long, value_name = "ID")]
    booking_id: Option<String>,
    /// The payment: a payment intent (`pi_…`), or your own id (of Stripe's as `metadata.payment_id`)
    #[arg(long, value_name = "ID")]
    payment: Option<String>,
    /// The transaction, of Stripe's as `metadata.transaction_id`
    #[arg(long, value_name = "ID")]
    transaction: Option<String>,
    /// Stripe's checkout session (`cs_…`)
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// In the currency's minor unit [default: what is registered for what is named, else 5000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..), allow_negative_numbers = true)]
    amount: Option<i64>,
    /// Like EUR [default: what is registered for what is named, else USD]
    #[arg(long, value_name = "CODE", value_parser = currency)]
    currency: Option<Currency>,
    /// As live mode sends it
    #[arg(long)]
    live: bool,
    /// Make the same event again: the same seed gives the same ids
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// When it happened, by the gateway's clock [default: now; with --seed 2025-01-01T00:00:00Z]
    #[arg(long, value_name = "TIME", value_parser = instant)]
    created: Option<Timestamp>,
}

fn currency(code: &str) -> Result<Currency, String> {
    Currency::parse(code).ok_or_else(|| format!("{code:?} is no currency code like EUR"))
}

/// The types that can be sent for a gateway; none where its signatures cannot be made.
const fn types(gateway: Gateway) -> &'static [&'static str] {
    match gateway {
        Gateway::Stripe => stripe::sample::TYPES,
        Gateway::Paypal => &[],
        Gateway::Generic | Gateway::Microservice | Gateway::StandardWebhooks => sample::TYPES,
    }
}

pub async fn run(args: &Args, flags: &Flags) -> anyhow::Result<ExitCode> {
    if args.list {
        return list(args.gateway);
    }
    let event = args.event(args.money(flags).await)?;
    let reply = args.target.sender(args.gateway, flags)?.deliver(&event.id, &event.body).await?;
    tell!("{} {} → {}", event.event_type, event.id, reply.status);
    say!("{}", reply.body)?;
    Ok(if reply.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn list(of: Gateway) -> anyhow::Result<ExitCode> {
    for event_type in types(of) {
        say!("{event_type}")?;
    }
    for other in Gateway::ALL.into_iter().filter(|other| *other != of && !types(*other).is_empty()) {
        tell!("more with `--gateway {}`", other.as_str());
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// What is asked for, else what is registered; `None` where nothing tells.
    async fn money(&self, flags: &Flags) -> Option<Money> {
        match (self.amount, self.currency) {
            (Some(_), Some(_)) => None,
            _ => registered::money(self, flags).await,
        }
    }

    fn event(&self, registered: Option<Money>) -> anyhow::Result<SampleEvent> {
        let event_type = self.event_type.as_deref().unwrap_or_default();
        let gateway = self.gateway.as_str();
        if types(self.gateway).is_empty() {
            return Err(WrongUsage(format!("nobody but {gateway} can sign as {gateway} does")).into());
        }
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..));
        let now = || if self.seed.is_some() { SEEDED_START } else { Clock::System.now() };
        let at = self.created.unwrap_or_else(now);
        let event = match self.gateway {
            Gateway::Stripe => Sampler::new(seed).single(event_type, at, &self.overrides(registered)),
            other => self.wanted(registered).event(other, event_type, seed, at),
        };
        let unknown = || {
            let all = if self.gateway == Gateway::Stripe { String::new() } else { format!(" --gateway {gateway}") };
            format!("no event of type {event_type:?} is known; `quittance trigger --list{all}` names them")
        };
        event.ok_or_else(|| WrongUsage(unknown()).into())
    }

    fn overrides(&self, registered: Option<Money>) -> Overrides {
        let (intent, payment) = match &self.payment {
            Some(id) if id.starts_with("pi_") => (Some(id.clone()), None),
            other => (None, other.clone()),
        };
        Overrides {
            amount: self.amount_or(registered).or(Minor::new(AMOUNT_DEFAULT)),
            currency: self.currency_or(registered).or_else(|| Currency::parse(CURRENCY_DEFAULT)),
            no_made_up_order: true,
            order_id: self.order_id.clone(),
            booking_id: self.booking_id.clone(),
            payment_id: payment,
            transaction_id: self.transaction.clone(),
            payment_intent: intent,
            session: self.session.clone(),
            livemode: self.live,
            ..Overrides::default()
        }
    }

    fn amount_or(&self, registered: Option<Money>) -> Option<Minor> {
        self.amount.and_then(Minor::new).or_else(|| registered.map(|money| money.amount))
    }

    fn currency_or(&self, registered: Option<Money>) -> Option<Currency> {
        self.currency.or_else(|| registered.map(|money| money.currency))
    }

    /// These senders need not say an amount: none is said of a payment that is named and
    /// not registered here.
    fn wanted(&self, registered: Option<Money>) -> sample::Wanted {
        let is_named = self.payment.is_some() || self.transaction.is_some() || self.order_id.is_some();
        let amount = self.amount_or(registered);
        sample::Wanted {
            payment_id: self.payment.clone(),
            transaction_id: self.transaction.clone(),
            order_id: self.order_id.clone(),
            booking_id: self.booking_id.clone(),
            amount: if is_named { amount } else { amount.or(Minor::new(AMOUNT_DEFAULT)) },
            currency: self.currency_or(registered),
        }
    }
}
