//! Who waits for an event to be settled, so that its outcome can be replied.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store::Store;
use tokio::sync::oneshot;

/// How often to look for what another process may have settled.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Senders that wait, by the gateway's event id. Two events of one id wake each other's
/// senders, who look and go on waiting.
#[derive(Clone, Debug, Default)]
pub struct Settlements {
    waiting: Arc<Mutex<HashMap<String, Vec<oneshot::Sender<()>>>>>,
    /// Whether other processes settle events of the same database.
    is_shared: bool,
}

/// Resolves when an event of that id was settled, or failed; where another process may
/// have done that, also after a moment. Ask for it before the event is handed in, so that
/// nothing is missed.
#[derive(Debug)]
pub struct Settled {
    settlements: Settlements,
    event_id: String,
    signal: oneshot::Receiver<()>,
}

impl Settlements {
    pub fn of(store: &Store) -> Self {
        Self { is_shared: store.is_shared(), ..Self::default() }
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, Vec<oneshot::Sender<()>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn wait_for(&self, event_id: &str) -> Settled {
        let (sender, signal) = oneshot::channel();
        self.waiting().entry(event_id.to_owned()).or_default().push(sender);
        Settled { settlements: self.clone(), event_id: event_id.to_owned(), signal }
    }

    pub(crate) fn settled<'a>(&self, event_ids: impl Iterator<Item = &'a str>) {
        let mut waiting = self.waiting();
        if waiting.is_empty() {
            return;
        }
        for sender in event_ids.filter_map(|id| waiting.remove(id)).flatten() {
            let _ = sender.send(()); // It waited long enough and left.
        }
    }
}

impl Settled {
    pub async fn wait(&mut self) {
        if self.settlements.is_shared {
            let _ = tokio::time::timeout(LOOK_AGAIN, &mut self.signal).await;
        } else {
            let _ = (&mut self.signal).await; // An engine that stops settles nothing more.
        }
    }
}

impl Drop for Settled {
    fn drop(&mut self) {
        self.signal.close();
        let mut waiting = self.settlements.waiting();
        if let Some(senders) = waiting.get_mut(&self.event_id) {
            senders.retain(|sender| !sender.is_closed());
            if senders.is_empty() {
                waiting.remove(&self.event_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn everybody_who_waits_for_an_event_is_told_and_nobody_else() {
        let settlements = Settlements::default();
        let (mut one, mut two) = (settlements.wait_for("evt_1"), settlements.wait_for("evt_1"));
        let mut other = settlements.wait_for("evt_2");
        settlements.settled(["evt_1", "evt_3"].into_iter());
        one.wait().await;
        two.wait().await;
        assert!(other.signal.try_recv().is_err());
        drop(other);
        assert!(settlements.waiting().is_empty());
    }
}
