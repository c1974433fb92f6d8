//! One result row of any of the three drivers, read from left to right.
//!
//! Rule: callers name the type, the row names what was wrong; nothing is defaulted silently.

use crate::error::{Result, StoreError};
use sqlx::{MySql, Postgres, Row as _, Sqlite};

/// A row of one of the three.
#[derive(Debug)]
pub(crate) enum Row {
    Sqlite(sqlx::sqlite::SqliteRow),
    Postgres(sqlx::postgres::PgRow),
    MySql(sqlx::mysql::MySqlRow),
}

/// What all three drivers decode to.
pub(crate) trait Column:
    for<'r> sqlx::Decode<'r, Sqlite>
    + sqlx::Type<Sqlite>
    + for<'r> sqlx::Decode<'r, Postgres>
    + sqlx::Type<Postgres>
    + for<'r> sqlx::Decode<'r, MySql>
    + sqlx::Type<MySql>
{
}

impl Column for i64 {}
impl Column for String {}
impl Column for Vec<u8> {}
impl Column for Option<i64> {}
impl Column for Option<String> {}
impl Column for Option<Vec<u8>> {}

/// Reads the columns of a row in the order of the select list.
#[derive(Debug)]
pub(crate) struct Cells<'r> {
    row: &'r Row,
    next: usize,
    table: &'static str,
}

impl Row {
    /// Starts reading; `table` names the row in errors.
    pub(crate) fn cells(&self, table: &'static str) -> Cells<'_> {
        Cells { row: self, next: 0, table }
    }
}

impl Cells<'_> {
    /// Takes the next column.
    pub(crate) fn take<T: Column>(&mut self) -> Result<T> {
        let index = self.next;
        self.next += 1;
        let value = match self.row {
            Row::Sqlite(row) => row.try_get(index),
            Row::Postgres(row) => row.try_get(index),
            Row::MySql(row) => row.try_get(index),
        };
        value.map_err(|error| StoreError::corrupt(format!("column {index} of {}", self.table), error))
    }

    /// The error for a value of the column just taken.
    pub(crate) fn corrupt(&self, reason: impl std::fmt::Display) -> StoreError {
        StoreError::corrupt(format!("column {} of {}", self.next.saturating_sub(1), self.table), reason)
    }
}
