//! The version of a provider's API, for kinds that have one. Rows from before have none, and mean what they meant.

use super::Migration;
use crate::schema::{AddedColumn, Kind};

const API_VERSION: AddedColumn = AddedColumn { table: "providers", name: "api_version", kind: Kind::MaybeShort };

pub(super) const STEP: Migration =
    Migration { step: 8, name: "provider api version", tables: &[], columns: &[API_VERSION], rows: &[] };
