//! Reading bookings and the resources that they are for.

use domain::{AccountId, Days, Timestamp};
use serde::Serialize;

use crate::events::rfc3339;
use crate::list::List;
use crate::query::{Pool, Query, Row};
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
    b.reason, b.lost_to, b.amount, b.currency, b.on_conflict, b.created_at, b.updated_at";
const RESOURCE_COLUMNS: &str = "r.rowid, r.account, r.id, r.name, r.created_at";

/// With the lists of its sessions and payments, as JSON.
fn columns(pool: &Pool) -> String {
    let list = |column: &str, order: &str| match pool.is_postgres() {
        true => format!("coalesce(json_agg({column} ORDER BY {order})::text, '[]')"),
        false => format!("json_group_array({column} ORDER BY {order})"),
    };
    format!(
        "{COLUMNS}, (SELECT {} FROM booking_session s WHERE s.booking_id = b.id AND s.account = b.account),
         (SELECT {} FROM payment p WHERE p.booking_id = b.id AND p.account = b.account)",
        list("s.session_id", "s.session_id"),
        list("p.id", "p.number")
    )
}

fn booking_row(row: &Row) -> Result<BookingRow> {
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

fn resource_row(row: &Row) -> Result<ResourceRow> {
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
        let columns = columns(&self.reader);
        let mut list = List::new(&self.reader, &columns, "booking b", "b.account", filter.account.as_ref());
        list.equal("b.resource_id", filter.resource_id.as_deref());
        list.equal("b.status", filter.status.as_deref());
        list.newest(&self.reader, "b.rowid", filter.before, limit).await?.iter().map(booking_row).collect()
    }

    /// `account` `None` looks in all of them; `Conflict` where several have it.
    pub async fn show_booking(&self, account: Option<&AccountId>, id: &str) -> Result<Option<BookingRow>> {
        let mut list = List::new(&self.reader, &columns(&self.reader), "booking b", "b.account", account);
        list.equal("b.id", Some(id));
        let found = list.only(&self.reader, Error::Conflict("a booking of that id in another account")).await?;
        found.as_ref().map(booking_row).transpose()
    }

    /// Newest first, at most `limit`, older than the row number `before`.
    pub async fn list_resources(
        &self,
        account: Option<&AccountId>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<ResourceRow>> {
        let list = List::new(&self.reader, RESOURCE_COLUMNS, "resource r", "r.account", account);
        list.newest(&self.reader, "r.rowid", before, limit).await?.iter().map(resource_row).collect()
    }

    pub async fn show_resource(&self, account: &AccountId, id: &str) -> Result<Option<ResourceRow>> {
        let mut list = List::new(&self.reader, RESOURCE_COLUMNS, "resource r", "r.account", Some(account));
        list.equal("r.id", Some(id));
        let found = list.only(&self.reader, Error::Conflict("a resource of that id in the account")).await?;
        found.as_ref().map(resource_row).transpose()
    }

    /// Days of a resource that confirmed bookings hold, of those in `days`, in order.
    pub async fn taken_days(&self, account: &AccountId, resource_id: &str, days: &Days) -> Result<Vec<Days>> {
        let sql = "SELECT starts_on, ends_on, id FROM booking WHERE resource_id = $1 AND account = $2
                   AND status = 'confirmed' AND ends_on > $3 AND starts_on < $4 ORDER BY starts_on";
        let query = Query::new(sql).bind(resource_id).bind(account.as_str()).bind(days.start()).bind(days.end());
        let read = |row: &Row| {
            Days::parse(row.get(0), row.get(1))
                .ok_or_else(|| Error::corrupt("booking", row.get::<String>(2), "its days are none"))
        };
        query.fetch_all(&self.reader).await?.iter().map(read).collect()
    }
}
