//! Kills the real binary under load, over and over, and holds what it says against
//! a ledger kept here: whatever was acknowledged is stored, once, and applied.
//!
//! SIGKILL takes the process and all that it held in memory; what it had written is
//! in the kernel's hands and survives. Loss of power is another test.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::load::{self, Amount, Pace};
use crate::process::{self, Server};
use crate::quittance::{self, Quittance};
use crate::requests::{Requests, SECRET};
use crate::{check, history};

/// A kill comes this long, at most, after the acknowledgement that it waits for; one
/// of these is drawn each time. The first hits while the replies to a batch go out,
/// the others somewhere in the batches after it.
const KILL_LAG_MICROS_MAX: [u64; 3] = [200, 4_000, 20_000];
const KILLS_PER_ROUND_MAX: usize = 2;
/// Events that were acknowledged before and are sent once more, each round.
const DUPLICATES_MAX: usize = 100;
/// Payments whose history is read, each round.
const HISTORIES_MAX: usize = 30;
const APPLY_MAX: Duration = Duration::from_secs(120);
const RESEND_MAX: Duration = Duration::from_secs(60);

/// How often to crash what.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The `quittance` binary.
    pub binary: PathBuf,
    /// A directory for logs and SQLite's files; they are removed, but for a failing round's.
    pub scratch: PathBuf,
    /// Each round on a new database of the server in `QUITTANCE_POSTGRES`, not on a file.
    pub postgres: bool,
    pub rounds: u32,
    /// Events a round.
    pub events: usize,
    pub connections: usize,
    /// The same seed gives the same events, order and moments (in acknowledgements).
    pub seed: u64,
}

/// What one round saw.
#[derive(Clone, Debug)]
pub struct Round {
    pub number: u32,
    pub events: usize,
    /// For each kill, how many events were acknowledged by then.
    pub kills: Vec<usize>,
    /// Sent when the process died, and never answered.
    pub unanswered: usize,
    /// Of those, stored all the same: a gateway would send them again.
    pub stored_unanswered: usize,
    pub elapsed: Duration,
}

impl std::fmt::Display for Round {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kills: Vec<String> = self.kills.iter().map(usize::to_string).collect();
        write!(
            f,
            "round {}: killed after {} of {} acknowledged; {} unanswered, {} of them stored; none lost, each applied once ({:.1} s)",
            self.number,
            kills.join(" and "),
            self.events,
            self.unanswered,
            self.stored_unanswered,
            self.elapsed.as_secs_f64()
        )
    }
}

/// Runs all rounds; `on_round` hears of each one that held.
///
/// # Errors
/// At the first round in which something was lost, stored twice or not applied, or
/// the server could not be run; the error names the round and its seed.
pub fn run(plan: &Plan, mut on_round: impl FnMut(&Round)) -> anyhow::Result<()> {
    std::fs::create_dir_all(&plan.scratch)?;
    for number in 1..=plan.rounds {
        let directory = tempfile::Builder::new().prefix("crash-").tempdir_in(&plan.scratch)?;
        let seed = plan.seed.wrapping_add(u64::from(number) - 1);
        match round(plan, number, seed, directory.path()) {
            Ok(round) => on_round(&round),
            Err(error) => {
                let kept = directory.keep();
                let log = process::last_lines(&kept.join("serve.log"));
                return Err(error.context(format!(
                    "round {number} (again with --rounds 1 --seed {seed}); kept {}; last logged: {log}",
                    kept.display()
                )));
            }
        }
    }
    Ok(())
}

