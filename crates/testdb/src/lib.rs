//! A database of a test's own, SQLite or PostgreSQL, and raw SQL on it that answers alike on both. For tests only:
//! what ships asks the store.
//!
//! PostgreSQL is the server in `QUITTANCE_POSTGRES`. A test that needs it fails without it.

mod text;

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection};
use tempfile::TempDir;

/// The URL of a superuser on some database of a server.
const URL_VARIABLE: &str = "QUITTANCE_POSTGRES";
/// Of the databases made here, so that people see whose they are.
const NAME_PREFIX: &str = "quittance_test_";
/// A test's SQL that waits so long for somebody's lock waits for ever.
const LOCK_TIMEOUT: &str = "30s";
/// For the others to leave.
const DEADLINE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Tables that no test has put anything into.
const BOOKKEEPING: [&str; 1] = ["_sqlx_migrations"];

/// A database, empty when it is made. Each call has a connection of its own, as another program would.
#[derive(Debug)]
pub struct Database {
    url: String,
    server: Server,
    /// What is removed in the end.
    _scratch: Option<Scratch>,
}

/// How it is reached.
#[derive(Clone, Debug)]
enum Server {
    Sqlite(Box<SqliteConnectOptions>),
    Postgres(Box<PgConnectOptions>),
}

/// What was made for one test.
#[derive(Debug)]
enum Scratch {
    Directory(#[expect(dead_code, reason = "kept to be removed when dropped")] TempDir),
    Database { name: String, server: Box<PgConnectOptions> },
}

/// A query's answer, each value as text: see [`Database::rows`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Empty where there are no rows.
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

enum Connected {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// Somebody else's open transaction, until it is released or dropped.
pub struct Locked(Connected);

impl std::fmt::Debug for Locked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Locked")
    }
}

