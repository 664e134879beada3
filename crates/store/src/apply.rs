//! Turning stored events into state: one transaction a batch, of one account.

use std::collections::{BTreeMap, BTreeSet};

use domain::ledger::Entry;
use domain::{
    AccountId, Change, Currency, EventFacts, Facts, Ledger, Mode, Money, ObjectKey, ObjectKind, Outcome, Scope,
    Timestamp,
};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use crate::events::json_list;
use crate::rows::Rows;
use crate::{Error, EventState, Result, Store};

/// An event that is due, with its bodies.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub seq: i64,
    pub scope: Scope,
    pub event_id: String,
    pub event_type: String,
    pub endpoint: String,
    pub creates: bool,
    /// That failed so far.
    pub attempts: u32,
    pub received_at: Timestamp,
    /// `None`: there is nothing to do for it.
    pub due_at: Option<Timestamp>,
    pub body: Vec<u8>,
    /// The same event in other API versions.
    pub renderings: Vec<Vec<u8>>,
}

/// A claimed event and what it states.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub seq: i64,
    /// As it was claimed: another rendering that came since makes it another.
    pub due_at: Option<Timestamp>,
    pub facts: EventFacts,
    pub object_id: Option<String>,
    pub needs_fetch: bool,
}

/// What became of one event of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    Done(Outcome),
    /// Another worker was faster; nothing was written for it.
    Taken,
}

/// A failed attempt to apply an event.
#[derive(Clone, Debug)]
pub struct Attempt<'a> {
    pub seq: i64,
    /// Counted from 1.
    pub number: u32,
    pub error: &'a str,
    /// `None`: this was the last, the event is dead.
    pub retry_at: Option<Timestamp>,
}

static SETTLE_EVENTS: Rows = Rows::new(
    "WITH settled (seq, state, at, error) AS (VALUES",
    4,
    ") UPDATE event SET state = settled.state, settled_at = settled.at, error = settled.error, due_at = NULL
       FROM settled WHERE event.seq = settled.seq",
);
static INSERT_FACTS: Rows =
    Rows::new("INSERT OR REPLACE INTO event_facts (seq, account, object_id, needs_fetch, facts) VALUES", 5, "");
static INSERT_OWNERS: Rows = Rows::new(
    "INSERT INTO gateway_object (account, gateway, mode, object_id, kind, payment_id) VALUES",
    6,
    "ON CONFLICT DO UPDATE SET payment_id = excluded.payment_id",
);
static INSERT_PAYMENTS: Rows = Rows::new(
    "INSERT INTO payment (account, id, gateway, mode, visible, status, dispute_status, amount, currency,
                          amount_captured, amount_refunded, amount_refunding, captured_at, gateway_transaction_id,
                          order_id, customer, method, description, failure_code, failure_message, failed_attempts,
                          gateway_response, metadata, flags, facts, created_at, updated_at) VALUES",
    27,
    "ON CONFLICT DO UPDATE SET visible = excluded.visible, status = excluded.status,
        dispute_status = excluded.dispute_status, amount = excluded.amount, currency = excluded.currency,
        amount_captured = excluded.amount_captured, amount_refunded = excluded.amount_refunded,
        amount_refunding = excluded.amount_refunding, captured_at = excluded.captured_at,
        gateway_transaction_id = excluded.gateway_transaction_id, order_id = excluded.order_id,
        customer = excluded.customer, method = excluded.method, description = excluded.description,
        failure_code = excluded.failure_code, failure_message = excluded.failure_message,
        failed_attempts = excluded.failed_attempts, gateway_response = excluded.gateway_response,
        metadata = excluded.metadata, flags = excluded.flags, facts = excluded.facts,
        updated_at = excluded.updated_at",
);
static INSERT_ORDERS: Rows = Rows::new(
    "INSERT INTO merchant_order (account, id, payment_status, currency, amount_paid, amount_refunded, created_at,
                                 updated_at) VALUES",
    8,
    "ON CONFLICT DO UPDATE SET payment_status = excluded.payment_status, currency = excluded.currency,
        amount_paid = excluded.amount_paid, amount_refunded = excluded.amount_refunded,
        updated_at = excluded.updated_at",
);
static INSERT_REFUNDS: Rows = Rows::new(
    "INSERT INTO refund (account, id, payment_id, gateway_refund_id, charge_id, status, amount, currency, reason,
                         failure_reason, gateway_time, created_at, updated_at) VALUES",
    13,
    "ON CONFLICT DO UPDATE SET payment_id = excluded.payment_id, charge_id = excluded.charge_id,
        status = excluded.status, amount = excluded.amount, currency = excluded.currency, reason = excluded.reason,
        failure_reason = excluded.failure_reason, gateway_time = excluded.gateway_time,
        updated_at = excluded.updated_at",
);
static INSERT_DISPUTES: Rows = Rows::new(
    "INSERT INTO dispute (account, id, payment_id, gateway_dispute_id, charge_id, status, stage, amount, currency,
                          reason, due_by, net, gateway_time, created_at, updated_at) VALUES",
    15,
    "ON CONFLICT DO UPDATE SET payment_id = excluded.payment_id, charge_id = excluded.charge_id,
        status = excluded.status, stage = excluded.stage, amount = excluded.amount, currency = excluded.currency,
        reason = excluded.reason, due_by = excluded.due_by, net = excluded.net,
        gateway_time = excluded.gateway_time, updated_at = excluded.updated_at",
);
static INSERT_HISTORY: Rows = Rows::new(
    "INSERT INTO history (account, subject, subject_id, payment_id, from_status, to_status, event_seq, at) VALUES",
    8,
    "",
);

