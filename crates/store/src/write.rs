//! What an applying transaction writes: the rows that a batch changed.

use std::collections::{BTreeMap, HashMap};

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
                          booking_id, created_at, updated_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23,
             ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?30)";
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
const PUT_SESSION: &str =
    "INSERT OR IGNORE INTO booking_session (account, session_id, booking_id, vouched) VALUES (?, ?, ?, ?)";

/// Payments' numbers by their ids.
pub(crate) type Numbers = HashMap<String, i64>;

/// Everything that changed in the set: `registered` came about without an event, before
/// the events of `batch`; an event without an outcome is somebody else's.
pub(crate) fn all(
    connection: &Connection,
    account: &AccountId,
    set: &mut WorkingSet,
    registered: &[Change],
    batch: &[Prepared],
    outcomes: &[Option<Outcome>],
    now: Timestamp,
) -> Result<()> {
    let done = || batch.iter().zip(outcomes).filter_map(|(event, outcome)| Some((event, outcome.as_ref()?)));
    state(connection, account, set, now)?;
    bookings(connection, account, &set.ledger, now)?;
    renames(connection, account, set)?;
    let of_several = |entry: &Entry| entry.facts.registration().is_some_and(|(_, r)| r.scopes.len() > 1);
    for entry in set.ledger.payments().values().filter(|entry| entry.changed && of_several(entry)) {
        forget_parts(connection, account, &entry.payment)?;
    }
    events(connection, account, set, done(), now)?;
    let observed = registered.iter().map(|change| (NO_EVENT, change)).chain(done().flat_map(changes));
    history(connection, account, set, observed, now)
}

/// What history has in place of an event where none caused it.
const NO_EVENT: i64 = 0;

fn changes<'a>((event, outcome): (&'a Prepared, &'a Outcome)) -> impl Iterator<Item = (i64, &'a Change)> {
    let changes = match outcome {
        Outcome::Applied { changes, .. } => changes.as_slice(),
        Outcome::Ignored | Outcome::Waiting => &[],
    };
    changes.iter().map(|change| (event.seq, change))
}

/// Event states, and what each event stated about which payment.
fn events<'a>(
    connection: &Connection,
    account: &AccountId,
    set: &WorkingSet,
    done: impl Iterator<Item = (&'a Prepared, &'a Outcome)>,
    now: Timestamp,
) -> Result<()> {
    let mut settle = connection.prepare_cached(SETTLE_EVENT)?;
    let mut insert_facts = connection.prepare_cached(INSERT_FACTS)?;
    for (event, outcome) in done {
        let (state, error) = match outcome {
            Outcome::Applied { .. } => (EventState::Applied, None),
            Outcome::Ignored => (EventState::Ignored, None),
            Outcome::Waiting => (EventState::Waiting, Some("no payment is registered for it yet")),
        };
        let due_at = event.due_at.map(Timestamp::micros);
        settle.execute(params![state.as_str(), now.micros(), error, event.seq, due_at])?;
        let EventFacts { scope, facts, decides: _ } = &event.facts;
        let payment = set.ledger.payment_of(scope, facts).and_then(|id| set.numbers.get(id));
        insert_facts.execute(params![
            event.seq,
            account.as_str(),
            payment,
            event.object_id,
            event.needs_fetch,
            event.text
        ])?;
    }
    Ok(())
}

pub(crate) fn facts_text(facts: &Facts) -> Result<String> {
    serde_json::to_string(facts).map_err(|error| Error::corrupt("payment", "", error))
}

