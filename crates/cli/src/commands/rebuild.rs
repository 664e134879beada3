//! `quittance rebuild`

use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine::Clock;
use engine::rebuild::{self, Comparison, Difference};
use store::Store;

use crate::config::Config;
use crate::output::count;
use crate::{say, tell};

/// Differences that are printed; the count is always whole.
const SHOWN_MAX: usize = 50;
/// How often it says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only compare with what is stored; exit 1 on a difference
    #[arg(long)]
    check: bool,
}

pub async fn run(args: &Args, config: &Config) -> anyhow::Result<ExitCode> {
    let store = super::open_existing(config).await?;
    let comparison = telling_progress(&store, args.check).await?;
    store.close().await;
    let stored = if args.check { "stored" } else { "was" };
    show(&comparison.differences, stored)?;
    show(&comparison.lost, "stored")?;
    tell!("{}", summary(args.check, &comparison));
    let is_done = if args.check { comparison.is_sound() } else { comparison.lost.is_empty() };
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn telling_progress(store: &Store, check: bool) -> store::Result<Comparison> {
    let progress = Arc::new(AtomicU64::new(0));
    let working = async {
        match check {
            true => rebuild::check_counting(store, &progress).await,
            false => rebuild::restore(store, &progress, Clock::System.now()).await,
        }
    };
    let mut working = pin!(working);
    let mut turn = tokio::time::interval(PROGRESS_INTERVAL);
    turn.tick().await; // The first is at once.
    loop {
        tokio::select! {
            done = &mut working => return done,
            _ = turn.tick() => tell!("{} read", count(progress.load(Ordering::Relaxed), "event")),
        }
    }
}

fn show(differences: &[Difference], stored: &str) -> anyhow::Result<()> {
    for difference in differences.iter().take(SHOWN_MAX) {
        let Difference { account, subject, stored: was, derived } = difference;
        say!("{account} {subject}: {stored} {was}; the events say {derived}")?;
    }
    Ok(())
}

fn summary(check: bool, comparison: &Comparison) -> String {
    let Comparison { events, payments, orders, bookings: _, differences, lost } = comparison;
    let (events, payments, orders) = (count(*events, "event"), count(*payments, "payment"), count(*orders, "order"));
    let compared = format!("{events}, {payments} and {orders} compared");
    let differences = count(differences.len(), "difference");
    if !lost.is_empty() {
        let lost = count(lost.len(), "event");
        let left = if check { "" } else { " in their accounts; restore the rows from a backup" };
        format!("{compared}: {differences}; of {lost} neither facts nor body are left: nothing can be put right{left}")
    } else if check {
        format!("{compared}: {differences}")
    } else {
        format!("{compared}: {differences} put right")
    }
}
