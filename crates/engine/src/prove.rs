//! Proving the promise on recorded events: in whatever order and however often they are
//! delivered, however they are grouped, and wherever the process dies, the end is the same.
//!
//! Each run has a scratch SQLite database. A crash in it is the loss of everything that
//! the process had in memory: another one opens the files as they are, with a log that
//! nobody closed. It is not a loss of power, and it comes between two calls of the store;
//! the tests that kill the real process are `cargo xtask soak` and the fault suite.

mod end;
mod inputs;
mod run;
mod scratch;
mod shrink;

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;
use store::{EventFilter, Refusal, Store};

pub use end::Subject;
pub use inputs::{Call, Inputs, What};
pub use shrink::Smallest;

use end::{EndState, Patch};
use run::{Order, Ran};
use scratch::Template;

use crate::rebuild;

/// Each opens a few databases of its own, and a process may have so many files open.
pub const RUNS_MAX: u32 = 100;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Beside the one that they are compared with.
    pub runs: u32,
    /// Of the first run; each further one has the next.
    pub seed: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Store(#[from] store::Error),
    #[error("no scratch database can be made: {0}")]
    Scratch(#[from] std::io::Error),
    #[error("no gateway {0:?} is known")]
    UnknownGateway(String),
    #[error("{what} is refused whatever comes before it: {why}")]
    Refused { call: usize, what: String, why: Refusal },
    #[error("what {0} refers to is not there once everything is")]
    Unregistered(String),
    #[error("events came in while they were read: prove a copy of the database, or once it is quiet")]
    Moving,
    #[error("{0} events are still to be applied: start the server, or wait until it has nothing left to do")]
    Backlog(u64),
}

/// What one run did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Run {
    /// `None` of the one in recorded order.
    pub seed: Option<u64>,
    pub events: usize,
    pub deliveries: usize,
    pub accepted_batches: usize,
    pub applied_batches: usize,
    pub crashes: usize,
    /// Of its end, without what is contested.
    pub hash: String,
}

/// A row that is not what it is in the run in recorded order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Of the run; `None` of what is stored.
    pub seed: Option<u64>,
    #[serde(serialize_with = "as_text")]
    pub subject: Subject,
    /// As JSON; `None` where there is no such row.
    pub expected: Option<Value>,
    pub found: Option<Value>,
}

/// What must not be in any order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Of the run; `None` of the one in recorded order, or of what is stored.
    pub seed: Option<u64>,
    pub what: String,
}

/// What was done, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Proof {
    pub events: usize,
    /// Bodies: an event may have come in several API versions.
    pub bodies: usize,
    pub registrations: usize,
    pub events_without_body: u64,
    /// The first is the one in recorded order, with which the others are compared.
    pub runs: Vec<Run>,
    /// Of what is stored, where that was compared.
    pub stored_hash: Option<String>,
    /// Orders whose payments depended on what came first, as they may.
    pub contested_orders: BTreeSet<String>,
    /// Bookings whose days another one wants.
    pub contested_bookings: usize,
    pub differences: Vec<Difference>,
    pub faults: Vec<Fault>,
    /// As little as shows the first difference between two runs.
    pub smallest: Option<Smallest>,
}

impl Proof {
    pub fn holds(&self) -> bool {
        self.differences.is_empty() && self.faults.is_empty()
    }
}

fn as_text<S: serde::Serializer>(subject: &Subject, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(subject)
}

/// What is stored: inputs, and the state that they led to.
#[derive(Debug)]
pub struct Stored {
    pub inputs: Inputs,
    /// `None` where bodies were dropped by age: the runs lack what these said.
    state: Option<EndState>,
}

impl Stored {
    /// Reads it, writing nothing.
    pub async fn read(store: &Store) -> Result<Self, Error> {
        let everything = EventFilter::default();
        let count = store.count_events(&everything).await?;
        let inputs = Inputs::read(store).await?;
        let state = if inputs.events_without_body == 0 { Some(judged(store).await?) } else { None };
        let backlog = store.backlog().await?.events;
        if backlog > 0 {
            return Err(Error::Backlog(backlog));
        }
        if store.count_events(&everything).await? != count {
            return Err(Error::Moving);
        }
        Ok(Self { inputs, state })
    }
}

