//! Load that goes on through a fault: each server has a sender, and what was not acknowledged is sent again, to
//! whichever server is there, until it is. The ledger is kept here, outside of what is tested.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};

use crate::load::{self, Amount, Pace, Report};
use crate::process::pause;
use crate::requests::Requests;

/// A sender takes as many requests as are due in so long.
const CHUNK: Duration = Duration::from_millis(250);
/// What is still not acknowledged so long after the fault is over is not going to be.
const RESEND_MAX: Duration = Duration::from_secs(120);
/// For what an operator waits for under load.
const WAIT_MAX: Duration = Duration::from_secs(120);

/// How much, to each server.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    pub connections: usize,
    pub per_second: f64,
}

/// What was sent and what came back, by index of the request.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub acknowledged: Vec<bool>,
    sends: Vec<u32>,
    /// Answers 503.
    pub refused: u64,
    /// Sent, and the connection was gone before the answer.
    pub unanswered: u64,
    /// Answers that are neither a 2xx nor a 503.
    pub other: BTreeMap<u16, u64>,
    /// The longest that anybody waited for a 503.
    pub slowest_refusal: Duration,
}

impl Ledger {
    pub fn sent(&self) -> u64 {
        self.sends.iter().copied().map(u64::from).sum()
    }

    pub fn acknowledged_len(&self) -> usize {
        self.acknowledged.iter().filter(|acknowledged| **acknowledged).count()
    }

    /// Events that were sent more than once.
    pub fn retried(&self) -> usize {
        self.sends.iter().filter(|sends| **sends > 1).count()
    }

    /// Adds another part of the same load.
    pub fn add(&mut self, other: &Self) {
        for (index, acknowledged) in other.acknowledged.iter().enumerate() {
            self.acknowledged[index] |= acknowledged;
            self.sends[index] += other.sends[index];
        }
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        for (status, count) in &other.other {
            *self.other.entry(*status).or_default() += count;
        }
        self.slowest_refusal = self.slowest_refusal.max(other.slowest_refusal);
    }

    /// Adds what became of the first of these requests; returns those that were not acknowledged.
    fn note(&mut self, requests: &[u32], report: &Report) -> Vec<u32> {
        let answered: u64 = report.by_status.values().sum();
        let sent = usize::try_from(answered).unwrap_or(usize::MAX).saturating_add(report.unanswered.len());
        requests.iter().take(sent).for_each(|index| self.sends[*index as usize] += 1);
        report.acknowledged.iter().for_each(|index| self.acknowledged[*index as usize] = true);
        self.unanswered += report.unanswered.len() as u64;
        for (status, count) in &report.by_status {
            match status {
                200..300 => {}
                503 => self.refused += count,
                other => *self.other.entry(*other).or_default() += count,
            }
        }
        let refused_in = Duration::from_micros(report.latency_refused.max());
        self.slowest_refusal = self.slowest_refusal.max(refused_in);
        requests.iter().copied().filter(|index| !self.acknowledged[*index as usize]).collect()
    }
}

#[derive(Debug)]
struct State {
    queue: VecDeque<u32>,
    /// Taken from the queue, and not noted in the ledger yet.
    under_way: usize,
    ledger: Ledger,
    /// As it happens; the ledger is written a chunk at a time.
    acknowledged: usize,
    marked: Instant,
    acknowledged_after_mark: Option<Duration>,
    deadline: Option<Instant>,
}

/// Load under way, as the one who makes the fault sees it.
pub struct Traffic<'a> {
    requests: &'a Requests,
    rate: Rate,
    servers: Vec<Mutex<SocketAddr>>,
    state: Mutex<State>,
    abandoned: AtomicBool,
}

impl std::fmt::Debug for Traffic<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Traffic({:?} to {:?})", self.rate, self.servers)
    }
}

