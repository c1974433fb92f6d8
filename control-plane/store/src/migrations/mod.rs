//! The steps of the schema, in order.
//!
//! Rule: a step that was released is never edited; the next change is the next file. Expand, backfill, contract: the
//! previous release runs against the new schema.

use crate::schema::{AddedColumn, TableDef};

mod m0001_directory;
mod m0002_catalog;
mod m0003_config_log;
mod m0004_fleet;
mod m0005_escrow;
mod m0006_usage;
mod m0007_setup;
mod m0008_provider_api_version;
mod m0009_escrow_epochs;
mod m0010_budget_entries;
mod m0011_ledger_views;
mod m0012_price_units;
mod m0013_closed_months;
mod m0014_packed_records;

/// A table, its columns, and one row of integers that is there from the start; the first column is the key.
pub(crate) type FirstRow = (&'static str, &'static [&'static str], &'static [i64]);

/// One step.
#[derive(Debug)]
pub(crate) struct Migration {
    pub(crate) step: i64,
    pub(crate) name: &'static str,
    pub(crate) tables: &'static [TableDef],
    /// Columns that tables of earlier steps get; all of them may be null, so that the previous release can still insert.
    pub(crate) columns: &'static [AddedColumn],
    pub(crate) rows: &'static [FirstRow],
}

/// Every step.
pub(crate) const MIGRATIONS: &[Migration] = &[
    m0001_directory::STEP,
    m0002_catalog::STEP,
    m0003_config_log::STEP,
    m0004_fleet::STEP,
    m0005_escrow::STEP,
    m0006_usage::STEP,
    m0007_setup::STEP,
    m0008_provider_api_version::STEP,
    m0009_escrow_epochs::STEP,
    m0010_budget_entries::STEP,
    m0011_ledger_views::STEP,
    m0012_price_units::STEP,
    m0013_closed_months::STEP,
    m0014_packed_records::STEP,
];

/// The step after which the records of before it are moved into its table. It may run twice.
pub(crate) const MOVES_RECORDS: i64 = m0014_packed_records::STEP.step;
