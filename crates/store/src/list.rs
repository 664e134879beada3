//! Lists, newest first, by a cursor.

use domain::AccountId;

use crate::Result;
use crate::query::{Pool, Query, Row};

/// A list of rows, of one account or of all.
#[derive(Debug)]
pub(crate) struct List {
    query: Query,
    /// What stands in the SQL for the account; nothing where the list goes over all of
    /// them as they come.
    account: Option<&'static str>,
}

/// Each account has a list of its own, to be put together.
const EACH: &str = "each_account.account";

impl List {
    /// `account_column` is that of a table in `from`. On PostgreSQL, where indexes begin
    /// with the account, a list of all accounts takes the first rows of each of them.
    pub fn new(pool: &Pool, columns: &str, from: &str, account_column: &str, account: Option<&AccountId>) -> Self {
        let place = match account {
            Some(_) => Some("$1"),
            None => pool.is_postgres().then_some(EACH),
        };
        let mut query = Query::new("SELECT ");
        if place == Some(EACH) {
            query.push("found.* FROM account each_account CROSS JOIN LATERAL (SELECT ");
        }
        query.push(columns).push(" FROM ").push(from).push(" WHERE ");
        match (account, place) {
            (Some(account), _) => query.push(account_column).push(" = ").push_bind(account.as_str()),
            (None, Some(each)) => query.push(account_column).push(" = ").push(each),
            (None, None) => query.push("true"),
        };
        Self { query, account: place }
    }

    pub const fn account(&self) -> Option<&'static str> {
        self.account
    }

    /// For further conditions, each with its ` AND `.
    pub const fn conditions(&mut self) -> &mut Query {
        &mut self.query
    }

    /// Lets through only what has this value, where there is one.
    pub fn equal(&mut self, column: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.query.push(format_args!(" AND {column} = ")).push_bind(value);
        }
    }

    /// At most `limit` rows whose `number`, their first column, is less than `before`; the
    /// highest first.
    pub async fn newest(mut self, pool: &Pool, number: &str, before: Option<i64>, limit: u32) -> Result<Vec<Row>> {
        if let Some(before) = before {
            self.query.push(format_args!(" AND {number} < ")).push_bind(before);
        }
        self.query.push(format_args!(" ORDER BY {number} DESC LIMIT ")).push_bind(limit);
        if self.account == Some(EACH) {
            self.query.push(") found ORDER BY 1 DESC LIMIT ").push_bind(limit);
        }
        self.query.fetch_all(pool).await
    }

    /// The only row, if there is one; `several` where there are more.
    pub async fn only(mut self, pool: &Pool, several: crate::Error) -> Result<Option<Row>> {
        self.query.push(if self.account == Some(EACH) { ") found LIMIT 2" } else { " LIMIT 2" });
        let mut rows = self.query.fetch_all(pool).await?;
        if rows.len() > 1 { Err(several) } else { Ok(rows.pop()) }
    }
}
