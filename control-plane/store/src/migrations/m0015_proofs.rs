//! What proofs need beside the rows that they prove: which mode each budget had from which revision on, where the chain of
//! budget entries ends, and what of a record other providers charged than the one that it is counted for.

use super::Migration;
use crate::schema::{Kind, TableDef};

const MODES: TableDef = TableDef {
    name: "budget_modes",
    columns: &[("budget_id", Kind::Key), ("revision", Kind::Int), ("mode", Kind::Key)],
    primary: &["budget_id", "revision"],
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

const HEADS: TableDef = TableDef {
    name: "chain_heads",
    columns: &[("name", Kind::Key), ("entries", Kind::Int), ("hash", Kind::Key)],
    primary: &["name"],
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

const SHARES: TableDef = TableDef {
    name: "attempt_shares",
    columns: &[
        ("incarnation_no", Kind::Int),
        ("seq", Kind::Int),
        ("key_id", Kind::Int),
        ("booked_at", Kind::Int),
        ("input_tokens", Kind::Int),
        ("output_tokens", Kind::Int),
        ("cache_read_tokens", Kind::Int),
        ("cache_write_tokens", Kind::Int),
        ("cost_nano", Kind::Int),
        ("uncertain_nano", Kind::Int),
    ],
    primary: &["incarnation_no", "seq", "key_id"],
    unique: &[],
    indexes: &[&["booked_at"]],
    owned_by: &[],
};

pub(super) const STEP: Migration =
    Migration { step: 15, name: "proofs", tables: &[MODES, HEADS, SHARES], columns: &[], rows: &[] };
