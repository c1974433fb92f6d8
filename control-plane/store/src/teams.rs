//! Teams and the models they may use.
//!
//! Rule: patterns are kept as written; the compiler of snapshots judges them.

use crate::table::{Managed, table};
use helix_shared::time::UnixMicros;

table! {
    "teams";
    /// A team.
    pub struct Team {
        /// Its id.
        pub id: String,
        /// Name for people.
        pub name: String,
        /// Patterns of allowed models; empty: every model.
        pub allow_models: Vec<String>,
        /// Patterns of denied models.
        pub deny_models: Vec<String>,
        /// Who keeps the row.
        pub managed: Managed,
        /// Last change.
        pub updated_at: UnixMicros,
    }
}
