//! Making deliveries durable: one transaction a batch.

mod head;
mod insert;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use domain::{AccountId, Mode, Timestamp};

use crate::chain::{self, Hash, Link};
use crate::connection::Tx;
use crate::sql::{Many, Put, values};
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

static KNOWN: Many = Many {
    sqlite: "SELECT gateway, mode, connected_account, seq, api_version, state,
                    state = 'ignored' AND error IS NOT NULL, creates
             FROM event WHERE account = ?1 AND event_id = ?2",
    postgres: "SELECT e.gateway, e.mode, e.connected_account, e.seq, e.api_version, e.state,
                      e.state = 'ignored' AND e.error IS NOT NULL, e.creates, k.n
               FROM unnest($2::text[]) WITH ORDINALITY AS k (event_id, n)
               JOIN event e ON e.account = $1 AND e.event_id = k.event_id",
    types: "at",
};
static PUT_REDELIVERY: Put = Put::new(
    "redelivery (account, seq, received_at, endpoint)",
    "aiit",
    "account, seq, received_at, endpoint",
    "DO NOTHING",
);
/// Another due time than before tells whoever claimed an event without its newest
/// rendering that it is not settled yet.
static PUT_BACK: Many = Many {
    sqlite: "UPDATE event SET state = 'pending', due_at = iif(due_at = ?2, ?2 - 1, ?2), attempts = 0,
                 error = iif(state = 'ignored', NULL, error), creates = max(creates, ?4),
                 holds_mismatch = max(holds_mismatch, ?5)
             WHERE seq = ?3 AND account = ?1",
    postgres: "UPDATE event e SET state = 'pending', due_at = CASE WHEN due_at = k.now THEN k.now - 1 ELSE k.now END,
                   attempts = 0, error = CASE WHEN state = 'ignored' THEN NULL ELSE error END,
                   creates = e.creates OR k.creates, holds_mismatch = e.holds_mismatch OR k.holds_mismatch
               FROM unnest($2::bigint[], $3::bigint[], $4::boolean[], $5::boolean[])
                    AS k (now, seq, creates, holds_mismatch)
               WHERE e.account = $1 AND e.seq = k.seq",
    types: "aiibb",
};
impl Store {
    /// Stores a batch, each account's part in one transaction. When it returns,
    /// everything in it is on disk; a receipt for each delivery, in their order.
    pub async fn accept(&self, batch: Vec<NewEvent>, now: Timestamp) -> Result<Vec<Receipt>> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        self.accepting.run_urgent(move |connection| connection.write(|tx| accept(tx, &batch, now))).await
    }
}

