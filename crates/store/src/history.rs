//! Reading stored transitions.

use domain::{AccountId, Timestamp};
use serde::Serialize;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use crate::events::rfc3339;
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

fn history_row(row: &SqliteRow) -> HistoryRow {
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
                   LEFT JOIN event e ON e.seq = h.event_seq LEFT JOIN payment p ON p.number = h.payment
                   WHERE f.account = ? AND f.seq = ? AND h.event_seq = f.seq ORDER BY h.seq";
        let rows = sqlx::query(sql).bind(account.as_str()).bind(seq).fetch_all(&self.reader).await?;
        Ok(rows.iter().map(history_row).collect())
    }

    /// Of orders and payments by their ids, and of a payment's refunds and disputes
    /// where their ids are given beside its own; in the order in which it was observed.
    pub async fn history_of(&self, account: &AccountId, subject_ids: &[&str]) -> Result<Vec<HistoryRow>> {
        let sql = "WITH wanted AS MATERIALIZED (SELECT value AS id FROM json_each(?2)),
                        found AS (
                            SELECT h.seq FROM wanted w CROSS JOIN history h
                            ON h.account = ?1 AND h.subject = 'order' AND h.subject_id = w.id
                            UNION
                            SELECT h.seq FROM wanted w CROSS JOIN payment p ON p.account = ?1 AND p.id = w.id
                            CROSS JOIN history h ON h.account = ?1 AND h.payment = p.number
                            WHERE h.subject <> 'order' AND h.subject_id IN (SELECT id FROM wanted))
                   SELECT h.subject, h.subject_id, coalesce(p.id, ''), h.from_status, h.to_status, e.event_id, h.at
                   FROM found CROSS JOIN history h ON h.seq = found.seq
                   LEFT JOIN event e ON e.seq = h.event_seq LEFT JOIN payment p ON p.number = h.payment
                   ORDER BY h.seq";
        let rows = sqlx::query(sql)
            .bind(account.as_str())
            .bind(crate::events::json_list(subject_ids))
            .fetch_all(&self.reader)
            .await?;
        Ok(rows.iter().map(history_row).collect())
    }
}
