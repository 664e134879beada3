//! What a proof reads of payments, registrations and bookings.

use std::collections::BTreeMap;

use domain::{AccountId, BookingInputs, Facts, Registration, Scope};

use crate::apply::{read_facts, read_scope};
use crate::connection::Tx;
use crate::query::{Query, Row};
use crate::sql::values;
use crate::{Error, Result, Store};

/// A payment's row: its facts, and the values of the columns derived from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPayment {
    pub id: String,
    pub scope: Scope,
    pub facts: Facts,
    pub visible: bool,
    pub status: String,
    pub dispute_status: String,
    pub amount_captured: i64,
    pub amount_refunded: i64,
    pub order_id: Option<String>,
    /// Its refunds and disputes, by id.
    pub parts: BTreeMap<String, StoredPart>,
}

/// What the row of a refund, or of a dispute, comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPart {
    pub gateway_id: String,
    pub charge_id: Option<String>,
    pub status: String,
    pub amount: Option<i64>,
}

/// A booking's row: its inputs, and the values of the columns derived from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBooking {
    pub id: String,
    pub inputs: BookingInputs,
    pub status: String,
    pub payment_status: String,
}

impl Store {
    /// Every account that has events or something registered, in order.
    pub async fn accounts(&self) -> Result<Vec<AccountId>> {
        let mut accounts = Vec::new();
        let mut after = String::new();
        let sql = "SELECT min(account) FROM (
                       SELECT min(account) AS account FROM event WHERE account > $1 UNION ALL
                       SELECT min(account) FROM payment_registration WHERE account > $1 UNION ALL
                       SELECT min(account) FROM merchant_order WHERE account > $1 UNION ALL
                       SELECT min(account) FROM booking WHERE account > $1) found";
        loop {
            let next: Option<String> = Query::new(sql).bind(after.as_str()).fetch_one(&self.reader).await?.get(0);
            let Some(account) = next else { return Ok(accounts) };
            accounts.extend(AccountId::parse(&account));
            after = account;
        }
    }

    /// Registered payments by id, after the id `after`.
    pub async fn registrations(
        &self,
        account: &AccountId,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(String, Registration)>> {
        let sql =
            "SELECT id, registration FROM payment_registration WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3";
        let rows = Query::new(sql).bind(account.as_str()).bind(after).bind(limit).fetch_all(&self.reader).await?;
        let read = |row: &Row| {
            let id: String = row.get(0);
            let registration =
                serde_json::from_str(row.get(1)).map_err(|error| Error::corrupt("payment_registration", &id, error))?;
            Ok((id, registration))
        };
        rows.iter().map(read).collect()
    }

    /// Bookings by id, after the id `after`.
    pub async fn stored_bookings(&self, account: &AccountId, after: &str, limit: u32) -> Result<Vec<StoredBooking>> {
        let (account, after) = (account.clone(), after.to_owned());
        let read = move |tx: &Tx<'_>| {
            let sql = "SELECT id, status, payment_status FROM booking WHERE account = $1 AND id > $2
                       ORDER BY id LIMIT $3";
            let page = values![account.as_str(), after.as_str(), limit];
            let rows: Vec<(String, String, String)> =
                tx.query(sql, &page, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            let mut bookings = Vec::with_capacity(rows.len());
            for (id, status, payment_status) in rows {
                let inputs = crate::load::booking(tx, &account, &id)?
                    .ok_or_else(|| Error::corrupt("booking", &id, "it vanished"))?;
                bookings.push(StoredBooking { id, inputs, status, payment_status });
            }
            Ok(bookings)
        };
        self.reading.run(move |connection| connection.read(read)).await
    }

    /// Payments, hidden ones too, by id, after the id `after`.
    pub async fn stored_payments(&self, account: &AccountId, after: &str, limit: u32) -> Result<Vec<StoredPayment>> {
        let sql = "SELECT id, gateway, mode, facts, visible, status, dispute_status, amount_captured, amount_refunded,
                          order_id
                   FROM payment WHERE account = $1 AND id > $2 ORDER BY id LIMIT $3";
        let rows = Query::new(sql).bind(account.as_str()).bind(after).bind(limit).fetch_all(&self.reader).await?;
        let mut payments = Vec::with_capacity(rows.len());
        for row in rows {
            let id: String = row.get(0);
            payments.push(StoredPayment {
                scope: read_scope(account, row.get(1), row.get(2), "payment", &id)?,
                facts: read_facts(row.get(3), "payment", &id)?,
                visible: row.get(4),
                status: row.get(5),
                dispute_status: row.get(6),
                amount_captured: row.get(7),
                amount_refunded: row.get(8),
                order_id: row.get(9),
                parts: BTreeMap::new(),
                id,
            });
        }
        if let Some(last) = payments.last() {
            let mut parts = self.stored_parts(account, after, &last.id).await?;
            for payment in &mut payments {
                payment.parts = parts.remove(&payment.id).unwrap_or_default();
            }
        }
        Ok(payments)
    }

    /// The refunds and disputes of the payments whose ids are after `after` and up to
    /// `upto`, by payment and by id.
    async fn stored_parts(
        &self,
        account: &AccountId,
        after: &str,
        upto: &str,
    ) -> Result<BTreeMap<String, BTreeMap<String, StoredPart>>> {
        let sql = "SELECT payment_id, id, gateway_refund_id, charge_id, status, amount FROM refund
                   WHERE account = $1 AND payment_id > $2 AND payment_id <= $3
                   UNION ALL
                   SELECT payment_id, id, gateway_dispute_id, charge_id, status, amount FROM dispute
                   WHERE account = $1 AND payment_id > $2 AND payment_id <= $3";
        let rows = Query::new(sql).bind(account.as_str()).bind(after).bind(upto).fetch_all(&self.reader).await?;
        let mut parts: BTreeMap<String, BTreeMap<String, StoredPart>> = BTreeMap::new();
        for row in rows {
            let part =
                StoredPart { gateway_id: row.get(2), charge_id: row.get(3), status: row.get(4), amount: row.get(5) };
            parts.entry(row.get(0)).or_default().insert(row.get(1), part);
        }
        Ok(parts)
    }
}
