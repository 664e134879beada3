//! What PostgreSQL's planner knows of the tables.

use sqlx::{AssertSqlSafe, Executor, Row};

use super::Postgres;
use crate::Result;

/// Tables that are several times as large as when they were last looked at, or were never
/// looked at. By itself PostgreSQL does so about once a minute; until then it takes an
/// account for a two-hundredth of a table, and for so few rows it would rather read all of
/// them than search for each. A table of a few pages is read at once either way.
const GROWN: &str = "SELECT quote_ident(relname) FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND pg_has_role(relowner, 'USAGE')
      AND pg_relation_size(oid) > 4 * greatest(relpages, 4)::bigint * current_setting('block_size')::bigint
    ORDER BY relname";

/// Has tables looked at anew that have grown much since. Returns how many.
pub(crate) async fn refresh(postgres: &Postgres) -> Result<usize> {
    let mut connection = postgres.acquire().await?;
    let grown = sqlx::query(GROWN).fetch_all(&mut *connection).await?;
    for table in &grown {
        // What another replica, or PostgreSQL itself, is looking at just now is left to it.
        let analyze = format!("ANALYZE (SKIP_LOCKED) {}", table.get::<&str, _>(0));
        connection.execute(sqlx::raw_sql(AssertSqlSafe(analyze))).await?;
    }
    Ok(grown.len())
}
