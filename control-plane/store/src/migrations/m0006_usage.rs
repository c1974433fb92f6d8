//! The facts: one row a request, their sums by hour and day, and what could not be read.

use super::Migration;
use crate::schema::{Kind, TableDef};

const RECORDS: TableDef = TableDef {
    name: "usage_records",
    columns: &[
        ("incarnation", Kind::Key),
        ("seq", Kind::Int),
        ("request_id", Kind::Short),
        ("config_revision", Kind::Int),
        ("api_key_id", Kind::Key),
        ("user_id", Kind::Key),
        ("team_id", Kind::Key),
        ("decision", Kind::Key),
        ("decision_stage", Kind::Text),
        ("decision_code", Kind::Text),
        ("dialect", Kind::Text),
        ("requested_model", Kind::MaybeShort),
        ("served_model", Kind::MaybeShort),
        ("backend_id", Kind::MaybeKey),
        ("model", Kind::Short),
        ("provider", Kind::Key),
        ("strategy", Kind::Text),
        ("is_streaming", Kind::Int),
        ("http_status", Kind::Int),
        ("input_tokens", Kind::Int),
        ("output_tokens", Kind::Int),
        ("cache_read_tokens", Kind::Int),
        ("cache_write_tokens", Kind::Int),
        ("other_units", Kind::Text),
        ("cost_nano", Kind::Int),
        ("basis", Kind::Key),
        ("started_at", Kind::Int),
        ("first_byte_us", Kind::Int),
        ("total_us", Kind::Int),
        ("charged", Kind::Text),
        ("attempts", Kind::Text),
        ("stages", Kind::Text),
    ],
    primary: &["incarnation", "seq"],
    unique: &[],
    indexes: &[&["request_id"], &["started_at"]],
    owned_by: &[],
};

const ROLLUP_COLUMNS: &[(&str, Kind)] = &[
    ("bucket", Kind::Int),
    ("team_id", Kind::Key),
    ("user_id", Kind::Key),
    ("model", Kind::Short),
    ("provider", Kind::Key),
    ("requests", Kind::Int),
    ("denied", Kind::Int),
    ("failed", Kind::Int),
    ("input_tokens", Kind::Int),
    ("output_tokens", Kind::Int),
    ("cache_read_tokens", Kind::Int),
    ("cache_write_tokens", Kind::Int),
    ("cost_nano", Kind::Int),
];

const ROLLUP_KEY: &[&str] = &["bucket", "team_id", "user_id", "model", "provider"];

const HOURLY: TableDef = TableDef {
    name: "rollups_hourly",
    columns: ROLLUP_COLUMNS,
    primary: ROLLUP_KEY,
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

const DAILY: TableDef = TableDef {
    name: "rollups_daily",
    columns: ROLLUP_COLUMNS,
    primary: ROLLUP_KEY,
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

const DEAD_LETTERS: TableDef = TableDef {
    name: "dead_letters",
    columns: &[
        ("incarnation", Kind::Key),
        ("seq_text", Kind::Key),
        ("seq", Kind::MaybeInt),
        ("reason", Kind::Text),
        ("payload", Kind::Text),
        ("received_at", Kind::Int),
    ],
    primary: &["incarnation", "seq_text"],
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

pub(super) const STEP: Migration =
    Migration { step: 6, name: "usage", tables: &[RECORDS, HOURLY, DAILY, DEAD_LETTERS], columns: &[], rows: &[] };
