//! Rows of configuration: one struct a table, and the five operations that all of them share.
//!
//! Rule: a struct's fields are its table's columns, in order; a key is at most 64 characters on every database, so that
//! none of them cuts or refuses what another keeps. No business rule is checked here.

use crate::db::Tx;
use crate::error::{Result, StoreError};
use crate::row::{Cells, Row};
use crate::schema::{KEY_CHARS, SHORT_CHARS};
use helix_shared::money::{NanoUsd, PicoUsd};
use helix_shared::time::UnixMicros;
use sea_query::{Expr, ExprTrait as _, OnConflict, Order, Query, SelectStatement, Value};

/// Who keeps a row: the configuration file or the database itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Managed {
    /// Mirrors `gateway.yaml` or the environment; read-only elsewhere.
    File,
    /// Made through the API, the pages or a command.
    Db,
}

impl Managed {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Db => "db",
        }
    }
}

/// A table of configuration.
pub trait Table: Sized + Send + Sync + 'static {
    /// The table's name.
    const NAME: &'static str;
    /// Its columns, in the order of the fields. The first one is the key.
    const COLUMNS: &'static [&'static str];
    /// The values of a row, in the order of the columns.
    #[doc(hidden)]
    fn values(&self) -> Vec<(&'static str, CellValue)>;
    /// Reads a row.
    #[doc(hidden)]
    fn read(row: &mut RowReader<'_>) -> Result<Self>;
}

/// One value on its way to the database.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct CellValue(pub(crate) Value);

/// A row on its way from the database.
#[doc(hidden)]
#[derive(Debug)]
pub struct RowReader<'r>(pub(crate) Cells<'r>);

