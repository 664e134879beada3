//! What a transaction has to know before it folds: the part of an account's state that
//! a batch, or something that is registered, can touch.

use std::collections::BTreeSet;

use domain::booking::{BookingInputs, BookingTerms, Claim, Days, OnConflict};
use domain::money::Minor;
use domain::{AccountId, Currency, EventFacts, Facts, Ledger, ObjectKey, ReferenceKind, Scope};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::apply::{read_due, read_facts, read_scope};
use crate::write::Numbers;
use crate::{Error, Result};

/// Payments, orders and bookings in memory, and the payments' numbers.
#[derive(Debug, Default)]
pub(crate) struct WorkingSet {
    pub ledger: Ledger,
    pub numbers: Numbers,
}

/// Reads into a working set. Payments first, then what depends on them.
pub(crate) struct Loader<'a> {
    connection: &'a Connection,
    account: &'a AccountId,
    set: WorkingSet,
    order_ids: BTreeSet<String>,
    booking_ids: BTreeSet<String>,
    /// Whether anybody registers payments, or bookings. Those who do not pay nothing for it.
    has_names: bool,
    has_bookings: bool,
}

const BY_ID: &str = "SELECT number, id, gateway, mode, facts FROM payment WHERE account = ? AND id = ?";
const BY_ORDER: &str = "SELECT number, id, gateway, mode, facts FROM payment WHERE account = ? AND order_id = ?";
const BY_BOOKING: &str = "SELECT number, id, gateway, mode, facts FROM payment WHERE account = ? AND booking_id = ?";
const BOOKING: &str =
    "SELECT resource_id, starts_on, ends_on, amount, currency, on_conflict, released, canceled, claim,
           lost_to FROM booking WHERE account = ? AND id = ?";

impl<'a> Loader<'a> {
    pub fn new(connection: &'a Connection, account: &'a AccountId) -> Result<Self> {
        let sql = "SELECT EXISTS (SELECT 1 FROM payment_name), EXISTS (SELECT 1 FROM booking)";
        let (has_names, has_bookings) =
            connection.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (set, order_ids, booking_ids) = Default::default();
        Ok(Self { connection, account, set, order_ids, booking_ids, has_names, has_bookings })
    }

