//! Reading orders.

use std::collections::BTreeMap;

use domain::{AccountId, PaymentStatus, Timestamp};
use serde::Serialize;

use crate::events::rfc3339;
use crate::list::List;
use crate::query::Row;
use crate::{Error, Result, Store};

/// An order as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrderRow {
    #[serde(skip)]
    pub row: i64,
    pub account: AccountId,
    pub id: String,
    pub payment_status: PaymentStatus,
    /// What is due, in minor units; `None` until the application registers it.
    pub amount: Option<i64>,
    pub currency: Option<String>,
    pub amount_paid: i64,
    pub amount_refunded: i64,
    /// What the application said of its customer; an object.
    pub customer: Option<serde_json::Value>,
    pub metadata: BTreeMap<String, String>,
    #[serde(serialize_with = "rfc3339")]
    pub created_at: Timestamp,
    #[serde(serialize_with = "rfc3339")]
    pub updated_at: Timestamp,
}

const COLUMNS: &str = "o.rowid, o.account, o.id, o.payment_status, o.amount_due, o.currency, o.amount_paid,
    o.amount_refunded, o.created_at, o.updated_at, o.customer, o.metadata";

fn order_row(row: &Row) -> Result<OrderRow> {
    let id: String = row.get(2);
    let corrupt = |why: &str| Error::corrupt("merchant_order", &id, why);
    let customer = row.get::<Option<&str>>(10).map(serde_json::from_str).transpose();
    let metadata = row.get::<Option<&str>>(11).map(serde_json::from_str).transpose();
    Ok(OrderRow {
        row: row.get(0),
        account: AccountId::parse(row.get(1)).ok_or_else(|| corrupt("its account is no account"))?,
        payment_status: PaymentStatus::parse(row.get(3)).ok_or_else(|| corrupt("its status is unknown"))?,
        amount: row.get(4),
        currency: row.get(5),
        amount_paid: row.get(6),
        amount_refunded: row.get(7),
        customer: customer.map_err(|_| corrupt("its customer is not JSON"))?,
        metadata: metadata.map_err(|_| corrupt("its metadata are no texts by name"))?.unwrap_or_default(),
        created_at: Timestamp::from_micros(row.get(8)),
        updated_at: Timestamp::from_micros(row.get(9)),
        id,
    })
}

impl Store {
    /// Newest first, at most `limit`, older than the row number `before`.
    pub async fn list_orders(
        &self,
        account: Option<&AccountId>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<OrderRow>> {
        let list = List::new(&self.reader, COLUMNS, "merchant_order o", "o.account", account);
        list.newest(&self.reader, "o.rowid", before, limit).await?.iter().map(order_row).collect()
    }

    /// `account` `None` looks in all of them; `Conflict` where several have it.
    pub async fn show_order(&self, account: Option<&AccountId>, id: &str) -> Result<Option<OrderRow>> {
        let mut list = List::new(&self.reader, COLUMNS, "merchant_order o", "o.account", account);
        list.equal("o.id", Some(id));
        let found = list.only(&self.reader, Error::Conflict("an order of that id in another account")).await?;
        found.as_ref().map(order_row).transpose()
    }
}