fn accept(tx: &Tx<'_>, batch: &[NewEvent], now: Timestamp) -> Result<Vec<Receipt>> {
    // In the order of accounts, so that the same batch is always stored in the same way.
    let mut by_account: BTreeMap<&AccountId, Vec<usize>> = BTreeMap::new();
    for (index, event) in batch.iter().enumerate() {
        by_account.entry(&event.account).or_default().push(index);
    }
    let mut receipts = vec![Receipt::Duplicate; batch.len()];
    for (account, indices) in by_account {
        let events: Vec<&NewEvent> = indices.iter().map(|index| &batch[*index]).collect();
        let stored = accept_for(tx, account, &events, now)?;
        for (index, receipt) in indices.into_iter().zip(stored) {
            receipts[index] = receipt;
        }
    }
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

fn accept_for(tx: &Tx<'_>, account: &AccountId, events: &[&NewEvent], now: Timestamp) -> Result<Vec<Receipt>> {
    let forged = forged(tx, account, events)?;
    let mut receipts = vec![Receipt::Forged; events.len()];
    let genuine: Vec<usize> = (0..events.len()).filter(|index| !forged.contains(index)).collect();
    let events: Vec<&NewEvent> = genuine.iter().map(|index| events[*index]).collect();
    for (index, receipt) in genuine.into_iter().zip(accept_genuine(tx, account, &events, now)?) {
        receipts[index] = receipt;
    }
    Ok(receipts)
}

fn accept_genuine(tx: &Tx<'_>, account: &AccountId, events: &[&NewEvent], now: Timestamp) -> Result<Vec<Receipt>> {
    let head = head::take(tx, account)?;
    let number = head.number + 1;
    let (new, repeats) = insert::insert_events(tx, &head.writer, number, events)?;
    let mut receipts: Vec<Receipt> = events
        .iter()
        .map(|event| if event.ignored_because.is_some() { Receipt::Ignored } else { Receipt::New })
        .collect();
    let renderings = if repeats.is_empty() {
        Vec::new()
    } else {
        let repeated: Vec<&NewEvent> = repeats.iter().map(|index| events[*index]).collect();
        let known = known_events(tx, account, &repeated)?;
        for (index, event) in repeats.iter().zip(&repeated) {
            let unfound = || Error::corrupt("event", &event.event_id, "it is in the way, but it is not there");
            let stored = find(&known, event).ok_or_else(unfound)?;
            receipts[*index] = if stored.is_done_with(event) { Receipt::Duplicate } else { Receipt::Again };
        }
        note_repeats(tx, account, &head.writer, number, &repeated, &known, now)?
    };
    if new.is_empty() && renderings.is_empty() {
        return Ok(receipts);
    }
    let rendered = renderings.iter().map(|(seq, event)| Link { event_type: "", ..link(*seq, event) });
    let links = new.iter().map(|(seq, event)| link(*seq, event)).chain(rendered);
    let hash = chain::batch_hash(&head.hash, account.as_str(), &head.writer, number, now.micros(), links);
    let count = (new.len() + renderings.len()) as i64;
    let sql = "INSERT INTO batch (account, writer, number, committed_at, event_count, previous_hash, hash)
               VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let link = values![account.as_str(), &head.writer, number, now.micros(), count, &head.hash, &hash];
    tx.execute(sql, &link)?;
    if tx.is_postgres() {
        let sql = "UPDATE chain_head SET number = $3, hash = $4 WHERE account = $1 AND writer = $2";
        tx.execute(sql, &values![account.as_str(), &head.writer, number, &hash])?;
    }
    Ok(receipts)
}

/// Which of them have a transmission that came with another body before; notes the bodies
/// of the others.
fn forged(tx: &Tx<'_>, account: &AccountId, events: &[&NewEvent]) -> Result<BTreeSet<usize>> {
    let mut transmissions: Vec<(&str, usize)> = Vec::new();
    for (index, event) in events.iter().enumerate() {
        transmissions.extend(event.transmission_id.as_deref().map(|id| (id, index)));
    }
    transmissions.sort_unstable(); // So that replicas wait for one another in the same order.
    let note = "INSERT INTO transmission (account, transmission_id, body_hash, received_at) VALUES ($1, $2, $3, $4)
                ON CONFLICT DO NOTHING";
    let differs = "SELECT body_hash <> $3 FROM transmission WHERE account = $1 AND transmission_id = $2";
    let mut forged = BTreeSet::new();
    for (id, index) in transmissions {
        let event = events[index];
        tx.execute(note, &values![account.as_str(), id, &event.body_hash, event.received_at.micros()])?;
        if tx.holds(differs, &values![account.as_str(), id, &event.body_hash])? {
            forged.insert(index);
        }
    }
    Ok(forged)
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

/// Events that are there, by their gateway's ids.
type KnownEvents = HashMap<String, Vec<(StoredIdentity, Known)>>;

fn find<'k>(known: &'k KnownEvents, event: &NewEvent) -> Option<&'k Known> {
    let namesakes = known.get(&event.event_id)?;
    namesakes.iter().find(|(key, _)| key.matches(event.identity())).map(|(_, known)| known)
}

fn known_events(tx: &Tx<'_>, account: &AccountId, events: &[&NewEvent]) -> Result<KnownEvents> {
    let event_ids: BTreeSet<&str> = events.iter().map(|event| event.event_id.as_str()).collect();
    let event_ids: Vec<&str> = event_ids.into_iter().collect();
    let mut known = KnownEvents::new();
    let keys = event_ids.iter().map(|event_id| values![account.as_str(), *event_id]);
    tx.look_up(&KNOWN, keys, |index, row| {
        let event_id = event_ids[index].to_owned();
        let identity = StoredIdentity {
            event_id: event_id.clone(),
            gateway: row.get(0)?,
            mode: row.get(1)?,
            connected_account: row.get(2)?,
        };
        let state = EventState::parse(row.str(5)?).unwrap_or(EventState::Pending);
        let (kept_aside, creates) = (row.get(6)?, row.get(7)?);
        let stored = Known { seq: row.get(3)?, api_version: row.get(4)?, state, kept_aside, creates };
        known.entry(event_id).or_default().push((identity, stored));
        Ok(())
    })?;
    Ok(known)
}

