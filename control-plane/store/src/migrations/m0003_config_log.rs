//! Revisions of the configuration.

use super::Migration;
use crate::schema::{Kind, TableDef};

const HEAD: TableDef = TableDef {
    name: "config_head",
    columns: &[("id", Kind::Int), ("revision", Kind::Int), ("floor_revision", Kind::Int)],
    primary: &["id"],
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

const LOG: TableDef = TableDef {
    name: "config_log",
    columns: &[
        ("revision", Kind::Int),
        ("kind", Kind::Key),
        ("resource_id", Kind::Key),
        ("op", Kind::Key),
        ("changed_at", Kind::Int),
    ],
    primary: &["revision", "kind", "resource_id"],
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

pub(super) const STEP: Migration = Migration {
    step: 3,
    name: "config_log",
    tables: &[HEAD, LOG],
    columns: &[],
    rows: &[("config_head", &["id", "revision", "floor_revision"], &[1, 0, 0])],
};
