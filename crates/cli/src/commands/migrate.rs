//! `quittance migrate`

use std::process::ExitCode;

use anyhow::Context;
use store::Store;

use crate::config::{Config, without_password};
use crate::output::count;
use crate::{say, tell};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Then spread every table over the nodes of a PostgreSQL with the Citus extension, by
    /// account; what is spread already is left
    #[arg(long)]
    distribute: bool,
    /// Print the SQL that would spread them, and change nothing; does not need Citus
    #[arg(long, requires = "distribute")]
    dry_run: bool,
}

pub async fn run(args: &Args, config: &Config) -> anyhow::Result<ExitCode> {
    let named = without_password(&config.database_url);
    if args.dry_run {
        super::usable(config).await?;
        let store = Store::open(&config.database_url).await.with_context(|| named.clone())?;
        let statements = store.distribution().await.with_context(|| named.clone())?;
        store.close().await;
        for statement in statements {
            say!("{statement}")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let store = super::open(config).await?;
    tell!("{named} is at this version");
    if args.distribute {
        let run = store.distribute().await.with_context(|| named.clone())?;
        for statement in &run {
            say!("{statement}")?;
        }
        tell!("{named} is distributed by account: {} run just now", count(run.len(), "statement"));
    }
    store.close().await;
    Ok(ExitCode::SUCCESS)
}
