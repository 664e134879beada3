//! Making deliveries durable: one transaction a batch.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use domain::{AccountId, Mode, Timestamp};
use rusqlite::{Connection, TransactionBehavior, params};

use crate::chain::{self, Hash, Link};
use crate::{Error, EventState, Result, Store};

/// A verified delivery.
#[derive(Clone, Debug)]
pub struct NewEvent {
    pub account: AccountId,
    pub gateway: &'static str,
    pub mode: Mode,
    /// Empty where there is none.
    pub connected_account: String,
    pub event_id: String,
    pub event_type: String,
    pub api_version: Option<String>,
    pub gateway_time: Option<Timestamp>,
    pub endpoint: String,
    /// Whether the endpoint makes payments from events.
    pub creates: bool,
    /// Why it is kept but not applied (another mode than the endpoint's).
    pub ignored_because: Option<&'static str>,
    pub received_at: Timestamp,
    pub body: Bytes,
    body_hash: Hash,
    /// Whether the endpoint holds a payment of another amount than the registered one.
    holds_mismatch: bool,
    transmission_id: Option<String>,
    is_json: bool,
}

impl NewEvent {
    /// Hashes the body, which is work: build it where work is spread over cores.
    #[expect(clippy::too_many_arguments, reason = "one value for each column, named at the call")]
    pub fn new(
        account: AccountId,
        gateway: &'static str,
        mode: Mode,
        connected_account: String,
        event_id: String,
        event_type: String,
        api_version: Option<String>,
        gateway_time: Option<Timestamp>,
        endpoint: String,
        creates: bool,
        ignored_because: Option<&'static str>,
        received_at: Timestamp,
        body: impl Into<Bytes>,
    ) -> Self {
        let body = body.into();
        let body_hash = chain::sha256(&body);
        Self {
            account,
            gateway,
            mode,
            connected_account,
            event_id,
            event_type,
            api_version,
            gateway_time,
            endpoint,
            creates,
            ignored_because,
            received_at,
            body,
            body_hash,
            holds_mismatch: false,
            transmission_id: None,
            is_json: true,
        }
    }

    /// Whether the body is a JSON text, as people's SQL expects of a payload.
    pub fn in_json(self, is_json: bool) -> Self {
        Self { is_json, ..self }
    }

    /// Its endpoint holds a payment of another amount than the registered one.
    pub fn holding_mismatch(self, holds: bool) -> Self {
        Self { holds_mismatch: holds, ..self }
    }

    /// Its signature does not bind the body: the first body of a transmission is the one,
    /// and another is refused as [`Receipt::Forged`].
    pub fn of_transmission(self, id: Option<String>) -> Self {
        Self { transmission_id: id, ..self }
    }

    fn identity(&self) -> Identity<'_> {
        (&self.event_id, self.gateway, self.mode, &self.connected_account)
    }
}

/// Within an account.
type Identity<'a> = (&'a str, &'a str, Mode, &'a str);

/// What is on disk when `accept` returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    New,
    /// Seen before, not applied yet, and to be tried again now.
    Again,
    /// Seen before and done with.
    Duplicate,
    /// New, kept, and not to be applied.
    Ignored,
    /// Not stored: its transmission came with another body before.
    Forged,
}

/// Whether an event is there already is found out by inserting it: one search, not two.
const INSERT_EVENT: &str =
    "INSERT INTO event (seq, account, event_id, gateway, mode, connected_account, endpoint, event_type, api_version,
                        gateway_time, creates, source, received_at, settled_at, state, due_at, attempts, error, writer,
                        batch, body_hash, holds_mismatch)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 'webhook', ?12, ?12, ?13, ?14, 0, ?15, ?16, ?17, ?18, ?19)
     ON CONFLICT (event_id, account, gateway, mode, connected_account) DO NOTHING";
const INSERT_BODY: &str = "INSERT INTO event_body (seq, is_json, body) VALUES (?, ?, ?)";

