//! What a proof needs: every event as it was delivered, and the rows that people see.

use std::collections::BTreeMap;

use domain::{AccountId, Mode, Timestamp};
use serde_json::Value;

use crate::events::body_join;
use crate::query::{Query, Row};
use crate::{Error, Result, Store};

/// A stored event with all that its first delivery brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedEvent {
    pub seq: i64,
    pub gateway: String,
    pub mode: Mode,
    /// Empty where there is none.
    pub connected_account: String,
    pub event_id: String,
    pub event_type: String,
    pub api_version: Option<String>,
    pub gateway_time: Option<Timestamp>,
    pub endpoint: String,
    pub creates: bool,
    pub holds_mismatch: bool,
    /// It was kept only to be ignored.
    pub kept_aside: bool,
    pub received_at: Timestamp,
    pub is_json: bool,
    /// `None` once it, or that of a rendering, was dropped by age.
    pub body: Option<Vec<u8>>,
    /// The same event in other API versions.
    pub renderings: Vec<RecordedRendering>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRendering {
    /// `None` where the gateway's first version says none.
    pub api_version: Option<String>,
    pub endpoint: String,
    pub body: Vec<u8>,
}

/// A table of the contract whose rows follow from events and registrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PublicTable {
    Payments,
    Orders,
    Refunds,
    Disputes,
    Bookings,
}

/// A row as people see it, without when it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicRow {
    pub id: String,
    /// Money in minor units, instants in microseconds; what holds JSON as that JSON.
    pub columns: BTreeMap<&'static str, Value>,
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Integer,
    Json,
}

type Columns = &'static [(&'static str, Kind)];

const PAYMENT: Columns = &[
    ("gateway", Kind::Text),
    ("mode", Kind::Text),
    ("order_id", Kind::Text),
    ("booking_id", Kind::Text),
    ("transaction_id", Kind::Text),
    ("external_id", Kind::Text),
    ("status", Kind::Text),
    ("hold_reason", Kind::Text),
    ("dispute_status", Kind::Text),
    ("amount", Kind::Integer),
    ("currency", Kind::Text),
    ("amount_captured", Kind::Integer),
    ("amount_refunded", Kind::Integer),
    ("amount_refunding", Kind::Integer),
    ("captured_at", Kind::Integer),
    ("gateway_transaction_id", Kind::Text),
    ("customer", Kind::Text),
    ("method", Kind::Text),
    ("description", Kind::Text),
    ("failure_code", Kind::Text),
    ("failure_message", Kind::Text),
    ("failed_attempts", Kind::Integer),
    ("gateway_response", Kind::Json),
    ("metadata", Kind::Json),
    ("flags", Kind::Json),
];
const ORDER: Columns = &[
    ("payment_status", Kind::Text),
    ("amount_due", Kind::Integer),
    ("currency", Kind::Text),
    ("amount_paid", Kind::Integer),
    ("amount_refunded", Kind::Integer),
    ("customer", Kind::Json),
    ("metadata", Kind::Json),
];
const REFUND: Columns = &[
    ("payment_id", Kind::Text),
    ("gateway_refund_id", Kind::Text),
    ("charge_id", Kind::Text),
    ("status", Kind::Text),
    ("amount", Kind::Integer),
    ("currency", Kind::Text),
    ("reason", Kind::Text),
    ("failure_reason", Kind::Text),
    ("gateway_time", Kind::Integer),
];
const DISPUTE: Columns = &[
    ("payment_id", Kind::Text),
    ("gateway_dispute_id", Kind::Text),
    ("charge_id", Kind::Text),
    ("status", Kind::Text),
    ("stage", Kind::Text),
    ("amount", Kind::Integer),
    ("currency", Kind::Text),
    ("reason", Kind::Text),
    ("due_by", Kind::Integer),
    ("net", Kind::Integer),
    ("gateway_time", Kind::Integer),
];
const BOOKING: Columns = &[
    ("resource_id", Kind::Text),
    ("starts_on", Kind::Text),
    ("ends_on", Kind::Text),
    ("amount", Kind::Integer),
    ("currency", Kind::Text),
    ("on_conflict", Kind::Text),
    ("status", Kind::Text),
    ("payment_status", Kind::Text),
    ("reason", Kind::Text),
    ("lost_to", Kind::Text),
];

impl PublicTable {
    pub const ALL: [Self; 5] = [Self::Payments, Self::Orders, Self::Refunds, Self::Disputes, Self::Bookings];

