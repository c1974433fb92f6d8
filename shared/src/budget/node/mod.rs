//! The node's side of escrow: what it holds, who waits, what it says.
//!
//! Rule: fail closed. An attempt is admitted against money in hand or not at all; no answer in time is a refusal. Each
//! attempt has a reservation of its own. Time is a parameter (microseconds that never go back), messages are values; the
//! caller sends them, writes the intent of what was admitted before it sends that upstream, and wakes the machine when it
//! asked to be woken.

mod asking;
mod beside;
mod hold;
pub mod holding;
mod machine;
mod replay;
mod reporting;
mod slot;

pub use hold::Hold;
pub use holding::Holding;
pub use machine::NodeEscrow;
pub use replay::{Replay, Tail};

use super::AccountKey;
use super::message::Report;
use crate::ids::BudgetId;
use crate::money::NanoUsd;

/// How a node paces itself. Times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeSettings {
    /// Between two heartbeats.
    pub heartbeat_us: u64,
    /// When the first heartbeat is due: a random part of one, so that a fleet does not speak in chorus.
    pub phase_us: u64,
    /// How long an attempt waits for escrow.
    pub patience_us: u64,
    /// How long it waits once other nodes were asked to give money back.
    pub recall_patience_us: u64,
    /// After this, an ask counts as lost.
    pub ask_timeout_us: u64,
    /// Between an answer that was not enough and the next ask.
    pub ask_again_us: u64,
    /// After a recall, for how long nothing is kept that others may need.
    pub pressed_us: u64,
    /// The horizon, in seconds, until the plane says another.
    pub horizon_s: u32,
}

impl Default for NodeSettings {
    fn default() -> Self {
        Self {
            heartbeat_us: 1_000_000,
            phase_us: 0,
            patience_us: 2_000_000,
            recall_patience_us: 1_000_000,
            ask_timeout_us: 500_000,
            ask_again_us: 50_000,
            pressed_us: 2_000_000,
            horizon_s: 30,
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It cost this much: exact, reported or estimated.
    Cost(NanoUsd),
    /// It provably cost nothing: it was never sent, or the provider says so.
    Unbilled,
    /// Nobody can know: it is booked at its worst case.
    Unknown,
}

/// Why an attempt is not admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// This account cannot afford it.
    Exceeded(AccountKey),
    /// The plane did not answer in time, or grants nothing yet; this budget was short.
    Unavailable(BudgetId),
    /// This incarnation is sealed and must end.
    Sealed,
}

/// What the caller must do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeStep {
    /// Send a report. It may be lost.
    Send(Report),
    /// Write the intent, then send the attempt upstream; it holds `amount` of each account.
    Admitted {
        /// The attempt.
        attempt: u64,
        /// Where it holds money.
        accounts: Vec<AccountKey>,
        /// How much of each.
        amount: NanoUsd,
    },
    /// Refuse the attempt.
    Denied {
        /// The attempt.
        attempt: u64,
        /// Why.
        why: Denial,
    },
}

#[cfg(test)]
mod tests;
