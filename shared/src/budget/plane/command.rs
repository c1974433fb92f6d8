//! What the plane's machines ask of a database, and what they tell when they are done.
//!
//! Rule: a command is one statement, or one read. Everything between a lock and the next [`Command::Commit`] is one
//! transaction; a machine that is dropped before its commit has changed nothing. The isolation that is relied on is the
//! weakest of the three databases: statements are atomic, reads may be stale, a row that was written stays locked.

use super::learning::{Fleet, Forgetting};
use super::lease::{Funds, Lease, Seal};
use crate::budget::AccountKey;
use crate::budget::broken::Broken;
use crate::budget::message::{Epoch, Standing};
use crate::ids::{Incarnation, NodeId};
use crate::money::NanoUsd;
use crate::time::UnixMicros;

/// One statement or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Begin; make the incarnation's row if there is none and lock it; read the fleet's row. Answer: [`Answer::Locked`].
    Lock(Incarnation),
    /// Begin; lock the fleet's row. Answer: [`Answer::Locked`], its seal without meaning.
    LockFleet,
    /// Make the account if there is none, set its limit and end if they differ, read it. Answer: [`Answer::Account`].
    OpenAccount {
        /// The account.
        account: AccountKey,
        /// The configured limit.
        limit: NanoUsd,
        /// First instant after the period.
        period_end: UnixMicros,
    },
    /// Make the account if there is none, read it. Answer: [`Answer::Account`].
    ReadAccount(AccountKey),
    /// Read these accounts, those that exist. Answer: [`Answer::Accounts`].
    ReadAccounts(Vec<AccountKey>),
    /// Read one lease. Answer: [`Answer::Lease`].
    ReadLease(Incarnation, AccountKey),
    /// Read every lease of an incarnation. Answer: [`Answer::Leases`].
    ReadLeases(Incarnation),
    /// `SET escrow = escrow + more WHERE limit - escrow - unleased >= more` ([`Funds::affords`]). Answer:
    /// [`Answer::Changed`].
    TakeEscrow {
        /// The account.
        account: AccountKey,
        /// How much.
        more: NanoUsd,
    },
    /// `SET escrow = escrow + by WHERE escrow + by >= 0` ([`Funds::moved`]). Answer: [`Answer::Changed`].
    MoveEscrow {
        /// The account.
        account: AccountKey,
        /// How much; mostly below zero.
        by: NanoUsd,
    },
    /// Write a lease. Answer: [`Answer::Done`].
    PutLease(Incarnation, AccountKey, Lease),
    /// Write an incarnation's seal. Answer: [`Answer::Done`].
    PutSeal(Incarnation, Seal),
    /// Write the fleet's row: learning for this epoch. Answer: [`Answer::Done`].
    BeginLearning(Epoch),
    /// Lock the fleet's row and, unless the count of histories is larger than this, raise it to one that nobody has heard
    /// of. Answer: [`Answer::History`].
    RaiseHistory(Epoch, Forgetting),
    /// Note that a node has declared what it holds. Answer: [`Answer::Awaited`], this node not counted any more.
    Declare(NodeId, Epoch),
    /// Write the fleet's row: nothing is being learned. Answer: [`Answer::Done`].
    EndLearning,
    /// Commit. Answer: [`Answer::Done`].
    Commit,
}

/// How an account stands that was read among others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The row.
    pub funds: Funds,
    /// First instant after its period; 0 when nobody knows.
    pub period_end: UnixMicros,
    /// What all nodes reserve of it in a second; zero when nobody knows.
    pub fleet_rate: NanoUsd,
    /// Sum of [`Lease::hold`] over the open leases of other incarnations.
    pub recallable: NanoUsd,
}

/// What a database answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The locked row, the fleet's row, the database's own count of its histories.
    Locked {
        /// The incarnation's seal.
        seal: Seal,
        /// The fleet's row.
        fleet: Fleet,
        /// The database's count of its histories.
        history: Epoch,
    },
    /// How an account stands.
    Account {
        /// The row.
        funds: Funds,
        /// First instant after its period; 0 when nobody knows.
        period_end: UnixMicros,
        /// What all nodes reserve of it in a second; zero when nobody knows.
        fleet_rate: NanoUsd,
        /// Sum of [`Lease::hold`] over the open leases of other incarnations.
        recallable: NanoUsd,
        /// Open leases of other incarnations.
        other_holders: u32,
    },
    /// How several accounts stand.
    Accounts(Vec<(AccountKey, Seen)>),
    /// The database's count of its histories.
    History(Epoch),
    /// A lease, if there is one.
    Lease(Option<Lease>),
    /// Leases in key order.
    Leases(Vec<(AccountKey, Lease)>),
    /// Whether the condition held and the row was written.
    Changed(bool),
    /// How many nodes are still to declare.
    Awaited(u32),
    /// Done.
    Done,
}

/// What a machine wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Execute this and come back with the answer.
    Do(Command),
    /// Say this to whom it concerns and come back with [`Answer::Done`].
    Tell(Outcome),
    /// Nothing more.
    End,
}

/// What came of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answer an ask.
    Granted {
        /// The epoch.
        epoch: Epoch,
        /// Every asked account.
        standings: Vec<Standing>,
        /// Accounts to recall from everybody else who holds something of them.
        recall: Vec<AccountKey>,
        /// Nothing is granted yet.
        is_learning: bool,
    },
    /// Acknowledge a report.
    Acknowledged {
        /// The epoch.
        epoch: Epoch,
        /// Every account that was reported, and every other that the incarnation holds something of.
        standings: Vec<Standing>,
        /// Earlier incarnations that were taken.
        pasts: Vec<Incarnation>,
        /// Nothing is granted yet.
        is_learning: bool,
        /// The database did not know of something that was granted: it has forgotten commits. Someone must act.
        has_forgotten: bool,
    },
    /// An incarnation was closed, released or taken note of.
    Taken(Incarnation),
    /// The incarnation is sealed: tell its node to end.
    Sealed,
}

/// A machine of the plane, as whoever owns a database drives it. Cloned, it begins a transaction anew that lost a race.
pub trait Machine: Clone + Send + Sync {
    /// Takes the answer to the last command; the first call takes [`Answer::Done`].
    ///
    /// # Errors
    /// [`Broken`]: roll back.
    fn next(&mut self, answer: Answer) -> Result<Next, Broken>;
}

impl Machine for super::Acquiring {
    fn next(&mut self, answer: Answer) -> Result<Next, Broken> {
        self.next(answer)
    }
}

impl Machine for super::Settling {
    fn next(&mut self, answer: Answer) -> Result<Next, Broken> {
        self.next(answer)
    }
}

impl Machine for super::Hearing {
    fn next(&mut self, answer: Answer) -> Result<Next, Broken> {
        self.next(answer)
    }
}
