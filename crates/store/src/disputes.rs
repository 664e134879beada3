//! Reading disputes, of whatever payment.

use domain::{AccountId, Timestamp};
use serde::Serialize;

use crate::events::{rfc3339, rfc3339_or_null};
use crate::list::List;
use crate::query::Row;
use crate::{Error, Result, Store};

/// A dispute as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DisputeRow {
    #[serde(skip)]
    pub row: i64,
    pub account: AccountId,
    pub id: String,
    pub payment_id: String,
    pub gateway_dispute_id: String,
    /// The charge or capture that is disputed.
    pub charge_id: Option<String>,
    pub status: String,
    /// The gateway's own word.
    pub stage: Option<String>,
    /// In minor units.
    pub amount: Option<i64>,
    pub currency: Option<String>,
    pub reason: Option<String>,
    /// Until when evidence is taken.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub due_by: Option<Timestamp>,
    /// What the merchant's balance lost (negative) or kept by it so far.
    pub net: i64,
    /// By the gateway's clock.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub created_at: Option<Timestamp>,
    #[serde(serialize_with = "rfc3339")]
    pub updated_at: Timestamp,
}

/// A list of disputes. `None` lets everything through.
#[derive(Clone, Debug, Default)]
pub struct DisputeFilter {
    pub account: Option<AccountId>,
    /// The payment's id.
    pub payment: Option<String>,
    pub status: Option<String>,
    /// Only disputes older than the one with this row number.
    pub before: Option<i64>,
}

const COLUMNS: &str = "d.rowid, d.account, d.id, d.payment_id, d.gateway_dispute_id, d.charge_id, d.status, d.stage,
    d.amount, d.currency, d.reason, d.due_by, d.net, d.gateway_time, d.updated_at";

fn dispute_row(row: &Row) -> Result<DisputeRow> {
    let id: String = row.get(2);
    let instant = |column| row.get::<Option<i64>>(column).map(Timestamp::from_micros);
    Ok(DisputeRow {
        row: row.get(0),
        account: AccountId::parse(row.get(1))
            .ok_or_else(|| Error::corrupt("dispute", &id, "its account is no account"))?,
        payment_id: row.get(3),
        gateway_dispute_id: row.get(4),
        charge_id: row.get(5),
        status: row.get(6),
        stage: row.get(7),
        amount: row.get(8),
        currency: row.get(9),
        reason: row.get(10),
        due_by: instant(11),
        net: row.get(12),
        created_at: instant(13),
        updated_at: Timestamp::from_micros(row.get(14)),
        id,
    })
}

impl Store {
    /// Newest first, at most `limit`.
    pub async fn list_disputes(&self, filter: &DisputeFilter, limit: u32) -> Result<Vec<DisputeRow>> {
        let mut list = List::new(&self.reader, COLUMNS, "dispute d", "d.account", filter.account.as_ref());
        list.equal("d.payment_id", filter.payment.as_deref());
        list.equal("d.status", filter.status.as_deref());
        list.newest(&self.reader, "d.rowid", filter.before, limit).await?.iter().map(dispute_row).collect()
    }
}
