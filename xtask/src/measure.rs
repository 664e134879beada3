//! Builds the release binary and the `bench` program, and has the latter do the work.

use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::peers;
use crate::postgres::{Server, Settings, URL_VARIABLE};
use crate::shell::{cargo, root, say, step, target};

/// For all systems alike: as somebody would set it who has this machine for it, and so
/// that no checkpoint falls into a run.
const POSTGRES: [(&str, &str); 2] = [("shared_buffers", "512MB"), ("max_wal_size", "8GB")];

#[derive(Args)]
pub struct Bench {
    /// Rounds, each of them ceiling and Quittance in turn; medians are reported
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Distinct events a round; 200000, with --peers 120000 at most
    #[arg(long)]
    events: Option<usize>,
    /// Keep-alive connections
    #[arg(long, default_value_t = 128)]
    connections: usize,
    /// How long the ceiling and the open loop are measured, each; with --peers each system
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The server's QUITTANCE_LOG
    #[arg(long, default_value = "warn")]
    log_level: String,
    /// Measure on a PostgreSQL started for it too: one replica, two, and a burst
    #[arg(long, conflicts_with = "peers")]
    postgres: bool,
    /// Store so many events instead, and see what becomes of the rate and of lists; with
    /// --postgres there
    #[arg(long, value_name = "EVENTS", conflicts_with = "peers")]
    stored: Option<usize>,
    /// Measure what other people write instead of the ceiling, on a PostgreSQL started for it
    #[arg(long)]
    peers: bool,
    /// Of these systems only: quittance, axum-plain, express, django, supabase
    #[arg(long, requires = "peers", value_delimiter = ',')]
    only: Vec<String>,
}

#[derive(Args)]
pub struct Soak {
    /// Rounds: start, load, kill, restart, check
    #[arg(long, default_value_t = 100)]
    rounds: u32,
    /// Repeats a run; without it, another each time
    #[arg(long)]
    seed: Option<u64>,
    /// Events a round
    #[arg(long, default_value_t = 4_000)]
    events: usize,
    /// Keep-alive connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// On a PostgreSQL started for it instead of on SQLite
    #[arg(long)]
    postgres: bool,
    /// The debug build instead of the release build
    #[arg(long)]
    debug: bool,
}

#[derive(Args)]
pub struct Faults {
    /// Only these: replica-killed, postgres-killed, failover, commit-cut, disk-full, clock-jumps, poison
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How long the load of each would take without a fault
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Events a second, to all servers together
    #[arg(long, default_value_t = 1_500.0)]
    rate: f64,
    /// Keep-alive connections to each server
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Repeats the events of a run; without it, others each time
    #[arg(long)]
    seed: Option<u64>,
    /// The debug build instead of the release build
    #[arg(long)]
    debug: bool,
}

/// For what is measured on it.
fn postgres() -> anyhow::Result<Server> {
    let more = POSTGRES.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let server = Server::start(Settings { more, ..Settings::durable() })?;
    say(&format!("PostgreSQL {} on 127.0.0.1:{}", server.version(), server.port()));
    Ok(server)
}

impl Bench {
    /// # Errors
    /// When the build or the measurement fails.
    pub fn run(&self) -> anyhow::Result<()> {
        if self.peers {
            return self.peers();
        }
        if let Some(events) = self.stored {
            return self.stored(events);
        }
        let mut command = Built::new(false)?.bench("compare")?;
        let server = self.postgres.then(postgres).transpose()?;
        if let Some(server) = &server {
            command.arg("--postgres").arg(server.url("postgres"));
        }
        self.measure(&mut command)
    }

    fn stored(&self, events: usize) -> anyhow::Result<()> {
        let mut command = Built::new(false)?.bench("stored")?;
        let server = self.postgres.then(postgres).transpose()?;
        if let Some(server) = &server {
            command.arg("--postgres").arg(server.url("postgres"));
        }
        command.arg("--results").arg(root()?.join("bench").join("results"));
        for (flag, value) in [
            ("--events", events.to_string()),
            ("--connections", self.connections.to_string()),
            ("--seed", self.seed.to_string()),
        ] {
            command.arg(flag).arg(value);
        }
        step("storing and looking; leave the machine alone", &mut command)
    }

