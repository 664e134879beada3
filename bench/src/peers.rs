//! Against what people write: Quittance and handlers of other makings, on one machine,
//! on one PostgreSQL, in one run, under the same traffic.
//!
//! First each system is sent some whole lives of payments, an event after the other, and
//! what it then says of them has to be right. Then they are measured in turn, over and
//! over, each time on a fresh database. What was acknowledged has to be in the tables
//! afterwards, or the run does not count. Ratios are of one round's figures, so that a
//! noisy minute hits all.

pub mod about;
mod check;
pub(crate) mod database;
mod system;
mod table;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::load::{self, Amount, Pace, Report};
use crate::process::{self, Server};
use crate::requests::{Requests, SECRET};
use crate::{compare, environment, now_seconds, quittance};

use about::{About, counts};
use database::Postgres;
pub use system::{Programs, System};
pub use table::Results;
use table::{Row, Settings};

/// So many payments of each kind of life are looked at before anything is measured.
const PAYMENTS_OF_A_KIND: usize = 4;
/// Enough for every kind of life to be among them that often.
const EVENTS_LOOKED_AT: usize = 8_000;
/// What was acknowledged may take so long until it is applied.
const APPLY_MAX: Duration = Duration::from_secs(120);
/// A machine on which other programs take more than this is no place to measure.
const BUSY_MAX: f64 = 0.1;
const LOOK_AT_BUSY: Duration = Duration::from_secs(1);
/// A server may take so long to end by itself.
const END_MAX: Duration = Duration::from_secs(10);

/// What to measure, and how long.
#[derive(Clone, Debug)]
pub struct Plan {
    pub programs: Programs,
    /// A superuser on some database of the server that all are measured on.
    pub postgres_url: String,
    /// For logs.
    pub scratch: PathBuf,
    pub systems: Vec<System>,
    pub rounds: u32,
    /// Rendered each round; a system that takes them all is done before the time is up.
    pub events: usize,
    pub connections: usize,
    /// How long each system is sent events, each round.
    pub duration: Duration,
    /// How long before that, for compilers and caches.
    pub warm_up: Duration,
    pub seed: u64,
}

/// One system's figures of one round.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Events a second: acknowledged, and in all their tables.
    pub applied: f64,
    pub acknowledged: f64,
    pub p50_millis: f64,
    pub p99_millis: f64,
    /// Of all programs on the machine: the system, PostgreSQL and the load generator.
    pub cpu_micros_per_event: f64,
    /// Payments whose events all came, and that do not stand where they ended.
    pub wrong_payments: Option<usize>,
}

/// Runs all rounds. `say` hears what is being done.
///
/// # Errors
/// When a system fails, or anything that it acknowledged is not in its tables: then
/// there is no result.
pub fn run(plan: &Plan, say: &mut dyn FnMut(&str)) -> anyhow::Result<Results> {
    std::fs::create_dir_all(&plan.scratch)?;
    let scratch = tempfile::Builder::new().prefix("peers-").tempdir_in(&plan.scratch)?;
    let environment = environment::here(scratch.path())?;
    let busy_before = busy_share(environment.cpus);
    if busy_before > BUSY_MAX {
        say(&format!("other programs take {:.0} % of the processors: this is no measurement", busy_before * 100.0));
    }
    let bench = Bench { plan, postgres: Postgres::new(&plan.postgres_url), scratch };
    let postgres = bench.postgres.settings()?;

    let mut requests = Requests::render(EVENTS_LOOKED_AT, plan.seed, now_seconds());
    let looked_at = about::read(&requests)?;
    for system in &plan.systems {
        requests.sign(SECRET, now_seconds());
        let checked = bench.with(*system, |server, url| look(*system, server, url, &requests, &looked_at))?;
        say(&format!("{}: {checked}", system.name()));
    }

    let mut rows: Vec<Row> = plan.systems.iter().map(|system| Row::new(*system)).collect();
    let mut body_len_mean = 0;
    for number in 1..=plan.rounds {
        say(&format!("round {number} of {}: rendering {} events", plan.rounds, plan.events));
        let mut requests = Requests::render(plan.events, plan.seed + u64::from(number), now_seconds());
        let about = about::read(&requests)?;
        body_len_mean = requests.body_len_mean();
        // Each round begins with another one, so that none has the same neighbours all the time.
        let first = (number as usize - 1) % rows.len().max(1);
        let mut figures = vec![None; rows.len()];
        for place in (0..rows.len()).map(|place| (place + first) % rows.len()) {
            let system = plan.systems[place];
            requests.sign(SECRET, now_seconds());
            let measured = bench.with(system, |server, url| bench.measure(system, server, url, &requests, &about))?;
            say(&format!("  {}: {measured}", system.name()));
            figures[place] = Some(measured);
        }
        for (row, figures) in rows.iter_mut().zip(figures) {
            row.figures.extend(figures);
        }
    }
    let settings = Settings {
        rounds: plan.rounds,
        events_max: plan.events,
        body_len_mean,
        connections: plan.connections,
        seconds: plan.duration.as_secs(),
        warm_up_seconds: plan.warm_up.as_secs(),
        seed: plan.seed,
        log_level: plan.programs.log_level.clone(),
        postgres,
        runtimes: table::runtimes(),
        tuned: table::tuned(),
        busy_before,
    };
    Ok(Results::new(environment, settings, &rows))
}

