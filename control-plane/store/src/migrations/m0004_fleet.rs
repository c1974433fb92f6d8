//! The data planes and their process starts.

use super::Migration;
use crate::schema::{Kind, TableDef};

const NODES: TableDef = TableDef {
    name: "nodes",
    columns: &[
        ("id", Kind::Key),
        ("incarnation", Kind::Key),
        ("version", Kind::Short),
        ("zone", Kind::Short),
        ("applied_revision", Kind::Int),
        ("quarantined", Kind::Text),
        ("connected_at", Kind::Int),
        ("seen_at", Kind::Int),
    ],
    primary: &["id"],
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

const INCARNATIONS: TableDef = TableDef {
    name: "incarnations",
    columns: &[
        ("id", Kind::Key),
        ("node_id", Kind::Key),
        ("boot_id", Kind::Key),
        ("through_seq", Kind::Int),
        ("sealed", Kind::Int),
        ("seen_at", Kind::Int),
    ],
    primary: &["id"],
    unique: &[],
    indexes: &[&["node_id"]],
    owned_by: &[],
};

pub(super) const STEP: Migration =
    Migration { step: 4, name: "fleet", tables: &[NODES, INCARNATIONS], columns: &[], rows: &[] };
