//! Reading refunds, of whatever payment.

use domain::{AccountId, Timestamp};
use serde::Serialize;

use crate::events::{rfc3339, rfc3339_or_null};
use crate::list::List;
use crate::query::Row;
use crate::{Error, Result, Store};

/// A refund as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefundRow {
    #[serde(skip)]
    pub row: i64,
    pub account: AccountId,
    pub id: String,
    pub payment_id: String,
    pub gateway_refund_id: String,
    /// The charge or capture that it gives back.
    pub charge_id: Option<String>,
    pub status: String,
    /// In minor units.
    pub amount: i64,
    pub currency: Option<String>,
    pub reason: Option<String>,
    pub failure_reason: Option<String>,
    /// By the gateway's clock.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub created_at: Option<Timestamp>,
    #[serde(serialize_with = "rfc3339")]
    pub updated_at: Timestamp,
}

/// A list of refunds. `None` lets everything through.
#[derive(Clone, Debug, Default)]
pub struct RefundFilter {
    pub account: Option<AccountId>,
    /// The payment's id.
    pub payment: Option<String>,
    pub status: Option<String>,
    /// Only refunds older than the one with this row number.
    pub before: Option<i64>,
}

const COLUMNS: &str = "r.rowid, r.account, r.id, r.payment_id, r.gateway_refund_id, r.charge_id, r.status, r.amount,
    r.currency, r.reason, r.failure_reason, r.gateway_time, r.updated_at";

fn refund_row(row: &Row) -> Result<RefundRow> {
    let id: String = row.get(2);
    Ok(RefundRow {
        row: row.get(0),
        account: AccountId::parse(row.get(1))
            .ok_or_else(|| Error::corrupt("refund", &id, "its account is no account"))?,
        payment_id: row.get(3),
        gateway_refund_id: row.get(4),
        charge_id: row.get(5),
        status: row.get(6),
        amount: row.get(7),
        currency: row.get(8),
        reason: row.get(9),
        failure_reason: row.get(10),
        created_at: row.get::<Option<i64>>(11).map(Timestamp::from_micros),
        updated_at: Timestamp::from_micros(row.get(12)),
        id,
    })
}

impl Store {
    /// Newest first, at most `limit`.
    pub async fn list_refunds(&self, filter: &RefundFilter, limit: u32) -> Result<Vec<RefundRow>> {
        let mut list = List::new(&self.reader, COLUMNS, "refund r", "r.account", filter.account.as_ref());
        list.equal("r.payment_id", filter.payment.as_deref());
        list.equal("r.status", filter.status.as_deref());
        list.newest(&self.reader, "r.rowid", filter.before, limit).await?.iter().map(refund_row).collect()
    }
}
