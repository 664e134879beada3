//! The two databases answer alike.

use testdb::{Database, wait};

/// Each of these on each database.
macro_rules! on_each {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test(testdb::Database::sqlite().await).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $test() {
                super::$test(testdb::Database::postgres().await).await;
            })+
        }
    };
}

on_each!(
    values_are_the_same_text,
    what_is_changed_is_counted,
    what_the_database_refuses_is_said,
    a_dump_is_everything_in_one_order,
    nobody_writes_while_it_is_locked,
    who_reads_goes_on_reading_the_same,
    a_test_without_a_runtime_waits,
    each_has_its_own_and_others_may_open_it,
);

async fn values_are_the_same_text(db: Database) {
    let bytes = if db.is_postgres() { "'\\x00ff'::bytea" } else { "X'00FF'" };
    let spelled = if db.is_postgres() { "'\\x6162'::bytea" } else { "X'6162'" };
    let time = if db.is_postgres() { "to_timestamp(1763654400.25)" } else { "'2025-11-20 16:00:00.250000'" };
    let sql = format!(
        "SELECT 7 AS number, 'text' AS word, NULL AS missing, 1 < 2 AS yes, 1 > 2 AS no, {bytes} AS bytes,
                {spelled} AS spelled, {time} AS time, round(66.7, 2) AS decimal, 2.0 * 50 AS whole, '' AS empty"
    );
    let table = db.table(&sql).await;
    let columns = ["number", "word", "missing", "yes", "no", "bytes", "spelled", "time", "decimal", "whole", "empty"];
    assert_eq!(table.columns, columns);
    let row = ["7", "text", "NULL", "1", "0", "X'00FF'", "ab", "2025-11-20 16:00:00.250000", "66.7", "100", ""];
    assert_eq!(table.rows, [row]);
    assert_eq!(db.rows("SELECT 1 WHERE 1 = 2").await, Vec::<Vec<String>>::new());
    assert_eq!(db.value("SELECT count(*) FROM (SELECT 1 UNION SELECT 2) AS two").await, "2");
}

async fn what_is_changed_is_counted(db: Database) {
    db.execute("CREATE TABLE kept (number bigint); CREATE TABLE other (number bigint)").await;
    assert_eq!(db.execute("INSERT INTO kept VALUES (1), (2), (3)").await, 3);
    assert_eq!(db.execute("UPDATE kept SET number = 9 WHERE number > 1").await, 2);
    assert_eq!(db.execute("DELETE FROM kept; INSERT INTO other VALUES (1)").await, 4);
}

async fn what_the_database_refuses_is_said(db: Database) {
    let error = db.try_execute("INSERT INTO nowhere VALUES (1)").await.expect_err("it is refused");
    assert!(error.contains("nowhere"), "{error}");
    db.execute("CREATE TABLE kept (number bigint CHECK (number > 0))").await;
    let error = db.try_execute("INSERT INTO kept VALUES (0)").await.expect_err("it is refused");
    assert!(error.to_lowercase().contains("check constraint"), "{error}");
}

async fn a_dump_is_everything_in_one_order(db: Database) {
    db.execute("CREATE TABLE _sqlx_migrations (version bigint)").await;
    db.execute("CREATE TABLE b (word text); CREATE TABLE a (number bigint, word text)").await;
    db.execute("INSERT INTO b VALUES ('z'), ('y')").await;
    let expected = [("a".to_owned(), vec![]), ("b".to_owned(), vec![vec!["y".to_owned()], vec!["z".to_owned()]])];
    assert_eq!(db.dump().await, expected);
    db.execute("UPDATE b SET word = 'x' WHERE word = 'z'").await;
    assert_ne!(db.dump().await, expected);
}

async fn nobody_writes_while_it_is_locked(db: Database) {
    db.execute("CREATE TABLE kept (number bigint); INSERT INTO kept VALUES (1)").await;
    let locked = db.locked().await;
    assert_eq!(db.value("SELECT number FROM kept").await, "1");
    let impatient = if db.is_postgres() { "SET lock_timeout = 1" } else { "PRAGMA busy_timeout = 1" };
    let write = format!("{impatient}; UPDATE kept SET number = 2");
    let error = db.try_execute(&write).await.expect_err("it is refused");
    assert!(error.contains("lock"), "{error}");
    locked.release().await;
    assert_eq!(db.execute(&write).await, 1);
    drop(db.locked().await); // Whoever forgets to release it has not locked it for ever.
    assert_eq!(db.execute("UPDATE kept SET number = 3").await, 1);
}

async fn who_reads_goes_on_reading_the_same(db: Database) {
    if !db.is_postgres() {
        db.execute("PRAGMA journal_mode = WAL").await;
    }
    db.execute("CREATE TABLE kept (number bigint)").await;
    let reading = db.reading().await;
    db.execute("INSERT INTO kept VALUES (1)").await;
    if db.is_postgres() {
        let readers =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_xmin IS NOT NULL
                           AND pid <> pg_backend_pid()";
        assert_eq!(db.value(readers).await, "1");
    } else {
        let [busy, ..] = &db.rows("PRAGMA busy_timeout = 1; PRAGMA wal_checkpoint(TRUNCATE)").await[1][..] else {
            panic!("three numbers")
        };
        assert_eq!(busy, "1", "a reader is in the way");
    }
    reading.release().await;
}

async fn a_test_without_a_runtime_waits(db: Database) {
    let counted = std::thread::spawn(move || {
        wait(db.execute("CREATE TABLE kept (number bigint)"));
        wait(db.value("SELECT count(*) FROM kept"))
    });
    assert_eq!(counted.join().expect("it counts"), "0");
    let panicked = std::panic::catch_unwind(|| wait(async { panic!("of its own") }));
    assert_eq!(panicked.unwrap_err().downcast_ref::<&str>(), Some(&"of its own"));
}

async fn each_has_its_own_and_others_may_open_it(db: Database) {
    let other = if db.is_postgres() { Database::postgres().await } else { Database::sqlite().await };
    db.execute("CREATE TABLE kept (number bigint)").await;
    assert!(other.try_execute("DELETE FROM kept").await.is_err(), "it is another database");
    let url = db.url().to_owned();
    let same = Database::at(&url);
    same.execute("INSERT INTO kept VALUES (1)").await;
    let still_open = same.reading().await;
    drop(same);
    assert_eq!(db.value("SELECT count(*) FROM kept").await, "1", "it was not this one's to remove");
    drop(db);
    let gone = Database::at(&url).try_execute("DELETE FROM kept").await.expect_err("it is refused");
    assert!(gone.contains("does not exist") || gone.contains("unable to open"), "{gone}");
    drop(still_open);
}

#[tokio::test]
async fn without_a_server_a_test_fails_and_says_what_to_do() {
    let test = std::env::current_exe().expect("this program");
    let mut alone = std::process::Command::new(test);
    alone.args(["--exact", "postgres::values_are_the_same_text"]).env_remove("QUITTANCE_POSTGRES");
    let output = alone.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("run `cargo xtask test`, or set QUITTANCE_POSTGRES"), "{said}");
}
