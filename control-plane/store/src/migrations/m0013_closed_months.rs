//! Months that are closed, the lock that bookings share with them, and records that came later.

use super::Migration;
use crate::schema::{Kind, TableDef};

const FRONTIER: TableDef = TableDef {
    name: "ledger_frontier",
    columns: &[("id", Kind::Int), ("closed_until", Kind::Int)],
    primary: &["id"],
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

const MONTHS: TableDef = TableDef {
    name: "closed_months",
    columns: &[
        ("month", Kind::Int),
        ("closed_at", Kind::Int),
        ("actor", Kind::Short),
        ("reason", Kind::Text),
        ("requests", Kind::Int),
        ("cost_nano", Kind::Int),
    ],
    primary: &["month"],
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

const LATE: TableDef = TableDef {
    name: "late_records",
    columns: &[
        ("incarnation_no", Kind::Int),
        ("seq", Kind::Int),
        ("started_at", Kind::Int),
        ("booked_at", Kind::Int),
        ("cost_nano", Kind::Int),
    ],
    primary: &["incarnation_no", "seq"],
    unique: &[],
    indexes: &[&["booked_at"]],
    owned_by: &[],
};

pub(super) const STEP: Migration = Migration {
    step: 13,
    name: "closed months",
    tables: &[FRONTIER, MONTHS, LATE],
    columns: &[],
    rows: &[("ledger_frontier", &["id", "closed_until"], &[1, 0])],
};
