//! What is at a database's place, found out without changing anything there: no file is
//! made, nothing is migrated, no journal mode switched.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use crate::{Error, Result, Store, postgres, sqlite};

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// There is no file yet, and it can be made. Of SQLite alone.
    Missing,
    /// A database without any table.
    Empty,
    /// Of this version.
    Current,
    /// Of an earlier version.
    Older,
    /// Of a later version, which this one cannot use.
    Newer,
    /// It holds another program's tables and none of ours.
    Foreign,
}

impl Store {
    /// Looks at the database that `url` names. An error where it cannot be used.
    pub async fn inspect(url: &str) -> Result<Condition> {
        if postgres::is_url(url) {
            return postgres::inspect(url).await;
        }
        let path = sqlite_file(url).ok_or_else(|| Error::unknown_url(url))?;
        if !path.exists() {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            return match folder.is_dir() {
                true => Ok(Condition::Missing),
                false => Err(Error::Unavailable(format!("the folder {} is not there", folder.display()).into())),
            };
        }
        let writable = std::fs::OpenOptions::new().write(true).open(path);
        writable.map_err(|error| Error::Unavailable(error.into()))?;
        look(&open_unchanged(path)?)
    }
}

/// The file of a database URL like `sqlite:quittance.db`.
pub(crate) fn sqlite_file(url: &str) -> Option<&Path> {
    let rest = url.strip_prefix("sqlite:")?;
    let path = rest.strip_prefix("//").unwrap_or(rest);
    (!path.is_empty() && !path.starts_with(':')).then(|| Path::new(path))
}

/// Reading a database whose log is not there would make the log; saying that nobody
/// changes the file meanwhile avoids it. <https://www.sqlite.org/uri.html>
fn open_unchanged(path: &Path) -> Result<Connection> {
    let beside = |suffix: &str| {
        let mut name = OsString::from(path);
        name.push(suffix);
        PathBuf::from(name)
    };
    let in_use = beside("-wal").exists() || beside("-journal").exists();
    let parameters = if in_use { "?mode=ro" } else { "?mode=ro&immutable=1" };
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() || b"/-_.~".contains(byte) => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str(parameters);
    Ok(Connection::open_with_flags(uri, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)?)
}

fn look(connection: &Connection) -> Result<Condition> {
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    if count("SELECT count(*) FROM sqlite_master WHERE name = '_sqlx_migrations'")? == 0 {
        let tables = count("SELECT count(*) FROM sqlite_master")?;
        return Ok(if tables == 0 { Condition::Empty } else { Condition::Foreign });
    }
    let mut statement =
        connection.prepare("SELECT version, checksum FROM _sqlx_migrations WHERE success ORDER BY version")?;
    let applied: Vec<(i64, Vec<u8>)> =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?;
    Ok(condition_of(&applied, &sqlite::versions()))
}

/// From the versions and checksums of migrations that were applied, and of ours.
pub(crate) fn condition_of(applied: &[(i64, Vec<u8>)], known: &[(i64, Vec<u8>)]) -> Condition {
    let ours = |(version, checksum): &(i64, Vec<u8>)| {
        known.iter().find(|(known, _)| known == version).map(|(_, known)| known == checksum)
    };
    // Other programs keep their migrations in a table of that name too.
    let is_ours = applied.iter().any(|migration| ours(migration) == Some(true));
    if !is_ours || applied.iter().any(|migration| ours(migration) == Some(false)) {
        return Condition::Foreign;
    }
    let newest = known.last().map_or(0, |(version, _)| *version);
    match applied.last().map_or(0, |(version, _)| *version) {
        version if version > newest => Condition::Newer,
        version if version == newest => Condition::Current,
        _ => Condition::Older,
    }
}
