//! Bugs that can be planted into the escrow machines, to prove that the simulation would find them.
//!
//! Rule: without the feature `planted-bugs` every question here is the constant `false` and the compiler removes it. The
//! gateway never enables the feature; the simulation's own test does, and picks one bug a thread.

/// A protocol bug, each the kind that a reasonable person writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// Admits without holding the money.
    CheckThenAct,
    /// Believes the last grant instead of the largest.
    LastGrantWins,
    /// Starts an account anew when its period is chosen again.
    FreshAccountAgain,
    /// Keeps a part of a reservation for ever.
    ForgetRelease,
    /// Releases a whole reservation although a part was spent.
    RefundSpent,
    /// Books nothing for an attempt that broke off.
    BreakIsFree,
    /// A second attempt runs on the reservation of the first.
    OneHoldForAllAttempts,
    /// Gives back what attempts in flight hold.
    ReturnReserved,
    /// Takes from some accounts of a path and forgets to put them back when a later one is short.
    HalfPath,
    /// Forgets an account of a past period before the plane confirmed its end.
    ForgetBeforeConfirmed,
    /// Says nothing when it holds nothing.
    SilentWhenEmpty,
    /// Does not learn grants from acknowledgements.
    NoResync,
    /// Believes a grant of an epoch that is over.
    OldEpochBelieved,
    /// Forgets earlier incarnations once they were taken, so that a restored database never hears of them.
    ForgetPasts,
    /// Leaves what was in flight out of the finals of a journal.
    DropInFlight,
    /// Seals an incarnation whose journal may lack its end.
    TrustTornJournal,
    /// Grants to a sealed incarnation.
    GrantToSealed,
    /// Writes the new escrow without the condition.
    UnguardedUpdate,
    /// Answers with the raised total although the update did not happen.
    RaiseWithoutTake,
    /// Answers before the commit.
    AnswerBeforeCommit,
    /// Takes the last report instead of the largest totals.
    LastReportWins,
    /// Releases the escrow of a silent node after a while.
    TimeoutReleases,
    /// Seals with what the node last said instead of the journal's finals.
    CloseWithLastReport,
    /// Closing twice releases twice.
    CloseTwice,
    /// Does not notice that the database may have forgotten commits.
    NoLearning,
    /// Ends learning after three heartbeats, whoever has not been heard.
    LearningByTimeout,
    /// Never recalls.
    NoRecall,
    /// Takes a database that is older than what it has learned for the one that it is a copy of.
    TrustOlderCopy,
}

impl Bug {
    /// Every bug; its number is its place, from 1.
    pub const ALL: [Self; 28] = [
        Self::CheckThenAct,
        Self::LastGrantWins,
        Self::FreshAccountAgain,
        Self::ForgetRelease,
        Self::RefundSpent,
        Self::BreakIsFree,
        Self::OneHoldForAllAttempts,
        Self::ReturnReserved,
        Self::HalfPath,
        Self::ForgetBeforeConfirmed,
        Self::SilentWhenEmpty,
        Self::NoResync,
        Self::OldEpochBelieved,
        Self::ForgetPasts,
        Self::DropInFlight,
        Self::TrustTornJournal,
        Self::GrantToSealed,
        Self::UnguardedUpdate,
        Self::RaiseWithoutTake,
        Self::AnswerBeforeCommit,
        Self::LastReportWins,
        Self::TimeoutReleases,
        Self::CloseWithLastReport,
        Self::CloseTwice,
        Self::NoLearning,
        Self::LearningByTimeout,
        Self::NoRecall,
        Self::TrustOlderCopy,
    ];
}

#[cfg(feature = "planted-bugs")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug into every machine of this thread; `None` takes it out.
#[cfg(feature = "planted-bugs")]
pub fn plant(bug: Option<Bug>) {
    PLANTED.with(|planted| planted.set(bug));
}

/// Whether a bug is planted in this thread.
#[cfg(feature = "planted-bugs")]
#[inline]
pub fn has(bug: Bug) -> bool {
    PLANTED.with(std::cell::Cell::get) == Some(bug)
}

/// Whether a bug is planted: never, in this build.
#[cfg(not(feature = "planted-bugs"))]
#[inline]
pub const fn has(_bug: Bug) -> bool {
    false
}
