//! What the application registers. Each is one transaction, in which what gateways said
//! before joins what it turns out to mean: state, history and the events' states change
//! as if it had come after.

use std::collections::BTreeSet;

use domain::booking::{BookingInputs, BookingTerms};
use domain::ledger::Entry;
use domain::{
    AccountId, Change, EventFacts, Ledger, Mode, Money, Outcome, ReferenceKind, Registration, Scope, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use crate::apply::{read_facts, read_scope};
use crate::load::{self, Loader, WorkingSet};
use crate::{Error, Idempotency, Prepared, Result, Store, write};

/// What is there now, by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    New(String),
    /// It was registered before, and in the same way.
    Before(String),
    /// The same request came before; `was_new` is what it was answered then.
    Replayed {
        id: String,
        was_new: bool,
    },
}

impl Registered {
    pub fn id(&self) -> &str {
        match self {
            Self::New(id) | Self::Before(id) | Self::Replayed { id, .. } => id,
        }
    }
}

/// What the application registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noun {
    Order,
    Payment,
    Resource,
    Booking,
}

impl std::fmt::Display for Noun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Order => "order",
            Self::Payment => "payment",
            Self::Resource => "resource",
            Self::Booking => "booking",
        })
    }
}

/// Why nothing was registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this Idempotency-Key came with another request before")]
    KeyReused,
    #[error("this {0} is registered already, and differently")]
    Differs(Noun),
    #[error("another payment is registered under this {}", match .0 {
        ReferenceKind::Id => "id",
        ReferenceKind::Transaction => "transaction_id",
        ReferenceKind::External => "external_id",
        ReferenceKind::Gateway => "gateway_transaction_id",
    })]
    NameTaken(ReferenceKind),
    #[error("another booking has this session_id, or its payment")]
    SessionTaken,
    #[error("what this session_id paid is for another booking or an order")]
    SessionOfAnother,
    #[error("no such {0} is registered")]
    Missing(Noun),
    #[error("the payment is not held")]
    NotHeld,
}

/// The id under which a payment is to be registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewId {
    /// The application's own.
    Given(String),
    /// Made up for it. Where a payment of the same names and terms is there, that is the
    /// one.
    Made(String),
}

/// An order as the application registers it.
#[derive(Clone, Debug)]
pub struct NewOrder {
    pub id: String,
    pub due: Money,
    /// JSON objects.
    pub customer: Option<String>,
    pub metadata: Option<String>,
}

type Answer = std::result::Result<Registered, Refusal>;

impl Store {
    pub async fn register_order(
        &self,
        account: &AccountId,
        order: NewOrder,
        idempotency: Option<Idempotency>,
        now: Timestamp,
    ) -> Result<Answer> {
        self.register(account, idempotency, now, move |connection, account| {
            register_order(connection, account, &order, now)
        })
        .await
    }

    /// Registers a payment of an order.
    pub async fn register_payment(
        &self,
        account: &AccountId,
        id: NewId,
        registration: Registration,
        idempotency: Option<Idempotency>,
        now: Timestamp,
    ) -> Result<Answer> {
        self.register(account, idempotency, now, move |connection, account| {
            register_payment(connection, account, &id, &registration, now)
        })
        .await
    }

    /// Notes that a payment waits for a site outside of the application, which knows it
    /// by `external_id`.
    pub async fn expect_external(
        &self,
        account: &AccountId,
        id: String,
        external_id: String,
        idempotency: Option<Idempotency>,
        now: Timestamp,
    ) -> Result<Answer> {
        self.register(account, idempotency, now, move |connection, account| {
            let Some((id, mut registration)) = registration(connection, account, &id)? else {
                return Ok(Err(Refusal::Missing(Noun::Payment)));
            };
            let known = registration.external_pending && registration.external_ids.contains(&external_id);
            registration.external_pending = true;
            registration.external_ids.insert(external_id.clone());
            if let Some(kind) = name_taken(connection, account, &id, &registration)? {
                return Ok(Err(Refusal::NameTaken(kind)));
            }
            put_payment(connection, account, &id, registration, now)?;
            Ok(Ok(if known { Registered::Before(id) } else { Registered::New(id) }))
        })
        .await
    }

