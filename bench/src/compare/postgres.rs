//! Quittance on PostgreSQL, in the same round: one replica, two together, and a burst.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::{APPLY_MAX, Plan, all, check_all_applied, line, scratch, send};
use crate::load::{Amount, Pace, Report};
use crate::peers::database::Postgres;
use crate::process::Server;
use crate::quittance::{self, Quittance};
use crate::requests::{Requests, SECRET};
use crate::{now_seconds, results};

/// Of the burst.
const BURST_EVENTS: usize = 100_000;
const BURST_CONNECTIONS: usize = 256;
const DATABASE: &str = "bench_compare";

/// One round's figures. Rates are a second.
#[derive(Debug)]
pub(super) struct OnPostgres {
    pub accepted: f64,
    pub applied: f64,
    pub cpu_micros_per_event: f64,
    pub of_two: f64,
    pub burst_acknowledged: f64,
    pub burst_refused: f64,
    pub burst_drained_seconds: f64,
}

/// A fresh database and so many servers on it.
struct Replicas {
    quittance: Quittance,
    servers: Vec<Server>,
    key: String,
    _directory: tempfile::TempDir,
}

impl Replicas {
    fn start(plan: &Plan, postgres: &Postgres, count: usize) -> anyhow::Result<Self> {
        let directory = scratch(plan)?;
        let url = postgres.fresh(DATABASE)?;
        let quittance = Quittance::new(&plan.binary, directory.path(), &plan.log_level).on(&url);
        quittance.output(&["migrate"])?;
        let servers = (0..count).map(|_| quittance.serve()).collect::<anyhow::Result<Vec<_>>>()?;
        let key = quittance.read_key()?;
        Ok(Self { quittance, servers, key, _directory: directory })
    }

    fn cpu(&self) -> Duration {
        self.servers.iter().filter_map(Server::cpu).sum()
    }
}

pub(super) fn round(
    plan: &Plan,
    url: &str,
    requests: &mut Requests,
    say: &mut dyn FnMut(&str),
) -> anyhow::Result<OnPostgres> {
    let postgres = Postgres::new(url);
    requests.sign(SECRET, now_seconds());
    let one = Replicas::start(plan, &postgres, 1)?;
    let (cpu_before, first_sent) = (one.cpu(), Instant::now());
    let (report, _) = send(plan, &one.servers[0], requests, Pace::Closed, Amount::Each(all(requests.len())?))?;
    quittance::wait_until_applied(one.servers[0].address, APPLY_MAX)?;
    let applied = rate(report.acknowledged.len(), first_sent);
    let cpu = one.cpu().saturating_sub(cpu_before);
    check_all_applied(&one.quittance, &one.servers[0], &one.key, &report)?;
    say(&format!("  PostgreSQL, one replica: {}; applied {applied:.0}/s", line(&report)));
    drop(one);

    requests.sign(SECRET, now_seconds());
    let of_two = two_together(plan, &postgres, requests)?;
    say(&format!("  PostgreSQL, two replicas: applied {of_two:.0}/s"));

    let burst = burst(plan, &postgres)?;
    say(&format!("  burst: {}; drained after {:.1} s", line(&burst.0), burst.1));
    postgres.remove(DATABASE)?;
    Ok(OnPostgres {
        accepted: report.acknowledged_per_second(),
        applied,
        cpu_micros_per_event: cpu.as_secs_f64() * 1e6 / report.acknowledged.len().max(1) as f64,
        of_two,
        burst_acknowledged: burst.0.acknowledged.len() as f64,
        burst_refused: burst.0.refused() as f64,
        burst_drained_seconds: burst.1,
    })
}

fn rate(count: usize, since: Instant) -> f64 {
    count as f64 / since.elapsed().as_secs_f64()
}