impl Store {
    /// Stores a batch in one transaction. When it returns, everything in it is on
    /// disk; a receipt for each delivery, in their order.
    pub async fn accept(&self, batch: Vec<NewEvent>, now: Timestamp) -> Result<Vec<Receipt>> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        self.hot_writer.run_urgent(move |connection| accept(connection, &batch, now)).await
    }
}

fn accept(connection: &mut Connection, batch: &[NewEvent], now: Timestamp) -> Result<Vec<Receipt>> {
    // In the order of accounts, so that the same batch is always stored in the same way.
    let mut by_account: BTreeMap<&AccountId, Vec<usize>> = BTreeMap::new();
    for (index, event) in batch.iter().enumerate() {
        by_account.entry(&event.account).or_default().push(index);
    }
    let mut receipts = vec![Receipt::Duplicate; batch.len()];
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (account, indices) in by_account {
        let events: Vec<&NewEvent> = indices.iter().map(|index| &batch[*index]).collect();
        let stored = accept_for(&transaction, account, &events, now)?;
        for (index, receipt) in indices.into_iter().zip(stored) {
            receipts[index] = receipt;
        }
    }
    transaction.commit()?;
    Ok(receipts)
}

/// An event that is there already.
struct Known {
    seq: i64,
    api_version: Option<String>,
    state: EventState,
    /// It was kept only to be ignored, and never read.
    kept_aside: bool,
    /// Whether an endpoint that makes payments delivered it before.
    creates: bool,
}

impl Known {
    /// Whether there is nothing left to do when `event` is it once more. What one
    /// endpoint keeps aside another may want.
    fn is_done_with(&self, event: &NewEvent) -> bool {
        match self.state {
            EventState::Applied => true,
            EventState::Ignored if self.kept_aside => event.ignored_because.is_some(),
            EventState::Ignored => self.creates || !event.creates,
            EventState::Pending | EventState::Waiting | EventState::Failed | EventState::Dead => false,
        }
    }
}

fn accept_for(
    connection: &Connection,
    account: &AccountId,
    events: &[&NewEvent],
    now: Timestamp,
) -> Result<Vec<Receipt>> {
    let mut receipts = vec![Receipt::Forged; events.len()];
    let mut genuine = Vec::with_capacity(events.len());
    for (index, event) in events.iter().enumerate() {
        if !is_forged(connection, account, event)? {
            genuine.push(index);
        }
    }
    let events: Vec<&NewEvent> = genuine.iter().map(|index| events[*index]).collect();
    for (index, receipt) in genuine.into_iter().zip(accept_genuine(connection, account, &events, now)?) {
        receipts[index] = receipt;
    }
    Ok(receipts)
}

fn accept_genuine(
    connection: &Connection,
    account: &AccountId,
    events: &[&NewEvent],
    now: Timestamp,
) -> Result<Vec<Receipt>> {
    let (head, previous) = chain::head(connection, account)?;
    let number = head + 1;
    let (new, repeats) = insert_events(connection, number, events)?;
    let mut receipts: Vec<Receipt> = events
        .iter()
        .map(|event| if event.ignored_because.is_some() { Receipt::Ignored } else { Receipt::New })
        .collect();
    let renderings = if repeats.is_empty() {
        Vec::new()
    } else {
        let repeated: Vec<&NewEvent> = repeats.iter().map(|index| events[*index]).collect();
        let known = known_events(connection, account, &repeated)?;
        for (index, event) in repeats.iter().zip(&repeated) {
            let stored = known.iter().find(|(key, _)| key.matches(event.identity()));
            let unfound = || Error::corrupt("event", &event.event_id, "it is in the way, but it is not there");
            let (_, stored) = stored.ok_or_else(unfound)?;
            receipts[*index] = if stored.is_done_with(event) { Receipt::Duplicate } else { Receipt::Again };
        }
        note_repeats(connection, account, number, &repeated, &known, now)?
    };
    if new.is_empty() && renderings.is_empty() {
        return Ok(receipts);
    }
    let rendered = renderings.iter().map(|(seq, event)| Link { event_type: "", ..link(*seq, event) });
    let links = new.iter().map(|(seq, event)| link(*seq, event)).chain(rendered);
    let hash = chain::batch_hash(&previous, account.as_str(), number, now.micros(), links);
    let count = (new.len() + renderings.len()) as i64;
    let link = params![account.as_str(), chain::WRITER, number, now.micros(), count, &previous[..], &hash[..]];
    connection.prepare_cached("INSERT INTO batch VALUES (?, ?, ?, ?, ?, ?, ?)")?.execute(link)?;
    Ok(receipts)
}