impl Database {
    /// A file in a directory of its own.
    pub async fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let database = Self::sqlite_file(&directory.path().join("store.db"));
        Self { _scratch: Some(Scratch::Directory(directory)), ..database }
    }

    /// A new database on the server in `QUITTANCE_POSTGRES`; dropped in the end, whoever is connected to it then.
    ///
    /// # Panics
    /// When there is no such server, or it does not let one make databases.
    pub async fn postgres() -> Self {
        let url = std::env::var(URL_VARIABLE).ok().filter(|url| !url.is_empty()).unwrap_or_else(|| {
            panic!("run `cargo xtask test`, or set {URL_VARIABLE} as `cargo xtask postgres` says: this test needs it")
        });
        let server = Server::of(&url);
        let name = format!("{NAME_PREFIX}{}_{:016x}", std::process::id(), fastrand::u64(..));
        server
            .execute(&format!("CREATE DATABASE {name}"))
            .await
            .unwrap_or_else(|error| panic!("{URL_VARIABLE}: {error}"));
        let database = Self::at(&with_database(&url, &name));
        let Server::Postgres(server) = server else { panic!("{URL_VARIABLE} is no URL of PostgreSQL") };
        Self { _scratch: Some(Scratch::Database { name, server }), ..database }
    }

    /// A file that somebody else looks after; made when something is written, if it is not there.
    pub fn sqlite_file(path: &Path) -> Self {
        Self::at(&format!("sqlite:{}", path.display()))
    }

    /// A database that somebody else looks after.
    ///
    /// # Panics
    /// When this is no URL of one.
    pub fn at(url: &str) -> Self {
        Self { url: url.to_owned(), server: Server::of(url), _scratch: None }
    }

    /// What the store opens it with.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn is_postgres(&self) -> bool {
        matches!(self.server, Server::Postgres(_))
    }

    /// What a query returns. Each value is text, and the same on both databases: null is `NULL`, truth is `1` and `0`,
    /// a time is `2025-11-20 16:00:00.000000` in UTC, a decimal number has no zeros at its end, and bytes are what
    /// they spell, or `X'0A'` where that is no text.
    ///
    /// # Panics
    /// When the database refuses it.
    pub async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        self.table(sql).await.rows
    }

    /// As [`rows`](Self::rows), with the names of the columns.
    ///
    /// # Panics
    /// When the database refuses it.
    pub async fn table(&self, sql: &str) -> Table {
        self.try_table(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// As [`table`](Self::table).
    ///
    /// # Errors
    /// With what the database says against it.
    pub async fn try_table(&self, sql: &str) -> Result<Table, String> {
        self.server.table(sql).await.map_err(|error| error.to_string())
    }

    /// The one value that a query returns.
    ///
    /// # Panics
    /// When it returns more or less, or the database refuses it.
    pub async fn value(&self, sql: &str) -> String {
        let mut rows = self.rows(sql).await;
        assert_eq!((rows.len(), rows.first().map(Vec::len)), (1, Some(1)), "one value: {sql}");
        rows.remove(0).remove(0)
    }

    /// Runs one statement or several, as somebody would who has the database. Returns how many rows they changed.
    ///
    /// # Panics
    /// When the database refuses it.
    pub async fn execute(&self, sql: &str) -> u64 {
        self.try_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// As [`execute`](Self::execute).
    ///
    /// # Errors
    /// With what the database says against it.
    pub async fn try_execute(&self, sql: &str) -> Result<u64, String> {
        self.server.execute(sql).await.map_err(|error| error.to_string())
    }

    /// Everything that the tables hold, to compare it with later: names, and rows in an order that is always the same.
    ///
    /// # Panics
    /// When the database refuses it.
    pub async fn dump(&self) -> Vec<(String, Vec<Vec<String>>)> {
        let mut dump = Vec::new();
        for name in self.tables().await {
            let mut rows = self.rows(&format!("SELECT * FROM \"{name}\"")).await;
            rows.sort();
            dump.push((name, rows));
        }
        dump
    }

    /// Waits until everybody else has left, when PostgreSQL has counted everything that they did. Returns how many
    /// deadlocks it had to break.
    ///
    /// # Panics
    /// On SQLite, which counts none, and when somebody stays.
    pub async fn deadlocks(&self) -> u64 {
        let others = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let mut look_again = tokio::time::interval(LOOK_AGAIN);
        let leaving = async {
            while !self.rows(others).await.is_empty() {
                look_again.tick().await;
            }
        };
        tokio::time::timeout(DEADLINE, leaving).await.expect("everybody leaves in time");
        let counted = self.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").await;
        counted.parse().expect("a number")
    }

    /// Nobody else can write as long as this lives; all can read.
    ///
    /// # Panics
    /// When somebody else is writing.
    pub async fn locked(&self) -> Locked {
        match self.server {
            Server::Sqlite(_) => self.holding("BEGIN IMMEDIATE").await,
            Server::Postgres(_) => {
                let tables =
                    self.tables().await.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
                self.holding(&format!("BEGIN; LOCK TABLE {tables} IN EXCLUSIVE MODE")).await
            }
        }
    }

    /// Somebody is reading what is there now, and goes on as long as this lives.
    ///
    /// # Panics
    /// When the database refuses it.
    pub async fn reading(&self) -> Locked {
        match self.server {
            Server::Sqlite(_) => self.holding("BEGIN; SELECT count(*) FROM sqlite_master").await,
            Server::Postgres(_) => {
                self.holding("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class").await
            }
        }
    }

    async fn holding(&self, sql: &str) -> Locked {
        let mut connected = self.server.connected().await.expect("it connects");
        connected.table(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        Locked(connected)
    }

    async fn tables(&self) -> Vec<String> {
        let names = match self.server {
            Server::Sqlite(_) => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
            Server::Postgres(_) => {
                "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace
                     AND relkind IN ('r', 'p') AND NOT relispartition"
            }
        };
        let mut names: Vec<String> = self.rows(names).await.into_iter().flatten().collect();
        names.retain(|name| !BOOKKEEPING.contains(&name.as_str()));
        names.sort();
        names
    }
}

impl Locked {
    /// Returns when everybody else can go on.
    ///
    /// # Panics
    /// When the database has gone.
    pub async fn release(mut self) {
        self.0.table("ROLLBACK").await.expect("it rolls back");
        self.0.close().await.expect("it closes");
    }
}

impl Server {
    fn of(url: &str) -> Self {
        if url.starts_with("sqlite:") {
            let options = SqliteConnectOptions::from_str(url).expect("a URL of SQLite");
            // As the store leaves it to its statements: a test breaks what it likes.
            return Self::Sqlite(Box::new(options.foreign_keys(false).create_if_missing(true)));
        }
        let options = PgConnectOptions::from_str(url).expect("a URL of PostgreSQL or SQLite");
        Self::Postgres(Box::new(options.options([("lock_timeout", LOCK_TIMEOUT), ("timezone", "UTC")])))
    }

    async fn connected(&self) -> sqlx::Result<Connected> {
        Ok(match self {
            Self::Sqlite(options) => Connected::Sqlite(SqliteConnection::connect_with(options).await?),
            Self::Postgres(options) => Connected::Postgres(PgConnection::connect_with(options).await?),
        })
    }

    async fn table(&self, sql: &str) -> sqlx::Result<Table> {
        let mut connected = self.connected().await?;
        let table = connected.table(sql).await?;
        connected.close().await?;
        Ok(table)
    }

    async fn execute(&self, sql: &str) -> sqlx::Result<u64> {
        let mut connected = self.connected().await?;
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let changed = match &mut connected {
            Connected::Sqlite(connection) => sql.execute(connection).await?.rows_affected(),
            Connected::Postgres(connection) => sql.execute(connection).await?.rows_affected(),
        };
        connected.close().await?;
        Ok(changed)
    }
}

impl Connected {
    async fn table(&mut self, sql: &str) -> sqlx::Result<Table> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Self::Sqlite(connection) => text::of_sqlite(&sql.fetch_all(connection).await?),
            Self::Postgres(connection) => text::of_postgres(&sql.fetch_all(connection).await?),
        }
    }

    async fn close(self) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => connection.close().await,
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Self::Database { name, server } = self {
            let server = Server::Postgres(server.clone());
            if let Err(error) = wait(server.execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))) {
                eprintln!("{name} is left on the server: {error}");
            }
        }
    }
}