/// Half of the events and of the connections to each.
fn two_together(plan: &Plan, postgres: &Postgres, requests: &Requests) -> anyhow::Result<f64> {
    let two = Replicas::start(plan, postgres, 2)?;
    let half = Plan { connections: plan.connections / 2, ..plan.clone() };
    let indices = all(requests.len())?;
    let first_sent = Instant::now();
    let reports = thread::scope(|scope| {
        let sending: Vec<_> = two
            .servers
            .iter()
            .enumerate()
            .map(|(number, server)| {
                let own = indices.iter().copied().skip(number).step_by(two.servers.len()).collect();
                let half = &half;
                scope.spawn(move || send(half, server, requests, Pace::Closed, Amount::Each(own)))
            })
            .collect();
        let joined = sending.into_iter().map(|sent| sent.join().map_err(|_| anyhow::anyhow!("a sender panicked"))?);
        joined.collect::<anyhow::Result<Vec<_>>>()
    })?;
    quittance::wait_until_applied(two.servers[0].address, APPLY_MAX)?;
    let acknowledged: usize = reports.iter().map(|(report, _)| report.acknowledged.len()).sum();
    let applied = rate(acknowledged, first_sent);
    let counts = quittance::counts(two.servers[1].address, &two.key)?;
    ensure!(
        counts.applied + counts.ignored == acknowledged as u64,
        "the run does not count: {acknowledged} events were acknowledged by two, they have {counts:?}"
    );
    two.quittance.output(&["audit", "verify"]).context("the run does not count")?;
    Ok(applied)
}

/// Returns what was answered, and after how many seconds nothing was left to be applied.
fn burst(plan: &Plan, postgres: &Postgres) -> anyhow::Result<(Report, f64)> {
    let mut requests = Requests::render(BURST_EVENTS, plan.seed + 1_000, now_seconds());
    requests.sign(SECRET, now_seconds());
    let one = Replicas::start(plan, postgres, 1)?;
    let plan = Plan { connections: BURST_CONNECTIONS, ..plan.clone() };
    let first_sent = Instant::now();
    let amount = Amount::Each(all(requests.len())?);
    let (report, _) = send(&plan, &one.servers[0], &requests, Pace::Closed, amount)?;
    quittance::wait_until_applied(one.servers[0].address, APPLY_MAX)?;
    let drained = first_sent.elapsed().as_secs_f64();
    let counts = quittance::counts(one.servers[0].address, &one.key)?;
    ensure!(
        counts.applied + counts.ignored == report.acknowledged.len() as u64,
        "the burst does not count: {} events were acknowledged, the server has {counts:?}",
        report.acknowledged.len()
    );
    Ok((report, drained))
}

/// Rows of the table, where PostgreSQL was measured.
pub(super) fn rows(rounds: &[(f64, &OnPostgres)]) -> Vec<results::Row> {
    use results::Target::AtLeast;
    let row = |measure, unit, target, value: &dyn Fn(f64, &OnPostgres) -> f64| {
        let values = rounds.iter().map(|(ceiling, on)| value(*ceiling, on)).collect();
        results::Row::new(measure, unit, values, target)
    };
    if rounds.is_empty() {
        return Vec::new();
    }
    vec![
        row("PostgreSQL: acknowledged, durable", "/s", None, &|_, on| on.accepted),
        row("PostgreSQL: acknowledged and applied", "/s", None, &|_, on| on.applied),
        row("PostgreSQL: applied ÷ ceiling", "", Some(AtLeast(0.1)), &|ceiling, on| on.applied / ceiling),
        row("PostgreSQL: two replicas, applied", "/s", None, &|_, on| on.of_two),
        row("PostgreSQL: two replicas ÷ one", "", Some(AtLeast(1.0)), &|_, on| on.of_two / on.applied),
        row("PostgreSQL: server's processor time an event", "µs", None, &|_, on| on.cpu_micros_per_event),
        row("burst of 100,000 from 256 connections: acknowledged", "", None, &|_, on| on.burst_acknowledged),
        row("burst: told 503", "", None, &|_, on| on.burst_refused),
        row("burst: everything applied after", "s", None, &|_, on| on.burst_drained_seconds),
    ]
}
