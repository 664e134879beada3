//! Turning stored events into state: one transaction a batch, of one account.

use std::collections::HashSet;

use domain::money::Minor;
use domain::{AccountId, Currency, EventFacts, Facts, Mode, Money, Outcome, Scope, Timestamp};

use crate::connection::Tx;
use crate::load::{Loader, WorkingSet};
use crate::sql::{Many, values};
use crate::write;
use crate::{Claimed, Error, EventState, Result, Store};

/// Events in one applying transaction.
const BATCH_MAX: u32 = 192;
/// The same while deliveries come in: about three milliseconds of SQLite's writer.
const BATCH_MAX_BESIDE_ACCEPTANCE: u32 = 64;
/// PostgreSQL is asked a fixed number of times a batch, and accepts meanwhile.
const BATCH_MAX_ON_POSTGRES: u32 = 512;

/// A claimed event and what it states.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub seq: i64,
    /// As it was claimed: another rendering that came since makes it another.
    pub due_at: Option<Timestamp>,
    pub facts: EventFacts,
    pub object_id: Option<String>,
    pub needs_fetch: bool,
    /// The facts as they are stored.
    pub(crate) text: String,
}

impl Prepared {
    /// Renders what will be stored, which is work: do it beside the writer.
    /// `decides`: whether the event confirms or fails a payment.
    pub fn new(
        event: &Claimed,
        facts: Facts,
        object_id: Option<String>,
        needs_fetch: bool,
        decides: bool,
    ) -> Result<Self> {
        let text = write::facts_text(&facts)?;
        let facts = EventFacts { scope: event.scope.clone(), facts, decides };
        Ok(Self { seq: event.seq, due_at: event.due_at, facts, object_id, needs_fetch, text })
    }
}

/// What became of one event of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    Done(Outcome),
    /// Another worker was faster; nothing was written for it.
    Taken,
}

/// A failed attempt to apply an event.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub seq: i64,
    /// As it was claimed: one that another rendering was added to since did not fail.
    pub due_at: Option<Timestamp>,
    /// Counted from 1.
    pub number: u32,
    pub error: String,
    /// `None`: this was the last, the event is dead.
    pub retry_at: Option<Timestamp>,
}

impl Store {
    /// Applies a batch of one account in one transaction: facts, payments, refunds,
    /// disputes, orders, bookings, history and event states change together or not at
    /// all. One outcome for each event, in their order.
    pub async fn apply(&self, account: &AccountId, batch: Vec<Prepared>, now: Timestamp) -> Result<Vec<Settled>> {
        let account = account.clone();
        let apply = move |tx: &Tx<'_>| apply(tx, &account, &batch, now);
        self.applying.run(move |connection| connection.write_claimed(apply)).await
    }

    /// How many events one applying transaction had better take just now. On SQLite it
    /// holds up the deliveries that come in for as long as it takes.
    pub fn apply_batch_max(&self) -> u32 {
        match (self.is_shared(), self.accepting.is_urged()) {
            (true, _) => BATCH_MAX_ON_POSTGRES,
            (false, false) => BATCH_MAX,
            (false, true) => BATCH_MAX_BESIDE_ACCEPTANCE,
        }
    }

    /// What `apply` would return for events that nobody took, without writing.
    pub async fn preview(&self, account: &AccountId, batch: Vec<Prepared>) -> Result<Vec<Outcome>> {
        let account = account.clone();
        let preview = move |tx: &Tx<'_>| {
            let mut ledger = load(tx, &account, batch.iter())?.ledger;
            Ok(batch.iter().map(|event| ledger.apply(&event.facts)).collect())
        };
        self.reading.run(move |connection| connection.read(preview)).await
    }

    /// Notes that applying an event failed, and when to try again.
    pub async fn fail(&self, account: &AccountId, attempt: Attempt, now: Timestamp) -> Result<()> {
        let account = account.clone();
        let fail = move |tx: &Tx<'_>| fail(tx, &account, &attempt, now);
        self.applying.run(move |connection| connection.write_claimed(fail)).await
    }
}

