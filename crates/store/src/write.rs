//! What an applying transaction writes: the rows that a batch changed.

pub(crate) mod columns;
mod rows;
pub(crate) mod statements;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use domain::ledger::{BookingEntry, Entry};
use domain::{AccountId, Change, EventFacts, Facts, Ledger, Outcome, Payment, ReferenceKind, Subject, Timestamp};

use crate::connection::Tx;
use crate::load::WorkingSet;
use crate::sql::values;
use crate::{Error, EventState, Prepared, Result};
pub(crate) use rows::{booking_row, dispute_row, order_row, payment_row, refund_row};
use statements::{
    INSERT_HISTORY, INSERT_PAYMENT, MOVE_PAYMENT, PUT_BOOKING, PUT_DISPUTE, PUT_FACTS, PUT_NAME, PUT_ORDER, PUT_OWNER,
    PUT_REFUND, PUT_REGISTRATION, PUT_SESSION, PUT_WANTED, SAID_OF_ORDER, SAID_OF_PAYMENT, SETTLE_EVENT,
    SETTLE_WAITING, UPDATE_PAYMENT,
};

/// Payments' numbers by their ids.
pub(crate) type Numbers = HashMap<String, i64>;

/// Everything that changed in the set: `registered` came about without an event, before
/// the events of `batch`; an event without an outcome is somebody else's.
pub(crate) fn all(
    tx: &Tx<'_>,
    account: &AccountId,
    set: &mut WorkingSet,
    registered: &[Change],
    batch: &[Prepared],
    outcomes: &[Option<Outcome>],
    now: Timestamp,
) -> Result<()> {
    let done = || batch.iter().zip(outcomes).filter_map(|(event, outcome)| Some((event, outcome.as_ref()?)));
    state(tx, account, set, now)?;
    bookings(tx, account, &set.ledger, now)?;
    renames(tx, account, set)?;
    let of_several = |entry: &Entry| entry.facts.registration().is_some_and(|(_, r)| r.scopes.len() > 1);
    for entry in set.ledger.payments().values().filter(|entry| entry.changed && of_several(entry)) {
        forget_parts(tx, account, &entry.payment)?;
    }
    events(tx, account, set, done(), now)?;
    waited(tx, account, set, done(), now)?;
    let observed = registered.iter().map(|change| (NO_EVENT, change)).chain(done().flat_map(changes));
    history(tx, account, set, observed, now)
}

/// What history has in place of an event where none caused it.
pub(crate) const NO_EVENT: i64 = 0;

fn changes<'a>((event, outcome): (&'a Prepared, &'a Outcome)) -> impl Iterator<Item = (i64, &'a Change)> {
    let changes = match outcome {
        Outcome::Applied { changes, .. } => changes.as_slice(),
        Outcome::Ignored | Outcome::Waiting => &[],
    };
    changes.iter().map(|change| (event.seq, change))
}

/// Event states, and what each event stated about which payment.
fn events<'a>(
    tx: &Tx<'_>,
    account: &AccountId,
    set: &WorkingSet,
    done: impl Iterator<Item = (&'a Prepared, &'a Outcome)>,
    now: Timestamp,
) -> Result<()> {
    let mut settle = tx.batch(&SETTLE_EVENT)?;
    let mut put_facts = tx.batch(PUT_FACTS.many())?;
    for (event, outcome) in done {
        let (state, error) = match outcome {
            Outcome::Applied { .. } => (EventState::Applied, None),
            Outcome::Ignored => (EventState::Ignored, None),
            Outcome::Waiting => (EventState::Waiting, Some("no payment is registered for it yet")),
        };
        let due_at = event.due_at.map(Timestamp::micros);
        settle.add(values![account.as_str(), state.as_str(), now.micros(), error, event.seq, due_at])?;
        let EventFacts { scope, facts, decides: _ } = &event.facts;
        let payment = set.ledger.payment_of(scope, facts).and_then(|id| set.numbers.get(id)).copied();
        put_facts.add(values![
            account.as_str(),
            event.seq,
            payment,
            &event.object_id,
            event.needs_fetch,
            &event.text
        ])?;
    }
    settle.run()?;
    put_facts.run()?;
    Ok(())
}

