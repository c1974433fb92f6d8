//! Records as short rows: what is filtered or summed, numbers for what rows repeat, and the rest packed.
//!
//! The table of step 6 stays for the release before this one, empty: its records are moved.

use super::Migration;
use crate::schema::{Kind, TableDef};

const RECORDS: TableDef = TableDef {
    name: "ledger_records",
    columns: &[
        ("incarnation_no", Kind::Int),
        ("seq", Kind::Int),
        ("request_id", Kind::ShortBytes),
        ("key_id", Kind::Int),
        ("started_at", Kind::Int),
        ("decision", Kind::Int),
        ("basis", Kind::Int),
        ("input_tokens", Kind::Int),
        ("output_tokens", Kind::Int),
        ("cache_read_tokens", Kind::Int),
        ("cache_write_tokens", Kind::Int),
        ("cost_nano", Kind::Int),
        ("charged_id", Kind::Int),
        ("body", Kind::Bytes),
    ],
    primary: &["incarnation_no", "seq"],
    unique: &[],
    indexes: &[&["request_id"], &["started_at"]],
    owned_by: &[],
};

const SOURCES: TableDef = TableDef {
    name: "record_sources",
    columns: &[("id", Kind::Int), ("incarnation", Kind::Key)],
    primary: &["id"],
    unique: &[&["incarnation"]],
    indexes: &[],
    owned_by: &[],
};

const CHARGES: TableDef = TableDef {
    name: "charge_lists",
    columns: &[("id", Kind::Int), ("charges", Kind::Text)],
    primary: &["id"],
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

pub(super) const STEP: Migration =
    Migration { step: 14, name: "packed records", tables: &[RECORDS, SOURCES, CHARGES], columns: &[], rows: &[] };