/// Payments and orders that changed, with their refunds and disputes, and to which
/// payment each object belongs.
fn state(connection: &Connection, account: &AccountId, set: &mut WorkingSet, now: Timestamp) -> Result<()> {
    let WorkingSet { ledger, numbers } = set;
    let mut put_owner = connection.prepare_cached(PUT_OWNER)?;
    for (scope, key, payment_id) in ledger.new_owners() {
        let (mode, kind) = (scope.mode.as_str(), key.kind.as_str());
        put_owner.execute(params![account.as_str(), scope.gateway, mode, key.id, kind, payment_id])?;
    }
    for (id, entry) in ledger.payments().iter().filter(|(_, entry)| entry.changed) {
        let number = payment(connection, account, entry, numbers.get(id).copied(), now)?;
        numbers.insert(id.clone(), number);
        refunds(connection, account, &entry.payment, now)?;
        disputes(connection, account, &entry.payment, now)?;
        names(connection, account, entry, now)?;
    }
    orders(connection, account, ledger, now)
}

/// Returns the payment's number; `number` is `None` where it is new.
fn payment(
    connection: &Connection,
    account: &AccountId,
    entry: &Entry,
    number: Option<i64>,
    now: Timestamp,
) -> Result<i64> {
    let payment = &entry.payment;
    let unwritable = |error| Error::corrupt("payment", &payment.id, error);
    let gateway_response = serde_json::to_string(&payments::gateway_response(payment)).map_err(unwritable)?;
    let metadata = serde_json::to_string(&payments::metadata(payment)).map_err(unwritable)?;
    let flags = serde_json::to_string(&payment.flags).map_err(unwritable)?;
    let facts = facts_text(&entry.facts)?;
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
        &gateway_response,
        &metadata,
        &flags,
        &facts,
        &payment.transaction_id,
        &payment.external_id,
        &payment.hold_reason.map(|reason| reason.as_str()),
        &payment.booking_id,
        &now.micros(),
        &number,
    ];
    if let Some(number) = number {
        connection.prepare_cached(UPDATE_PAYMENT)?.execute(&row[..])?;
        connection.prepare_cached(MOVE_PAYMENT)?.execute(params![payment.order_id, payment.booking_id, number])?;
        return Ok(number);
    }
    connection.prepare_cached(INSERT_PAYMENT)?.execute(&row[..30])?;
    Ok(connection.last_insert_rowid())
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
    for (id, entry) in ledger.orders().iter().filter(|(_, entry)| entry.changed) {
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
fn history<'a>(
    connection: &Connection,
    account: &AccountId,
    set: &WorkingSet,
    observed: impl Iterator<Item = (i64, &'a Change)>,
    now: Timestamp,
) -> Result<()> {
    let mut insert = connection.prepare_cached(INSERT_HISTORY)?;
    let renamed: HashMap<&str, &str> = set.ledger.renamed().collect();
    for (event_seq, change) in observed {
        let current = |id| renamed.get(id).copied().unwrap_or(id);
        let payment = set.numbers.get(current(change.payment_id.as_str())).copied().unwrap_or(NO_PAYMENT);
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
    for (id, entry) in ledger.bookings().iter().filter(|(_, entry)| entry.changed) {
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
        let vouched = terms.session_ids.iter().map(|session| (session, true));
        for (session, vouched) in vouched.chain(terms.hinted_session_ids.iter().map(|session| (session, false))) {
            connection.prepare_cached(PUT_SESSION)?.execute(params![account.as_str(), session, id, vouched])?;
        }
    }
    Ok(())
}

/// What the application registered of a payment; of one that it did not register, the
/// names by which it may turn out to mean one.
fn names(connection: &Connection, account: &AccountId, entry: &Entry, now: Timestamp) -> Result<()> {
    let id = &entry.payment.id;
    if let Some((_, registration)) = entry.facts.registration() {
        let text = serde_json::to_string(registration).map_err(|error| Error::corrupt("payment", id, error))?;
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
fn renames(connection: &Connection, account: &AccountId, set: &WorkingSet) -> Result<()> {
    let renames: BTreeMap<&str, &str> = set.ledger.renamed().collect();
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
        if let (Some(stored), Some(number)) = (stored, set.numbers.get(new)) {
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
