//! Reading payments.

use std::collections::BTreeMap;

use domain::{AccountId, Facts, Payment, PaymentStatus, Scope, Timestamp};
use serde::Serialize;

use crate::apply::{read_facts, read_scope};
use crate::events::rfc3339;
use crate::list::List;
use crate::query::{Query, Row};
use crate::{Error, Result, Store};

/// A list of payments. `None` lets everything through.
#[derive(Clone, Debug, Default)]
pub struct PaymentFilter {
    pub account: Option<AccountId>,
    pub status: Option<PaymentStatus>,
    pub order_id: Option<String>,
    /// Only payments older than the one with this number.
    pub before: Option<i64>,
}

/// A payment as it is stored.
#[derive(Clone, Debug, Serialize)]
pub struct PaymentRow {
    #[serde(skip)]
    pub number: i64,
    pub account: AccountId,
    /// Empty until one spoke of it, or the application said which it will be.
    #[serde(serialize_with = "null_if_empty")]
    pub gateway: String,
    /// Empty until somebody spoke of it.
    #[serde(serialize_with = "null_if_empty")]
    pub mode: String,
    #[serde(flatten)]
    pub payment: Payment,
    #[serde(serialize_with = "rfc3339")]
    pub created_at: Timestamp,
    #[serde(serialize_with = "rfc3339")]
    pub updated_at: Timestamp,
}

fn null_if_empty<S: serde::Serializer>(text: &str, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    if text.is_empty() { serializer.serialize_none() } else { serializer.serialize_str(text) }
}

/// What the gateway said of refunds and failures, for the `gateway_response` column.
pub(crate) fn gateway_response(payment: &Payment) -> BTreeMap<&'static str, serde_json::Value> {
    let mut response = BTreeMap::new();
    if !payment.refunds.is_empty() {
        response.insert("refunds", serde_json::json!(payment.refunds));
    }
    if let Some(failure) = &payment.failure {
        response.insert("failure", serde_json::json!(failure));
    }
    response
}

/// The merchant's metadata, with the newest dispute under `dispute`.
pub(crate) fn metadata(payment: &Payment) -> BTreeMap<&str, serde_json::Value> {
    let mut metadata: BTreeMap<&str, serde_json::Value> =
        payment.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str().into())).collect();
    if let Some(dispute) = payment.disputes.iter().max_by_key(|dispute| (dispute.created_at, &dispute.id)) {
        metadata.insert("dispute", serde_json::json!(dispute));
    }
    metadata
}

const COLUMNS: &str = "p.number, p.account, p.gateway, p.mode, p.facts, p.created_at, p.updated_at, p.id";

fn payment_row(row: &Row) -> Result<PaymentRow> {
    let (scope, facts) = scope_and_facts(row)?;
    let payment = facts.payment(&scope).ok_or_else(|| Error::corrupt("payment", row.get::<String>(7), "no facts"))?;
    Ok(PaymentRow {
        number: row.get(0),
        account: scope.account,
        gateway: scope.gateway,
        mode: if facts.has_statement() { scope.mode.as_str().to_owned() } else { String::new() },
        payment,
        created_at: Timestamp::from_micros(row.get(5)),
        updated_at: Timestamp::from_micros(row.get(6)),
    })
}

fn scope_and_facts(row: &Row) -> Result<(Scope, Facts)> {
    let id: String = row.get(7);
    let account =
        AccountId::parse(row.get(1)).ok_or_else(|| Error::corrupt("payment", &id, "its account is no account"))?;
    let scope = read_scope(&account, row.get(2), row.get(3), "payment", &id)?;
    let facts = read_facts(row.get(4), "payment", &id)?;
    Ok((scope, facts))
}

impl Store {
    /// Newest first, at most `limit`.
    pub async fn list_payments(&self, filter: &PaymentFilter, limit: u32) -> Result<Vec<PaymentRow>> {
        let mut list = List::new(&self.reader, COLUMNS, "payment p", "p.account", filter.account.as_ref());
        list.conditions().push(" AND p.visible");
        list.equal("p.status", filter.status.map(PaymentStatus::as_str));
        list.equal("p.order_id", filter.order_id.as_deref());
        list.newest(&self.reader, "p.number", filter.before, limit).await?.iter().map(payment_row).collect()
    }

    /// How many payments of the account there are in each status that occurs.
    pub async fn count_payments(&self, account: &AccountId) -> Result<Vec<(PaymentStatus, u64)>> {
        let sql = "SELECT status, count(*) FROM payment WHERE account = $1 AND visible GROUP BY status ORDER BY status";
        let rows = Query::new(sql).bind(account.as_str()).fetch_all(&self.reader).await?;
        let count = |row: &Row| {
            let status =
                PaymentStatus::parse(row.get(0)).ok_or_else(|| Error::corrupt("payment", "", "a status is unknown"))?;
            Ok((status, row.get::<i64>(1).unsigned_abs()))
        };
        rows.iter().map(count).collect()
    }

    /// One payment, by its id or by one that it had before. `account` `None` looks
    /// in all of them; `Conflict` where several have it.
    pub async fn show_payment(&self, account: Option<&AccountId>, id: &str) -> Result<Option<PaymentRow>> {
        let row = self.find_payment(account, id).await?;
        row.as_ref().map(payment_row).transpose().map(|found| found.filter(|row| row.payment.visible))
    }

    async fn find_payment(&self, account: Option<&AccountId>, id: &str) -> Result<Option<Row>> {
        let mut list = List::new(&self.reader, COLUMNS, "payment p", "p.account", account);
        match list.account() {
            Some(account) => {
                list.conditions().push(" AND p.id IN (SELECT ").push_bind(id);
                list.conditions().push(" UNION ALL SELECT a.payment_id FROM payment_alias a WHERE a.account = ");
                list.conditions().push(account).push(" AND a.alias = ").push_bind(id).push(")");
            }
            None => {
                list.conditions().push(" AND (p.id = ").push_bind(id);
                list.conditions().push(" OR (p.account, p.id) IN (SELECT a.account, a.payment_id FROM payment_alias a");
                list.conditions().push(" WHERE a.alias = ").push_bind(id).push("))");
            }
        }
        list.only(&self.reader, Error::Conflict("a payment of that id in another account")).await
    }

    /// Whose payment it is, and its number.
    pub(crate) async fn payment_number(
        &self,
        account: Option<&AccountId>,
        id: &str,
    ) -> Result<Option<(AccountId, i64)>> {
        let Some(row) = self.find_payment(account, id).await? else { return Ok(None) };
        let (scope, _) = scope_and_facts(&row)?;
        Ok(Some((scope.account, row.get(0))))
    }
}
