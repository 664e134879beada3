//! A connection to either database, and what is done in one transaction on it. All of
//! it is synchronous: a whole transaction is one job of a [`crate::worker::Worker`].

use std::convert::Infallible;

use domain::AccountId;
use rusqlite::{CachedStatement, TransactionBehavior, params_from_iter};
use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::postgres::Session;
use crate::sql::{self, Many, Value};
use crate::{Error, Result};

pub(crate) enum Connection {
    Sqlite(rusqlite::Connection),
    Postgres(Session),
}

impl Connection {
    /// Everything that `job` writes is there when this returns, or nothing of it where
    /// it fails.
    pub fn write<T>(&mut self, job: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        self.write_unless_refused(unrefused(job)).map(|Ok(done)| done)
    }

    /// As [`Self::write`]; what `job` refuses leaves nothing behind either.
    pub fn write_unless_refused<T, R>(
        &mut self,
        job: impl FnOnce(&Tx<'_>) -> Result<std::result::Result<T, R>>,
    ) -> Result<std::result::Result<T, R>> {
        match self {
            Self::Sqlite(connection) => {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let done = job(&Tx::Sqlite(&transaction))?;
                if done.is_ok() {
                    transaction.commit()?;
                }
                Ok(done)
            }
            Self::Postgres(session) => {
                session.begin()?;
                session.end(job)
            }
        }
    }

    /// As [`Self::write`], in the transaction that [`Self::claim`] left open.
    pub fn write_claimed<T>(&mut self, job: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        match self {
            Self::Postgres(session) if session.is_open() => session.end(unrefused(job)).map(|Ok(done)| done),
            Self::Sqlite(_) | Self::Postgres(_) => self.write(job),
        }
    }

    /// Reads of one state of the database.
    pub fn read<T>(&mut self, job: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        match self {
            Self::Sqlite(connection) => {
                let transaction = connection.transaction()?;
                job(&Tx::Sqlite(&transaction))
            }
            Self::Postgres(session) => {
                session.begin_reading()?;
                session.end(unrefused(job)).map(|Ok(done)| done)
            }
        }
    }

    /// What `job` locks on PostgreSQL stays locked until [`Self::write_claimed`] ends it,
    /// unless `job` finds nothing. SQLite has one writer: nothing needs to be locked.
    pub fn claim<T>(&mut self, job: impl FnOnce(&Tx<'_>) -> Result<Vec<T>>) -> Result<Vec<T>> {
        let Self::Postgres(session) = self else { return self.read(job) };
        session.begin()?;
        let found = job(&Tx::Postgres(session));
        if !found.as_ref().is_ok_and(|found| !found.is_empty()) {
            session.roll_back();
        }
        found
    }
}

/// A job that refuses nothing.
fn unrefused<T>(
    job: impl FnOnce(&Tx<'_>) -> Result<T>,
) -> impl FnOnce(&Tx<'_>) -> Result<std::result::Result<T, Infallible>> {
    |tx| job(tx).map(Ok)
}

/// An open transaction.
pub(crate) enum Tx<'c> {
    Sqlite(&'c rusqlite::Connection),
    Postgres(&'c Session),
}

impl Tx<'_> {
    /// What `read` makes of each row. The statement is for both databases, its
    /// parameters `$1`, `$2` ….
    pub fn query<T>(
        &self,
        sql: &'static str,
        values: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.query_while(sql, values, |row| read(row).map(Some))
    }

    /// As [`Self::query`], until `read` returns nothing.
    pub fn query_while<T>(
        &self,
        sql: &'static str,
        values: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<Option<T>>,
    ) -> Result<Vec<T>> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                bind(&mut statement, values)?;
                let mut rows = statement.raw_query();
                let mut all = Vec::new();
                while let Some(row) = rows.next()? {
                    let Some(read) = read(&Row::Sqlite(row))? else { break };
                    all.push(read);
                }
                Ok(all)
            }
            Self::Postgres(session) => {
                let rows = session.rows(sql, sql::arguments(values)?)?;
                rows.iter().map_while(|row| read(&Row::Postgres(row)).transpose()).collect()
            }
        }
    }

    /// As [`Self::query`], of the first row.
    pub fn first<T>(
        &self,
        sql: &'static str,
        values: &[Value<'_>],
        read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let (mut read, mut found) = (read, false);
        let first = self.query_while(sql, values, |row| {
            if std::mem::replace(&mut found, true) { Ok(None) } else { read(row).map(Some) }
        });
        Ok(first?.pop())
    }

    /// Whether there is a row; `sql` is what goes into `EXISTS`.
    pub fn holds(&self, sql: &'static str, values: &[Value<'_>]) -> Result<bool> {
        self.first(sql, values, |row| row.get(0)).map(Option::unwrap_or_default)
    }

    /// Writes something that means nothing, and is on disk once it is committed.
    pub fn touch(&self) -> Result<()> {
        match self {
            Self::Sqlite(connection) => {
                let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
                Ok(connection.pragma_update(None, "user_version", version)?)
            }
            Self::Postgres(_) => self.execute("SELECT pg_logical_emit_message(true, 'quittance', '')", &[]).map(drop),
        }
    }

