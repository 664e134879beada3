//! SQLite: how it is opened, migrated and checkpointed.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, SqlSafeStr, SqlitePool};

use crate::connection;
use crate::query::Pool;
use crate::worker::Worker;
use crate::{Error, Result, Store};

const READERS_MAX: u32 = 4;
/// Another process (a command beside the server) may hold the write lock so long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// How large the log gets, 64 MiB and what is written while it is emptied, before the
/// writer begins it anew. Pages that were written before are in memory and have their
/// place on disk: writing them again costs half of what a longer log costs.
const LOG_PAGES_MAX: i64 = 16_384;
/// Between two tries to turn a new file's log on.
const LOG_PAUSE: Duration = Duration::from_millis(10);
/// Its owner reads and writes it; the log beside it takes over the mode.
const FILE_MODE: u32 = 0o600;
/// What the writer may be left to copy: some milliseconds of work.
const PAGES_LEFT_MAX: i64 = 1_000;
const PASSES_MAX: u32 = 4;
/// Pages, 1 MiB of them, that are forced to the disk after a pass. The writer's own
/// log waits behind them: a little often holds acceptance up less than much at once.
const FORCED_PAGES_MIN: i64 = 256;
/// How long the writer waits for those who still read the log before it begins it anew.
const READERS_TIMEOUT: Duration = Duration::from_millis(2);
/// Pages that the writer keeps, and the hot reader, in KiB.
const CACHE_KIBIBYTES: i64 = 6 * 1024;
const READER_CACHE_KIBIBYTES: i64 = 2 * 1024;
/// Prepared statements that a hot connection keeps; more than there are.
const STATEMENTS_MAX: usize = 64;
/// Rows that a statement may hand over before its reader has to keep up.
const ROW_BUFFER: usize = 512;

/// In order; a landed one is never edited.
const MIGRATIONS: [(i64, &str, &str); 2] = [
    (1, "initial", include_str!("../migrations/sqlite/0001_initial.sql")),
    (2, "registering", include_str!("../migrations/sqlite/0002_registering.sql")),
];

/// WAL with `synchronous=FULL`: a commit returns after its log is on disk.
/// <https://www.sqlite.org/pragma.html#pragma_synchronous>
pub async fn open(path: &Path) -> Result<Store> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(false) // The statements keep them; checking each row again costs a lookup.
        .pragma("wal_autocheckpoint", "0") // `checkpoint` does it, aside from the writer.
        .pragma("cache_size", "-1024")
        .pragma("temp_store", "MEMORY")
        .row_buffer_size(ROW_BUFFER);
    let pool = |connections: u32| {
        SqlitePoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(None)
            .max_lifetime(None)
            .test_before_acquire(false) // A local file does not hang up.
    };
    turn_log_on(path).await?;
    let writer = pool(1).connect_with(options.clone()).await?;
    let reader = pool(READERS_MAX).connect_with(options.pragma("query_only", "ON")).await?;
    let hot_writer = Worker::start("store-writer", connection::Connection::Sqlite(hot_connection(path)?))?;
    let hot_reader = hot_connection(path)?;
    hot_reader.pragma_update(None, "cache_size", -READER_CACHE_KIBIBYTES)?; // It reads what was just written.
    let reading = Worker::start("store-reader", connection::Connection::Sqlite(hot_reader))?;
    Ok(Store {
        accepting: hot_writer.clone(),
        applying: hot_writer.clone(),
        lanes: Arc::new([hot_writer]),
        reading,
        writer: Pool::Sqlite(writer),
        reader: Pool::Sqlite(reader),
        checkpoints: Some(Arc::new(Checkpoints::of(path)?)),
    })
}

/// SQLite refuses this at once, whatever the busy timeout, when another process that
/// starts on a new file does the same.
async fn turn_log_on(path: &Path) -> Result<()> {
    // What payers did is nobody else's on this machine. Fails where the file is there.
    let _ = std::fs::OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path);
    let started = Instant::now();
    loop {
        let done = Connection::open(path).and_then(|connection| {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "journal_mode", "WAL")
        });
        match done {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && started.elapsed() < BUSY_TIMEOUT =>
            {
                tokio::time::sleep(LOG_PAUSE).await;
            }
            done => return Ok(done?),
        }
    }
}