/// Whether its transmission came with another body before; notes the body otherwise.
fn is_forged(connection: &Connection, account: &AccountId, event: &NewEvent) -> Result<bool> {
    let Some(id) = &event.transmission_id else { return Ok(false) };
    let sql =
        "INSERT OR IGNORE INTO transmission (account, transmission_id, body_hash, received_at) VALUES (?, ?, ?, ?)";
    let row = params![account.as_str(), id, &event.body_hash[..], event.received_at.micros()];
    connection.prepare_cached(sql)?.execute(row)?;
    let sql = "SELECT body_hash <> ? FROM transmission WHERE account = ? AND transmission_id = ?";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row(params![&event.body_hash[..], account.as_str(), id], |row| row.get(0))?)
}

fn link(seq: i64, event: &NewEvent) -> Link<'_> {
    Link {
        seq,
        event_id: &event.event_id,
        gateway: event.gateway,
        mode: event.mode.as_str(),
        connected_account: &event.connected_account,
        endpoint: &event.endpoint,
        event_type: &event.event_type,
        api_version: event.api_version.as_deref().unwrap_or_default(),
        received_at: event.received_at.micros(),
        body_hash: &event.body_hash,
    }
}

struct StoredIdentity {
    event_id: String,
    gateway: String,
    mode: String,
    connected_account: String,
}

impl StoredIdentity {
    fn matches(&self, (event_id, gateway, mode, connected_account): Identity<'_>) -> bool {
        self.event_id == event_id
            && self.gateway == gateway
            && self.mode == mode.as_str()
            && self.connected_account == connected_account
    }
}

fn known_events(
    connection: &Connection,
    account: &AccountId,
    events: &[&NewEvent],
) -> Result<Vec<(StoredIdentity, Known)>> {
    let sql =
        "SELECT gateway, mode, connected_account, seq, api_version, state, state = 'ignored' AND error IS NOT NULL, creates
               FROM event WHERE account = ? AND event_id = ?";
    let mut statement = connection.prepare_cached(sql)?;
    let mut known = Vec::new();
    for event_id in events.iter().map(|event| event.event_id.as_str()).collect::<HashSet<_>>() {
        let mut rows = statement.query(params![account.as_str(), event_id])?;
        while let Some(row) = rows.next()? {
            let identity = StoredIdentity {
                event_id: event_id.to_owned(),
                gateway: row.get(0)?,
                mode: row.get(1)?,
                connected_account: row.get(2)?,
            };
            let state: String = row.get(5)?;
            let state = EventState::parse(&state).unwrap_or(EventState::Pending);
            let kept_aside = row.get(6)?;
            known.push((
                identity,
                Known { seq: row.get(3)?, api_version: row.get(4)?, state, kept_aside, creates: row.get(7)? },
            ));
        }
    }
    Ok(known)
}

/// Events that were inserted, with their numbers.
type Inserted<'a> = Vec<(i64, &'a NewEvent)>;

