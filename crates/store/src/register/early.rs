//! What gateways said before the application registered what it means.

use std::collections::{BTreeSet, HashSet};

use domain::ledger::Entry;
use domain::{AccountId, Change, EventFacts, Facts, Ledger, Outcome, Timestamp};

use super::{Tried, Undone};
use crate::apply::{read_facts, read_scope};
use crate::connection::Tx;
use crate::load::WorkingSet;
use crate::sql::values;
use crate::{Prepared, Result, write};

/// For what gateways' statements may have come early.
pub(super) enum Early<'a> {
    Payment(&'a str),
    Order(&'a str),
    Booking(&'a str, &'a BTreeSet<String>),
}

impl Early<'_> {
    /// Payments that it concerns.
    fn payments(&self, ledger: &Ledger) -> Vec<String> {
        let concerned = |test: &dyn Fn(&Facts) -> bool| {
            let entries = ledger.payments().iter().filter(|(_, entry)| test(&entry.facts));
            entries.map(|(id, _)| id.clone()).collect()
        };
        match self {
            Self::Payment(id) => ledger.claimants(id),
            Self::Order(id) => concerned(&|facts| facts.wanted_orders().any(|wanted| wanted == *id) && !facts.creates),
            Self::Booking(id, sessions) => concerned(&|facts| {
                let named = facts.booking_ids().contains(id) || facts.sessions.keys().any(|s| sessions.contains(s));
                named && facts.bookings.is_empty()
            }),
        }
    }
}

/// Lets what came early join, and writes all of it. What nobody asked for before is
/// applied event by event, so that its history is the one that it would have had.
pub(super) fn write_with_early(
    tx: &Tx<'_>,
    account: &AccountId,
    mut set: WorkingSet,
    mut changes: Vec<Change>,
    early: Early<'_>,
    now: Timestamp,
) -> Tried<()> {
    let leads_to = if let Early::Payment(id) = early { Some(id) } else { None };
    let concerned = early.payments(&set.ledger);
    // What an endpoint that makes payments took in has its history; what it could not make a
    // payment of waits like the rest.
    let has_history = |entry: &Entry| entry.payment.visible || entry.facts.is_known() && !entry.facts.has_statement();
    let (known, unknown): (Vec<String>, Vec<String>) =
        concerned.into_iter().partition(|id| set.ledger.payments().get(id).is_some_and(has_history));
    for id in &known {
        changes.extend(set.ledger.rejoin(id));
    }
    let mut events: Vec<Prepared> = Vec::new();
    for id in &unknown {
        let number = set.numbers.get(id).copied().unwrap_or_default();
        let locked = lock_stated(tx, account, number)?;
        let stated = stated_of(tx, account, number)?;
        if locked.is_some_and(|locked| stated.iter().any(|event| !locked.contains(&event.seq))) {
            return Err(Undone::Overtaken);
        }
        events.extend(stated);
        set.ledger.forget(id, leads_to);
    }
    events.sort_by_key(|event| event.seq);
    let outcomes: Vec<Option<Outcome>> = events.iter().map(|event| Some(set.ledger.apply(&event.facts))).collect();
    write::all(tx, account, &mut set, &changes, &events, &outcomes, now)?;
    Ok(())
}

/// The events that stated something about a payment, but for those that another
/// transaction has. They are not waited for: an applying transaction locks its events
/// before the account, which is locked here, so that it would wait for this one too.
/// `None` on SQLite: nobody else writes.
fn lock_stated(tx: &Tx<'_>, account: &AccountId, number: i64) -> Result<Option<HashSet<i64>>> {
    if !tx.is_postgres() {
        return Ok(None);
    }
    let sql = "SELECT e.seq FROM event e
               WHERE e.account = $1
                 AND e.seq IN (SELECT f.seq FROM event_facts f WHERE f.account = $1 AND f.payment = $2)
               FOR NO KEY UPDATE OF e SKIP LOCKED";
    let locked = tx.query(sql, &values![account.as_str(), number], |row| row.get(0))?;
    Ok(Some(locked.into_iter().collect()))
}

/// What was stated about a payment so far, event by event.
fn stated_of(tx: &Tx<'_>, account: &AccountId, number: i64) -> Result<Vec<Prepared>> {
    let sql = "SELECT e.seq, e.gateway, e.mode, f.facts, f.object_id, f.needs_fetch, e.state = 'waiting'
               FROM event_facts f JOIN event e ON e.account = f.account AND e.seq = f.seq
               WHERE f.payment = $1 AND f.account = $2 ORDER BY f.seq";
    tx.query(sql, &values![number, account.as_str()], |row| {
        let seq: i64 = row.get(0)?;
        let text: String = row.get(3)?;
        let facts = EventFacts {
            scope: read_scope(account, row.get(1)?, row.str(2)?, "event", seq)?,
            facts: read_facts(&text, "event_facts", seq)?,
            decides: row.get(6)?,
        };
        Ok(Prepared { seq, due_at: None, facts, object_id: row.get(4)?, needs_fetch: row.get(5)?, text })
    })
}
