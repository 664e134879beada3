//! Partitions of bodies by the time at which they came, so that old ones are dropped whole.

use domain::Timestamp;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor, Row};

use super::Postgres;
use crate::Result;

const DAY_MICROS: i64 = 24 * 60 * 60 * 1_000_000;
/// How long a partition is where bodies are dropped by age: each statement looks at every
/// partition, and a body stays for up to that much longer than it has to.
const DAYS_WHERE_DROPPED: i64 = 7;
/// The same where all of them stay.
const DAYS_WHERE_KEPT: i64 = 28;
/// How far ahead there are partitions, so that a few days without upkeep do no harm.
const AHEAD_DAYS: i64 = 14;
/// Of the replicas one does this at a time.
const ALONE: &str = "SELECT pg_try_advisory_xact_lock(hashtext('quittance event_body partitions'))";
/// Acceptance waits behind whoever waits for such a lock: rather not now than long.
const BRIEFLY: &str = "SET LOCAL lock_timeout = '300ms'; SET LOCAL statement_timeout = '10s'";
/// Dated partitions, and between which instants.
const PARTITIONS: &str = r"SELECT quote_ident(c.relname),
        substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \(''(-?[0-9]+)''\)')::bigint,
        substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''(-?[0-9]+)''\)')::bigint
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'event_body'::regclass AND pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT' ORDER BY 2";

struct Partition {
    name: String,
    end: i64,
}

async fn partitions(connection: &mut PgConnection) -> Result<Vec<Partition>> {
    let rows = sqlx::query(PARTITIONS).fetch_all(connection).await?;
    Ok(rows.iter().map(|row| Partition { name: row.get(0), end: row.get(2) }).collect())
}

/// Makes those that are missing for the coming days. They begin with tomorrow, because
/// what came today may be in the partition of all other days already.
pub(crate) async fn make(postgres: &Postgres, now: Timestamp, expires: bool) -> Result<()> {
    let mut connection = postgres.acquire().await?;
    let ahead = now.micros() + AHEAD_DAYS * DAY_MICROS;
    loop {
        let mut alone = connection.begin().await?;
        if !sqlx::query(ALONE).fetch_one(&mut *alone).await?.get::<bool, _>(0) {
            return Ok(());
        }
        let last = partitions(&mut alone).await?.last().map(|partition| partition.end);
        if last.is_some_and(|end| end > ahead) {
            return Ok(());
        }
        let tomorrow = (now.micros().div_euclid(DAY_MICROS) + 1) * DAY_MICROS;
        let start = last.map_or(tomorrow, |end| end.max(tomorrow));
        let end = start + if expires { DAYS_WHERE_DROPPED } else { DAYS_WHERE_KEPT } * DAY_MICROS;
        let name = format!("event_body_{}", date(Timestamp::from_micros(start)));
        // Attached, because a table that is made as a partition locks all of them. The
        // partition of all other days is looked through for what belongs to the new one.
        let make = format!(
            "{BRIEFLY};
             CREATE TABLE {name} (LIKE event_body INCLUDING ALL) WITH (toast_tuple_target = 8160);
             ALTER TABLE event_body ATTACH PARTITION {name} FOR VALUES FROM ({start}) TO ({end})"
        );
        alone.execute(sqlx::raw_sql(AssertSqlSafe(make))).await?;
        alone.commit().await?;
        tracing::debug!(partition = name, "A partition for bodies was made");
    }
}

/// Drops those that hold nothing younger than `before`. What needs its body yet moves to
/// the partition of all other days.
pub(crate) async fn drop_old(postgres: &Postgres, before: Timestamp) -> Result<()> {
    let mut connection = postgres.acquire().await?;
    loop {
        let mut alone = connection.begin().await?;
        if !sqlx::query(ALONE).fetch_one(&mut *alone).await?.get::<bool, _>(0) {
            return Ok(());
        }
        let oldest = partitions(&mut alone).await?.into_iter().next();
        let Some(Partition { name, .. }) = oldest.filter(|partition| partition.end <= before.micros()) else {
            return Ok(());
        };
        // Those that need more work are few, and have indexes of their own.
        let drop = format!(
            "{BRIEFLY};
             ALTER TABLE event_body DETACH PARTITION {name};
             WITH unsettled AS MATERIALIZED (
                 SELECT account, seq, received_at FROM event WHERE due_at IS NOT NULL
                 UNION
                 SELECT account, seq, received_at FROM event WHERE state IN ('waiting', 'failed', 'dead'))
             INSERT INTO event_body (seq, received_at, is_json, account, body)
             SELECT b.seq, b.received_at, b.is_json, b.account, b.body FROM {name} b
             JOIN unsettled u ON u.account = b.account AND u.seq = b.seq AND u.received_at = b.received_at;
             DROP TABLE {name}"
        );
        alone.execute(sqlx::raw_sql(AssertSqlSafe(drop))).await?;
        alone.commit().await?;
        tracing::info!(partition = name, "Bodies were dropped by age");
    }
}

/// As `20261123`.
fn date(at: Timestamp) -> String {
    at.to_string().chars().take(10).filter(char::is_ascii_digit).collect()
}
