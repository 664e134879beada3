//! Upkeep beside the work.

use std::time::Duration;

use store::Store;
use tokio::sync::watch;

/// An idle pass costs next to nothing.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(250);
/// The same under load: what is forced to the disk at once stays small.
const CHECKPOINT_INTERVAL_UNDER_LOAD: Duration = Duration::from_millis(50);

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