/// Events that waited for a payment to be registered, and whose payment it turned out to be
/// because of another event: their facts joined, so they are applied.
fn waited<'a>(
    tx: &Tx<'_>,
    account: &AccountId,
    set: &WorkingSet,
    done: impl Iterator<Item = (&'a Prepared, &'a Outcome)>,
    now: Timestamp,
) -> Result<()> {
    let WorkingSet { ledger, numbers, hidden } = set;
    let waiting = done.filter(|(_, outcome)| matches!(outcome, Outcome::Waiting));
    let of_waiting = waiting.filter_map(|(event, _)| ledger.payment_of(&event.facts.scope, &event.facts.facts));
    let joined: BTreeSet<&str> = of_waiting.chain(ledger.renamed().map(|(_, new)| new)).collect();
    let mut settle = tx.batch(&SETTLE_WAITING)?;
    for (id, _) in ledger.payments().iter().filter(|(_, entry)| entry.changed && entry.payment.visible) {
        if let Some(number) = numbers.get(id)
            && (hidden.contains(number) || joined.contains(id.as_str()))
        {
            settle.add(values![account.as_str(), *number, now.micros()])?;
        }
    }
    settle.run()?;
    Ok(())
}

pub(crate) fn facts_text(facts: &Facts) -> Result<String> {
    serde_json::to_string(facts).map_err(|error| Error::corrupt("payment", "", error))
}

/// Payments and orders that changed, with their refunds and disputes, and to which
/// payment each object belongs.
fn state(tx: &Tx<'_>, account: &AccountId, set: &mut WorkingSet, now: Timestamp) -> Result<()> {
    let WorkingSet { ledger, numbers, hidden: _ } = set;
    // Within one batch an object may have changed hands more than once.
    let owners: BTreeMap<_, _> = ledger.new_owners().map(|(scope, key, owner)| ((scope, key), owner)).collect();
    let mut put_owner = tx.batch(PUT_OWNER.many())?;
    for ((scope, key), payment_id) in owners {
        let (mode, kind) = (scope.mode.as_str(), key.kind.as_str());
        put_owner.add(values![account.as_str(), &scope.gateway, mode, &key.id, kind, payment_id])?;
    }
    put_owner.run()?;
    let changed = || ledger.payments().iter().filter(|(_, entry)| entry.changed);
    let mut new_numbers = new_numbers(tx, changed().filter(|(id, _)| !numbers.contains_key(*id)).count())?.into_iter();
    let mut insert = tx.batch(&INSERT_PAYMENT)?;
    let mut update = tx.batch(&UPDATE_PAYMENT)?;
    let mut refunds = tx.batch(PUT_REFUND.many())?;
    let mut disputes = tx.batch(PUT_DISPUTE.many())?;
    for (id, entry) in changed() {
        let payment = &entry.payment;
        if let Some(number) = numbers.get(id) {
            update.add(payment_row(account, entry, *number, now)?)?;
            if !tx.is_postgres() {
                let place = values![&payment.order_id, &payment.booking_id, *number, account.as_str()];
                tx.execute(MOVE_PAYMENT, &place)?;
            }
        } else if let Some(number) = new_numbers.next() {
            insert.add(payment_row(account, entry, number, now)?)?;
            numbers.insert(id.clone(), number);
        }
        for refund in &payment.refunds {
            refunds.add(refund_row(account, &payment.id, refund, now))?;
        }
        for dispute in &payment.disputes {
            disputes.add(dispute_row(account, &payment.id, dispute, now))?;
        }
    }
    insert.run()?;
    update.run()?;
    refunds.run()?;
    disputes.run()?;
    names(tx, account, changed().map(|(_, entry)| entry), now)?;
    orders(tx, account, ledger, now)
}

/// Numbers for so many new payments. They grow with time.
pub(crate) fn new_numbers(tx: &Tx<'_>, count: usize) -> Result<Vec<i64>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if tx.is_postgres() {
        let sql = "SELECT nextval('payment_number') FROM generate_series(1, $1)";
        return tx.query(sql, &values![count as i64], |row| row.get(0));
    }
    let newest = tx.first("SELECT coalesce(max(number), 0) FROM payment", &[], |row| row.get::<i64>(0))?.unwrap_or(0);
    Ok((newest + 1..=newest + count as i64).collect())
}

/// Removes refunds and disputes that are called otherwise now: their ids are made of where
/// their payment comes from, which another gateway's object can change.
fn forget_parts(tx: &Tx<'_>, account: &AccountId, payment: &Payment) -> Result<()> {
    let refunds: BTreeSet<&str> = payment.refunds.iter().map(|refund| refund.id.as_str()).collect();
    let disputes: BTreeSet<&str> = payment.disputes.iter().map(|dispute| dispute.id.as_str()).collect();
    let parts = [
        (
            "SELECT id FROM refund WHERE account = $1 AND payment_id = $2",
            "DELETE FROM refund WHERE account = $1 AND id = $2",
            refunds,
        ),
        (
            "SELECT id FROM dispute WHERE account = $1 AND payment_id = $2",
            "DELETE FROM dispute WHERE account = $1 AND id = $2",
            disputes,
        ),
    ];
    for (stored, delete, ids) in parts {
        let stored: Vec<String> = tx.query(stored, &values![account.as_str(), &payment.id], |row| row.get(0))?;
        for id in stored.iter().filter(|id| !ids.contains(id.as_str())) {
            tx.execute(delete, &values![account.as_str(), id])?;
        }
    }
    Ok(())
}