impl Store {
    /// Events of the account that are due, oldest first, at most `limit`. Reads only:
    /// it is `apply` that takes an event or finds it taken.
    pub async fn claim(&self, account: &AccountId, now: Timestamp, limit: u32) -> Result<Vec<Claimed>> {
        let sql = format!("{CLAIM} WHERE e.account = ? AND e.due_at <= ? ORDER BY e.due_at, e.seq LIMIT ?");
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(account.as_str()).bind(now.micros()).bind(limit);
        let mut claimed = claimed_rows(account, query.fetch_all(&self.reader).await?)?;
        self.add_renderings(account, &mut claimed).await?;
        Ok(claimed)
    }

    /// These events, due or not, as `claim` would return them. Without those whose
    /// body was dropped or that were kept only to be ignored.
    pub async fn events_to_apply(&self, account: &AccountId, seqs: &[i64]) -> Result<Vec<Claimed>> {
        let sql = format!("{CLAIM} JOIN json_each(?2) k ON e.seq = k.value
                           WHERE e.account = ?1 AND NOT (e.state = 'ignored' AND e.error IS NOT NULL) ORDER BY e.seq");
        let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(account.as_str()).bind(json_list(seqs));
        let mut claimed = claimed_rows(account, query.fetch_all(&self.reader).await?)?;
        self.add_renderings(account, &mut claimed).await?;
        Ok(claimed)
    }

    async fn add_renderings(&self, account: &AccountId, claimed: &mut [Claimed]) -> Result<()> {
        let seqs: Vec<i64> = claimed.iter().map(|event| event.seq).collect();
        let sql = "SELECT r.seq, r.body FROM json_each(?2) k
                   CROSS JOIN event_rendering r ON r.account = ?1 AND r.seq = k.value";
        let rows = sqlx::query(sql).bind(account.as_str()).bind(json_list(&seqs)).fetch_all(&self.reader).await?;
        for row in rows {
            if let Some(event) = claimed.iter_mut().find(|event| event.seq == row.get::<i64, _>(0)) {
                event.renderings.push(row.get(1));
            }
        }
        Ok(())
    }

    /// Accounts that have an event which is due.
    pub async fn accounts_due(&self, now: Timestamp) -> Result<Vec<AccountId>> {
        let mut accounts = Vec::new();
        let mut after = String::new();
        // One index probe an account, however many events are due.
        let sql = "SELECT account FROM event WHERE due_at IS NOT NULL AND account > ? ORDER BY account LIMIT 1";
        let due = "SELECT 1 FROM event WHERE account = ? AND due_at <= ? LIMIT 1";
        while let Some(row) = sqlx::query(sql).bind(&after).fetch_optional(&self.reader).await? {
            after = row.get(0);
            if sqlx::query(due).bind(&after).bind(now.micros()).fetch_optional(&self.reader).await?.is_some() {
                accounts.extend(AccountId::parse(&after));
            }
        }
        Ok(accounts)
    }

    /// Applies a batch of one account in one transaction: facts, payments, refunds,
    /// disputes, orders, history and event states change together or not at all.
    /// One outcome for each event, in their order.
    pub async fn apply(&self, account: &AccountId, batch: &[Prepared], now: Timestamp) -> Result<Vec<Settled>> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let untaken = untaken(&mut transaction, account, batch).await?;
        let mut ledger = load(&mut transaction, account, batch).await?;
        let mut settled = Vec::with_capacity(batch.len());
        for event in batch {
            let free = untaken.contains(&event.seq);
            settled.push(if free { Settled::Done(ledger.apply(&event.facts)) } else { Settled::Taken });
        }
        let done: Vec<(&Prepared, &Outcome)> = batch
            .iter()
            .zip(&settled)
            .filter_map(|(event, settled)| match settled {
                Settled::Done(outcome) => Some((event, outcome)),
                Settled::Taken => None,
            })
            .collect();
        write_events(&mut transaction, account, &done, now).await?;
        write_state(&mut transaction, account, &ledger, now).await?;
        write_history(&mut transaction, account, &done, now).await?;
        write_renames(&mut transaction, account, &ledger).await?;
        transaction.commit().await?;
        Ok(settled)
    }

