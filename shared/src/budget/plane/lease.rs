//! The two rows that money stands in: an account's funds and an incarnation's lease of it.
//!
//! Rule: `granted`, `spent` and `returned` only grow, whatever was said in whatever order; a lease never holds less than
//! what was spent under it. Pure values: nothing here knows a database.

use crate::budget::broken::{Broken, add, sub, wide};
use crate::budget::planted::{Bug, has};
use crate::money::NanoUsd;

/// How an account stands. Amounts in 1e-9 USD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Funds {
    /// The present limit.
    pub limit: NanoUsd,
    /// Held by all incarnations: the sum of what was granted and not returned.
    pub escrow: NanoUsd,
    /// Cost of records charged without a lease (while the budget was soft).
    pub unleased: NanoUsd,
    /// Cost of all records charged to it. Decides nothing.
    pub settled: NanoUsd,
}

impl Funds {
    /// What nobody holds; below zero after the limit was lowered.
    pub fn available(&self) -> NanoUsd {
        self.limit.saturating_sub(self.escrow).saturating_sub(self.unleased)
    }

    /// The condition of the one update that the safety of every hard budget rests on:
    /// `SET escrow = escrow + more WHERE limit - escrow - unleased >= more`.
    pub fn affords(&self, more: NanoUsd) -> bool {
        has(Bug::UnguardedUpdate)
            || wide(&[self.limit]) - wide(&[self.escrow, self.unleased]) >= wide(&[more]) && more >= NanoUsd::ZERO
    }

    /// The funds after escrow moved, and nothing when it would be below zero:
    /// `SET escrow = escrow + by WHERE escrow + by >= 0`.
    pub fn moved(&self, by: NanoUsd) -> Option<Self> {
        let escrow = self.escrow.checked_add(by).filter(|escrow| *escrow >= NanoUsd::ZERO)?;
        Some(Self { escrow, ..*self })
    }
}

/// What an incarnation holds of an account. Totals since the incarnation began, in 1e-9 USD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lease {
    /// Granted.
    pub granted: NanoUsd,
    /// Spent, as the node said.
    pub spent: NanoUsd,
    /// Given back.
    pub returned: NanoUsd,
    /// Cost of the records that were charged to it.
    pub settled: NanoUsd,
    /// Counted as spent beyond `spent`, on an operator's evidence or because the period is over; a late journal corrects it.
    pub written_off: NanoUsd,
}

/// Whether an incarnation may still change its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Seal {
    /// Alive, or not known to be dead.
    #[default]
    Open,
    /// An operator said what it spent. Its journal may still correct that.
    Released,
    /// Its journal was whole. Final.
    Closed,
}

impl Lease {
    /// What counts against the limit: granted and not returned.
    pub fn held(&self) -> NanoUsd {
        self.granted.saturating_sub(self.returned)
    }

    /// What is held and not known to be spent: free on the node, in flight there, or in suspense.
    pub fn hold(&self) -> NanoUsd {
        let spent = self.spent.max(self.settled).saturating_add(self.written_off);
        self.held().saturating_sub(spent).max(NanoUsd::ZERO)
    }

    /// The lease after a grant.
    ///
    /// # Errors
    /// [`Broken::Range`].
    pub fn raised(self, more: NanoUsd) -> Result<Self, Broken> {
        Ok(Self { granted: add(self.granted, more, "what is granted")?, ..self })
    }

    /// The lease after the node's totals were heard; of what was heard before, the larger holds. What was spent cannot
    /// come back. What a node proves to have been granted or to have spent counts even if nobody knew.
    ///
    /// # Errors
    /// [`Broken`] for totals below zero or out of range.
    pub fn reported(self, granted: NanoUsd, spent: NanoUsd, returned: NanoUsd) -> Result<Self, Broken> {
        let mut lease = self;
        lease.granted = self.granted.max(granted);
        lease.spent = self.spent.max(spent);
        let most = sub(lease.granted, lease.spent, "what is granted")?.max(NanoUsd::ZERO);
        lease.returned = self.returned.max(returned.min(most));
        if has(Bug::LastReportWins) {
            (lease.spent, lease.returned) = (spent, returned.min(most));
        }
        lease.cover(lease.spent)?;
        lease.written_off = lease.written_off.min(sub(lease.held(), lease.spent, "a lease")?);
        lease.check()?;
        Ok(lease)
    }

    /// The lease of an incarnation whose journal was whole: all but what was spent comes back.
    ///
    /// # Errors
    /// [`Broken`] for totals below zero or out of range.
    pub fn closed(self, spent_by_journal: NanoUsd) -> Result<Self, Broken> {
        let mut lease = self;
        let journal = if has(Bug::CloseWithLastReport) { NanoUsd::ZERO } else { spent_by_journal };
        lease.spent = self.spent.max(self.settled).max(journal);
        lease.written_off = NanoUsd::ZERO;
        lease.cover(lease.spent)?;
        lease.returned = sub(lease.granted, lease.spent, "what is granted")?;
        lease.check()?;
        Ok(lease)
    }

