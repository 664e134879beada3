//! One run: the inputs in some order and grouping, with crashes, on a scratch database.

use std::collections::BTreeSet;

use domain::AccountId;
use fastrand::Rng;
use store::{NewEvent, Noun, Place, Prepared, Receipt, Refusal};

use super::end::EndState;
use super::inputs::Inputs;
use super::scratch::{Scratch, Template};
use super::{Error, Run, judged};
use crate::Clock;
use crate::apply::{apply_due, readable};

/// Between two steps, so that no two happen at the same time.
const TICK_MICROS: i64 = 1_000;
/// Longer than any pause before an event is tried again.
const RETRY_MICROS: i64 = 3_600 * 1_000_000;
/// An event that cannot be applied is dead after fewer rounds.
const ROUNDS_MAX: u32 = 20;
const CRASHES_MAX: usize = 3;
/// How often a delivery may come again.
const TIMES_MORE: [usize; 6] = [0, 0, 0, 0, 1, 2];
/// Deliveries in a transaction.
const BATCH_MAX: usize = 512;
/// However many deliveries there are, about so many transactions take them in, at most.
const BATCHES_MAX: usize = 500;
/// Events that are claimed at once.
const CLAIM_MAX: u32 = 400;
/// Pages of what is due that a worker may leave for later.
const PAGES_SKIPPED_MAX: usize = 3;

/// Whether an input is a delivery or a call, and which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Delivery(usize),
    Call(usize),
}

/// What is different in a run.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order<'a> {
    /// Registrations, then every delivery once, as they were recorded.
    Recorded,
    Seeded(u64),
    /// One after the other, each applied before the next.
    Given(&'a [Step]),
}

/// What a run came to.
pub(super) struct Ran {
    pub run: Run,
    pub end: EndState,
}

/// When the process dies.
#[derive(Clone, Copy)]
enum Crash {
    /// After deliveries were stored and acknowledged.
    Accepted,
    /// After deliveries were stored, before that was said: they come again.
    Unanswered,
    /// With events claimed and read that are not applied.
    Claimed,
    /// After some of what was claimed is applied.
    Applied,
}

const CRASH_KINDS: [Crash; 4] = [Crash::Accepted, Crash::Unanswered, Crash::Claimed, Crash::Applied];

pub(super) async fn run(inputs: &Inputs, template: &Template, order: Order<'_>) -> Result<Ran, Error> {
    // A registration may be refused for what came before it; the API says so, and whoever
    // registers would have had to come earlier. Then it comes first.
    let mut first = BTreeSet::new();
    loop {
        let mut process = Process::start(inputs, template, order).await?;
        let schedule = Schedule::of(inputs, order, &first, &mut process.rng);
        match process.live(schedule).await {
            Err(Error::Refused { call, .. }) if !matches!(order, Order::Given(_)) && first.insert(call) => {
                let mut call = call;
                while let Some(needed) = needed_by(inputs, call) {
                    first.insert(needed);
                    call = needed;
                }
            }
            ended => return ended,
        }
    }
}

/// What has to be registered before this call, if the application does it.
fn needed_by(inputs: &Inputs, call: usize) -> Option<usize> {
    let wanted = &inputs.calls[call];
    let needs = wanted.needs()?;
    inputs.calls.iter().position(|other| other.account == wanted.account && other.makes() == Some(needs))
}

/// The process that takes deliveries in and applies them, in all of its lives.
struct Process<'a> {
    inputs: &'a Inputs,
    scratch: Scratch,
    clock: Clock,
    rng: Rng,
    /// Calls that came before what they refer to.
    postponed: Vec<usize>,
    run: Run,
}

/// What is done, and when.
struct Schedule {
    /// By their places among the inputs.
    deliveries: Vec<usize>,
    /// Each with the number of deliveries before it; the last first.
    calls: Vec<(usize, usize)>,
    /// Each with the number of deliveries before it; the last first.
    crashes: Vec<(usize, Crash)>,
    batch_max: usize,
    /// Of a hundred batches of any size, after how many something is applied. `None`:
    /// every batch is as large as it can be, and is applied before the next.
    applied_percent: Option<u8>,
}

impl Schedule {
    fn of(inputs: &Inputs, order: Order<'_>, first: &BTreeSet<usize>, rng: &mut Rng) -> Self {
        match order {
            Order::Recorded => {
                let calls = (0..inputs.calls.len()).rev().map(|call| (0, call)).collect();
                Self::one_by_one((0..inputs.deliveries.len()).collect(), calls, BATCH_MAX)
            }
            Order::Given(steps) => {
                let (mut deliveries, mut calls) = (Vec::new(), Vec::new());
                for step in steps {
                    match step {
                        Step::Delivery(index) => deliveries.push(*index),
                        Step::Call(call) => calls.push((deliveries.len(), *call)),
                    }
                }
                calls.reverse();
                Self::one_by_one(deliveries, calls, 1)
            }
            Order::Seeded(_) => Self::random(inputs, first, rng),
        }
    }

