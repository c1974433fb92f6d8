//! Budgets: what is limited, for how long, and the escrow that nodes spend from.
//!
//! Rule: escrow only reserves; the records are the truth about money.

pub mod alert;
pub mod broken;
pub mod escrow;
pub mod forecast;
pub mod horizon;
pub mod limit;
pub mod message;
pub mod node;
pub mod period;
pub mod plane;
pub mod planted;

pub use alert::{AlertKind, Share};
pub use broken::Broken;
pub use escrow::AccountKey;
pub use limit::{BudgetScope, Increase, Limit, Mode};
pub use period::{Period, WeekStart, Window};