/// State as people see it, and where it is not what the events beside it say.
async fn judged(store: &Store) -> store::Result<EndState> {
    let mut end = EndState::read(store).await?;
    let derived = rebuild::check(store).await?;
    for difference in derived.differences.into_iter().chain(derived.lost) {
        let rebuild::Difference { account, subject, stored, derived } = difference;
        end.faults.push(format!("{account} {subject} is {stored}; the events beside it say {derived}"));
    }
    Ok(end)
}

/// Proves it of these inputs. `on_run` hears of each run as it ends, with the number of
/// rows that are not as they have to be.
pub async fn prove(inputs: &Inputs, options: Options, on_run: impl FnMut(&Run, usize)) -> Result<Proof, Error> {
    Prover::start(inputs, on_run).await?.prove(options, None).await
}

/// As [`prove`], and compares what is stored with the end of the run in recorded order.
pub async fn prove_stored(stored: &Stored, options: Options, on_run: impl FnMut(&Run, usize)) -> Result<Proof, Error> {
    Prover::start(&stored.inputs, on_run).await?.prove(options, stored.state.as_ref()).await
}

struct Prover<'a, F> {
    inputs: &'a Inputs,
    template: Template,
    reference: EndState,
    proof: Proof,
    /// How each end differs, with its run; the stored one's last.
    patches: Vec<(Option<usize>, Patch)>,
    /// What depends on what came first, and may.
    contested: BTreeSet<Subject>,
    on_run: F,
}

impl<'a, F: FnMut(&Run, usize)> Prover<'a, F> {
    async fn start(inputs: &'a Inputs, mut on_run: F) -> Result<Self, Error> {
        let template = Template::make().await?;
        let Ran { run, end: mut reference } = run::run(inputs, &template, Order::Recorded).await?;
        let faults = std::mem::take(&mut reference.faults);
        on_run(&run, faults.len());
        let proof = Proof {
            events: inputs.events(),
            bodies: inputs.deliveries.len(),
            registrations: inputs.calls.len(),
            events_without_body: inputs.events_without_body,
            contested_bookings: reference.contested_bookings.len(),
            faults: faults.into_iter().map(|what| Fault { seed: None, what }).collect(),
            runs: vec![run],
            ..Proof::default()
        };
        let (patches, contested) = (vec![(Some(0), Patch::new())], BTreeSet::new());
        Ok(Self { inputs, template, reference, proof, patches, contested, on_run })
    }

    async fn prove(mut self, options: Options, stored: Option<&EndState>) -> Result<Proof, Error> {
        for number in 0..u64::from(options.runs) {
            let seed = options.seed.wrapping_add(number);
            let Ran { run, end } = run::run(self.inputs, &self.template, Order::Seeded(seed)).await?;
            let wrong = self.compare(Some(self.proof.runs.len()), Some(seed), &end);
            (self.on_run)(&run, wrong);
            self.proof.runs.push(run);
        }
        if let Some(stored) = stored {
            self.compare(None, None, stored);
        }
        let Self { inputs, template, reference, mut proof, patches, contested, .. } = self;
        for (run, patch) in patches {
            let hash = reference.hash(&patch, &contested);
            let seed = match run.and_then(|run| proof.runs.get_mut(run)) {
                Some(run) => {
                    run.hash = hash;
                    run.seed
                }
                None => {
                    proof.stored_hash = Some(hash);
                    None
                }
            };
            let uncontested = patch.into_iter().filter(|(subject, _)| !contested.contains(subject));
            proof.differences.extend(uncontested.map(|(subject, found)| {
                let expected = reference.rows.get(&subject).map(|row| end::parsed(row));
                Difference { seed, expected, found: found.as_deref().map(end::parsed), subject }
            }));
        }
        if let Some(difference) = proof.differences.iter().find(|difference| difference.seed.is_some()) {
            proof.smallest = shrink::shrink(inputs, &template, difference).await?;
        }
        Ok(proof)
    }

    /// Returns how much is not as it has to be.
    fn compare(&mut self, run: Option<usize>, seed: Option<u64>, end: &EndState) -> usize {
        let patch = self.reference.patch_to(end);
        let mut excused = BTreeSet::new();
        for ((account, order), reached) in self.reference.contested(end, &patch) {
            self.proof.contested_orders.insert(format!("{account} order {order}"));
            excused.extend(reached);
        }
        let wrong = patch.keys().filter(|subject| !excused.contains(*subject)).count();
        self.contested.append(&mut excused);
        self.patches.push((run, patch));
        self.proof.faults.extend(end.faults.iter().map(|what| Fault { seed, what: what.clone() }));
        wrong + end.faults.len()
    }
}
