//! Which events are to be applied.

use domain::{AccountId, Scope, Timestamp};
use rusqlite::{Connection, Params, Row, params};

use crate::events::json_list;
use crate::{Error, Result, Store};

/// An event that is due, with its bodies.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub seq: i64,
    pub scope: Scope,
    pub event_id: String,
    pub event_type: String,
    pub endpoint: String,
    pub creates: bool,
    /// Whether its endpoint holds a payment of another amount than the registered one.
    pub holds_mismatch: bool,
    /// That failed so far.
    pub attempts: u32,
    pub received_at: Timestamp,
    /// `None`: there is nothing to do for it.
    pub due_at: Option<Timestamp>,
    pub body: Vec<u8>,
    /// The same event in other API versions.
    pub renderings: Vec<Vec<u8>>,
}

/// Of bodies that are claimed at once, but for the last.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Where among the events that are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    due_at: i64,
    seq: i64,
}

impl Place {
    /// Before all of them.
    pub const START: Self = Self { due_at: i64::MIN, seq: 0 };
}

impl Claimed {
    pub fn place(&self) -> Place {
        Place { due_at: self.due_at.map_or(i64::MIN, Timestamp::micros), seq: self.seq }
    }
}

const DUE: &str = "SELECT e.seq, e.gateway, e.mode, e.event_id, e.event_type, e.endpoint, e.creates, e.attempts,
           e.received_at, e.due_at, b.body, e.holds_mismatch
    FROM event e JOIN event_body b ON b.seq = e.seq
    WHERE e.account = ?1 AND (e.due_at, e.seq) > (?2, ?3) AND e.due_at <= ?4 ORDER BY e.due_at, e.seq LIMIT ?5";
const OF_SEQS: &str = "SELECT e.seq, e.gateway, e.mode, e.event_id, e.event_type, e.endpoint, e.creates, e.attempts,
           e.received_at, e.due_at, b.body, e.holds_mismatch
    FROM json_each(?2) k CROSS JOIN event e ON e.seq = k.value JOIN event_body b ON b.seq = e.seq
    WHERE e.account = ?1 AND NOT (e.state = 'ignored' AND e.error IS NOT NULL) ORDER BY e.seq";

impl Store {
    /// Events of the account that are due, oldest first, at most `limit`, after that
    /// place. Reads only: it is `apply` that takes an event or finds it taken.
    pub async fn claim(&self, account: &AccountId, after: Place, now: Timestamp, limit: u32) -> Result<Vec<Claimed>> {
        let account = account.clone();
        let claim = move |connection: &mut Connection| {
            let transaction = connection.transaction()?; // One snapshot of events and renderings.
            claimed(
                &transaction,
                &account,
                DUE,
                params![account.as_str(), after.due_at, after.seq, now.micros(), limit],
            )
        };
        self.hot_reader.run(claim).await
    }

    /// These events, due or not, as `claim` would return them. Without those whose
    /// body was dropped or that were kept only to be ignored.
    pub async fn events_to_apply(&self, account: &AccountId, seqs: &[i64]) -> Result<Vec<Claimed>> {
        let (account, seqs) = (account.clone(), json_list(seqs));
        let claim = move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            claimed(&transaction, &account, OF_SEQS, params![account.as_str(), seqs])
        };
        self.hot_reader.run(claim).await
    }

    /// Accounts that have an event which is due.
    pub async fn accounts_due(&self, now: Timestamp) -> Result<Vec<AccountId>> {
        self.hot_reader.run(move |connection| accounts_due(connection, now)).await
    }
}

/// One or two index probes an account, however many events are due.
fn accounts_due(connection: &Connection, now: Timestamp) -> Result<Vec<AccountId>> {
    let next = "SELECT min(account) FROM event WHERE due_at IS NOT NULL AND account > ?";
    let due = "SELECT EXISTS (SELECT 1 FROM event WHERE account = ? AND due_at <= ?)";
    let (mut next, mut due) = (connection.prepare_cached(next)?, connection.prepare_cached(due)?);
    let mut accounts = Vec::new();
    let mut after = String::new();
    while let Some(account) = next.query_row([&after], |row| row.get::<_, Option<String>>(0))? {
        if due.query_row(params![account, now.micros()], |row| row.get(0))? {
            accounts.extend(AccountId::parse(&account));
        }
        after = account;
    }
    Ok(accounts)
}

fn claimed(connection: &Connection, account: &AccountId, sql: &str, params: impl Params) -> Result<Vec<Claimed>> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut renderings = connection
        .prepare_cached("SELECT body FROM event_rendering WHERE account = ? AND seq = ? ORDER BY api_version")?;
    let mut rows = statement.query(params)?;
    let (mut claimed, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        if bytes > BYTES_MAX {
            break;
        }
        let mut event = event(account, row)?;
        bytes += event.body.len();
        let bodies = renderings.query_map(params![account.as_str(), event.seq], |row| row.get(0))?;
        event.renderings = bodies.collect::<rusqlite::Result<_>>()?;
        claimed.push(event);
    }
    Ok(claimed)
}

fn event(account: &AccountId, row: &Row<'_>) -> Result<Claimed> {
    let seq = row.get(0)?;
    let mode: String = row.get(2)?;
    let mode =
        domain::Mode::parse(&mode).ok_or_else(|| Error::corrupt("event", seq, format!("{mode:?} is no mode")))?;
    Ok(Claimed {
        seq,
        scope: Scope { account: account.clone(), gateway: row.get(1)?, mode },
        event_id: row.get(3)?,
        event_type: row.get(4)?,
        endpoint: row.get(5)?,
        creates: row.get(6)?,
        attempts: row.get(7)?,
        received_at: Timestamp::from_micros(row.get(8)?),
        due_at: row.get::<_, Option<i64>>(9)?.map(Timestamp::from_micros),
        body: row.get(10)?,
        holds_mismatch: row.get(11)?,
        renderings: Vec::new(),
    })
}
