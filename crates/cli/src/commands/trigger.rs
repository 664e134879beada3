//! `quittance trigger`

use std::process::ExitCode;

use anyhow::{Context, bail};
use domain::money::Minor;
use domain::{Currency, Timestamp};
use engine::Clock;
use gateways::Secret;
use gateways::stripe::sample::{Overrides, Sampler, TYPES};
use secrecy::SecretString;

use super::verify::instant;
use crate::config::{self, Config, Flags, process_environment};
use crate::sender::Sender;
use crate::{say, tell};

/// When seeded events happen: their ids tell the time too, so it has to be the same.
pub const SEEDED_START: Timestamp = Timestamp::from_seconds(1_735_689_600);

/// Where to deliver and how to sign.
#[derive(Clone, Debug, clap::Args)]
pub struct Target {
    /// The endpoint's URL [default: the configured address, /api/webhooks/stripe]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// The endpoint's signing secret, env:NAME or file:PATH [default: the configured one]
    #[arg(long, value_name = "SECRET")]
    secret: Option<SecretString>,
}

impl Target {
    pub fn sender(&self, flags: &Flags) -> anyhow::Result<Sender> {
        let config = Config::load(flags, None, &process_environment)?;
        let secret = match &self.secret {
            Some(secret) => config::secret("--secret", secret, &process_environment)?,
            None => config
                .stripe_secrets
                .first()
                .cloned()
                .context("no secret to sign with: give --secret or set STRIPE_WEBHOOK_SECRET")?,
        };
        let url = self.to.clone().unwrap_or_else(|| format!("http://{}/api/webhooks/stripe", config.listen));
        Sender::new(&url, Secret::from_text(&secret))
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
    #[command(flatten)]
    target: Target,
    /// The order, as `metadata.order_id`
    #[arg(long, value_name = "ID")]
    order_id: Option<String>,
    /// The booking, as `metadata.booking_id`
    #[arg(long, value_name = "ID")]
    booking_id: Option<String>,
    /// The payment: a payment intent (`pi_…`), or your own id as `metadata.payment_id`
    #[arg(long, value_name = "ID")]
    payment: Option<String>,
    /// In the currency's minor unit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    amount: Option<i64>,
    /// Like EUR
    #[arg(long, value_name = "CODE")]
    currency: Option<String>,
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

pub async fn run(args: &Args, flags: &Flags) -> anyhow::Result<ExitCode> {
    if args.list {
        for event_type in TYPES {
            say!("{event_type}")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let event_type = args.event_type.as_deref().unwrap_or_default();
    let (intent, payment) = match &args.payment {
        Some(id) if id.starts_with("pi_") => (Some(id.clone()), None),
        other => (None, other.clone()),
    };
    let currency = match &args.currency {
        Some(code) => Some(Currency::parse(code).with_context(|| format!("--currency: {code:?} is no currency code"))?),
        None => None,
    };
    let overrides = Overrides {
        amount: args.amount.and_then(Minor::new),
        currency,
        order_id: args.order_id.clone(),
        booking_id: args.booking_id.clone(),
        payment_id: payment,
        payment_intent: intent,
        livemode: args.live,
        ..Overrides::default()
    };
    let mut sampler = Sampler::new(args.seed.unwrap_or_else(|| fastrand::u64(..)));
    let now = || if args.seed.is_some() { SEEDED_START } else { Clock::System.now() };
    let Some(event) = sampler.single(event_type, args.created.unwrap_or_else(now), &overrides) else {
        bail!("no event of type {event_type:?} is known; `quittance trigger --list` names them");
    };
    let reply = args.target.sender(flags)?.deliver(&event.body).await?;
    tell!("{} {} → {}", event.event_type, event.id, reply.status);
    say!("{}", reply.body)?;
    Ok(if reply.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