/// Returns those that are new, and the indices of those that are there already, be it
/// from earlier in the batch.
fn insert_events<'a>(
    connection: &Connection,
    number: i64,
    events: &[&'a NewEvent],
) -> Result<(Inserted<'a>, Vec<usize>)> {
    let newest = "SELECT coalesce(max(seq), 0) FROM event";
    let mut seq: i64 = connection.prepare_cached(newest)?.query_row([], |row| row.get(0))?;
    let mut insert_event = connection.prepare_cached(INSERT_EVENT)?;
    let mut insert_body = connection.prepare_cached(INSERT_BODY)?;
    let mut new = Vec::with_capacity(events.len());
    let mut repeats = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let received_at = event.received_at.micros();
        let state = if event.ignored_because.is_some() { EventState::Ignored } else { EventState::Pending };
        let inserted = insert_event.execute(params![
            seq + 1,
            event.account.as_str(),
            event.event_id,
            event.gateway,
            event.mode.as_str(),
            event.connected_account,
            event.endpoint,
            event.event_type,
            event.api_version,
            event.gateway_time.map(Timestamp::micros),
            event.creates,
            received_at,
            state.as_str(),
            (state == EventState::Pending).then_some(received_at),
            event.ignored_because,
            chain::WRITER,
            number,
            &event.body_hash[..],
            event.holds_mismatch,
        ])?;
        if inserted == 0 {
            repeats.push(index);
            continue;
        }
        seq += 1;
        insert_body.execute(params![seq, event.is_json, &event.body[..]])?;
        new.push((seq, *event));
    }
    Ok((new, repeats))
}

/// Notes deliveries of events that are there already: that they came, another
/// rendering of one, and that what is not applied yet is to be tried again.
/// Returns the renderings that are new.
fn note_repeats<'a>(
    connection: &Connection,
    account: &AccountId,
    number: i64,
    repeated: &[&'a NewEvent],
    known: &[(StoredIdentity, Known)],
    now: Timestamp,
) -> Result<Vec<(i64, &'a NewEvent)>> {
    let mut renderings = Vec::new();
    for event in repeated {
        let Some((_, stored)) = known.iter().find(|(key, _)| key.matches(event.identity())) else { continue };
        let delivery = params![account.as_str(), stored.seq, event.received_at.micros(), event.endpoint];
        connection
            .prepare_cached(
                "INSERT OR IGNORE INTO redelivery (account, seq, received_at, endpoint) VALUES (?, ?, ?, ?)",
            )?
            .execute(delivery)?;
        let other_version = stored.api_version != event.api_version;
        let mut rendered_anew = false;
        if other_version && event.ignored_because.is_none() {
            let version = event.api_version.as_deref().unwrap_or_default(); // PayPal's first version says none.
            let sql = "INSERT OR IGNORE INTO event_rendering
                           (account, seq, api_version, received_at, endpoint, writer, batch, body_hash, body)
                       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
            let rendering = params![
                account.as_str(),
                stored.seq,
                version,
                event.received_at.micros(),
                event.endpoint,
                chain::WRITER,
                number,
                &event.body_hash[..],
                &event.body[..],
            ];
            rendered_anew = connection.prepare_cached(sql)?.execute(rendering)? == 1;
            if rendered_anew {
                renderings.push((stored.seq, *event));
            }
        }
        let undone = stored.state != EventState::Pending && !stored.is_done_with(event);
        if undone || rendered_anew {
            // Another due time than before tells whoever claimed it without this
            // rendering that it is not settled yet.
            let sql = "UPDATE event SET state = 'pending', due_at = iif(due_at = ?1, ?1 - 1, ?1), attempts = 0,
                           error = iif(state = 'ignored', NULL, error), creates = max(creates, ?4),
                           holds_mismatch = max(holds_mismatch, ?5)
                       WHERE seq = ?2 AND account = ?3";
            connection.prepare_cached(sql)?.execute(params![
                now.micros(),
                stored.seq,
                account.as_str(),
                event.creates,
                event.holds_mismatch,
            ])?;
        }
    }
    renderings.sort_by(|(a, x), (b, y)| (a, &x.api_version).cmp(&(b, &y.api_version)));
    Ok(renderings)
}
