//! The measurement: ceiling and Quittance in turn, on one machine, in one run.
//!
//! Each round renders events of its own, then measures the ceiling (same HTTP stack
//! and signature check, no database), Quittance on a fresh database at full load
//! until every event is applied, Quittance at half that rate, and its start. Ratios
//! are of one round's figures, so that a noisy minute hits both.

mod postgres;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::load::{self, Amount, Pace, Report};
use crate::process::Server;
use crate::quittance::{self, Quittance};
use crate::requests::{Requests, SECRET};
use crate::results::{Results, Row, Settings, Target, median};
use crate::{environment, now_seconds};

const APPLY_MAX: Duration = Duration::from_secs(600);
const STARTS: usize = 5;
const MEMORY_SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// One in so many events, at most, may be a card reader's that came before its payment.
const IGNORED_SHARE_MAX: u64 = 100;
/// The share of the accept rate at which latency is measured.
const HALF: f64 = 0.5;

/// What to measure, and how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The `quittance` binary.
    pub binary: PathBuf,
    /// This program, which is the ceiling too.
    pub bench: PathBuf,
    /// For databases: on the disk that counts.
    pub scratch: PathBuf,
    pub rounds: u32,
    pub events: usize,
    pub connections: usize,
    /// Of the ceiling and of the open loop.
    pub duration: Duration,
    pub seed: u64,
    pub log_level: String,
    /// A superuser's URL of a PostgreSQL to measure on too.
    pub postgres: Option<String>,
}

/// One round's figures. Rates are a second, memory is in MB, times in milliseconds.
#[derive(Debug)]
struct Round {
    ceiling: f64,
    ceiling_generator_cpu: f64,
    accepted: f64,
    accepted_p99: f64,
    accepted_generator_cpu: f64,
    refused: f64,
    applied: f64,
    cpu_micros_per_event: f64,
    memory_peak: f64,
    memory_typical: f64,
    half_rate: f64,
    half: [f64; 4],
    half_memory_peak: f64,
    start: f64,
    on_postgres: Option<postgres::OnPostgres>,
}

/// Runs all rounds. `say` hears what is being done.
///
/// # Errors
/// When a server fails, or anything that was accepted is not applied: then there is
/// no result.
pub fn run(plan: &Plan, say: &mut dyn FnMut(&str)) -> anyhow::Result<Results> {
    std::fs::create_dir_all(&plan.scratch)?;
    let environment = environment::here(&plan.scratch)?;
    let mut rounds = Vec::new();
    let mut body_len_mean = 0;
    for number in 1..=plan.rounds {
        say(&format!("round {number} of {}: rendering {} events", plan.rounds, plan.events));
        let mut requests = Requests::render(plan.events, plan.seed + u64::from(number), now_seconds());
        body_len_mean = requests.body_len_mean();
        rounds.push(round(plan, &mut requests, say)?);
    }
    let settings = Settings {
        rounds: plan.rounds,
        events: plan.events,
        body_len_mean,
        seconds: plan.duration.as_secs(),
        connections: plan.connections,
        seed: plan.seed,
        log_level: plan.log_level.clone(),
    };
    Ok(Results { environment, settings, table: table(&rounds) })
}

fn table(rounds: &[Round]) -> Vec<Row> {
    let row = |measure, unit, target, value: &dyn Fn(&Round) -> f64| {
        Row::new(measure, unit, rounds.iter().map(value).collect(), target)
    };
    let (at_least, at_most) = (|bound| Some(Target::AtLeast(bound)), |bound| Some(Target::AtMost(bound)));
    let mut table = vec![
        row("ceiling: HTTP and signature check, no database", "/s", None, &|r| r.ceiling),
        row("acknowledged, durable", "/s", None, &|r| r.accepted),
        row("acknowledged ÷ ceiling (0.5 is wanted)", "", at_least(0.4), &|r| r.accepted / r.ceiling),
        row("acknowledged and applied", "/s", None, &|r| r.applied),
        row("applied ÷ ceiling", "", at_least(0.2), &|r| r.applied / r.ceiling),
        row("half load, open loop", "/s", None, &|r| r.half_rate),
        row("p50 of acknowledgement at half load", "ms", None, &|r| r.half[0]),
        row("p99 of acknowledgement at half load", "ms", at_most(10.0), &|r| r.half[1]),
        row("p99.9 of acknowledgement at half load", "ms", None, &|r| r.half[2]),
        row("longest acknowledgement at half load", "ms", None, &|r| r.half[3]),
        row("p99 of acknowledgement at full load", "ms", None, &|r| r.accepted_p99),
        row("peak resident memory, full load", "MB", at_most(80.0), &|r| r.memory_peak),
        row("resident memory under full load, median of samples", "MB", None, &|r| r.memory_typical),
        row("peak resident memory, half load", "MB", at_most(80.0), &|r| r.half_memory_peak),
        row("start to first acknowledgement", "ms", at_most(150.0), &|r| r.start),
        row("refused at full load (503)", "", None, &|r| r.refused),
        row("server's processor time an event, accept and apply", "µs", None, &|r| r.cpu_micros_per_event),
        row("generator's share of one CPU: ceiling", "", None, &|r| r.ceiling_generator_cpu),
        row("generator's share of one CPU: acknowledging", "", None, &|r| r.accepted_generator_cpu),
    ];
    let on_postgres = rounds.iter().filter_map(|round| Some((round.ceiling, round.on_postgres.as_ref()?)));
    table.extend(postgres::rows(&on_postgres.collect::<Vec<_>>()));
    table
}

