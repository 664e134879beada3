//! PostgreSQL: how it is opened, migrated and kept at hand.

mod distribute;
mod durability;
pub(crate) mod partitions;
mod refusals;
mod scope;
mod servers;
mod session;
mod statistics;

use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnection, PgListener, PgPoolOptions};
use sqlx::{Connection as _, Executor, PgPool, Row, SqlSafeStr};

use crate::connection::Connection;
use crate::inspect::{self, Condition};
use crate::worker::Worker;
use crate::{Error, Result, Store};

pub use durability::Durability;
pub(crate) use servers::Servers;
pub(crate) use session::Session;
pub(crate) use statistics::refresh as refresh_statistics;

const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
const LIFETIME_MAX: Duration = Duration::from_secs(1800);
/// Connections of their own, beside those of the lanes: one accepts, one reads.
const FIXED: u32 = 2;
/// Connections for everything else: one listens, the others answer.
const POOL_MIN: u32 = 2;
/// On which replicas tell one another that there is something to apply.
const CHANNEL: &str = "quittance_due";

/// In order; a landed one is never edited.
const MIGRATIONS: [(i64, &str, &str); 1] = [(1, "initial", include_str!("../migrations/postgres/0001_initial.sql"))];

/// How PostgreSQL is used. SQLite has one writer and is not asked over a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many connections one process has at most: one to accept, one to read, one for
    /// each lane, and at least two for everything else.
    pub connections: u32,
    /// How many batches are read, made up and written beside one another.
    pub lanes: u32,
    /// After which the database gives a statement up.
    pub statement_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { connections: 8, lanes: 2, statement_timeout: Duration::from_secs(30) }
    }
}

impl Options {
    /// The fewest that these lanes can do with.
    pub const fn connections_min(&self) -> u32 {
        self.lanes.saturating_add(FIXED + POOL_MIN)
    }
}

/// The hosts of a database, and connections to the one that can be written to.
#[derive(Clone, Debug)]
pub(crate) struct Postgres {
    pub servers: Arc<Servers>,
    pub pool: PgPool,
}

impl Postgres {
    /// A connection of the pool, at the host that can be written to now.
    pub async fn acquire(&self) -> Result<sqlx::pool::PoolConnection<sqlx::Postgres>> {
        let first = match self.pool.acquire().await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        // Perhaps another host took over.
        match self.servers.locate().await {
            Ok(options) => self.pool.set_connect_options(options),
            Err(_) => return Err(first.into()),
        }
        Ok(self.pool.acquire().await?)
    }
}

pub(crate) fn is_url(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

pub(crate) async fn open(url: &str, options: &Options) -> Result<Store> {
    let statement_timeout = options.statement_timeout;
    let servers = Arc::new(Servers::parse(url, statement_timeout)?);
    let pool_max = options.connections.saturating_sub(options.lanes + FIXED).max(POOL_MIN);
    let pool = PgPoolOptions::new()
        .max_connections(pool_max)
        .min_connections(0)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(IDLE_TIMEOUT)
        .max_lifetime(LIFETIME_MAX)
        .after_connect(move |connection, _| Box::pin(servers::prepare(connection, statement_timeout)))
        .connect_lazy_with(servers.locate().await?);
    let worker = |name: &str| Worker::start(name, Connection::Postgres(Session::new(servers.clone())?));
    let accepting = worker("store-accept")?;
    let lanes = (0..options.lanes.max(1)).map(|_| worker("store-apply")).collect::<Result<Vec<_>>>()?;
    let reading = worker("store-read")?;
    Ok(Store::of_postgres(Postgres { servers, pool }, accepting, lanes, reading))
}

fn migrator() -> Migrator {
    let migrations = MIGRATIONS.map(|(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.into())
}

/// The migrator holds an advisory lock: of several that start at once, one migrates.
pub(crate) async fn migrate(postgres: &Postgres) -> Result<()> {
    let mut connection = postgres.servers.connect().await?;
    connection.execute("SET statement_timeout = 0; SET lock_timeout = 0").await?; // An index of a large table takes its time.
    migrator().run(&mut connection).await.map_err(refusals::of_migrating)?;
    connection.close().await?;
    Ok(())
}

pub(crate) async fn is_migrated(postgres: &Postgres) -> Result<bool> {
    let mut connection = postgres.acquire().await?;
    Ok(matches!(condition_of(&mut connection).await?, Condition::Current | Condition::Newer))
}

/// What is at a database's place, found out without changing anything there.
pub(crate) async fn inspect(url: &str) -> Result<Condition> {
    let mut connection = Servers::parse(url, Options::default().statement_timeout)?.connect().await?;
    let condition = condition_of(&mut connection).await?;
    connection.close().await?;
    Ok(condition)
}

async fn condition_of(connection: &mut PgConnection) -> Result<Condition> {
    // An extension's tables are nobody's.
    let known = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL,
                        EXISTS (SELECT 1 FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace
                                AND c.relkind IN ('r', 'p', 'v') AND c.relname <> '_sqlx_migrations'
                                AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                                                AND d.objid = c.oid AND d.deptype = 'e'))";
    let row = sqlx::query(known).fetch_one(&mut *connection).await?;
    let (was_migrated, has_tables) = (row.get::<bool, _>(0), row.get::<bool, _>(1));
    if !was_migrated {
        return Ok(if has_tables { Condition::Foreign } else { Condition::Empty });
    }
    let applied = "SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version";
    let applied = sqlx::query(applied).fetch_all(connection).await?;
    let applied: Vec<(i64, Vec<u8>)> = applied.iter().map(|row| (row.get(0), row.get(1))).collect();
    let known: Vec<(i64, Vec<u8>)> =
        migrator().iter().map(|migration| (migration.version, migration.checksum.to_vec())).collect();
    // A migration that failed leaves the table in which nothing is noted.
    Ok(if applied.is_empty() && !has_tables { Condition::Empty } else { inspect::condition_of(&applied, &known) })
}

/// Hears when another replica stored something. Where it cannot, polling is what is left.
#[derive(Debug)]
pub struct Listener(PgListener);

impl Listener {
    pub(crate) async fn new(postgres: &Postgres) -> Result<Self> {
        let mut listener = PgListener::connect_with(&postgres.pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Self(listener))
    }

    /// Waits until another replica stored something, or may have while the connection
    /// was down.
    pub async fn heard(&mut self) -> Result<()> {
        self.0.try_recv().await?;
        Ok(())
    }
}

pub(crate) async fn announce(postgres: &Postgres) -> Result<()> {
    let mut connection = postgres.acquire().await?;
    sqlx::query("SELECT pg_notify($1, '')").bind(CHANNEL).execute(&mut *connection).await?;
    Ok(())
}

/// What PostgreSQL says when it could not do something that may work when tried again:
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
pub(crate) fn is_transient(code: &str) -> bool {
    let class_is = |class: &str| code.starts_with(class);
    // Connection lost, resources (disk full, too many connections), shut down or
    // restarted, cancelled by a timeout, deadlock, became read-only in a failover.
    ["08", "53", "57P", "58", "40"].into_iter().any(class_is) || ["57014", "55P03", "25006", "25P03"].contains(&code)
}

impl From<servers::Unreachable> for Error {
    fn from(unreachable: servers::Unreachable) -> Self {
        Self::Unavailable(unreachable.into())
    }
}