fn round(plan: &Plan, number: u32, seed: u64, directory: &Path) -> anyhow::Result<Round> {
    let started = Instant::now();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut requests = Requests::render(plan.events, random.u64(..), crate::now_seconds());
    requests.sign(SECRET, crate::now_seconds());
    let mut order: Vec<u32> = (0..u32::try_from(plan.events)?).collect();
    random.shuffle(&mut order);

    let quittance = Quittance::new(&plan.binary, directory, "warn");
    let database = plan.postgres.then(|| testdb::wait(testdb::Database::postgres()));
    let quittance = match &database {
        Some(database) => quittance.on(database.url()),
        None => quittance,
    };
    let mut server = quittance.serve()?;
    let key = quittance.read_key()?;
    let mut ledger = vec![false; plan.events];
    let mut seen = Round {
        number,
        events: plan.events,
        kills: vec![],
        unanswered: 0,
        stored_unanswered: 0,
        elapsed: Duration::ZERO,
    };
    for _ in 0..random.usize(1..=KILLS_PER_ROUND_MAX) {
        let rest: Vec<u32> = order.iter().copied().filter(|index| !ledger[*index as usize]).collect();
        let unanswered = load_and_kill(plan, &mut server, &requests, rest, &mut random, &mut ledger)?;
        seen.kills.push(ledger.iter().filter(|acknowledged| **acknowledged).count());
        seen.unanswered += unanswered.len();
        server = quittance.serve().context("it did not come up after a kill")?;
        let stored = quittance::events(server.address, &key)?;
        check::stored(&requests, &ledger, &stored)?;
        let stored: HashSet<&str> = stored.iter().map(|event| event.event_id.as_str()).collect();
        seen.stored_unanswered += unanswered.iter().filter(|index| stored.contains(requests.event_id(**index))).count();
    }
    send_rest(plan, &mut server, &requests, &order, &mut ledger)?;
    quittance::wait_until_applied(server.address, APPLY_MAX)?;
    check::applied(&requests, &quittance::events(server.address, &key)?)?;
    check::payments(&requests, &quittance::payments(server.address, &key)?)?;
    for life in random.choose_multiple(requests.lives(), HISTORIES_MAX) {
        history::of_life(server.address, &key, life)?;
    }
    quittance.output(&["rebuild", "--check"]).context("state is not what the events say")?;
    quittance.output(&["audit", "verify"]).context("the hash chain is broken")?;
    seen.elapsed = started.elapsed();
    Ok(seen)
}

/// Sends `rest` and kills the server at a random moment of it, or shortly after its
/// end, while events are still being applied. Returns what was never answered.
fn load_and_kill(
    plan: &Plan,
    server: &mut Server,
    requests: &Requests,
    rest: Vec<u32>,
    random: &mut fastrand::Rng,
    ledger: &mut [bool],
) -> anyhow::Result<Vec<u32>> {
    let kill_after = random.usize(0..=rest.len() + rest.len() / 8);
    let lag_max = KILL_LAG_MICROS_MAX[random.usize(..KILL_LAG_MICROS_MAX.len())];
    let lag = Duration::from_micros(random.u64(0..=lag_max));
    let load = load_plan(plan, server, rest);
    let mut kill_at = None;
    let mut killed = false;
    let report = load::run(&load, requests, &mut |acknowledged| {
        if acknowledged >= kill_after && !killed {
            let now = Instant::now();
            if now >= *kill_at.get_or_insert(now + lag) {
                server.kill();
                killed = true;
            }
        }
    })?;
    ensure!(killed || server.runs(), "the server ended before it was killed");
    ensure!(killed || report.connections_lost == 0, "the server closed connections");
    let end = Instant::now() + lag;
    while !killed && Instant::now() < end {
        std::thread::park_timeout(end.saturating_duration_since(Instant::now()));
    }
    server.kill();
    report.acknowledged.iter().for_each(|index| ledger[*index as usize] = true);
    Ok(report.unanswered)
}

/// Sends what was never acknowledged until it is, as a gateway does, and some of what was.
fn send_rest(
    plan: &Plan,
    server: &mut Server,
    requests: &Requests,
    order: &[u32],
    ledger: &mut [bool],
) -> anyhow::Result<()> {
    let duplicates: Vec<u32> =
        order.iter().copied().filter(|index| ledger[*index as usize]).take(DUPLICATES_MAX).collect();
    let deadline = Instant::now() + RESEND_MAX;
    let mut to_send: Vec<u32> = order.iter().copied().filter(|index| !ledger[*index as usize]).collect();
    to_send.extend(&duplicates);
    while !to_send.is_empty() {
        let report = load::run(&load_plan(plan, server, to_send.clone()), requests, &mut |_| ())?;
        ensure!(report.connections_lost == 0 && server.runs(), "the server closed connections or ended");
        ensure!(report.by_status.keys().all(|status| matches!(status, 200 | 503)), "replies: {:?}", report.by_status);
        ensure!(Instant::now() < deadline, "still refused after {RESEND_MAX:?}: {:?}", report.by_status);
        for index in report.acknowledged {
            ledger[index as usize] = true;
            to_send.retain(|other| *other != index);
        }
    }
    Ok(())
}

fn load_plan(plan: &Plan, server: &Server, indices: Vec<u32>) -> load::Plan {
    load::Plan {
        address: server.address,
        connections: plan.connections,
        pace: Pace::Closed,
        amount: Amount::Each(indices),
    }
}
