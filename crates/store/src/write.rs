//! What an applying transaction writes: the rows that a batch changed.

use std::collections::{BTreeMap, HashMap};

use domain::ledger::Entry;
use domain::{AccountId, Currency, EventFacts, Facts, Ledger, Outcome, Payment, Timestamp};
use rusqlite::{Connection, OptionalExtension, ToSql, params};

use crate::{Error, EventState, Prepared, Result, payments};

const SETTLE_EVENT: &str = "UPDATE event SET state = ?, settled_at = ?, error = ?, due_at = NULL WHERE seq = ?";
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
                          gateway_response, metadata, flags, facts, created_at, updated_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23,
             ?24, ?25, ?26, ?26)";
/// Without what a number's payment never changes: SQLite writes an index anew for each
/// column of it that is set, whether it differs or not. The order, which may change, has
/// a statement of its own.
const UPDATE_PAYMENT: &str =
    "UPDATE payment SET visible = ?5, status = ?6, dispute_status = ?7, amount = ?8, currency = ?9,
        amount_captured = ?10, amount_refunded = ?11, amount_refunding = ?12, captured_at = ?13,
        gateway_transaction_id = ?14, customer = ?16, method = ?17,
        description = ?18, failure_code = ?19, failure_message = ?20, failed_attempts = ?21, gateway_response = ?22,
        metadata = ?23, flags = ?24, facts = ?25, updated_at = ?26
     WHERE number = ?27";
const MOVE_PAYMENT: &str = "UPDATE payment SET order_id = ?1 WHERE number = ?2 AND order_id IS NOT ?1";
const PUT_ORDER: &str =
    "INSERT INTO merchant_order (account, id, payment_status, currency, amount_paid, amount_refunded, created_at,
                                 updated_at)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)
     ON CONFLICT DO UPDATE SET payment_status = excluded.payment_status, currency = excluded.currency,
        amount_paid = excluded.amount_paid, amount_refunded = excluded.amount_refunded,
        updated_at = excluded.updated_at";
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
    "INSERT INTO history (account, subject, subject_id, payment, from_status, to_status, event_seq, at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)";

/// Payments' numbers by their ids.
pub(crate) type Numbers = HashMap<String, i64>;

/// Event states, and what each event stated about which payment.
pub(crate) fn events(
    connection: &Connection,
    account: &AccountId,
    done: &[(&Prepared, &Outcome)],
    ledger: &Ledger,
    numbers: &Numbers,
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
        settle.execute(params![state.as_str(), now.micros(), error, event.seq])?;
        let EventFacts { scope, facts } = &event.facts;
        let payment = ledger.payment_of(scope, facts).and_then(|id| numbers.get(id));
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
/// payment each object belongs. Adds the numbers of new payments.
pub(crate) fn state(
    connection: &Connection,
    account: &AccountId,
    ledger: &Ledger,
    numbers: &mut Numbers,
    now: Timestamp,
) -> Result<()> {
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
    let failure = payment.failure.as_ref();
    let facts = facts_text(&entry.facts)?;
    let (mode, amount) = (entry.scope.mode.as_str(), payment.amount.map(|amount| amount.units()));
    let code = failure.and_then(|failure| failure.code.as_deref());
    let message = failure.and_then(|failure| failure.message.as_deref());
    let row: [&dyn ToSql; 27] = [
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
        &now.micros(),
        &number,
    ];
    if let Some(number) = number {
        connection.prepare_cached(UPDATE_PAYMENT)?.execute(&row[..])?;
        connection.prepare_cached(MOVE_PAYMENT)?.execute(params![payment.order_id, number])?;
        return Ok(number);
    }
    connection.prepare_cached(INSERT_PAYMENT)?.execute(&row[..26])?;
    Ok(connection.last_insert_rowid())
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
            dispute.stage.map(|stage| stage.as_str()),
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
            ])?,
            // Nobody registered it, and the payment that named it names another one now.
            None => delete.execute(params![account.as_str(), id])?,
        };
    }
    Ok(())
}

/// Every transition, in the order in which the events were applied.
pub(crate) fn history(
    connection: &Connection,
    account: &AccountId,
    done: &[(&Prepared, &Outcome)],
    ledger: &Ledger,
    numbers: &Numbers,
    now: Timestamp,
) -> Result<()> {
    let mut insert = connection.prepare_cached(INSERT_HISTORY)?;
    for (event, outcome) in done {
        let Outcome::Applied { changes, .. } = outcome else { continue };
        let EventFacts { scope, facts } = &event.facts;
        let payment = ledger.payment_of(scope, facts).and_then(|id| numbers.get(id));
        for change in changes {
            insert.execute(params![
                account.as_str(),
                change.subject.as_str(),
                change.id,
                payment,
                change.from,
                change.to,
                event.seq,
                now.micros(),
            ])?;
        }
    }
    Ok(())
}

/// Facts showed that what seemed to be two payments is one: what belonged to the old
/// one belongs to the new one, and the old id leads there.
pub(crate) fn renames(connection: &Connection, account: &AccountId, ledger: &Ledger, numbers: &Numbers) -> Result<()> {
    let renames: BTreeMap<&str, &str> = ledger.renamed().collect();
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
        "INSERT OR REPLACE INTO payment_alias (account, alias, payment_id) VALUES (?1, ?2, ?3)",
    ];
    for (old, new) in renames {
        let stored: Option<i64> =
            connection.query_row(old_number, params![account.as_str(), old], |row| row.get(0)).optional()?;
        if let (Some(stored), Some(number)) = (stored, numbers.get(new)) {
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
