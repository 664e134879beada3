//! Which events are to be applied.

use std::collections::HashMap;

use domain::{AccountId, Scope, Timestamp, retry};

use crate::apply::read_facts;
use crate::connection::{Row, Tx};
use crate::query::Query;
use crate::sql::{Many, Value, values};
use crate::{Error, Restated, Result, Store};

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
    /// Empty where it was dropped by age, and the event came again since.
    pub body: Vec<u8>,
    /// The same event in other API versions.
    pub renderings: Vec<Vec<u8>>,
    /// What it stated before, where a body was dropped by age.
    pub stated: Option<Restated>,
}

/// Of bodies that are claimed at once, but for the last.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a new event may be due ahead of this process's clock: another replica's is a little
/// fast. Further ahead, a clock was set back since.
const AHEAD_MICROS_MAX: i64 = 5_000_000;
/// Events that are called back at once.
const CALLED_BACK_MAX: u32 = 4096;
/// Accounts that have such events. On PostgreSQL one statement, however many accounts there
/// are; SQLite's index goes from one account to the next.
struct AccountsWith {
    /// Of the account `$1`.
    sqlite: &'static str,
    postgres: &'static str,
}

const DUE_OF: AccountsWith = AccountsWith {
    sqlite: "SELECT EXISTS (SELECT 1 FROM event WHERE account = $1 AND due_at <= $2)",
    // An aggregate, which is looked up for each account: EXISTS may become a join that
    // reads all that is due.
    postgres: "SELECT a.account FROM account a
               WHERE (SELECT min(e.due_at) FROM event e WHERE e.account = a.account AND e.due_at IS NOT NULL) <= $1
               ORDER BY a.account",
};
/// Due later than what is new, or put off for longer than anything is.
const PUT_OFF_OF: AccountsWith = AccountsWith {
    sqlite: "SELECT EXISTS (SELECT 1 FROM event
                            WHERE account = $1 AND due_at > $2 AND (attempts = 0 OR due_at > $3))",
    // It may be one that failed and waits for its turn: calling back leaves it alone.
    postgres: "SELECT a.account FROM account a
               WHERE (SELECT max(e.due_at) FROM event e WHERE e.account = a.account AND e.due_at IS NOT NULL)
                     > least($1, $2) ORDER BY a.account",
};
/// Who locks several does so in the order of their numbers.
macro_rules! call_back {
    ($locks:literal) => {
        concat!(
            "UPDATE event SET due_at = $4 WHERE account = $1 AND seq IN (
                 SELECT seq FROM event WHERE account = $1 AND due_at > $2 AND (attempts = 0 OR due_at > $3)
                 ORDER BY seq LIMIT $5",
            $locks,
            ")"
        )
    };
}

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

/// What is selected of a due event, on either database.
macro_rules! due_columns {
    () => {
        "SELECT e.seq, e.gateway, e.mode, e.event_id, e.event_type, e.endpoint, e.creates, e.attempts,
                e.received_at, e.due_at, b.body, e.holds_mismatch "
    };
}

const DUE_ON_SQLITE: &str = concat!(
    due_columns!(),
    "FROM event e LEFT JOIN event_body b ON b.seq = e.seq
     WHERE e.account = $1 AND (e.due_at, e.seq) > ($2, $3) AND e.due_at <= $4 ORDER BY e.due_at, e.seq LIMIT $5"
);
/// What another replica has claimed is left to it. Their bodies are read after.
const DUE_ON_POSTGRES: &str =
    "SELECT seq, gateway, mode, event_id, event_type, endpoint, creates, attempts, received_at,
            due_at, NULL::bytea, holds_mismatch
     FROM event WHERE account = $1 AND due_at IS NOT NULL AND (due_at, seq) > ($2, $3) AND due_at <= $4
     ORDER BY due_at, seq LIMIT $5 FOR UPDATE SKIP LOCKED";
