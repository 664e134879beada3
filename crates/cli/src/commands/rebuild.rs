//! `quittance rebuild`

use std::process::ExitCode;

use crate::config::Config;
use crate::output::count;
use crate::{say, tell};

/// Differences that are printed; the count is always whole.
const SHOWN_MAX: usize = 50;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only compare with what is stored; exit 1 on a difference
    #[arg(long, required = true)]
    check: bool,
}

pub async fn run(_args: &Args, config: &Config) -> anyhow::Result<ExitCode> {
    let store = super::open_existing(config).await?;
    let comparison = engine::rebuild::check(&store).await?;
    store.close().await;
    for difference in comparison.differences.iter().take(SHOWN_MAX) {
        say!(
            "{} {}: stored {}; the events say {}",
            difference.account,
            difference.subject,
            difference.stored,
            difference.derived
        )?;
    }
    tell!(
        "{}, {} and {} compared: {}",
        count(comparison.events, "event"),
        count(comparison.payments, "payment"),
        count(comparison.orders, "order"),
        count(comparison.differences.len(), "difference")
    );
    Ok(if comparison.differences.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
