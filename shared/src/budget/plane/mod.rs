//! The plane's side of escrow: what is granted, what came back, what a vanished node may still have spent.
//!
//! Rule: for each account, the sum over its leases of `granted - returned`, and what was spent without a lease, never
//! passes the limit by a grant. That rests on one conditional update ([`Funds::affords`] is its condition) in the
//! transaction that raises `granted`, and on answering only after its commit. Facts come before books: what a node proves
//! to hold or to have spent is written even past the limit. The machines here yield the commands of one transaction after
//! the other; whoever owns a database executes them and may die at any point between two.

mod acquiring;
mod command;
mod hearing;
mod learning;
mod lease;
mod settling;
mod suspense;

pub use acquiring::{Acquiring, Ask};
pub use command::{Answer, Command, Machine, Next, Outcome, Seen};
pub use hearing::Hearing;
pub use learning::{Fleet, Forgetting, Gate, LEARNING_LEAST_US, gate};
pub use lease::{Funds, Lease, Seal};
pub use settling::{Settling, What};
pub use suspense::{Item, Release, Vanished, items, release_due, vanished};
