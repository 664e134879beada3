//! Folding all inputs of an account's state.

use std::sync::atomic::{AtomicU64, Ordering};

use domain::{AccountId, EventFacts, Facts, Ledger, Mode, ObjectKey, Registration, Scope, Timestamp};

use super::{Difference, Restate, Restated, StoredEvent};
use crate::apply::{read_due, read_facts, read_scope};
use crate::connection::{Row, Tx};
use crate::sql::values;
use crate::{Error, EventState, Result, load, write};

/// Events, with their bodies, or rows that are read at a time.
const EVENTS_PAGE: u32 = 200;
const ROWS_PAGE: u32 = 500;

/// What the inputs say.
pub(super) struct Derived {
    pub ledger: Ledger,
    /// Every event that was applied, in order.
    pub stated: Vec<Stated>,
    /// Events whose stored facts are not what they state.
    pub amended: Vec<Amended>,
    pub lost: Vec<Difference>,
    scopes: Vec<Scope>,
}

/// An event that stated something.
pub(super) struct Stated {
    pub seq: i64,
    /// The number of the payment to which it is stored to belong.
    pub payment: Option<i64>,
    /// The object that names its payment, and the place of its scope.
    object: Option<(usize, ObjectKey)>,
}

/// Facts to be written anew.
pub(super) struct Amended {
    pub seq: i64,
    /// What is wrong with those that are stored.
    pub stored: &'static str,
    pub restated: Restated,
    pub text: String,
}

impl Derived {
    /// The id of the payment that an event belongs to.
    pub fn payment_of(&self, stated: &Stated) -> Option<&str> {
        let (scope, key) = stated.object.as_ref()?;
        self.ledger.owner(&self.scopes[*scope], key)
    }

    fn scope_index(&mut self, scope: &Scope) -> usize {
        self.scopes.iter().position(|known| known == scope).unwrap_or_else(|| {
            self.scopes.push(scope.clone());
            self.scopes.len() - 1
        })
    }
}

pub(super) fn derive(tx: &Tx<'_>, account: &AccountId, restate: Restate, progress: &AtomicU64) -> Result<Derived> {
    let (stated, amended, lost, scopes) = Default::default();
    let mut derived = Derived { ledger: Ledger::of_inputs(), stated, amended, lost, scopes };
    put_registered(tx, account, &mut derived.ledger)?;
    let mut after = 0;
    loop {
        let page = events(tx, account, after)?;
        let Some(last) = page.last() else { return Ok(derived) };
        after = last.event.seq;
        progress.fetch_add(page.len() as u64, Ordering::Relaxed);
        for stored in page {
            put_event(&mut derived, stored, restate)?;
        }
    }
}

/// What the application registered, before anything that gateways said of it: the end is
/// the same.
fn put_registered(tx: &Tx<'_>, account: &AccountId, ledger: &mut Ledger) -> Result<()> {
    let orders =
        "SELECT id, amount_due, currency FROM merchant_order WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3";
    let bookings = "SELECT id FROM booking WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3";
    let payments =
        "SELECT id, registration FROM payment_registration WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3";
    each_page(tx, account, orders, |row, id| {
        if let Some(due) = read_due(row.get(1)?, row.get(2)?, id)? {
            ledger.register_order(id, due);
        }
        Ok(())
    })?;
    let mut ids = Vec::new();
    each_page(tx, account, bookings, |_, id| {
        ids.push(id.to_owned());
        Ok(())
    })?;
    for id in ids {
        if let Some(inputs) = load::booking(tx, account, &id)? {
            ledger.register_booking(&id, inputs);
        }
    }
    let nowhere = Scope { account: account.clone(), gateway: String::new(), mode: Mode::Live };
    each_page(tx, account, payments, |row, id| {
        let registration: Registration =
            serde_json::from_str(row.str(1)?).map_err(|error| Error::corrupt("payment_registration", id, error))?;
        ledger.register(&nowhere, id, registration);
        Ok(())
    })
}