static BODIES: Many = Many {
    sqlite: "SELECT body FROM event_body WHERE seq = ?2",
    postgres: "SELECT b.body, k.n FROM unnest($2::bigint[], $3::bigint[]) WITH ORDINALITY AS k (seq, received_at, n)
               JOIN event_body b ON b.account = $1 AND b.seq = k.seq AND b.received_at = k.received_at",
    types: "aii",
};
/// Bodies read at once, before it is looked at how much they are.
const BODIES_AT_ONCE: usize = 64;
static OF_SEQS: Many = Many {
    sqlite: concat!(
        due_columns!(),
        "FROM event e JOIN event_body b ON b.seq = e.seq
         WHERE e.account = ?1 AND e.seq = ?2 AND NOT (e.state = 'ignored' AND e.error IS NOT NULL)"
    ),
    postgres: concat!(
        due_columns!(),
        ", k.n FROM unnest($2::bigint[]) WITH ORDINALITY AS k (seq, n)
         JOIN event e ON e.account = $1 AND e.seq = k.seq
         JOIN event_body b ON b.account = $1 AND b.seq = e.seq AND b.received_at = e.received_at
         WHERE NOT (e.state = 'ignored' AND e.error IS NOT NULL) ORDER BY k.n"
    ),
    types: "ai",
};
static RENDERINGS: Many = Many {
    sqlite: "SELECT body FROM event_rendering WHERE account = ?1 AND seq = ?2 ORDER BY api_version",
    postgres: "SELECT r.body, k.n FROM unnest($2::bigint[]) WITH ORDINALITY AS k (seq, n)
               JOIN event_rendering r ON r.account = $1 AND r.seq = k.seq ORDER BY k.n, r.api_version",
    types: "ai",
};

impl Store {
    /// Events of the account that are due, oldest first, at most `limit`, after that
    /// place. On PostgreSQL they are locked for this lane until `apply` or the next claim;
    /// on SQLite this reads only, and it is `apply` that takes an event or finds it taken.
    pub async fn claim(&self, account: &AccountId, after: Place, now: Timestamp, limit: u32) -> Result<Vec<Claimed>> {
        let account = account.clone();
        let due = move |tx: &Tx<'_>| {
            let sql = if tx.is_postgres() { DUE_ON_POSTGRES } else { DUE_ON_SQLITE };
            let values = values![account.as_str(), after.due_at, after.seq, now.micros(), limit];
            let mut bytes = 0;
            let mut claimed = tx.query_while(sql, &values, |row| {
                if bytes > BYTES_MAX {
                    return Ok(None);
                }
                let event = event(&account, row)?;
                bytes += event.body.len();
                Ok(Some(event))
            })?;
            if tx.is_postgres() {
                add_bodies(tx, &account, &mut claimed)?;
            }
            add_renderings(tx, &account, &mut claimed)?;
            Ok(claimed)
        };
        let worker = if self.is_shared() { &self.applying } else { &self.reading };
        worker.run(move |connection| connection.claim(due)).await
    }

    /// These events, due or not, as `claim` would return them. Without those whose
    /// body was dropped or that were kept only to be ignored.
    pub async fn events_to_apply(&self, account: &AccountId, seqs: &[i64]) -> Result<Vec<Claimed>> {
        let account = account.clone();
        let mut seqs = seqs.to_vec();
        seqs.sort_unstable();
        seqs.dedup();
        let read = move |tx: &Tx<'_>| {
            let mut claimed = Vec::new();
            let keys = seqs.iter().map(|seq| values![account.as_str(), *seq]);
            tx.look_up(&OF_SEQS, keys, |_, row| {
                claimed.push(event(&account, row)?);
                Ok(())
            })?;
            add_renderings(tx, &account, &mut claimed)?;
            Ok(claimed)
        };
        self.reading.run(move |connection| connection.read(read)).await
    }

    /// Accounts that have an event which is due.
    pub async fn accounts_due(&self, now: Timestamp) -> Result<Vec<AccountId>> {
        self.accounts_with(DUE_OF, vec![now.micros()]).await
    }

    async fn accounts_with(&self, events: AccountsWith, instants: Vec<i64>) -> Result<Vec<AccountId>> {
        let names = move |tx: &Tx<'_>| accounts_with(tx, &events, &instants);
        let names = self.reading.run(move |connection| connection.read(names)).await?;
        Ok(names.iter().filter_map(|name| AccountId::parse(name)).collect())
    }

    /// Makes events due now that are due further in the future than anything is put off:
    /// the clock was set back after it was written when they are due. Returns how many.
    pub async fn call_back(&self, now: Timestamp) -> Result<u64> {
        let (new, put_off) = (now.micros() + AHEAD_MICROS_MAX, now.micros() + retry::DELAY_MICROS_MAX);
        let accounts = self.accounts_with(PUT_OFF_OF, vec![new, put_off]).await?;
        let sql = if self.is_shared() { call_back!(" FOR UPDATE SKIP LOCKED") } else { call_back!("") };
        let mut count = 0;
        for account in accounts {
            loop {
                let query = Query::new(sql).bind(account.as_str()).bind(new).bind(put_off).bind(now.micros());
                let called_back = query.bind(i64::from(CALLED_BACK_MAX)).execute(&self.writer).await?;
                count += called_back;
                if called_back < u64::from(CALLED_BACK_MAX) {
                    break;
                }
            }
        }
        Ok(count)
    }
}