/// How much of the processors is taken while nothing of this runs.
fn busy_share(cpus: usize) -> f64 {
    let (before, started) = (process::cpu_of_this_machine(), Instant::now());
    while started.elapsed() < LOOK_AT_BUSY {
        process::pause();
    }
    let took =
        process::cpu_of_this_machine().zip(before).map_or(Duration::ZERO, |(now, then)| now.saturating_sub(then));
    took.as_secs_f64() / (started.elapsed().as_secs_f64() * cpus.max(1) as f64)
}

/// Sends whole lives over one connection, so that nothing overtakes anything: a system
/// that does less than the others shows here.
fn look(system: System, server: &Server, url: &str, requests: &Requests, about: &[About]) -> anyhow::Result<String> {
    let mut indices = about::some_of_each_kind(requests, about, PAYMENTS_OF_A_KIND);
    let lives = about::whole_lives(requests, about, &indices);
    indices.retain(|index| system.takes(about[*index as usize].kind));
    let plan = load::Plan {
        address: server.address,
        connections: 1,
        pace: Pace::Closed,
        amount: Amount::Each(indices.clone()),
    };
    acknowledged_all(&load::run(&plan, requests, &mut |_| ())?)?;
    wait_until_applied(system, server)?;
    check::rows(system, url, counts(about, &indices))?;
    let Some(wrong) = check::wrong(system, url, lives.iter().copied())? else {
        return Ok(format!("{} events, their objects are there", indices.len()));
    };
    ensure!(wrong.is_empty(), "{} payments are wrong, among them {}", wrong.len(), wrong[0]);
    Ok(format!("{} events, {} payments, all as they should be", indices.len(), lives.len()))
}

struct Bench<'a> {
    plan: &'a Plan,
    postgres: Postgres,
    scratch: tempfile::TempDir,
}

impl Bench<'_> {
    /// Has the system serve on a fresh database while `work` is done.
    fn with<T>(&self, system: System, work: impl FnOnce(&Server, &str) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let database = format!("peer_{}", system.name());
        let url = self.postgres.fresh(&database)?;
        let mut server = system.serve(&self.plan.programs, &url, self.scratch.path())?;
        let done = work(&server, &url);
        server.end(END_MAX);
        let log = self.scratch.path().join(format!("{}.log", system.name()));
        let done =
            done.with_context(|| format!("{}, which said last: {}", system.name(), process::last_lines(&log)))?;
        self.postgres.remove(&database)?;
        Ok(done)
    }

    fn measure(
        &self,
        system: System,
        server: &Server,
        url: &str,
        requests: &Requests,
        about: &[About],
    ) -> anyhow::Result<Figures> {
        let plan = self.plan;
        let takes = |index: &u32| system.takes(about[*index as usize].kind);
        let mut indices: Vec<u32> = (0..u32::try_from(requests.len())?).filter(takes).collect();
        let send = |indices: &[u32], duration| {
            let amount = Amount::Within(indices.to_vec(), duration);
            let load =
                load::Plan { address: server.address, connections: plan.connections, pace: Pace::Closed, amount };
            let report = load::run(&load, requests, &mut |_| ())?;
            acknowledged_all(&report).map(|()| report)
        };
        let warmed_up = send(&indices, plan.warm_up)?.acknowledged.len();
        wait_until_applied(system, server)?;

        let cpu_before = process::cpu_of_this_machine().unwrap_or_default();
        let first_sent = Instant::now();
        let report = send(&indices[warmed_up..], plan.duration)?;
        // A peer's records are there when it acknowledges.
        let took = match system {
            System::Quittance => {
                wait_until_applied(system, server)?;
                first_sent.elapsed()
            }
            _ => report.elapsed,
        };
        let cpu = process::cpu_of_this_machine().unwrap_or_default().saturating_sub(cpu_before);
        let count = report.acknowledged.len();
        ensure!(count > 0, "all {} events were taken while it was warming up: more are needed", indices.len());

        indices.truncate(warmed_up + count);
        check::rows(system, url, counts(about, &indices))?;
        let wrong = check::wrong(system, url, about::whole_lives(requests, about, &indices))?;
        Ok(Figures {
            applied: count as f64 / took.as_secs_f64(),
            acknowledged: report.acknowledged_per_second(),
            p50_millis: report.latency.value_at_quantile(0.5) as f64 / 1e3,
            p99_millis: report.latency.value_at_quantile(0.99) as f64 / 1e3,
            cpu_micros_per_event: cpu.as_secs_f64() * 1e6 / count as f64,
            wrong_payments: wrong.map(|wrong| wrong.len()),
        })
    }
}

/// Quittance acknowledges first.
fn wait_until_applied(system: System, server: &Server) -> anyhow::Result<()> {
    match system {
        System::Quittance => quittance::wait_until_applied(server.address, APPLY_MAX),
        _ => Ok(()),
    }
}

/// A closed loop asks of nobody more than it gives: every request is to succeed.
fn acknowledged_all(report: &Report) -> anyhow::Result<()> {
    ensure!(
        report.refused() == 0 && report.unanswered.is_empty() && report.connections_lost == 0,
        "not every event was acknowledged: {}; {} were never answered, {} connections were lost",
        compare::line(report),
        report.unanswered.len(),
        report.connections_lost
    );
    Ok(())
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.0}/s applied, {:.0}/s acknowledged, ms p50 {:.1} p99 {:.1}, {:.0} µs of processor an event",
            self.applied, self.acknowledged, self.p50_millis, self.p99_millis, self.cpu_micros_per_event
        )?;
        match self.wrong_payments {
            Some(wrong) => write!(f, ", {wrong} payments wrong"),
            None => Ok(()),
        }
    }
}
