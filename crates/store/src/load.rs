//! What a transaction has to know before it folds: the part of an account's state that
//! a batch, or something that is registered, can touch.

use std::collections::{BTreeSet, HashSet};

use domain::booking::{BookingInputs, BookingTerms, Claim, Days, OnConflict};
use domain::money::Minor;
use domain::{AccountId, Currency, EventFacts, Facts, Ledger, ObjectKey, ReferenceKind, Scope};

use crate::apply::{read_due, read_facts, read_scope};
use crate::connection::{Row, Tx};
use crate::sql::{Many, values};
use crate::write::Numbers;
use crate::{Error, Result};

/// Payments, orders and bookings in memory, and the payments' numbers.
#[derive(Debug, Default)]
pub(crate) struct WorkingSet {
    pub ledger: Ledger,
    pub numbers: Numbers,
    /// Numbers of payments that were not there for the merchant yet.
    pub hidden: HashSet<i64>,
}

/// Reads into a working set. Payments first, then what depends on them.
pub(crate) struct Loader<'a> {
    tx: &'a Tx<'a>,
    account: &'a AccountId,
    set: WorkingSet,
    order_ids: BTreeSet<String>,
    booking_ids: BTreeSet<String>,
    /// Whether anybody registers payments, or bookings. Those who do not pay nothing for it.
    has_names: bool,
    has_bookings: bool,
}

/// What is selected of a payment, by one of its columns.
macro_rules! payments_by {
    ($column:literal) => {
        Many {
            sqlite: concat!(
                "SELECT number, id, gateway, mode, facts FROM payment WHERE account = ?1 AND ",
                $column,
                " = ?2"
            ),
            postgres: concat!(
                "SELECT p.number, p.id, p.gateway, p.mode, p.facts, k.n
                 FROM unnest($2::text[]) WITH ORDINALITY AS k (key, n)
                 JOIN payment p ON p.account = $1 AND p.",
                $column,
                " = k.key"
            ),
            types: "at",
        }
    };
}

static BY_ID: Many = payments_by!("id");
static BY_ORDER: Many = payments_by!("order_id");
static BY_BOOKING: Many = payments_by!("booking_id");
static OWNER: Many = Many {
    sqlite: "SELECT payment_id FROM gateway_object
             WHERE account = ?1 AND gateway = ?2 AND mode = ?3 AND object_id = ?4 AND kind = ?5",
    postgres: "SELECT o.payment_id, k.n
               FROM unnest($2::text[], $3::text[], $4::text[], $5::text[])
                    WITH ORDINALITY AS k (gateway, mode, object_id, kind, n)
               JOIN gateway_object o ON o.account = $1 AND o.gateway = k.gateway AND o.mode = k.mode
                    AND o.object_id = k.object_id AND o.kind = k.kind",
    types: "atttt",
};
static NAMED: Many = Many {
    sqlite: "SELECT kind, payment_id FROM payment_name WHERE account = ?1 AND name = ?2",
    postgres: "SELECT m.kind, m.payment_id, k.n
               FROM unnest($2::text[]) WITH ORDINALITY AS k (name, n)
               JOIN payment_name m ON m.account = $1 AND m.name = k.name",
    types: "at",
};
static OF_SESSION: Many = Many {
    sqlite: "SELECT booking_id FROM booking_session WHERE account = ?1 AND session_id = ?2",
    postgres: "SELECT s.booking_id, k.n
               FROM unnest($2::text[]) WITH ORDINALITY AS k (session_id, n)
               JOIN booking_session s ON s.account = $1 AND s.session_id = k.session_id",
    types: "at",
};
static DUE: Many = Many {
    sqlite: "SELECT amount_due, currency FROM merchant_order WHERE account = ?1 AND id = ?2",
    postgres: "SELECT o.amount_due, o.currency, k.n
               FROM unnest($2::text[]) WITH ORDINALITY AS k (id, n)
               JOIN merchant_order o ON o.account = $1 AND o.id = k.id",
    types: "at",
};

impl<'a> Loader<'a> {
    pub fn new(tx: &'a Tx<'a>, account: &'a AccountId) -> Result<Self> {
        let sql = "SELECT EXISTS (SELECT 1 FROM payment_name WHERE account = $1),
                          EXISTS (SELECT 1 FROM booking WHERE account = $1)";
        // Of all accounts on SQLite, whose keys do not begin with the account.
        let of_all = "SELECT EXISTS (SELECT 1 FROM payment_name), EXISTS (SELECT 1 FROM booking)";
        let flags = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let found = match tx.is_postgres() {
            true => tx.first(sql, &values![account.as_str()], flags)?,
            false => tx.first(of_all, &[], flags)?,
        };
        let (has_names, has_bookings) = found.unwrap_or((true, true));
        let (set, order_ids, booking_ids) = Default::default();
        Ok(Self { tx, account, set, order_ids, booking_ids, has_names, has_bookings })
    }