    /// The base table, its columns, and which of its rows are shown.
    const fn source(self) -> (&'static str, Columns, &'static str) {
        match self {
            Self::Payments => ("payment", PAYMENT, " AND visible"),
            Self::Orders => ("merchant_order", ORDER, ""),
            Self::Refunds => ("refund", REFUND, ""),
            Self::Disputes => ("dispute", DISPUTE, ""),
            Self::Bookings => ("booking", BOOKING, ""),
        }
    }
}

impl Store {
    /// Events with their bodies, in the order of acceptance, after the event `after`.
    pub async fn recorded_events(&self, account: &AccountId, after: i64, limit: u32) -> Result<Vec<RecordedEvent>> {
        let sql = format!(
            "SELECT e.seq, e.gateway, e.mode, e.connected_account, e.event_id, e.event_type, e.api_version,
                    e.gateway_time, e.endpoint, e.creates, e.holds_mismatch,
                    e.state = 'ignored' AND e.error IS NOT NULL, e.received_at, coalesce(b.is_json, true), b.body
             FROM event e LEFT JOIN event_body b ON {}
             WHERE e.account = $1 AND e.seq > $2 ORDER BY e.seq LIMIT $3",
            body_join(&self.reader)
        );
        let rows = Query::new(&sql).bind(account.as_str()).bind(after).bind(limit).fetch_all(&self.reader).await?;
        let mut events = rows.iter().map(recorded_event).collect::<Result<Vec<_>>>()?;
        let Some(last) = events.last().map(|event| event.seq) else { return Ok(events) };
        let sql = "SELECT seq, api_version, endpoint, body FROM event_rendering
                   WHERE account = $1 AND seq > $2 AND seq <= $3 ORDER BY seq, api_version";
        let rows = Query::new(sql).bind(account.as_str()).bind(after).bind(last).fetch_all(&self.reader).await?;
        for row in rows {
            let (seq, version): (i64, String) = (row.get(0), row.get(1));
            let api_version = (!version.is_empty()).then_some(version);
            let rendering = RecordedRendering { api_version, endpoint: row.get(2), body: row.get(3) };
            let Ok(index) = events.binary_search_by_key(&seq, |event| event.seq) else { continue };
            let event = &mut events[index];
            if rendering.body.is_empty() {
                event.body = None; // Dropped by age: without it the event is not whole.
            }
            event.renderings.push(rendering);
        }
        Ok(events)
    }

    /// Rows that people see, by id, after the id `after`.
    pub async fn public_rows(
        &self,
        account: &AccountId,
        table: PublicTable,
        after: &str,
        limit: u32,
    ) -> Result<Vec<PublicRow>> {
        let (name, columns, shown) = table.source();
        let mut query = Query::new("SELECT id");
        for (column, _) in columns {
            query.push(format_args!(", {column}"));
        }
        query.push(format_args!(" FROM {name} WHERE account = ")).push_bind(account.as_str());
        query.push(" AND id > ").push_bind(after).push(shown);
        query.push(" ORDER BY id LIMIT ").push_bind(limit);
        let rows = query.fetch_all(&self.reader).await?;
        let read = |row: &Row| {
            let values = columns.iter().zip(1..).map(|((column, kind), index)| (*column, value(row, index, *kind)));
            PublicRow { id: row.get(0), columns: values.collect() }
        };
        Ok(rows.iter().map(read).collect())
    }
}

fn recorded_event(row: &Row) -> Result<RecordedEvent> {
    let seq: i64 = row.get(0);
    let mode: String = row.get(2);
    Ok(RecordedEvent {
        seq,
        gateway: row.get(1),
        mode: Mode::parse(&mode).ok_or_else(|| Error::corrupt("event", seq, format!("{mode:?} is no mode")))?,
        connected_account: row.get(3),
        event_id: row.get(4),
        event_type: row.get(5),
        api_version: row.get(6),
        gateway_time: row.get::<Option<i64>>(7).map(Timestamp::from_micros),
        endpoint: row.get(8),
        creates: row.get(9),
        holds_mismatch: row.get(10),
        kept_aside: row.get(11),
        received_at: Timestamp::from_micros(row.get(12)),
        is_json: row.get(13),
        body: row.get(14),
        renderings: Vec::new(),
    })
}

/// JSON that somebody broke is the text that it is.
fn value(row: &Row, index: usize, kind: Kind) -> Value {
    let text = || row.get::<Option<String>>(index);
    match kind {
        Kind::Text => text().into(),
        Kind::Integer => row.get::<Option<i64>>(index).into(),
        Kind::Json => text().map_or(Value::Null, |text| serde_json::from_str(&text).unwrap_or(Value::String(text))),
    }
}