    const fn one_by_one(deliveries: Vec<usize>, calls: Vec<(usize, usize)>, batch_max: usize) -> Self {
        Self { deliveries, calls, crashes: Vec::new(), batch_max, applied_percent: None }
    }

    fn random(inputs: &Inputs, first: &BTreeSet<usize>, rng: &mut Rng) -> Self {
        let recorded = 0..inputs.deliveries.len();
        let again: Vec<usize> =
            recorded.clone().flat_map(|index| vec![index; TIMES_MORE[rng.usize(..TIMES_MORE.len())]]).collect();
        let mut deliveries: Vec<usize> = recorded.chain(again).collect();
        rng.shuffle(&mut deliveries);
        if rng.u8(..8) == 0 {
            deliveries.sort_unstable_by_key(|index| std::cmp::Reverse(*index)); // All of it backwards.
        }
        let count = deliveries.len();
        let mut calls: Vec<(usize, usize)> = Vec::new();
        for (call, made) in inputs.calls.iter().enumerate() {
            let at = if first.contains(&call) { 0 } else { rng.usize(..=count) };
            calls.push((at, call));
            if made.can_be_repeated() && rng.u8(..4) == 0 {
                calls.push((rng.usize(at..=count), call));
            }
        }
        calls.sort_by_key(|(at, call)| std::cmp::Reverse((*at, *call)));
        let mut crash = |_| (rng.usize(..=count), CRASH_KINDS[rng.usize(..CRASH_KINDS.len())]);
        let mut crashes: Vec<(usize, Crash)> = (0..CRASHES_MAX).map(&mut crash).collect();
        crashes.truncate(rng.usize(1..=CRASHES_MAX));
        crashes.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        let batch_min = (2 * count / BATCHES_MAX).clamp(1, BATCH_MAX);
        let largest = (batch_min << [0, 2, 4, 6][rng.usize(..4)]).min(BATCH_MAX);
        let batch_max = rng.usize(batch_min..=largest);
        let applied_percent = Some([5, 40, 90][rng.usize(..3)]);
        Self { deliveries, calls, crashes, batch_max, applied_percent }
    }
}

impl<'a> Process<'a> {
    async fn start(inputs: &'a Inputs, template: &Template, order: Order<'_>) -> Result<Self, Error> {
        let scratch = Scratch::of(template).await?;
        let clock = Clock::manual(inputs.newest().plus_micros(TICK_MICROS));
        let seed = if let Order::Seeded(seed) = order { Some(seed) } else { None };
        let rng = Rng::with_seed(seed.unwrap_or_default());
        let run = Run { seed, ..Run::default() };
        Ok(Self { inputs, scratch, clock, rng, postponed: Vec::new(), run })
    }

    async fn live(mut self, schedule: Schedule) -> Result<Ran, Error> {
        let Schedule { deliveries, mut calls, mut crashes, batch_max, applied_percent } = schedule;
        let mut done = 0;
        loop {
            while let Some((_, call)) = calls.pop_if(|(at, _)| *at <= done) {
                self.make(call).await?;
            }
            self.make_postponed().await?;
            if done == deliveries.len() {
                break;
            }
            let count = if applied_percent.is_some() { self.rng.usize(1..=batch_max) } else { batch_max };
            let until_call = calls.last().map_or(usize::MAX, |(at, _)| at - done);
            let count = count.min(deliveries.len() - done).min(until_call);
            let batch: Vec<NewEvent> =
                deliveries[done..done + count].iter().map(|index| self.inputs.deliveries[*index].clone()).collect();
            done += count;
            self.accept(batch.clone()).await?;
            while let Some((_, crash)) = crashes.pop_if(|(at, _)| *at <= done) {
                self = self.crash(crash, &batch).await?;
            }
            match applied_percent {
                None => self.drain().await?,
                Some(percent) if self.rng.u8(..100) < percent => self.apply_some().await?,
                Some(_) => {}
            }
        }
        self.drain().await?;
        self.make_postponed().await?;
        if let Some(&call) = self.postponed.first() {
            return Err(Error::Unregistered(self.inputs.calls[call].to_string()));
        }
        self.end().await
    }

    fn tick(&self) -> domain::Timestamp {
        let now = self.clock.now().plus_micros(TICK_MICROS);
        self.clock.set(now);
        now
    }

    async fn accept(&mut self, batch: Vec<NewEvent>) -> Result<(), Error> {
        let now = self.tick();
        self.run.deliveries += batch.len();
        self.run.accepted_batches += 1;
        let receipts = self.scratch.store().accept(batch, now).await?;
        let is_new = |receipt: &&Receipt| matches!(receipt, Receipt::New | Receipt::Ignored);
        self.run.events += receipts.iter().filter(is_new).count();
        Ok(())
    }

