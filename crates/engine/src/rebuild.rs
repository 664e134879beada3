//! Deriving all state again from stored events, to compare it with what is there or to put
//! that right.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use domain::Timestamp;
use store::Store;

use crate::apply::restate;

pub use store::{Comparison, Difference};

/// Folds every stored event that was applied before into fresh state, from its bodies
/// where they are still there and else from its stored facts, and compares it with
/// every table that is derived. Writes nothing.
pub async fn check(store: &Store) -> store::Result<Comparison> {
    check_counting(store, &Arc::default()).await
}

/// As [`check`]; `progress` counts the events that were read.
pub async fn check_counting(store: &Store, progress: &Arc<AtomicU64>) -> store::Result<Comparison> {
    let mut whole = Comparison::default();
    for account in store.accounts().await? {
        whole.add(store.check_state(&account, restate, progress.clone()).await?);
    }
    Ok(whole)
}

/// As [`check`], and writes anew what differs, an account at a time. An account without a
/// difference is not held up. Nobody is notified of what changes.
pub async fn restore(store: &Store, progress: &Arc<AtomicU64>, now: Timestamp) -> store::Result<Comparison> {
    let mut whole = Comparison::default();
    for account in store.accounts().await? {
        let checked = store.check_state(&account, restate, progress.clone()).await?;
        // What can be put right is derived again: it may have changed before it was locked.
        let is_to_do = !checked.is_sound() && checked.lost.is_empty();
        whole.add(match is_to_do {
            true => store.restore_state(&account, restate, progress.clone(), now).await?,
            false => checked,
        });
    }
    Ok(whole)
}
