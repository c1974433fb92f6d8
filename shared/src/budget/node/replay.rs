//! What an earlier incarnation spent, read from its journal.
//!
//! Rule: an intent without an outcome was spent at its worst case; nobody can know better. Whether the journal is whole is
//! a fact about the machine it lies on, never a guess from its contents.

use crate::budget::AccountKey;
use crate::budget::broken::{Broken, add};
use crate::budget::message::Past;
use crate::budget::planted::{Bug, has};
use crate::ids::Incarnation;
use crate::money::NanoUsd;
use std::collections::BTreeMap;

/// Sums a journal up. Give it the entries in their order.
#[derive(Clone, Debug, Default)]
pub struct Replay {
    open: BTreeMap<u64, (Vec<AccountKey>, NanoUsd)>,
    spent: BTreeMap<AccountKey, NanoUsd>,
}

/// What is known of the end of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The machine has not been started since: what was written is there, whatever happened to the process.
    pub is_same_boot: bool,
    /// Every intent was on the disk before its attempt was sent.
    pub is_strict: bool,
    /// A part of the journal cannot be read.
    pub is_damaged: bool,
}

impl Tail {
    /// Whether nothing that was sent can be missing.
    pub fn is_whole(self) -> bool {
        has(Bug::TrustTornJournal) || (!self.is_damaged && (self.is_same_boot || self.is_strict))
    }
}

impl Replay {
    /// An attempt was about to be sent.
    pub fn intent(&mut self, attempt: u64, accounts: &[AccountKey], worst: NanoUsd) {
        self.open.insert(attempt, (accounts.to_vec(), worst));
    }

    /// An attempt ended at a cost. Of an attempt without an intent nothing is known; it is left out.
    ///
    /// # Errors
    /// [`Broken::Range`] when the sum is no amount of money.
    pub fn outcome(&mut self, attempt: u64, cost: NanoUsd) -> Result<(), Broken> {
        match self.open.remove(&attempt) {
            Some((accounts, _)) => self.spend(&accounts, cost),
            None => Ok(()),
        }
    }

    /// Attempts without an outcome: the journal's owner closes each by a record at its worst case.
    pub fn unsettled(&self) -> impl Iterator<Item = (u64, NanoUsd)> {
        self.open.iter().map(|(attempt, (_, worst))| (*attempt, *worst))
    }

    /// Ends the journal.
    ///
    /// # Errors
    /// [`Broken::Range`] when the sum is no amount of money.
    pub fn finish(mut self, incarnation: Incarnation, tail: Tail) -> Result<Past, Broken> {
        if !has(Bug::DropInFlight) {
            for (accounts, worst) in std::mem::take(&mut self.open).into_values() {
                self.spend(&accounts, worst)?;
            }
        }
        Ok(Past { incarnation, finals: self.spent.into_iter().collect(), is_whole: tail.is_whole(), last_seq: 0 })
    }

    fn spend(&mut self, accounts: &[AccountKey], cost: NanoUsd) -> Result<(), Broken> {
        for account in accounts {
            let spent = self.spent.entry(account.clone()).or_default();
            *spent = add(*spent, cost, "a journal's sum")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::BudgetId;
    use crate::time::UnixMicros;

    #[test]
    fn what_was_in_flight_counts_at_its_worst_case() {
        let account = |name| AccountKey { budget_id: BudgetId::from(name), period_start: UnixMicros::new(0) };
        let mut replay = Replay::default();
        replay.intent(1, &[account("i"), account("t")], NanoUsd::new(10));
        replay.intent(2, &[account("i")], NanoUsd::new(20));
        replay.outcome(1, NanoUsd::new(3)).unwrap();
        replay.outcome(9, NanoUsd::new(500)).unwrap();
        assert_eq!(replay.unsettled().collect::<Vec<_>>(), [(2, NanoUsd::new(20))]);
        let tail = Tail { is_same_boot: true, is_strict: false, is_damaged: false };
        let past = replay.finish(Incarnation::from("x"), tail).unwrap();
        assert_eq!(past.finals, [(account("i"), NanoUsd::new(23)), (account("t"), NanoUsd::new(3))]);
        assert!(past.is_whole);
    }

    #[test]
    fn only_a_same_boot_or_strict_and_readable_journal_is_whole() {
        for (is_same_boot, is_strict, is_damaged, expected) in [
            (true, false, false, true),
            (false, true, false, true),
            (false, false, false, false),
            (true, true, true, false),
        ] {
            assert_eq!(Tail { is_same_boot, is_strict, is_damaged }.is_whole(), expected);
        }
    }
}
