//! The way in: deliveries wait in a bounded queue, and everything that waits is
//! written in one transaction.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use store::{NewEvent, Receipt, Store};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::{Clock, Settled, Settlements};

/// Deliveries in one transaction.
const BATCH_MAX: usize = 256;
/// How long a sender is kept waiting for its delivery to be stored.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);
/// One is written while the other is made up.
const BATCHES_UNDER_WAY_MAX: usize = 2;
/// Deliveries that may wait.
const QUEUE_LEN_MAX: usize = 4096;
/// Bytes of bodies that may wait.
const QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How long it counts that something could not be stored: with a disk that is full to the
/// last byte, a little can be written when much cannot.
const FAILURE_KEPT: Duration = Duration::from_secs(5);

/// When storing failed, unless it worked since.
#[derive(Clone, Debug, Default)]
pub(crate) struct LastFailure(Arc<Mutex<Option<Instant>>>);

impl LastFailure {
    fn set(&self, at: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    fn is_recent(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at.elapsed() < FAILURE_KEPT)
    }
}

/// Hands deliveries in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Intake {
    queue: mpsc::Sender<Submission>,
    bytes: Arc<Semaphore>,
    settlements: Settlements,
    pub(crate) last_failure: LastFailure,
}

/// Nothing was stored; the sender has to come again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("too much is waiting to be stored")]
    Full,
    #[error("the database did not take it")]
    Unavailable,
}

#[derive(Debug)]
pub struct Submission {
    event: NewEvent,
    reply: oneshot::Sender<Receipt>,
    /// Holds the body's share of `QUEUE_BYTES_MAX` until it is stored.
    _bytes: OwnedSemaphorePermit,
}

pub(crate) fn channel(settlements: Settlements) -> (Intake, mpsc::Receiver<Submission>) {
    let (queue, inbox) = mpsc::channel(QUEUE_LEN_MAX);
    let bytes = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
    (Intake { queue, bytes, settlements, last_failure: LastFailure::default() }, inbox)
}

impl Intake {
    /// To wait until an event is applied, not just stored; ask before it is submitted.
    pub fn settlement_of(&self, event_id: &str) -> Settled {
        self.settlements.wait_for(event_id)
    }

    /// Whether what came last could not be stored.
    pub fn is_failing(&self) -> bool {
        self.last_failure.is_recent()
    }

    /// Returns once the delivery is on disk. Never waits for room: a full queue
    /// refuses at once, so that the sender learns it while it still listens.
    pub async fn submit(&self, event: NewEvent) -> Result<Receipt, Refused> {
        let share = u32::try_from(event.body.len()).map_err(|_| Refused::Full)?;
        let bytes = self.bytes.clone().try_acquire_many_owned(share).map_err(|_| Refused::Full)?;
        let (reply, stored) = oneshot::channel();
        self.queue.try_send(Submission { event, reply, _bytes: bytes }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Refused::Full,
            mpsc::error::TrySendError::Closed(_) => Refused::Unavailable,
        })?;
        match tokio::time::timeout(STORE_TIMEOUT, stored).await {
            Ok(Ok(receipt)) => Ok(receipt),
            // It may still be stored: then the sender's next try is a duplicate.
            Ok(Err(_)) | Err(_) => Err(Refused::Unavailable),
        }
    }
}

/// Group commit: what waits is written in one transaction, and what comes meanwhile
/// makes up the next, which is handed over before the first is done, so that the
/// writer never idles between two. Ends when the last sender is dropped. Wakes
/// `work` when there is something new to apply.
/// Says in `stored_here` that something new is on disk, for those who tell other replicas.
pub(crate) async fn run(
    store: Store,
    clock: Clock,
    mut inbox: mpsc::Receiver<Submission>,
    work: Arc<Notify>,
    stored_here: Arc<AtomicBool>,
    last_failure: LastFailure,
) {
    let mut waiting = Vec::with_capacity(BATCH_MAX);
    let mut under_way = JoinSet::new();
    while inbox.recv_many(&mut waiting, BATCH_MAX).await > 0 {
        let batch = std::mem::replace(&mut waiting, Vec::with_capacity(BATCH_MAX));
        let done = Done { work: work.clone(), stored_here: stored_here.clone(), last_failure: last_failure.clone() };
        under_way.spawn(accept(store.clone(), clock.clone(), batch, done));
        if under_way.len() >= BATCHES_UNDER_WAY_MAX {
            under_way.join_next().await;
        }
    }
    while under_way.join_next().await.is_some() {}
}

/// Who is told what became of a batch.
struct Done {
    work: Arc<Notify>,
    stored_here: Arc<AtomicBool>,
    last_failure: LastFailure,
}

async fn accept(store: Store, clock: Clock, submissions: Vec<Submission>, done: Done) {
    let mut replies = Vec::with_capacity(submissions.len());
    let mut batch = Vec::with_capacity(submissions.len());
    for Submission { event, reply, _bytes } in submissions {
        batch.push(event);
        replies.push((reply, _bytes));
    }
    let batch_len = batch.len();
    match store.accept(batch, clock.now()).await {
        Ok(receipts) => {
            for (receipt, (reply, _)) in receipts.into_iter().zip(replies) {
                let _ = reply.send(receipt); // The gateway hung up; the event is stored.
            }
            done.work.notify_one();
            done.stored_here.store(true, Ordering::Relaxed);
            done.last_failure.set(None);
        }
        // Dropping `replies` fails each waiter: it answers 503, the gateway retries.
        Err(error) => {
            done.last_failure.set(Some(Instant::now()));
            tracing::error!(%error, batch_len, "storing deliveries failed");
        }
    }
}
