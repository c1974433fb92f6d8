//! What the escrow machines say when an invariant of theirs does not hold, and the checked arithmetic that finds it.
//!
//! Rule: the assertions stay on in release builds. A broken invariant is an error that the caller reports and fails closed
//! on; it is never a panic and never repaired in silence.

use crate::money::NanoUsd;

/// An invariant of the escrow protocol that does not hold. Amounts are 1e-9 USD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A sum left the range of money.
    #[error("{0} left the range of money")]
    Range(&'static str),
    /// A node's counters of one account claim more than was granted.
    #[error(
        "spent {spent} + reserved {reserved} + returned {returned} is more than granted {granted} + overrun {overrun}"
    )]
    Holding {
        /// Granted in total.
        granted: i64,
        /// Spent in total.
        spent: i64,
        /// Given back in total.
        returned: i64,
        /// Held by attempts in flight.
        reserved: i64,
        /// Spent beyond what was reserved, in total.
        overrun: i64,
    },
    /// A counter that only grows, or an amount, is below zero.
    #[error("{0} is below zero")]
    Negative(&'static str),
    /// A lease's parts are more than the lease.
    #[error("a lease of {granted} has spent {spent} and returned {returned}")]
    Lease {
        /// Granted in total.
        granted: i64,
        /// Spent in total.
        spent: i64,
        /// Given back in total.
        returned: i64,
    },
    /// More came back than an account's leases hold.
    #[error("an account's escrow cannot move by {0}: it would be below zero")]
    Escrow(i64),
    /// An attempt was settled that holds no reservation.
    #[error("attempt {0} holds no reservation")]
    NoReservation(u64),
    /// The database answered something else than what was asked.
    #[error("a transaction of escrow got an answer that it did not ask for")]
    Answer,
}

pub(super) fn add(a: NanoUsd, b: NanoUsd, what: &'static str) -> Result<NanoUsd, Broken> {
    a.checked_add(b).ok_or(Broken::Range(what))
}

pub(super) fn sub(a: NanoUsd, b: NanoUsd, what: &'static str) -> Result<NanoUsd, Broken> {
    a.checked_sub(b).ok_or(Broken::Range(what))
}

/// Sums without leaving the range on the way.
pub(super) fn wide(amounts: &[NanoUsd]) -> i128 {
    amounts.iter().map(|amount| i128::from(amount.get())).sum()
}
