//! Looking at a database without changing it.

use std::time::{Duration, Instant};

use store::{Condition, Durability, Error, Options, Store};
use testdb::Database;

use crate::scratch::{NOW, unrelated};

fn at(folder: &tempfile::TempDir, name: &str) -> String {
    format!("sqlite:{}", folder.path().join(name).display())
}

#[tokio::test]
async fn each_condition_is_told_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let database = |name: &str| rusqlite::Connection::open(folder.path().join(name)).unwrap();
    let inspect = async |name: &str| Store::inspect(&at(&folder, name)).await;
    assert_eq!(inspect("missing.db").await.unwrap(), Condition::Missing);
    assert!(!folder.path().join("missing.db").exists());

    database("empty.db").execute_batch("PRAGMA user_version = 1").unwrap();
    assert_eq!(inspect("empty.db").await.unwrap(), Condition::Empty);
    database("foreign.db").execute_batch("CREATE TABLE wp_posts (id INTEGER)").unwrap();
    assert_eq!(inspect("foreign.db").await.unwrap(), Condition::Foreign);

    let store = Store::open(&at(&folder, "q?%.db")).await.unwrap();
    assert_eq!(inspect("q?%.db").await.unwrap(), Condition::Empty);
    store.migrate().await.unwrap();
    assert_eq!(inspect("q?%.db").await.unwrap(), Condition::Current, "while it is open");
    store.close().await;
    assert_eq!(inspect("q?%.db").await.unwrap(), Condition::Current);
    let change = |sql: &str| database("q?%.db").execute_batch(sql).unwrap();
    change("INSERT INTO _sqlx_migrations VALUES (9999, 'later', 0, TRUE, x'00', 0)");
    assert_eq!(inspect("q?%.db").await.unwrap(), Condition::Newer);
    change("DELETE FROM _sqlx_migrations WHERE version > 1");
    assert_eq!(inspect("q?%.db").await.unwrap(), Condition::Older);
    change("UPDATE _sqlx_migrations SET checksum = x'00'");
    assert_eq!(inspect("q?%.db").await.unwrap(), Condition::Foreign, "another program's migrations");
}

#[tokio::test]
async fn what_cannot_be_used_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("text.db"), "no database ".repeat(100)).unwrap();
    std::fs::create_dir(folder.path().join("folder.db")).unwrap();
    for name in ["text.db", "folder.db", "nowhere/store.db"] {
        assert!(Store::inspect(&at(&folder, name)).await.is_err(), "{name}");
    }
    for url in ["sqlite:", "sqlite::memory:", "mysql://db/shop"] {
        assert!(Store::inspect(url).await.is_err(), "{url}");
    }
}

#[tokio::test]
async fn what_is_left_of_a_failed_migration_and_what_extensions_bring_is_nobodys() {
    let database = Database::postgres().await;
    let inspect = async || Store::inspect(database.url()).await.unwrap();
    assert_eq!(inspect().await, Condition::Empty);
    database.execute("CREATE EXTENSION pg_buffercache").await;
    assert_eq!(inspect().await, Condition::Empty, "an extension's view");
    let bookkeeping = "CREATE TABLE _sqlx_migrations (version bigint PRIMARY KEY, description text NOT NULL,
        installed_on timestamptz NOT NULL DEFAULT now(), success boolean NOT NULL, checksum bytea NOT NULL,
        execution_time bigint NOT NULL)";
    database.execute(bookkeeping).await;
    assert_eq!(inspect().await, Condition::Empty, "nothing was noted");
    database.execute("CREATE TABLE wp_posts (id bigint)").await;
    assert_eq!(inspect().await, Condition::Foreign);
    database.execute("DROP TABLE wp_posts").await;
    let store = Store::open(database.url()).await.unwrap();
    store.migrate().await.unwrap();
    assert_eq!(inspect().await, Condition::Current);
}

#[tokio::test]
async fn a_statement_is_given_up_when_it_is_said() {
    let database = Database::postgres().await;
    let options = Options { statement_timeout: Duration::from_secs(1), ..Options::default() };
    let store = Store::open_with(database.url(), &options).await.unwrap();
    store.migrate().await.unwrap();
    let locked = database.locked().await;
    let started = Instant::now();
    let refused = store.accept(vec![unrelated("evt_1")], NOW).await;
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    locked.release().await;
    store.accept(vec![unrelated("evt_1")], NOW).await.unwrap();
}

#[tokio::test]
async fn there_are_as_many_lanes_as_asked_for() {
    let database = Database::postgres().await;
    let options = Options { lanes: 5, ..Options::default() };
    assert_eq!(options.connections_min(), 9);
    assert_eq!(Store::open_with(database.url(), &options).await.unwrap().lanes().len(), 5);
    let one = Database::sqlite().await;
    assert_eq!(Store::open_with(one.url(), &options).await.unwrap().lanes().len(), 1, "SQLite has one writer");
}

#[tokio::test]
async fn a_postgresql_says_what_its_durability_stands_on() {
    let (postgres, sqlite) = (Database::postgres().await, Database::sqlite().await);
    let said = Store::durability(postgres.url()).await.unwrap().unwrap();
    let setting = async |name: &str| postgres.value(&format!("SELECT current_setting('{name}')")).await;
    let expected = Durability {
        synchronous_standbys: setting("synchronous_standby_names").await,
        synchronous_commit: setting("synchronous_commit").await,
        fsync: setting("fsync").await == "on",
        full_page_writes: setting("full_page_writes").await == "on",
        tls: postgres.value("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await == "1",
        is_local: said.is_local,
    };
    assert_eq!(said, expected);
    assert_eq!(Store::durability(sqlite.url()).await.unwrap(), None);
}
