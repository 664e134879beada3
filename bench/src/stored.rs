//! What becomes of the rate and of lists as the tables grow: events are sent until so many
//! are stored, and after each tenth of them it is looked again.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde::Serialize;

use crate::load::{self, Amount, Pace};
use crate::peers::database::{Postgres, ask};
use crate::quittance::{self, Quittance};
use crate::requests::{Requests, SECRET};
use crate::results::{self, median};
use crate::{environment, now_seconds};

/// Looks, over the whole run.
const STEPS: usize = 10;
/// Rendered and sent at once: they are held in memory.
const CHUNK: usize = 100_000;
const APPLY_MAX: Duration = Duration::from_secs(600);
/// Of each list, of which the median counts.
const ASKED: usize = 15;
const DATABASE: &str = "bench_stored";
/// What is asked for: as the table names it, and its path.
const LISTS: [(&str, &str); 7] = [
    ("events", "/api/webhooks/events?limit=50"),
    ("events of a type", "/api/webhooks/events?limit=50&type=charge.refunded"),
    ("dead events", "/api/webhooks/events?limit=50&state=dead"),
    ("an event's id", "/api/webhooks/events?q=evt_that_is_not_there"),
    ("payments", "/api/payments?limit=50"),
    ("orders", "/api/orders?limit=50"),
    ("refunds", "/api/refunds?limit=50"),
];

/// How far to go, and on what.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The `quittance` binary.
    pub binary: PathBuf,
    /// For databases: on the disk that counts.
    pub scratch: PathBuf,
    pub events: usize,
    pub connections: usize,
    pub seed: u64,
    /// A superuser's URL of a PostgreSQL; else it is SQLite.
    pub postgres: Option<String>,
}

/// What was seen when so many events were stored.
#[derive(Clone, Debug, Serialize)]
pub struct Look {
    pub stored: usize,
    /// Of the events since the look before, a second.
    pub accepted: f64,
    pub applied: f64,
    /// Of the whole database, in MB.
    pub size: f64,
    /// Milliseconds, in the order of the table.
    pub lists: Vec<f64>,
}

#[derive(Debug, Serialize)]
pub struct Stored {
    pub environment: environment::Environment,
    pub database: &'static str,
    pub connections: usize,
    pub looks: Vec<Look>,
}

/// Runs it. `say` hears what is being done.
///
/// # Errors
/// When the server fails, or anything that was accepted is not applied.
pub fn run(plan: &Plan, say: &mut dyn FnMut(&str)) -> anyhow::Result<Stored> {
    std::fs::create_dir_all(&plan.scratch)?;
    let directory = tempfile::Builder::new().prefix("bench-").tempdir_in(&plan.scratch)?;
    let postgres = plan.postgres.as_deref().map(Postgres::new);
    let url = postgres.as_ref().map(|postgres| postgres.fresh(DATABASE)).transpose()?;
    let quittance = Quittance::new(&plan.binary, directory.path(), "warn");
    let quittance = url.as_ref().map_or(quittance.clone(), |url| quittance.on(url));
    quittance.output(&["migrate"])?;
    let server = quittance.serve()?;
    let key = quittance.read_key()?;
    let mut looks: Vec<Look> = Vec::with_capacity(STEPS);
    let (mut stored, mut chunk_number) = (0, 0);
    for step in 1..=STEPS {
        let upto = plan.events * step / STEPS;
        let (mut sent, mut sending, mut settling) = (0_usize, Duration::ZERO, Duration::ZERO);
        while stored < upto {
            chunk_number += 1;
            let count = CHUNK.min(upto - stored);
            let mut requests = Requests::render(count, plan.seed + chunk_number, now_seconds());
            requests.sign(SECRET, now_seconds());
            let amount = Amount::Each((0..u32::try_from(count)?).collect());
            let (address, connections) = (server.address, plan.connections);
            let load = load::Plan { address, connections, pace: Pace::Closed, amount };
            let first_sent = Instant::now();
            let report = load::run(&load, &requests, &mut |_| ())?;
            ensure!(report.acknowledged.len() == count, "not all were acknowledged: {:?}", report.by_status);
            sending += report.elapsed;
            quittance::wait_until_applied(server.address, APPLY_MAX)?;
            settling += first_sent.elapsed();
            stored += count;
            sent += count;
        }
        let counts = quittance::counts(server.address, &key)?;
        ensure!(counts.total == stored as u64, "{stored} were sent, {counts:?} are there");
        let size = match &url {
            Some(url) => ask(url, "SELECT pg_database_size(current_database())")?[0][0].parse::<f64>()? / 1e6,
            None => size_of(directory.path())?,
        };
        let lists = LISTS.iter().map(|(_, path)| latency(server.address, &key, path)).collect::<anyhow::Result<_>>()?;
        let rate = |took: Duration| sent as f64 / took.as_secs_f64();
        let look = Look { stored, accepted: rate(sending), applied: rate(settling), size, lists };
        say(&row(&look));
        looks.push(look);
    }
    drop(server);
    if let Some(postgres) = &postgres {
        postgres.remove(DATABASE)?;
    }
    let database = if url.is_some() { "PostgreSQL" } else { "SQLite" };
    let environment = environment::here(&plan.scratch)?;
    Ok(Stored { environment, database, connections: plan.connections, looks })
}

/// The median of a few requests, in milliseconds.
fn latency(address: std::net::SocketAddr, key: &str, path: &str) -> anyhow::Result<f64> {
    let mut times = Vec::with_capacity(ASKED);
    for _ in 0..ASKED {
        let asked = Instant::now();
        let (status, body) = quittance::get(address, path, Some(key))?;
        times.push(asked.elapsed().as_secs_f64() * 1e3);
        ensure!(status == 200, "{path}: {status} {}", String::from_utf8_lossy(&body));
    }
    Ok(median(&times))
}

/// The database file and its log, in MB.
fn size_of(directory: &Path) -> anyhow::Result<f64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("quittance.db") {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes as f64 / 1e6)
}

fn row(look: &Look) -> String {
    let mut row = format!("| {} | {:.0}/s | {:.0}/s | {:.0} MB |", look.stored, look.accepted, look.applied, look.size);
    for list in &look.lists {
        let _ = write!(row, " {list:.1} ms |"); // Writing to a string cannot fail.
    }
    row
}

impl Stored {
    pub fn markdown(&self) -> String {
        let names: Vec<&str> = LISTS.iter().map(|(name, _)| *name).collect();
        let mut text = format!(
            "# Measured {}\n\n{}\n\n{}, {} keep-alive connections, generator on the same CPUs; rates are of the events since the \
             row before; lists of 50, median of {ASKED}.\n\n| stored | accepted | applied | database | {} |\n|---:|---:|---:|---:|{}\n",
            self.environment.at,
            self.environment.line(),
            self.database,
            self.connections,
            names.join(" | "),
            "---:|".repeat(LISTS.len()),
        );
        for look in &self.looks {
            text.push_str(&row(look));
            text.push('\n');
        }
        text
    }

    /// Writes `<time>-stored.json` and `.md` and returns the latter's path.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write(&self, directory: &Path) -> anyhow::Result<PathBuf> {
        results::write(directory, &format!("{}-stored", self.environment.stem()), self, &self.markdown())
    }
}
