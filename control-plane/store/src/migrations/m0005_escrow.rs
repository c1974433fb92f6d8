//! Accounts of budgets in their periods, and what nodes hold of them.

use super::Migration;
use crate::schema::{Kind, TableDef};

const ACCOUNTS: TableDef = TableDef {
    name: "accounts",
    columns: &[
        ("budget_id", Kind::Key),
        ("period_start", Kind::Int),
        ("period_end", Kind::Int),
        ("limit_nano", Kind::MaybeInt),
        ("peak_limit_nano", Kind::Int),
        ("escrow_nano", Kind::Int),
        ("unleased_nano", Kind::Int),
        ("settled_nano", Kind::Int),
    ],
    primary: &["budget_id", "period_start"],
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

const LEASES: TableDef = TableDef {
    name: "leases",
    columns: &[
        ("incarnation", Kind::Key),
        ("budget_id", Kind::Key),
        ("period_start", Kind::Int),
        ("granted_nano", Kind::Int),
        ("spent_nano", Kind::Int),
        ("returned_nano", Kind::Int),
        ("settled_nano", Kind::Int),
        ("sealed", Kind::Int),
    ],
    primary: &["incarnation", "budget_id", "period_start"],
    unique: &[],
    indexes: &[&["budget_id", "period_start"]],
    owned_by: &[],
};

pub(super) const STEP: Migration =
    Migration { step: 5, name: "escrow", tables: &[ACCOUNTS, LEASES], columns: &[], rows: &[] };
