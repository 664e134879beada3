//! A connection on a thread of its own. A whole transaction is one job: it is
//! handed over once, instead of once a statement, which under load is most of what a
//! statement costs. `docs/adr/0004-rusqlite-on-the-hot-path.md` has the figures.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::connection::Connection;
use crate::{Error, Result};

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Which job runs next: acceptance before application, because a gateway waits for
/// it and nobody loses anything while an event is pending. So that application goes
/// on under any load, it gets a turn after so many others.
const TURNS_OF_URGENT: u32 = 32;
/// For how long after an urgent job more of them are to be expected.
const URGENT_SPELL: Duration = Duration::from_millis(50);

#[derive(Default)]
struct Queue {
    urgent: VecDeque<Job>,
    patient: VecDeque<Job>,
    /// Urgent jobs that ran while a patient one waited.
    overtaken: u32,
    /// When the last urgent job began.
    urgent_at: Option<Instant>,
    closed: bool,
}

impl Queue {
    fn next(&mut self) -> Option<Job> {
        let let_patient = self.urgent.is_empty() || self.overtaken >= TURNS_OF_URGENT;
        if let_patient && let Some(job) = self.patient.pop_front() {
            self.overtaken = 0;
            return Some(job);
        }
        let job = self.urgent.pop_front()?;
        self.overtaken += u32::from(!self.patient.is_empty());
        self.urgent_at = Some(Instant::now());
        Some(job)
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

    /// Waits; `None` once it is closed and empty.
    fn wait(&self) -> Option<Job> {
        let mut queue = self.queue();
        loop {
            if let Some(job) = queue.next() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
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
        let run = move || {
            while let Some(job) = shared.wait() {
                job(&mut connection);
            }
        };
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
        self.push(|queue| queue.urgent.push_back(job))?;
        done.await.map_err(|_| Error::Closed)?
    }

    /// As [`Self::run_urgent`], when nothing urgent waits.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (job, done) = package(job);
        self.push(|queue| queue.patient.push_back(job))?;
        done.await.map_err(|_| Error::Closed)?
    }

    /// Whether urgent jobs come in, so that a patient one had better be short.
    pub fn is_urged(&self) -> bool {
        self.handle.0.queue().urgent_at.is_some_and(|at| at.elapsed() < URGENT_SPELL)
    }

    /// Takes no more jobs; those that wait are still done.
    pub fn close(&self) {
        self.handle.0.queue().closed = true;
        self.handle.0.filled.notify_one();
    }

    fn push(&self, push: impl FnOnce(&mut Queue)) -> Result<()> {
        let mut queue = self.handle.0.queue();
        if queue.closed {
            return Err(Error::Unavailable(Box::new(Error::Closed)));
        }
        push(&mut queue);
        self.handle.0.filled.notify_one();
        Ok(())
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

    fn in_memory() -> Connection {
        Connection::Sqlite(rusqlite::Connection::open_in_memory().expect("opens"))
    }

    #[test]
    fn urgent_jobs_go_first_but_not_for_ever() {
        let mut queue = Queue::default();
        let (log, order) = std::sync::mpsc::channel();
        let note = |word: &'static str| -> Job {
            let log = log.clone();
            Box::new(move |_| log.send(word).expect("the test listens"))
        };
        let mut connection = in_memory();
        queue.patient.push_back(note("patient"));
        for _ in 0..TURNS_OF_URGENT + 2 {
            queue.urgent.push_back(note("urgent"));
        }
        while let Some(job) = queue.next() {
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
        let worker = Worker::start("test", in_memory()).expect("starts");
        let failed: Result<()> = worker.run(|_| panic!("as a test")).await;
        assert!(matches!(failed, Err(Error::Panicked)), "{failed:?}");
        assert_eq!(worker.run(|_| Ok(1)).await.expect("still runs"), 1);
    }
}
