//! What an applying transaction writes: the rows that a fold changed. They are made up
//! beforehand, so that the one writer does nothing but write them.

use std::collections::{BTreeMap, HashMap, HashSet};

use domain::booking::Claim;
use domain::ledger::{BookingEntry, Entry};
use domain::{
    AccountId, Change, Currency, EventFacts, Facts, Ledger, Outcome, Payment, ReferenceKind, Subject, Timestamp,
};
use rusqlite::{Connection, OptionalExtension, ToSql, params};

use crate::load::WorkingSet;
use crate::{Error, EventState, Prepared, Result, payments};

/// Only of an event that nobody has settled, or added to, since it was claimed.
const SETTLE_EVENT: &str =
    "UPDATE event SET state = ?, settled_at = ?, error = ?, due_at = NULL WHERE seq = ? AND due_at IS ?";
const INSERT_FACTS: &str = "INSERT OR REPLACE INTO event_facts (seq, account, payment, object_id, needs_fetch, facts)
     VALUES (?, ?, ?, ?, ?, ?)";
const PUT_OWNER: &str =
    "INSERT INTO gateway_object (account, gateway, mode, object_id, kind, payment_id) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT DO UPDATE SET payment_id = excluded.payment_id";
/// Plain, so that a payment that is there although nothing led to it is an error and
/// not overwritten.
const INSERT_PAYMENT: &str =
    "INSERT INTO payment (account, id, gateway, mode, visible, status, dispute_status, amount, currency,
                          amount_captured, amount_refunded, amount_refunding, captured_at, gateway_transaction_id,
                          order_id, customer, method, description, failure_code, failure_message, failed_attempts,
                          gateway_response, metadata, flags, facts, transaction_id, external_id, hold_reason,
                          booking_id, created_at, updated_at, number)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23,
             ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?30, ?31)";
/// Without what a number's payment never changes: SQLite writes an index anew for each
/// column of it that is set, whether it differs or not. The order and the booking, which
/// may change, have a statement of their own.
const UPDATE_PAYMENT: &str =
    "UPDATE payment SET gateway = ?3, mode = ?4, visible = ?5, status = ?6, dispute_status = ?7, amount = ?8, currency = ?9,
        amount_captured = ?10, amount_refunded = ?11, amount_refunding = ?12, captured_at = ?13,
        gateway_transaction_id = ?14, customer = ?16, method = ?17,
        description = ?18, failure_code = ?19, failure_message = ?20, failed_attempts = ?21, gateway_response = ?22,
        metadata = ?23, flags = ?24, facts = ?25, transaction_id = ?26, external_id = ?27, hold_reason = ?28,
        updated_at = ?30
     WHERE number = ?31";
const MOVE_PAYMENT: &str = "UPDATE payment SET order_id = ?1, booking_id = ?2 WHERE number = ?3 AND (order_id IS NOT ?1 OR booking_id IS NOT ?2)";
const PUT_ORDER: &str =
    "INSERT INTO merchant_order (account, id, payment_status, currency, amount_paid, amount_refunded, created_at,
                                 updated_at, amount_due)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8)
     ON CONFLICT DO UPDATE SET payment_status = excluded.payment_status, currency = excluded.currency,
        amount_paid = excluded.amount_paid, amount_refunded = excluded.amount_refunded,
        updated_at = excluded.updated_at, amount_due = excluded.amount_due";
const PUT_REFUND: &str =
    "INSERT INTO refund (account, id, payment_id, gateway_refund_id, charge_id, status, amount, currency, reason,
                         failure_reason, gateway_time, created_at, updated_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?12)
     ON CONFLICT DO UPDATE SET payment_id = excluded.payment_id, charge_id = excluded.charge_id,
        status = excluded.status, amount = excluded.amount, currency = excluded.currency, reason = excluded.reason,
        failure_reason = excluded.failure_reason, gateway_time = excluded.gateway_time,
        updated_at = excluded.updated_at";
const PUT_DISPUTE: &str =
    "INSERT INTO dispute (account, id, payment_id, gateway_dispute_id, charge_id, status, stage, amount, currency,
                          reason, due_by, net, gateway_time, created_at, updated_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?14)
     ON CONFLICT DO UPDATE SET payment_id = excluded.payment_id, charge_id = excluded.charge_id,
        status = excluded.status, stage = excluded.stage, amount = excluded.amount, currency = excluded.currency,
        reason = excluded.reason, due_by = excluded.due_by, net = excluded.net,
        gateway_time = excluded.gateway_time, updated_at = excluded.updated_at";
