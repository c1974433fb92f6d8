//! What escrow keeps beside accounts and leases: what is written off, the fleet's epoch and who declared in it, recalls,
//! and what operators said.

use super::Migration;
use crate::schema::{AddedColumn, Kind, TableDef};

const WRITTEN_OFF: AddedColumn = AddedColumn { table: "leases", name: "written_off_nano", kind: Kind::MaybeInt };

const FLEET: TableDef = TableDef {
    name: "escrow_fleet",
    columns: &[
        ("id", Kind::Int),
        ("epoch", Kind::Int),
        ("is_learning", Kind::Int),
        ("since_us", Kind::Int),
        ("restored_ms", Kind::Int),
    ],
    primary: &["id"],
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

const DECLARED: TableDef = TableDef {
    name: "escrow_declared",
    columns: &[("node_id", Kind::Key), ("epoch", Kind::Int)],
    primary: &["node_id"],
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

const RECALLS: TableDef = TableDef {
    name: "escrow_recalls",
    columns: &[
        ("budget_id", Kind::Key),
        ("period_start", Kind::Int),
        ("recalls", Kind::Int),
        ("recalled_at", Kind::Int),
    ],
    primary: &["budget_id", "period_start"],
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

const EVENTS: TableDef = TableDef {
    name: "escrow_events",
    columns: &[
        ("id", Kind::Key),
        ("at", Kind::Int),
        ("kind", Kind::Short),
        ("incarnation", Kind::Key),
        ("spent_nano", Kind::Int),
        ("reason", Kind::Text),
    ],
    primary: &["id"],
    unique: &[],
    indexes: &[&["incarnation"]],
    owned_by: &[],
};

pub(super) const STEP: Migration = Migration {
    step: 9,
    name: "escrow epochs",
    tables: &[FLEET, DECLARED, RECALLS, EVENTS],
    columns: &[WRITTEN_OFF],
    rows: &[("escrow_fleet", &["id", "epoch", "is_learning", "since_us", "restored_ms"], &[1, 0, 0, 0, 0])],
};
