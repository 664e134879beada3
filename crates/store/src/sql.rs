//! Statements that both databases understand, or one for each side by side, and the
//! values that go into them.

use std::borrow::Cow;
use std::sync::OnceLock;

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};
use sqlx::postgres::PgArguments;
use sqlx::{Arguments, Encode, Postgres, Type};

use crate::{Error, Result};

/// What is bound to a statement. Nulls have a type too: PostgreSQL asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Int(Option<i64>),
    Bool(Option<bool>),
    Text(Option<Cow<'a, str>>),
    Bytes(Option<Cow<'a, [u8]>>),
}

/// Values of whatever types, in a row.
macro_rules! values {
    ($($value:expr),* $(,)?) => { [$($crate::sql::Value::from($value)),*] };
}
pub(crate) use values;

macro_rules! value_from {
    ($($type:ty => $variant:ident, $value:ident, $into:expr;)+) => {
        $(impl<'a> From<$type> for Value<'a> {
            fn from($value: $type) -> Self {
                Self::$variant($into)
            }
        })+
    };
}

value_from! {
    i64 => Int, number, Some(number);
    u32 => Int, number, Some(i64::from(number));
    Option<i64> => Int, number, number;
    bool => Bool, is, Some(is);
    &'a str => Text, text, Some(text.into());
    String => Text, text, Some(text.into());
    &'a String => Text, text, Some(text.as_str().into());
    Option<&'a str> => Text, text, text.map(Into::into);
    Option<String> => Text, text, text.map(Into::into);
    &'a Option<String> => Text, text, text.as_deref().map(Into::into);
    Option<&'a String> => Text, text, text.map(|text| text.as_str().into());
    &'a [u8] => Bytes, bytes, Some(bytes.into());
    &'a [u8; 32] => Bytes, bytes, Some(bytes[..].into());
}

impl Value<'_> {
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Int(number) => Value::Int(number),
            Self::Bool(is) => Value::Bool(is),
            Self::Text(text) => Value::Text(text.map(|text| Cow::Owned(text.into_owned()))),
            Self::Bytes(bytes) => Value::Bytes(bytes.map(|bytes| Cow::Owned(bytes.into_owned()))),
        }
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Int(Some(number)) => ValueRef::Integer(*number),
            Self::Bool(Some(is)) => ValueRef::Integer(i64::from(*is)),
            Self::Text(Some(text)) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(Some(bytes)) => ValueRef::Blob(bytes),
            Self::Int(None) | Self::Bool(None) | Self::Text(None) | Self::Bytes(None) => ValueRef::Null,
        }))
    }
}

/// One statement run for many rows of values: on SQLite row by row, on PostgreSQL once,
/// with an array for each column, but for the account: it is one for all rows, and the
/// statement says so (`account = $1`), so that a sharded PostgreSQL sees whose it is.
#[derive(Debug)]
pub(crate) struct Many {
    /// `?1` … are a row's values.
    pub sqlite: &'static str,
    /// `$1` is the account, `$2` … are the other columns, as arrays.
    pub postgres: &'static str,
    /// Of the columns, a letter each: `a`ccount, which is the first, then `i`nteger,
    /// `b`oolean, `t`ext, b`y`tes.
    pub types: &'static str,
}

/// An insertion of many rows.
#[derive(Debug)]
pub(crate) struct Put {
    /// `table (account, column, …)`
    into: &'static str,
    types: &'static str,
    /// What makes a row the same as one that is there; PostgreSQL asks for it.
    conflict: &'static str,
    /// What to do then: `DO NOTHING`, `DO UPDATE SET …`. Empty: it is an error.
    then: &'static str,
    many: OnceLock<Many>,
}

impl Put {
    pub const fn new(into: &'static str, types: &'static str, conflict: &'static str, then: &'static str) -> Self {
        Self { into, types, conflict, then, many: OnceLock::new() }
    }

