//! The hosts that a database URL names, and which of them can be written to.

use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Executor};

use super::refusals;
use crate::{Error, Result};

/// For a host that does not answer; others may.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For a lock: less than a sender waits for its delivery to be stored, so that whoever holds
/// some locks and waits for another gives them up before.
const LOCK_TIMEOUT_MS: u32 = 5_000;
/// For a transaction in which nothing happens.
const IDLE_TIMEOUT_MS: u32 = 30_000;
const PORT: &str = "5432";

/// Several while one may take over from another.
#[derive(Debug)]
pub(crate) struct Servers {
    hosts: Vec<PgConnectOptions>,
    /// Where it could be written last.
    current: AtomicUsize,
    /// For a statement, before the database gives it up.
    pub statement_timeout: Duration,
}

/// None of the hosts can be written to.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub(crate) struct Unreachable(Vec<String>);

impl Servers {
    /// `postgres://user:password@host:port,host:port/database?sslmode=verify-full`.
    /// `target_session_attrs` is taken and means what it always means here: read-write.
    pub fn parse(url: &str, statement_timeout: Duration) -> Result<Self> {
        let refused = |why: String| Error::PostgresUrl(why);
        let (scheme, rest) = url.split_once("://").ok_or_else(|| refused("it has no `://`".to_owned()))?;
        let (address, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, hosts) = match address.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            // What stands before the slash may be half of a password: it is not to be shown.
            None if path.split('?').next().is_some_and(|database| database.contains('@')) => {
                let how = "write `/` as %2F, `?` as %3F, `@` as %40 and `%` as %25";
                return Err(refused(format!(
                    "a special character is in the user, the password or the database: {how}"
                )));
            }
            None => (String::new(), address),
        };
        let path = without_attributes(path);
        let options = |host: &str| {
            let host = match host.contains(':') || host.is_empty() {
                true => host.to_owned(),
                false => format!("{host}:{PORT}"),
            };
            // The driver's message may quote the URL, and with it a password.
            let parsed = PgConnectOptions::from_str(&format!("{scheme}://{user}{host}{path}"));
            let named = if user.is_empty() { "what follows `://`".to_owned() } else { format!("{host:?}") };
            let parsed = parsed.map_err(|_| refused(format!("{named} with what stands around it is no address")))?;
            Ok(parsed.application_name("quittance"))
        };
        let hosts = hosts.split(',').map(options).collect::<Result<Vec<_>>>()?;
        Ok(Self { hosts, current: AtomicUsize::new(0), statement_timeout })
    }

    /// Connects to the first host that can be written to, beginning with the one that
    /// could be last.
    pub async fn connect(&self) -> Result<PgConnection> {
        Ok(self.find().await?.1)
    }

    /// As [`Self::connect`], with where that is.
    pub async fn connect_to(&self) -> Result<(&PgConnectOptions, PgConnection)> {
        let (index, connection) = self.find().await?;
        Ok((&self.hosts[index], connection))
    }

    /// The host that can be written to.
    pub async fn locate(&self) -> Result<PgConnectOptions> {
        let (index, connection) = self.find().await?;
        let _ = connection.close().await; // It was only to see.
        Ok(self.hosts[index].clone())
    }

    async fn find(&self) -> std::result::Result<(usize, PgConnection), Unreachable> {
        let first = self.current.load(Ordering::Relaxed);
        let mut failures = Vec::new();
        for index in (first..self.hosts.len()).chain(0..first) {
            let options = &self.hosts[index];
            let connecting = async {
                let mut connection = PgConnection::connect_with(options).await?;
                prepare(&mut connection, self.statement_timeout).await?;
                Ok::<_, sqlx::Error>(connection)
            };
            let failure = match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
                Ok(Ok(connection)) => {
                    self.current.store(index, Ordering::Relaxed);
                    return Ok((index, connection));
                }
                Ok(Err(error)) => refusals::of_connecting(&error, options),
                Err(_) => format!("no answer within {CONNECT_TIMEOUT:?}"),
            };
            failures.push(match options.get_socket() {
                Some(_) => failure,
                None => format!("{}:{}: {failure}", options.get_host(), options.get_port()),
            });
        }
        Err(Unreachable(failures))
    }
}

/// Without what the driver does not know.
fn without_attributes(path: &str) -> String {
    let Some((path, query)) = path.split_once('?') else { return path.to_owned() };
    let known: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("target_session_attrs=")).collect();
    if known.is_empty() { path.to_owned() } else { format!("{path}?{}", known.join("&")) }
}

/// Makes a new connection ready; refuses one to a host that cannot be written to.
pub(super) async fn prepare(
    connection: &mut PgConnection,
    statement_timeout: Duration,
) -> std::result::Result<(), sqlx::Error> {
    let settings = format!(
        "SET statement_timeout = {}; SET idle_in_transaction_session_timeout = {IDLE_TIMEOUT_MS}; \
         SET timezone = 'UTC'; SET client_min_messages = warning; \
         SET lock_timeout = {LOCK_TIMEOUT_MS}; SET jit = off",
        statement_timeout.as_millis()
    );
    connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(settings))).await?;
    refusals::fit(connection).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(url: &str) -> Vec<(String, u16, Option<String>)> {
        let servers = Servers::parse(url, Duration::from_secs(1)).expect(url);
        let host = |host: &PgConnectOptions| {
            (host.get_host().to_owned(), host.get_port(), host.get_database().map(str::to_owned))
        };
        servers.hosts.iter().map(host).collect()
    }

    #[test]
    fn a_url_names_one_host_or_several() {
        let shop = || Some("shop".to_owned());
        assert_eq!(hosts("postgres://u:p@db/shop"), [("db".to_owned(), 5432, shop())]);
        assert_eq!(
            hosts("postgresql://u:p%40@a:1,b,10.0.0.3:7/shop?target_session_attrs=read-write&sslmode=disable"),
            [("a".to_owned(), 1, shop()), ("b".to_owned(), 5432, shop()), ("10.0.0.3".to_owned(), 7, shop())]
        );
    }

    #[test]
    fn a_url_that_is_none_is_refused_without_its_password() {
        for url in [
            "postgres://u:hunter2@a:port/shop",
            "postgres://u:hunter2@a:1/shop?sslmode=perhaps",
            "postgres://u:hunter2/@a:1/shop",
            "postgres://u:hun?ter2@a/shop",
        ] {
            let error = Servers::parse(url, Duration::from_secs(1)).expect_err(url).to_string();
            assert!(!error.contains("hun"), "{error}");
        }
    }
}
