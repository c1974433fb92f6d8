//! A small language for tables that the three databases understand alike.
//!
//! Rule: a column is a key (64 characters), a short text, a long text, an integer, short bytes or bytes; nothing else. Comparison is
//! by code point everywhere. It knows no table; those are in `migrations`.

use crate::dialect::Dialect;
use sea_query::{
    Alias, ColumnDef, ForeignKey, ForeignKeyAction, Index, IndexCreateStatement, MysqlQueryBuilder,
    PostgresQueryBuilder, SqliteQueryBuilder, Table, TableCreateStatement,
};

/// The longest key, in characters.
pub(crate) const KEY_CHARS: u32 = 64;
/// The longest short text, in characters.
pub(crate) const SHORT_CHARS: u32 = 255;
/// The longest short bytes: a short text of the widest characters, and a byte before it.
const SHORT_BYTES: u32 = SHORT_CHARS * 4 + 1;

/// What a column holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// An id.
    Key,
    /// An id, or none.
    MaybeKey,
    /// A text that may be indexed.
    Short,
    /// A text that may be indexed, or none.
    MaybeShort,
    /// A text of any length.
    Text,
    /// A text of any length, or none.
    MaybeText,
    /// A 64-bit integer: a number, a time in µs, money in 1e-9 USD, a truth value.
    Int,
    /// The same, or none.
    MaybeInt,
    /// Bytes that may be indexed.
    ShortBytes,
    /// Bytes.
    Bytes,
    /// Bytes, or none.
    MaybeBytes,
}

/// A table as one migration creates it.
#[derive(Debug)]
pub(crate) struct TableDef {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [(&'static str, Kind)],
    pub(crate) primary: &'static [&'static str],
    /// Unique over these columns.
    pub(crate) unique: &'static [&'static [&'static str]],
    /// Indexed by these columns.
    pub(crate) indexes: &'static [&'static [&'static str]],
    /// Column that refers to a table's `id` and dies with it.
    pub(crate) owned_by: &'static [(&'static str, &'static str)],
}

impl TableDef {
    /// The statements that create it; each may run twice.
    pub(crate) fn statements(&self, dialect: Dialect) -> Vec<String> {
        let mut table = self.create(dialect);
        let indexes = self.index_statements();
        if dialect == Dialect::MySql {
            // MySQL knows no CREATE INDEX IF NOT EXISTS: indexes come with the table
            for mut index in indexes {
                table.index(&mut index);
            }
            return vec![table.to_string(MysqlQueryBuilder)];
        }
        let mut statements = vec![match dialect {
            Dialect::Sqlite => table.to_string(SqliteQueryBuilder),
            Dialect::Postgres | Dialect::MySql => table.to_string(PostgresQueryBuilder),
        }];
        for mut index in indexes {
            index.table(Alias::new(self.name)).if_not_exists();
            statements.push(match dialect {
                Dialect::Sqlite => index.to_string(SqliteQueryBuilder),
                Dialect::Postgres | Dialect::MySql => index.to_string(PostgresQueryBuilder),
            });
        }
        statements
    }

    fn create(&self, dialect: Dialect) -> TableCreateStatement {
        let mut table = Table::create();
        table.table(Alias::new(self.name)).if_not_exists();
        for (name, kind) in self.columns {
            table.col(column(name, *kind, dialect));
        }
        let mut primary = Index::create();
        for column in self.primary {
            primary.col(Alias::new(*column));
        }
        table.primary_key(&mut primary);
        for (column, owner) in self.owned_by {
            table.foreign_key(
                ForeignKey::create()
                    .name(format!("fk_{}_{column}", self.name))
                    .from(Alias::new(self.name), Alias::new(*column))
                    .to(Alias::new(*owner), Alias::new("id"))
                    .on_delete(ForeignKeyAction::Cascade),
            );
        }
        if dialect == Dialect::MySql {
            table.engine("InnoDB").character_set("utf8mb4").collate("utf8mb4_bin");
        }
        table
    }

    fn index_statements(&self) -> Vec<IndexCreateStatement> {
        let build = |columns: &[&str], prefix: &str| {
            let mut index = Index::create();
            index.name(format!("{prefix}_{}_{}", self.name, columns.join("_")));
            for column in columns {
                index.col(Alias::new(*column));
            }
            index
        };
        let unique = self.unique.iter().map(|columns| build(columns, "uq").unique().to_owned());
        let plain = self.indexes.iter().map(|columns| build(columns, "ix"));
        unique.chain(plain).collect()
    }
}

/// A column that a later migration adds to a table.
#[derive(Debug)]
pub(crate) struct AddedColumn {
    /// The table.
    pub(crate) table: &'static str,
    /// The column's name.
    pub(crate) name: &'static str,
    /// What it holds; one that may be null.
    pub(crate) kind: Kind,
}

impl AddedColumn {
    /// The statement that adds it; it fails where the column is there already.
    pub(crate) fn statement(&self, dialect: Dialect) -> String {
        let mut table = Table::alter();
        table.table(Alias::new(self.table)).add_column(column(self.name, self.kind, dialect));
        match dialect {
            Dialect::Sqlite => table.to_string(SqliteQueryBuilder),
            Dialect::Postgres => table.to_string(PostgresQueryBuilder),
            Dialect::MySql => table.to_string(MysqlQueryBuilder),
        }
    }
}

fn column(name: &str, kind: Kind, dialect: Dialect) -> ColumnDef {
    let mut column = ColumnDef::new(Alias::new(name));
    match kind {
        Kind::Key => column.string_len(KEY_CHARS).not_null(),
        Kind::MaybeKey => column.string_len(KEY_CHARS).null(),
        Kind::Short => column.string_len(SHORT_CHARS).not_null(),
        Kind::MaybeShort => column.string_len(SHORT_CHARS).null(),
        // MySQL's TEXT ends at 64 KiB
        Kind::Text if dialect == Dialect::MySql => column.custom(Alias::new("MEDIUMTEXT")).not_null(),
        Kind::Text => column.text().not_null(),
        Kind::MaybeText if dialect == Dialect::MySql => column.custom(Alias::new("MEDIUMTEXT")).null(),
        Kind::MaybeText => column.text().null(),
        Kind::Int => column.big_integer().not_null(),
        Kind::MaybeInt => column.big_integer().null(),
        Kind::ShortBytes => column.var_binary(SHORT_BYTES).not_null(),
        // MySQL's BLOB ends at 64 KiB
        Kind::Bytes if dialect == Dialect::MySql => column.custom(Alias::new("MEDIUMBLOB")).not_null(),
        Kind::Bytes => column.blob().not_null(),
        Kind::MaybeBytes => column.blob().null(),
    };
    column
}
