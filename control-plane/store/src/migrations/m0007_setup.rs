//! One-time links: the first administrator, and sign-in after a break-glass command.

use super::Migration;
use crate::schema::{Kind, TableDef};

const SETUP_TOKENS: TableDef = TableDef {
    name: "setup_tokens",
    columns: &[
        ("hash", Kind::Key),
        ("purpose", Kind::Key),
        ("user_id", Kind::MaybeKey),
        ("created_at", Kind::Int),
        ("expires_at", Kind::Int),
        ("used_at", Kind::MaybeInt),
    ],
    primary: &["hash"],
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

pub(super) const STEP: Migration =
    Migration { step: 7, name: "setup", tables: &[SETUP_TOKENS], columns: &[], rows: &[] };
