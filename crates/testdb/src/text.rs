//! Values as text, the same for both databases.

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Column, Row, TypeInfo, ValueRef};

use crate::Table;

const NULL: &str = "NULL";

pub(crate) fn of_sqlite(rows: &[SqliteRow]) -> sqlx::Result<Table> {
    let value = |row: &SqliteRow, column: usize| {
        let raw = row.try_get_raw(column)?;
        let type_name = if raw.is_null() { NULL.to_owned() } else { raw.type_info().name().to_owned() };
        Ok(match type_name.as_str() {
            NULL => NULL.to_owned(),
            "REAL" => row.try_get_unchecked::<f64, _>(column)?.to_string(),
            _ => bytes(&row.try_get_unchecked::<Vec<u8>, _>(column)?),
        })
    };
    table(rows, value)
}

/// For rows of the simple protocol, which sends everything as text.
pub(crate) fn of_postgres(rows: &[PgRow]) -> sqlx::Result<Table> {
    let value = |row: &PgRow, column: usize| {
        let raw = row.try_get_raw(column)?;
        if raw.is_null() {
            return Ok(NULL.to_owned());
        }
        let text = raw.as_str().map_err(sqlx::Error::Decode)?;
        Ok(match raw.type_info().name() {
            "BOOL" => if text == "t" { "1" } else { "0" }.to_owned(),
            "BYTEA" => bytes(&from_hex(text)),
            "NUMERIC" | "FLOAT4" | "FLOAT8" => decimal(text),
            "TIMESTAMPTZ" => time(text),
            _ => text.to_owned(),
        })
    };
    table(rows, value)
}

fn table<R: Row>(rows: &[R], value: impl Fn(&R, usize) -> sqlx::Result<String>) -> sqlx::Result<Table> {
    let columns = rows.first().map(|row| row.columns().iter().map(|column| column.name().to_owned()).collect());
    let texts = |row: &R| (0..row.len()).map(|column| value(row, column)).collect();
    Ok(Table { columns: columns.unwrap_or_default(), rows: rows.iter().map(texts).collect::<sqlx::Result<_>>()? })
}

fn bytes(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => format!("X'{}'", bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>()),
    }
}

/// `\x0a`, PostgreSQL's way to write bytes since version 9.
fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix("\\x").expect("bytea_output is hex").as_bytes();
    let digit = |at: usize| char::from(digits[at]).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |at: usize| Some(digit(at)? * 16 + digit(at + 1)?);
    (0..digits.len()).step_by(2).map(|at| byte(at).expect("a hex digit")).collect()
}

/// `66.70` of a `numeric` is SQLite's `66.7`.
fn decimal(text: &str) -> String {
    if !text.contains('.') || text.contains('e') {
        return text.to_owned();
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `2025-11-20 16:00:00.5+00`, as SQLite's views have it: `2025-11-20 16:00:00.500000`.
fn time(text: &str) -> String {
    let utc = text.strip_suffix("+00").expect("the session's time zone is UTC");
    let (seconds, fraction) = utc.split_once('.').unwrap_or((utc, ""));
    format!("{seconds}.{fraction:0<6}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_times_are_as_sqlite_has_them() {
        for (text, expected) in
            [("66.70", "66.7"), ("100.00", "100"), ("100", "100"), ("-0.5", "-0.5"), ("1e+20", "1e+20")]
        {
            assert_eq!(decimal(text), expected);
        }
        for (text, expected) in [
            ("2025-11-20 16:00:00+00", "2025-11-20 16:00:00.000000"),
            ("2025-11-20 16:00:00.000007+00", "2025-11-20 16:00:00.000007"),
            ("2025-11-20 16:00:00.25+00", "2025-11-20 16:00:00.250000"),
        ] {
            assert_eq!(time(text), expected);
        }
        assert_eq!([bytes(b"text"), bytes(&from_hex("\\x00ff")), bytes(&from_hex("\\x"))], ["text", "X'00FF'", ""]);
    }
}
