//! Comparing every derived table with what was derived, and putting it right.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;

use domain::ledger::{BookingEntry, Entry, OrderEntry};
use domain::{AccountId, PaymentStatus, ReferenceKind, Subject, Timestamp};

use super::derive::Derived;
use super::table::{Deviation, Table, delete};
use super::{Comparison, Difference};
use crate::connection::Tx;
use crate::sql::{Value, values};
use crate::write::statements::{
    INSERT_HISTORY, INSERT_PAYMENT, MOVE_PAYMENT, PAYMENT, PUT_DISPUTE, PUT_FACTS, PUT_NAME, PUT_ORDER, PUT_OWNER,
    PUT_REFUND, UPDATE_PAYMENT,
};
use crate::write::{self, NO_EVENT, NO_PAYMENT, Numbers, columns};
use crate::{Error, Result};

/// Rows that are written at a time.
const PAGE: usize = 500;
/// When a row was written says nothing of the events.
const TIMES: [&str; 2] = ["created_at", "updated_at"];
/// In rows that are only compared.
const UNTIMED: Timestamp = Timestamp::from_micros(0);

static PAYMENTS: LazyLock<Table> =
    LazyLock::new(|| Table::new(("payment", "payment"), &["id"], &PAYMENT, &["updated_at", "number"], &["status"]));
static REFUNDS: LazyLock<Table> =
    LazyLock::new(|| Table::new(("refund", "refund"), &["id"], &columns::REFUND, &TIMES, &["status"]));
static DISPUTES: LazyLock<Table> =
    LazyLock::new(|| Table::new(("dispute", "dispute"), &["id"], &columns::DISPUTE, &TIMES, &["status"]));
static ORDERS: LazyLock<Table> =
    LazyLock::new(|| Table::new(("order", "merchant_order"), &["id"], &columns::ORDER, &TIMES, &["payment_status"]));
static BOOKINGS: LazyLock<Table> = LazyLock::new(|| {
    Table::new(("booking", "booking"), &["id"], &columns::BOOKING, &TIMES, &["status", "payment_status"])
});
static OWNERS: LazyLock<Table> = LazyLock::new(|| {
    let key = &["object_id", "kind", "gateway", "mode"];
    Table::new(("object", "gateway_object"), key, &columns::OWNER, &[], &["payment_id"])
});
static NAMES: LazyLock<Table> =
    LazyLock::new(|| Table::new(("name", "payment_name"), &["name", "kind"], &columns::NAME, &[], &["payment_id"]));

const DELETE_PAYMENT: &str = "DELETE FROM payment WHERE account = $1 AND id = $2";
const DELETE_REFUND: &str = "DELETE FROM refund WHERE account = $1 AND id = $2";
const DELETE_DISPUTE: &str = "DELETE FROM dispute WHERE account = $1 AND id = $2";
const DELETE_ORDER: &str = "DELETE FROM merchant_order WHERE account = $1 AND id = $2";
const DELETE_OWNER: &str = "DELETE FROM gateway_object
     WHERE account = $1 AND object_id = $2 AND kind = $3 AND gateway = $4 AND mode = $5";
const DELETE_NAME: &str = "DELETE FROM payment_name WHERE account = $1 AND name = $2 AND kind = $3";

/// Compares; where it is told the time, it writes what differs as well.
pub(super) fn compare(
    tx: &Tx<'_>,
    account: &AccountId,
    derived: &Derived,
    now: Option<Timestamp>,
) -> Result<Comparison> {
    let comparison =
        Comparison { events: derived.stated.len() as u64, lost: derived.lost.clone(), ..Comparison::default() };
    let mut comparing = Comparing { tx, account, derived, now, numbers: Numbers::new(), comparison };
    comparing.payments()?;
    comparing.refunds()?;
    comparing.disputes()?;
    comparing.orders()?;
    comparing.bookings()?;
    comparing.owners()?;
    comparing.names()?;
    comparing.events()?;
    Ok(comparing.comparison)
}

