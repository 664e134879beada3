//! Folding beside the writer. SQLite has one writer, so that what it does for an event
//! bounds how many are applied; here a batch is folded, and its rows are made up, while
//! the batch before it is written.
//!
//! A fold builds on those before it, written or not, which stay in memory: the
//! [`Workbench`]. Before anything is written the writer makes sure that nobody else
//! changed what the fold was made of; where somebody did, it folds again by itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{AccountId, Outcome, Timestamp};
use rusqlite::{Connection, TransactionBehavior};

use crate::load::{Loader, WorkingSet};
use crate::write::{self, Delta};
use crate::{Prepared, Result, Settled, Store, apply};

/// Payments on the workbench; with more of them it is cleared but for those of the last
/// fold, which may not be written when the next one is made.
const PAYMENTS_MAX: usize = 1024;

/// What folding and writing share.
#[derive(Debug, Default)]
pub(crate) struct Folding {
    /// How often state was changed by anything but a fold. What was folded under an older
    /// number is not written.
    generation: AtomicU64,
    /// The folds that were made, and those of them that are written or done otherwise.
    made: AtomicU64,
    finished: AtomicU64,
    workbench: Mutex<Option<Workbench>>,
    /// SQLite's number for what other connections did, as the writer saw it last.
    data_version: Mutex<Option<i64>>,
}

/// An account's state as far as the last folds touched it.
#[derive(Debug)]
struct Workbench {
    account: AccountId,
    generation: u64,
    set: WorkingSet,
    next_number: i64,
}

/// A batch that was folded, ready to be written.
#[derive(Debug)]
pub struct Folded {
    account: AccountId,
    batch: Vec<Prepared>,
    /// `None` where it has to be folded on the writer.
    plan: Option<Plan>,
    under_way: UnderWay,
}

#[derive(Debug)]
struct Plan {
    generation: u64,
    delta: Delta,
    outcomes: Vec<Outcome>,
}

/// A fold's place among the others. However it ends, the next one can then be written;
/// if it was not written itself, what was folded onto it cannot be either.
#[derive(Debug)]
struct UnderWay {
    folding: Arc<Folding>,
    number: u64,
    is_written: bool,
}

impl UnderWay {
    fn begin(folding: &Arc<Folding>) -> Self {
        let number = folding.made.fetch_add(1, Ordering::SeqCst);
        Self { folding: folding.clone(), number, is_written: false }
    }

    fn is_next(&self) -> bool {
        self.folding.finished.load(Ordering::SeqCst) == self.number
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.is_written {
            self.folding.is_passed_by();
        }
        self.folding.finished.fetch_add(1, Ordering::SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // What is half done is thrown away below.
}

impl Folding {
    /// State was, or is about to be, changed by something else than a fold.
    pub fn is_passed_by(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Folds that are not written yet.
    fn under_way(&self) -> u64 {
        self.made.load(Ordering::SeqCst) - self.finished.load(Ordering::SeqCst)
    }

    /// Other connections, of this process and of others, write too: seldom, but then
    /// perhaps state.
    fn notice_others(&self, writer: &Connection) -> Result<()> {
        let version: i64 = writer.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        let before = lock(&self.data_version).replace(version);
        if before != Some(version) {
            self.is_passed_by();
        }
        Ok(())
    }
}

impl Store {
    /// Folds a batch of one account onto the one before it, which may still be being
    /// written. Fold and write in turns, each batch once and in order.
    pub async fn fold(&self, account: &AccountId, batch: Vec<Prepared>) -> Result<Folded> {
        let (folding, account) = (self.folding.clone(), account.clone());
        self.hot_reader.run(move |connection| fold(connection, &folding, account, batch)).await
    }

    /// Writes a folded batch in one transaction. One outcome for each event, in order.
    pub async fn write(&self, folded: Folded, now: Timestamp) -> Result<Vec<Settled>> {
        let folding = self.folding.clone();
        self.hot_writer.run(move |connection| finish(connection, &folding, folded, now)).await
    }
}

fn fold(connection: &Connection, folding: &Arc<Folding>, account: AccountId, batch: Vec<Prepared>) -> Result<Folded> {
    let generation = folding.generation.load(Ordering::SeqCst); // Before anything is read.
    let waiting = folding.under_way();
    let under_way = UnderWay::begin(folding);
    let kept = lock(&folding.workbench).take();
    let transaction = connection.unchecked_transaction()?; // One snapshot.
    // It knows what the last fold changed, not what the one before that did.
    let fits = |bench: &Workbench| bench.account == account && bench.generation == generation && waiting <= 1;
    let (set, mut next_number) = match kept.filter(fits) {
        Some(workbench) => (workbench.set, workbench.next_number),
        None if waiting == 0 => (WorkingSet::default(), write::next_number(&transaction)?),
        // What is not written yet cannot be read.
        None => return Ok(Folded { account, batch, plan: None, under_way }),
    };
    let mut loader = Loader::into(&transaction, &account, set);
    loader.events(batch.iter().map(|event| &event.facts))?;
    let mut set = loader.finish()?;
    let outcomes: Vec<Option<Outcome>> = batch.iter().map(|event| Some(set.ledger.apply(&event.facts))).collect();
    let delta = Delta::of(&mut set, &mut next_number, &[], &batch, &outcomes)?;
    if set.ledger.payments().len() > PAYMENTS_MAX {
        delta.keep_only_in(&mut set); // The rest is written, or will be before this is.
    }
    *lock(&folding.workbench) = Some(Workbench { account: account.clone(), generation, set, next_number });
    let outcomes = outcomes.into_iter().flatten().collect();
    Ok(Folded { account, batch, plan: Some(Plan { generation, delta, outcomes }), under_way })
}

fn finish(connection: &mut Connection, folding: &Folding, folded: Folded, now: Timestamp) -> Result<Vec<Settled>> {
    let Folded { account, batch, plan, mut under_way } = folded;
    if let Some(Plan { generation, delta, outcomes }) = plan {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        folding.notice_others(&transaction)?;
        let is_current = generation == folding.generation.load(Ordering::SeqCst);
        // Where somebody else was faster with one of the events, less than all are settled.
        if is_current
            && under_way.is_next()
            && write::write(&transaction, &account, &delta, &batch, now)? == batch.len()
        {
            transaction.commit()?;
            under_way.is_written = true;
            return Ok(outcomes.into_iter().map(Settled::Done).collect());
        }
    }
    tracing::debug!(%account, batch_len = batch.len(), "A batch is folded again, on the writer");
    apply::apply(connection, &account, &batch, now)
}
