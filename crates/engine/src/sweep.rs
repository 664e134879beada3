//! Upkeep beside the work.

use std::time::Duration;

use store::Store;
use tokio::sync::watch;

use crate::Clock;

/// An idle pass costs next to nothing.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(250);
/// The same under load: what is forced to the disk at once stays small.
const CHECKPOINT_INTERVAL_UNDER_LOAD: Duration = Duration::from_millis(50);
/// How long a table that grows fast from nothing may be searched in the wrong way.
const STATISTICS_INTERVAL: Duration = Duration::from_secs(1);
/// How long an event may wait because a clock was set back.
const CALL_BACK_INTERVAL: Duration = Duration::from_secs(5);

/// Calls back what a clock that was set back has put off, until `stopped`: otherwise it
/// would be applied only once the clock is where it was.
pub(crate) async fn call_back(store: Store, clock: Clock, mut stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        match store.call_back(clock.now()).await {
            Ok(0) => {}
            Ok(events) => tracing::warn!(events, "The clock was set back: what it had put off is applied now"),
            // Those who apply say so.
            Err(error) => tracing::debug!(%error, "what a clock may have put off was not looked for"),
        }
        tokio::select! {
            () = tokio::time::sleep(CALL_BACK_INTERVAL) => {}
            _ = stopped.changed() => {}
        }
    }
}

/// Keeps PostgreSQL's statistics near to what its tables are, until `stopped`.
pub(crate) async fn refresh_statistics(store: Store, mut stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        if let Err(error) = store.refresh_statistics().await {
            tracing::debug!(%error, "the tables' statistics were not refreshed");
        }
        tokio::select! {
            () = tokio::time::sleep(STATISTICS_INTERVAL) => {}
            _ = stopped.changed() => {}
        }
    }
}

/// Checkpoints the database until `stopped`.
pub(crate) async fn run(store: Store, mut stopped: watch::Receiver<bool>) {
    let mut pause = CHECKPOINT_INTERVAL;
    while !*stopped.borrow() {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stopped.changed() => {}
        }
        pause = match store.checkpoint().await {
            Ok(true) => CHECKPOINT_INTERVAL_UNDER_LOAD,
            Ok(false) => CHECKPOINT_INTERVAL,
            Err(error) => {
                tracing::warn!(%error, "a checkpoint failed; the next one takes it up");
                CHECKPOINT_INTERVAL
            }
        };
    }
}