/// Every row of a query by id, whose first column it is.
fn each_page(
    tx: &Tx<'_>,
    account: &AccountId,
    sql: &'static str,
    mut each: impl FnMut(&Row<'_>, &str) -> Result<()>,
) -> Result<()> {
    let mut after = String::new();
    loop {
        let page = values![account.as_str(), after.as_str(), ROWS_PAGE];
        let ids: Vec<String> = tx.query(sql, &page, |row| {
            let id: String = row.get(0)?;
            each(row, &id)?;
            Ok(id)
        })?;
        let Some(last) = ids.last() else { return Ok(()) };
        after.clone_from(last);
    }
}

/// An event's rows.
struct Rows {
    event: StoredEvent,
    /// Whether it was applied, and nothing came since.
    is_settled: bool,
    /// Whether it was ever read. What was kept only to be ignored never was.
    is_stated: bool,
    facts: Option<StoredFacts>,
}

struct StoredFacts {
    text: String,
    payment: Option<i64>,
    object_id: Option<String>,
    needs_fetch: bool,
}

/// One statement, so that it sees one state of the database: a rendering that came since
/// the event was applied shows in the event's row too.
macro_rules! events_with_bodies {
    ($body_join:literal) => {
        concat!(
            "SELECT e.seq, e.gateway, e.mode, e.creates, e.holds_mismatch, e.received_at, e.state, e.due_at IS NULL,
                    e.error IS NULL, f.facts, f.payment, f.object_id, f.needs_fetch, b.body, r.body
             FROM (SELECT * FROM event WHERE account = $1 AND seq > $2 ORDER BY seq LIMIT $3) e
             LEFT JOIN event_facts f ON f.account = e.account AND f.seq = e.seq
             LEFT JOIN event_body b ON ",
            $body_join,
            " LEFT JOIN event_rendering r ON r.account = e.account AND r.seq = e.seq
             ORDER BY e.seq, r.api_version"
        )
    };
}

fn events(tx: &Tx<'_>, account: &AccountId, after: i64) -> Result<Vec<Rows>> {
    let sql = if tx.is_postgres() {
        events_with_bodies!("b.account = e.account AND b.seq = e.seq AND b.received_at = e.received_at")
    } else {
        events_with_bodies!("b.seq = e.seq")
    };
    let mut events: Vec<Rows> = Vec::new();
    tx.query(sql, &values![account.as_str(), after, EVENTS_PAGE], |row| {
        let seq: i64 = row.get(0)?;
        if events.last().is_none_or(|last| last.event.seq != seq) {
            events.push(read_event(account, row, seq)?);
        }
        let (Some(last), Some(rendering)) = (events.last_mut(), row.get::<Option<Vec<u8>>>(14)?) else { return Ok(()) };
        // Where one was dropped by age it cannot be read again, whatever else is left.
        if rendering.is_empty() {
            last.event.bodies.clear();
        } else if !last.event.bodies.is_empty() {
            last.event.bodies.push(rendering);
        }
        Ok(())
    })?;
    Ok(events)
}

fn read_event(account: &AccountId, row: &Row<'_>, seq: i64) -> Result<Rows> {
    let facts: Option<String> = row.get(9)?;
    let facts = match facts {
        None => None,
        Some(text) => {
            Some(StoredFacts { text, payment: row.get(10)?, object_id: row.get(11)?, needs_fetch: row.get(12)? })
        }
    };
    let state = EventState::parse(row.str(6)?).ok_or_else(|| Error::corrupt("event", seq, "its state is unknown"))?;
    let was_read = match state {
        EventState::Applied | EventState::Waiting => true,
        EventState::Ignored => row.get(8)?,
        EventState::Pending | EventState::Failed | EventState::Dead => false,
    };
    Ok(Rows {
        is_settled: row.get(7)?,
        is_stated: was_read || facts.is_some(),
        facts,
        event: StoredEvent {
            seq,
            scope: read_scope(account, row.get(1)?, row.str(2)?, "event", seq)?,
            creates: row.get(3)?,
            holds_mismatch: row.get(4)?,
            received_at: Timestamp::from_micros(row.get(5)?),
            bodies: row.get::<Option<Vec<u8>>>(13)?.into_iter().collect(),
        },
    })
}

fn put_event(derived: &mut Derived, stored: Rows, restate: Restate) -> Result<()> {
    let Rows { event, is_settled, is_stated, facts: stored } = stored;
    if !is_stated {
        return Ok(());
    }
    let seq = event.seq;
    let known = stored.as_ref().and_then(|stored| read_facts(&stored.text, "event_facts", seq).ok());
    // What came since it was applied is left to be applied: somebody may have to be told.
    let restated = Some(&event).filter(|event| is_settled && !event.bodies.is_empty()).and_then(restate);
    let facts = match (restated, known) {
        (Some(restated), known) => {
            let facts = restated.facts.clone();
            if let Some(wrong) = what_differs(stored.as_ref(), known.as_ref(), &restated) {
                let text = write::facts_text(&restated.facts)?;
                derived.amended.push(Amended { seq, stored: wrong, restated, text });
            }
            facts
        }
        (None, Some(known)) => known,
        (None, None) => {
            derived.lost.push(Difference {
                account: event.scope.account.clone(),
                subject: format!("event {seq}"),
                stored: if stored.is_some() { "unreadable facts" } else { "no facts" }.to_owned(),
                derived: "unknown: its body is gone, or cannot be read".to_owned(),
            });
            return Ok(());
        }
    };
    let scope = derived.scope_index(&event.scope);
    let object = facts.primary().map(|(kind, id)| (scope, ObjectKey::new(kind, id)));
    derived.stated.push(Stated { seq, payment: stored.and_then(|stored| stored.payment), object });
    derived.ledger.apply(&EventFacts { scope: event.scope, facts, decides: false });
    Ok(())
}

fn what_differs(stored: Option<&StoredFacts>, known: Option<&Facts>, restated: &Restated) -> Option<&'static str> {
    let (Some(stored), known) = (stored, known) else { return Some("no facts") };
    let Some(known) = known else { return Some("unreadable facts") };
    if *known != restated.facts {
        Some("other facts")
    } else if (&stored.object_id, stored.needs_fetch) != (&restated.object_id, restated.needs_fetch) {
        Some("another object")
    } else {
        None
    }
}
