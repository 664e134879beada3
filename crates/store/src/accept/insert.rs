//! Putting new events in, each database in its own way.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use domain::{Mode, Timestamp};

use super::{Identity, NewEvent};
use crate::connection::{Row, Tx};
use crate::postgres::Session;
use crate::sql::{self, Put, Value, values};
use crate::{Error, EventState, Result};

/// On SQLite, whether an event is there already is found out by inserting it: one search,
/// not two.
const INSERT_EVENT: &str =
    "INSERT INTO event (seq, account, event_id, gateway, mode, connected_account, endpoint, event_type, api_version,
                        gateway_time, creates, source, received_at, settled_at, state, due_at, attempts, error, writer,
                        batch, body_hash, holds_mismatch)
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 'webhook', ?12, ?12, ?13, ?14, 0, ?15, ?16, ?17, ?18, ?19)
     ON CONFLICT (event_id, account, gateway, mode, connected_account) DO NOTHING";
const INSERT_BODY: &str = "INSERT INTO event_body (seq, is_json, body) VALUES (?, ?, ?)";
/// Numbers in the order in which the events came; inserted in the order of the key, so that
/// replicas which insert the same events wait for one another in the same order.
const INSERT_EVENTS: &str = "WITH block AS MATERIALIZED (SELECT nextval('event_seq') AS start)
        INSERT INTO event (account, seq, event_id, gateway, mode, connected_account, endpoint, event_type,
                       api_version, gateway_time, creates, source, received_at, settled_at, state, due_at, attempts,
                       error, writer, batch, body_hash, holds_mismatch)
        SELECT $1::text, start + n, event_id, gateway, mode, connected_account, endpoint, event_type, api_version,
               gateway_time, creates, 'webhook', received_at, received_at, state, due_at, 0, error, writer, batch,
               body_hash, holds_mismatch
        FROM block, unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                    $9::bigint[], $10::boolean[], $11::bigint[], $12::text[], $13::bigint[], $14::text[], $15::text[],
                    $16::bigint[], $17::bytea[], $18::boolean[]) WITH ORDINALITY
             AS k (event_id, gateway, mode, connected_account, endpoint, event_type, api_version, gateway_time,
                   creates, received_at, state, due_at, error, writer, batch, body_hash, holds_mismatch, n)
        ORDER BY event_id, gateway, mode, connected_account
        ON CONFLICT (account, event_id, gateway, mode, connected_account) DO NOTHING
        RETURNING event_id, gateway, mode, connected_account, seq";
const EVENT_TYPES: &str = "atttttttibitittiyb";
/// What the sequence of events grows by each time.
const BLOCK: usize = 1024;
static INSERT_BODIES: Put = Put::new("event_body (account, seq, received_at, is_json, body)", "aiiby", "", "");
/// Events that were inserted, with their numbers.
pub(super) type Inserted<'a> = Vec<(i64, &'a NewEvent)>;

/// Returns those that are new, and the indices of those that are there already, be it
/// from earlier in the batch.
pub(super) fn insert_events<'a>(
    tx: &Tx<'_>,
    writer: &str,
    number: i64,
    events: &[&'a NewEvent],
) -> Result<(Inserted<'a>, Vec<usize>)> {
    match tx {
        Tx::Sqlite(connection) => insert_into_sqlite(connection, writer, number, events),
        Tx::Postgres(session) => insert_into_postgres(tx, session, writer, number, events),
    }
}

fn first_state(event: &NewEvent) -> EventState {
    if event.ignored_because.is_some() { EventState::Ignored } else { EventState::Pending }
}

fn insert_into_sqlite<'a>(
    connection: &rusqlite::Connection,
    writer: &str,
    number: i64,
    events: &[&'a NewEvent],
) -> Result<(Inserted<'a>, Vec<usize>)> {
    let newest = "SELECT coalesce(max(seq), 0) FROM event";
    let mut seq: i64 = connection.prepare_cached(newest)?.query_row([], |row| row.get(0))?;
    let mut insert_event = connection.prepare_cached(INSERT_EVENT)?;
    let mut insert_body = connection.prepare_cached(INSERT_BODY)?;
    let mut new = Vec::with_capacity(events.len());
    let mut repeats = Vec::new();
    for (index, event) in events.iter().enumerate() {
        let received_at = event.received_at.micros();
        let state = first_state(event);
        let inserted = insert_event.execute(rusqlite::params![
            seq + 1,
            event.account.as_str(),
            event.event_id,
            event.gateway,
            event.mode.as_str(),
            event.connected_account,
            event.endpoint,
            event.event_type,
            event.api_version,
            event.gateway_time.map(Timestamp::micros),
            event.creates,
            received_at,
            state.as_str(),
            (state == EventState::Pending).then_some(received_at),
            event.ignored_because,
            writer,
            number,
            &event.body_hash[..],
            event.holds_mismatch,
        ])?;
        if inserted == 0 {
            repeats.push(index);
            continue;
        }
        seq += 1;
        insert_body.execute(rusqlite::params![seq, event.is_json, &event.body[..]])?;
        new.push((seq, *event));
    }
    Ok((new, repeats))
}

fn insert_into_postgres<'a>(
    tx: &Tx<'_>,
    session: &Session,
    writer: &str,
    number: i64,
    events: &[&'a NewEvent],
) -> Result<(Inserted<'a>, Vec<usize>)> {
    // Of several in the batch that are the same, the first is the event.
    let mut firsts: HashMap<Identity<'_>, usize> = HashMap::with_capacity(events.len());
    let mut rows = Vec::with_capacity(events.len());
    for (index, event) in events.iter().enumerate() {
        if let Entry::Vacant(first) = firsts.entry(event.identity()) {
            first.insert(index);
            rows.push(event);
        }
    }
    let row = |event: &&&'a NewEvent| {
        let event = **event;
        let (received_at, state) = (event.received_at.micros(), first_state(event));
        values![
            event.account.as_str(),
            &event.event_id,
            event.gateway,
            event.mode.as_str(),
            &event.connected_account,
            &event.endpoint,
            &event.event_type,
            &event.api_version,
            event.gateway_time.map(Timestamp::micros),
            event.creates,
            received_at,
            state.as_str(),
            (state == EventState::Pending).then_some(received_at),
            event.ignored_because,
            writer,
            number,
            &event.body_hash,
            event.holds_mismatch,
        ]
    };
    let mut seqs: Vec<Option<i64>> = vec![None; events.len()];
    for block in rows.chunks(BLOCK) {
        let values: Vec<Value<'_>> = block.iter().flat_map(row).collect();
        for row in session.rows(INSERT_EVENTS, sql::columns(EVENT_TYPES, &values)?)? {
            let row = Row::Postgres(&row);
            let mode = Mode::parse(row.str(2)?).ok_or_else(|| Error::corrupt("event", "", "its mode is none"))?;
            if let Some(index) = firsts.get(&(row.str(0)?, row.str(1)?, mode, row.str(3)?)) {
                seqs[*index] = Some(row.get(4)?);
            }
        }
    }
    let mut bodies = tx.batch(INSERT_BODIES.many())?;
    let (mut new, mut repeats) = (Vec::with_capacity(events.len()), Vec::new());
    for (index, event) in events.iter().enumerate() {
        let Some(seq) = seqs[index] else {
            repeats.push(index);
            continue;
        };
        bodies
            .add(values![event.account.as_str(), seq, event.received_at.micros(), event.is_json, &event.body[..],])?;
        new.push((seq, *event));
    }
    bodies.run()?;
    new.sort_unstable_by_key(|(seq, _)| *seq);
    Ok((new, repeats))
}
