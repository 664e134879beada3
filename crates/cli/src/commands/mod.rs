//! The commands, one file each, named by their verbs.

mod audit;
mod check;
mod demo;
mod events;
mod keys;
mod migrate;
mod rebuild;
mod serve;
mod simulate;
mod trigger;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use store::Store;

use crate::config::{Config, Flags, process_environment};
use crate::telemetry;

/// A payment webhook engine: turns what payment gateways say into the truth about
/// your payments, orders, refunds and disputes
#[derive(Debug, Parser)]
#[command(name = "quittance", version, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take deliveries, apply them, and answer questions
    Serve(serve::Args),
    /// Serve on a scratch database with a simulated gateway sending lifelike traffic
    Demo(demo::Args),
    /// Bring the database to this version (serve does it too)
    Migrate,
    /// Look at the configuration
    #[command(subcommand)]
    Config(check::Command),
    /// Sign and send one lifelike event, like a gateway would
    Trigger(trigger::Args),
    /// Send whole lives of payments
    Simulate(simulate::Args),
    /// Verify one delivery offline
    Verify(verify::Args),
    /// Look at stored events, and replay them
    #[command(subcommand)]
    Events(events::Command),
    /// Make and revoke API keys
    #[command(subcommand)]
    Keys(keys::Command),
    /// Derive all state again from stored events
    Rebuild(rebuild::Args),
    /// Check the stored events' hash chain
    #[command(subcommand)]
    Audit(audit::Command),
}

pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let flags = &cli.flags;
    match cli.command {
        Command::Serve(args) => {
            let config = load(flags, args.listen.as_deref())?;
            let _logs = telemetry::start(&config.log)?;
            serve::run(&config).await
        }
        Command::Demo(args) => demo::run(&args).await,
        Command::Migrate => migrate::run(&load(flags, None)?).await,
        Command::Config(command) => check::run(&command, flags).await,
        Command::Trigger(args) => trigger::run(&args, flags).await,
        Command::Simulate(args) => simulate::run(&args, flags).await,
        Command::Verify(args) => verify::run(&args),
        Command::Events(command) => events::run(&command, &load(flags, None)?).await,
        Command::Keys(command) => keys::run(&command, &load(flags, None)?).await,
        Command::Rebuild(args) => rebuild::run(&args, &load(flags, None)?).await,
        Command::Audit(command) => audit::run(&command, &load(flags, None)?).await,
    }
}

fn load(flags: &Flags, listen: Option<&str>) -> anyhow::Result<Config> {
    Config::load(flags, listen, &process_environment)
}

/// Opens the configured database and brings it to this version.
async fn open(config: &Config) -> anyhow::Result<Store> {
    let store = Store::open(&config.database_url).await?;
    store.migrate().await?;
    Ok(store)
}
