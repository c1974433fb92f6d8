//! The few fragments in which the three databases differ.
//!
//! Rule: whatever is said here is said nowhere else; every statement is one sea-query expression for all three.

use sea_query::{Expr, ExprTrait, Func, OnConflict};

/// Which database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// SQLite, embedded.
    Sqlite,
    /// PostgreSQL.
    Postgres,
    /// MySQL or MariaDB.
    MySql,
}

impl Dialect {
    /// The product's name for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::MySql => "MySQL",
        }
    }

    /// The value that an upsert tried to insert.
    pub(crate) fn proposed(self, column: &'static str) -> Expr {
        match self {
            Self::Sqlite | Self::Postgres => Expr::col(("excluded", column)),
            Self::MySql => Expr::cust(format!("VALUES(`{column}`)")),
        }
    }

    /// A sum as BIGINT: the servers widen sums to NUMERIC. Zero for no rows.
    pub(crate) fn sum(self, expr: impl Into<Expr>) -> Expr {
        let sum = Func::coalesce([expr.into().sum(), Expr::val(0_i64)]);
        let integer = match self {
            Self::Sqlite => "INTEGER",
            Self::Postgres => "BIGINT",
            Self::MySql => "SIGNED",
        };
        Expr::expr(sum).cast_as(integer)
    }

    /// A column in the order of its code points, whatever the server sorts by.
    pub(crate) fn sorted(self, table: &'static str, column: &'static str) -> Expr {
        match self {
            Self::Sqlite | Self::MySql => Expr::col((table, column)),
            Self::Postgres => Expr::cust(format!("\"{table}\".\"{column}\" COLLATE \"C\"")),
        }
    }

    /// Insert-if-absent over the key: an existing row stays as it is, other errors still surface.
    pub(crate) fn keep_existing(keys: &[&'static str]) -> OnConflict {
        OnConflict::columns(keys.iter().copied()).do_nothing_on(keys.iter().copied()).to_owned()
    }
}