fn round(plan: &Plan, requests: &mut Requests, say: &mut dyn FnMut(&str)) -> anyhow::Result<Round> {
    requests.sign(SECRET, now_seconds());
    let ceiling = ceiling(plan, requests)?;
    say(&format!("  ceiling: {}", line(&ceiling)));

    requests.sign(SECRET, now_seconds());
    let full = full_load(plan, requests)?;
    say(&format!("  accept and apply: {}; applied {:.0}/s", line(&full.report), full.applied));

    requests.sign(SECRET, now_seconds());
    let half_rate = full.report.acknowledged_per_second() * HALF;
    let (half, half_memory_peak) = half_load(plan, requests, half_rate)?;
    say(&format!("  half load: {}", line(&half)));

    requests.sign(SECRET, now_seconds());
    let start = start_to_first_acknowledgement(plan, requests)?;
    say(&format!("  start to first acknowledgement: {start:.0} ms"));

    let on_postgres = match &plan.postgres {
        Some(url) => Some(postgres::round(plan, url, requests, say)?),
        None => None,
    };

    let milliseconds = |quantile: f64| half.latency.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Round {
        ceiling: ceiling.acknowledged_per_second(),
        ceiling_generator_cpu: ceiling.own_cpu_share().unwrap_or(0.0),
        accepted: full.report.acknowledged_per_second(),
        accepted_p99: full.report.latency.value_at_quantile(0.99) as f64 / 1e3,
        accepted_generator_cpu: full.report.own_cpu_share().unwrap_or(0.0),
        refused: full.report.refused() as f64,
        applied: full.applied,
        cpu_micros_per_event: full.cpu.as_secs_f64() * 1e6 / full.report.acknowledged.len().max(1) as f64,
        memory_peak: full.memory_peak,
        memory_typical: full.memory_typical,
        half_rate,
        half: [milliseconds(0.5), milliseconds(0.99), milliseconds(0.999), half.latency.max() as f64 / 1e3],
        half_memory_peak,
        start,
        on_postgres,
    })
}

fn ceiling(plan: &Plan, requests: &Requests) -> anyhow::Result<Report> {
    let scratch = scratch(plan)?;
    let mut command = Command::new(&plan.bench);
    let server =
        Server::start(command.args(["ceiling", "--listen", "127.0.0.1:0"]), &scratch.path().join("ceiling.log"))?;
    Ok(send(plan, &server, requests, Pace::Closed, Amount::For(plan.duration))?.0)
}

struct FullLoad {
    report: Report,
    applied: f64,
    cpu: Duration,
    memory_peak: f64,
    memory_typical: f64,
}

fn full_load(plan: &Plan, requests: &Requests) -> anyhow::Result<FullLoad> {
    let scratch = scratch(plan)?;
    let (quittance, server) = serve(plan, scratch.path())?;
    let key = quittance.read_key()?;
    let cpu_before = server.cpu().unwrap_or_default();
    let first_sent = Instant::now();
    let (report, memory_typical) = send(plan, &server, requests, Pace::Closed, Amount::Each(all(requests.len())?))?;
    quittance::wait_until_applied(server.address, APPLY_MAX)?;
    let took = first_sent.elapsed();
    let cpu = server.cpu().unwrap_or_default().saturating_sub(cpu_before);
    let memory_peak = memory_peak(&server);
    check_all_applied(&quittance, &server, &key, &report)?;
    let applied = report.acknowledged.len() as f64 / took.as_secs_f64();
    Ok(FullLoad { report, applied, cpu, memory_peak, memory_typical })
}

