//! What replicas tell one another.

use std::time::Duration;

use crate::scratch::Scratch;

on_each!(another_replica_hears_that_there_is_something_to_do);

async fn another_replica_hears_that_there_is_something_to_do(db: Scratch) {
    let (listener, other) = (db.listen().await.unwrap(), db.opened_again().await);
    assert_eq!((listener.is_some(), db.is_shared()), (db.is_postgres(), db.is_postgres()), "SQLite is polled");
    other.announce().await.unwrap();
    if let Some(mut listener) = listener {
        let heard = tokio::time::timeout(Duration::from_secs(30), listener.heard()).await;
        heard.expect("in time").unwrap();
    }
}
