//! Escrow in memory: reserve before, settle after, and the stream that refills it.

pub mod account;
pub mod escrowing;
mod handle;
pub mod ledger;
mod pasts;
mod verdict;

pub use account::{Account, Slot};
pub use ledger::{Ledger, Reservation};