    /// What `apply` would return for events that nobody took, without writing.
    pub async fn preview(&self, account: &AccountId, batch: &[Prepared]) -> Result<Vec<Outcome>> {
        let mut transaction = self.reader.begin().await?;
        let mut ledger = load(&mut transaction, account, batch).await?;
        Ok(batch.iter().map(|event| ledger.apply(&event.facts)).collect())
    }

    /// Notes that applying an event failed, and when to try again.
    pub async fn fail(&self, account: &AccountId, attempt: &Attempt<'_>, now: Timestamp) -> Result<()> {
        let mut transaction = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        let state = if attempt.retry_at.is_some() { EventState::Failed } else { EventState::Dead };
        let sql = "UPDATE event SET state = ?, due_at = ?, attempts = ?, error = ?, settled_at = ?
                   WHERE seq = ? AND account = ? AND due_at IS NOT NULL";
        let updated = sqlx::query(sql)
            .bind(state.as_str())
            .bind(attempt.retry_at.map(Timestamp::micros))
            .bind(attempt.number)
            .bind(attempt.error)
            .bind(now.micros())
            .bind(attempt.seq)
            .bind(account.as_str())
            .execute(&mut *transaction)
            .await?;
        if updated.rows_affected() == 1 {
            sqlx::query(
                "INSERT OR REPLACE INTO failed_attempt (account, seq, number, at, error) VALUES (?, ?, ?, ?, ?)",
            )
            .bind(account.as_str())
            .bind(attempt.seq)
            .bind(attempt.number)
            .bind(now.micros())
            .bind(attempt.error)
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

const CLAIM: &str = "SELECT e.seq, e.gateway, e.mode, e.event_id, e.event_type, e.endpoint, e.creates, e.attempts,
    e.received_at, b.body, e.due_at FROM event e JOIN event_body b ON b.seq = e.seq";

fn claimed_rows(account: &AccountId, rows: Vec<SqliteRow>) -> Result<Vec<Claimed>> {
    let claimed = rows.into_iter().map(|row| {
        Ok(Claimed {
            seq: row.get(0),
            scope: read_scope(account, row.get(1), row.get(2), "event", row.get::<i64, _>(0))?,
            event_id: row.get(3),
            event_type: row.get(4),
            endpoint: row.get(5),
            creates: row.get(6),
            attempts: row.get(7),
            received_at: Timestamp::from_micros(row.get(8)),
            due_at: row.get::<Option<i64>, _>(10).map(Timestamp::from_micros),
            body: row.get(9),
            renderings: Vec::new(),
        })
    });
    claimed.collect()
}

pub(crate) fn read_scope(
    account: &AccountId,
    gateway: String,
    mode: &str,
    table: &'static str,
    row: impl ToString,
) -> Result<Scope> {
    let mode = Mode::parse(mode).ok_or_else(|| Error::corrupt(table, row, format!("{mode:?} is no mode")))?;
    Ok(Scope { account: account.clone(), gateway, mode })
}

pub(crate) fn read_facts(text: &str, table: &'static str, row: impl ToString) -> Result<Facts> {
    serde_json::from_str(text).map_err(|error| Error::corrupt(table, row, format!("facts: {error}")))
}

/// The events that nobody has settled, or added to, since they were claimed.
async fn untaken(connection: &mut SqliteConnection, account: &AccountId, batch: &[Prepared]) -> Result<BTreeSet<i64>> {
    let seqs: Vec<i64> = batch.iter().map(|event| event.seq).collect();
    let sql = "SELECT e.seq, e.due_at FROM json_each(?2) k CROSS JOIN event e ON e.seq = k.value
               WHERE e.account = ?1 AND e.due_at IS NOT NULL";
    let rows = sqlx::query(sql).bind(account.as_str()).bind(json_list(&seqs)).fetch_all(connection).await?;
    let due: BTreeSet<(i64, i64)> = rows.into_iter().map(|row| (row.get(0), row.get(1))).collect();
    let as_claimed = |event: &&Prepared| event.due_at.is_some_and(|at| due.contains(&(event.seq, at.micros())));
    Ok(batch.iter().filter(as_claimed).map(|event| event.seq).collect())
}

/// A working set with everything that the batch can touch.
async fn load(connection: &mut SqliteConnection, account: &AccountId, batch: &[Prepared]) -> Result<Ledger> {
    let mut ledger = Ledger::default();
    let mut ids: BTreeSet<&str> = BTreeSet::new();
    let keys: Vec<(&Scope, BTreeSet<ObjectKey>)> =
        batch.iter().map(|event| (&event.facts.scope, event.facts.facts.keys())).collect();
    ids.extend(keys.iter().flat_map(|(_, keys)| keys.iter().map(|key| key.id.as_str())));
    if ids.is_empty() {
        return Ok(ledger);
    }
    let scopes: BTreeSet<&Scope> = keys.iter().map(|(scope, _)| *scope).collect();
    let mut payment_ids: BTreeSet<String> = BTreeSet::new();
    for scope in scopes {
        let sql = "SELECT o.kind, o.object_id, o.payment_id FROM json_each(?4) k
                   CROSS JOIN gateway_object o
                   ON o.account = ?1 AND o.gateway = ?2 AND o.mode = ?3 AND o.object_id = k.value";
        let rows = sqlx::query(sql)
            .bind(account.as_str())
            .bind(scope.gateway.as_str())
            .bind(scope.mode.as_str())
            .bind(json_list(&ids.iter().collect::<Vec<_>>()))
            .fetch_all(&mut *connection)
            .await?;
        for row in rows {
            let (kind, object_id): (String, String) = (row.get(0), row.get(1));
            let kind = ObjectKind::parse(&kind)
                .ok_or_else(|| Error::corrupt("gateway_object", &object_id, format!("{kind:?} is no kind")))?;
            payment_ids.insert(row.get(2));
            ledger.load_owner(scope.clone(), ObjectKey::new(kind, object_id), row.get(2));
        }
    }
    let by_id = "SELECT p.id, p.gateway, p.mode, p.facts FROM json_each(?2) k
                 CROSS JOIN payment p ON p.account = ?1 AND p.id = k.value";
    load_payments(connection, account, by_id, &payment_ids, &mut ledger).await?;
    if let Some(id) = payment_ids.iter().find(|id| !ledger.payments().contains_key(*id)) {
        return Err(Error::corrupt("payment", id, "objects of the gateway belong to it, but it is not there"));
    }
    load_orders(connection, account, batch, &mut ledger).await?;
    Ok(ledger)
}

/// Orders that the batch's payments belong to, or may come to belong to, with all
/// of their payments.
async fn load_orders(
    connection: &mut SqliteConnection,
    account: &AccountId,
    batch: &[Prepared],
    ledger: &mut Ledger,
) -> Result<()> {
    let loaded = ledger.payments().values().map(|entry| &entry.facts);
    let named = loaded.chain(batch.iter().map(|event| &event.facts.facts)).flat_map(Facts::order_ids);
    let order_ids: BTreeSet<String> = named.map(str::to_owned).collect();
    if order_ids.is_empty() {
        return Ok(());
    }
    let by_order = "SELECT p.id, p.gateway, p.mode, p.facts FROM json_each(?2) k
                    CROSS JOIN payment p ON p.account = ?1 AND p.order_id = k.value";
    load_payments(connection, account, by_order, &order_ids, ledger).await?;
    let sql = "SELECT o.id, o.amount_due, o.currency FROM json_each(?2) k
               CROSS JOIN merchant_order o ON o.account = ?1 AND o.id = k.value";
    let list = json_list(&order_ids.iter().collect::<Vec<_>>());
    for row in sqlx::query(sql).bind(account.as_str()).bind(list).fetch_all(connection).await? {
        let id: String = row.get(0);
        let due = read_due(row.get(1), row.get(2), &id)?;
        ledger.load_order(id, due);
    }
    Ok(())
}

pub(crate) fn read_due(amount: Option<i64>, currency: Option<String>, id: &str) -> Result<Option<Money>> {
    let Some(units) = amount else { return Ok(None) };
    let amount = domain::money::Minor::new(units);
    let currency = currency.as_deref().and_then(Currency::parse);
    match (amount, currency) {
        (Some(amount), Some(currency)) => Ok(Some(Money { amount, currency })),
        _ => Err(Error::corrupt("merchant_order", id, "what is due is no amount of money")),
    }
}

async fn load_payments(
    connection: &mut SqliteConnection,
    account: &AccountId,
    sql: &'static str,
    keys: &BTreeSet<String>,
    ledger: &mut Ledger,
) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let list = json_list(&keys.iter().collect::<Vec<_>>());
    for row in sqlx::query(sql).bind(account.as_str()).bind(list).fetch_all(connection).await? {
        let id: String = row.get(0);
        if !ledger.payments().contains_key(&id) {
            let scope = read_scope(account, row.get(1), row.get(2), "payment", &id)?;
            ledger.load_payment(scope, read_facts(row.get(3), "payment", &id)?);
        }
    }
    Ok(())
}

async fn write_events(
    connection: &mut SqliteConnection,
    account: &AccountId,
    done: &[(&Prepared, &Outcome)],
    now: Timestamp,
) -> Result<()> {
    SETTLE_EVENTS
        .run(connection, done, |query, (event, outcome)| {
            let (state, error) = match outcome {
                Outcome::Applied { .. } => (EventState::Applied, None),
                Outcome::Ignored => (EventState::Ignored, None),
                Outcome::Waiting => (EventState::Waiting, Some("no payment is registered for it yet")),
            };
            query.bind(event.seq).bind(state.as_str()).bind(now.micros()).bind(error)
        })
        .await?;
    let mut facts = Vec::with_capacity(done.len());
    for (event, _) in done {
        facts.push((*event, facts_text(&event.facts.facts)?));
    }
    INSERT_FACTS
        .run(connection, &facts, |query, (event, text)| {
            query
                .bind(event.seq)
                .bind(account.as_str())
                .bind(event.object_id.as_deref())
                .bind(event.needs_fetch)
                .bind(text.as_str())
        })
        .await
}

fn facts_text(facts: &Facts) -> Result<String> {
    serde_json::to_string(facts).map_err(|error| Error::corrupt("payment", "", error))
}

async fn write_state(
    connection: &mut SqliteConnection,
    account: &AccountId,
    ledger: &Ledger,
    now: Timestamp,
) -> Result<()> {
    let owners: Vec<(&Scope, &ObjectKey, &str)> = ledger.new_owners().collect();
    INSERT_OWNERS
        .run(connection, &owners, |query, (scope, key, payment_id)| {
            query
                .bind(account.as_str())
                .bind(scope.gateway.as_str())
                .bind(scope.mode.as_str())
                .bind(key.id.as_str())
                .bind(key.kind.as_str())
                .bind(*payment_id)
        })
        .await?;
    let mut changed = Vec::new();
    for entry in ledger.payments().values().filter(|entry| entry.changed) {
        changed.push(Columns::of(entry)?);
    }
    write_payments(connection, account, &changed, now).await?;
    write_refunds(connection, account, &changed, now).await?;
    write_disputes(connection, account, &changed, now).await?;
    let changed = ledger.orders().iter().filter(|(_, entry)| entry.changed);
    let (there, gone): (Vec<_>, Vec<_>) = changed.partition(|(_, entry)| entry.order.is_some());
    for (id, _) in gone {
        // Nobody registered it, and the payment that named it names another one now.
        let sql = "DELETE FROM merchant_order WHERE account = ? AND id = ?";
        sqlx::query(sql).bind(account.as_str()).bind(id.as_str()).execute(&mut *connection).await?;
    }
    let rows: Vec<_> = there.iter().filter_map(|(id, entry)| Some((*id, entry.order.as_ref()?))).collect();
    INSERT_ORDERS
        .run(connection, &rows, |query, (id, order)| {
            query
                .bind(account.as_str())
                .bind(id.as_str())
                .bind(order.payment_status.as_str())
                .bind(order.currency.as_ref().map(Currency::code))
                .bind(order.amount_paid.units())
                .bind(order.amount_refunded.units())
                .bind(now.micros())
                .bind(now.micros())
        })
        .await
}

/// A payment, with what has to be rendered for its columns.
struct Columns<'a> {
    entry: &'a Entry,
    facts: String,
    gateway_response: String,
    metadata: String,
    flags: String,
}

impl<'a> Columns<'a> {
    fn of(entry: &'a Entry) -> Result<Self> {
        let payment = &entry.payment;
        let json = |value: &dyn Fn() -> serde_json::Result<String>| {
            value().map_err(|error| Error::corrupt("payment", &payment.id, error))
        };
        let response = crate::payments::gateway_response(payment);
        let metadata = crate::payments::metadata(payment);
        Ok(Self {
            entry,
            facts: facts_text(&entry.facts)?,
            gateway_response: json(&|| serde_json::to_string(&response))?,
            metadata: json(&|| serde_json::to_string(&metadata))?,
            flags: json(&|| serde_json::to_string(&payment.flags))?,
        })
    }
}

async fn write_payments(
    connection: &mut SqliteConnection,
    account: &AccountId,
    changed: &[Columns<'_>],
    now: Timestamp,
) -> Result<()> {
    INSERT_PAYMENTS
        .run(connection, changed, |query, row| {
            let payment = &row.entry.payment;
            let failure = payment.failure.as_ref();
            query
                .bind(account.as_str())
                .bind(payment.id.as_str())
                .bind(row.entry.scope.gateway.as_str())
                .bind(row.entry.scope.mode.as_str())
                .bind(payment.visible)
                .bind(payment.status.as_str())
                .bind(payment.dispute_status.as_str())
                .bind(payment.amount.map(|amount| amount.units()))
                .bind(payment.currency.as_ref().map(Currency::code))
                .bind(payment.amount_captured.units())
                .bind(payment.amount_refunded.units())
                .bind(payment.amount_refunding.units())
                .bind(payment.captured_at.map(Timestamp::micros))
                .bind(payment.gateway_transaction_id.as_deref())
                .bind(payment.order_id.as_deref())
                .bind(payment.customer.as_deref())
                .bind(payment.method.as_deref())
                .bind(payment.description.as_deref())
                .bind(failure.and_then(|failure| failure.code.as_deref()))
                .bind(failure.and_then(|failure| failure.message.as_deref()))
                .bind(payment.failed_attempts as i64)
                .bind(row.gateway_response.as_str())
                .bind(row.metadata.as_str())
                .bind(row.flags.as_str())
                .bind(row.facts.as_str())
                .bind(now.micros())
                .bind(now.micros())
        })
        .await
}

async fn write_refunds(
    connection: &mut SqliteConnection,
    account: &AccountId,
    changed: &[Columns<'_>],
    now: Timestamp,
) -> Result<()> {
    let payments = changed.iter().map(|row| &row.entry.payment);
    let refunds: Vec<_> = payments.flat_map(|p| p.refunds.iter().map(move |refund| (&p.id, refund))).collect();
    INSERT_REFUNDS
        .run(connection, &refunds, |query, (payment_id, refund)| {
            query
                .bind(account.as_str())
                .bind(refund.id.as_str())
                .bind(payment_id.as_str())
                .bind(refund.gateway_refund_id.as_str())
                .bind(refund.charge_id.as_deref())
                .bind(refund.status.as_str())
                .bind(refund.amount.units())
                .bind(refund.currency.as_ref().map(Currency::code))
                .bind(refund.reason.as_deref())
                .bind(refund.failure_reason.as_deref())
                .bind(refund.created_at.map(Timestamp::micros))
                .bind(now.micros())
                .bind(now.micros())
        })
        .await
}

async fn write_disputes(
    connection: &mut SqliteConnection,
    account: &AccountId,
    changed: &[Columns<'_>],
    now: Timestamp,
) -> Result<()> {
    let payments = changed.iter().map(|row| &row.entry.payment);
    let disputes: Vec<_> = payments.flat_map(|p| p.disputes.iter().map(move |dispute| (&p.id, dispute))).collect();
    INSERT_DISPUTES
        .run(connection, &disputes, |query, (payment_id, dispute)| {
            query
                .bind(account.as_str())
                .bind(dispute.id.as_str())
                .bind(payment_id.as_str())
                .bind(dispute.gateway_dispute_id.as_str())
                .bind(dispute.charge_id.as_deref())
                .bind(dispute.status.as_str())
                .bind(dispute.stage.map(|stage| stage.as_str()))
                .bind(dispute.amount.map(|amount| amount.units()))
                .bind(dispute.currency.as_ref().map(Currency::code))
                .bind(dispute.reason.as_deref())
                .bind(dispute.due_by.map(Timestamp::micros))
                .bind(dispute.net)
                .bind(dispute.created_at.map(Timestamp::micros))
                .bind(now.micros())
                .bind(now.micros())
        })
        .await
}

async fn write_history(
    connection: &mut SqliteConnection,
    account: &AccountId,
    done: &[(&Prepared, &Outcome)],
    now: Timestamp,
) -> Result<()> {
    let mut rows: Vec<(i64, &Change)> = Vec::new();
    for (event, outcome) in done {
        if let Outcome::Applied { changes, .. } = outcome {
            rows.extend(changes.iter().map(|change| (event.seq, change)));
        }
    }
    INSERT_HISTORY
        .run(connection, &rows, |query, (seq, change)| {
            query
                .bind(account.as_str())
                .bind(change.subject.as_str())
                .bind(change.id.as_str())
                .bind(change.payment_id.as_str())
                .bind(change.from)
                .bind(change.to)
                .bind(*seq)
                .bind(now.micros())
        })
        .await
}

/// Facts showed that what seemed to be two payments is one: what named the old id
/// names the new one, and the old id leads there.
async fn write_renames(connection: &mut SqliteConnection, account: &AccountId, ledger: &Ledger) -> Result<()> {
    let renames: BTreeMap<&str, &str> = ledger.renamed().collect();
    let statements = [
        "DELETE FROM payment WHERE account = ?1 AND id = ?2",
        "UPDATE refund SET payment_id = ?3 WHERE account = ?1 AND payment_id = ?2",
        "UPDATE dispute SET payment_id = ?3 WHERE account = ?1 AND payment_id = ?2",
        "UPDATE history SET payment_id = ?3, subject_id = iif(subject_id = ?2, ?3, subject_id)
         WHERE account = ?1 AND payment_id = ?2",
        "UPDATE payment_alias SET payment_id = ?3 WHERE account = ?1 AND payment_id = ?2",
        "INSERT OR REPLACE INTO payment_alias (account, alias, payment_id) VALUES (?1, ?2, ?3)",
    ];
    for (old, new) in renames {
        for sql in statements {
            sqlx::query(sql).bind(account.as_str()).bind(old).bind(new).execute(&mut *connection).await?;
        }
    }
    Ok(())
}
