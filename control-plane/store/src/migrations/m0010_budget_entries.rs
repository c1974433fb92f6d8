//! What lies beside budgets: their calendars, what was put on top of their limits, and what people were told of them.

use super::Migration;
use crate::schema::{AddedColumn, Kind, TableDef};

const WEEK_START: AddedColumn = AddedColumn { table: "budgets", name: "week_start", kind: Kind::MaybeKey };
const PRIOR_TIMEZONE: AddedColumn = AddedColumn { table: "budgets", name: "prior_timezone", kind: Kind::MaybeShort };
const PRIOR_WEEK_START: AddedColumn = AddedColumn { table: "budgets", name: "prior_week_start", kind: Kind::MaybeKey };
const PRIOR_UNTIL: AddedColumn = AddedColumn { table: "budgets", name: "prior_until", kind: Kind::MaybeInt };

const ADJUSTMENTS: TableDef = TableDef {
    name: "budget_adjustments",
    columns: &[
        ("id", Kind::Key),
        ("seq", Kind::Int),
        ("budget_id", Kind::Key),
        ("kind", Kind::Key),
        ("amount_nano", Kind::Int),
        ("holds_from", Kind::Int),
        ("holds_until", Kind::Int),
        ("corrects", Kind::MaybeKey),
        ("actor", Kind::Text),
        ("reason", Kind::Text),
        ("made_at", Kind::Int),
        ("hash", Kind::Key),
    ],
    primary: &["id"],
    unique: &[&["seq"], &["corrects"]],
    indexes: &[&["budget_id", "holds_until"]],
    owned_by: &[],
};

const EVENTS: TableDef = TableDef {
    name: "budget_events",
    columns: &[
        ("budget_id", Kind::Key),
        ("period_start", Kind::Int),
        ("kind", Kind::Key),
        ("threshold", Kind::Int),
        ("id", Kind::Key),
        ("at", Kind::Int),
        ("label", Kind::Text),
        ("scope", Kind::Text),
        ("period_end", Kind::Int),
        ("used_nano", Kind::Int),
        ("limit_nano", Kind::Int),
    ],
    primary: &["budget_id", "period_start", "kind", "threshold"],
    unique: &[&["id"]],
    indexes: &[],
    owned_by: &[],
};

pub(super) const STEP: Migration = Migration {
    step: 10,
    name: "budget entries",
    tables: &[ADJUSTMENTS, EVENTS],
    columns: &[WEEK_START, PRIOR_TIMEZONE, PRIOR_WEEK_START, PRIOR_UNTIL],
    rows: &[],
};
