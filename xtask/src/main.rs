//! `cargo xtask`: what contributors and CI run. Each subcommand says what it does,
//! a line a step, and ends with status 1 at the first step that fails.

mod lint;
mod measure;
mod peers;
mod serve;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::{packages, postgres, shell};

/// The repository's tasks.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run all tests; install what they need where it is missing
    #[command(after_help = test::INSTALLS)]
    Test,
    /// Formatting, clippy with warnings denied, licences and bans, tidy
    Lint,
    /// What CI runs: lint, then test
    Ci,
    /// Check the tree's habits: sizes, crate arrows, tests for every store method, links
    Tidy,
    /// Measure the release binary against the ceiling, or what other people write; writes bench/results/
    Bench(measure::Bench),
    /// Kill the binary under load, over and over, and look for what was lost
    Soak(measure::Soak),
    /// Replicas and databases killed, failover, cut commits, full disks, jumping clocks, broken rows, all under load;
    /// writes bench/results/
    Faults(measure::Faults),
    /// Run a PostgreSQL for `cargo nextest run`, until standard input ends or Ctrl-C
    Postgres(serve::Postgres),
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            shell::say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> anyhow::Result<()> {
    match task {
        Task::Test => test::run(),
        Task::Lint => lint::run(),
        Task::Ci => lint::run().and_then(|()| test::run()),
        Task::Tidy => tidy::run(),
        Task::Bench(arguments) => arguments.run(),
        Task::Soak(arguments) => arguments.run(),
        Task::Faults(arguments) => arguments.run(),
        Task::Postgres(arguments) => arguments.run(),
    }
}