    fn peers(&self) -> anyhow::Result<()> {
        peers::needs()?;
        let built = Built::new(false)?;
        let installed = peers::install()?;
        let server = postgres()?;
        let mut command = built.bench("peers")?;
        command.arg("--peers").arg(installed).arg("--postgres").arg(server.url("postgres"));
        if !self.only.is_empty() {
            command.arg("--only").arg(self.only.join(","));
        }
        self.measure(&mut command)
    }

    fn measure(&self, command: &mut Command) -> anyhow::Result<()> {
        command.arg("--results").arg(root()?.join("bench").join("results"));
        if let Some(events) = self.events {
            command.arg("--events").arg(events.to_string());
        }
        for (flag, value) in [
            ("--rounds", self.rounds.to_string()),
            ("--connections", self.connections.to_string()),
            ("--seconds", self.seconds.to_string()),
            ("--seed", self.seed.to_string()),
            ("--log-level", self.log_level.clone()),
        ] {
            command.arg(flag).arg(value);
        }
        step("measuring; leave the machine alone", command)
    }
}

impl Soak {
    /// # Errors
    /// When the build fails or anything was lost.
    pub fn run(&self) -> anyhow::Result<()> {
        let built = Built::new(self.debug)?;
        let mut command = built.bench("soak")?;
        for (flag, value) in [
            ("--rounds", self.rounds.to_string()),
            ("--events", self.events.to_string()),
            ("--connections", self.connections.to_string()),
        ] {
            command.arg(flag).arg(value);
        }
        if let Some(seed) = self.seed {
            command.arg("--seed").arg(seed.to_string());
        }
        let server = self.postgres.then(|| Server::start(Settings::durable())).transpose()?;
        if let Some(server) = &server {
            command.arg("--postgres").env(URL_VARIABLE, server.url("postgres"));
        }
        step("killing it under load", &mut command)
    }
}

impl Faults {
    /// # Errors
    /// When the build fails, there is no PostgreSQL, or a fault was not withstood.
    pub fn run(&self) -> anyhow::Result<()> {
        let built = Built::new(self.debug)?;
        let mut command = built.bench("faults")?;
        command.arg("--results").arg(root()?.join("bench").join("results"));
        for (flag, value) in [
            ("--seconds", self.seconds.to_string()),
            ("--rate", self.rate.to_string()),
            ("--connections", self.connections.to_string()),
        ] {
            command.arg(flag).arg(value);
        }
        if !self.only.is_empty() {
            command.arg("--only").arg(self.only.join(","));
        }
        if let Some(seed) = self.seed {
            command.arg("--seed").arg(seed.to_string());
        }
        step("having go wrong what goes wrong; seven faults take some minutes", &mut command)
    }
}

/// The directory with both programs, just built.
struct Built(PathBuf);

impl Built {
    fn new(debug: bool) -> anyhow::Result<Self> {
        let (profile, directory) = if debug { ("dev", "debug") } else { ("release", "release") };
        let arguments = ["build", "--profile", profile, "--package", "cli", "--package", "bench", "--bins"];
        step(&format!("building quittance and bench ({profile})"), &mut cargo(&arguments)?)?;
        Ok(Self(target()?.join(directory)))
    }

    /// A subcommand of `bench`, told where the binary is and to make its databases
    /// beside it: on the same disk as the tree, not in a temporary file system.
    fn bench(&self, subcommand: &str) -> anyhow::Result<Command> {
        let mut command = Command::new(self.0.join("bench"));
        command.current_dir(root()?).arg(subcommand);
        command.arg("--binary").arg(self.0.join("quittance"));
        command.arg("--scratch").arg(target()?.join("xtask").join("scratch"));
        Ok(command)
    }
}