/// The run counts only if everything that was acknowledged is applied.
fn check_all_applied(quittance: &Quittance, server: &Server, key: &str, report: &Report) -> anyhow::Result<()> {
    let counts = quittance::counts(server.address, key)?;
    let acknowledged = report.acknowledged.len() as u64;
    let is_whole = counts.total == acknowledged && counts.applied + counts.ignored == acknowledged;
    ensure!(
        is_whole && counts.ignored <= acknowledged / IGNORED_SHARE_MAX,
        "the run does not count: {acknowledged} events were acknowledged, the server has {counts:?}"
    );
    quittance.output(&["rebuild", "--check"]).context("the run does not count")?;
    Ok(())
}

fn half_load(plan: &Plan, requests: &Requests, per_second: f64) -> anyhow::Result<(Report, f64)> {
    let scratch = scratch(plan)?;
    let (_, server) = serve(plan, scratch.path())?;
    let count = ((per_second * plan.duration.as_secs_f64()) as usize).min(requests.len());
    let (report, _) = send(plan, &server, requests, Pace::Open { per_second }, Amount::Each(all(count)?))?;
    let memory_peak = memory_peak(&server);
    quittance::wait_until_applied(server.address, APPLY_MAX)?;
    Ok((report, memory_peak))
}

/// From starting the process to having the first 200, on a migrated database: median
/// of a few, in milliseconds.
fn start_to_first_acknowledgement(plan: &Plan, requests: &Requests) -> anyhow::Result<f64> {
    let scratch = scratch(plan)?;
    let quittance = Quittance::new(&plan.binary, scratch.path(), &plan.log_level);
    quittance.output(&["migrate"])?;
    let mut times = Vec::with_capacity(STARTS);
    for index in 0..u32::try_from(STARTS)? {
        let server = quittance.serve()?;
        let (status, body) = quittance::send(server.address, requests.bytes(index))?;
        times.push(server.started.elapsed().as_secs_f64() * 1e3);
        ensure!(status == 200, "the first delivery: {status} {}", String::from_utf8_lossy(&body));
    }
    Ok(median(&times))
}

/// Loads the server; also the median of its resident memory meanwhile, in MB.
fn send(
    plan: &Plan,
    server: &Server,
    requests: &Requests,
    pace: Pace,
    amount: Amount,
) -> anyhow::Result<(Report, f64)> {
    let load = load::Plan { address: server.address, connections: plan.connections, pace, amount };
    let mut samples = Vec::new();
    let mut sample_at = Instant::now();
    let report = load::run(&load, requests, &mut |_| {
        if Instant::now() >= sample_at {
            sample_at += MEMORY_SAMPLE_EVERY;
            samples.extend(server.memory().map(|memory| megabytes(memory.now_kb)));
        }
    })?;
    ensure!(
        report.connections_lost == 0 && report.unanswered.is_empty(),
        "{} connections were lost, {} requests were never answered",
        report.connections_lost,
        report.unanswered.len()
    );
    ensure!(report.by_status.keys().all(|status| matches!(status, 200 | 503)), "replies: {:?}", report.by_status);
    Ok((report, if samples.is_empty() { 0.0 } else { median(&samples) }))
}

fn serve(plan: &Plan, directory: &Path) -> anyhow::Result<(Quittance, Server)> {
    let quittance = Quittance::new(&plan.binary, directory, &plan.log_level);
    quittance.output(&["migrate"])?;
    let server = quittance.serve()?;
    Ok((quittance, server))
}

fn scratch(plan: &Plan) -> anyhow::Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new().prefix("bench-").tempdir_in(&plan.scratch)?)
}

fn all(count: usize) -> anyhow::Result<Vec<u32>> {
    Ok((0..u32::try_from(count)?).collect())
}

fn memory_peak(server: &Server) -> f64 {
    server.memory().map_or(0.0, |memory| megabytes(memory.peak_kb))
}

/// The kernel's kB are 1024 bytes; a megabyte here is a million.
fn megabytes(kb: u64) -> f64 {
    kb as f64 * 1_024.0 / 1e6
}

/// A report in one line.
pub fn line(report: &Report) -> String {
    let milliseconds = |quantile: f64| report.latency.value_at_quantile(quantile) as f64 / 1e3;
    format!(
        "{:.0}/s ({} in {:.2} s), ms p50 {:.2} p90 {:.2} p99 {:.2} p99.9 {:.2} max {:.2}, replies {:?}, generator {:.0} % of a CPU",
        report.acknowledged_per_second(),
        report.acknowledged.len(),
        report.elapsed.as_secs_f64(),
        milliseconds(0.5),
        milliseconds(0.9),
        milliseconds(0.99),
        milliseconds(0.999),
        report.latency.max() as f64 / 1e3,
        report.by_status,
        report.own_cpu_share().unwrap_or(0.0) * 100.0,
    )
}
