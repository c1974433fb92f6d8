//! Settings of the installation by name: its identity, sealed keys, limits.
//!
//! Rule: a value is text whose meaning its reader knows; a secret one is sealed before it comes here.

use crate::db::Tx;
use crate::dialect::Dialect;
use crate::error::Result;
use crate::table::{Cell as _, Managed, Table as _, table};
use helix_shared::time::UnixMicros;
use sea_query::Expr;

table! {
    "settings";
    /// A setting.
    pub struct Setting {
        /// Its name.
        pub id: String,
        /// Its value.
        pub value: String,
        /// Who keeps the row.
        pub managed: Managed,
        /// Last change.
        pub updated_at: UnixMicros,
    }
}

impl Tx {
    /// Keeps a setting unless it exists; returns the one that holds from now on. Many may try at once: one wins, all see it.
    ///
    /// # Errors
    /// What the database says.
    pub async fn setting_or_insert(&mut self, setting: &Setting) -> Result<Setting> {
        let values =
            [setting.id.to_cell(), setting.value.to_cell(), setting.managed.to_cell(), setting.updated_at.to_cell()];
        let keep = Dialect::keep_existing(&["id"]);
        let values = values.into_iter().map(Expr::value).collect();
        self.insert_if_absent(Setting::NAME, Setting::COLUMNS, keep, values).await?;
        Ok(self.get(&setting.id).await?.unwrap_or_else(|| setting.clone()))
    }
}
