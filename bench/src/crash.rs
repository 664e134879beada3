//! Kills the real binary under load, over and over, and holds what it says against
//! a ledger kept here: whatever was acknowledged is stored, once, and applied.
//!
//! SIGKILL takes the process and all that it held in memory; what it had written is
//! in the kernel's hands and survives. Loss of power is another test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::load::{self, Amount, Pace};
use crate::process::{self, Server};
use crate::quittance::{self, Quittance};
use crate::requests::{Requests, SECRET};

/// A kill comes this long, at most, after the acknowledgement that it waits for, so
/// that it does not always hit the moment after a commit.
const KILL_LAG_MICROS_MAX: u64 = 4_000;
const KILLS_PER_ROUND_MAX: usize = 2;
/// Events that were acknowledged before and are sent once more, each round.
const DUPLICATES_MAX: usize = 100;
const APPLY_MAX: Duration = Duration::from_secs(120);
const RESEND_MAX: Duration = Duration::from_secs(60);

/// How often to crash what.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The `quittance` binary.
    pub binary: PathBuf,
    /// A directory for scratch databases; they are removed, but for a failing round's.
    pub scratch: PathBuf,
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
    let mut server = quittance.serve()?;
    let key = quittance.read_key()?;
    let mut ledger = vec![false; plan.events];
    let mut seen = Round { number, events: plan.events, kills: vec![], unanswered: 0, stored_unanswered: 0, elapsed: Duration::ZERO };
    for _ in 0..random.usize(1..=KILLS_PER_ROUND_MAX) {
        let rest: Vec<u32> = order.iter().copied().filter(|index| !ledger[*index as usize]).collect();
        let unanswered = load_and_kill(plan, &mut server, &requests, rest, &mut random, &mut ledger)?;
        seen.kills.push(ledger.iter().filter(|acknowledged| **acknowledged).count());
        seen.unanswered += unanswered.len();
        server = quittance.serve().context("it did not come up after a kill")?;
        let stored = quittance::events(server.address, &key)?;
        check_stored(&requests, &ledger, &stored)?;
        seen.stored_unanswered += unanswered.iter().filter(|index| stored.contains_key(requests.event_id(**index))).count();
    }
    send_rest(plan, &mut server, &requests, &order, &mut ledger)?;
    quittance::wait_until_applied(server.address, APPLY_MAX)?;
    check_applied(&requests, &quittance::events(server.address, &key)?)?;
    quittance.output(&["rebuild", "--check"]).context("state is not what the events say")?;
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
    let lag = Duration::from_micros(random.u64(0..=KILL_LAG_MICROS_MAX));
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
fn send_rest(plan: &Plan, server: &mut Server, requests: &Requests, order: &[u32], ledger: &mut [bool]) -> anyhow::Result<()> {
    let duplicates: Vec<u32> = order.iter().copied().filter(|index| ledger[*index as usize]).take(DUPLICATES_MAX).collect();
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
    load::Plan { address: server.address, connections: plan.connections, pace: Pace::Closed, amount: Amount::Each(indices) }
}

/// By event id, the state of each row that is listed.
type Listing = BTreeMap<String, Vec<String>>;

fn check_stored(requests: &Requests, ledger: &[bool], stored: &Listing) -> anyhow::Result<()> {
    let acknowledged = (0_u32..).zip(ledger).filter(|(_, acknowledged)| **acknowledged);
    let lost: Vec<&str> = acknowledged.map(|(i, _)| requests.event_id(i)).filter(|id| !stored.contains_key(*id)).collect();
    ensure!(lost.is_empty(), "LOST: {} acknowledged events are not stored: {:?}", lost.len(), &lost[..lost.len().min(5)]);
    let twice: Vec<&String> = stored.iter().filter(|(_, states)| states.len() > 1).map(|(id, _)| id).collect();
    ensure!(twice.is_empty(), "{} events are stored more than once: {:?}", twice.len(), &twice[..twice.len().min(5)]);
    Ok(())
}

fn check_applied(requests: &Requests, stored: &Listing) -> anyhow::Result<()> {
    check_stored(requests, &vec![true; requests.len()], stored)?;
    ensure!(stored.len() == requests.len(), "{} events are stored, {} were sent", stored.len(), requests.len());
    let not_applied: Vec<_> = stored.iter().filter(|(_, states)| states.iter().any(|state| state != "applied")).collect();
    ensure!(
        not_applied.is_empty(),
        "{} events are not applied: {:?}",
        not_applied.len(),
        &not_applied[..not_applied.len().min(5)]
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(requests: &Requests, states: &[&[&str]]) -> Listing {
        (0_u32..)
            .zip(states)
            .filter(|(_, states)| !states.is_empty())
            .map(|(i, states)| (requests.event_id(i).to_owned(), states.iter().map(|s| (*s).to_owned()).collect()))
            .collect()
    }

    #[test]
    fn the_checks_find_what_a_liar_would_hide() {
        let requests = Requests::render(3, 1, 1_700_000_000);
        let ledger = [true, false, true];
        // Rows as they are listed, whether each check passes, and why it should not.
        let table: [(&[&[&str]], bool, bool, &str); 6] = [
            (&[&["applied"], &["applied"], &["applied"]], true, true, ""),
            (&[&["applied"], &["applied"], &["pending"]], true, false, "one is still pending"),
            (&[&["applied"], &["dead"], &["applied"]], true, false, "one is dead"),
            (&[&["applied"], &[], &["applied"]], true, false, "one that was not acknowledged is gone"),
            (&[&["applied"], &["applied"], &[]], false, false, "one that was acknowledged is gone"),
            (&[&["applied", "applied"], &["applied"], &["applied"]], false, false, "one is there twice"),
        ];
        for (states, is_stored, is_applied, why) in table {
            let listing = listing(&requests, states);
            assert_eq!(check_stored(&requests, &ledger, &listing).is_ok(), is_stored, "stored: {why}");
            assert_eq!(check_applied(&requests, &listing).is_ok(), is_applied, "applied: {why}");
        }
    }
}
