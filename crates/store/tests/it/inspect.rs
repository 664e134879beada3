//! Looking at a database without changing it.

use store::{Condition, Store};

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
