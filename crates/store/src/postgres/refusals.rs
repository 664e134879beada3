//! What PostgreSQL says when it cannot be used, in one sentence with what to do about it.

use std::io::ErrorKind;

use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Executor, Row};

use crate::Error;

/// What is tested; earlier ones may lack something.
const VERSION_MIN: i32 = 15;

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
const NO_PERMISSION: &str = "42501";
const NO_SUCH_DATABASE: &str = "3D000";
const NO_SCHEMA: &str = "3F000";
const NOT_AVAILABLE: [&str; 2] = ["0A000", "58P01"];
const WRONG_PASSWORD: &str = "28P01";
const NOT_LET_IN: &str = "28000";
const TOO_MANY_CONNECTIONS: &str = "53300";

/// Why there is no connection.
pub(super) fn of_connecting(error: &sqlx::Error, options: &PgConnectOptions) -> String {
    match error {
        sqlx::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
            "nothing listens there: start PostgreSQL, or correct the host and the port".to_owned()
        }
        sqlx::Error::Io(error) => of_input(error, options),
        sqlx::Error::Tls(why) => format!("TLS: {why}"),
        sqlx::Error::Configuration(why) => why.to_string(),
        sqlx::Error::Database(refusal) => {
            let said = refusal.message();
            let database = options.get_database().unwrap_or(options.get_username());
            match refusal.code().as_deref() {
                Some(NO_SUCH_DATABASE) => {
                    format!("{said}: create it: createdb --encoding=UTF8 --template=template0 {database}")
                }
                Some(WRONG_PASSWORD) => format!("{said}: correct the user or the password"),
                Some(NOT_LET_IN) => format!("{said}: the server's pg_hba.conf or the role does not allow it"),
                Some(NO_PERMISSION) => {
                    let role = options.get_username();
                    format!("{said}: as its owner, run GRANT CONNECT ON DATABASE \"{database}\" TO \"{role}\"")
                }
                Some(TOO_MANY_CONNECTIONS) => {
                    format!("{said}: raise max_connections there, or lower `[database] connections` here")
                }
                _ => said.to_owned(),
            }
        }
        error => error.to_string(),
    }
}

fn of_input(error: &std::io::Error, options: &PgConnectOptions) -> String {
    match (error.kind(), options.get_socket()) {
        (ErrorKind::NotFound, Some(socket)) => format!("{}: {error}: start PostgreSQL there", socket.display()),
        (ErrorKind::NotFound, None) => format!("{error}: correct sslrootcert, sslcert or sslkey in the URL"),
        (ErrorKind::InvalidData, _) => {
            format!("TLS: {error}: name the certificate of its authority in the URL, as sslrootcert=FILE")
        }
        _ => error.to_string(),
    }
}

/// Whether a server that was reached will do.
pub(super) async fn fit(connection: &mut PgConnection) -> std::result::Result<(), sqlx::Error> {
    let asked = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',
                        current_setting('server_encoding'), current_setting('server_version_num')::int / 10000";
    let row = connection.fetch_one(asked).await?;
    match unfit(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?) {
        Some(why) => Err(sqlx::Error::Configuration(why.into())),
        None => Ok(()),
    }
}

fn unfit(is_standby: bool, is_read_only: bool, encoding: &str, version: i32) -> Option<String> {
    if is_standby {
        return Some("it is a standby, which cannot be written to: name the primary, or all hosts".to_owned());
    }
    if is_read_only {
        return Some("it is read-only: check default_transaction_read_only of the role and the database".to_owned());
    }
    if encoding != "UTF8" {
        let how = "createdb --encoding=UTF8 --template=template0";
        return Some(format!("the database's encoding is {encoding}, and has to be UTF8: create another: {how} NAME"));
    }
    (version < VERSION_MIN).then(|| format!("it is PostgreSQL {version}, and has to be {VERSION_MIN} or later"))
}

/// Why the tables were not made.
pub(super) fn of_migrating(error: MigrateError) -> Error {
    let (MigrateError::Execute(sqlx::Error::Database(refusal))
    | MigrateError::ExecuteMigration(sqlx::Error::Database(refusal), _)) = &error
    else {
        return error.into();
    };
    let code = refusal.code().unwrap_or_default();
    if super::is_transient(&code) {
        return Error::Unavailable(refusal.message().into());
    }
    let said = refusal.message();
    let concerns = |word: &str| said.contains(word);
    Error::Unfit(match &*code {
        NO_PERMISSION if concerns("extension") => format!(
            "{said}: as a superuser, run CREATE EXTENSION btree_gist in this database, or let its role make it: \
             GRANT CREATE ON DATABASE"
        ),
        NO_PERMISSION => format!("{said}: make the role the owner of the database, or GRANT CREATE ON SCHEMA to it"),
        code if NOT_AVAILABLE.contains(&code) && concerns("extension") => {
            format!("{said}: install PostgreSQL's contrib modules on its server")
        }
        NO_SCHEMA => format!("{said}: the role's search_path names no schema that is there and that it may use"),
        _ => said.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_will_not_do_says_why() {
        let table = [
            ((false, false, "UTF8", 15), None),
            ((false, false, "UTF8", 18), None),
            ((true, true, "UTF8", 15), Some("standby")),
            ((false, true, "UTF8", 15), Some("read-only")),
            ((false, false, "SQL_ASCII", 15), Some("SQL_ASCII, and has to be UTF8")),
            ((false, false, "UTF8", 14), Some("PostgreSQL 14")),
        ];
        for ((is_standby, is_read_only, encoding, version), expected) in table {
            let why = unfit(is_standby, is_read_only, encoding, version);
            let named = match (&why, expected) {
                (Some(why), Some(expected)) => why.contains(expected),
                (why, expected) => why.is_none() && expected.is_none(),
            };
            assert!(named, "{expected:?}: {why:?}");
        }
    }
}
