//! What the promise that nothing acknowledged is lost stands on, at one PostgreSQL.

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, Executor, Row};

use super::servers::Servers;
use super::{Options, is_url};
use crate::{Result, Store};

/// How a PostgreSQL is set up, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Durability {
    /// `synchronous_standby_names`: empty where a commit waits for no other machine.
    pub synchronous_standbys: String,
    /// `synchronous_commit`: `off`, `local`, `remote_write`, `on` or `remote_apply`.
    pub synchronous_commit: String,
    pub fsync: bool,
    pub full_page_writes: bool,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Whether it is reached without leaving this machine.
    pub is_local: bool,
}

impl Store {
    /// How the PostgreSQL that `url` names is set up. `None` of SQLite, which the store
    /// sets up itself.
    pub async fn durability(url: &str) -> Result<Option<Durability>> {
        if !is_url(url) {
            return Ok(None);
        }
        let servers = Servers::parse(url, Options::default().statement_timeout)?;
        let (options, mut connection) = servers.connect_to().await?;
        let asked = "SELECT current_setting('synchronous_standby_names'), current_setting('synchronous_commit'),
                            current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on',
                            (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid())";
        let row = connection.fetch_one(asked).await?;
        connection.close().await?;
        Ok(Some(Durability {
            synchronous_standbys: row.try_get(0)?,
            synchronous_commit: row.try_get(1)?,
            fsync: row.try_get(2)?,
            full_page_writes: row.try_get(3)?,
            tls: row.try_get(4)?,
            is_local: is_local(options),
        }))
    }
}

/// A name counts only where it can mean nothing else.
fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    options.get_socket().is_some() || host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn only_this_machine_is_local() {
        for (url, expected) in [
            ("postgres://u@127.0.0.1/shop", true),
            ("postgres://u@[::1]/shop", true),
            ("postgres://u@localhost/shop", true),
            ("postgres://u@%2Frun%2Fpostgresql/shop", true),
            ("postgres://u@10.0.0.3/shop", false),
            ("postgres://u@db.example.com/shop", false),
        ] {
            let options = PgConnectOptions::from_str(url).expect(url);
            assert_eq!(is_local(&options), expected, "{url}");
        }
    }
}
