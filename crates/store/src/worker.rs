//! A SQLite connection on a thread of its own. A whole transaction is one job: it is
//! handed over once, instead of once a statement, which under load is most of what a
//! statement costs. `docs/adr/0004-rusqlite-on-the-hot-path.md` has the figures.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::{Error, Result};

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Which job runs next: acceptance before application, because a gateway waits for
/// it and nobody loses anything while an event is pending. So that application goes
/// on under any load, it gets a turn after so many others.
const TURNS_OF_URGENT: u32 = 64;
/// How long after an urgent job a patient one holds back: under load the next urgent
/// one comes within that time, and would wait for all of the patient one.
const LINGER: Duration = Duration::from_millis(1);

#[derive(Default)]
struct Queue {
    urgent: VecDeque<Job>,
    patient: VecDeque<Job>,
    /// Urgent jobs that ran while a patient one waited.
    overtaken: u32,
    closed: bool,
}

/// What the worker does next.
enum Turn {
    Urgent(Job),
    Patient(Job),
    /// Only patient jobs wait, and urgent ones were there a moment ago.
    Linger(Duration),
    Idle,
}

impl Queue {
    /// `since_urgent`: how long ago the last urgent job ended.
    fn next(&mut self, since_urgent: Duration) -> Turn {
        let let_patient = self.overtaken >= TURNS_OF_URGENT || (self.urgent.is_empty() && since_urgent >= LINGER);
        if let_patient && let Some(job) = self.patient.pop_front() {
            self.overtaken = 0;
            return Turn::Patient(job);
        }
        match self.urgent.pop_front() {
            Some(job) => {
                self.overtaken += u32::from(!self.patient.is_empty());
                Turn::Urgent(job)
            }
            None if self.patient.is_empty() => Turn::Idle,
            None => Turn::Linger(LINGER.saturating_sub(since_urgent)),
        }
    }
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
}

impl Shared {
    /// Jobs run outside of the lock, so that nothing is half done where one panicked.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs jobs until it is closed and empty.
    fn work(&self, connection: &mut Connection) {
        let mut urgent_ended = Instant::now();
        let mut queue = self.queue();
        loop {
            queue = match queue.next(urgent_ended.elapsed()) {
                Turn::Urgent(job) => {
                    drop(queue);
                    job(connection);
                    urgent_ended = Instant::now();
                    self.queue()
                }
                Turn::Patient(job) => {
                    drop(queue);
                    job(connection);
                    self.queue()
                }
                Turn::Linger(left) => self.filled.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0,
                Turn::Idle if queue.closed => return,
                Turn::Idle => self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

/// Ends when its last clone is dropped, after the jobs that wait.
#[derive(Clone)]
pub(crate) struct Worker {
    handle: Arc<Handle>,
}

struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.queue().closed = true;
        self.0.filled.notify_one();
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Worker")
    }
}

impl Worker {
    pub fn start(name: &str, mut connection: Connection) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let handle = Arc::new(Handle(shared.clone()));
        let run = move || shared.work(&mut connection);
        thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|error| Error::Unavailable(error.into()))?;
        Ok(Self { handle })
    }

    /// Runs `job` before all that is not urgent. A transaction that it leaves open,
    /// also by panicking, is rolled back. Goes on when the caller stops waiting.
    pub async fn run_urgent<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (job, done) = package(job);
        self.push(|queue| queue.urgent.push_back(job));
        done.await.map_err(|_| Error::Panicked)?
    }

    /// As [`Self::run_urgent`], when nothing urgent waits.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (job, done) = package(job);
        self.push(|queue| queue.patient.push_back(job));
        done.await.map_err(|_| Error::Panicked)?
    }

    fn push(&self, push: impl FnOnce(&mut Queue)) {
        push(&mut self.handle.0.queue());
        self.handle.0.filled.notify_one();
    }
}

fn package<T: Send + 'static>(
    job: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
) -> (Job, oneshot::Receiver<Result<T>>) {
    let (reply, done) = oneshot::channel();
    let run = move |connection: &mut Connection| {
        let result = catch_unwind(AssertUnwindSafe(|| job(connection))).unwrap_or(Err(Error::Panicked));
        let _ = reply.send(result); // Nobody waits for it any more.
    };
    (Box::new(run), done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urgent_jobs_go_first_but_not_for_ever() {
        let mut queue = Queue::default();
        let (log, order) = std::sync::mpsc::channel();
        let note = |word: &'static str| -> Job {
            let log = log.clone();
            Box::new(move |_| log.send(word).expect("the test listens"))
        };
        let mut connection = Connection::open_in_memory().expect("opens");
        queue.patient.push_back(note("patient"));
        for _ in 0..TURNS_OF_URGENT + 2 {
            queue.urgent.push_back(note("urgent"));
        }
        while let Turn::Urgent(job) | Turn::Patient(job) = queue.next(LINGER) {
            job(&mut connection);
        }
        let order: Vec<&str> = order.try_iter().collect();
        let turn = TURNS_OF_URGENT as usize;
        assert!(order[..turn].iter().all(|word| *word == "urgent"), "{order:?}");
        assert_eq!(order[turn], "patient");
        assert_eq!(order.len(), turn + 3);
    }

    #[tokio::test]
    async fn a_panic_fails_its_job_alone() {
        let worker = Worker::start("test", Connection::open_in_memory().expect("opens")).expect("starts");
        let failed: Result<()> = worker.run(|_| panic!("as a test")).await;
        assert!(matches!(failed, Err(Error::Panicked)), "{failed:?}");
        assert_eq!(worker.run(|_| Ok(1)).await.expect("still runs"), 1);
    }
}
