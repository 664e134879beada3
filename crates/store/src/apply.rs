//! Turning stored events into state: one transaction a batch, of one account.

use std::collections::BTreeSet;

use domain::money::Minor;
use domain::{AccountId, Currency, EventFacts, Facts, Mode, Money, Outcome, Scope, Timestamp};
use rusqlite::{Connection, TransactionBehavior, params};

use crate::load::{Loader, WorkingSet};
use crate::write;
use crate::{Claimed, Error, EventState, Result, Store};

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
        self.hot_writer.run(move |connection| apply(connection, &account, &batch, now)).await
    }

    /// Whether deliveries come in just now. An applying transaction holds them up for as
    /// long as it takes: it had better be short then.
    pub fn is_accepting(&self) -> bool {
        self.hot_writer.is_urged()
    }

    /// What `apply` would return for events that nobody took, without writing.
    pub async fn preview(&self, account: &AccountId, batch: Vec<Prepared>) -> Result<Vec<Outcome>> {
        let account = account.clone();
        let preview = move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let mut ledger = load(&transaction, &account, &batch)?.ledger;
            Ok(batch.iter().map(|event| ledger.apply(&event.facts)).collect())
        };
        self.hot_reader.run(preview).await
    }

    /// Notes that applying an event failed, and when to try again.
    pub async fn fail(&self, account: &AccountId, attempt: Attempt, now: Timestamp) -> Result<()> {
        let account = account.clone();
        self.hot_writer.run(move |connection| fail(connection, &account, &attempt, now)).await
    }
}

fn fail(connection: &mut Connection, account: &AccountId, attempt: &Attempt, now: Timestamp) -> Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let state = if attempt.retry_at.is_some() { EventState::Failed } else { EventState::Dead };
    let sql = "UPDATE event SET state = ?, due_at = ?, attempts = ?, error = ?, settled_at = ?
               WHERE seq = ? AND account = ? AND due_at IS NOT NULL";
    let event = params![
        state.as_str(),
        attempt.retry_at.map(Timestamp::micros),
        attempt.number,
        attempt.error,
        now.micros(),
        attempt.seq,
        account.as_str(),
    ];
    if transaction.execute(sql, event)? == 1 {
        let sql = "INSERT INTO failed_attempt (account, seq, number, at, error) VALUES (?, ?, ?, ?, ?)
                   ON CONFLICT (account, seq, number) DO UPDATE SET at = excluded.at, error = excluded.error";
        let failed = params![account.as_str(), attempt.seq, attempt.number, now.micros(), attempt.error];
        transaction.execute(sql, failed)?;
    }
    Ok(transaction.commit()?)
}

fn apply(connection: &mut Connection, account: &AccountId, batch: &[Prepared], now: Timestamp) -> Result<Vec<Settled>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let untaken = untaken(&transaction, account, batch)?;
    let mut set = load(&transaction, account, batch)?;
    let free = |event: &Prepared| untaken.contains(&event.seq);
    let outcomes: Vec<Option<Outcome>> =
        batch.iter().map(|event| free(event).then(|| set.ledger.apply(&event.facts))).collect();
    write::all(&transaction, account, &mut set, &[], batch, &outcomes, now)?;
    transaction.commit()?;
    Ok(outcomes.into_iter().map(|outcome| outcome.map_or(Settled::Taken, Settled::Done)).collect())
}

/// The events that nobody has settled, or added to, since they were claimed.
fn untaken(connection: &Connection, account: &AccountId, batch: &[Prepared]) -> Result<BTreeSet<i64>> {
    let sql = "SELECT EXISTS (SELECT 1 FROM event WHERE seq = ? AND account = ? AND due_at = ?)";
    let mut statement = connection.prepare_cached(sql)?;
    let mut untaken = BTreeSet::new();
    for event in batch {
        let due_at = event.due_at.map(Timestamp::micros);
        if statement.query_row(params![event.seq, account.as_str(), due_at], |row| row.get(0))? {
            untaken.insert(event.seq);
        }
    }
    Ok(untaken)
}

/// Everything that the batch can touch.
fn load(connection: &Connection, account: &AccountId, batch: &[Prepared]) -> Result<WorkingSet> {
    let mut loader = Loader::new(connection, account)?;
    loader.events(batch.iter().map(|event| &event.facts))?;
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
