//! Learning: what the plane does when its database may have forgotten commits.
//!
//! Rule: the count of a database's histories comes from the database itself (a timeline, a restore's mark), never from a
//! row that can be forgotten with the rest. Once it is larger than what the fleet's row has learned, nothing is granted
//! until every node that may hold money has declared what it holds. No timeout ends learning: a node that is cut off still
//! spends. An operator may excuse a node that is gone.
//!
//! A database that is older than what it or a node remembers, or that a node proves to have forgotten a grant, is given a
//! new history in the transaction that finds it out: a proof that is on the books is no proof any more.

use crate::budget::message::Epoch;
use crate::budget::planted::{Bug, has};
use crate::time::UnixMicros;
use std::cmp::Ordering;

/// Learning lasts at least three heartbeats, in microseconds: time for nodes that nobody remembers to speak up.
pub const LEARNING_LEAST_US: i64 = 3_000_000;

/// The one row about the fleet, and what is counted beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fleet {
    /// The history of the database that the nodes' holdings are known in, or being learned for.
    pub epoch: Epoch,
    /// Being learned.
    pub is_learning: bool,
    /// When learning began; µs since 1970.
    pub since_us: i64,
    /// Nodes, not excused, that have not declared in this epoch.
    pub awaited: u32,
}

/// Whether money may be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Yes.
    Open,
    /// Not until the nodes have declared.
    Learning,
    /// No, and learning must begin: the database has another history than the one that was learned.
    Forgot,
    /// No: the database counts fewer histories than it has learned, so it is an older copy in another server. It needs a
    /// history that nobody has heard of, and learning must begin in that.
    Behind,
}

/// What proves that a database has forgotten commits without counting it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgetting {
    /// It counts fewer histories than it has learned, or than a node has heard of.
    Older,
    /// A node was granted more than is on the books.
    Grant,
}

/// Decides whether money may be granted from a database whose own count of histories is `history`.
pub fn gate(fleet: &Fleet, history: Epoch) -> Gate {
    if has(Bug::NoLearning) {
        return Gate::Open;
    }
    match (history.cmp(&fleet.epoch), fleet.is_learning) {
        (Ordering::Less, _) if has(Bug::TrustOlderCopy) => Gate::Open,
        (Ordering::Less, _) => Gate::Behind,
        (Ordering::Greater, _) => Gate::Forgot,
        (Ordering::Equal, true) => Gate::Learning,
        (Ordering::Equal, false) => Gate::Open,
    }
}

/// Whether a node can have heard of an epoch: the count of a server's histories, or with it a moment in milliseconds that is
/// not a day later than now. A database that followed another claim would lead every node astray.
pub(super) fn is_plausible(epoch: Epoch, now: UnixMicros) -> bool {
    const DAY_MS: i64 = 24 * 60 * 60 * 1_000;
    let latest = (now.get() / 1_000).saturating_add(DAY_MS);
    i64::try_from(epoch).is_ok_and(|epoch| epoch <= latest)
}

impl Fleet {
    /// Whether learning ends, when `awaited` nodes are still to be heard at `now_us`.
    pub(super) fn is_learned(&self, awaited: u32, now_us: i64) -> bool {
        let is_heard = awaited == 0 || has(Bug::LearningByTimeout);
        // a clock that went back must not keep the fleet waiting
        is_heard && !(0..LEARNING_LEAST_US).contains(&now_us.saturating_sub(self.since_us))
    }
}
