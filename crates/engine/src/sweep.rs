//! Upkeep beside the work.

use std::time::Duration;

use store::Store;
use tokio::sync::watch;

/// Short enough that the log stays small under load; an idle pass costs next to nothing.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(250);

/// Checkpoints the database until `stopped`.
pub(crate) async fn run(store: Store, mut stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        tokio::select! {
            () = tokio::time::sleep(CHECKPOINT_INTERVAL) => {}
            _ = stopped.changed() => {}
        }
        if let Err(error) = store.checkpoint().await {
            tracing::warn!(%error, "a checkpoint failed; the next one takes it up");
        }
    }
}
