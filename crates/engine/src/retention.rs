//! Bodies are dropped once they are old, where that is configured.

use std::time::Duration;

use domain::Timestamp;
use store::Store;
use tokio::sync::watch;

use crate::Clock;

/// Between passes, by the clock.
const PASS_MICROS: i64 = 60 * 60 * 1_000_000;
/// How often to look at the clock.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Makes room ahead and drops what is old, until `stopped`.
pub(crate) async fn run(store: Store, clock: Clock, kept_for: Option<Duration>, mut stopped: watch::Receiver<bool>) {
    let mut last: Option<Timestamp> = None;
    while !*stopped.borrow() {
        let now = clock.now();
        // Also where the clock was set back.
        let is_due = last.is_none_or(|last| (now.micros() - last.micros()).abs() >= PASS_MICROS);
        if is_due {
            last = Some(now);
            // What is not done when it stops is done by the next pass.
            let done = tokio::select! {
                done = pass(&store, now, kept_for) => done,
                _ = stopped.changed() => return,
            };
            match done {
                Ok(0) => {}
                Ok(bodies) => tracing::info!(bodies, "Bodies were dropped by age"),
                Err(error) => tracing::warn!(%error, "upkeep of bodies failed; the next pass takes it up"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            _ = stopped.changed() => {}
        }
    }
}

/// Returns how many bodies were dropped one by one.
async fn pass(store: &Store, now: Timestamp, kept_for: Option<Duration>) -> store::Result<u64> {
    let made = store.make_partitions(now, kept_for.is_some()).await;
    let dropped = match kept_for {
        Some(kept_for) => {
            let kept_for = i64::try_from(kept_for.as_micros()).unwrap_or(i64::MAX);
            store.drop_bodies(Timestamp::from_micros(now.micros().saturating_sub(kept_for))).await?
        }
        None => 0,
    };
    made?;
    Ok(dropped)
}