    /// Accepts a payment that is held because less, or something else, was paid.
    pub async fn release_payment(
        &self,
        account: &AccountId,
        id: String,
        idempotency: Option<Idempotency>,
        now: Timestamp,
    ) -> Result<Answer> {
        self.register(account, idempotency, now, move |connection, account| release(connection, account, &id, now))
            .await
    }

    pub async fn register_resource(
        &self,
        account: &AccountId,
        id: String,
        name: String,
        idempotency: Option<Idempotency>,
        now: Timestamp,
    ) -> Result<Answer> {
        self.register(account, idempotency, now, move |connection, account| {
            let sql = "SELECT name FROM resource WHERE account = ? AND id = ?";
            let row = params![account.as_str(), id];
            let stored: Option<String> = connection.query_row(sql, row, |row| row.get(0)).optional()?;
            match stored {
                Some(stored) if stored == name => return Ok(Ok(Registered::Before(id))),
                Some(_) => return Ok(Err(Refusal::Differs(Noun::Resource))),
                None => {}
            }
            let sql = "INSERT INTO resource (account, id, name, created_at) VALUES (?, ?, ?, ?)";
            connection.execute(sql, params![account.as_str(), id, name, now.micros()])?;
            Ok(Ok(Registered::New(id)))
        })
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
        self.register(account, idempotency, now, move |connection, account| {
            register_booking(connection, account, &id, &terms, now)
        })
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
        self.register(account, idempotency, now, move |connection, account| {
            let Some(inputs) = load::booking(connection, account, &id)? else {
                return Ok(Err(Refusal::Missing(Noun::Booking)));
            };
            let terms = &inputs.terms;
            if terms.session_ids.contains(&session_id) || terms.hinted_session_ids.contains(&session_id) {
                return Ok(Ok(Registered::Before(id)));
            }
            let sessions = BTreeSet::from([session_id.clone()]);
            if session_taken(connection, account, &id, &sessions)? {
                return Ok(Err(Refusal::SessionTaken));
            }
            let mut set = booking_set(connection, account, &id, &sessions)?;
            if of_sessions(&set.ledger, &sessions).any(|facts| facts.is_for_another_than(&id)) {
                return Ok(Err(Refusal::SessionOfAnother));
            }
            let changes = set.ledger.add_hinted_session(&id, &session_id);
            write_with_early(connection, account, set, changes, Early::Booking(&id, &sessions), now)?;
            Ok(Ok(Registered::New(id)))
        })
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
        self.register(account, idempotency, now, move |connection, account| {
            let mut set = booking_set(connection, account, &id, &BTreeSet::new())?;
            let Some(entry) = set.ledger.bookings().get(&id) else { return Ok(Err(Refusal::Missing(Noun::Booking))) };
            if entry.inputs.canceled {
                return Ok(Ok(Registered::Before(id)));
            }
            let changes: Vec<Change> = set.ledger.cancel_booking(&id).into_iter().collect();
            write::all(connection, account, &mut set, &changes, &[], &[], now)?;
            Ok(Ok(Registered::New(id)))
        })
        .await
    }

    /// One transaction; what is refused leaves nothing behind.
    async fn register(
        &self,
        account: &AccountId,
        idempotency: Option<Idempotency>,
        now: Timestamp,
        work: impl FnOnce(&Connection, &AccountId) -> Result<Answer> + Send + 'static,
    ) -> Result<Answer> {
        let account = account.clone();
        let job = move |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if let Some(idempotency) = &idempotency
                && let Some(answer) = idempotency.said_before(&transaction, &account, now)?
            {
                return Ok(answer);
            }
            let answer = work(&transaction, &account)?;
            if let Ok(registered) = &answer {
                if let Some(idempotency) = &idempotency {
                    idempotency.remember(&transaction, &account, registered, now)?;
                }
                transaction.commit()?;
            }
            Ok(answer)
        };
        self.hot_writer.run_urgent(job).await
    }
}