    /// Everything that these events can touch.
    pub fn events<'e>(&mut self, events: impl Iterator<Item = &'e EventFacts> + Clone) -> Result<()> {
        let keys: BTreeSet<(&Scope, ObjectKey)> =
            events.clone().flat_map(|event| event.facts.keys().into_iter().map(|key| (&event.scope, key))).collect();
        let sql = "SELECT payment_id FROM gateway_object
                   WHERE account = ? AND gateway = ? AND mode = ? AND object_id = ? AND kind = ?";
        let mut owner = self.connection.prepare_cached(sql)?;
        let mut payment_ids = BTreeSet::new();
        for (scope, key) in keys {
            let object = params![self.account.as_str(), scope.gateway, scope.mode.as_str(), key.id, key.kind.as_str()];
            if let Some(payment_id) = owner.query_row(object, |row| row.get::<_, String>(0)).optional()? {
                payment_ids.insert(payment_id.clone());
                self.set.ledger.load_owner(scope.clone(), key, payment_id);
            }
        }
        drop(owner);
        if self.has_names {
            for event in events.clone() {
                payment_ids.extend(self.names(&event.facts)?);
            }
        }
        self.payments(BY_ID, &payment_ids)?;
        if let Some(id) = payment_ids.iter().find(|id| !self.set.ledger.payments().contains_key(*id)) {
            return Err(Error::corrupt("payment", id, "objects of the gateway belong to it, but it is not there"));
        }
        for event in events {
            self.order_ids.extend(event.facts.order_ids().into_iter().map(str::to_owned));
            self.order_ids.extend(event.facts.wanted_orders().map(str::to_owned));
            if self.has_bookings {
                self.booking_ids.extend(event.facts.booking_ids().into_iter().map(str::to_owned));
                self.sessions(&event.facts)?;
            }
        }
        Ok(())
    }

    /// Payments that are registered under names which these facts mention.
    fn names(&mut self, facts: &Facts) -> Result<BTreeSet<String>> {
        let sql = "SELECT kind, payment_id FROM payment_name WHERE account = ? AND name = ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut payment_ids = BTreeSet::new();
        for name in facts.mentions().into_iter().map(|(_, name)| name).collect::<BTreeSet<_>>() {
            let mut rows = statement.query(params![self.account.as_str(), name])?;
            while let Some(row) = rows.next()? {
                let (kind, payment_id): (String, String) = (row.get(0)?, row.get(1)?);
                let kind = ReferenceKind::parse(&kind)
                    .ok_or_else(|| Error::corrupt("payment_name", name, format!("{kind:?} is no kind of name")))?;
                payment_ids.insert(payment_id.clone());
                self.set.ledger.load_name(name.to_owned(), kind, payment_id);
            }
        }
        Ok(payment_ids)
    }

    /// Bookings whose checkout sessions these facts describe.
    fn sessions(&mut self, facts: &Facts) -> Result<()> {
        let sql = "SELECT booking_id FROM booking_session WHERE account = ? AND session_id = ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        for session in facts.sessions.keys() {
            let booking = statement.query_row(params![self.account.as_str(), session], |row| row.get(0)).optional()?;
            self.booking_ids.extend(booking);
        }
        Ok(())
    }

    /// A payment by its id, if it is there.
    pub fn payment(&mut self, id: &str) -> Result<()> {
        self.payments(BY_ID, &BTreeSet::from([id.to_owned()]))
    }

    pub fn order(&mut self, id: &str) {
        self.order_ids.insert(id.to_owned());
    }

    pub fn booking(&mut self, id: &str) {
        self.booking_ids.insert(id.to_owned());
    }

    /// Payments that gateways' statements made and that one of these names may mean.
    pub fn found_by(&mut self, names: &BTreeSet<String>, kind: &str) -> Result<()> {
        let by_object = "SELECT payment_id FROM gateway_object WHERE object_id = ?2 AND account = ?1";
        let by_mention = "SELECT payment_id FROM wanted_name WHERE name = ?2 AND account = ?1 AND kind = ?3";
        let mut payment_ids = BTreeSet::new();
        for name in names {
            let mut statement = self.connection.prepare_cached(by_object)?;
            let found = statement.query_map(params![self.account.as_str(), name], |row| row.get(0))?;
            payment_ids.extend(found.collect::<rusqlite::Result<Vec<String>>>()?);
            let mut statement = self.connection.prepare_cached(by_mention)?;
            let found = statement.query_map(params![self.account.as_str(), name, kind], |row| row.get(0))?;
            payment_ids.extend(found.collect::<rusqlite::Result<Vec<String>>>()?);
        }
        // What only mentioned a name may have become part of another payment since.
        self.payments(BY_ID, &payment_ids)
    }

    fn payments(&mut self, sql: &str, keys: &BTreeSet<String>) -> Result<()> {
        let mut statement = self.connection.prepare_cached(sql)?;
        for key in keys {
            let mut rows = statement.query(params![self.account.as_str(), key])?;
            while let Some(row) = rows.next()? {
                let id: String = row.get(1)?;
                if self.set.numbers.contains_key(&id) {
                    continue;
                }
                let mode: String = row.get(3)?;
                let scope = read_scope(self.account, row.get(2)?, &mode, "payment", &id)?;
                let facts = row.get_ref(4)?.as_str().map_err(|error| Error::corrupt("payment", &id, error))?;
                let facts = read_facts(facts, "payment", &id)?;
                self.order_ids.extend(facts.order_ids().into_iter().map(str::to_owned));
                self.order_ids.extend(facts.wanted_orders().map(str::to_owned));
                self.booking_ids.extend(facts.booking_ids().into_iter().map(str::to_owned));
                self.booking_ids.extend(facts.bookings.keys().cloned());
                self.set.ledger.load_payment(scope, facts);
                self.set.numbers.insert(id, row.get(0)?);
            }
        }
        Ok(())
    }

    /// Bookings and orders, each with all of its payments.
    pub fn finish(mut self) -> Result<WorkingSet> {
        if !self.has_bookings {
            self.booking_ids.clear();
        }
        let booking_ids = std::mem::take(&mut self.booking_ids);
        self.payments(BY_BOOKING, &booking_ids)?;
        let mut order_ids = BTreeSet::new();
        loop {
            let found: BTreeSet<String> = std::mem::take(&mut self.order_ids);
            let new: BTreeSet<String> = found.difference(&order_ids).cloned().collect();
            if new.is_empty() {
                break;
            }
            self.payments(BY_ORDER, &new)?;
            if self.has_names {
                self.names_of_unregistered()?;
            }
            order_ids.extend(new);
        }
        let sql = "SELECT amount_due, currency FROM merchant_order WHERE account = ? AND id = ?";
        let mut order = self.connection.prepare_cached(sql)?;
        for id in order_ids {
            let row = params![self.account.as_str(), id];
            let stored = order.query_row(row, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            if let Some((amount, currency)) = stored {
                let due = read_due(amount, currency, &id)?;
                self.set.ledger.load_order(id, due);
            }
        }
        drop(order);
        for id in booking_ids {
            if let Some(inputs) = booking(self.connection, self.account, &id)? {
                self.held_days(&inputs.terms)?;
                self.set.ledger.load_booking(id, inputs);
            }
        }
        Ok(self.set)
    }

    /// So that an unregistered payment of an order is not taken by the order where
    /// another one is named.
    fn names_of_unregistered(&mut self) -> Result<()> {
        let unregistered = self.set.ledger.payments().values().filter(|entry| entry.facts.registration().is_none());
        let facts: Vec<Facts> = unregistered.map(|entry| entry.facts.clone()).collect();
        for facts in facts {
            let meant = self.names(&facts)?;
            self.payments(BY_ID, &meant)?;
        }
        Ok(())
    }

    /// Days that confirmed bookings hold, of those that this one wants.
    pub fn held_days(&mut self, wanted: &BookingTerms) -> Result<()> {
        let sql = "SELECT id, starts_on, ends_on FROM booking
                   WHERE resource_id = ? AND account = ? AND status = 'confirmed' AND ends_on > ? AND starts_on < ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        let days = &wanted.days;
        let mut rows = statement.query(params![wanted.resource_id, self.account.as_str(), days.start(), days.end()])?;
        while let Some(row) = rows.next()? {
            let id: String = row.get(0)?;
            let days = read_days(row.get(1)?, row.get(2)?, &id)?;
            self.set.ledger.load_held_days(wanted.resource_id.clone(), days, id);
        }
        Ok(())
    }
}

