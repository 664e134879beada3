//! The commands, one file each, named by their verbs.

mod audit;
mod check;
mod demo;
mod events;
mod keys;
mod migrate;
mod prove;
mod rebuild;
mod serve;
mod simulate;
mod trigger;
mod verify;

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use store::{Condition, Store};

use crate::config::{Config, Flags, process_environment, without_password};
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
    Migrate(migrate::Args),
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
    /// Shuffle, duplicate, regroup and crash over recorded events; exit 1 where the end differs
    Prove(prove::Args),
    /// Check the stored events' hash chain
    #[command(subcommand)]
    Audit(audit::Command),
}

pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let flags = &cli.flags;
    match cli.command {
        Command::Serve(args) => {
            let config = Config::load(flags, args.listen, &process_environment)?;
            let filter = telemetry::filter(&config.log, &config.log_said_by)?;
            let _logs = telemetry::start(filter, config.logging_service_url.as_ref())?;
            serve::run(config, flags, &args).await
        }
        Command::Demo(args) => demo::run(&args).await,
        Command::Migrate(args) => migrate::run(&args, &load(flags)?).await,
        Command::Config(command) => check::run(&command, flags).await,
        Command::Trigger(args) => trigger::run(&args, flags).await,
        Command::Simulate(args) => simulate::run(&args, flags).await,
        Command::Verify(args) => verify::run(&args).await,
        Command::Events(command) => events::run(&command, &load(flags)?).await,
        Command::Keys(command) => keys::run(&command, &load(flags)?).await,
        Command::Rebuild(args) => rebuild::run(&args, &load(flags)?).await,
        Command::Prove(args) => prove::run(&args, flags).await,
        Command::Audit(command) => audit::run(&command, &load(flags)?).await,
    }
}

fn load(flags: &Flags) -> anyhow::Result<Config> {
    Config::load_for_database(flags, &process_environment)
}

/// Opens the configured database, makes it where there is none, and brings it to
/// this version.
async fn open(config: &Config) -> anyhow::Result<Store> {
    usable(config).await?;
    let named = || without_password(&config.database_url);
    let store = Store::open_with(&config.database_url, &config.database).await.with_context(named)?;
    store.migrate().await.with_context(named)?;
    Ok(store)
}

/// As [`open`], for commands that look at what is there: they make nothing and bring
/// nothing to this version. An answer about a database that was made a moment ago, in the
/// wrong folder, would be a wrong one.
async fn open_existing(config: &Config) -> anyhow::Result<Store> {
    let named = || without_password(&config.database_url);
    match usable(config).await? {
        Condition::Current => Store::open_with(&config.database_url, &config.database).await.with_context(named),
        Condition::Older => bail!(
            "{}: it is of an earlier version of Quittance; bring it to this one with `quittance migrate`",
            named()
        ),
        _ => bail!(
            "{}: there is no database of Quittance's; name it with --database-url or DATABASE_URL, or make it with \
             `quittance migrate`",
            named()
        ),
    }
}

/// What is at the database's place, if it is not somebody else's.
async fn usable(config: &Config) -> anyhow::Result<Condition> {
    known_database(&config.database_url)?;
    let named = || without_password(&config.database_url);
    match Store::inspect(&config.database_url).await.with_context(named)? {
        Condition::Newer => bail!("{}: it is of a later version of Quittance", named()),
        Condition::Foreign => bail!("{}: it holds the tables of another program; name a database of its own", named()),
        condition => Ok(condition),
    }
}

fn known_database(url: &str) -> anyhow::Result<()> {
    let is_after = |scheme: &str| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty());
    if ["sqlite:", "postgres://", "postgresql://"].into_iter().any(is_after) {
        return Ok(());
    }
    bail!(
        "{:?} is no database that Quittance knows: use sqlite:FILE or postgres://USER:PASSWORD@HOST/DATABASE",
        without_password(url)
    )
}
