//! Routes from model names to provider accounts.
//!
//! Rule: kept as written; the compiler of snapshots judges patterns, strategies and names.

use crate::table::{Managed, json_cells, table};
use helix_shared::time::UnixMicros;

table! {
    "models";
    /// A rule from a model name to backends.
    pub struct Model {
        /// Its id.
        pub id: String,
        /// Exact name or pattern that clients ask for.
        pub pattern: String,
        /// Strategy's stable name.
        pub strategy: String,
        /// What happens to what a translation cannot say: stable name.
        pub params: String,
        /// Order among rules of equal specificity.
        pub position: u32,
        /// Where it is served, in order.
        pub backends: Vec<ModelBackend>,
        /// Who keeps the row.
        pub managed: Managed,
        /// Last change.
        pub updated_at: UnixMicros,
    }
}

/// One place a model is served at.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ModelBackend {
    /// The provider account.
    pub backend_id: String,
    /// Its name for the model; `None`: the name the client asked for.
    pub upstream_model: Option<String>,
    /// Share under the weighted strategy.
    pub weight: u32,
    /// Whether the gateway fetches what URLs in requests point at, where the backend does not.
    #[serde(default)]
    pub fetches_urls: bool,
}

json_cells!(Vec<ModelBackend>);
