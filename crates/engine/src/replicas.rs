//! Several processes on one PostgreSQL: each tells the others, a few times a second, that
//! it stored something. Whoever hears nothing still finds it, half a second later.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use store::{Listener, Store};
use tokio::sync::{Notify, watch};

/// Aside from the transactions that store: a notification in each of them would make
/// them wait for one another.
const ANNOUNCE_INTERVAL: Duration = Duration::from_millis(250);
/// After the connection on which others are heard was lost.
const LISTEN_PAUSE: Duration = Duration::from_secs(2);

/// Announces what was `stored_here`, and wakes those who `work` for what others stored.
pub(crate) async fn run(
    store: Store,
    work: Arc<Notify>,
    stored_here: Arc<AtomicBool>,
    mut stopped: watch::Receiver<bool>,
) {
    let announcing = async {
        let mut turn = tokio::time::interval(ANNOUNCE_INTERVAL);
        turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            turn.tick().await;
            if stored_here.swap(false, Ordering::Relaxed)
                && let Err(error) = store.announce().await
            {
                tracing::debug!(%error, "other replicas could not be told");
            }
        }
    };
    let listening = async {
        loop {
            let error = match store.listen().await {
                Ok(Some(listener)) => wake(listener, &work).await,
                Ok(None) => return,
                Err(error) => error,
            };
            tracing::debug!(%error, "other replicas are not heard: polling");
            tokio::time::sleep(LISTEN_PAUSE).await;
        }
    };
    let both = async { tokio::join!(announcing, listening) };
    tokio::select! {
        _ = both => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}

async fn wake(mut listener: Listener, work: &Notify) -> store::Error {
    loop {
        match listener.heard().await {
            Ok(()) => work.notify_one(),
            Err(error) => return error,
        }
    }
}
