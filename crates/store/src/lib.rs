//! What is kept, and how, on SQLite or PostgreSQL. The only crate of the product that
//! names sqlx.
//!
//! Callers speak in whole batches and domain words: [`Store::accept`] makes
//! deliveries durable, [`Store::claim`] and [`Store::apply`] turn them into state,
//! the rest reads. Every call names the account that it is about.

mod accept;
mod apply;
mod bookings;
mod chain;
mod claim;
mod connection;
mod disputes;
mod events;
mod history;
mod idempotency;
mod inspect;
mod keys;
mod list;
mod load;
mod orders;
mod outcome;
mod payments;
mod postgres;
mod query;
mod rebuild;
mod recorded;
mod refunds;
mod register;
mod restore;
mod retention;
mod sql;
mod sqlite;
mod worker;
mod write;

use std::sync::Arc;

use query::Pool;
use worker::Worker;

pub use accept::{NewEvent, Receipt};
pub use apply::{Attempt, Prepared, Settled};
pub use bookings::{BookingFilter, BookingRow, ResourceRow};
pub use chain::{ChainFault, ChainHead, ChainReport, WRITER as CHAIN_WRITER};
pub use claim::{Claimed, Place};
pub use disputes::{DisputeFilter, DisputeRow};
pub use events::{Backlog, EventDetail, EventFilter, EventRow, EventState, FailedAttempt, Redelivery, StateCounts};
pub use history::HistoryRow;
pub use idempotency::Idempotency;
pub use inspect::Condition;
pub use keys::{ApiKey, KeyScope};
pub use orders::OrderRow;
pub use outcome::{EventIdentity, EventOutcome};
pub use payments::{PaymentFilter, PaymentRow};
pub use postgres::{Durability, Listener, Options};
pub use rebuild::{StoredBooking, StoredPart, StoredPayment};
pub use recorded::{PublicRow, PublicTable, RecordedEvent, RecordedRendering};
pub use refunds::{RefundFilter, RefundRow};
pub use register::{NewId, NewOrder, Noun, Refusal, Registered};
pub use restore::{Comparison, Difference, Restate, Restated, StoredEvent};

/// The data, on one database.
#[derive(Clone, Debug)]
pub struct Store {
    /// The hot paths, each a transaction in one job. On SQLite, which has one writer,
    /// acceptance and application take turns in one worker.
    accepting: Worker,
    applying: Worker,
    /// Of all lanes; `applying` is one of them.
    lanes: Arc<[Worker]>,
    reading: Worker,
    /// Everything else; on SQLite `writer` holds one connection and `reader` cannot write.
    writer: Pool,
    reader: Pool,
    /// On SQLite.
    checkpoints: Option<Arc<sqlite::Checkpoints>>,
}

type Source = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was to be written contradicts what is there.
    #[error("{0} is there already")]
    Conflict(&'static str),
    /// Nothing was written, and trying again may work.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] Source),
    #[error("row {row} of table {table} is corrupt: {why}")]
    Corrupt { table: &'static str, row: String, why: String },
    #[error("the database refused: {0}")]
    Db(#[source] Source),
    #[error("a defect in Quittance: it panicked; nothing was written")]
    Panicked,
    #[error("the store is closed")]
    Closed,
    /// The database has to be set up otherwise.
    #[error("{0}")]
    Unfit(String),
    #[error("{0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// Holds the scheme alone: the rest of a URL may be a password.
    #[error("a database URL is `sqlite:FILE` or `postgres://USER:PASSWORD@HOST/DATABASE`, not `{0}…`")]
    Url(String),
    #[error("the PostgreSQL URL: {0}")]
    PostgresUrl(String),
}

pub type Result<T> = std::result::Result<T, Error>;

/// SQLite's result codes that pass: busy, locked, out of memory, I/O error, full,
/// cannot open. <https://www.sqlite.org/rescode.html>
const TRANSIENT_SQLITE_CODES: [i32; 6] = [5, 6, 7, 10, 13, 14];

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let transient = match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => true,
            sqlx::Error::Database(refusal) => {
                refusal.code().is_some_and(|code| match refusal.try_downcast_ref::<sqlx::postgres::PgDatabaseError>() {
                    Some(_) => postgres::is_transient(&code),
                    None => code.parse::<i32>().is_ok_and(|code| TRANSIENT_SQLITE_CODES.contains(&(code & 0xff))),
                })
            }
            _ => false,
        };
        if transient { Self::Unavailable(error.into()) } else { Self::Db(error.into()) }
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        let code = error.sqlite_error().map(|refusal| refusal.extended_code & 0xff);
        let transient = code.is_some_and(|code| TRANSIENT_SQLITE_CODES.contains(&code));
        if transient { Self::Unavailable(error.into()) } else { Self::Db(error.into()) }
    }
}