struct Comparing<'a> {
    tx: &'a Tx<'a>,
    account: &'a AccountId,
    derived: &'a Derived,
    now: Option<Timestamp>,
    /// Of the payments that were derived.
    numbers: Numbers,
    comparison: Comparison,
}

/// A status that was not what it should be.
struct Corrected<'d> {
    subject: Subject,
    id: String,
    payment: i64,
    from: Option<String>,
    to: &'d str,
}

type Missing<'d> = Deviation<'d, &'d Entry>;

impl<'a> Comparing<'a> {
    fn note<D>(comparison: &mut Comparison, account: &AccountId, table: &Table, deviations: &[Deviation<'_, D>]) {
        for deviation in deviations {
            let (stored, derived) = table.describe(deviation);
            let subject = format!("{} {}", table.noun, deviation.key.join(" "));
            comparison.differences.push(Difference { account: account.clone(), subject, stored, derived });
        }
    }

    fn payments(&mut self) -> Result<()> {
        let (tx, account, derived, now) = (self.tx, self.account, self.derived, self.now);
        let entries = derived.ledger.payments();
        let mut used = HashSet::new();
        let mut missing: Vec<Missing<'_>> = Vec::new();
        let (numbers, comparison) = (&mut self.numbers, &mut self.comparison);
        let (id, number) = (PAYMENTS.index("id"), PAYMENTS.index("number"));
        let stored = PAYMENTS.compare(
            tx,
            account,
            entries.iter().map(|(id, entry)| (vec![id.as_str()], entry)),
            |entry| Ok(write::payment_row(account, entry, 0, UNTIMED)?.to_vec()),
            |row| {
                if let (Value::Text(Some(id)), Value::Int(Some(number))) = (&row[id], &row[number])
                    && entries.contains_key(id.as_ref())
                {
                    numbers.insert(id.to_string(), *number);
                    used.insert(*number);
                }
            },
            |deviations| {
                Self::note(comparison, account, &PAYMENTS, &deviations);
                let (here, gone): (Vec<_>, Vec<_>) = deviations.into_iter().partition(|row| row.stored.is_some());
                missing.extend(gone);
                if let Some(now) = now { put_payments(tx, account, &here, now) } else { Ok(()) }
            },
        )?;
        self.comparison.payments = stored;
        self.missing_payments(&missing, &used)
    }

    /// A payment that is gone has the number back by which its events and its history
    /// know it, so that what was said of it is not said again.
    fn missing_payments(&mut self, missing: &[Missing<'a>], used: &HashSet<i64>) -> Result<()> {
        if missing.is_empty() {
            return Ok(());
        }
        let ids: HashSet<&str> = missing.iter().map(|row| row.key[0].as_str()).collect();
        let mut known: HashMap<&str, i64> = HashMap::new();
        for stated in &self.derived.stated {
            if let (Some(id), Some(number)) = (self.derived.payment_of(stated), stated.payment)
                && ids.contains(id)
                && !used.contains(&number)
            {
                known.entry(id).or_insert(number);
            }
        }
        let by_history = "SELECT payment FROM history WHERE account = $1 AND subject = 'payment' AND subject_id = $2
                          ORDER BY seq DESC LIMIT 1";
        let mut taken = used.clone();
        for row in missing {
            let id = row.key[0].as_str();
            let number = match known.get(id) {
                Some(number) => Some(*number),
                None => self.tx.first(by_history, &values![self.account.as_str(), id], |row| row.get(0))?,
            };
            if let Some(number) = number.filter(|number| *number != NO_PAYMENT && !taken.contains(number))
                && self.is_free(number)?
            {
                taken.insert(number);
                self.numbers.insert(id.to_owned(), number);
            }
        }
        let Some(now) = self.now else { return Ok(()) };
        for rows in missing.chunks(PAGE) {
            self.insert_payments(rows, now)?;
        }
        Ok(())
    }

    /// SQLite numbers the payments of all accounts together.
    fn is_free(&self, number: i64) -> Result<bool> {
        let of_account = "SELECT EXISTS (SELECT 1 FROM payment WHERE number = $2 AND account = $1)";
        let of_all = "SELECT EXISTS (SELECT 1 FROM payment WHERE number = $2)";
        let sql = if self.tx.is_postgres() { of_account } else { of_all };
        Ok(!self.tx.holds(sql, &values![self.account.as_str(), number])?)
    }

    fn insert_payments(&mut self, rows: &[Missing<'a>], now: Timestamp) -> Result<()> {
        let unnumbered = rows.iter().filter(|row| !self.numbers.contains_key(&row.key[0])).count();
        let mut new = write::new_numbers(self.tx, unnumbered)?.into_iter();
        let mut insert = self.tx.batch(&INSERT_PAYMENT)?;
        let mut corrected = Vec::new();
        for row in rows {
            let Some((entry, _)) = &row.derived else { continue };
            let id = &row.key[0];
            let Some(number) = self.numbers.get(id).copied().or_else(|| new.next()) else { continue };
            self.numbers.insert(id.clone(), number);
            insert.add(write::payment_row(self.account, entry, number, now)?)?;
            if entry.payment.visible {
                let (subject, id) = (Subject::Payment, id.clone());
                corrected.push(Corrected {
                    subject,
                    id,
                    payment: number,
                    from: None,
                    to: entry.payment.status.as_str(),
                });
            }
        }
        insert.run()?;
        write::names(self.tx, self.account, rows.iter().filter_map(|row| row.derived.as_ref()).map(|(e, _)| *e), now)?;
        put_history(self.tx, self.account, &corrected, now)
    }

    fn refunds(&mut self) -> Result<()> {
        let entries = self.derived.ledger.payments().values();
        let of_payment =
            |entry: &'a Entry| entry.payment.refunds.iter().map(move |refund| (refund.id.as_str(), (entry, refund)));
        let refunds: BTreeMap<&str, _> = entries.flat_map(of_payment).collect();
        let (tx, account, now, numbers, comparison) =
            (self.tx, self.account, self.now, &self.numbers, &mut self.comparison);
        REFUNDS.compare(
            tx,
            account,
            refunds.into_iter().map(|(id, refund)| (vec![id], refund)),
            |(entry, refund)| Ok(write::refund_row(account, &entry.payment.id, refund, UNTIMED).to_vec()),
            |_| {},
            |deviations| {
                Self::note(comparison, account, &REFUNDS, &deviations);
                let Some(now) = now else { return Ok(()) };
                let (mut put, mut corrected) = (tx.batch(PUT_REFUND.many())?, Vec::new());
                for row in &deviations {
                    let Some(((entry, refund), _)) = row.derived else {
                        delete(tx, DELETE_REFUND, account, &row.key)?;
                        continue;
                    };
                    put.add(write::refund_row(account, &entry.payment.id, refund, now))?;
                    let from = stored_text(&REFUNDS, row, "status");
                    let to = refund.status.as_str();
                    corrected.extend(corrected_part(Subject::Refund, &row.key[0], entry, numbers, from, to));
                }
                put.run()?;
                put_history(tx, account, &corrected, now)
            },
        )?;
        Ok(())
    }

    fn disputes(&mut self) -> Result<()> {
        let entries = self.derived.ledger.payments().values();
        let of_payment = |entry: &'a Entry| {
            entry.payment.disputes.iter().map(move |dispute| (dispute.id.as_str(), (entry, dispute)))
        };
        let disputes: BTreeMap<&str, _> = entries.flat_map(of_payment).collect();
        let (tx, account, now, numbers, comparison) =
            (self.tx, self.account, self.now, &self.numbers, &mut self.comparison);
        DISPUTES.compare(
            tx,
            account,
            disputes.into_iter().map(|(id, dispute)| (vec![id], dispute)),
            |(entry, dispute)| Ok(write::dispute_row(account, &entry.payment.id, dispute, UNTIMED).to_vec()),
            |_| {},
            |deviations| {
                Self::note(comparison, account, &DISPUTES, &deviations);
                let Some(now) = now else { return Ok(()) };
                let (mut put, mut corrected) = (tx.batch(PUT_DISPUTE.many())?, Vec::new());
                for row in &deviations {
                    let Some(((entry, dispute), _)) = row.derived else {
                        delete(tx, DELETE_DISPUTE, account, &row.key)?;
                        continue;
                    };
                    put.add(write::dispute_row(account, &entry.payment.id, dispute, now))?;
                    let from = stored_text(&DISPUTES, row, "status");
                    let to = dispute.status.as_str();
                    corrected.extend(corrected_part(Subject::Dispute, &row.key[0], entry, numbers, from, to));
                }
                put.run()?;
                put_history(tx, account, &corrected, now)
            },
        )?;
        Ok(())
    }

    fn orders(&mut self) -> Result<()> {
        let orders = self.derived.ledger.orders().iter();
        let there =
            orders.filter_map(|(id, entry)| Some((vec![id.as_str()], (id.as_str(), entry, entry.order.as_ref()?))));
        let (tx, account, now, comparison) = (self.tx, self.account, self.now, &mut self.comparison);
        let row = |(id, entry, order): (&'a str, &'a OrderEntry, &'a domain::Order), at| {
            write::order_row(account, id, entry.due, order, at)
        };
        let stored = ORDERS.compare(
            tx,
            account,
            there,
            |order| Ok(row(order, UNTIMED).to_vec()),
            |_| {},
            |deviations| {
                Self::note(comparison, account, &ORDERS, &deviations);
                let Some(now) = now else { return Ok(()) };
                let (mut put, mut corrected) = (tx.batch(PUT_ORDER.many())?, Vec::new());
                for deviation in &deviations {
                    let Some((order, _)) = deviation.derived else {
                        delete(tx, DELETE_ORDER, account, &deviation.key)?;
                        continue;
                    };
                    put.add(row(order, now))?;
                    let from = stored_text(&ORDERS, deviation, "payment_status");
                    let status: PaymentStatus = order.2.payment_status;
                    corrected.push(Corrected {
                        subject: Subject::Order,
                        id: deviation.key[0].clone(),
                        payment: NO_PAYMENT,
                        from,
                        to: status.as_str(),
                    });
                }
                put.run()?;
                put_history(tx, account, &corrected, now)
            },
        )?;
        self.comparison.orders = stored;
        Ok(())
    }

    fn bookings(&mut self) -> Result<()> {
        let (tx, account, now, comparison) = (self.tx, self.account, self.now, &mut self.comparison);
        let bookings = self.derived.ledger.bookings().iter();
        let mut wrong: Vec<(&String, &BookingEntry)> = Vec::new();
        let mut corrected = Vec::new();
        let stored = BOOKINGS.compare(
            tx,
            account,
            bookings.map(|(id, entry)| (vec![id.as_str()], (id, entry))),
            |(id, entry)| Ok(write::booking_row(account, id, entry, UNTIMED).to_vec()),
            |_| {},
            |deviations| {
                Self::note(comparison, account, &BOOKINGS, &deviations);
                for row in &deviations {
                    let Some(((id, entry), _)) = row.derived else { continue };
                    wrong.push((id, entry));
                    corrected.push(Corrected {
                        subject: Subject::Booking,
                        id: id.clone(),
                        payment: NO_PAYMENT,
                        from: stored_text(&BOOKINGS, row, "status"),
                        to: entry.booking.status.as_str(),
                    });
                }
                Ok(())
            },
        )?;
        self.comparison.bookings = stored;
        let Some(now) = now else { return Ok(()) };
        // All together: some have to give days up before others can have them.
        write::put_bookings(tx, account, wrong.into_iter(), now)?;
        put_history(tx, account, &corrected, now)
    }

    fn owners(&mut self) -> Result<()> {
        let (tx, account, now, comparison) = (self.tx, self.account, self.now, &mut self.comparison);
        let owners = self.derived.ledger.owners().map(|(scope, key, payment)| {
            let (gateway, mode) = (scope.gateway.as_str(), scope.mode.as_str());
            [key.id.as_str(), key.kind.as_str(), gateway, mode, payment]
        });
        let mut owners: Vec<[&str; 5]> = owners.collect();
        owners.sort_unstable();
        let row = |[object, kind, gateway, mode, payment]: [&'a str; 5]| {
            values![account.as_str(), gateway, mode, object, kind, payment]
        };
        OWNERS.compare(
            tx,
            account,
            owners.into_iter().map(|owner| (owner[..4].to_vec(), owner)),
            |owner| Ok(row(owner).to_vec()),
            |_| {},
            |deviations| {
                Self::note(comparison, account, &OWNERS, &deviations);
                if now.is_none() {
                    return Ok(());
                }
                let mut put = tx.batch(PUT_OWNER.many())?;
                for deviation in &deviations {
                    match deviation.derived {
                        Some((owner, _)) => put.add(row(owner))?,
                        None => delete(tx, DELETE_OWNER, account, &deviation.key)?,
                    }
                }
                put.run()?;
                Ok(())
            },
        )?;
        Ok(())
    }

    /// Under which names registered payments are found.
    fn names(&mut self) -> Result<()> {
        let (tx, account, now, comparison) = (self.tx, self.account, self.now, &mut self.comparison);
        let mut names: Vec<[&str; 3]> = Vec::new();
        for (id, entry) in self.derived.ledger.payments() {
            let Some((_, registration)) = entry.facts.registration() else { continue };
            names.push([id, ReferenceKind::Id.as_str(), id]);
            names.extend(registration.names().map(|(kind, name)| [name, kind.as_str(), id]));
        }
        names.sort_unstable();
        let row = |[name, kind, payment]: [&'a str; 3]| values![account.as_str(), name, kind, payment];
        NAMES.compare(
            tx,
            account,
            names.into_iter().map(|name| (name[..2].to_vec(), name)),
            |name| Ok(row(name).to_vec()),
            |_| {},
            |deviations| {
                Self::note(comparison, account, &NAMES, &deviations);
                if now.is_none() {
                    return Ok(());
                }
                let mut put = tx.batch(PUT_NAME.many())?;
                for deviation in &deviations {
                    if deviation.stored.is_some() {
                        delete(tx, DELETE_NAME, account, &deviation.key)?;
                    }
                    if let Some((name, _)) = deviation.derived {
                        put.add(row(name))?;
                    }
                }
                put.run()?;
                Ok(())
            },
        )?;
        Ok(())
    }

    /// What each event stated, and to which payment it belongs.
    fn events(&mut self) -> Result<()> {
        let amended: HashMap<i64, _> = self.derived.amended.iter().map(|event| (event.seq, event)).collect();
        let move_facts = "UPDATE event_facts SET payment = $3 WHERE account = $1 AND seq = $2";
        for stated in &self.derived.stated {
            let id = self.derived.payment_of(stated);
            let number = id.and_then(|id| self.numbers.get(id)).copied();
            let amended = amended.get(&stated.seq);
            if amended.is_none() && number == stated.payment && number.is_some() == id.is_some() {
                continue;
            }
            let stored = match amended {
                Some(amended) => amended.stored.to_owned(),
                None => format!("of {}", self.payment_called(stated.payment)),
            };
            self.comparison.differences.push(Difference {
                account: self.account.clone(),
                subject: format!("event {}", stated.seq),
                stored,
                derived: id.map_or_else(|| "of no payment".to_owned(), |id| format!("of payment {id}")),
            });
            if self.now.is_none() {
                continue;
            }
            let account = self.account.as_str();
            match amended {
                None => drop(self.tx.execute(move_facts, &values![account, stated.seq, number])?),
                Some(amended) => {
                    let (object_id, needs_fetch) = (&amended.restated.object_id, amended.restated.needs_fetch);
                    let mut put = self.tx.batch(PUT_FACTS.many())?;
                    put.add(values![account, stated.seq, number, object_id, needs_fetch, &amended.text])?;
                    put.run()?;
                }
            }
        }
        Ok(())
    }

    fn payment_called(&self, number: Option<i64>) -> String {
        let Some(number) = number else { return "no payment".to_owned() };
        let found = self.numbers.iter().find(|(_, known)| **known == number);
        found.map_or_else(|| "a payment that is not there".to_owned(), |(id, _)| format!("payment {id}"))
    }
}

/// Rows that are there and should not be, or should say something else.
fn put_payments(tx: &Tx<'_>, account: &AccountId, rows: &[Missing<'_>], now: Timestamp) -> Result<()> {
    let mut update = tx.batch(&UPDATE_PAYMENT)?;
    let (mut entries, mut corrected) = (Vec::new(), Vec::new());
    for row in rows {
        let Some((entry, _)) = row.derived else {
            delete(tx, DELETE_PAYMENT, account, &row.key)?;
            continue;
        };
        let number = match row.stored.as_ref().map(|stored| &stored[PAYMENTS.index("number")]) {
            Some(Value::Int(Some(number))) => *number,
            _ => return Err(Error::corrupt("payment", &row.key[0], "it has no number")),
        };
        let payment = &entry.payment;
        update.add(write::payment_row(account, entry, number, now)?)?;
        if !tx.is_postgres() {
            tx.execute(MOVE_PAYMENT, &values![&payment.order_id, &payment.booking_id, number, account.as_str()])?;
        }
        if payment.visible {
            let statuses = [
                (Subject::Payment, "status", payment.status.as_str()),
                (Subject::PaymentDispute, "dispute_status", payment.dispute_status.as_str()),
            ];
            corrected.extend(statuses.map(|(subject, column, to)| {
                let from = stored_text(&PAYMENTS, row, column);
                Corrected { subject, id: payment.id.clone(), payment: number, from, to }
            }));
        }
        entries.push(entry);
    }
    update.run()?;
    write::names(tx, account, entries.into_iter(), now)?;
    put_history(tx, account, &corrected, now)
}

fn stored_text<D>(table: &Table, row: &Deviation<'_, D>, column: &str) -> Option<String> {
    match row.stored.as_ref().map(|stored| &stored[table.index(column)]) {
        Some(Value::Text(Some(text))) => Some(text.to_string()),
        _ => None,
    }
}

/// As elsewhere, history says nothing of what belongs to a payment that nobody asked for.
fn corrected_part<'d>(
    subject: Subject,
    id: &str,
    entry: &Entry,
    numbers: &Numbers,
    from: Option<String>,
    to: &'d str,
) -> Option<Corrected<'d>> {
    let payment = numbers.get(&entry.payment.id).copied().unwrap_or(NO_PAYMENT);
    entry.facts.is_known().then(|| Corrected { subject, id: id.to_owned(), payment, from, to })
}

/// A row for each status that changes, so that an operator sees it. No event caused it,
/// and nobody is told: whoever was to be told was told when the event was applied.
fn put_history(tx: &Tx<'_>, account: &AccountId, corrected: &[Corrected<'_>], now: Timestamp) -> Result<()> {
    let mut insert = tx.batch(INSERT_HISTORY.many())?;
    for row in corrected.iter().filter(|row| row.from.as_deref() != Some(row.to)) {
        insert.add(values![
            account.as_str(),
            row.subject.as_str(),
            &row.id,
            row.payment,
            row.from.as_deref(),
            row.to,
            NO_EVENT,
            now.micros(),
            None::<&str>,
        ])?;
    }
    insert.run()?;
    Ok(())
}