fn fail(tx: &Tx<'_>, account: &AccountId, attempt: &Attempt, now: Timestamp) -> Result<()> {
    let state = if attempt.retry_at.is_some() { EventState::Failed } else { EventState::Dead };
    // Other events may be locked already: this one is not waited for.
    let free = "SELECT true FROM event WHERE account = $1 AND seq = $2 AND due_at = $3 FOR UPDATE SKIP LOCKED";
    let claimed = values![account.as_str(), attempt.seq, attempt.due_at.map(Timestamp::micros)];
    if tx.is_postgres() && !tx.holds(free, &claimed)? {
        return Ok(());
    }
    let sql = "UPDATE event SET state = $1, due_at = $2, attempts = $3, error = $4, settled_at = $5
               WHERE seq = $6 AND account = $7 AND due_at = $8";
    let event = values![
        state.as_str(),
        attempt.retry_at.map(Timestamp::micros),
        attempt.number,
        &attempt.error,
        now.micros(),
        attempt.seq,
        account.as_str(),
        attempt.due_at.map(Timestamp::micros),
    ];
    if tx.execute(sql, &event)? == 1 {
        let sql = "INSERT INTO failed_attempt (account, seq, number, at, error) VALUES ($1, $2, $3, $4, $5)
                   ON CONFLICT (account, seq, number) DO UPDATE SET at = excluded.at, error = excluded.error";
        tx.execute(sql, &values![account.as_str(), attempt.seq, attempt.number, now.micros(), &attempt.error])?;
    }
    Ok(())
}

fn apply(tx: &Tx<'_>, account: &AccountId, batch: &[Prepared], now: Timestamp) -> Result<Vec<Settled>> {
    let untaken = untaken(tx, account, batch)?;
    let free = |event: &Prepared| untaken.contains(&event.seq);
    if untaken.is_empty() {
        return Ok(batch.iter().map(|_| Settled::Taken).collect());
    }
    tx.lock_account(account)?;
    let mut set = load(tx, account, batch.iter().filter(|event| free(event)))?;
    let outcomes: Vec<Option<Outcome>> =
        batch.iter().map(|event| free(event).then(|| set.ledger.apply(&event.facts))).collect();
    write::all(tx, account, &mut set, &[], batch, &outcomes, now)?;
    Ok(outcomes.into_iter().map(|outcome| outcome.map_or(Settled::Taken, Settled::Done)).collect())
}

/// In the order of their numbers; what another replica has is left to it.
static UNTAKEN: Many = Many {
    sqlite: "SELECT seq FROM event WHERE seq = ?2 AND account = ?1 AND due_at = ?3",
    postgres: "SELECT e.seq, k.n FROM unnest($2::bigint[], $3::bigint[]) WITH ORDINALITY AS k (seq, due_at, n)
               JOIN event e ON e.account = $1 AND e.seq = k.seq AND e.due_at = k.due_at
               ORDER BY e.seq FOR UPDATE OF e SKIP LOCKED",
    types: "aii",
};

/// The events that nobody has settled, or added to, since they were claimed.
fn untaken(tx: &Tx<'_>, account: &AccountId, batch: &[Prepared]) -> Result<HashSet<i64>> {
    let mut untaken = HashSet::with_capacity(batch.len());
    let keys = batch.iter().map(|event| values![account.as_str(), event.seq, event.due_at.map(Timestamp::micros)]);
    tx.look_up(&UNTAKEN, keys, |_, row| {
        untaken.insert(row.get(0)?);
        Ok(())
    })?;
    Ok(untaken)
}

/// Everything that the events can touch.
fn load<'e>(tx: &Tx<'_>, account: &AccountId, batch: impl Iterator<Item = &'e Prepared> + Clone) -> Result<WorkingSet> {
    let mut loader = Loader::new(tx, account)?;
    loader.events(batch.map(|event| &event.facts))?;
    loader.finish()
}

pub(crate) fn read_scope(
    account: &AccountId,
    gateway: String,
    mode: &str,
    table: &'static str,
    row: impl ToString,
) -> Result<Scope> {
    let mode = Mode::parse(mode).ok_or_else(|| Error::corrupt(table, row, format!("{mode:?} is no mode")))?;
    Ok(Scope { account: account.clone(), gateway, mode })
}

pub(crate) fn read_facts(text: &str, table: &'static str, row: impl ToString) -> Result<Facts> {
    serde_json::from_str(text).map_err(|error| Error::corrupt(table, row, format!("facts: {error}")))
}

pub(crate) fn read_due(amount: Option<i64>, currency: Option<String>, id: &str) -> Result<Option<Money>> {
    let Some(units) = amount else { return Ok(None) };
    match (Minor::new(units), currency.as_deref().and_then(Currency::parse)) {
        (Some(amount), Some(currency)) => Ok(Some(Money { amount, currency })),
        _ => Err(Error::corrupt("merchant_order", id, "what is due is no amount of money")),
    }
}
