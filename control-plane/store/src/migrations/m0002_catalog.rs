//! What is configured: provider accounts, routes, prices, budgets, settings.

use super::Migration;
use crate::schema::{Kind, TableDef};

const PROVIDERS: TableDef = TableDef {
    name: "providers",
    columns: &[
        ("id", Kind::Key),
        ("kind", Kind::Key),
        ("base_url", Kind::Text),
        ("sealed_credential", Kind::MaybeBytes),
        ("spec", Kind::Text),
        ("position", Kind::Int),
        ("managed", Kind::Key),
        ("updated_at", Kind::Int),
    ],
    primary: &["id"],
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

const MODELS: TableDef = TableDef {
    name: "models",
    columns: &[
        ("id", Kind::Key),
        ("pattern", Kind::Text),
        ("strategy", Kind::Key),
        ("params", Kind::Key),
        ("position", Kind::Int),
        ("backends", Kind::Text),
        ("managed", Kind::Key),
        ("updated_at", Kind::Int),
    ],
    primary: &["id"],
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

const PRICES: TableDef = TableDef {
    name: "prices",
    columns: &[
        ("id", Kind::Key),
        ("backend_id", Kind::Key),
        ("model", Kind::Text),
        ("input_pico", Kind::Int),
        ("output_pico", Kind::Int),
        ("cache_read_pico", Kind::MaybeInt),
        ("cache_write_pico", Kind::MaybeInt),
        ("cache_write_long_pico", Kind::MaybeInt),
        ("max_output_tokens", Kind::MaybeInt),
        ("managed", Kind::Key),
        ("updated_at", Kind::Int),
    ],
    primary: &["id"],
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

const BUDGETS: TableDef = TableDef {
    name: "budgets",
    columns: &[
        ("id", Kind::Key),
        ("scope", Kind::Short),
        ("label", Kind::Text),
        ("limit_nano", Kind::Int),
        ("period", Kind::Key),
        ("mode", Kind::Key),
        ("timezone", Kind::Short),
        ("alert_at", Kind::Text),
        ("managed", Kind::Key),
        ("updated_at", Kind::Int),
    ],
    primary: &["id"],
    unique: &[],
    indexes: &[&["scope"]],
    owned_by: &[],
};

const SETTINGS: TableDef = TableDef {
    name: "settings",
    columns: &[("id", Kind::Key), ("value", Kind::Text), ("managed", Kind::Key), ("updated_at", Kind::Int)],
    primary: &["id"],
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

pub(super) const STEP: Migration = Migration {
    step: 2,
    name: "catalog",
    tables: &[PROVIDERS, MODELS, PRICES, BUDGETS, SETTINGS],
    columns: &[],
    rows: &[],
};
