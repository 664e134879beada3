//! The tables as a sharded PostgreSQL wants them: everything hangs on the account. That
//! each statement of the hot paths names its account is asserted where it runs, so that
//! every test on PostgreSQL is a test of that.

use std::collections::BTreeSet;

use store::Error;

use crate::scratch::{Scratch, delivery};

on_each!(a_table_that_grew_is_looked_at_once);

/// Made by the migrations' library, and of no account.
const BOOKKEEPING: &str = "_sqlx_migrations";
/// Copied to each node whole.
const COPIED: &str = "api_key";
/// Indexes that do not begin with the account.
const INDEXES_WITHOUT: [&str; 3] = [
    "event_times",       // Summaries of blocks, whatever is in them, which cost next to nothing.
    "event_unprocessed", // For people's monitoring, which asks for all accounts.
    "event_words",       // As the first.
];

fn quoted(statement: &str) -> String {
    statement.split('\'').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn every_key_begins_with_the_account() {
    let db = Scratch::postgres().await;
    let indexes = db
        .rows(&format!(
            "SELECT t.relname, x.relname, i.indisunique,
                    coalesce((SELECT a.attname FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attnum = i.indkey[0]),
                             '') = 'account',
                    coalesce((SELECT pg_get_constraintdef(c.oid) FROM pg_constraint c
                              WHERE c.conindid = x.oid AND c.contype = 'x'), '')
             FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
             WHERE t.relnamespace = current_schema()::regnamespace
               AND t.relname NOT IN ('{BOOKKEEPING}', '{COPIED}')
             ORDER BY x.relname"
        ))
        .await;
    let mut without = Vec::new();
    let mut exclusions = 0;
    for row in &indexes {
        let [table, index, unique, begins, exclusion] = &row[..] else { panic!("{row:?}") };
        let begins = begins == "1";
        assert!(begins || unique == "0", "{index} of {table} is unique and does not begin with the account");
        if !exclusion.is_empty() {
            exclusions += 1;
            assert!(exclusion.contains("(account WITH =, "), "{index} of {table}: {exclusion}");
        }
        if !begins {
            without.push(index.as_str());
        }
    }
    assert_eq!(without, INDEXES_WITHOUT, "each has its reason");
    assert_eq!(exclusions, 1);
    let keys = "SELECT count(*) FROM pg_class t WHERE t.relnamespace = current_schema()::regnamespace
                AND t.relkind IN ('r', 'p')
                AND NOT EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = t.oid AND i.indisprimary)";
    assert_eq!(db.value(keys).await, "0", "every table has a primary key");
}

#[tokio::test]
async fn every_table_is_distributed() {
    let db = Scratch::postgres().await;
    let tables = "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace
                  AND relkind IN ('r', 'p') AND NOT relispartition";
    let mut tables: BTreeSet<String> = db.rows(tables).await.into_iter().flatten().collect();
    assert!(tables.remove(BOOKKEEPING));
    let functions = "SELECT oid::regprocedure::text FROM pg_proc p
                     WHERE pronamespace = current_schema()::regnamespace AND NOT EXISTS (
                         SELECT 1 FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')";
    let functions: BTreeSet<String> = db.rows(functions).await.into_iter().flatten().collect();
    let statements = db.distribution().await.unwrap();
    let by = |call: &str| -> BTreeSet<String> {
        statements.iter().filter(|statement| statement.contains(call)).map(|statement| quoted(statement)).collect()
    };
    assert_eq!(by("create_distributed_function("), functions);
    assert_eq!(by("create_reference_table("), BTreeSet::from([COPIED.to_owned()]));
    assert!(tables.remove(COPIED));
    assert_eq!(by("create_distributed_table("), tables);
    let place = |statement: &str| statements.iter().position(|other| other == statement).expect(statement);
    let first = place("SELECT create_distributed_table('event', 'account');");
    let other = "SELECT create_distributed_table('payment', 'account', colocate_with => 'event');";
    assert!(first < place(other));
    assert!(statements.iter().all(|statement| statement.ends_with(';') && !statement.contains('\n')));
}

#[tokio::test]
async fn without_citus_nothing_is_distributed() {
    let db = Scratch::postgres().await;
    let error = db.distribute().await.unwrap_err();
    assert!(matches!(&error, Error::Unfit(why) if why.contains("CREATE EXTENSION citus")), "{error:?}");
    let db = Scratch::sqlite().await;
    for error in [db.distribute().await.unwrap_err(), db.distribution().await.unwrap_err()] {
        assert!(matches!(&error, Error::Unfit(why) if why.contains("SQLite")), "{error:?}");
    }
}

/// What Citus notes of itself, and how it is called: enough to see that the statements can
/// be run, in their order, and that what is done is not done again.
const STAND_IN: &str = "
    CREATE TABLE pg_dist_partition (logicalrelid regclass PRIMARY KEY);
    CREATE TABLE pg_dist_object (classid oid, objid oid, PRIMARY KEY (classid, objid));
    CREATE FUNCTION create_distributed_table(name regclass, distribution_column text, colocate_with text DEFAULT '')
    RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        IF colocate_with <> '' AND NOT EXISTS (
            SELECT 1 FROM pg_dist_partition WHERE logicalrelid = colocate_with::regclass)
        OR NOT EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = name AND attname = distribution_column) THEN
            RAISE EXCEPTION 'not so';
        END IF;
        INSERT INTO pg_dist_partition VALUES (name);
    END $$;
    CREATE FUNCTION create_reference_table(name regclass) RETURNS void LANGUAGE sql
        AS 'INSERT INTO pg_dist_partition VALUES (name)';
    CREATE FUNCTION create_distributed_function(name regprocedure) RETURNS void LANGUAGE sql
        AS 'INSERT INTO pg_dist_object VALUES (''pg_proc''::regclass, name)'";

#[tokio::test]
async fn what_is_distributed_is_left() {
    let db = Scratch::postgres().await;
    db.tamper(STAND_IN).await;
    db.tamper("INSERT INTO pg_dist_partition VALUES ('event')").await; // As if it had been cut off.
    let expected = db.distribution().await.unwrap();
    assert!(!expected.iter().any(|statement| statement.contains("('event',")), "{expected:?}");
    assert_eq!(db.distribute().await.unwrap(), expected);
    let extension = db.distribution().await.unwrap();
    assert_eq!(extension, ["CREATE EXTENSION IF NOT EXISTS btree_gist;"], "which only Citus itself can note");
    db.tamper(
        "INSERT INTO pg_dist_object SELECT 'pg_extension'::regclass, oid FROM pg_extension
         WHERE extname = 'btree_gist'",
    )
    .await;
    assert!(db.distribute().await.unwrap().is_empty());
}

async fn a_table_that_grew_is_looked_at_once(db: Scratch) {
    assert_eq!(db.refresh_statistics().await.unwrap(), 0);
    let batch: Vec<_> =
        (0..2000).map(|number| delivery(&format!("evt_{number}"), "customer.created", vec![b'x'; 100])).collect();
    db.accepted(&batch).await;
    let looked_at = db.refresh_statistics().await.unwrap();
    if !db.is_postgres() {
        return assert_eq!(looked_at, 0);
    }
    assert!(looked_at >= 2, "events and their bodies: {looked_at}");
    let known = "SELECT count(*) FROM pg_stats WHERE schemaname = current_schema() AND attname = 'account'
                 AND tablename IN ('event', 'event_body_default') AND n_distinct = 1";
    assert_eq!(db.value(known).await, "2");
    assert_eq!(db.refresh_statistics().await.unwrap(), 0, "it has not grown since");
}