fn register_order(connection: &Connection, account: &AccountId, order: &NewOrder, now: Timestamp) -> Result<Answer> {
    let NewOrder { id, due, customer, metadata } = order;
    let sql = "SELECT amount_due, currency, customer, metadata FROM merchant_order
               WHERE account = ? AND id = ? AND amount_due IS NOT NULL";
    type Stored = (i64, Option<String>, Option<String>, Option<String>);
    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    let stored: Option<Stored> = connection.query_row(sql, params![account.as_str(), id], read).optional()?;
    if let Some(stored) = stored {
        let asked = (due.amount.units(), Some(due.currency.code().to_owned()), customer.clone(), metadata.clone());
        let same = stored == asked;
        return Ok(if same { Ok(Registered::Before(id.clone())) } else { Err(Refusal::Differs(Noun::Order)) });
    }
    let mut loader = Loader::new(connection, account)?;
    loader.found_by(&BTreeSet::from([id.clone()]), "order")?;
    loader.order(id);
    let mut set = loader.finish()?;
    let changes = set.ledger.register_order(id, *due);
    write_with_early(connection, account, set, changes, Early::Order(id), now)?;
    let sql = "UPDATE merchant_order SET customer = ?, metadata = ? WHERE account = ? AND id = ?";
    connection.execute(sql, params![customer, metadata, account.as_str(), id])?;
    Ok(Ok(Registered::New(id.clone())))
}

fn register_payment(
    connection: &Connection,
    account: &AccountId,
    id: &NewId,
    asked: &Registration,
    now: Timestamp,
) -> Result<Answer> {
    let order_id = asked.terms.order_id.as_deref().unwrap_or_default();
    let sql = "SELECT EXISTS (SELECT 1 FROM merchant_order WHERE account = ? AND id = ?)";
    if !connection.query_row(sql, params![account.as_str(), order_id], |row| row.get::<_, bool>(0))? {
        return Ok(Err(Refusal::Missing(Noun::Order)));
    }
    let is_same = |stored: &Registration| {
        let known = |name| stored.names().any(|known| known == name);
        stored.terms == asked.terms && asked.names().all(known)
    };
    let id = match id {
        NewId::Given(id) => {
            if let Some((known_id, stored)) = registration(connection, account, id)? {
                let same = is_same(&stored);
                return Ok(if same { Ok(Registered::Before(known_id)) } else { Err(Refusal::Differs(Noun::Payment)) });
            }
            id
        }
        NewId::Made(id) => {
            for (kind, name) in asked.names() {
                if let Some(owner) = owner_of_name(connection, account, kind, name)?
                    && let Some((known_id, stored)) = registration(connection, account, &owner)?
                    && is_same(&stored)
                {
                    return Ok(Ok(Registered::Before(known_id)));
                }
            }
            id
        }
    };
    if let Some(kind) = name_taken(connection, account, id, asked)? {
        return Ok(Err(Refusal::NameTaken(kind)));
    }
    let derived = "SELECT EXISTS (SELECT 1 FROM payment WHERE account = ? AND id = ?)";
    if connection.query_row(derived, params![account.as_str(), id], |row| row.get(0))? {
        return Ok(Err(Refusal::Differs(Noun::Payment)));
    }
    put_payment(connection, account, id, asked.clone(), now)?;
    Ok(Ok(Registered::New(id.clone())))
}

fn register_booking(
    connection: &Connection,
    account: &AccountId,
    id: &str,
    terms: &BookingTerms,
    now: Timestamp,
) -> Result<Answer> {
    let sql = "SELECT EXISTS (SELECT 1 FROM resource WHERE account = ? AND id = ?)";
    if !connection.query_row(sql, params![account.as_str(), terms.resource_id], |row| row.get::<_, bool>(0))? {
        return Ok(Err(Refusal::Missing(Noun::Resource)));
    }
    if let Some(stored) = load::booking(connection, account, id)? {
        let known = terms.session_ids.is_subset(&stored.terms.session_ids);
        let hinted = terms.hinted_session_ids.clone();
        let registered = BookingTerms { hinted_session_ids: hinted, released: false, ..stored.terms };
        let same = BookingTerms { session_ids: terms.session_ids.clone(), ..registered } == *terms;
        return Ok(if same && known {
            Ok(Registered::Before(id.to_owned()))
        } else {
            Err(Refusal::Differs(Noun::Booking))
        });
    }
    if session_taken(connection, account, id, &terms.session_ids)? {
        return Ok(Err(Refusal::SessionTaken));
    }
    let sessions = &terms.session_ids;
    let mut set = new_booking_set(connection, account, id, terms)?;
    if of_sessions(&set.ledger, sessions).any(|facts| !facts.bookings.is_empty() && !facts.bookings.contains_key(id)) {
        return Ok(Err(Refusal::SessionTaken));
    }
    let inputs = BookingInputs { terms: terms.clone(), claim: None, canceled: false };
    let change = set.ledger.register_booking(id, inputs);
    write_with_early(connection, account, set, vec![change], Early::Booking(id, sessions), now)?;
    Ok(Ok(Registered::New(id.to_owned())))
}

