//! Prices by other units than the token. Rows from before have none, and mean what they meant.

use super::Migration;
use crate::schema::{AddedColumn, Kind};

const fn price(name: &'static str) -> AddedColumn {
    AddedColumn { table: "prices", name, kind: Kind::MaybeInt }
}

const COLUMNS: &[AddedColumn] =
    &[price("per_image_pico"), price("per_second_pico"), price("per_character_pico"), price("per_search_pico")];

pub(super) const STEP: Migration =
    Migration { step: 12, name: "price units", tables: &[], columns: COLUMNS, rows: &[] };
