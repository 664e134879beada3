//! Reading stored transitions.

use domain::{AccountId, Timestamp};
use serde::Serialize;

use crate::events::rfc3339;
use crate::query::{Query, Row};
use crate::{Result, Store};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HistoryRow {
    pub subject: String,
    pub subject_id: String,
    pub payment_id: String,
    pub from: Option<String>,
    pub to: String,
    /// The gateway's id of the event that caused it.
    pub event_id: Option<String>,
    #[serde(serialize_with = "rfc3339")]
    pub at: Timestamp,
}

fn history_row(row: &Row) -> HistoryRow {
    HistoryRow {
        subject: row.get(0),
        subject_id: row.get(1),
        payment_id: row.get(2),
        from: row.get(3),
        to: row.get(4),
        event_id: row.get(5),
        at: Timestamp::from_micros(row.get(6)),
    }
}

impl Store {
    /// In the order in which it was observed.
    pub(crate) async fn history_of_event(&self, account: &AccountId, seq: i64) -> Result<Vec<HistoryRow>> {
        let sql = "SELECT h.subject, h.subject_id, coalesce(p.id, ''), h.from_status, h.to_status, e.event_id, h.at
                   FROM event_facts f JOIN history h ON h.account = f.account AND h.payment = f.payment
                   LEFT JOIN event e ON e.account = h.account AND e.seq = h.event_seq
                   LEFT JOIN payment p ON p.account = h.account AND p.number = h.payment
                   WHERE f.account = $1 AND f.seq = $2 AND h.event_seq = f.seq ORDER BY h.seq";
        let rows = Query::new(sql).bind(account.as_str()).bind(seq).fetch_all(&self.reader).await?;
        Ok(rows.iter().map(history_row).collect())
    }

    /// Of a payment, with its refunds and disputes; in the order in which it was observed.
    pub async fn history_of_payment(&self, account: &AccountId, id: &str) -> Result<Vec<HistoryRow>> {
        // SQLite keeps to the order of a CROSS JOIN: it would walk all of the history otherwise.
        let join = if self.reader.is_postgres() { "JOIN" } else { "CROSS JOIN" };
        let sql = format!(
            "SELECT h.subject, h.subject_id, p.id, h.from_status, h.to_status, e.event_id, h.at
             FROM payment p {join} history h ON h.account = p.account AND h.payment = p.number
             LEFT JOIN event e ON e.account = h.account AND e.seq = h.event_seq
             WHERE p.account = $1 AND p.id = $2 AND h.subject <> 'order' AND h.subject <> 'booking' ORDER BY h.seq"
        );
        let rows = Query::new(&sql).bind(account.as_str()).bind(id).fetch_all(&self.reader).await?;
        Ok(rows.iter().map(history_row).collect())
    }

    /// In the order in which it was observed.
    pub async fn history_of_order(&self, account: &AccountId, id: &str) -> Result<Vec<HistoryRow>> {
        // The subject is literal, to match the partial index.
        let sql = "SELECT h.subject, h.subject_id, coalesce(p.id, ''), h.from_status, h.to_status, e.event_id, h.at
                   FROM history h LEFT JOIN event e ON e.account = h.account AND e.seq = h.event_seq
                   LEFT JOIN payment p ON p.account = h.account AND p.number = h.payment
                   WHERE h.account = $1 AND h.subject_id = $2 AND h.subject = 'order' ORDER BY h.seq";
        let rows = Query::new(sql).bind(account.as_str()).bind(id).fetch_all(&self.reader).await?;
        Ok(rows.iter().map(history_row).collect())
    }

    /// In the order in which it was observed.
    pub async fn history_of_booking(&self, account: &AccountId, id: &str) -> Result<Vec<HistoryRow>> {
        let sql = "SELECT h.subject, h.subject_id, coalesce(p.id, ''), h.from_status, h.to_status, e.event_id, h.at
                   FROM history h LEFT JOIN event e ON e.account = h.account AND e.seq = h.event_seq
                   LEFT JOIN payment p ON p.account = h.account AND p.number = h.payment
                   WHERE h.account = $1 AND h.subject_id = $2 AND h.subject = 'booking' ORDER BY h.seq";
        let rows = Query::new(sql).bind(account.as_str()).bind(id).fetch_all(&self.reader).await?;
        Ok(rows.iter().map(history_row).collect())
    }
}
