//! A SQLite connection on a thread of its own. A whole transaction is one job: it is
//! handed over once, instead of once a statement, which under load is most of what a
//! statement costs. `docs/adr/0004-rusqlite-on-the-hot-path.md` has the figures.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::{Error, Result};

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Ends with its last clone.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    jobs: mpsc::Sender<Job>,
}

impl Worker {
    pub fn start(name: &str, mut connection: Connection) -> Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let run = move || inbox.into_iter().for_each(|job| job(&mut connection));
        thread::Builder::new().name(name.to_owned()).spawn(run).map_err(|error| Error::Unavailable(error.into()))?;
        Ok(Self { jobs })
    }

    /// Runs `job` after those that wait already. A transaction that it leaves open,
    /// also by panicking, is rolled back. Goes on when the caller stops waiting.
    pub async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (reply, done) = oneshot::channel();
        let job = move |connection: &mut Connection| {
            let result = catch_unwind(AssertUnwindSafe(|| job(connection))).unwrap_or(Err(Error::Panicked));
            let _ = reply.send(result); // Nobody waits for it any more.
        };
        self.jobs.send(Box::new(job)).map_err(|_| Error::Closed)?;
        done.await.map_err(|_| Error::Closed)?
    }
}