fn release(connection: &Connection, account: &AccountId, id: &str, now: Timestamp) -> Result<Answer> {
    let id = &current_id(connection, account, id)?;
    let mut loader = Loader::new(connection, account)?;
    loader.payment(id)?;
    let mut set = loader.finish()?;
    let Some(entry) = set.ledger.payments().get(id) else { return Ok(Err(Refusal::Missing(Noun::Payment))) };
    if entry.payment.hold_reason.is_none() {
        let released = entry.facts.registrations.values().any(|registration| registration.released)
            || entry.facts.bookings.values().any(|booking| booking.released);
        return Ok(if released { Ok(Registered::Before(id.to_owned())) } else { Err(Refusal::NotHeld) });
    }
    let changes = set.ledger.release(id);
    write::all(connection, account, &mut set, &changes, &[], &[], now)?;
    Ok(Ok(Registered::New(id.to_owned())))
}

/// The id of a payment by one that it may have had before.
fn current_id(connection: &Connection, account: &AccountId, id: &str) -> Result<String> {
    let sql = "SELECT payment_id FROM payment_alias WHERE account = ? AND alias = ?";
    let current = connection.query_row(sql, params![account.as_str(), id], |row| row.get(0)).optional()?;
    Ok(current.unwrap_or_else(|| id.to_owned()))
}

/// A registered payment by its id, or by one that leads to it.
fn registration(connection: &Connection, account: &AccountId, id: &str) -> Result<Option<(String, Registration)>> {
    let id = current_id(connection, account, id)?;
    let sql = "SELECT registration FROM payment_registration WHERE account = ? AND id = ?";
    let text: Option<String> = connection.query_row(sql, params![account.as_str(), id], |row| row.get(0)).optional()?;
    let Some(text) = text else { return Ok(None) };
    let read = serde_json::from_str(&text).map_err(|error| Error::corrupt("payment_registration", &id, error))?;
    Ok(Some((id, read)))
}

fn owner_of_name(
    connection: &Connection,
    account: &AccountId,
    kind: ReferenceKind,
    name: &str,
) -> Result<Option<String>> {
    let sql = "SELECT payment_id FROM payment_name WHERE account = ? AND name = ? AND kind = ?";
    let row = params![account.as_str(), name, kind.as_str()];
    Ok(connection.query_row(sql, row, |row| row.get(0)).optional()?)
}

/// The kind of name under which another payment is registered already, or has taken what
/// has it.
fn name_taken(
    connection: &Connection,
    account: &AccountId,
    id: &str,
    registration: &Registration,
) -> Result<Option<ReferenceKind>> {
    // What a registered payment took is its own under whatever name.
    let taken = "SELECT EXISTS (SELECT 1 FROM gateway_object o
                     JOIN payment_registration r ON r.id = o.payment_id AND r.account = o.account
                     WHERE o.object_id = ? AND o.account = ? AND o.payment_id <> ?)";
    for (kind, name) in registration.names() {
        let is_taken = || connection.query_row(taken, params![name, account.as_str(), id], |row| row.get(0));
        if owner_of_name(connection, account, kind, name)?.is_some_and(|owner| owner != id) || is_taken()? {
            return Ok(Some(kind));
        }
    }
    Ok(None)
}

