//! Provider accounts.
//!
//! Rule: a credential is bytes that the control plane sealed; this crate can neither open nor print them.

use crate::table::{Managed, json_cells, table};
use helix_shared::time::UnixMicros;

table! {
    "providers";
    /// A provider account.
    pub struct Provider {
        /// Its configured name.
        pub id: String,
        /// Provider kind's stable name.
        pub kind: String,
        /// Base URL.
        pub base_url: String,
        /// Version of the API; `None`: the kind has none, or its newest.
        pub api_version: Option<String>,
        /// The credential, sealed.
        pub sealed_credential: Option<Vec<u8>>,
        /// Limits.
        pub spec: ProviderSpec,
        /// Order among backends.
        pub position: u32,
        /// Who keeps the row.
        pub managed: Managed,
        /// Last change.
        pub updated_at: UnixMicros,
    }
}

/// Limits of one provider account.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ProviderSpec {
    /// The version of HTTP that it is spoken to: stable name; empty: as agreed with it.
    #[serde(default)]
    pub http_version: String,
    /// Limit of connecting, TLS included, in ms.
    pub connect_timeout_ms: u32,
    /// Limit until the response head, in ms.
    pub first_byte_timeout_ms: u32,
    /// Limit between two chunks, in ms.
    pub idle_timeout_ms: u32,
    /// Limit of the whole exchange, in ms.
    pub total_timeout_ms: u32,
    /// Most requests at once; 0: no limit.
    pub max_in_flight: u32,
}

json_cells!(ProviderSpec);
