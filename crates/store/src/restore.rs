//! Deriving all state of an account again, from its stored events and from what was
//! registered, to compare it with what is stored or to put that right.

mod compare;
mod derive;
mod table;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use domain::{AccountId, Facts, Scope, Timestamp};

use crate::connection::Tx;
use crate::{Result, Store};

/// A stored event as it was delivered, all of its renderings.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    pub seq: i64,
    pub scope: Scope,
    pub creates: bool,
    pub holds_mismatch: bool,
    pub received_at: Timestamp,
    /// At least one.
    pub bodies: Vec<Vec<u8>>,
}

/// What an event's bodies say when they are read again.
#[derive(Clone, Debug)]
pub struct Restated {
    pub facts: Facts,
    pub object_id: Option<String>,
    pub needs_fetch: bool,
}

/// Reads an event again; `None` where its bodies cannot be read.
pub type Restate = fn(&StoredEvent) -> Option<Restated>;

/// Where what is stored differs from what the events say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub account: AccountId,
    /// `payment pay_…`, `order 6735`, `event 17`
    pub subject: String,
    pub stored: String,
    pub derived: String,
}

/// What deriving an account's state again came to.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    pub events: u64,
    pub payments: u64,
    pub orders: u64,
    pub bookings: u64,
    /// Put right, where that was asked for.
    pub differences: Vec<Difference>,
    /// Events of which neither the facts nor a body is left. What they said is not part
    /// of what was derived, so that nothing is put right where there are any.
    pub lost: Vec<Difference>,
}

impl Comparison {
    pub fn is_sound(&self) -> bool {
        self.differences.is_empty() && self.lost.is_empty()
    }

    /// Adds another account's.
    pub fn add(&mut self, other: Self) {
        let Self { events, payments, orders, bookings, differences, lost } = other;
        self.events += events;
        self.payments += payments;
        self.orders += orders;
        self.bookings += bookings;
        self.differences.extend(differences);
        self.lost.extend(lost);
    }
}

impl Store {
    /// Compares one state of the database with what is derived from its events, and writes
    /// nothing. `progress` counts the events that were read. All of the account's payments
    /// are in memory meanwhile.
    pub async fn check_state(
        &self,
        account: &AccountId,
        restate: Restate,
        progress: Arc<AtomicU64>,
    ) -> Result<Comparison> {
        let account = account.clone();
        let check = move |tx: &Tx<'_>| {
            let derived = derive::derive(tx, &account, restate, &progress)?;
            compare::compare(tx, &account, &derived, None)
        };
        self.reading.run(move |connection| connection.read(check)).await
    }

    /// As [`Self::check_state`], and writes what differs anew, all of it in one
    /// transaction. Until it ends nobody else changes the account's state: events that
    /// come in are accepted on PostgreSQL, and wait on SQLite, which has one writer.
    ///
    /// History is not rewritten. Where a status was not what it should be, a row is added
    /// that no event caused and that nobody is told of.
    pub async fn restore_state(
        &self,
        account: &AccountId,
        restate: Restate,
        progress: Arc<AtomicU64>,
        now: Timestamp,
    ) -> Result<Comparison> {
        let account = account.clone();
        let restore = move |tx: &Tx<'_>| {
            tx.lock_account(&account)?;
            let derived = derive::derive(tx, &account, restate, &progress)?;
            let now = derived.lost.is_empty().then_some(now);
            compare::compare(tx, &account, &derived, now)
        };
        self.applying.run(move |connection| connection.write(restore)).await
    }
}
