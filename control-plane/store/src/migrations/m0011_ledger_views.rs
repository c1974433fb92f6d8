//! What reports are made of: sums by hour, day and month under interned keys, with API keys and cost centres; the cost
//! centres of teams and users by revision; corrections.
//!
//! The sums of step 6 stay for the release before this one, which writes them; this one fills its own from the records.

use super::Migration;
use crate::schema::{AddedColumn, Kind, TableDef};

const KEYS: TableDef = TableDef {
    name: "rollup_keys",
    columns: &[
        ("id", Kind::Int),
        ("team_id", Kind::Key),
        ("user_id", Kind::Key),
        ("api_key_id", Kind::Key),
        ("model", Kind::Short),
        ("provider", Kind::Key),
        ("cost_center", Kind::Key),
    ],
    primary: &["id"],
    unique: &[],
    indexes: &[&["team_id"], &["user_id"], &["api_key_id"]],
    owned_by: &[],
};

const SUM_COLUMNS: &[(&str, Kind)] = &[
    ("bucket", Kind::Int),
    ("key_id", Kind::Int),
    ("requests", Kind::Int),
    ("denied", Kind::Int),
    ("failed", Kind::Int),
    ("input_tokens", Kind::Int),
    ("output_tokens", Kind::Int),
    ("cache_read_tokens", Kind::Int),
    ("cache_write_tokens", Kind::Int),
    ("cost_nano", Kind::Int),
    ("uncertain_nano", Kind::Int),
    ("corrected_nano", Kind::Int),
];

const fn sums(name: &'static str) -> TableDef {
    TableDef {
        name,
        columns: SUM_COLUMNS,
        primary: &["bucket", "key_id"],
        unique: &[],
        indexes: &[&["key_id"]],
        owned_by: &[],
    }
}

const HOUR: TableDef = sums("rollups_hour");
const DAY: TableDef = sums("rollups_day");
const MONTH: TableDef = sums("rollups_month");
const TREND: TableDef = sums("rollups_trend");

const COST_CENTERS: TableDef = TableDef {
    name: "cost_centers",
    columns: &[("subject", Kind::Key), ("subject_id", Kind::Key), ("revision", Kind::Int), ("cost_center", Kind::Key)],
    primary: &["subject", "subject_id", "revision"],
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

const CORRECTIONS: TableDef = TableDef {
    name: "ledger_corrections",
    columns: &[
        ("id", Kind::Key),
        ("at", Kind::Int),
        ("incarnation", Kind::Key),
        ("seq", Kind::Int),
        ("request_id", Kind::Short),
        ("team_id", Kind::Key),
        ("user_id", Kind::Key),
        ("api_key_id", Kind::Key),
        ("model", Kind::Short),
        ("provider", Kind::Key),
        ("cost_center", Kind::Key),
        ("cost_nano", Kind::Int),
        ("charged", Kind::Text),
        ("actor", Kind::Short),
        ("reason", Kind::Text),
    ],
    primary: &["id"],
    unique: &[],
    indexes: &[&["incarnation", "seq"], &["at"]],
    owned_by: &[],
};

const fn added(name: &'static str, kind: Kind) -> AddedColumn {
    AddedColumn { table: "usage_records", name, kind }
}

pub(super) const STEP: Migration = Migration {
    step: 11,
    name: "ledger views",
    tables: &[KEYS, HOUR, DAY, MONTH, TREND, COST_CENTERS, CORRECTIONS],
    columns: &[
        added("cost_center", Kind::MaybeKey),
        added("price_version", Kind::MaybeShort),
        added("attempt_units", Kind::MaybeText),
        added("trace", Kind::MaybeText),
    ],
    rows: &[],
};
