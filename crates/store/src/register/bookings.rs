//! Resources, and bookings of their days.

use std::collections::BTreeSet;

use domain::booking::{BookingInputs, BookingTerms};
use domain::{AccountId, Change, Facts, Ledger, Timestamp};

use super::early::{Early, write_with_early};
use super::{Answer, Noun, Refusal, Registered, Tried};
use crate::connection::Tx;
use crate::load::{self, Loader, WorkingSet};
use crate::sql::values;
use crate::{Idempotency, Result, Store, write};

impl Store {
    pub async fn register_resource(
        &self,
        account: &AccountId,
        id: String,
        name: String,
        idempotency: Option<Idempotency>,
        now: Timestamp,
    ) -> Result<Answer> {
        self.register(account, idempotency, now, move |tx, account| register_resource(tx, account, &id, &name, now))
            .await
    }

    pub async fn register_booking(
        &self,
        account: &AccountId,
        id: String,
        terms: BookingTerms,
        idempotency: Option<Idempotency>,
        now: Timestamp,
    ) -> Result<Answer> {
        self.register(account, idempotency, now, move |tx, account| register_booking(tx, account, &id, &terms, now))
            .await
    }

    /// Notes that a payer came back from this checkout session of the booking.
    pub async fn add_booking_session(
        &self,
        account: &AccountId,
        id: String,
        session_id: String,
        idempotency: Option<Idempotency>,
        now: Timestamp,
    ) -> Result<Answer> {
        self.register(account, idempotency, now, move |tx, account| add_session(tx, account, &id, &session_id, now))
            .await
    }

    /// Gives a booking up, and its days free.
    pub async fn cancel_booking(
        &self,
        account: &AccountId,
        id: String,
        idempotency: Option<Idempotency>,
        now: Timestamp,
    ) -> Result<Answer> {
        self.register(account, idempotency, now, move |tx, account| cancel(tx, account, &id, now)).await
    }
}

fn register_resource(tx: &Tx<'_>, account: &AccountId, id: &str, name: &str, now: Timestamp) -> Tried<Registered> {
    let sql = "SELECT name = $3 FROM resource WHERE account = $1 AND id = $2";
    let stored = tx.first(sql, &values![account.as_str(), id, name], |row| row.get(0))?;
    match stored {
        Some(true) => return Ok(Registered::Before(id.to_owned())),
        Some(false) => return Err(Refusal::Differs(Noun::Resource).into()),
        None => {}
    }
    let sql = "INSERT INTO resource (account, id, name, created_at) VALUES ($1, $2, $3, $4)";
    tx.execute(sql, &values![account.as_str(), id, name, now.micros()])?;
    Ok(Registered::New(id.to_owned()))
}

fn register_booking(
    tx: &Tx<'_>,
    account: &AccountId,
    id: &str,
    terms: &BookingTerms,
    now: Timestamp,
) -> Tried<Registered> {
    let sql = "SELECT EXISTS (SELECT 1 FROM resource WHERE account = $1 AND id = $2)";
    if !tx.holds(sql, &values![account.as_str(), &terms.resource_id])? {
        return Err(Refusal::Missing(Noun::Resource).into());
    }
    if let Some(stored) = load::booking(tx, account, id)? {
        let known = terms.session_ids.is_subset(&stored.terms.session_ids);
        let hinted = terms.hinted_session_ids.clone();
        let registered = BookingTerms { hinted_session_ids: hinted, released: false, ..stored.terms };
        let same = BookingTerms { session_ids: terms.session_ids.clone(), ..registered } == *terms;
        return match same && known {
            true => Ok(Registered::Before(id.to_owned())),
            false => Err(Refusal::Differs(Noun::Booking).into()),
        };
    }
    if session_taken(tx, account, id, &terms.session_ids)? {
        return Err(Refusal::SessionTaken.into());
    }
    let sessions = &terms.session_ids;
    let mut set = new_booking_set(tx, account, id, terms)?;
    if of_sessions(&set.ledger, sessions).any(|facts| !facts.bookings.is_empty() && !facts.bookings.contains_key(id)) {
        return Err(Refusal::SessionTaken.into());
    }
    let inputs = BookingInputs { terms: terms.clone(), claim: None, canceled: false };
    let change = set.ledger.register_booking(id, inputs);
    write_with_early(tx, account, set, vec![change], Early::Booking(id, sessions), now)?;
    Ok(Registered::New(id.to_owned()))
}

fn add_session(tx: &Tx<'_>, account: &AccountId, id: &str, session_id: &str, now: Timestamp) -> Tried<Registered> {
    let inputs = load::booking(tx, account, id)?.ok_or(Refusal::Missing(Noun::Booking))?;
    let terms = &inputs.terms;
    if terms.session_ids.contains(session_id) || terms.hinted_session_ids.contains(session_id) {
        return Ok(Registered::Before(id.to_owned()));
    }
    let sessions = BTreeSet::from([session_id.to_owned()]);
    if session_taken(tx, account, id, &sessions)? {
        return Err(Refusal::SessionTaken.into());
    }
    let mut set = booking_set(tx, account, id, &sessions)?;
    if of_sessions(&set.ledger, &sessions).any(|facts| facts.is_for_another_than(id)) {
        return Err(Refusal::SessionOfAnother.into());
    }
    let changes = set.ledger.add_hinted_session(id, session_id);
    write_with_early(tx, account, set, changes, Early::Booking(id, &sessions), now)?;
    Ok(Registered::New(id.to_owned()))
}

fn cancel(tx: &Tx<'_>, account: &AccountId, id: &str, now: Timestamp) -> Tried<Registered> {
    let mut set = booking_set(tx, account, id, &BTreeSet::new())?;
    let entry = set.ledger.bookings().get(id).ok_or(Refusal::Missing(Noun::Booking))?;
    if entry.inputs.canceled {
        return Ok(Registered::Before(id.to_owned()));
    }
    let changes: Vec<Change> = set.ledger.cancel_booking(id).into_iter().collect();
    write::all(tx, account, &mut set, &changes, &[], &[], now)?;
    Ok(Registered::New(id.to_owned()))
}

fn session_taken(tx: &Tx<'_>, account: &AccountId, id: &str, sessions: &BTreeSet<String>) -> Result<bool> {
    let sql =
        "SELECT EXISTS (SELECT 1 FROM booking_session WHERE account = $1 AND session_id = $2 AND booking_id <> $3)";
    for session in sessions {
        if tx.holds(sql, &values![account.as_str(), session, id])? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is known of the payments of these checkout sessions.
fn of_sessions<'a>(ledger: &'a Ledger, sessions: &'a BTreeSet<String>) -> impl Iterator<Item = &'a Facts> {
    let facts = ledger.payments().values().map(|entry| &entry.facts);
    facts.filter(|facts| facts.sessions.keys().any(|session| sessions.contains(session)))
}

/// A booking with its payments, and those of these sessions.
fn booking_set(tx: &Tx<'_>, account: &AccountId, id: &str, sessions: &BTreeSet<String>) -> Result<WorkingSet> {
    let mut loader = Loader::new(tx, account)?;
    loader.booking(id);
    loader.found_by(sessions, "booking")?;
    loader.finish()
}

fn new_booking_set(tx: &Tx<'_>, account: &AccountId, id: &str, terms: &BookingTerms) -> Result<WorkingSet> {
    let mut loader = Loader::new(tx, account)?;
    let names: BTreeSet<String> = terms.session_ids.iter().cloned().chain([id.to_owned()]).collect();
    loader.found_by(&names, "booking")?;
    loader.held_days(terms)?;
    loader.finish()
}