fn session_taken(connection: &Connection, account: &AccountId, id: &str, sessions: &BTreeSet<String>) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM booking_session WHERE account = ? AND session_id = ? AND booking_id <> ?)";
    for session in sessions {
        if connection.query_row(sql, params![account.as_str(), session, id], |row| row.get(0))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is known of the payments of these checkout sessions.
fn of_sessions<'a>(ledger: &'a Ledger, sessions: &'a BTreeSet<String>) -> impl Iterator<Item = &'a domain::Facts> {
    let facts = ledger.payments().values().map(|entry| &entry.facts);
    facts.filter(|facts| facts.sessions.keys().any(|session| sessions.contains(session)))
}

/// Puts in a registration, and with it what gateways said of it before.
fn put_payment(
    connection: &Connection,
    account: &AccountId,
    id: &str,
    registration: Registration,
    now: Timestamp,
) -> Result<()> {
    let mut loader = Loader::new(connection, account)?;
    loader.payment(id)?;
    let names = registration.names().map(|(_, name)| name.to_owned()).chain([id.to_owned()]).collect();
    loader.found_by(&names, "payment")?;
    if let Some(order_id) = &registration.terms.order_id {
        loader.order(order_id);
    }
    let mut set = loader.finish()?;
    let nowhere = Scope { account: account.clone(), gateway: String::new(), mode: Mode::Live };
    let changes = set.ledger.register_over(&nowhere, id, registration);
    write_with_early(connection, account, set, changes, Early::Payment(id), now)
}

/// A booking with its payments, and those of these sessions.
fn booking_set(
    connection: &Connection,
    account: &AccountId,
    id: &str,
    sessions: &BTreeSet<String>,
) -> Result<WorkingSet> {
    let mut loader = Loader::new(connection, account)?;
    loader.booking(id);
    loader.found_by(sessions, "booking")?;
    loader.finish()
}

fn new_booking_set(connection: &Connection, account: &AccountId, id: &str, terms: &BookingTerms) -> Result<WorkingSet> {
    let mut loader = Loader::new(connection, account)?;
    let names: BTreeSet<String> = terms.session_ids.iter().cloned().chain([id.to_owned()]).collect();
    loader.found_by(&names, "booking")?;
    loader.held_days(terms)?;
    loader.finish()
}

/// For what gateways' statements may have come early.
enum Early<'a> {
    Payment(&'a str),
    Order(&'a str),
    Booking(&'a str, &'a BTreeSet<String>),
}

impl Early<'_> {
    /// Payments that it concerns.
    fn payments(&self, ledger: &Ledger) -> Vec<String> {
        let concerned = |test: &dyn Fn(&domain::Facts) -> bool| {
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
fn write_with_early(
    connection: &Connection,
    account: &AccountId,
    mut set: WorkingSet,
    mut changes: Vec<Change>,
    early: Early<'_>,
    now: Timestamp,
) -> Result<()> {
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
        events.extend(stated_of(connection, account, number)?);
        set.ledger.forget(id, leads_to);
    }
    events.sort_by_key(|event| event.seq);
    let outcomes: Vec<Option<Outcome>> = events.iter().map(|event| Some(set.ledger.apply(&event.facts))).collect();
    write::all(connection, account, &mut set, &changes, &events, &outcomes, now)
}

/// What was stated about a payment so far, event by event.
fn stated_of(connection: &Connection, account: &AccountId, number: i64) -> Result<Vec<Prepared>> {
    let sql = "SELECT e.seq, e.gateway, e.mode, f.facts, f.object_id, f.needs_fetch, e.state = 'waiting'
               FROM event_facts f JOIN event e ON e.seq = f.seq WHERE f.payment = ? AND f.account = ? ORDER BY f.seq";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![number, account.as_str()])?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        let mode: String = row.get(2)?;
        let text: String = row.get(3)?;
        let facts = EventFacts {
            scope: read_scope(account, row.get(1)?, &mode, "event", seq)?,
            facts: read_facts(&text, "event_facts", seq)?,
            decides: row.get(6)?,
        };
        let (object_id, needs_fetch) = (row.get(4)?, row.get(5)?);
        events.push(Prepared { seq, due_at: None, facts, object_id, needs_fetch, text });
    }
    Ok(events)
}