/// The names of those that have such events, with these instants.
fn accounts_with(tx: &Tx<'_>, events: &AccountsWith, instants: &[i64]) -> Result<Vec<String>> {
    if tx.is_postgres() {
        let instants: Vec<Value<'_>> = instants.iter().map(|instant| (*instant).into()).collect();
        return tx.query(events.postgres, &instants, |row| row.get(0));
    }
    let next = "SELECT min(account) FROM event WHERE due_at IS NOT NULL AND account > $1";
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let name = tx.first(next, &values![&after], |row| row.get::<Option<String>>(0))?.flatten();
        let Some(name) = name else { return Ok(names) };
        let mut of_one = vec![Value::from(&name)];
        of_one.extend(instants.iter().map(|instant| Value::from(*instant)));
        if tx.holds(events.sqlite, &of_one)? {
            names.push(name.clone());
        }
        after.clone_from(&name);
    }
}

/// Reads as many bodies as are wanted at once, and leaves out the events after them. Those
/// stay locked until this lane's transaction ends.
fn add_bodies(tx: &Tx<'_>, account: &AccountId, claimed: &mut Vec<Claimed>) -> Result<()> {
    let (mut read, mut bytes) = (0, 0);
    while read < claimed.len() && bytes <= BYTES_MAX {
        let upto = claimed.len().min(read + BODIES_AT_ONCE);
        let chunk = &mut claimed[read..upto];
        let keys: Vec<(i64, i64)> = chunk.iter().map(|event| (event.seq, event.received_at.micros())).collect();
        let keys = keys.iter().map(|(seq, received_at)| values![account.as_str(), *seq, *received_at]);
        tx.look_up(&BODIES, keys, |index, row| {
            chunk[index].body = row.get(0)?;
            bytes += chunk[index].body.len();
            Ok(())
        })?;
        read = upto;
    }
    claimed.truncate(read);
    Ok(())
}

/// Adds what the same events said in other API versions.
fn add_renderings(tx: &Tx<'_>, account: &AccountId, claimed: &mut [Claimed]) -> Result<()> {
    let mut renderings: HashMap<usize, Vec<Vec<u8>>> = HashMap::new();
    let keys = claimed.iter().map(|event| -> [Value<'_>; 2] { values![account.as_str(), event.seq] });
    tx.look_up(&RENDERINGS, keys, |index, row| {
        renderings.entry(index).or_default().push(row.get(0)?);
        Ok(())
    })?;
    for (index, bodies) in renderings {
        claimed[index].renderings = bodies;
    }
    for event in claimed.iter_mut().filter(|event| event.body.is_empty() || event.renderings.iter().any(Vec::is_empty))
    {
        let sql = "SELECT facts, object_id, needs_fetch FROM event_facts WHERE account = $1 AND seq = $2";
        event.stated = tx.first(sql, &values![account.as_str(), event.seq], |row| {
            let facts = read_facts(row.str(0)?, "event_facts", event.seq)?;
            Ok(Restated { facts, object_id: row.get(1)?, needs_fetch: row.get(2)? })
        })?;
        event.renderings.retain(|body| !body.is_empty());
    }
    Ok(())
}

fn event(account: &AccountId, row: &Row<'_>) -> Result<Claimed> {
    let seq = row.get(0)?;
    let mode = row.str(2)?;
    let mode = domain::Mode::parse(mode).ok_or_else(|| Error::corrupt("event", seq, format!("{mode:?} is no mode")))?;
    Ok(Claimed {
        seq,
        scope: Scope { account: account.clone(), gateway: row.get(1)?, mode },
        event_id: row.get(3)?,
        event_type: row.get(4)?,
        endpoint: row.get(5)?,
        creates: row.get(6)?,
        attempts: u32::try_from(row.get::<i64>(7)?).unwrap_or(u32::MAX),
        received_at: Timestamp::from_micros(row.get(8)?),
        due_at: row.get::<Option<i64>>(9)?.map(Timestamp::from_micros),
        body: row.get::<Option<Vec<u8>>>(10)?.unwrap_or_default(),
        holds_mismatch: row.get(11)?,
        renderings: Vec::new(),
        stated: None,
    })
}