impl Error {
    fn unknown_url(url: &str) -> Self {
        Self::Url(url.split_inclusive(':').next().filter(|scheme| scheme.ends_with(':')).unwrap_or("").to_owned())
    }

    fn corrupt(table: &'static str, row: impl ToString, why: impl ToString) -> Self {
        Self::Corrupt { table, row: row.to_string(), why: why.to_string() }
    }
}

impl Store {
    /// Opens the database that `url` names: `sqlite:quittance.db`, making the file if
    /// there is none, or `postgres://user@host/database`, where several hosts may be
    /// named and one of them can be written to. Brings no schema: call [`Store::migrate`].
    pub async fn open(url: &str) -> Result<Self> {
        Self::open_with(url, &Options::default()).await
    }

    /// As [`Store::open`]; SQLite has no options.
    pub async fn open_with(url: &str, options: &Options) -> Result<Self> {
        match inspect::sqlite_file(url) {
            Some(path) => sqlite::open(path).await,
            None if postgres::is_url(url) => postgres::open(url, options).await,
            None => Err(Error::unknown_url(url)),
        }
    }

    fn of_postgres(database: postgres::Postgres, accepting: Worker, lanes: Vec<Worker>, reading: Worker) -> Self {
        let pool = Pool::Postgres(database);
        let applying = lanes[0].clone();
        let lanes = lanes.into();
        Self { accepting, applying, lanes, reading, writer: pool.clone(), reader: pool, checkpoints: None }
    }

    /// Stores that claim and apply beside one another: one on SQLite, several on
    /// PostgreSQL, where what one of them claimed is not claimed by another until it was
    /// applied.
    pub fn lanes(&self) -> Vec<Self> {
        self.lanes.iter().map(|lane| Self { applying: lane.clone(), ..self.clone() }).collect()
    }

    /// Brings the schema to this version. Safe beside other processes.
    pub async fn migrate(&self) -> Result<()> {
        match &self.writer {
            Pool::Sqlite(writer) => sqlite::migrate(writer).await,
            Pool::Postgres(database) => postgres::migrate(database).await,
        }
    }

    /// Whether the schema is this version's; false where `migrate` has to run.
    pub async fn is_migrated(&self) -> Result<bool> {
        match &self.reader {
            Pool::Sqlite(reader) => sqlite::is_migrated(reader).await,
            Pool::Postgres(database) => postgres::is_migrated(database).await,
        }
    }

    /// On SQLite copies what was committed from the log into the database file, without
    /// holding up acceptance for long. Call it now and then; sooner where it returns
    /// that much was written. PostgreSQL does so by itself.
    pub async fn checkpoint(&self) -> Result<bool> {
        match (&self.checkpoints, &self.reader) {
            (Some(checkpoints), Pool::Sqlite(reader)) => sqlite::checkpoint(self, checkpoints, reader).await,
            _ => Ok(false),
        }
    }

    /// Has PostgreSQL look anew at tables that have grown much since it last did. Returns
    /// how many. Call it every second or so: a table that grows fast from nothing is
    /// searched in the wrong way until then. 0 on SQLite.
    pub async fn refresh_statistics(&self) -> Result<usize> {
        match &self.writer {
            Pool::Sqlite(_) => Ok(0),
            Pool::Postgres(database) => postgres::refresh_statistics(database).await,
        }
    }

    /// Whether the database can be written to just now, found out by writing: a full disk is
    /// not noticed by a transaction that changes nothing. Waits for what is written.
    pub async fn ping(&self) -> Result<()> {
        self.accepting.run_urgent(|connection| connection.write(|tx| tx.touch())).await
    }

    /// Hears of what other replicas store. `None` on SQLite: it is polled.
    pub async fn listen(&self) -> Result<Option<Listener>> {
        match &self.reader {
            Pool::Sqlite(_) => Ok(None),
            Pool::Postgres(database) => Listener::new(database).await.map(Some),
        }
    }

    /// Lets other replicas hear that something is to be applied.
    pub async fn announce(&self) -> Result<()> {
        match &self.writer {
            Pool::Sqlite(_) => Ok(()),
            Pool::Postgres(database) => postgres::announce(database).await,
        }
    }

    /// Whether other processes may apply what this one accepts.
    pub const fn is_shared(&self) -> bool {
        self.reader.is_postgres()
    }

    /// Takes nothing more, finishes what is under way, and closes every connection.
    pub async fn close(&self) {
        let hot = [&self.accepting, &self.reading];
        hot.into_iter().chain(self.lanes.iter()).for_each(Worker::close);
        for pool in [&self.reader, &self.writer] {
            match pool {
                Pool::Sqlite(pool) => pool.close().await,
                Pool::Postgres(database) => database.pool.close().await,
            }
        }
    }
}
