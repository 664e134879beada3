//! `quittance audit`

use std::fs::File;
use std::io::{BufReader, stdin};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use engine::checkpoints::{self, CheckpointReport, Line};
use engine::{CheckpointKey, Clock};
use store::Store;

use crate::config::{Config, process_environment};
use crate::output::count;
use crate::{say, tell};

const STANDARD_INPUT: &str = "-";

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Walk the hash chains over the stored events; exit 1 where one does not hold
    Verify {
        /// Lines that `serve` logged or `audit checkpoint` printed, to hold the chain against;
        /// `-` reads standard input
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print where each chain ends now, a line of JSON each, to keep elsewhere
    Checkpoint,
}

pub async fn run(command: &Command, config: &Config) -> anyhow::Result<ExitCode> {
    match command {
        Command::Verify { checkpoint, json } => verify(config, checkpoint.as_deref(), *json).await,
        Command::Checkpoint => print(config).await,
    }
}

async fn print(config: &Config) -> anyhow::Result<ExitCode> {
    let key = config.checkpoints.key(&process_environment)?;
    let store = super::open_existing(config).await?;
    let checkpoints = checkpoints::current(&store, key.as_ref(), Clock::System.now()).await?;
    store.close().await;
    if checkpoints.is_empty() {
        tell!("no events are stored: there is no chain yet");
    } else if key.is_none() {
        tell!("not signed: set QUITTANCE_CHECKPOINT_KEY");
    }
    for checkpoint in checkpoints {
        say!("{}", checkpoint.json())?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn verify(config: &Config, checkpoint: Option<&Path>, json: bool) -> anyhow::Result<ExitCode> {
    // Before the chain is walked: a running server adds to both.
    let kept = match checkpoint {
        Some(path) => Some((path, read(path)?, config.checkpoints.key(&process_environment)?)),
        None => None,
    };
    let store = super::open_existing(config).await?;
    let mut sound = chains_hold(&store, json).await?;
    if let Some((path, lines, key)) = kept {
        let report = checkpoints::check(&store, &lines, key.as_ref()).await?;
        sound &= report.faults.is_empty();
        say_report(path, &report, key.as_ref(), json)?;
    }
    store.close().await;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn chains_hold(store: &Store, json: bool) -> anyhow::Result<bool> {
    let mut sound = true;
    let accounts = store.accounts().await?;
    if accounts.is_empty() {
        tell!("no events are stored: there is no chain yet");
    }
    for account in accounts {
        let report = store.verify_chain(&account).await?;
        sound &= report.faults.is_empty();
        if json {
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
    Ok(sound)
}

fn read(path: &Path) -> anyhow::Result<Vec<Line>> {
    let unreadable = || format!("{} cannot be read", named(path));
    let lines = match path == Path::new(STANDARD_INPUT) {
        true => checkpoints::read(stdin().lock()),
        false => File::open(path).and_then(|file| checkpoints::read(BufReader::new(file))),
    };
    let lines = lines.with_context(unreadable)?;
    if lines.is_empty() {
        bail!("{} holds no checkpoint: name a checkpoint_file, or a log of `quittance serve` in JSON", named(path));
    }
    Ok(lines)
}

fn named(path: &Path) -> std::borrow::Cow<'_, str> {
    if path == Path::new(STANDARD_INPUT) { "standard input".into() } else { path.to_string_lossy() }
}

fn say_report(path: &Path, report: &CheckpointReport, key: Option<&CheckpointKey>, json: bool) -> anyhow::Result<()> {
    if json {
        return Ok(say!("{}", serde_json::json!({ "checkpoints": report }))?);
    }
    for fault in &report.faults {
        say!("{}: {fault}", named(path))?;
    }
    let verdict = if report.faults.is_empty() { "the chain has what they saw" } else { "they do not fit the chain" };
    let signatures = match key {
        Some(_) => format!("{} signed, {} unsigned", report.signed, report.unsigned),
        None => format!("{} unsigned, no key to check the others with", report.unsigned),
    };
    Ok(say!("{}: {} ({signatures}): {verdict}", named(path), count(report.checkpoints, "checkpoint"))?)
}
