//! One PostgreSQL connection, for transactions that are one job each.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::{Connection as _, Executor};
use tokio::runtime::{Builder, Runtime};

use super::scope;
use super::servers::Servers;
use crate::connection::Tx;
use crate::{Error, Result};

/// How long after the database should have given a statement up a connection is taken for
/// dead.
const GRACE: Duration = Duration::from_secs(5);

/// Lives on a thread of its own and waits there for each answer. Connects when it is
/// needed, and again when the connection was lost.
pub(crate) struct Session {
    runtime: Runtime,
    servers: Arc<Servers>,
    connection: RefCell<Option<PgConnection>>,
    /// Whether a transaction was begun and not ended.
    open: Cell<bool>,
}

impl Session {
    pub fn new(servers: Arc<Servers>) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Error::Unavailable(error.into()))?;
        Ok(Self { runtime, servers, connection: RefCell::new(None), open: Cell::new(false) })
    }

    pub fn is_open(&self) -> bool {
        self.open.get()
    }

    /// Begins a transaction; one that was left open comes to nothing.
    pub fn begin(&self) -> Result<()> {
        self.begin_by("BEGIN")
    }

    /// Begins one that sees one state of the database and changes nothing.
    pub fn begin_reading(&self) -> Result<()> {
        self.begin_by("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    }

    fn begin_by(&self, sql: &'static str) -> Result<()> {
        self.roll_back();
        let was_connected = self.connection.borrow().is_some();
        match self.simply(sql) {
            // The connection may have been lost while nothing was done with it.
            Err(Error::Unavailable(_)) if was_connected => self.simply(sql)?,
            begun => begun?,
        }
        self.open.set(true);
        Ok(())
    }

    /// Commits what `job` did, unless it fails or refuses.
    pub fn end<T, R>(
        &self,
        job: impl FnOnce(&Tx<'_>) -> Result<std::result::Result<T, R>>,
    ) -> Result<std::result::Result<T, R>> {
        let undone = Undone(self);
        let done = job(&Tx::Postgres(self));
        if !matches!(done, Ok(Ok(_))) {
            return done;
        }
        let committed = self.simply("COMMIT");
        self.open.set(false);
        if committed.is_err() {
            self.hang_up(); // Whether it did is not known: nothing goes on from here.
        }
        drop(undone);
        committed?;
        done
    }

    pub fn roll_back(&self) {
        if self.open.replace(false) && self.simply("ROLLBACK").is_err() {
            self.hang_up();
        }
    }

    pub fn rows(&self, sql: &'static str, arguments: PgArguments) -> Result<Vec<PgRow>> {
        debug_assert_eq!(scope::fault(sql), None, "{sql}");
        self.run(async |connection| sqlx::query_with(sql, arguments).fetch_all(connection).await)
    }

    pub fn execute(&self, sql: &'static str, arguments: PgArguments) -> Result<u64> {
        debug_assert_eq!(scope::fault(sql), None, "{sql}");
        let done = self.run(async |connection| sqlx::query_with(sql, arguments).execute(connection).await)?;
        Ok(done.rows_affected())
    }

    fn simply(&self, sql: &'static str) -> Result<()> {
        self.run(async |connection| connection.execute(sqlx::raw_sql(sql)).await).map(drop)
    }

    /// A connection that failed in any other way than by the database's refusal is not
    /// used again.
    fn run<T>(&self, work: impl AsyncFnOnce(&mut PgConnection) -> std::result::Result<T, sqlx::Error>) -> Result<T> {
        let mut kept = self.connection.borrow_mut();
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None if self.open.get() => return Err(Error::Unavailable("the connection was lost".into())),
            None => self.runtime.block_on(self.servers.connect())?,
        };
        let patience = self.servers.statement_timeout.saturating_add(GRACE);
        let answer = self.runtime.block_on(async { tokio::time::timeout(patience, work(&mut connection)).await });
        match answer {
            Ok(Ok(done)) => {
                *kept = Some(connection);
                Ok(done)
            }
            Ok(Err(error)) => {
                let lost = match &error {
                    sqlx::Error::Database(refusal) => refusal
                        .code()
                        .is_some_and(|code| ["08", "57P", "25006"].iter().any(|lost| code.starts_with(lost))),
                    sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
                    _ => false,
                };
                if !lost {
                    *kept = Some(connection);
                }
                Err(error.into())
            }
            Err(_) => Err(Error::Unavailable(format!("no answer within {patience:?}").into())),
        }
    }

    fn hang_up(&self) {
        if let Some(connection) = self.connection.borrow_mut().take() {
            let _ = self.runtime.block_on(connection.close_hard()); // It is of no more use either way.
        }
    }
}

/// What is still open when this is dropped, by a panic too, comes to nothing.
struct Undone<'s>(&'s Session);

impl Drop for Undone<'_> {
    fn drop(&mut self) {
        self.0.roll_back();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.borrow_mut().take() {
            let _ = self.runtime.block_on(connection.close());
        }
    }
}
