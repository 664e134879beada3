//! `quittance rebuild`

use std::process::ExitCode;

use crate::config::Config;

/// Differences that are printed; the count is always whole.
const SHOWN_MAX: usize = 50;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only compare with what is stored; exit 1 on a difference
    #[arg(long, required = true)]
    check: bool,
}

pub async fn run(_args: &Args, config: &Config) -> anyhow::Result<ExitCode> {
    let store = super::open(config).await?;
    let comparison = engine::rebuild::check(&store).await?;
    store.close().await;
    for difference in comparison.differences.iter().take(SHOWN_MAX) {
        println!(
            "{} {}: stored {}; the events say {}",
            difference.account, difference.subject, difference.stored, difference.derived
        );
    }
    let count = comparison.differences.len();
    eprintln!(
        "{} events, {} payments and {} orders compared: {count} differences",
        comparison.events, comparison.payments, comparison.orders
    );
    Ok(if count == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