fn read_days(start: String, end: String, id: &str) -> Result<Days> {
    Days::parse(&start, &end).ok_or_else(|| Error::corrupt("booking", id, format!("{start} to {end} are no days")))
}

/// What a stored booking is a function of, if it is there.
pub(crate) fn booking(connection: &Connection, account: &AccountId, id: &str) -> Result<Option<BookingInputs>> {
    let mut statement = connection.prepare_cached(BOOKING)?;
    let mut rows = statement.query(params![account.as_str(), id])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let mut inputs = booking_inputs(row, id)?;
    let sql = "SELECT session_id, vouched FROM booking_session WHERE account = ? AND booking_id = ?";
    let mut statement = connection.prepare_cached(sql)?;
    let mut sessions = statement.query(params![account.as_str(), id])?;
    while let Some(row) = sessions.next()? {
        let terms = &mut inputs.terms;
        let known = if row.get(1)? { &mut terms.session_ids } else { &mut terms.hinted_session_ids };
        known.insert(row.get(0)?);
    }
    Ok(Some(inputs))
}

fn booking_inputs(row: &Row<'_>, id: &str) -> Result<BookingInputs> {
    let corrupt = |why: &str| Error::corrupt("booking", id, why);
    let on_conflict: String = row.get(5)?;
    let claim: Option<String> = row.get(8)?;
    let claim = match claim.as_deref() {
        None => None,
        Some("won") => Some(Claim::Won),
        Some("lost") => Some(Claim::Lost(row.get::<_, Option<String>>(9)?.unwrap_or_default())),
        Some(_) => return Err(corrupt("its claim is neither won nor lost")),
    };
    let currency: Option<String> = row.get(4)?;
    Ok(BookingInputs {
        terms: BookingTerms {
            resource_id: row.get(0)?,
            days: read_days(row.get(1)?, row.get(2)?, id)?,
            amount: row.get::<_, Option<i64>>(3)?.and_then(Minor::new),
            currency: currency.as_deref().and_then(Currency::parse),
            on_conflict: OnConflict::parse(&on_conflict).ok_or_else(|| corrupt("its on_conflict is unknown"))?,
            session_ids: BTreeSet::new(),
            hinted_session_ids: BTreeSet::new(),
            released: row.get(6)?,
        },
        claim,
        canceled: row.get(7)?,
    })
}
