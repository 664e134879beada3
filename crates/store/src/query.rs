//! Reading what is not read in a hurry: SQL that is put together, for both databases.

use sqlx::postgres::PgRow;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, Decode, Postgres, Row as _, Sqlite, SqlitePool, Type};

use crate::postgres;
use crate::sql::{self, Value};
use crate::{Error, Result};

/// Connections to either database.
#[derive(Clone, Debug)]
pub(crate) enum Pool {
    Sqlite(SqlitePool),
    Postgres(postgres::Postgres),
}

impl Pool {
    pub const fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }
}

/// SQL and what is bound to it.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    sql: String,
    values: Vec<Value<'static>>,
}

impl Query {
    /// Its parameters, if it has any, are `$1`, `$2` …: bind them first.
    pub fn new(sql: &str) -> Self {
        Self { sql: sql.to_owned(), values: Vec::new() }
    }

    /// Adds SQL.
    pub fn push(&mut self, sql: impl std::fmt::Display) -> &mut Self {
        use std::fmt::Write;
        let _ = write!(self.sql, "{sql}"); // A text takes everything.
        self
    }

    /// Adds a parameter and its value.
    pub fn push_bind<'v>(&mut self, value: impl Into<Value<'v>>) -> &mut Self {
        self.values.push(value.into().into_owned());
        let place = self.values.len();
        self.push(format_args!("${place}"))
    }

    /// The value of the next parameter that the SQL names already.
    pub fn bind<'v>(mut self, value: impl Into<Value<'v>>) -> Self {
        self.values.push(value.into().into_owned());
        self
    }

    pub async fn fetch_all(&self, pool: &Pool) -> Result<Vec<Row>> {
        let sql = AssertSqlSafe(self.sql.clone());
        Ok(match pool {
            Pool::Sqlite(pool) => {
                let rows = sqlx::query_with(sql, self.sqlite()?).fetch_all(pool).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            Pool::Postgres(postgres) => {
                let mut connection = postgres.acquire().await?;
                let query = sqlx::query_with(sql, sql::arguments(&self.values)?);
                query.fetch_all(&mut *connection).await?.into_iter().map(Row::Postgres).collect()
            }
        })
    }

    pub async fn fetch_optional(&self, pool: &Pool) -> Result<Option<Row>> {
        Ok(self.fetch_all(pool).await?.into_iter().next())
    }

    /// The row of a query that always returns one.
    pub async fn fetch_one(&self, pool: &Pool) -> Result<Row> {
        self.fetch_optional(pool).await?.ok_or_else(|| Error::Db(sqlx::Error::RowNotFound.into()))
    }

    /// Returns how many rows it changed.
    pub async fn execute(&self, pool: &Pool) -> Result<u64> {
        let sql = AssertSqlSafe(self.sql.clone());
        Ok(match pool {
            Pool::Sqlite(pool) => sqlx::query_with(sql, self.sqlite()?).execute(pool).await?.rows_affected(),
            Pool::Postgres(postgres) => {
                let mut connection = postgres.acquire().await?;
                let query = sqlx::query_with(sql, sql::arguments(&self.values)?);
                query.execute(&mut *connection).await?.rows_affected()
            }
        })
    }

    fn sqlite(&self) -> Result<SqliteArguments> {
        let mut arguments = SqliteArguments::default();
        for value in &self.values {
            let added = match value {
                Value::Int(number) => arguments.add(*number),
                Value::Bool(is) => arguments.add(*is),
                Value::Text(text) => arguments.add(text.clone().map(std::borrow::Cow::into_owned)),
                Value::Bytes(bytes) => arguments.add(bytes.clone().map(std::borrow::Cow::into_owned)),
            };
            added.map_err(Error::Db)?;
        }
        Ok(arguments)
    }
}

/// A row of either database.
#[derive(Debug)]
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// The statement's text says which column there is and of which type.
    ///
    /// # Panics
    /// Where there is no such column or it is of another type: a defect of ours.
    pub fn get<'r, T>(&'r self, column: usize) -> T
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
    {
        match self {
            Self::Sqlite(row) => row.get(column),
            Self::Postgres(row) => row.get(column),
        }
    }
}
