//! Statements over many rows. A statement's text has a fixed number of rows, so
//! that it is prepared once; a batch is cut into the largest that fit.

use std::sync::OnceLock;

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Sqlite, SqliteConnection};

use crate::Result;

const SIZES: [usize; 5] = [128, 32, 8, 2, 1];

pub type RowsQuery = Query<'static, Sqlite, SqliteArguments>;

/// `head` + `(?, …), (?, …)` + `tail`.
pub struct Rows {
    head: &'static str,
    columns: usize,
    tail: &'static str,
    texts: [OnceLock<String>; SIZES.len()],
}

impl Rows {
    pub const fn new(head: &'static str, columns: usize, tail: &'static str) -> Self {
        Self { head, columns, tail, texts: [const { OnceLock::new() }; SIZES.len()] }
    }

    fn text(&'static self, size: usize) -> &'static str {
        self.texts[size].get_or_init(|| {
            let row = format!("({})", vec!["?"; self.columns].join(", "));
            format!("{} {} {}", self.head, vec![row.as_str(); SIZES[size]].join(", "), self.tail)
        })
    }

    /// Runs the statement over all of `rows`; `bind` adds one row's values in order.
    pub async fn run<T>(
        &'static self,
        connection: &mut SqliteConnection,
        mut rows: &[T],
        bind: impl Fn(RowsQuery, &T) -> RowsQuery,
    ) -> Result<()> {
        for (size, len) in SIZES.iter().enumerate() {
            while rows.len() >= *len {
                let (now, later) = rows.split_at(*len);
                now.iter().fold(sqlx::query(self.text(size)), &bind).execute(&mut *connection).await?;
                rows = later;
            }
        }
        Ok(())
    }
}
