//! Endpoints and secrets are read again on SIGHUP and when a file that they came from
//! changes. Requests under way keep what they started with.

use std::fs::Metadata;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use server::Endpoints;
use server::endpoint::InForce;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use crate::config::{Config, Flags, process_environment};
use crate::output;

/// Between two looks at the files.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Without it SIGHUP would end the process.
pub fn hangups() -> anyhow::Result<Signal> {
    signal(SignalKind::hangup()).context("SIGHUP cannot be handled")
}

/// How a file is known to be another one than before; nothing where there is none.
type Trace = Option<(SystemTime, u64, u64)>;

fn traces(files: &[PathBuf]) -> Vec<Trace> {
    let trace = |found: Metadata| Some((found.modified().ok()?, found.len(), found.ino()));
    files.iter().map(|file| std::fs::metadata(file).ok().and_then(trace)).collect()
}

/// Keeps the endpoints in force as they are configured. Runs until it is aborted.
pub async fn run(
    mut hangups: Signal,
    mut config: Config,
    flags: Flags,
    listen: Option<SocketAddr>,
    in_force: Arc<InForce>,
) {
    let mut look = tokio::time::interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = traces(&config.read_from);
    loop {
        let asked = tokio::select! {
            hangup = hangups.recv() => hangup.is_some(),
            _ = look.tick() => false,
        };
        let found = traces(&config.read_from);
        if found == seen && !asked {
            continue;
        }
        match again(&config, &flags, listen) {
            Ok((new, to_serve)) => {
                let endpoints = to_serve.iter().filter(|endpoint| !endpoint.secrets.is_empty()).count();
                in_force.replace(to_serve);
                tracing::info!(endpoints, "Configuration read again: endpoints and secrets are in force");
                say_what_stays(&config, &new);
                seen = traces(&new.read_from);
                config.take(new);
            }
            Err(error) => {
                tracing::error!(error = output::line(&error), "Configuration not read again: the one before stays");
                seen = found;
            }
        }
    }
}

/// A file that was there and is gone is being replaced, or lost; nobody's payments are
/// to be refused meanwhile.
fn again(config: &Config, flags: &Flags, listen: Option<SocketAddr>) -> anyhow::Result<(Config, Endpoints)> {
    let new = Config::load(flags, listen, &process_environment)?;
    if let Some(gone) = config.file.as_ref().filter(|_| new.file.is_none()) {
        anyhow::bail!("{} is gone", gone.display());
    }
    let to_serve = new.endpoints_to_serve()?;
    Ok((new, to_serve))
}

/// What only a restart changes.
fn say_what_stays(old: &Config, new: &Config) {
    let url = |config: &Config| {
        config.logging_service_url.as_ref().map(|url| secrecy::ExposeSecret::expose_secret(url).to_owned())
    };
    for (key, changed) in [
        ("database_url", old.database_url != new.database_url),
        ("database", old.database != new.database),
        ("listen", old.listen != new.listen),
        ("log", old.log != new.log),
        ("logging_service_url", url(old) != url(new)),
        ("connections", old.connections != new.connections),
        ("retention", old.retention != new.retention),
        ("checkpoint_key", !old.checkpoints.same_key(&new.checkpoints)),
        ("checkpoint_file", old.checkpoints.file != new.checkpoints.file),
    ] {
        if changed {
            tracing::warn!(key, "{key} was changed; it counts from the next start on");
        }
    }
}