/// Waits for what a test without a runtime asks of a database: `wait(database.rows("…"))`. May be called inside of
/// one too, which does nothing else meanwhile.
///
/// # Panics
/// When what it waits for does.
pub fn wait<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let alone = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(future)
    };
    let ended = std::thread::scope(|scope| scope.spawn(alone).join());
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The URL with another database in it.
fn with_database(url: &str, name: &str) -> String {
    let (url, parameters) = url.split_once('?').map_or((url, None), |(url, parameters)| (url, Some(parameters)));
    let authority = url.find("://").map_or(0, |scheme| scheme + 3);
    let server = url[authority..].find('/').map_or(url, |slash| &url[..authority + slash]);
    let parameters = parameters.map(|parameters| format!("?{parameters}")).unwrap_or_default();
    format!("{server}/{name}{parameters}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_led_to_another_database() {
        let table = [
            ("postgres://u:p@127.0.0.1:5432/postgres", "postgres://u:p@127.0.0.1:5432/mine"),
            ("postgres://u@h/postgres?sslmode=disable", "postgres://u@h/mine?sslmode=disable"),
            ("postgresql://h", "postgresql://h/mine"),
            ("postgres://h?sslrootcert=/a/b", "postgres://h/mine?sslrootcert=/a/b"),
        ];
        for (url, expected) in table {
            assert_eq!(with_database(url, "mine"), expected);
        }
    }
}
