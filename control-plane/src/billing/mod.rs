//! Bills: what the ledger's sums say, in forms that other people's programs read, and beside what providers say.
//!
//! Rule: every amount is an exact integer from the sums to the last digit that is printed; what is exported adds up to
//! the ledger to the nano-dollar. A file is written row by row.

mod export;
mod focus;
pub mod reconcile;
mod table;

pub use export::{Exported, Format, export};

use helix_store::StoreError;

/// Why a bill cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum BillingError {
    /// The database.
    #[error("the ledger cannot be read")]
    Store(#[from] StoreError),
    /// The file or pipe that it goes to.
    #[error("the export cannot be written")]
    Write(#[source] std::io::Error),
    /// An amount of money says nothing about tokens.
    #[error(
        "the report counts tokens, so that a tolerance in USD would take any difference; give it as a share such as 1%, or compare a report of costs"
    )]
    ToleranceOfTokens,
}
