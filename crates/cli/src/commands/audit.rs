//! `quittance audit verify`

use std::process::ExitCode;

use crate::config::Config;
use crate::output::count;
use crate::{say, tell};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Walk the hash chain over the stored events; exit 1 where it does not hold
    Verify {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

pub async fn run(command: &Command, config: &Config) -> anyhow::Result<ExitCode> {
    let Command::Verify { json } = command;
    let store = super::open_existing(config).await?;
    let mut sound = true;
    let accounts = store.accounts().await?;
    if accounts.is_empty() {
        tell!("no events are stored: there is no chain yet");
    }
    for account in accounts {
        let report = store.verify_chain(&account).await?;
        sound &= report.faults.is_empty();
        if *json {
            say!("{}", serde_json::json!({ "account": account, "report": report }))?;
            continue;
        }
        for fault in &report.faults {
            say!("{account}: {}", serde_json::to_string(fault)?)?;
        }
        let verdict = if report.faults.is_empty() { "holds" } else { "is broken" };
        let (links, events) = (count(report.batches, "link"), count(report.events, "event"));
        say!("{account}: the chain of {links} over {events} {verdict}")?;
    }
    store.close().await;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
