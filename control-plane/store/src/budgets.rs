//! Budgets as configured; what is spent of them is in `escrow`.
//!
//! Rule: a limit is an amount per period; periods are the accounts' business.

use crate::table::{Managed, table};
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;

table! {
    "budgets";
    /// A budget.
    pub struct Budget {
        /// Its id.
        pub id: String,
        /// `instance`, `team:ID` or `user:ID`.
        pub scope: String,
        /// How people call it.
        pub label: String,
        /// Amount per period.
        pub limit_nano: NanoUsd,
        /// `daily`, `weekly` or `monthly`.
        pub period: String,
        /// `hard` or `soft`.
        pub mode: String,
        /// IANA zone.
        pub timezone: String,
        /// Shares of the limit at which people are told, as decimal text.
        pub alert_at: Vec<String>,
        /// Who keeps the row.
        pub managed: Managed,
        /// Last change.
        pub updated_at: UnixMicros,
    }
}