    /// The lease of an incarnation that is known to be dead and to have spent at most this much, on an operator's evidence. The
    /// evidence is of all accounts together: of one it says no more than what was granted of it.
    ///
    /// # Errors
    /// [`Broken`] for totals below zero or out of range.
    pub fn released(self, spent_by_evidence: NanoUsd) -> Result<Self, Broken> {
        let mut lease = self;
        let held = sub(self.granted, self.returned, "what is granted")?;
        let total = self.spent.max(self.settled).max(spent_by_evidence.min(held));
        lease.cover(total)?;
        lease.written_off = sub(total, lease.spent, "what is written off")?;
        lease.returned = sub(lease.granted, total, "what is granted")?;
        lease.check()?;
        Ok(lease)
    }

    /// The lease once its period is over and its node vanished: what it holds counts as spent, for good or until a journal
    /// says otherwise. The account's escrow does not change.
    pub fn expired(self) -> Self {
        Self { written_off: self.written_off.saturating_add(self.hold()), ..self }
    }

    /// Makes the lease hold at least what was spent, past what was granted if it must.
    fn cover(&mut self, spent: NanoUsd) -> Result<(), Broken> {
        self.granted = self.granted.max(add(spent, self.returned, "what is granted")?);
        Ok(())
    }

    /// Checks what must always hold.
    ///
    /// # Errors
    /// [`Broken`] with the totals.
    pub fn check(&self) -> Result<(), Broken> {
        if [self.granted, self.spent, self.returned, self.settled, self.written_off]
            .iter()
            .any(|part| *part < NanoUsd::ZERO)
        {
            return Err(Broken::Negative("a total of a lease"));
        }
        if wide(&[self.spent, self.returned, self.written_off]) > wide(&[self.granted]) {
            let (granted, spent, returned) = (self.granted.get(), self.spent.get(), self.returned.get());
            return Err(Broken::Lease { granted, spent, returned });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nano(amount: i64) -> NanoUsd {
        NanoUsd::new(amount)
    }

    fn lease(granted: i64, spent: i64, returned: i64) -> Lease {
        Lease { granted: nano(granted), spent: nano(spent), returned: nano(returned), ..Lease::default() }
    }

    #[test]
    fn reports_may_come_twice_late_and_too_large() {
        let first = lease(500, 0, 0).reported(nano(0), nano(100), nano(150)).unwrap();
        assert_eq!(first, lease(500, 100, 150));
        assert_eq!(first.reported(nano(0), nano(50), nano(20)).unwrap(), first, "late");
        assert_eq!(first.reported(nano(0), nano(200), nano(9_999)).unwrap(), lease(500, 200, 300));
        assert_eq!(first.reported(nano(-5), nano(-5), nano(-5)).unwrap(), first);
    }

    #[test]
    fn what_a_node_proves_counts_even_past_the_books() {
        assert_eq!(
            lease(100, 0, 0).reported(nano(300), nano(20), nano(0)).unwrap(),
            lease(300, 20, 0),
            "forgotten grant"
        );
        assert_eq!(lease(100, 90, 10).reported(nano(0), nano(95), nano(10)).unwrap(), lease(105, 95, 10), "overrun");
        assert_eq!(lease(100, 90, 0).closed(nano(130)).unwrap(), lease(130, 130, 0));
    }

    #[test]
    fn evidence_releases_and_a_late_journal_corrects_it_both_ways() {
        let released = lease(100, 10, 0).released(nano(40)).unwrap();
        assert_eq!((released.held(), released.hold(), released.written_off), (nano(40), nano(0), nano(30)));
        assert_eq!(released.closed(nano(25)).unwrap(), lease(100, 25, 75));
        assert_eq!(released.closed(nano(70)).unwrap(), lease(130, 70, 60), "spent more than the evidence said");
    }

    #[test]
    fn a_period_that_is_over_writes_the_hold_off_and_changes_no_escrow() {
        let expired = lease(100, 10, 20).expired();
        assert_eq!((expired.held(), expired.hold(), expired.written_off), (nano(80), nano(0), nano(70)));
        let reported = expired.reported(nano(100), nano(30), nano(20)).unwrap();
        assert_eq!((reported.spent, reported.written_off), (nano(30), nano(50)));
    }

    proptest! {
        #[test]
        fn totals_only_grow_in_any_order_of_messages(
            said in prop::collection::vec((0_i64..1_000, 0_i64..1_000, 0_i64..1_000), 1..20),
        ) {
            let mut lease = lease(500, 0, 0);
            for (granted, spent, returned) in said {
                let next = lease.reported(nano(granted), nano(spent), nano(returned)).unwrap();
                prop_assert!(next.granted >= lease.granted && next.spent >= lease.spent && next.returned >= lease.returned);
                prop_assert!(next.held() >= next.spent);
                lease = next;
            }
        }

        #[test]
        fn an_update_that_is_afforded_never_passes_the_limit(
            limit in any::<i64>(), escrow in 0..i64::MAX, unleased in 0..i64::MAX, more in any::<i64>(),
        ) {
            let funds = Funds { limit: nano(limit), escrow: nano(escrow), unleased: nano(unleased), ..Funds::default() };
            if funds.affords(nano(more)) {
                prop_assert!(i128::from(escrow) + i128::from(unleased) + i128::from(more) <= i128::from(limit));
            }
        }
    }
}
