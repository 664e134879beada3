//! Opening and migrating.

use std::time::Duration;

use store::{Error, Store};

use crate::scratch::{NOW, Scratch, delivery, succeeded};

on_each!(
    migrating_again_changes_nothing,
    several_processes_may_start_at_once,
    a_new_database_is_not_migrated,
    what_is_stored_is_there_after_a_restart,
    somebody_who_reads_for_long_does_not_hold_up_acceptance,
);

async fn migrating_again_changes_nothing(db: Scratch) {
    db.lived_through(&[succeeded("evt_1", "pi_1", "6735")]).await;
    let before = db.dump().await;
    db.migrate().await.unwrap();
    assert!(db.is_migrated().await.unwrap());
    assert_eq!(db.dump().await, before);
}

/// Both sides of a rolling restart, and a command beside them.
async fn several_processes_may_start_at_once(db: Scratch) {
    for _ in 0..5 {
        let database = db.empty_of_its_kind().await;
        let start = || async {
            let store = Store::open(database.url()).await?;
            store.migrate().await?;
            store.is_migrated().await
        };
        let (a, b, c, d) = tokio::join!(start(), start(), start(), start());
        for started in [a, b, c, d] {
            assert!(started.unwrap());
        }
    }
}

async fn a_new_database_is_not_migrated(db: Scratch) {
    let database = db.empty_of_its_kind().await;
    let store = Store::open(database.url()).await.unwrap();
    assert!(!store.is_migrated().await.unwrap());
    store.ping().await.unwrap();
    store.migrate().await.unwrap();
    assert!(store.is_migrated().await.unwrap());
}

async fn what_is_stored_is_there_after_a_restart(db: Scratch) {
    db.lived_through(&[succeeded("evt_1", "pi_1", "6735")]).await;
    let before = db.dump().await;
    db.close().await;
    let store = db.opened_again().await;
    store.migrate().await.unwrap();
    assert_eq!(db.dump().await, before);
    assert_eq!(store.accept(vec![succeeded("evt_1", "pi_1", "6735")], NOW).await.unwrap(), [store::Receipt::Duplicate]);
}

#[tokio::test]
async fn a_checkpoint_moves_the_log_into_the_file() {
    let db = Scratch::sqlite().await;
    let file = db.database().url().strip_prefix("sqlite:").unwrap();
    let batch: Vec<_> = (0..200).map(|n| succeeded(&format!("evt_{n}"), &format!("pi_{n}"), "")).collect();
    db.accepted(&batch).await;
    let before = std::fs::metadata(file).unwrap().len();
    db.checkpoint().await.unwrap();
    assert!(std::fs::metadata(file).unwrap().len() > before);
    db.checkpoint().await.unwrap();
    db.accepted(&[succeeded("evt_last", "pi_last", "")]).await;
    assert_eq!(db.claimed(NOW).await.len(), 201);
}

/// A backup, or a person's open transaction, keeps a large log from being emptied.
async fn somebody_who_reads_for_long_does_not_hold_up_acceptance(db: Scratch) {
    const QUICK: Duration = Duration::from_secs(3); // Less than the writer waits for a lock.
    let reader = db.database().reading().await;
    for number in 0..70 {
        db.accepted(&[delivery(&format!("evt_{number}"), "customer.created", vec![b'x'; 1_000_000])]).await;
    }
    for _ in 0..2 {
        tokio::time::timeout(QUICK, db.checkpoint()).await.expect("it does not wait for the reader").unwrap();
    }
    reader.release().await;
    db.checkpoint().await.unwrap();
    db.accepted(&[succeeded("evt_last", "pi_last", "")]).await;
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_without_repeating_it() {
    let wrong = [
        "",
        "quittance.db",
        "sqlite:",
        "sqlite://",
        "sqlite::memory:",
        "mysql://quittance:hunter2@localhost/quittance",
        "hunter2",
    ];
    for url in wrong {
        let error = Store::open(url).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Url(_)) && text.contains("sqlite:FILE"), "{url}: {text}");
        assert!(!text.contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{url}: {text}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("notes.txt");
    std::fs::write(&file, "this is not a database, it only looks like one".repeat(100)).unwrap();
    let missing = directory.path().join("no/such/folder/store.db");
    let folder = directory.path();
    for path in [file.as_path(), missing.as_path(), folder] {
        let opened = Store::open(&format!("sqlite:{}", path.display())).await;
        assert!(opened.is_err(), "{}", path.display());
    }
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("this is not a database"), "and it is left alone");
}

#[tokio::test]
async fn a_url_may_have_slashes() {
    let directory = tempfile::tempdir().unwrap();
    for (index, scheme) in ["sqlite:", "sqlite://"].into_iter().enumerate() {
        let file = directory.path().join(format!("{index}.db"));
        Store::open(&format!("{scheme}{}", file.display())).await.unwrap().migrate().await.unwrap();
        assert!(file.exists(), "{scheme}");
    }
}
