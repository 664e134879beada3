//! What is kept, and how. The only crate that names sqlx.
//!
//! Callers speak in whole batches and domain words: [`Store::accept`] makes
//! deliveries durable, [`Store::claim`] and [`Store::apply`] turn them into state,
//! the rest reads. Every call names the account that it is about.

mod accept;
mod apply;
mod bookings;
mod chain;
mod claim;
mod disputes;
mod events;
mod history;
mod idempotency;
mod inspect;
mod keys;
mod load;
mod orders;
mod outcome;
mod payments;
mod rebuild;
mod refunds;
mod register;
mod sqlite;
mod worker;
mod write;

use std::sync::Arc;

use sqlx::SqlitePool;

use worker::Worker;

pub use accept::{NewEvent, Receipt};
pub use apply::{Attempt, Prepared, Settled};
pub use bookings::{BookingFilter, BookingRow, ResourceRow};
pub use chain::{ChainFault, ChainReport, WRITER as CHAIN_WRITER};
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
pub use rebuild::{StoredBooking, StoredOrder, StoredPart, StoredPayment, StoredStatement};
pub use refunds::{RefundFilter, RefundRow};
pub use register::{NewId, NewOrder, Noun, Refusal, Registered};

/// The data, on one database.
#[derive(Clone, Debug)]
pub struct Store {
    /// The hot paths, each a transaction in one job: acceptance and application take
    /// turns here, because SQLite has one writer.
    hot_writer: Worker,
    hot_reader: Worker,
    /// Everything else; `writer` holds one connection.
    writer: SqlitePool,
    reader: SqlitePool,
    checkpoints: Arc<sqlite::Checkpoints>,
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
    #[error("{0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// Holds the scheme alone: the rest of a URL may be a password.
    #[error("a database URL is `sqlite:FILE`, not `{0}…`")]
    Url(String),
}

pub type Result<T> = std::result::Result<T, Error>;

/// SQLite's result codes that pass: busy, locked, out of memory, I/O error, full,
/// cannot open. <https://www.sqlite.org/rescode.html>
const TRANSIENT_SQLITE_CODES: [i32; 6] = [5, 6, 7, 10, 13, 14];

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let transient = match &error {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
                true
            }
            sqlx::Error::Database(refusal) => refusal
                .code()
                .and_then(|code| code.parse::<i32>().ok())
                .is_some_and(|code| TRANSIENT_SQLITE_CODES.contains(&(code & 0xff))),
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
    /// Opens the database that `url` names (`sqlite:quittance.db`), making the file
    /// if there is none. Brings no schema: call [`Store::migrate`].
    pub async fn open(url: &str) -> Result<Self> {
        match inspect::sqlite_file(url) {
            Some(path) => sqlite::open(path).await,
            None => Err(Error::unknown_url(url)),
        }
    }

    /// Brings the schema to this version. Safe beside other processes.
    pub async fn migrate(&self) -> Result<()> {
        sqlite::migrate(&self.writer).await
    }

    /// Whether the schema is this version's; false where `migrate` has to run.
    pub async fn is_migrated(&self) -> Result<bool> {
        sqlite::is_migrated(&self.reader).await
    }

    /// Copies what was committed from the log into the database file, without
    /// holding up acceptance for long. Call it now and then; sooner where it returns
    /// that much was written.
    pub async fn checkpoint(&self) -> Result<bool> {
        sqlite::checkpoint(self).await
    }

    /// Whether the database can be written to just now. Waits for what is written.
    pub async fn ping(&self) -> Result<()> {
        let probe = |writer: &mut rusqlite::Connection| {
            Ok(writer.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?.rollback()?)
        };
        self.hot_writer.run_urgent(probe).await
    }

    /// Takes nothing more, finishes what is under way, and closes every connection.
    pub async fn close(&self) {
        self.hot_writer.close();
        self.hot_reader.close();
        self.reader.close().await;
        self.writer.close().await;
    }
}
