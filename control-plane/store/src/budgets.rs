//! Budgets as configured; what is spent of them is in `escrow`, what lies on top of them in `adjustments`.
//!
//! Rule: a limit is an amount per period; periods are the accounts' business.

use crate::db::Tx;
use crate::error::Result;
use crate::table::{Managed, select, table};
use helix_shared::budget::Increase;
use helix_shared::money::NanoUsd;
use helix_shared::snapshot::resource;
use helix_shared::time::UnixMicros;
use sea_query::{Expr, ExprTrait as _};
use std::collections::BTreeSet;

table! {
    "budgets";
    /// A budget.
    pub struct Budget {
        /// Its id.
        pub id: String,
        /// `instance`, `team:ID`, `user:ID`, `key:ID` or `model:PATTERN`.
        pub scope: String,
        /// How people call it.
        pub label: String,
        /// Amount per period, without what lies on top.
        pub limit_nano: NanoUsd,
        /// `daily`, `weekly` or `monthly`.
        pub period: String,
        /// `hard` or `soft`.
        pub mode: String,
        /// IANA zone.
        pub timezone: String,
        /// Shares of the limit at which people are told, as decimal text.
        pub alert_at: Vec<String>,
        /// The day that weeks begin on; `None`: Monday.
        pub week_start: Option<String>,
        /// The zone that held before.
        pub prior_timezone: Option<String>,
        /// The day that weeks began on before.
        pub prior_week_start: Option<String>,
        /// First instant at which the present calendar holds; `None`: it always did.
        pub prior_until: Option<UnixMicros>,
        /// Who keeps the row.
        pub managed: Managed,
        /// Last change, entries on top included: what ended before it no longer travels to nodes.
        pub updated_at: UnixMicros,
    }
}

impl Budget {
    /// The budget as nodes are told of it, with what lies on top.
    pub fn resource(&self, increases: Vec<Increase>) -> resource::Budget {
        let prior = self.prior_until.map(|until| resource::PriorCalendar {
            timezone: self.prior_timezone.clone().unwrap_or_default(),
            week_start: self.prior_week_start.clone().unwrap_or_default(),
            until,
        });
        resource::Budget {
            scope: self.scope.clone(),
            label: self.label.clone(),
            limit: self.limit_nano,
            period: self.period.clone(),
            mode: self.mode.clone(),
            timezone: self.timezone.clone(),
            week_start: self.week_start.clone().unwrap_or_default(),
            prior,
            alert_at: self.alert_at.clone(),
            increases,
        }
    }
}

impl Tx {
    /// Lists the budgets of these ids that exist, ordered by id.
    pub(crate) async fn budgets_among(&mut self, ids: &BTreeSet<&str>) -> Result<Vec<Budget>> {
        self.many(select::<Budget>().and_where(Expr::col("id").is_in(ids.iter().copied())).to_owned()).await
    }
}