/// Sends these requests until each is acknowledged, while `operate` makes the fault.
///
/// # Errors
/// When `operate` fails, or something is still refused long after it is done.
pub fn send<T>(
    requests: &Requests,
    indices: &[u32],
    rate: Rate,
    servers: &[SocketAddr],
    operate: impl FnOnce(&Traffic<'_>) -> anyhow::Result<T>,
) -> anyhow::Result<(T, Ledger)> {
    let ledger =
        Ledger { acknowledged: vec![false; requests.len()], sends: vec![0; requests.len()], ..Ledger::default() };
    let state = State {
        queue: indices.iter().copied().collect(),
        under_way: 0,
        ledger,
        acknowledged: 0,
        marked: Instant::now(),
        acknowledged_after_mark: None,
        deadline: None,
    };
    let servers = servers.iter().copied().map(Mutex::new).collect();
    let traffic = Traffic { requests, rate, servers, state: Mutex::new(state), abandoned: AtomicBool::new(false) };
    let operated = std::thread::scope(|scope| {
        for number in 0..traffic.servers.len() {
            let traffic = &traffic;
            scope.spawn(move || traffic.keep_sending(number));
        }
        let operated = operate(&traffic);
        traffic.state().deadline = Some(Instant::now() + RESEND_MAX);
        traffic.abandoned.store(operated.is_err(), Ordering::Relaxed);
        operated
    })?;
    let state = traffic.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (left, ledger) = (state.queue.len(), state.ledger);
    ensure!(left == 0, "{left} events are still not acknowledged {RESEND_MAX:?} after the fault: {}", said(&ledger));
    Ok((operated, ledger))
}

impl Traffic<'_> {
    /// Sends to another address from now on: that of a server that was started again.
    pub fn goes_to(&self, number: usize, address: SocketAddr) {
        *self.servers[number].lock().unwrap_or_else(PoisonError::into_inner) = address;
    }

    /// Waits until this share of all requests is acknowledged.
    ///
    /// # Errors
    /// When that does not come to pass.
    pub fn wait_for_share(&self, share: f64) -> anyhow::Result<()> {
        let wanted = (self.requests.len() as f64 * share) as usize;
        self.wait_for(&format!("{wanted} events are acknowledged"), || Ok(self.state().acknowledged >= wanted))
    }

    /// Waits until so many more were answered with a 503.
    ///
    /// # Errors
    /// When that does not come to pass.
    pub fn wait_for_refusals(&self, more: u64) -> anyhow::Result<()> {
        let wanted = self.state().ledger.refused + more;
        self.wait_for("events are refused", || Ok(self.state().ledger.refused >= wanted))
    }

    /// From here [`Self::first_acknowledged`] counts.
    pub fn mark(&self) {
        let mut state = self.state();
        state.marked = Instant::now();
        state.acknowledged_after_mark = None;
    }

    /// Waits for the first acknowledgement after the mark; returns how long after it that was.
    ///
    /// # Errors
    /// When none comes.
    pub fn first_acknowledged(&self) -> anyhow::Result<Duration> {
        let mut after = None;
        self.wait_for("an event is acknowledged again", || {
            after = self.state().acknowledged_after_mark;
            Ok(after.is_some())
        })?;
        Ok(after.unwrap_or_default())
    }

    /// Looks until `happened`, under load.
    ///
    /// # Errors
    /// When it does not happen, or looking fails.
    pub fn wait_for(&self, what: &str, mut happened: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
        let deadline = Instant::now() + WAIT_MAX;
        while !happened()? {
            if Instant::now() > deadline {
                bail!("{what}: not after {WAIT_MAX:?}; {}", said(&self.state().ledger));
            }
            pause();
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_sending(&self, number: usize) {
        while let Some(chunk) = self.take() {
            if chunk.is_empty() {
                pause(); // Others may bring back what they could not deliver.
                continue;
            }
            let address = *self.servers[number].lock().unwrap_or_else(PoisonError::into_inner);
            let plan = load::Plan {
                address,
                connections: self.rate.connections,
                pace: Pace::Open { per_second: self.rate.per_second },
                amount: Amount::Each(chunk.clone()),
            };
            let mut seen = 0;
            let report = load::run(&plan, self.requests, &mut |acknowledged| {
                if acknowledged > seen {
                    self.saw(acknowledged - seen);
                    seen = acknowledged;
                }
            });
            let is_away = report.is_err();
            let mut state = self.state();
            let back = match report {
                Ok(report) => state.ledger.note(&chunk, &report),
                Err(_) => chunk.clone(), // It does not listen; another does, or this one will again.
            };
            state.queue.extend(back);
            state.under_way -= chunk.len();
            drop(state);
            if is_away {
                pause();
            }
        }
    }

    /// What to send next; `None` when nothing is left, or nobody waits for it any more.
    fn take(&self) -> Option<Vec<u32>> {
        let mut state = self.state();
        let is_over = state.deadline.is_some_and(|deadline| Instant::now() > deadline);
        if is_over || self.abandoned.load(Ordering::Relaxed) || (state.queue.is_empty() && state.under_way == 0) {
            return None;
        }
        let len = (self.rate.per_second * CHUNK.as_secs_f64()).ceil() as usize;
        let len = len.min(state.queue.len());
        state.under_way += len;
        Some(state.queue.drain(..len).collect())
    }

    fn saw(&self, count: usize) {
        let mut state = self.state();
        state.acknowledged += count;
        let since = state.marked.elapsed();
        state.acknowledged_after_mark.get_or_insert(since);
    }
}

fn said(ledger: &Ledger) -> String {
    format!(
        "{} acknowledged, {} answers 503, {} never answered, others {:?}",
        ledger.acknowledged_len(),
        ledger.refused,
        ledger.unanswered,
        ledger.other
    )
}