/// As the pools' connections.
fn hot_connection(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", false)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "cache_size", -CACHE_KIBIBYTES)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}

fn migrator() -> Migrator {
    let migrations = MIGRATIONS.map(|(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.into())
}

/// Each migration's version and checksum, in order.
pub fn versions() -> Vec<(i64, Vec<u8>)> {
    migrator().iter().map(|migration| (migration.version, migration.checksum.to_vec())).collect()
}

pub async fn migrate(writer: &SqlitePool) -> Result<()> {
    // The driver takes no lock of its own: without one, two processes that start at
    // once both find the schema missing and both make it.
    let mut alone = writer.begin_with("BEGIN IMMEDIATE").await?;
    migrator().run(&mut *alone).await?;
    Ok(alone.commit().await?)
}

pub async fn is_migrated(reader: &SqlitePool) -> Result<bool> {
    let known =
        sqlx::query("SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'").fetch_one(reader).await?;
    if known.get::<i64, _>(0) == 0 {
        return Ok(false);
    }
    let row =
        sqlx::query("SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success").fetch_one(reader).await?;
    Ok(row.get::<i64, _>(0) >= MIGRATIONS[MIGRATIONS.len() - 1].0)
}

/// The database file, and how far its log was emptied.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    /// Only to force what checkpoints wrote to the disk. Never closed: SQLite's locks on
    /// the file are the process's, and closing any descriptor of it would drop them.
    /// <https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_>
    file: &'static File,
    /// The log's length in pages, up to which the file is on disk.
    forced_to: AtomicI64,
}

impl Checkpoints {
    fn of(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|error| Error::Unavailable(error.into()))?;
        Ok(Self { file: Box::leak(Box::new(file)), forced_to: AtomicI64::new(0) })
    }

    /// Forces what was copied into the file to the disk, beside the writer. SQLite does
    /// it only when it reaches the log's end, which beside a busy writer is in the
    /// writer's own pause.
    async fn force(&self, log_pages: i64) -> Result<()> {
        let file = self.file;
        let forced = tokio::task::spawn_blocking(|| file.sync_data()).await.map_err(|_| Error::Panicked)?;
        forced.map_err(|error| Error::Unavailable(error.into()))?;
        self.forced_to.store(log_pages, Ordering::Relaxed);
        Ok(())
    }

    /// How many pages the log grew by since then, when it has so many now.
    fn unforced(&self, log_pages: i64) -> i64 {
        let forced_to = self.forced_to.load(Ordering::Relaxed);
        if log_pages < forced_to { log_pages } else { log_pages - forced_to } // It began anew.
    }
}

/// Copies what is left while nothing is written, so that the writer begins its log anew
/// with its next page. Acceptance waits meanwhile, so it waits for readers only as long
/// as a short read takes: somebody who reads for long, like a backup, makes the log grow
/// and nothing else. Returns the log's length in pages.
fn empty_log(writer: &Connection) -> Result<i64> {
    writer.busy_timeout(READERS_TIMEOUT)?;
    let emptied = writer.query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| row.get(1));
    writer.busy_timeout(BUSY_TIMEOUT)?;
    Ok(emptied?)
}

/// Most of it runs beside the writer. Beside a busy writer that never reaches the
/// log's end; each pass leaves less than the one before, and when the log is large the
/// writer empties what the last one left in a pause.
///
/// Returns whether much was written, so that the next pass had better come soon.
pub(crate) async fn checkpoint(store: &Store, checkpoints: &Checkpoints, reader: &SqlitePool) -> Result<bool> {
    for _ in 0..PASSES_MAX {
        let log_pages = checkpoint_aside(reader).await?;
        let unforced = checkpoints.unforced(log_pages);
        let is_long = log_pages > LOG_PAGES_MAX;
        if unforced == 0 || (unforced < FORCED_PAGES_MIN && !is_long) {
            return Ok(false);
        }
        checkpoints.force(log_pages).await?;
        if !is_long {
            return Ok(true);
        }
        if unforced <= PAGES_LEFT_MAX {
            break;
        }
    }
    let empty = |writer: &mut connection::Connection| match writer {
        connection::Connection::Sqlite(writer) => empty_log(writer),
        connection::Connection::Postgres(_) => Ok(0),
    };
    let log_pages = store.accepting.run_urgent(empty).await?;
    checkpoints.forced_to.store(log_pages, Ordering::Relaxed);
    Ok(true)
}

/// Returns the log's length in pages when it began.
async fn checkpoint_aside(reader: &SqlitePool) -> Result<i64> {
    // A checkpoint writes, so it needs a connection that is not `query_only`; one of
    // its own, kept by the pool of readers, would be one more thing to set up.
    let mut aside = reader.acquire().await?;
    sqlx::query("PRAGMA query_only = OFF").execute(&mut *aside).await?;
    let done = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(&mut *aside).await;
    sqlx::query("PRAGMA query_only = ON").execute(&mut *aside).await?;
    Ok(done?.get(1))
}