    pub fn many(&'static self) -> &'static Many {
        self.many.get_or_init(|| {
            let Self { into, types, conflict, then, many: _ } = self;
            let places: Vec<String> = (1..=types.len()).map(|place| format!("?{place}")).collect();
            let (on_sqlite, on_postgres) = match then.is_empty() {
                true => (String::new(), String::new()),
                false => (format!(" ON CONFLICT {then}"), format!(" ON CONFLICT ({conflict}) {then}")),
            };
            Many {
                sqlite: format!("INSERT INTO {into} VALUES ({}){on_sqlite}", places.join(", ")).leak(),
                postgres: format!("INSERT INTO {into} SELECT $1::text, k.* FROM {} AS k{on_postgres}", unnest(types))
                    .leak(),
                types,
            }
        })
    }
}

/// The columns of many rows, without the account, as PostgreSQL turns them back into rows.
pub(crate) fn unnest(types: &str) -> String {
    let array = |(index, letter)| format!("${}::{}[]", index + 1, postgres_type(letter));
    format!("unnest({})", types.bytes().enumerate().skip(1).map(array).collect::<Vec<_>>().join(", "))
}

const fn postgres_type(letter: u8) -> &'static str {
    match letter {
        b'i' => "bigint",
        b'b' => "boolean",
        b'y' => "bytea",
        _ => "text",
    }
}

fn add<'q, T: Encode<'q, Postgres> + Type<Postgres> + 'q>(arguments: &mut PgArguments, value: T) -> Result<()> {
    arguments.add(value).map_err(Error::Db)
}

/// Single values, for PostgreSQL.
pub(crate) fn arguments(values: &[Value<'_>]) -> Result<PgArguments> {
    let mut arguments = PgArguments::default();
    for value in values {
        match value {
            Value::Int(number) => add(&mut arguments, *number),
            Value::Bool(is) => add(&mut arguments, *is),
            Value::Text(text) => add(&mut arguments, text.as_deref()),
            Value::Bytes(bytes) => add(&mut arguments, bytes.as_deref()),
        }?;
    }
    Ok(arguments)
}

/// Rows of values as the account and one array a column, for PostgreSQL. There is a row.
pub(crate) fn columns(types: &str, rows: &[Value<'_>]) -> Result<PgArguments> {
    let mut arguments = PgArguments::default();
    for (index, letter) in types.bytes().enumerate() {
        let mut column = rows.iter().skip(index).step_by(types.len());
        match letter {
            b'a' => add(&mut arguments, the_one(column.by_ref().map(text))?),
            b'i' => add(&mut arguments, column.map(int).collect::<Result<Vec<_>>>()?),
            b'b' => add(&mut arguments, column.map(boolean).collect::<Result<Vec<_>>>()?),
            b'y' => add(&mut arguments, column.map(bytes).collect::<Result<Vec<_>>>()?),
            _ => add(&mut arguments, column.map(text).collect::<Result<Vec<_>>>()?),
        }?;
    }
    Ok(arguments)
}

/// What all of them are.
fn the_one<'v>(mut values: impl Iterator<Item = Result<Option<&'v str>>>) -> Result<&'v str> {
    let several = || Error::Db("a defect in Quittance: a statement is of one account".into());
    let first = values.next().ok_or_else(several)??.ok_or_else(several)?;
    values.try_for_each(|value| if value? == Some(first) { Ok(()) } else { Err(several()) })?;
    Ok(first)
}

fn int(value: &Value<'_>) -> Result<Option<i64>> {
    if let Value::Int(number) = value { Ok(*number) } else { Err(mistyped(value)) }
}

fn boolean(value: &Value<'_>) -> Result<Option<bool>> {
    if let Value::Bool(is) = value { Ok(*is) } else { Err(mistyped(value)) }
}

fn text<'v>(value: &'v Value<'_>) -> Result<Option<&'v str>> {
    if let Value::Text(text) = value { Ok(text.as_deref()) } else { Err(mistyped(value)) }
}

fn bytes<'v>(value: &'v Value<'_>) -> Result<Option<&'v [u8]>> {
    if let Value::Bytes(bytes) = value { Ok(bytes.as_deref()) } else { Err(mistyped(value)) }
}

fn mistyped(value: &Value<'_>) -> Error {
    Error::Db(format!("a defect in Quittance: {value:?} is not of its column's type").into())
}
