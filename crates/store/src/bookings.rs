//! Reading bookings and the resources that they are for.

use domain::{AccountId, Days, Timestamp};
use serde::Serialize;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row};

use crate::events::rfc3339;
use crate::{Error, Result, Store};

/// A booking as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BookingRow {
    #[serde(skip)]
    pub row: i64,
    pub account: AccountId,
    pub id: String,
    pub resource_id: String,
    /// `YYYY-MM-DD`
    pub start: String,
    /// The first day after it.
    pub end: String,
    pub status: String,
    pub payment_status: String,
    /// Why it is cancelled.
    pub reason: Option<String>,
    /// The booking that has its dates, where it lost them.
    pub lost_to: Option<String>,
    /// In minor units.
    pub amount: Option<i64>,
    pub currency: Option<String>,
    pub on_conflict: String,
    pub session_ids: Vec<String>,
    pub payment_ids: Vec<String>,
    #[serde(serialize_with = "rfc3339")]
    pub created_at: Timestamp,
    #[serde(serialize_with = "rfc3339")]
    pub updated_at: Timestamp,
}

/// Something that can be booked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResourceRow {
    #[serde(skip)]
    pub row: i64,
    pub account: AccountId,
    pub id: String,
    pub name: String,
    #[serde(serialize_with = "rfc3339")]
    pub created_at: Timestamp,
}

/// A list of bookings. `None` lets everything through.
#[derive(Clone, Debug, Default)]
pub struct BookingFilter {
    pub account: Option<AccountId>,
    pub resource_id: Option<String>,
    pub status: Option<String>,
    /// Only bookings older than the one with this row number.
    pub before: Option<i64>,
}

const COLUMNS: &str = "b.rowid, b.account, b.id, b.resource_id, b.starts_on, b.ends_on, b.status, b.payment_status,
    b.reason, b.lost_to, b.amount, b.currency, b.on_conflict, b.created_at, b.updated_at,
    (SELECT json_group_array(s.session_id) FROM booking_session s WHERE s.booking_id = b.id AND s.account = b.account),
    (SELECT json_group_array(p.id) FROM payment p WHERE p.booking_id = b.id AND p.account = b.account)";

fn booking_row(row: &SqliteRow) -> Result<BookingRow> {
    let id: String = row.get(2);
    let corrupt = |why: &str| Error::corrupt("booking", &id, why);
    let list = |column| serde_json::from_str(row.get(column)).map_err(|_| corrupt("a list of it is no list"));
    Ok(BookingRow {
        row: row.get(0),
        account: AccountId::parse(row.get(1)).ok_or_else(|| corrupt("its account is no account"))?,
        resource_id: row.get(3),
        start: row.get(4),
        end: row.get(5),
        status: row.get(6),
        payment_status: row.get(7),
        reason: row.get(8),
        lost_to: row.get(9),
        amount: row.get(10),
        currency: row.get(11),
        on_conflict: row.get(12),
        created_at: Timestamp::from_micros(row.get(13)),
        updated_at: Timestamp::from_micros(row.get(14)),
        session_ids: list(15)?,
        payment_ids: list(16)?,
        id,
    })
}

fn resource_row(row: &SqliteRow) -> Result<ResourceRow> {
    let id: String = row.get(2);
    Ok(ResourceRow {
        row: row.get(0),
        account: AccountId::parse(row.get(1))
            .ok_or_else(|| Error::corrupt("resource", &id, "its account is no account"))?,
        name: row.get(3),
        created_at: Timestamp::from_micros(row.get(4)),
        id,
    })
}

impl Store {
    /// Newest first, at most `limit`.
    pub async fn list_bookings(&self, filter: &BookingFilter, limit: u32) -> Result<Vec<BookingRow>> {
        let mut query = QueryBuilder::new("SELECT ");
        query.push(COLUMNS).push(" FROM booking b WHERE true");
        let account = filter.account.as_ref().map(|account| account.as_str().to_owned());
        let equal = [
            ("b.account", account),
            ("b.resource_id", filter.resource_id.clone()),
            ("b.status", filter.status.clone()),
        ];
        for (column, value) in equal {
            if let Some(value) = value {
                query.push(format_args!(" AND {column} = ")).push_bind(value);
            }
        }
        if let Some(before) = filter.before {
            query.push(" AND b.rowid < ").push_bind(before);
        }
        query.push(" ORDER BY b.rowid DESC LIMIT ").push_bind(limit);
        query.build().fetch_all(&self.reader).await?.iter().map(booking_row).collect()
    }

    /// `account` `None` looks in all of them; `Conflict` where several have it.
    pub async fn show_booking(&self, account: Option<&AccountId>, id: &str) -> Result<Option<BookingRow>> {
        let mut query = QueryBuilder::new("SELECT ");
        query.push(COLUMNS).push(" FROM booking b WHERE b.id = ").push_bind(id.to_owned());
        if let Some(account) = account {
            query.push(" AND b.account = ").push_bind(account.as_str().to_owned());
        }
        let rows = query.push(" LIMIT 2").build().fetch_all(&self.reader).await?;
        match rows.as_slice() {
            [] => Ok(None),
            [row] => booking_row(row).map(Some),
            _ => Err(Error::Conflict("a booking of that id in another account")),
        }
    }

    /// Newest first, at most `limit`, older than the row number `before`.
    pub async fn list_resources(
        &self,
        account: Option<&AccountId>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<ResourceRow>> {
        let mut query =
            QueryBuilder::new("SELECT r.rowid, r.account, r.id, r.name, r.created_at FROM resource r WHERE true");
        if let Some(account) = account {
            query.push(" AND r.account = ").push_bind(account.as_str().to_owned());
        }
        if let Some(before) = before {
            query.push(" AND r.rowid < ").push_bind(before);
        }
        query.push(" ORDER BY r.rowid DESC LIMIT ").push_bind(limit);
        query.build().fetch_all(&self.reader).await?.iter().map(resource_row).collect()
    }

    pub async fn show_resource(&self, account: &AccountId, id: &str) -> Result<Option<ResourceRow>> {
        let sql =
            "SELECT r.rowid, r.account, r.id, r.name, r.created_at FROM resource r WHERE r.account = ? AND r.id = ?";
        let row = sqlx::query(sql).bind(account.as_str()).bind(id).fetch_optional(&self.reader).await?;
        row.as_ref().map(resource_row).transpose()
    }

    /// Days of a resource that confirmed bookings hold, of those in `days`, in order.
    pub async fn taken_days(&self, account: &AccountId, resource_id: &str, days: &Days) -> Result<Vec<Days>> {
        let sql = "SELECT starts_on, ends_on, id FROM booking WHERE resource_id = ? AND account = ?
                   AND status = 'confirmed' AND ends_on > ? AND starts_on < ? ORDER BY starts_on";
        let query = sqlx::query(sql).bind(resource_id).bind(account.as_str()).bind(days.start()).bind(days.end());
        let read = |row: &SqliteRow| {
            Days::parse(row.get(0), row.get(1))
                .ok_or_else(|| Error::corrupt("booking", row.get::<String, _>(2), "its days are none"))
        };
        query.fetch_all(&self.reader).await?.iter().map(read).collect()
    }
}