const INSERT_HISTORY: &str =
    "INSERT INTO history (account, subject, subject_id, payment, from_status, to_status, event_seq, at, notice)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
/// What is said of an object once, ever, is found among the history of its payment or order.
const WAS_SAID_OF_PAYMENT: &str =
    "SELECT EXISTS (SELECT 1 FROM history WHERE payment = ? AND account = ? AND notice = ?)";
const WAS_SAID_OF_ORDER: &str =
    "SELECT EXISTS (SELECT 1 FROM history WHERE subject_id = ? AND account = ? AND subject = 'order' AND notice = ?)";
const PUT_REGISTRATION: &str =
    "INSERT INTO payment_registration (account, id, registration, created_at) VALUES (?1, ?2, ?3, ?4)
     ON CONFLICT DO UPDATE SET registration = excluded.registration WHERE registration <> excluded.registration";
const PUT_NAME: &str = "INSERT OR IGNORE INTO payment_name (account, name, kind, payment_id) VALUES (?, ?, ?, ?)";
const PUT_WANTED: &str = "INSERT OR IGNORE INTO wanted_name (account, name, kind, payment_id) VALUES (?, ?, ?, ?)";
const PUT_BOOKING: &str =
    "INSERT INTO booking (account, id, resource_id, starts_on, ends_on, amount, currency, on_conflict, released,
                          canceled, claim, lost_to, status, payment_status, reason, created_at, updated_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?16)
     ON CONFLICT DO UPDATE SET released = excluded.released, canceled = excluded.canceled, claim = excluded.claim,
        lost_to = excluded.lost_to, status = excluded.status, payment_status = excluded.payment_status,
        reason = excluded.reason, updated_at = excluded.updated_at";
const PUT_SESSION: &str = "INSERT OR IGNORE INTO booking_session (account, session_id, booking_id) VALUES (?, ?, ?)";

/// Payments' numbers by their ids.
pub(crate) type Numbers = HashMap<String, i64>;

/// What a fold changed, as rows.
#[derive(Debug)]
pub(crate) struct Delta {
    /// What changed, and nothing else.
    ledger: Ledger,
    texts: HashMap<String, Texts>,
    /// Of payments that changed, or that an event or a transition belongs to.
    numbers: Numbers,
    /// Payments that are not there yet.
    new: HashSet<String>,
    events: Vec<SettledEvent>,
    observed: Vec<(i64, Change)>,
}

/// Columns of a payment that take work to make.
#[derive(Debug)]
struct Texts {
    gateway_response: String,
    metadata: String,
    flags: String,
    facts: String,
    registration: Option<String>,
}

/// What became of an event of the batch, at this place in it.
#[derive(Debug)]
struct SettledEvent {
    index: usize,
    state: EventState,
    error: Option<&'static str>,
    payment: Option<i64>,
}

/// What history has in place of an event where none caused it.
const NO_EVENT: i64 = 0;

impl Delta {
    /// Takes what changed out of the set. `registered` came about without an event,
    /// before the events of `batch`; an event without an outcome is somebody else's.
    /// New payments are numbered from `next_number` on.
    pub fn of(
        set: &mut WorkingSet,
        next_number: &mut i64,
        registered: &[Change],
        batch: &[Prepared],
        outcomes: &[Option<Outcome>],
    ) -> Result<Self> {
        let mut new = HashSet::new();
        let ledger = set.ledger.take_changes();
        for id in ledger.payments().keys().filter(|id| !set.numbers.contains_key(*id)).cloned().collect::<Vec<_>>() {
            set.numbers.insert(id.clone(), *next_number);
            new.insert(id);
            *next_number += 1;
        }
        let texts = ledger.payments().iter().map(|(id, entry)| Ok((id.clone(), Texts::of(entry)?)));
        let texts = texts.collect::<Result<_>>()?;
        let mut numbers: Numbers =
            ledger.payments().keys().filter_map(|id| set.numbers.get_key_value(id)).map(owned).collect();
        let mut observed: Vec<(i64, Change)> = registered.iter().map(|change| (NO_EVENT, change.clone())).collect();
        let mut events = Vec::with_capacity(batch.len());
        for (index, (event, outcome)) in batch.iter().zip(outcomes).enumerate() {
            let Some(outcome) = outcome else { continue };
            let (state, error) = match outcome {
                Outcome::Applied { .. } => (EventState::Applied, None),
                Outcome::Ignored => (EventState::Ignored, None),
                Outcome::Waiting => (EventState::Waiting, Some("no payment is registered for it yet")),
            };
            if let Outcome::Applied { changes, .. } = outcome {
                observed.extend(changes.iter().map(|change| (event.seq, change.clone())));
            }
            let EventFacts { scope, facts, decides: _ } = &event.facts;
            let payment = set.ledger.payment_of(scope, facts).and_then(|id| set.numbers.get(id)).copied();
            events.push(SettledEvent { index, state, error, payment });
        }
        let renamed: HashMap<&str, &str> = ledger.renamed().collect();
        for (_, change) in &observed {
            let id = renamed.get(change.payment_id.as_str()).copied().unwrap_or(&change.payment_id);
            numbers.extend(set.numbers.get_key_value(id).map(owned));
        }
        for old in renamed.keys() {
            set.numbers.remove(*old);
            set.retired.insert((*old).to_owned());
        }
        Ok(Self { ledger, texts, numbers, new, events, observed })
    }
}

