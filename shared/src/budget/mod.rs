//! Budgets: what is limited, for how long, and the escrow that nodes spend from.
//!
//! Rule: escrow only reserves; the records are the truth about money.

pub mod escrow;
pub mod limit;
pub mod period;

pub use escrow::AccountKey;
pub use limit::{BudgetScope, Limit, Mode};
pub use period::{Period, Window};
