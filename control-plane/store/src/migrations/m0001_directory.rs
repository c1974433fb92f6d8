//! Who: people, teams, memberships, roles, keys.

use super::Migration;
use crate::schema::{Kind, TableDef};

const USERS: TableDef = TableDef {
    name: "users",
    columns: &[
        ("id", Kind::Key),
        ("email", Kind::Short),
        ("name", Kind::Text),
        ("disabled", Kind::Int),
        ("managed", Kind::Key),
        ("updated_at", Kind::Int),
    ],
    primary: &["id"],
    unique: &[&["email"]],
    indexes: &[],
    owned_by: &[],
};

const TEAMS: TableDef = TableDef {
    name: "teams",
    columns: &[
        ("id", Kind::Key),
        ("name", Kind::Text),
        ("allow_models", Kind::Text),
        ("deny_models", Kind::Text),
        ("managed", Kind::Key),
        ("updated_at", Kind::Int),
    ],
    primary: &["id"],
    unique: &[],
    indexes: &[],
    owned_by: &[],
};

const MEMBERSHIPS: TableDef = TableDef {
    name: "memberships",
    columns: &[
        ("user_id", Kind::Key),
        ("team_id", Kind::Key),
        ("position", Kind::Int),
        ("managed", Kind::Key),
        ("updated_at", Kind::Int),
    ],
    primary: &["user_id", "team_id"],
    unique: &[],
    indexes: &[&["team_id"]],
    owned_by: &[("user_id", "users")],
};

const ROLE_GRANTS: TableDef = TableDef {
    name: "role_grants",
    columns: &[
        ("id", Kind::Key),
        ("user_id", Kind::Key),
        ("role", Kind::Key),
        ("team_id", Kind::MaybeKey),
        ("expires_at", Kind::MaybeInt),
        ("managed", Kind::Key),
        ("updated_at", Kind::Int),
    ],
    primary: &["id"],
    unique: &[],
    indexes: &[&["user_id"], &["role"]],
    owned_by: &[],
};

const API_KEYS: TableDef = TableDef {
    name: "api_keys",
    columns: &[
        ("id", Kind::Key),
        ("name", Kind::Text),
        ("hash", Kind::Key),
        ("prefix", Kind::Short),
        ("last_four", Kind::Short),
        ("kind", Kind::Key),
        ("user_id", Kind::MaybeKey),
        ("team_id", Kind::MaybeKey),
        ("expires_at", Kind::MaybeInt),
        ("revoked_at", Kind::MaybeInt),
        ("created_at", Kind::Int),
        ("managed", Kind::Key),
        ("updated_at", Kind::Int),
    ],
    primary: &["id"],
    unique: &[&["hash"]],
    indexes: &[&["user_id"], &["team_id"]],
    owned_by: &[],
};

pub(super) const STEP: Migration = Migration {
    step: 1,
    name: "directory",
    tables: &[USERS, TEAMS, MEMBERSHIPS, ROLE_GRANTS, API_KEYS],
    columns: &[],
    rows: &[],
};
