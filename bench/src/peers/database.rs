//! The PostgreSQL that all systems are measured on, asked through `psql`.

use std::process::Command;

use anyhow::{Context, ensure};

/// What of its settings decides how fast it is and what a commit means.
const TOLD: [&str; 7] = [
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "shared_buffers",
    "max_wal_size",
    "max_connections",
];

/// A server, known by the URL of a superuser on some database of it.
#[derive(Clone, Debug)]
pub struct Postgres {
    url: String,
}

impl Postgres {
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned() }
    }

    /// A database of this name with nothing in it; what had the name is gone. Returns its URL.
    ///
    /// # Errors
    /// When the server is away or refuses.
    pub fn fresh(&self, database: &str) -> anyhow::Result<String> {
        self.remove(database)?;
        ask(&self.url, &format!("CREATE DATABASE \"{database}\""))?;
        let url = on(&self.url, database)?;
        // What the last one left to be written is not written while this one is measured.
        ask(&url, "CHECKPOINT")?;
        Ok(url)
    }

    /// # Errors
    /// When the server is away or refuses.
    pub fn remove(&self, database: &str) -> anyhow::Result<()> {
        ask(&self.url, &format!("DROP DATABASE IF EXISTS \"{database}\" WITH (FORCE)")).map(drop)
    }

    /// Version and settings, by name.
    ///
    /// # Errors
    /// When the server is away.
    pub fn settings(&self) -> anyhow::Result<Vec<(String, String)>> {
        let names = TOLD.map(|name| format!("'{name}'")).join(", ");
        let sql = format!("SELECT name, current_setting(name) FROM unnest(ARRAY[{names}]) AS name");
        let rows = ask(&self.url, &sql)?;
        rows.into_iter().map(|row| <[String; 2]>::try_from(row).ok().map(Into::into).context("a pair")).collect()
    }
}

/// Rows of text, as `psql` prints them.
///
/// # Errors
/// When there is no `psql`, or the server is away or refuses: with what it says.
pub fn ask(url: &str, sql: &str) -> anyhow::Result<Vec<Vec<String>>> {
    let mut psql = Command::new("psql");
    psql.args(["--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--set=ON_ERROR_STOP=1"]);
    // "is not there, left out" is no news.
    psql.env("PGOPTIONS", "-c client_min_messages=warning");
    let output = psql.args(["--dbname", url, "--command", sql]).output().context("psql cannot be run")?;
    ensure!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr).trim());
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect())
}

/// The URL with another database in it.
fn on(url: &str, database: &str) -> anyhow::Result<String> {
    let (before, rest) = url.split_once("://").with_context(|| format!("{url} is no URL"))?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let parameters = path.split_once('?').map(|(_, parameters)| format!("?{parameters}")).unwrap_or_default();
    Ok(format!("{before}://{host}/{database}{parameters}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_to_another_database_of_the_same_server() {
        let table = [
            (
                "postgres://ada:pw@127.0.0.1:5433/postgres?sslmode=disable",
                "postgres://ada:pw@127.0.0.1:5433/one?sslmode=disable",
            ),
            ("postgres://127.0.0.1/postgres", "postgres://127.0.0.1/one"),
            ("postgresql://127.0.0.1", "postgresql://127.0.0.1/one"),
        ];
        for (url, expected) in table {
            assert_eq!(on(url, "one").unwrap(), expected);
        }
        assert!(on("127.0.0.1", "one").is_err());
    }
}