fn orders(tx: &Tx<'_>, account: &AccountId, ledger: &Ledger, now: Timestamp) -> Result<()> {
    let mut put = tx.batch(PUT_ORDER.many())?;
    for (id, entry) in ledger.orders().iter().filter(|(_, entry)| entry.changed) {
        let Some(order) = &entry.order else {
            // Nobody registered it, and the payment that named it names another one now.
            tx.execute("DELETE FROM merchant_order WHERE account = $1 AND id = $2", &values![account.as_str(), id])?;
            continue;
        };
        put.add(order_row(account, id, entry.due, order, now))?;
    }
    put.run()?;
    Ok(())
}

/// A transition on its way to history.
struct Observed<'a> {
    event_seq: i64,
    change: &'a Change,
    payment: i64,
    subject_id: &'a str,
}

/// Every transition, in the order in which it came about, and whether somebody is to be
/// told of it.
fn history<'a>(
    tx: &Tx<'_>,
    account: &AccountId,
    set: &'a WorkingSet,
    changes: impl Iterator<Item = (i64, &'a Change)>,
    now: Timestamp,
) -> Result<()> {
    let renamed: HashMap<&str, &str> = set.ledger.renamed().collect();
    let current = |id| renamed.get(id).copied().unwrap_or(id);
    let observed = changes.map(|(event_seq, change)| Observed {
        event_seq,
        change,
        payment: set.numbers.get(current(change.payment_id.as_str())).copied().unwrap_or(NO_PAYMENT),
        subject_id: if change.subject == Subject::Payment { current(&change.id) } else { &change.id },
    });
    let observed: Vec<Observed<'_>> = observed.collect();
    let mut said = said_before(tx, account, &observed)?;
    let mut insert = tx.batch(INSERT_HISTORY.many())?;
    for step in &observed {
        let notice = step.change.notice().filter(|notice| match once_of(step) {
            Some(once) if notice.once => said.insert(once),
            _ => true,
        });
        insert.add(values![
            account.as_str(),
            step.change.subject.as_str(),
            step.subject_id,
            step.payment,
            step.change.from,
            step.change.to,
            step.event_seq,
            now.micros(),
            notice.map(|notice| notice.kind),
        ])?;
    }
    insert.run()?;
    Ok(())
}

/// What is said only once: of the payment with this number, or of this order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Once<'a> {
    OfPayment(i64, &'static str),
    OfOrder(&'a str, &'static str),
}

/// A booking that was given up is never confirmed again: its notices need no look.
fn once_of<'a>(step: &Observed<'a>) -> Option<Once<'a>> {
    let notice = step.change.notice().filter(|notice| notice.once)?;
    match step.change.subject {
        Subject::Payment => Some(Once::OfPayment(step.payment, notice.kind)),
        Subject::Order => Some(Once::OfOrder(&step.change.id, notice.kind)),
        _ => None,
    }
}

/// Which of what is said only once was said already.
fn said_before<'a>(tx: &Tx<'_>, account: &AccountId, observed: &[Observed<'a>]) -> Result<HashSet<Once<'a>>> {
    let (mut of_payments, mut of_orders) = (Vec::new(), Vec::new());
    for once in observed.iter().filter_map(once_of).collect::<HashSet<_>>() {
        match once {
            Once::OfPayment(payment, kind) => of_payments.push((payment, kind)),
            Once::OfOrder(id, kind) => of_orders.push((id, kind)),
        }
    }
    let mut said = HashSet::new();
    let keys = of_payments.iter().map(|(payment, kind)| values![account.as_str(), *payment, *kind]);
    tx.look_up(&SAID_OF_PAYMENT, keys, |index, _| {
        said.insert(Once::OfPayment(of_payments[index].0, of_payments[index].1));
        Ok(())
    })?;
    let keys = of_orders.iter().map(|(id, kind)| values![account.as_str(), *id, *kind]);
    tx.look_up(&SAID_OF_ORDER, keys, |index, _| {
        said.insert(Once::OfOrder(of_orders[index].0, of_orders[index].1));
        Ok(())
    })?;
    Ok(said)
}

/// What history has in place of a payment where none is concerned.
pub(crate) const NO_PAYMENT: i64 = 0;

fn bookings(tx: &Tx<'_>, account: &AccountId, ledger: &Ledger, now: Timestamp) -> Result<()> {
    put_bookings(tx, account, ledger.bookings().iter().filter(|(_, entry)| entry.changed), now)
}

pub(crate) fn put_bookings<'b>(
    tx: &Tx<'_>,
    account: &AccountId,
    entries: impl Iterator<Item = (&'b String, &'b BookingEntry)>,
    now: Timestamp,
) -> Result<()> {
    let mut put = tx.batch(PUT_BOOKING.many())?;
    let mut sessions = tx.batch(PUT_SESSION.many())?;
    // Those who give days up before those who take them.
    let (taking, giving): (Vec<_>, Vec<_>) =
        entries.partition(|(_, entry)| entry.booking.status.as_str() == "confirmed");
    for (id, entry) in giving.into_iter().chain(taking) {
        put.add(booking_row(account, id, entry, now))?;
        let terms = &entry.inputs.terms;
        let vouched = terms.session_ids.iter().map(|session| (session, true));
        for (session, vouched) in vouched.chain(terms.hinted_session_ids.iter().map(|session| (session, false))) {
            sessions.add(values![account.as_str(), session, id, vouched])?;
        }
    }
    put.run()?;
    sessions.run()?;
    Ok(())
}

