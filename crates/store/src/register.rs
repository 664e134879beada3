//! What the application registers. Each is one transaction, in which what gateways said
//! before joins what it turns out to mean: state, history and the events' states change
//! as if it had come after.

mod bookings;
mod early;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::{AccountId, Mode, Money, ReferenceKind, Registration, Scope, Timestamp};

use crate::connection::{Connection, Row, Tx};
use crate::load::Loader;
use crate::sql::values;
use crate::{Error, Idempotency, Result, Store, write};

use early::{Early, write_with_early};

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

/// What comes of a transaction that registers something, when it is tried.
type Tried<T> = std::result::Result<T, Undone>;

/// Why a transaction leaves nothing behind.
enum Undone {
    Refused(Refusal),
    /// Another transaction has an event that this one would have to change.
    Overtaken,
    Failed(Error),
}

impl From<Refusal> for Undone {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Error> for Undone {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// How often a registration is tried that is overtaken each time: for about a second.
const TRIES: usize = 24;
/// After the first try; after each it is doubled.
const WAIT_MIN: Duration = Duration::from_millis(5);
const WAIT_MAX: Duration = Duration::from_millis(50);

impl Store {
    pub async fn register_order(
        &self,
        account: &AccountId,
        order: NewOrder,
        idempotency: Option<Idempotency>,
        now: Timestamp,
    ) -> Result<Answer> {
        self.register(account, idempotency, now, move |tx, account| register_order(tx, account, &order, now)).await
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
        self.register(account, idempotency, now, move |tx, account| {
            register_payment(tx, account, &id, &registration, now)
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
        self.register(account, idempotency, now, move |tx, account| {
            expect_external(tx, account, &id, &external_id, now)
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
        self.register(account, idempotency, now, move |tx, account| release(tx, account, &id, now)).await
    }

    /// One transaction; what is refused leaves nothing behind. Tried again a few times
    /// where it is overtaken: whoever has the events goes on as soon as this one is undone.
    async fn register(
        &self,
        account: &AccountId,
        idempotency: Option<Idempotency>,
        now: Timestamp,
        work: impl Fn(&Tx<'_>, &AccountId) -> Tried<Registered> + Send + Sync + 'static,
    ) -> Result<Answer> {
        let account = account.clone();
        let work = Arc::new(move |tx: &Tx<'_>| {
            tx.lock_account(&account)?;
            if let Some(idempotency) = &idempotency
                && let Some(answer) = idempotency.said_before(tx, &account, now)?
            {
                return Ok(answer?);
            }
            let registered = work(tx, &account)?;
            if let Some(idempotency) = &idempotency {
                idempotency.remember(tx, &account, &registered, now)?;
            }
            Ok(registered)
        });
        let longer = |wait: &Duration| Some((*wait * 2).min(WAIT_MAX));
        let mut waits = std::iter::successors(Some(WAIT_MIN), longer).take(TRIES - 1);
        loop {
            let work = work.clone();
            let job = move |connection: &mut Connection| {
                connection.write_unless_refused(|tx| match work(tx) {
                    Err(Undone::Failed(error)) => Err(error),
                    tried => Ok(tried),
                })
            };
            match self.applying.run_urgent(job).await? {
                Ok(registered) => return Ok(Ok(registered)),
                Err(Undone::Refused(refusal)) => return Ok(Err(refusal)),
                Err(Undone::Failed(error)) => return Err(error),
                Err(Undone::Overtaken) => match waits.next() {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => return Err(Error::Unavailable("what it concerns is being applied just now".into())),
                },
            }
        }
    }
}

fn register_order(tx: &Tx<'_>, account: &AccountId, order: &NewOrder, now: Timestamp) -> Tried<Registered> {
    let NewOrder { id, due, customer, metadata } = order;
    let sql = "SELECT amount_due, currency, customer, metadata FROM merchant_order
               WHERE account = $1 AND id = $2 AND amount_due IS NOT NULL";
    type Stored = (i64, Option<String>, Option<String>, Option<String>);
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    let stored: Option<Stored> = tx.first(sql, &values![account.as_str(), id], read)?;
    if let Some(stored) = stored {
        let asked = (due.amount.units(), Some(due.currency.code().to_owned()), customer.clone(), metadata.clone());
        return if stored == asked {
            Ok(Registered::Before(id.clone()))
        } else {
            Err(Refusal::Differs(Noun::Order).into())
        };
    }
    let mut loader = Loader::new(tx, account)?;
    loader.found_by(&BTreeSet::from([id.clone()]), "order")?;
    loader.order(id);
    let mut set = loader.finish()?;
    let changes = set.ledger.register_order(id, *due);
    write_with_early(tx, account, set, changes, Early::Order(id), now)?;
    let sql = "UPDATE merchant_order SET customer = $3, metadata = $4 WHERE account = $1 AND id = $2";
    tx.execute(sql, &values![account.as_str(), id, customer, metadata])?;
    Ok(Registered::New(id.clone()))
}

fn register_payment(
    tx: &Tx<'_>,
    account: &AccountId,
    id: &NewId,
    asked: &Registration,
    now: Timestamp,
) -> Tried<Registered> {
    let order_id = asked.terms.order_id.as_deref().unwrap_or_default();
    let sql = "SELECT EXISTS (SELECT 1 FROM merchant_order WHERE account = $1 AND id = $2)";
    if !tx.holds(sql, &values![account.as_str(), order_id])? {
        return Err(Refusal::Missing(Noun::Order).into());
    }
    let is_same = |stored: &Registration| {
        let known = |name| stored.names().any(|known| known == name);
        stored.terms == asked.terms && asked.names().all(known)
    };
    let id = match id {
        NewId::Given(id) => {
            if let Some((known_id, stored)) = registration(tx, account, id)? {
                return if is_same(&stored) {
                    Ok(Registered::Before(known_id))
                } else {
                    Err(Refusal::Differs(Noun::Payment).into())
                };
            }
            id
        }
        NewId::Made(id) => {
            for (kind, name) in asked.names() {
                if let Some(owner) = owner_of_name(tx, account, kind, name)?
                    && let Some((known_id, stored)) = registration(tx, account, &owner)?
                    && is_same(&stored)
                {
                    return Ok(Registered::Before(known_id));
                }
            }
            id
        }
    };
    if let Some(kind) = name_taken(tx, account, id, asked)? {
        return Err(Refusal::NameTaken(kind).into());
    }
    let derived = "SELECT EXISTS (SELECT 1 FROM payment WHERE account = $1 AND id = $2)";
    if tx.holds(derived, &values![account.as_str(), id])? {
        return Err(Refusal::Differs(Noun::Payment).into());
    }
    put_payment(tx, account, id, asked.clone(), now)?;
    Ok(Registered::New(id.clone()))
}

fn expect_external(tx: &Tx<'_>, account: &AccountId, id: &str, external_id: &str, now: Timestamp) -> Tried<Registered> {
    let (id, mut registration) = registration(tx, account, id)?.ok_or(Refusal::Missing(Noun::Payment))?;
    let known = registration.external_pending && registration.external_ids.contains(external_id);
    registration.external_pending = true;
    registration.external_ids.insert(external_id.to_owned());
    if let Some(kind) = name_taken(tx, account, &id, &registration)? {
        return Err(Refusal::NameTaken(kind).into());
    }
    put_payment(tx, account, &id, registration, now)?;
    Ok(if known { Registered::Before(id) } else { Registered::New(id) })
}

fn release(tx: &Tx<'_>, account: &AccountId, id: &str, now: Timestamp) -> Tried<Registered> {
    let id = &current_id(tx, account, id)?;
    let mut loader = Loader::new(tx, account)?;
    loader.payment(id)?;
    let mut set = loader.finish()?;
    let entry = set.ledger.payments().get(id).ok_or(Refusal::Missing(Noun::Payment))?;
    if entry.payment.hold_reason.is_none() {
        let released = entry.facts.registrations.values().any(|registration| registration.released)
            || entry.facts.bookings.values().any(|booking| booking.released);
        return if released { Ok(Registered::Before(id.to_owned())) } else { Err(Refusal::NotHeld.into()) };
    }
    let changes = set.ledger.release(id);
    write::all(tx, account, &mut set, &changes, &[], &[], now)?;
    Ok(Registered::New(id.to_owned()))
}

/// The id of a payment by one that it may have had before.
fn current_id(tx: &Tx<'_>, account: &AccountId, id: &str) -> Result<String> {
    let sql = "SELECT payment_id FROM payment_alias WHERE account = $1 AND alias = $2";
    let current = tx.first(sql, &values![account.as_str(), id], |row| row.get(0))?;
    Ok(current.unwrap_or_else(|| id.to_owned()))
}

/// A registered payment by its id, or by one that leads to it.
fn registration(tx: &Tx<'_>, account: &AccountId, id: &str) -> Result<Option<(String, Registration)>> {
    let id = current_id(tx, account, id)?;
    let sql = "SELECT registration FROM payment_registration WHERE account = $1 AND id = $2";
    let registration = tx.first(sql, &values![account.as_str(), &id], |row| {
        serde_json::from_str(row.str(0)?).map_err(|error| Error::corrupt("payment_registration", &id, error))
    })?;
    Ok(registration.map(|registration| (id, registration)))
}

fn owner_of_name(tx: &Tx<'_>, account: &AccountId, kind: ReferenceKind, name: &str) -> Result<Option<String>> {
    let sql = "SELECT payment_id FROM payment_name WHERE account = $1 AND name = $2 AND kind = $3";
    tx.first(sql, &values![account.as_str(), name, kind.as_str()], |row| row.get(0))
}

/// The kind of name under which another payment is registered already, or has taken what
/// has it.
fn name_taken(
    tx: &Tx<'_>,
    account: &AccountId,
    id: &str,
    registration: &Registration,
) -> Result<Option<ReferenceKind>> {
    // What a registered payment took is its own under whatever name.
    let taken = "SELECT EXISTS (SELECT 1 FROM gateway_object o
                     JOIN payment_registration r ON r.account = o.account AND r.id = o.payment_id
                     WHERE o.object_id = $1 AND o.account = $2 AND o.payment_id <> $3)";
    for (kind, name) in registration.names() {
        let is_taken = || tx.holds(taken, &values![name, account.as_str(), id]);
        if owner_of_name(tx, account, kind, name)?.is_some_and(|owner| owner != id) || is_taken()? {
            return Ok(Some(kind));
        }
    }
    Ok(None)
}

/// Puts in a registration, and with it what gateways said of it before.
fn put_payment(tx: &Tx<'_>, account: &AccountId, id: &str, registration: Registration, now: Timestamp) -> Tried<()> {
    let mut loader = Loader::new(tx, account)?;
    loader.payment(id)?;
    let names = registration.names().map(|(_, name)| name.to_owned()).chain([id.to_owned()]).collect();
    loader.found_by(&names, "payment")?;
    if let Some(order_id) = &registration.terms.order_id {
        loader.order(order_id);
    }
    let mut set = loader.finish()?;
    let nowhere = Scope { account: account.clone(), gateway: String::new(), mode: Mode::Live };
    let changes = set.ledger.register_over(&nowhere, id, registration);
    write_with_early(tx, account, set, changes, Early::Payment(id), now)
}