    /// Everything that these events can touch.
    pub fn events<'e>(&mut self, events: impl Iterator<Item = &'e EventFacts> + Clone) -> Result<()> {
        let keys: BTreeSet<(&Scope, ObjectKey)> =
            events.clone().flat_map(|event| event.facts.keys().into_iter().map(|key| (&event.scope, key))).collect();
        let keys: Vec<(&Scope, ObjectKey)> = keys.into_iter().collect();
        let objects = keys.iter().map(|(scope, key)| {
            values![self.account.as_str(), &scope.gateway, scope.mode.as_str(), &key.id, key.kind.as_str()]
        });
        let mut payment_ids = BTreeSet::new();
        let ledger = &mut self.set.ledger;
        self.tx.look_up(&OWNER, objects, |index, row| {
            let payment_id: String = row.get(0)?;
            payment_ids.insert(payment_id.clone());
            let (scope, key) = &keys[index];
            ledger.load_owner((*scope).clone(), key.clone(), payment_id);
            Ok(())
        })?;
        if self.has_names {
            payment_ids.extend(self.names(events.clone().map(|event| &event.facts))?);
        }
        self.payments(&BY_ID, &payment_ids)?;
        if let Some(id) = payment_ids.iter().find(|id| !self.set.ledger.payments().contains_key(*id)) {
            return Err(Error::corrupt("payment", id, "objects of the gateway belong to it, but it is not there"));
        }
        for event in events.clone() {
            self.order_ids.extend(event.facts.order_ids().into_iter().map(str::to_owned));
            self.order_ids.extend(event.facts.wanted_orders().map(str::to_owned));
            if self.has_bookings {
                self.booking_ids.extend(event.facts.booking_ids().into_iter().map(str::to_owned));
            }
        }
        if self.has_bookings { self.sessions(events.flat_map(|event| event.facts.sessions.keys())) } else { Ok(()) }
    }

    /// Payments that are registered under names which these facts mention.
    fn names<'f>(&mut self, facts: impl Iterator<Item = &'f Facts>) -> Result<BTreeSet<String>> {
        let names: BTreeSet<&str> =
            facts.flat_map(|facts| facts.mentions().into_iter().map(|(_, name)| name)).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let mut payment_ids = BTreeSet::new();
        let ledger = &mut self.set.ledger;
        self.tx.look_up(&NAMED, names.iter().map(|name| values![self.account.as_str(), *name]), |index, row| {
            let (kind, payment_id) = (row.str(0)?, row.get::<String>(1)?);
            let kind = ReferenceKind::parse(kind)
                .ok_or_else(|| Error::corrupt("payment_name", names[index], format!("{kind:?} is no kind of name")))?;
            payment_ids.insert(payment_id.clone());
            ledger.load_name(names[index].to_owned(), kind, payment_id);
            Ok(())
        })?;
        Ok(payment_ids)
    }

    /// Bookings whose checkout sessions these are.
    fn sessions<'f>(&mut self, sessions: impl Iterator<Item = &'f String>) -> Result<()> {
        let sessions = sessions.map(|session| values![self.account.as_str(), session]);
        let booking_ids = &mut self.booking_ids;
        self.tx.look_up(&OF_SESSION, sessions, |_, row| {
            booking_ids.insert(row.get(0)?);
            Ok(())
        })
    }

    /// A payment by its id, if it is there.
    pub fn payment(&mut self, id: &str) -> Result<()> {
        self.payments(&BY_ID, &BTreeSet::from([id.to_owned()]))
    }

    pub fn order(&mut self, id: &str) {
        self.order_ids.insert(id.to_owned());
    }

    pub fn booking(&mut self, id: &str) {
        self.booking_ids.insert(id.to_owned());
    }

    /// Payments that gateways' statements made and that one of these names may mean.
    pub fn found_by(&mut self, names: &BTreeSet<String>, kind: &str) -> Result<()> {
        let by_object = "SELECT payment_id FROM gateway_object WHERE object_id = $2 AND account = $1";
        let by_mention = "SELECT payment_id FROM wanted_name WHERE name = $2 AND account = $1 AND kind = $3";
        let mut payment_ids = BTreeSet::new();
        for name in names {
            let account = self.account.as_str();
            payment_ids.extend(self.tx.query(by_object, &values![account, name], |row| row.get(0))?);
            payment_ids.extend(self.tx.query(by_mention, &values![account, name, kind], |row| row.get(0))?);
        }
        // What only mentioned a name may have become part of another payment since.
        self.payments(&BY_ID, &payment_ids)
    }

    fn payments(&mut self, statement: &'static Many, keys: &BTreeSet<String>) -> Result<()> {
        let Self { tx, account, set, order_ids, booking_ids, .. } = self;
        tx.look_up(statement, keys.iter().map(|key| values![account.as_str(), key]), |_, row| {
            let id: String = row.get(1)?;
            if set.numbers.contains_key(&id) {
                return Ok(());
            }
            let scope = read_scope(account, row.get(2)?, row.str(3)?, "payment", &id)?;
            let facts = read_facts(row.str(4)?, "payment", &id)?;
            order_ids.extend(facts.order_ids().into_iter().map(str::to_owned));
            order_ids.extend(facts.wanted_orders().map(str::to_owned));
            booking_ids.extend(facts.booking_ids().into_iter().map(str::to_owned));
            booking_ids.extend(facts.bookings.keys().cloned());
            set.ledger.load_payment(scope, facts);
            let number = row.get(0)?;
            if set.ledger.payments().get(&id).is_some_and(|entry| !entry.payment.visible) {
                set.hidden.insert(number);
            }
            set.numbers.insert(id, number);
            Ok(())
        })
    }

    /// Bookings and orders, each with all of its payments.
    pub fn finish(mut self) -> Result<WorkingSet> {
        if !self.has_bookings {
            self.booking_ids.clear();
        }
        let booking_ids = std::mem::take(&mut self.booking_ids);
        self.payments(&BY_BOOKING, &booking_ids)?;
        let mut order_ids = BTreeSet::new();
        loop {
            let found: BTreeSet<String> = std::mem::take(&mut self.order_ids);
            let new: BTreeSet<String> = found.difference(&order_ids).cloned().collect();
            if new.is_empty() {
                break;
            }
            self.payments(&BY_ORDER, &new)?;
            if self.has_names {
                self.names_of_unregistered()?;
            }
            order_ids.extend(new);
        }
        let order_ids: Vec<String> = order_ids.into_iter().collect();
        let ledger = &mut self.set.ledger;
        self.tx.look_up(&DUE, order_ids.iter().map(|id| values![self.account.as_str(), id]), |index, row| {
            let due = read_due(row.get(0)?, row.get(1)?, &order_ids[index])?;
            ledger.load_order(order_ids[index].clone(), due);
            Ok(())
        })?;
        for id in booking_ids {
            if let Some(inputs) = booking(self.tx, self.account, &id)? {
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
        let meant = self.names(facts.iter())?;
        self.payments(&BY_ID, &meant)
    }

    /// Days that confirmed bookings hold, of those that this one wants.
    pub fn held_days(&mut self, wanted: &BookingTerms) -> Result<()> {
        let sql = "SELECT id, starts_on, ends_on FROM booking
                   WHERE resource_id = $1 AND account = $2 AND status = 'confirmed' AND ends_on > $3 AND starts_on < $4";
        let days = &wanted.days;
        let held = self.tx.query(
            sql,
            &values![&wanted.resource_id, self.account.as_str(), days.start(), days.end()],
            |row| {
                let id: String = row.get(0)?;
                Ok((read_days(row.get(1)?, row.get(2)?, &id)?, id))
            },
        )?;
        for (days, id) in held {
            self.set.ledger.load_held_days(wanted.resource_id.clone(), days, id);
        }
        Ok(())
    }
}

fn read_days(start: String, end: String, id: &str) -> Result<Days> {
    Days::parse(&start, &end).ok_or_else(|| Error::corrupt("booking", id, format!("{start} to {end} are no days")))
}

/// What a stored booking is a function of, if it is there.
pub(crate) fn booking(tx: &Tx<'_>, account: &AccountId, id: &str) -> Result<Option<BookingInputs>> {
    let stored =
        "SELECT resource_id, starts_on, ends_on, amount, currency, on_conflict, released, canceled, claim, lost_to
                  FROM booking WHERE account = $1 AND id = $2";
    let key = values![account.as_str(), id];
    let Some(mut inputs) = tx.first(stored, &key, |row| booking_inputs(row, id))? else { return Ok(None) };
    let sessions = "SELECT session_id, vouched FROM booking_session WHERE account = $1 AND booking_id = $2";
    for (session, vouched) in tx.query(sessions, &key, |row| Ok((row.get(0)?, row.get(1)?)))? {
        let terms = &mut inputs.terms;
        let known = if vouched { &mut terms.session_ids } else { &mut terms.hinted_session_ids };
        known.insert(session);
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
        Some("lost") => Some(Claim::Lost(row.get::<Option<String>>(9)?.unwrap_or_default())),
        Some(_) => return Err(corrupt("its claim is neither won nor lost")),
    };
    let currency: Option<String> = row.get(4)?;
    Ok(BookingInputs {
        terms: BookingTerms {
            resource_id: row.get(0)?,
            days: read_days(row.get(1)?, row.get(2)?, id)?,
            amount: row.get::<Option<i64>>(3)?.and_then(Minor::new),
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
