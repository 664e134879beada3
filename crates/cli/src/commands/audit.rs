//! `quittance audit verify`

use std::process::ExitCode;

use crate::config::Config;

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
    let store = super::open(config).await?;
    let mut sound = true;
    for account in store.accounts().await? {
        let report = store.verify_chain(&account).await?;
        sound &= report.faults.is_empty();
        if *json {
            println!("{}", serde_json::json!({ "account": account, "report": report }));
            continue;
        }
        for fault in &report.faults {
            println!("{account}: {}", serde_json::to_string(fault)?);
        }
        let verdict = if report.faults.is_empty() { "holds" } else { "is broken" };
        println!("{account}: the chain of {} batches with {} events {verdict}", report.batches, report.events);
    }
    store.close().await;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