/// Notes deliveries of events that are there already: that they came, another
/// rendering of one, and that what is not applied yet is to be tried again.
/// Returns the renderings that are new.
fn note_repeats<'a>(
    tx: &Tx<'_>,
    account: &AccountId,
    writer: &str,
    number: i64,
    repeated: &[&'a NewEvent],
    known: &KnownEvents,
    now: Timestamp,
) -> Result<Vec<(i64, &'a NewEvent)>> {
    let mut renderings = Vec::new();
    let mut redeliveries = tx.batch(PUT_REDELIVERY.many())?;
    // By number: what two endpoints want of one event, and so that replicas wait for one
    // another in the same order.
    let mut undone: BTreeMap<i64, (bool, bool)> = BTreeMap::new();
    let found = repeated.iter().filter_map(|event| Some((find(known, event)?, *event)));
    let mut found: Vec<(&Known, &NewEvent)> = found.collect();
    found.sort_by(|(a, x), (b, y)| (a.seq, &x.api_version).cmp(&(b.seq, &y.api_version)));
    if tx.is_postgres() {
        // Before it is looked whether their bodies are there: nobody drops one meanwhile.
        let changes = |(stored, event): &&(&Known, &NewEvent)| {
            stored.api_version != event.api_version || !stored.is_done_with(event)
        };
        let changing: BTreeSet<i64> = found.iter().filter(changes).map(|(stored, _)| stored.seq).collect();
        lock_events(tx, account, changing.into_iter())?;
    }
    for (stored, event) in found {
        redeliveries.add(values![account.as_str(), stored.seq, event.received_at.micros(), &event.endpoint])?;
        // What was not of concern may be now: of another endpoint, and when its body is gone.
        let is_wanted = !stored.is_done_with(event);
        let is_bare = is_wanted && stored.state == EventState::Ignored && !has_body(tx, account, stored.seq)?;
        let rendered_anew = (stored.api_version != event.api_version || is_bare)
            && event.ignored_because.is_none()
            && put_rendering(tx, stored.seq, writer, number, event)?;
        if rendered_anew {
            renderings.push((stored.seq, event));
        }
        if rendered_anew || stored.state != EventState::Pending && is_wanted {
            let (creates, holds) = undone.entry(stored.seq).or_default();
            *creates |= event.creates;
            *holds |= event.holds_mismatch;
        }
    }
    redeliveries.run()?;
    let mut put_back = tx.batch(&PUT_BACK)?;
    for (seq, (creates, holds_mismatch)) in undone {
        put_back.add(values![account.as_str(), now.micros(), seq, creates, holds_mismatch])?;
    }
    put_back.run()?;
    renderings.sort_by(|(a, x), (b, y)| (a, &x.api_version).cmp(&(b, &y.api_version)));
    Ok(renderings)
}

/// In the order of their numbers, as everybody who locks several.
fn lock_events(tx: &Tx<'_>, account: &AccountId, seqs: impl Iterator<Item = i64>) -> Result<()> {
    static LOCK: Many = Many {
        sqlite: "",
        postgres: "SELECT e.seq, k.n FROM unnest($2::bigint[]) WITH ORDINALITY AS k (seq, n)
                   JOIN event e ON e.account = $1 AND e.seq = k.seq ORDER BY e.seq FOR UPDATE OF e",
        types: "ai",
    };
    tx.look_up(&LOCK, seqs.map(|seq| values![account.as_str(), seq]), |_, _| Ok(()))
}

/// Whether the body in which an event came first was not dropped by age.
fn has_body(tx: &Tx<'_>, account: &AccountId, seq: i64) -> Result<bool> {
    let sqlite = "SELECT EXISTS (SELECT 1 FROM event_body WHERE seq = $2)";
    let postgres = "SELECT EXISTS (SELECT 1 FROM event e JOIN event_body b
                        ON b.account = e.account AND b.seq = e.seq AND b.received_at = e.received_at
                        WHERE e.account = $1 AND e.seq = $2)";
    tx.holds(if tx.is_postgres() { postgres } else { sqlite }, &values![account.as_str(), seq])
}

/// Returns whether it was new.
fn put_rendering(tx: &Tx<'_>, seq: i64, writer: &str, number: i64, event: &NewEvent) -> Result<bool> {
    let version = event.api_version.as_deref().unwrap_or_default(); // PayPal's first version says none.
    let sql = "INSERT INTO event_rendering (account, seq, api_version, received_at, endpoint, writer, batch, body_hash,
                                            body)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING";
    let rendering = values![
        event.account.as_str(),
        seq,
        version,
        event.received_at.micros(),
        &event.endpoint,
        writer,
        number,
        &event.body_hash,
        &event.body[..],
    ];
    Ok(tx.execute(sql, &rendering)? == 1)
}
