//! Who waits for an event to be settled, so that its outcome can be replied.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Senders that wait, by the gateway's event id. Two events of one id wake each other's
/// senders, who look and go on waiting.
#[derive(Clone, Debug, Default)]
pub struct Settlements {
    waiting: Arc<Mutex<HashMap<String, Vec<oneshot::Sender<()>>>>>,
}

/// Resolves when an event of that id was settled, or failed. Ask for it before the event
/// is handed in, so that nothing is missed.
#[derive(Debug)]
pub struct Settled {
    settlements: Settlements,
    event_id: String,
    signal: oneshot::Receiver<()>,
}

impl Settlements {
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
        let _ = (&mut self.signal).await; // An engine that stops settles nothing more.
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
