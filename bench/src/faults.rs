//! What goes wrong in production, done on purpose to the real binary under load; then a look at everything, against a
//! ledger that is kept here. `cargo xtask faults` runs all of it.
//!
//! Of each fault the same is asked: what was acknowledged is there, applied once, with its notifications; what was
//! not, was answered 503 (or not at all, where the server itself died) and is taken when it is sent again.

mod clock_jumps;
mod commit_cut;
mod disk;
mod disk_full;
mod failover;
mod look;
mod poison;
mod postgres_killed;
mod proxy;
mod replica_killed;
mod table;
mod traffic;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use xtask::postgres::{Server, Settings};

pub use self::table::{Results, Row, Verdict};
use self::traffic::Rate;
use crate::process;
use crate::quittance::Quittance;
use crate::requests::{Requests, SECRET};
use crate::{environment, now_seconds};

/// Of databases that are made here.
const DATABASE: &str = "quittance";

/// What to run, and how much of it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The `quittance` binary.
    pub binary: PathBuf,
    /// A directory for SQLite files and logs; removed, but for those of a fault that was not withstood.
    pub scratch: PathBuf,
    pub faults: Vec<Fault>,
    /// How long the load would take without a fault.
    pub duration: Duration,
    /// Events a second, to all servers together.
    pub per_second: f64,
    /// To each server.
    pub connections: usize,
    /// The same seed gives the same events in the same order.
    pub seed: u64,
    pub postgres: Settings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    ReplicaKilled,
    PostgresKilled,
    Failover,
    CommitCut,
    DiskFull,
    ClockJumps,
    Poison,
}

/// Plays a fault on one database.
type Play = fn(&Stage<'_>) -> anyhow::Result<Row>;

impl Fault {
    pub const ALL: [Self; 7] = [
        Self::ReplicaKilled,
        Self::PostgresKilled,
        Self::Failover,
        Self::CommitCut,
        Self::DiskFull,
        Self::ClockJumps,
        Self::Poison,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::ReplicaKilled => "replica-killed",
            Self::PostgresKilled => "postgres-killed",
            Self::Failover => "failover",
            Self::CommitCut => "commit-cut",
            Self::DiskFull => "disk-full",
            Self::ClockJumps => "clock-jumps",
            Self::Poison => "poison",
        }
    }

    const fn plays(self) -> &'static [Play] {
        match self {
            Self::ReplicaKilled => &[replica_killed::run],
            Self::PostgresKilled => &[postgres_killed::run],
            Self::Failover => &[failover::run],
            Self::CommitCut => &[commit_cut::run],
            Self::DiskFull => &[disk_full::on_sqlite, disk_full::on_sqlite_limited, disk_full::on_postgres],
            Self::ClockJumps => &[clock_jumps::on_sqlite, clock_jumps::on_postgres],
            Self::Poison => &[poison::on_sqlite, poison::on_postgres],
        }
    }
}

/// Runs the faults, one after the other; `say` hears of each. One that was not withstood is a row too.
///
/// # Errors
/// When there is nothing to run them on.
pub fn run(plan: &Plan, say: &mut dyn FnMut(&str)) -> anyhow::Result<Results> {
    std::fs::create_dir_all(&plan.scratch)?;
    let environment = environment::here(&plan.scratch)?;
    let mut rows = Vec::new();
    for fault in &plan.faults {
        for play in fault.plays() {
            let started = Instant::now();
            let row = row_of(plan, *fault, *play)?;
            say(&format!("{row} ({:.0} s)", started.elapsed().as_secs_f64()));
            rows.push(row);
        }
    }
    Ok(Results::new(environment, plan, rows))
}

fn row_of(plan: &Plan, fault: Fault, play: Play) -> anyhow::Result<Row> {
    let directory = tempfile::Builder::new().prefix("fault-").tempdir_in(&plan.scratch)?;
    let events = (plan.duration.as_secs_f64() * plan.per_second).ceil() as usize;
    let mut requests = Requests::render(events, plan.seed, now_seconds());
    requests.sign(SECRET, now_seconds());
    let stage = Stage { plan, fault, directory: directory.path(), requests };
    let row = play(&stage).unwrap_or_else(|error| Row::not_done(fault.name(), &format!("{error:#}")));
    if matches!(row.verdict, Verdict::Broken(_)) {
        let kept = directory.keep();
        return Ok(row.with_remark(&format!("logs and files are kept in {}", kept.display())));
    }
    Ok(row)
}

/// What a fault is played on.
struct Stage<'a> {
    plan: &'a Plan,
    fault: Fault,
    directory: &'a Path,
    requests: Requests,
}

impl Stage<'_> {
    /// All requests, in an order that mixes up what belongs together.
    fn indices(&self) -> anyhow::Result<Vec<u32>> {
        let mut indices: Vec<u32> = (0..u32::try_from(self.requests.len())?).collect();
        fastrand::Rng::with_seed(self.plan.seed).shuffle(&mut indices);
        Ok(indices)
    }

    /// Of each of so many servers.
    fn rate(&self, servers: usize) -> Rate {
        Rate { connections: self.plan.connections, per_second: self.plan.per_second / servers as f64 }
    }

    /// A PostgreSQL with an empty database.
    fn postgres(&self) -> anyhow::Result<Server> {
        let postgres = Server::start(self.plan.postgres.clone())?;
        postgres.query("postgres", &format!("CREATE DATABASE {DATABASE}"))?;
        Ok(postgres)
    }

    /// The binary on a database, with a directory of this name for its log.
    fn quittance(&self, name: &str, database_url: &str) -> anyhow::Result<Quittance> {
        let directory = self.directory.join(name);
        std::fs::create_dir_all(&directory)?;
        Ok(Quittance::new(&self.plan.binary, &directory, "warn").on(database_url))
    }

    /// So many servers on one database.
    fn replicas(&self, count: usize, database_url: &str) -> anyhow::Result<Vec<(Quittance, process::Server)>> {
        let replica = |number| {
            let quittance = self.quittance(&format!("replica-{number}"), database_url)?;
            let server = quittance.serve().with_context(|| format!("replica {number}"))?;
            Ok((quittance, server))
        };
        (1..=count).map(replica).collect()
    }
}
