//! `quittance demo`: the main job, to look at. Serves on a scratch database while a
//! simulated gateway delivers the lives of payments: failures, refunds, disputes,
//! duplicates, all of it out of order.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use domain::AccountId;
use engine::{Clock, Upkeep};
use gateways::stripe::sample::Life;
use gateways::{Gateway, Secret};
use secrecy::SecretString;
use server::{Endpoint, Endpoints};
use store::{ApiKey, KeyScope, PaymentFilter, Store};

use super::keys::random_id;
use super::serve::{Server, stop_signal};
use super::simulate::Traffic;
use crate::config::ConnectionLimits;
use crate::sender::Sender;
use crate::{say, telemetry, tell};

const LISTEN_DEFAULT: &str = "127.0.0.1:8080";
const WEBHOOK_PATH: &str = "/payments/webhook";
/// Payments whose events are delivered together, shuffled.
const PAYMENTS_A_ROUND: usize = 10;
const DUPLICATES_PERCENT: u8 = 10;
/// Logs would drown what the demo has to say.
const LOG_DEFAULT: &str = "warn";
/// How long the backlog may take to drain at the end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
const DRAIN_POLL: Duration = Duration::from_millis(20);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to listen; a free port is taken where this one is in use
    #[arg(long, value_name = "ADDR", default_value = LISTEN_DEFAULT)]
    listen: SocketAddr,
    /// Deliveries a second; 0 for as many as it takes
    #[arg(long, value_name = "R", default_value_t = 20)]
    rate: u32,
    /// Stop after so many payments, compare each with what it should have come to,
    /// and exit 1 on a difference [default: go on until interrupted]
    #[arg(long, value_name = "N")]
    payments: Option<usize>,
    /// The same seed gives the same payments
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

pub async fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let levels = crate::config::process_environment("QUITTANCE_LOG");
    let _logs = telemetry::start(telemetry::filter(levels.as_deref().unwrap_or(LOG_DEFAULT), "QUITTANCE_LOG")?, None)?;
    let stop = stop_signal()?; // Before anything is printed: who reads it may interrupt.
    let scratch = tempfile::tempdir().context("no scratch folder can be made")?;
    let database = scratch.path().join("demo.db");
    let store = Store::open(&format!("sqlite:{}", database.display())).await?;
    store.migrate().await?;
    let key = demo_key(&store).await?;
    let secret = SecretString::from(random_id("whsec", 24)?);
    let secrets = vec![Secret::from_text(&secret)];
    let endpoints = || Endpoints::new([Endpoint::stripe(WEBHOOK_PATH, secrets.clone())]);
    let limits = ConnectionLimits::default();
    let start = |listen| Server::start(store.clone(), endpoints(), listen, limits, Upkeep::default());
    let server = match start(args.listen).await {
        Ok(server) => server,
        Err(_) if args.listen.port() != 0 => start(SocketAddr::new(args.listen.ip(), 0)).await?,
        Err(error) => return Err(error),
    };
    let base = format!("http://{}", server.address);
    introduce(&base, &key, &database)?;
    let sender = Sender::new(&format!("{base}{WEBHOOK_PATH}"), Gateway::Stripe, secret)?;
    let (done, finished) = tokio::sync::oneshot::channel();
    let serving = tokio::spawn(server.run(async {
        tokio::select! {
            () = stop => {}
            _ = finished => {}
        }
    }));
    let traffic = play(args, &store, &sender);
    tokio::select! {
        ended = serving => Ok(ended.context("the server died")??), // Interrupted.
        wrong = traffic => {
            let wrong = wrong?;
            let _ = done.send(()); // A server that ended by itself needs no telling.
            Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

async fn demo_key(store: &Store) -> anyhow::Result<String> {
    let key = ApiKey {
        id: random_id("key", 8)?,
        account: Some(AccountId::default()),
        scope: KeyScope::Write,
        name: "demo".to_owned(),
        created_at: Clock::System.now(),
        revoked_at: None,
    };
    let secret = random_id("qk", 32)?;
    store.create_key(&key, &secret).await?;
    Ok(secret)
}

fn introduce(base: &str, key: &str, database: &std::path::Path) -> std::io::Result<()> {
    // However it was started: there may be no `quittance` on the path.
    let program = std::env::args().next().unwrap_or_else(|| "quittance".to_owned());
    say!(
        "Quittance demo: a simulated gateway delivers payments' lives to {base}{WEBHOOK_PATH},
signed, with failures, refunds, disputes, every tenth event twice, and out of order.

Look at it from another terminal:
  curl {base}/api/webhooks/health
  curl -H 'Authorization: Bearer {key}' '{base}/api/payments?limit=3'
  curl -H 'Authorization: Bearer {key}' '{base}/api/webhooks/events?limit=3'
  curl -H 'Authorization: Bearer {key}' '{base}/api/webhooks/stats'
  {program} events list --database-url sqlite:{}

The database is scratch and goes when the demo ends. Interrupt to end it.
",
        database.display()
    )
}

/// Delivers rounds of payments and shows where they stand. Returns how many came to
/// something else than they should have.
async fn play(args: &Args, store: &Store, sender: &Sender) -> anyhow::Result<usize> {
    let mut traffic = Traffic::new(args.seed, DUPLICATES_PERCENT, true);
    let mut lives: Vec<Life> = Vec::new();
    let mut deliveries = 0;
    while args.payments.is_none_or(|wanted| lives.len() < wanted) {
        let left = args.payments.map_or(PAYMENTS_A_ROUND, |wanted| wanted - lives.len());
        let round: Vec<Life> = (0..left.min(PAYMENTS_A_ROUND)).map(|_| traffic.life()).collect();
        let tally = traffic.send(&round, sender, args.rate).await;
        deliveries += tally.acknowledged;
        if args.payments.is_some() {
            lives.extend(round);
        }
        let counts = store.count_payments(&AccountId::default()).await?;
        let shown: Vec<String> = counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
        say!("{deliveries} deliveries acknowledged; payments: {}", shown.join(", "))?;
    }
    drained(store).await?;
    let mut wrong = 0;
    for life in &lives {
        wrong += usize::from(!came_right(store, life).await?);
    }
    say!("seed {}: {} payments, {wrong} of them not as they should be", traffic.seed, lives.len())?;
    Ok(wrong)
}

async fn drained(store: &Store) -> anyhow::Result<()> {
    let waiting = async {
        while store.backlog().await?.events > 0 {
            tokio::time::sleep(DRAIN_POLL).await;
        }
        store::Result::Ok(())
    };
    tokio::time::timeout(DRAIN_TIMEOUT, waiting).await.context("the backlog does not drain")??;
    Ok(())
}

async fn came_right(store: &Store, life: &Life) -> anyhow::Result<bool> {
    let filter = PaymentFilter { order_id: Some(life.order_id.clone()), ..PaymentFilter::default() };
    let found = store.list_payments(&filter, 2).await?;
    let right = found.len() == 1
        && found[0].payment.status == life.expected
        && found[0].payment.dispute_status == life.expected_dispute
        && found[0].payment.amount_refunded == life.amount_refunded;
    if !right {
        let came_to: Vec<_> = found.iter().map(|row| row.payment.status).collect();
        tell!("order {}: {:?} should be {}, is {came_to:?}", life.order_id, life.kind, life.expected);
    }
    Ok(right)
}
