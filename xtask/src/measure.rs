//! Builds the release binary and the `bench` program, and has the latter do the work.

use std::path::PathBuf;
use std::process::Command;

use clap::Args;

use crate::shell::{cargo, root, step, target};

#[derive(Args)]
pub struct Bench {
    /// Rounds, each of them ceiling and Quittance in turn; medians are reported
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Distinct events a round
    #[arg(long, default_value_t = 200_000)]
    events: usize,
    /// Keep-alive connections
    #[arg(long, default_value_t = 128)]
    connections: usize,
    /// How long the ceiling and the open loop are measured, each
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The server's QUITTANCE_LOG
    #[arg(long, default_value = "warn")]
    log_level: String,
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
    /// The debug build instead of the release build
    #[arg(long)]
    debug: bool,
}

impl Bench {
    /// # Errors
    /// When the build or the measurement fails.
    pub fn run(&self) -> anyhow::Result<()> {
        let built = Built::new(false)?;
        let mut command = built.bench("compare")?;
        command.arg("--results").arg(root()?.join("bench").join("results"));
        for (flag, value) in [
            ("--rounds", self.rounds.to_string()),
            ("--events", self.events.to_string()),
            ("--connections", self.connections.to_string()),
            ("--seconds", self.seconds.to_string()),
            ("--seed", self.seed.to_string()),
            ("--log-level", self.log_level.clone()),
        ] {
            command.arg(flag).arg(value);
        }
        step("measuring; leave the machine alone", &mut command)
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
        step("killing it under load", &mut command)
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