/// A type that one column holds.
pub(crate) trait Cell: Sized {
    fn to_cell(&self) -> Value;
    fn from_cell(cells: &mut Cells<'_>) -> Result<Self>;
}

macro_rules! integer_cells {
    ($($type:ty: $wrap:expr, $get:expr;)+) => {$(
        impl Cell for $type {
            fn to_cell(&self) -> Value {
                let get: fn(&$type) -> i64 = $get;
                Value::BigInt(Some(get(self)))
            }
            fn from_cell(cells: &mut Cells<'_>) -> Result<Self> {
                let wrap: fn(i64) -> $type = $wrap;
                Ok(wrap(cells.take::<i64>()?))
            }
        }
        impl Cell for Option<$type> {
            fn to_cell(&self) -> Value {
                let get: fn(&$type) -> i64 = $get;
                Value::BigInt(self.as_ref().map(get))
            }
            fn from_cell(cells: &mut Cells<'_>) -> Result<Self> {
                let wrap: fn(i64) -> $type = $wrap;
                Ok(cells.take::<Option<i64>>()?.map(wrap))
            }
        }
    )+};
}

integer_cells! {
    i64: |value| value, |value| *value;
    bool: |value| value != 0, |value| i64::from(*value);
    UnixMicros: UnixMicros::new, |value| value.get();
    NanoUsd: NanoUsd::new, |value| value.get();
    PicoUsd: PicoUsd::new, |value| value.get();
}

impl Cell for u32 {
    fn to_cell(&self) -> Value {
        Value::BigInt(Some(i64::from(*self)))
    }
    fn from_cell(cells: &mut Cells<'_>) -> Result<Self> {
        let value: i64 = cells.take()?;
        Self::try_from(value).map_err(|error| cells.corrupt(error))
    }
}

impl Cell for String {
    fn to_cell(&self) -> Value {
        Value::String(Some(self.clone()))
    }
    fn from_cell(cells: &mut Cells<'_>) -> Result<Self> {
        cells.take()
    }
}

impl Cell for Option<String> {
    fn to_cell(&self) -> Value {
        Value::String(self.clone())
    }
    fn from_cell(cells: &mut Cells<'_>) -> Result<Self> {
        cells.take()
    }
}

impl Cell for Option<Vec<u8>> {
    fn to_cell(&self) -> Value {
        Value::Bytes(self.clone())
    }
    fn from_cell(cells: &mut Cells<'_>) -> Result<Self> {
        cells.take()
    }
}

impl Cell for Managed {
    fn to_cell(&self) -> Value {
        Value::String(Some(self.as_str().to_owned()))
    }
    fn from_cell(cells: &mut Cells<'_>) -> Result<Self> {
        match cells.take::<String>()?.as_str() {
            "file" => Ok(Self::File),
            "db" => Ok(Self::Db),
            _ => Err(cells.corrupt("it is neither `file` nor `db`")),
        }
    }
}

/// Types kept as JSON text.
macro_rules! json_cells {
    ($($type:ty),+ $(,)?) => {$(
        impl $crate::table::Cell for $type {
            fn to_cell(&self) -> sea_query::Value {
                // maps with text keys and plain structs always encode
                sea_query::Value::String(Some(serde_json::to_string(self).unwrap_or_default()))
            }
            fn from_cell(cells: &mut $crate::row::Cells<'_>) -> $crate::error::Result<Self> {
                let text: String = cells.take()?;
                serde_json::from_str(&text).map_err(|error| cells.corrupt(error))
            }
        }
    )+};
}
pub(crate) use json_cells;

json_cells!(Vec<String>);

/// Declares a row struct and its table; fields are columns.
macro_rules! table {
    (
        $table:literal;
        $(#[$doc:meta])*
        pub struct $name:ident { $($(#[$field_doc:meta])* pub $field:ident: $type:ty,)+ }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)+ }

        impl $crate::table::Table for $name {
            const NAME: &'static str = $table;
            const COLUMNS: &'static [&'static str] = &[$(stringify!($field)),+];

            fn values(&self) -> Vec<(&'static str, $crate::table::CellValue)> {
                vec![$((
                    stringify!($field),
                    $crate::table::CellValue($crate::table::Cell::to_cell(&self.$field)),
                )),+]
            }

            fn read(row: &mut $crate::table::RowReader<'_>) -> $crate::error::Result<Self> {
                Ok(Self { $($field: $crate::table::Cell::from_cell(&mut row.0)?,)+ })
            }
        }
    };
}
pub(crate) use table;

/// Refuses what one of the databases would cut, refuse or not give back.
fn checked<T: Table>(row: &T) -> Result<Vec<Expr>> {
    let invalid = |column, reason: String| StoreError::Invalid { table: T::NAME, column, reason };
    row.values()
        .into_iter()
        .map(|(column, CellValue(value))| {
            if let Value::String(Some(text)) = &value {
                if text.contains('\0') {
                    return Err(invalid(column, "it contains a NUL character".to_owned()));
                }
                let limit = match column {
                    "email" | "prefix" | "last_four" | "scope" | "timezone" => SHORT_CHARS,
                    "id" | "hash" | "kind" | "role" | "strategy" | "period" | "mode" | "purpose" => KEY_CHARS,
                    _ if column.ends_with("_id") => KEY_CHARS,
                    _ => u32::MAX,
                };
                if text.chars().count() > usize::try_from(limit).unwrap_or(usize::MAX) {
                    return Err(invalid(column, format!("it is longer than {limit} characters")));
                }
                if text.is_empty() && column == "id" {
                    return Err(invalid(column, "it is empty".to_owned()));
                }
            }
            Ok(Expr::value(value))
        })
        .collect()
}

/// The select list of a table.
pub(crate) fn select<T: Table>() -> SelectStatement {
    Query::select().columns(T::COLUMNS.iter().copied()).from(T::NAME).to_owned()
}

/// Reads one row.
pub(crate) fn read<T: Table>(row: &Row) -> Result<T> {
    T::read(&mut RowReader(row.cells(T::NAME)))
}

/// The column that identifies a row of a table.
fn key<T: Table>() -> &'static str {
    T::COLUMNS.first().copied().unwrap_or("id")
}

impl Tx {
    /// Inserts a row.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when its key, or something else unique of it, exists; [`StoreError::Invalid`].
    pub async fn insert<T: Table>(&mut self, row: &T) -> Result<()> {
        let insert = Query::insert()
            .into_table(T::NAME)
            .columns(T::COLUMNS.iter().copied())
            .values_panic(checked(row)?)
            .to_owned();
        self.execute(T::NAME, &insert).await.map(|_| ())
    }

    /// Inserts a row, or replaces the one of the same id.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when something else unique of it belongs to another row; [`StoreError::Invalid`].
    pub async fn put<T: Table>(&mut self, row: &T) -> Result<()> {
        let values = checked(row)?;
        // an upsert would take any unique column of MySQL for the key, and overwrite another row
        let assignments = T::COLUMNS.iter().copied().zip(values.iter().cloned());
        let id = values.first().cloned().unwrap_or_else(Expr::null);
        let update =
            Query::update().table(T::NAME).values(assignments).and_where(Expr::col(key::<T>()).eq(id)).to_owned();
        if self.execute(T::NAME, &update).await? > 0 {
            return Ok(());
        }
        self.insert(row).await
    }

    /// Gets a row by its id; `None` when there is none.
    ///
    /// # Errors
    /// What the database says.
    pub async fn get<T: Table>(&mut self, id: &str) -> Result<Option<T>> {
        let query = select::<T>().and_where(Expr::col(key::<T>()).eq(id)).to_owned();
        self.one(query).await
    }

    /// Lists every row, ordered by id.
    ///
    /// # Errors
    /// What the database says.
    pub async fn list<T: Table>(&mut self) -> Result<Vec<T>> {
        self.many(select::<T>()).await
    }

    /// Lists the rows that the file or the database keeps, ordered by id.
    ///
    /// # Errors
    /// What the database says.
    pub async fn list_managed<T: Table>(&mut self, managed: Managed) -> Result<Vec<T>> {
        self.many(select::<T>().and_where(Expr::col("managed").eq(managed.as_str())).to_owned()).await
    }

    /// Deletes a row; `false` when there was none.
    ///
    /// # Errors
    /// What the database says.
    pub async fn delete<T: Table>(&mut self, id: &str) -> Result<bool> {
        let delete = Query::delete().from_table(T::NAME).and_where(Expr::col(key::<T>()).eq(id)).to_owned();
        Ok(self.execute(T::NAME, &delete).await? > 0)
    }

    /// The first row of a query over a table's select list.
    pub(crate) async fn one<T: Table>(&mut self, query: SelectStatement) -> Result<Option<T>> {
        let row = self.fetch_optional(T::NAME, &query).await?;
        row.as_ref().map(read::<T>).transpose()
    }

    /// Every row of a query over a table's select list, ordered by key.
    pub(crate) async fn many<T: Table>(&mut self, mut query: SelectStatement) -> Result<Vec<T>> {
        query.order_by(key::<T>(), Order::Asc);
        let rows = self.fetch_all(T::NAME, &query).await?;
        rows.iter().map(read::<T>).collect()
    }

    /// Inserts rows that may exist already; those stay as they are.
    pub(crate) async fn insert_if_absent(
        &mut self,
        table: &'static str,
        columns: &[&'static str],
        keep: OnConflict,
        values: Vec<Expr>,
    ) -> Result<()> {
        let insert = Query::insert()
            .into_table(table)
            .columns(columns.iter().copied())
            .values_panic(values)
            .on_conflict(keep)
            .to_owned();
        self.execute(table, &insert).await.map(|_| ())
    }
}
