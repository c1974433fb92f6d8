//! Price overrides, in 1e-12 USD per token or other unit.
//!
//! Rule: integers only; the catalogue that is built in is not here.

use crate::table::{Managed, table};
use helix_shared::money::PicoUsd;
use helix_shared::time::UnixMicros;

table! {
    "prices";
    /// A price override of one provider account.
    pub struct Price {
        /// Its id.
        pub id: String,
        /// The provider account it holds for.
        pub backend_id: String,
        /// Exact upstream model or pattern.
        pub model: String,
        /// Uncached input.
        pub input_pico: PicoUsd,
        /// Output.
        pub output_pico: PicoUsd,
        /// Cache read; `None`: as input.
        pub cache_read_pico: Option<PicoUsd>,
        /// Cache write, short lifetime; `None`: as input.
        pub cache_write_pico: Option<PicoUsd>,
        /// Cache write, long lifetime; `None`: as the short one.
        pub cache_write_long_pico: Option<PicoUsd>,
        /// A picture that is made.
        pub per_image_pico: Option<PicoUsd>,
        /// A second of sound, heard or made.
        pub per_second_pico: Option<PicoUsd>,
        /// A character that is spoken.
        pub per_character_pico: Option<PicoUsd>,
        /// One web search on the provider's side.
        pub per_search_pico: Option<PicoUsd>,
        /// The most output tokens the model can give.
        pub max_output_tokens: Option<i64>,
        /// Who keeps the row.
        pub managed: Managed,
        /// Last change.
        pub updated_at: UnixMicros,
    }
}