    /// Returns whether it was made; what it refers to may not be there yet.
    async fn make(&mut self, call: usize) -> Result<bool, Error> {
        let now = self.tick();
        match self.inputs.calls[call].make(self.scratch.store(), now).await? {
            Ok(()) => Ok(true),
            Err(Refusal::Missing(Noun::Order | Noun::Payment | Noun::Resource | Noun::Booking)) => {
                self.postponed.push(call);
                Ok(false)
            }
            Err(why) => Err(Error::Refused { call, what: self.inputs.calls[call].to_string(), why }),
        }
    }

    async fn make_postponed(&mut self) -> Result<(), Error> {
        loop {
            let mut made = false;
            for call in std::mem::take(&mut self.postponed) {
                made |= self.make(call).await?;
            }
            if !made {
                return Ok(());
            }
        }
    }

    /// Some of what is due, in any order and in batches of any size; sometimes by two
    /// workers at once.
    async fn apply_some(&mut self) -> Result<(), Error> {
        for account in self.scratch.store().accounts_due(self.clock.now()).await? {
            let batches = self.claim(&account).await?;
            for batch in batches {
                self.apply(&account, batch).await?;
            }
        }
        Ok(())
    }

    async fn claim(&mut self, account: &AccountId) -> Result<Vec<Vec<Prepared>>, Error> {
        let store = self.scratch.store();
        let limit = self.rng.u32(1..=CLAIM_MAX);
        let mut claimed = store.claim(account, Place::START, self.clock.now(), limit).await?;
        for _ in 0..self.rng.usize(..=PAGES_SKIPPED_MAX) {
            let Some(last) = claimed.last() else { break };
            let next = store.claim(account, last.place(), self.clock.now(), limit).await?;
            if next.is_empty() {
                break;
            }
            claimed = next;
        }
        let mut prepared: Vec<Prepared> = claimed.iter().filter_map(readable).collect();
        self.rng.shuffle(&mut prepared);
        let mut batches = Vec::new();
        while !prepared.is_empty() {
            let count = self.rng.usize(1..=prepared.len());
            batches.push(prepared.split_off(prepared.len() - count));
        }
        Ok(batches)
    }

    async fn apply(&mut self, account: &AccountId, batch: Vec<Prepared>) -> Result<(), Error> {
        let twice = self.rng.u8(..8) == 0;
        for batch in std::iter::once(batch.clone()).chain(twice.then_some(batch)) {
            let now = self.tick();
            self.run.applied_batches += 1;
            // What is wrong with an event of it is found out at the end, one by one.
            if let Err(error @ (store::Error::Unavailable(_) | store::Error::Closed)) =
                self.scratch.store().apply(account, batch, now).await
            {
                return Err(error.into());
            }
        }
        Ok(())
    }

    async fn crash(mut self, crash: Crash, batch: &[NewEvent]) -> Result<Self, Error> {
        if let Crash::Claimed | Crash::Applied = crash {
            for account in self.scratch.store().accounts_due(self.clock.now()).await? {
                let mut claimed = self.claim(&account).await?;
                if let (Crash::Applied, Some(first)) = (crash, claimed.pop()) {
                    self.apply(&account, first).await?;
                }
            }
        }
        self.run.crashes += 1;
        self.scratch = self.scratch.crashed().await?;
        if let Crash::Unanswered = crash {
            self.accept(batch.to_vec()).await?;
        }
        Ok(self)
    }

    /// Until nothing is left to do, as the running server does it.
    async fn drain(&mut self) -> Result<(), Error> {
        for _ in 0..ROUNDS_MAX {
            while apply_due(self.scratch.store(), &self.clock).await? > 0 {
                self.run.applied_batches += 1;
            }
            if self.scratch.store().backlog().await?.events == 0 {
                return Ok(());
            }
            self.clock.set(self.clock.now().plus_micros(RETRY_MICROS));
        }
        Ok(())
    }

    /// Looks at where it ended, and whether the state is what the stored events say.
    async fn end(self) -> Result<Ran, Error> {
        let Self { inputs, scratch, run, .. } = self;
        let store = scratch.store();
        let mut end = judged(store).await?;
        let (events, left) = (inputs.events(), store.backlog().await?.events);
        if run.events != events || left > 0 {
            end.faults.push(format!("{} of {events} events are stored, {left} of them not applied", run.events));
        }
        for account in store.accounts().await? {
            let faults = store.verify_chain(&account).await?.faults;
            end.faults.extend(faults.iter().map(|fault| format!("the hash chain of {account} is broken: {fault:?}")));
        }
        scratch.discard().await;
        Ok(Ran { run, end })
    }
}
