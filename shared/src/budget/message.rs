//! What the two sides of escrow say to each other.
//!
//! Rule: every number is a total since the incarnation began, so that any message may be lost, doubled, late or out of
//! order; the receiver takes the larger one. Everything the plane says names the epoch of its database, so that a grant
//! which the database has since forgotten is never believed after the node has declared what it holds. The wire form is
//! `proto`'s.

use super::AccountKey;
use crate::ids::Incarnation;
use crate::money::NanoUsd;
use crate::time::UnixMicros;

/// Counts the times that a database may have forgotten commits (a failover, a restore).
pub type Epoch = u64;

/// A node's totals of one account in one incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// The account.
    pub account: AccountKey,
    /// Granted, as far as the node knows.
    pub granted: NanoUsd,
    /// Spent.
    pub spent: NanoUsd,
    /// Given back.
    pub returned: NanoUsd,
    /// Reserved in a second, smoothed. Sizes horizons, proves nothing.
    pub rate: NanoUsd,
}

/// What a node's journal says about an earlier incarnation of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past {
    /// The incarnation, which is dead: its journal was locked by this process.
    pub incarnation: Incarnation,
    /// Spent by account: what was settled, and what was in flight at its worst case.
    pub finals: Vec<(AccountKey, NanoUsd)>,
    /// Whether nothing can be missing at the journal's end. Only then may the incarnation be sealed.
    pub is_whole: bool,
    /// Number of its last record: the plane must have all of them, or it knows less than was spent. 0 when `finals` says
    /// everything.
    pub last_seq: u64,
}

/// What a node asks of one budget: totals since its incarnation began, of the account that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The account the node knows of; a period of zero when it knows of none.
    pub account: AccountKey,
    /// The least granted total that would admit anybody who waits, or that is worth holding where nobody does: a smaller part
    /// would lie idle. It may be above `need_total`.
    pub least_total: NanoUsd,
    /// Granted total with which everybody who waits would be admitted.
    pub need_total: NanoUsd,
    /// Granted total that would save round trips for a while.
    pub want_total: NanoUsd,
}

/// From a node to the plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Asks for escrow.
    Acquire {
        /// Numbers the asks of an incarnation, from 1.
        ask: u64,
        /// What is needed and wished for, once a budget.
        needs: Vec<Need>,
    },
    /// Everything the node holds: each second, also when that is nothing, and at once when something comes free that
    /// others wait for. It heals lost grants and, in a new epoch, teaches the plane what its database forgot.
    Balances {
        /// The newest epoch that the node has heard of.
        epoch: Epoch,
        /// Every account of this incarnation whose end the plane has not confirmed.
        balances: Vec<Balance>,
        /// Every earlier incarnation that the plane has not confirmed in this epoch.
        pasts: Vec<Past>,
    },
}

/// How an account and the node's lease of it stand, as the plane knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The account.
    pub account: AccountKey,
    /// Granted to the incarnation.
    pub granted: NanoUsd,
    /// Spent by the incarnation, as far as it was heard.
    pub spent: NanoUsd,
    /// Given back by the incarnation, as far as it was heard.
    pub returned: NanoUsd,
    /// The present limit.
    pub limit: NanoUsd,
    /// What nobody holds; below zero after the limit was lowered.
    pub available: NanoUsd,
    /// What other living incarnations hold and have not said to have spent: it was recalled when the need was not met.
    pub recallable: NanoUsd,
    /// Cost of all records charged to the account, as far as known. For people.
    pub fleet_spent: NanoUsd,
    /// First instant after the period on the plane's clock. For people.
    pub period_end: UnixMicros,
    /// Until the period ends, in microseconds: relative, so that clocks need not agree.
    pub period_ends_in_us: u64,
    /// For how many seconds the node should hold money.
    pub horizon_s: u32,
}

/// From the plane to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Answers an [`Report::Acquire`], after the commit that raised the totals. Each budget's present account, once.
    Granted {
        /// The epoch of the database that committed.
        epoch: Epoch,
        /// The ask that is answered.
        ask: u64,
        /// How things stand.
        standings: Vec<Standing>,
        /// Nothing is granted: the plane waits for nodes to declare what they hold.
        is_learning: bool,
    },
    /// Answers a [`Report::Balances`], after it was committed.
    Acknowledged {
        /// The epoch of the database that committed.
        epoch: Epoch,
        /// Every lease of the incarnation that is not settled in a period that is over.
        standings: Vec<Standing>,
        /// Earlier incarnations that were taken.
        pasts: Vec<Incarnation>,
        /// Nothing is granted: the plane waits for nodes to declare what they hold.
        is_learning: bool,
    },
    /// Somebody needs what others hold: give back what is free.
    Recall {
        /// The epoch of the database.
        epoch: Epoch,
        /// The account.
        account: AccountKey,
    },
    /// The incarnation that spoke is sealed: it may never spend again.
    Sealed,
}