/// What the application registered of payments; of one that it did not register, the
/// names by which it may turn out to mean one.
pub(crate) fn names<'e>(
    tx: &Tx<'_>,
    account: &AccountId,
    entries: impl Iterator<Item = &'e Entry>,
    now: Timestamp,
) -> Result<()> {
    let mut put_name = tx.batch(PUT_NAME.many())?;
    let mut put_wanted = tx.batch(PUT_WANTED.many())?;
    for entry in entries {
        let id = &entry.payment.id;
        if let Some((_, registration)) = entry.facts.registration() {
            let text = serde_json::to_string(registration).map_err(|error| Error::corrupt("payment", id, error))?;
            if tx.execute(PUT_REGISTRATION, &values![account.as_str(), id, text, now.micros()])? == 1 {
                let own = (ReferenceKind::Id, id.as_str());
                for (kind, name) in std::iter::once(own).chain(registration.names()) {
                    put_name.add(values![account.as_str(), name, kind.as_str(), id])?;
                }
            }
        } else {
            for name in entry.facts.wanted() {
                put_wanted.add(values![account.as_str(), name, "payment", id])?;
            }
        }
        for name in entry.facts.booking_ids().into_iter().filter(|_| entry.facts.bookings.is_empty()) {
            put_wanted.add(values![account.as_str(), name, "booking", id])?;
        }
        for name in entry.facts.wanted_orders() {
            put_wanted.add(values![account.as_str(), name, "order", id])?;
        }
    }
    put_name.run()?;
    put_wanted.run()?;
    Ok(())
}

/// Facts showed that what seemed to be two payments is one: what belonged to the old
/// one belongs to the new one, and the old id leads there.
fn renames(tx: &Tx<'_>, account: &AccountId, set: &WorkingSet) -> Result<()> {
    let renames: BTreeMap<&str, &str> = set.ledger.renamed().collect();
    let old_number = "SELECT number FROM payment WHERE account = $1 AND id = $2";
    for (old, new) in renames {
        let account = account.as_str();
        let stored: Option<i64> = tx.first(old_number, &values![account, old], |row| row.get(0))?;
        if let (Some(stored), Some(number)) = (stored, set.numbers.get(new)) {
            let numbers = values![account, stored, *number];
            tx.execute("UPDATE event_facts SET payment = $3 WHERE account = $1 AND payment = $2", &numbers)?;
            tx.execute(
                "UPDATE history SET payment = $3, subject_id = CASE WHEN subject_id = $4 THEN $5 ELSE subject_id END
                 WHERE account = $1 AND payment = $2",
                &values![account, stored, *number, old, new],
            )?;
            tx.execute("DELETE FROM payment WHERE account = $1 AND number = $2", &values![account, stored])?;
        }
        let by_id = [
            "UPDATE refund SET payment_id = $3 WHERE account = $1 AND payment_id = $2",
            "UPDATE dispute SET payment_id = $3 WHERE account = $1 AND payment_id = $2",
            "UPDATE payment_alias SET payment_id = $3 WHERE account = $1 AND payment_id = $2",
            "DELETE FROM wanted_name WHERE account = $1 AND payment_id = $2 AND EXISTS (
                 SELECT 1 FROM wanted_name o WHERE o.account = $1 AND o.payment_id = $3
                 AND o.name = wanted_name.name AND o.kind = wanted_name.kind)",
            "UPDATE wanted_name SET payment_id = $3 WHERE account = $1 AND payment_id = $2",
            "INSERT INTO payment_alias (account, alias, payment_id) VALUES ($1, $2, $3)
             ON CONFLICT (account, alias) DO UPDATE SET payment_id = excluded.payment_id",
        ];
        for sql in by_id {
            tx.execute(sql, &values![account, old, new])?;
        }
    }
    Ok(())
}