    /// Returns how many rows it changed.
    pub fn execute(&self, sql: &'static str, values: &[Value<'_>]) -> Result<u64> {
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(sql)?;
                bind(&mut statement, values)?;
                Ok(statement.raw_execute()? as u64)
            }
            Self::Postgres(session) => session.execute(sql, sql::arguments(values)?),
        }
    }

    /// Finds rows by many keys. `each` is told which key (by its index) and the row; on
    /// PostgreSQL the key's number, from 1, is the last column.
    pub fn look_up<'v, const N: usize>(
        &self,
        statement: &'static Many,
        keys: impl Iterator<Item = [Value<'v>; N]>,
        mut each: impl FnMut(usize, &Row<'_>) -> Result<()>,
    ) -> Result<()> {
        debug_assert_eq!(statement.types.len(), N, "{}", statement.sqlite);
        match self {
            Self::Sqlite(connection) => {
                let mut statement = connection.prepare_cached(statement.sqlite)?;
                for (index, key) in keys.enumerate() {
                    let mut rows = statement.query(params_from_iter(key))?;
                    while let Some(row) = rows.next()? {
                        each(index, &Row::Sqlite(row))?;
                    }
                }
            }
            Self::Postgres(session) => {
                let keys: Vec<Value<'_>> = keys.flatten().collect();
                if keys.is_empty() {
                    return Ok(());
                }
                for row in session.rows(statement.postgres, sql::columns(statement.types, &keys)?)? {
                    let number: i64 = row.try_get(row.len() - 1)?;
                    each(usize::try_from(number - 1).unwrap_or_default(), &Row::Postgres(&row))?;
                }
            }
        }
        Ok(())
    }

    /// Collects rows for a statement, or runs it for each of them at once, as the database
    /// likes it better.
    pub fn batch(&self, statement: &'static Many) -> Result<Batch<'_, '_>> {
        Ok(match self {
            Self::Sqlite(connection) => Batch::Sqlite(connection.prepare_cached(statement.sqlite)?, 0),
            Self::Postgres(session) => Batch::Postgres(session, statement, Vec::new()),
        })
    }

    /// Only one transaction at a time changes what is derived or registered of an account.
    /// On PostgreSQL it is the row of the account that is locked; SQLite has one writer.
    pub fn lock_account(&self, account: &AccountId) -> Result<()> {
        let Self::Postgres(_) = self else { return Ok(()) };
        let lock = "SELECT true FROM account WHERE account = $1 FOR NO KEY UPDATE";
        let name = || sql::values![account.as_str()];
        if !self.holds(lock, &name())? {
            self.execute("INSERT INTO account (account) VALUES ($1) ON CONFLICT DO NOTHING", &name())?;
            self.holds(lock, &name())?;
        }
        Ok(())
    }

    pub const fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}

/// SQLite numbers `$1`, `$2` … in the order in which it meets them.
fn bind(statement: &mut CachedStatement<'_>, values: &[Value<'_>]) -> Result<()> {
    for (index, value) in values.iter().enumerate() {
        if let Some(place) = statement.parameter_index(&format!("${}", index + 1))? {
            statement.raw_bind_parameter(place, value)?;
        }
    }
    Ok(())
}

/// Rows on their way to a statement.
pub(crate) enum Batch<'t, 'v> {
    Sqlite(CachedStatement<'t>, u64),
    Postgres(&'t Session, &'static Many, Vec<Value<'v>>),
}

impl<'v> Batch<'_, 'v> {
    pub fn add<const N: usize>(&mut self, row: [Value<'v>; N]) -> Result<()> {
        match self {
            Self::Sqlite(statement, changed) => *changed += statement.execute(params_from_iter(row))? as u64,
            Self::Postgres(_, statement, rows) => {
                debug_assert_eq!(statement.types.len(), N, "{}", statement.sqlite);
                rows.extend(row);
            }
        }
        Ok(())
    }

    /// Returns how many rows were changed in all.
    pub fn run(self) -> Result<u64> {
        match self {
            Self::Sqlite(_, changed) => Ok(changed),
            Self::Postgres(_, _, rows) if rows.is_empty() => Ok(0),
            Self::Postgres(session, statement, rows) => {
                session.execute(statement.postgres, sql::columns(statement.types, &rows)?)
            }
        }
    }
}

/// A row that a statement returned.
pub(crate) enum Row<'r> {
    Sqlite(&'r rusqlite::Row<'r>),
    Postgres(&'r PgRow),
}

impl Row<'_> {
    pub fn get<T>(&self, column: usize) -> Result<T>
    where
        T: rusqlite::types::FromSql + for<'d> sqlx::Decode<'d, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        Ok(match self {
            Self::Sqlite(row) => row.get(column)?,
            Self::Postgres(row) => row.try_get(column)?,
        })
    }

    /// A text that is there, without copying it.
    pub fn str(&self, column: usize) -> Result<&str> {
        match self {
            Self::Sqlite(row) => row.get_ref(column)?.as_str().map_err(|error| Error::Db(error.into())),
            Self::Postgres(row) => Ok(row.try_get(column)?),
        }
    }
}