impl Delta {
    /// Forgets all of the set but what this changed and what that depends on.
    pub fn keep_only_in(&self, set: &mut WorkingSet) {
        set.ledger.keep_only(&self.ledger);
        set.numbers.retain(|id, _| set.ledger.payments().contains_key(id));
        set.retired = self.ledger.renamed().map(|(old, _)| old.to_owned()).collect();
    }
}

fn owned((id, number): (&String, &i64)) -> (String, i64) {
    (id.clone(), *number)
}

impl Texts {
    fn of(entry: &Entry) -> Result<Self> {
        let payment = &entry.payment;
        let unwritable = |error| Error::corrupt("payment", &payment.id, error);
        let registration = entry.facts.registration().map(|(_, registration)| serde_json::to_string(registration));
        Ok(Self {
            gateway_response: serde_json::to_string(&payments::gateway_response(payment)).map_err(unwritable)?,
            metadata: serde_json::to_string(&payments::metadata(payment)).map_err(unwritable)?,
            flags: serde_json::to_string(&payment.flags).map_err(unwritable)?,
            facts: facts_text(&entry.facts)?,
            registration: registration.transpose().map_err(unwritable)?,
        })
    }
}

/// Takes what changed out of the set, as [`Delta::of`] does, and writes it.
pub(crate) fn all(
    connection: &Connection,
    account: &AccountId,
    set: &mut WorkingSet,
    registered: &[Change],
    batch: &[Prepared],
    outcomes: &[Option<Outcome>],
    now: Timestamp,
) -> Result<()> {
    let delta = Delta::of(set, &mut next_number(connection)?, registered, batch, outcomes)?;
    write(connection, account, &delta, batch, now)?;
    Ok(())
}

