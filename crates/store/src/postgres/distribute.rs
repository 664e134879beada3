//! Spreading the tables over the nodes of a PostgreSQL with the Citus extension, by
//! account: whatever is about one account is on one node. `docs/scale.md` says when.

use std::collections::BTreeSet;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor, Row};

use super::Postgres;
use crate::query::Pool;
use crate::{Error, Result, Store};

/// The others lie where its rows of the same account do.
const FIRST: &str = "event";
/// A partitioned one takes its partitions with it, those too that are made later.
const OTHERS: [&str; 23] = [
    "account",
    "batch",
    "booking",
    "booking_session",
    "chain_head",
    "dispute",
    "event_body",
    "event_facts",
    "event_rendering",
    "failed_attempt",
    "gateway_object",
    "history",
    "idempotency_key",
    "merchant_order",
    "payment",
    "payment_alias",
    "payment_name",
    "payment_registration",
    "redelivery",
    "refund",
    "resource",
    "transmission",
    "wanted_name",
];
/// Of which each node has a copy: small, and not of one account.
const COPIED: [&str; 1] = ["api_key"];
/// What an index or a view calls, where the rows are.
const FUNCTIONS: [&str; 3] = ["quittance_time(bigint)", "quittance_json(text)", "quittance_json(bytea)"];
/// Of which a constraint's index is made.
const EXTENSION: &str = "btree_gist";

/// Something that nodes have to have, and the statement that sees to it.
struct Step {
    name: &'static str,
    sql: String,
}

/// Those whose rows lie where their account's are.
pub(super) fn is_distributed(table: &str) -> bool {
    table == FIRST || OTHERS.contains(&table)
}

fn steps() -> impl Iterator<Item = Step> {
    let extension = Step { name: EXTENSION, sql: format!("CREATE EXTENSION IF NOT EXISTS {EXTENSION};") };
    let functions = FUNCTIONS.map(|name| Step { name, sql: format!("SELECT create_distributed_function('{name}');") });
    let first = Step { name: FIRST, sql: format!("SELECT create_distributed_table('{FIRST}', 'account');") };
    let others = OTHERS.map(|name| Step {
        name,
        sql: format!("SELECT create_distributed_table('{name}', 'account', colocate_with => '{FIRST}');"),
    });
    let copied = COPIED.map(|name| Step { name, sql: format!("SELECT create_reference_table('{name}');") });
    [extension].into_iter().chain(functions).chain([first]).chain(others).chain(copied)
}

impl Store {
    /// What [`Store::distribute`] would run just now, a statement each. Does not need
    /// Citus: without it, that is all of them.
    pub async fn distribution(&self) -> Result<Vec<String>> {
        let mut connection = postgres(self)?.acquire().await?;
        Ok(left(&mut connection).await?.into_iter().map(|step| step.sql).collect())
    }

    /// Spreads every table over the nodes, each statement by itself: where one fails, the
    /// next call goes on from there. Returns what was run.
    pub async fn distribute(&self) -> Result<Vec<String>> {
        let mut connection = postgres(self)?.servers.connect().await?;
        if !has_citus(&mut connection).await? {
            return Err(Error::Unfit(
                "this database has no Citus, version 11 or later: load it on every node and run CREATE EXTENSION \
                 citus in this database"
                    .to_owned(),
            ));
        }
        connection.execute("SET statement_timeout = 0").await?; // The rows of a table are moved to their nodes.
        let mut run = Vec::new();
        for step in left(&mut connection).await? {
            connection.execute(sqlx::raw_sql(AssertSqlSafe(step.sql.clone()))).await?;
            run.push(step.sql);
        }
        connection.close().await?;
        Ok(run)
    }
}

fn postgres(store: &Store) -> Result<&Postgres> {
    match &store.writer {
        Pool::Postgres(postgres) => Ok(postgres),
        Pool::Sqlite(_) => Err(Error::Unfit(
            "SQLite is one file on one machine: what is spread over several is PostgreSQL, with Citus".to_owned(),
        )),
    }
}

/// By its catalog, which is in everybody's search path.
async fn has_citus(connection: &mut PgConnection) -> Result<bool> {
    let asked = "SELECT to_regclass('pg_dist_partition') IS NOT NULL AND to_regclass('pg_dist_object') IS NOT NULL";
    Ok(connection.fetch_one(asked).await?.try_get(0)?)
}

/// The steps that were not done yet.
async fn left(connection: &mut PgConnection) -> Result<Vec<Step>> {
    let mut done = BTreeSet::new();
    if has_citus(connection).await? {
        let asked = "SELECT c.relname::text FROM pg_dist_partition d JOIN pg_class c ON c.oid = d.logicalrelid
                         WHERE c.relnamespace = current_schema()::regnamespace
                     UNION ALL
                     SELECT p.oid::regprocedure::text FROM pg_dist_object o JOIN pg_proc p ON p.oid = o.objid
                         WHERE o.classid = 'pg_proc'::regclass AND p.pronamespace = current_schema()::regnamespace
                     UNION ALL
                     SELECT e.extname::text FROM pg_dist_object o JOIN pg_extension e ON e.oid = o.objid
                         WHERE o.classid = 'pg_extension'::regclass";
        for row in connection.fetch_all(asked).await? {
            done.insert(row.try_get::<String, _>(0)?);
        }
    }
    Ok(steps().filter(|step| !done.contains(step.name)).collect())
}