/// The number of the next payment that is inserted.
pub(crate) fn next_number(connection: &Connection) -> Result<i64> {
    let sql = "SELECT coalesce(max(number), 0) + 1 FROM payment";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// Returns how many events it settled: all, unless somebody else was faster.
pub(crate) fn write(
    connection: &Connection,
    account: &AccountId,
    delta: &Delta,
    batch: &[Prepared],
    now: Timestamp,
) -> Result<usize> {
    let settled = events(connection, account, delta, batch, now)?;
    state(connection, account, delta, now)?;
    bookings(connection, account, &delta.ledger, now)?;
    renames(connection, account, delta)?;
    history(connection, account, delta, now)?;
    Ok(settled)
}

/// Event states, and what each event stated about which payment.
fn events(
    connection: &Connection,
    account: &AccountId,
    delta: &Delta,
    batch: &[Prepared],
    now: Timestamp,
) -> Result<usize> {
    let mut settle = connection.prepare_cached(SETTLE_EVENT)?;
    let mut insert_facts = connection.prepare_cached(INSERT_FACTS)?;
    let mut count = 0;
    for settled in &delta.events {
        let event = &batch[settled.index];
        let due_at = event.due_at.map(Timestamp::micros);
        count += settle.execute(params![settled.state.as_str(), now.micros(), settled.error, event.seq, due_at])?;
        insert_facts.execute(params![
            event.seq,
            account.as_str(),
            settled.payment,
            event.object_id,
            event.needs_fetch,
            event.text
        ])?;
    }
    Ok(count)
}

pub(crate) fn facts_text(facts: &Facts) -> Result<String> {
    serde_json::to_string(facts).map_err(|error| Error::corrupt("payment", "", error))
}

/// Payments and orders that changed, with their refunds and disputes, and to which
/// payment each object belongs.
fn state(connection: &Connection, account: &AccountId, delta: &Delta, now: Timestamp) -> Result<()> {
    let mut put_owner = connection.prepare_cached(PUT_OWNER)?;
    for (scope, key, payment_id) in delta.ledger.new_owners() {
        let (mode, kind) = (scope.mode.as_str(), key.kind.as_str());
        put_owner.execute(params![account.as_str(), scope.gateway, mode, key.id, kind, payment_id])?;
    }
    for (id, entry) in delta.ledger.payments() {
        let (Some(texts), Some(number)) = (delta.texts.get(id), delta.numbers.get(id)) else {
            return Err(Error::corrupt("payment", id, "it changed, but has no number"));
        };
        payment(connection, account, entry, texts, *number, delta.new.contains(id), now)?;
        if entry.facts.registration().is_some_and(|(_, registration)| registration.scopes.len() > 1) {
            forget_parts(connection, account, &entry.payment)?;
        }
        refunds(connection, account, &entry.payment, now)?;
        disputes(connection, account, &entry.payment, now)?;
        names(connection, account, entry, texts, now)?;
    }
    orders(connection, account, &delta.ledger, now)
}

fn payment(
    connection: &Connection,
    account: &AccountId,
    entry: &Entry,
    texts: &Texts,
    number: i64,
    is_new: bool,
    now: Timestamp,
) -> Result<()> {
    let payment = &entry.payment;
    let failure = payment.failure.as_ref();
    let (mode, amount) = (entry.scope.mode.as_str(), payment.amount.map(|amount| amount.units()));
    let code = failure.and_then(|failure| failure.code.as_deref());
    let message = failure.and_then(|failure| failure.message.as_deref());
    let row: [&dyn ToSql; 31] = [
        &account.as_str(),
        &payment.id,
        &entry.scope.gateway,
        &mode,
        &payment.visible,
        &payment.status.as_str(),
        &payment.dispute_status.as_str(),
        &amount,
        &payment.currency.as_ref().map(Currency::code),
        &payment.amount_captured.units(),
        &payment.amount_refunded.units(),
        &payment.amount_refunding.units(),
        &payment.captured_at.map(Timestamp::micros),
        &payment.gateway_transaction_id,
        &payment.order_id,
        &payment.customer,
        &payment.method,
        &payment.description,
        &code,
        &message,
        &(payment.failed_attempts as i64),
        &texts.gateway_response,
        &texts.metadata,
        &texts.flags,
        &texts.facts,
        &payment.transaction_id,
        &payment.external_id,
        &payment.hold_reason.map(|reason| reason.as_str()),
        &payment.booking_id,
        &now.micros(),
        &number,
    ];
    if is_new {
        connection.prepare_cached(INSERT_PAYMENT)?.execute(&row[..])?;
    } else {
        connection.prepare_cached(UPDATE_PAYMENT)?.execute(&row[..])?;
        connection.prepare_cached(MOVE_PAYMENT)?.execute(params![payment.order_id, payment.booking_id, number])?;
    }
    Ok(())
}

/// Removes refunds and disputes that are called otherwise now: their ids are made of where
/// their payment comes from, which another gateway's object can change.
fn forget_parts(connection: &Connection, account: &AccountId, payment: &Payment) -> Result<()> {
    let refunds: Vec<&str> = payment.refunds.iter().map(|refund| refund.id.as_str()).collect();
    let disputes: Vec<&str> = payment.disputes.iter().map(|dispute| dispute.id.as_str()).collect();
    for (table, ids) in [("refund", refunds), ("dispute", disputes)] {
        let sql = format!(
            "DELETE FROM {table} WHERE account = ? AND payment_id = ? AND id NOT IN (SELECT value FROM json_each(?))"
        );
        let ids = serde_json::json!(ids).to_string();
        connection.prepare_cached(&sql)?.execute(params![account.as_str(), payment.id, ids])?;
    }
    Ok(())
}

fn refunds(connection: &Connection, account: &AccountId, payment: &Payment, now: Timestamp) -> Result<()> {
    for refund in &payment.refunds {
        connection.prepare_cached(PUT_REFUND)?.execute(params![
            account.as_str(),
            refund.id,
            payment.id,
            refund.gateway_refund_id,
            refund.charge_id,
            refund.status.as_str(),
            refund.amount.units(),
            refund.currency.as_ref().map(Currency::code),
            refund.reason,
            refund.failure_reason,
            refund.created_at.map(Timestamp::micros),
            now.micros(),
        ])?;
    }
    Ok(())
}

fn disputes(connection: &Connection, account: &AccountId, payment: &Payment, now: Timestamp) -> Result<()> {
    for dispute in &payment.disputes {
        connection.prepare_cached(PUT_DISPUTE)?.execute(params![
            account.as_str(),
            dispute.id,
            payment.id,
            dispute.gateway_dispute_id,
            dispute.charge_id,
            dispute.status.as_str(),
            dispute.stage,
            dispute.amount.map(|amount| amount.units()),
            dispute.currency.as_ref().map(Currency::code),
            dispute.reason,
            dispute.due_by.map(Timestamp::micros),
            dispute.net,
            dispute.created_at.map(Timestamp::micros),
            now.micros(),
        ])?;
    }
    Ok(())
}

fn orders(connection: &Connection, account: &AccountId, ledger: &Ledger, now: Timestamp) -> Result<()> {
    let mut put = connection.prepare_cached(PUT_ORDER)?;
    let mut delete = connection.prepare_cached("DELETE FROM merchant_order WHERE account = ? AND id = ?")?;
    for (id, entry) in ledger.orders() {
        match &entry.order {
            Some(order) => put.execute(params![
                account.as_str(),
                id,
                order.payment_status.as_str(),
                order.currency.as_ref().map(Currency::code),
                order.amount_paid.units(),
                order.amount_refunded.units(),
                now.micros(),
                entry.due.map(|due| due.amount.units()),
            ])?,
            // Nobody registered it, and the payment that named it names another one now.
            None => delete.execute(params![account.as_str(), id])?,
        };
    }
    Ok(())
}

/// Every transition, in the order in which it came about, and whether somebody is to be
/// told of it.
fn history(connection: &Connection, account: &AccountId, delta: &Delta, now: Timestamp) -> Result<()> {
    let mut insert = connection.prepare_cached(INSERT_HISTORY)?;
    let renamed: HashMap<&str, &str> = delta.ledger.renamed().collect();
    for (event_seq, change) in &delta.observed {
        let current = |id| renamed.get(id).copied().unwrap_or(id);
        let payment = delta.numbers.get(current(change.payment_id.as_str())).copied().unwrap_or(NO_PAYMENT);
        let subject_id = if change.subject == Subject::Payment { current(&change.id) } else { change.id.as_str() };
        let said = |sql: &str, key: &dyn ToSql, kind: &str| -> Result<bool> {
            let row: [&dyn ToSql; 3] = [key, &account.as_str(), &kind];
            Ok(connection.prepare_cached(sql)?.query_row(&row[..], |row| row.get(0))?)
        };
        let notice = match change.notice() {
            Some(notice) if notice.once && change.subject == Subject::Payment => {
                (!said(WAS_SAID_OF_PAYMENT, &payment, notice.kind)?).then_some(notice.kind)
            }
            Some(notice) if notice.once && change.subject == Subject::Order => {
                (!said(WAS_SAID_OF_ORDER, &change.id, notice.kind)?).then_some(notice.kind)
            }
            // A booking that was given up is never confirmed again.
            notice => notice.map(|notice| notice.kind),
        };
        insert.execute(params![
            account.as_str(),
            change.subject.as_str(),
            subject_id,
            payment,
            change.from,
            change.to,
            event_seq,
            now.micros(),
            notice,
        ])?;
    }
    Ok(())
}

/// What history has in place of a payment where none is concerned.
const NO_PAYMENT: i64 = 0;

fn bookings(connection: &Connection, account: &AccountId, ledger: &Ledger, now: Timestamp) -> Result<()> {
    for (id, entry) in ledger.bookings() {
        let BookingEntry { inputs, booking, changed: _ } = entry;
        let terms = &inputs.terms;
        let (claim, lost_to) = match &inputs.claim {
            None => (None, None),
            Some(Claim::Won) => (Some("won"), None),
            Some(Claim::Lost(winner)) => (Some("lost"), Some(winner)),
        };
        connection.prepare_cached(PUT_BOOKING)?.execute(params![
            account.as_str(),
            id,
            terms.resource_id,
            terms.days.start(),
            terms.days.end(),
            terms.amount.map(|amount| amount.units()),
            terms.currency.as_ref().map(Currency::code),
            terms.on_conflict.as_str(),
            terms.released,
            inputs.canceled,
            claim,
            lost_to,
            booking.status.as_str(),
            booking.payment_status.as_str(),
            booking.reason.map(|reason| reason.as_str()),
            now.micros(),
        ])?;
        for session in &terms.session_ids {
            connection.prepare_cached(PUT_SESSION)?.execute(params![account.as_str(), session, id])?;
        }
    }
    Ok(())
}

/// What the application registered of a payment; of one that it did not register, the
/// names by which it may turn out to mean one.
fn names(connection: &Connection, account: &AccountId, entry: &Entry, texts: &Texts, now: Timestamp) -> Result<()> {
    let id = &entry.payment.id;
    if let (Some((_, registration)), Some(text)) = (entry.facts.registration(), &texts.registration) {
        let row = params![account.as_str(), id, text, now.micros()];
        if connection.prepare_cached(PUT_REGISTRATION)?.execute(row)? == 1 {
            let own = (ReferenceKind::Id, id.as_str());
            for (kind, name) in std::iter::once(own).chain(registration.names()) {
                connection.prepare_cached(PUT_NAME)?.execute(params![account.as_str(), name, kind.as_str(), id])?;
            }
        }
    } else {
        for name in entry.facts.wanted() {
            connection.prepare_cached(PUT_WANTED)?.execute(params![account.as_str(), name, "payment", id])?;
        }
    }
    for name in entry.facts.booking_ids().into_iter().filter(|_| entry.facts.bookings.is_empty()) {
        connection.prepare_cached(PUT_WANTED)?.execute(params![account.as_str(), name, "booking", id])?;
    }
    for name in entry.facts.wanted_orders() {
        connection.prepare_cached(PUT_WANTED)?.execute(params![account.as_str(), name, "order", id])?;
    }
    Ok(())
}

/// Facts showed that what seemed to be two payments is one: what belonged to the old
/// one belongs to the new one, and the old id leads there.
fn renames(connection: &Connection, account: &AccountId, delta: &Delta) -> Result<()> {
    let renames: BTreeMap<&str, &str> = delta.ledger.renamed().collect();
    let old_number = "SELECT number FROM payment WHERE account = ? AND id = ?";
    let by_number = [
        "UPDATE event_facts SET payment = ?3 WHERE account = ?1 AND payment = ?2",
        "UPDATE history SET payment = ?3, subject_id = iif(subject_id = ?4, ?5, subject_id)
         WHERE account = ?1 AND payment = ?2",
        "DELETE FROM payment WHERE account = ?1 AND number = ?2",
    ];
    let by_id = [
        "UPDATE refund SET payment_id = ?3 WHERE account = ?1 AND payment_id = ?2",
        "UPDATE dispute SET payment_id = ?3 WHERE account = ?1 AND payment_id = ?2",
        "UPDATE payment_alias SET payment_id = ?3 WHERE account = ?1 AND payment_id = ?2",
        "UPDATE OR REPLACE wanted_name SET payment_id = ?3 WHERE account = ?1 AND payment_id = ?2",
        "INSERT OR REPLACE INTO payment_alias (account, alias, payment_id) VALUES (?1, ?2, ?3)",
    ];
    for (old, new) in renames {
        let stored: Option<i64> =
            connection.query_row(old_number, params![account.as_str(), old], |row| row.get(0)).optional()?;
        if let (Some(stored), Some(number)) = (stored, delta.numbers.get(new)) {
            for sql in by_number {
                let mut statement = connection.prepare_cached(sql)?;
                let all: [&dyn ToSql; 5] = [&account.as_str(), &stored, number, &old, &new];
                let count = statement.parameter_count();
                statement.execute(&all[..count])?;
            }
        }
        for sql in by_id {
            let mut statement = connection.prepare_cached(sql)?;
            let all: [&dyn ToSql; 3] = [&account.as_str(), &old, &new];
            let count = statement.parameter_count();
            statement.execute(&all[..count])?;
        }
    }
    Ok(())
}
