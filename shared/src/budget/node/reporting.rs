//! What a node says about itself, and whom it believes.
//!
//! Rule: a report is complete. What was confirmed is left out only as long as the epoch lasts: in a new one everything is
//! said again, since the database may have forgotten it. A grant of an epoch that is over is not believed: the plane has
//! been told what this node holds, without it.

use super::machine::NodeEscrow;
use super::{Hold, NodeStep};
use crate::budget::AccountKey;
use crate::budget::message::{Balance, Epoch, Past, Report};
use crate::budget::planted::{Bug, has};
use crate::ids::Incarnation;

/// Confirmed earlier incarnations that are kept, in case a database forgets them.
const KEPT_PASTS: usize = 64;

/// An earlier incarnation.
#[derive(Clone, Debug)]
pub(super) struct KnownPast {
    past: Past,
    is_confirmed: bool,
}

impl KnownPast {
    pub(super) fn new(past: Past) -> Self {
        Self { past, is_confirmed: false }
    }
}

impl<H: Hold> NodeEscrow<H> {
    /// The newest epoch heard of; 0 before any.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Earlier incarnations whose journals must be kept: the plane may have to hear of them again.
    pub fn pasts(&self) -> impl Iterator<Item = &Past> {
        self.pasts.iter().map(|known| &known.past)
    }

    /// Adds an earlier incarnation whose journal was only now read or shipped. One that is known is replaced, unless it
    /// was known to be whole.
    pub fn add_past(&mut self, past: Past) {
        if self.pasts.iter().any(|known| known.past.incarnation == past.incarnation && known.past.is_whole) {
            return;
        }
        self.pasts.retain(|known| known.past.incarnation != past.incarnation);
        self.pasts.push(KnownPast::new(past));
        self.is_report_due = true;
    }

    /// Keeps what the plane says that a closed incarnation spent: its records prove it no more to a database that was restored
    /// to before they came.
    pub fn replace_past(&mut self, past: &Past) {
        for known in self.pasts.iter_mut().filter(|known| known.past.incarnation == past.incarnation) {
            known.past = past.clone();
        }
    }

    pub(super) fn is_believed(&mut self, epoch: Epoch) -> bool {
        if epoch < self.epoch {
            return has(Bug::OldEpochBelieved);
        }
        if epoch > self.epoch {
            self.epoch = epoch;
            self.is_report_due = true;
            for account in self.slots.values_mut().flat_map(|slot| slot.accounts.values_mut()) {
                account.confirmed = None;
            }
            for known in &mut self.pasts {
                known.is_confirmed = false;
            }
        }
        true
    }

    pub(super) fn confirm_pasts(&mut self, taken: &[Incarnation]) {
        for known in self.pasts.iter_mut().filter(|known| taken.contains(&known.past.incarnation)) {
            known.is_confirmed = true;
        }
        let kept = if has(Bug::ForgetPasts) { 0 } else { KEPT_PASTS };
        let confirmed = self.pasts.iter().filter(|known| known.is_confirmed).count();
        let mut surplus = confirmed.saturating_sub(kept);
        self.pasts.retain(|known| {
            let is_surplus = known.is_confirmed && surplus > 0;
            surplus -= usize::from(is_surplus);
            !is_surplus
        });
    }

    pub(super) fn report_if_due(&mut self, steps: &mut Vec<NodeStep>) {
        if !std::mem::take(&mut self.is_report_due) {
            return;
        }
        let mut balances = Vec::new();
        for (budget_id, slot) in &self.slots {
            for (period_start, account) in &slot.accounts {
                let holding = &account.holding;
                if account.is_confirmed() && holding.is_over() {
                    continue;
                }
                balances.push(Balance {
                    account: AccountKey { budget_id: budget_id.clone(), period_start: *period_start },
                    granted: holding.granted(),
                    spent: holding.spent(),
                    returned: holding.returned(),
                    rate: slot.rate.per_second(),
                });
            }
        }
        let pasts: Vec<Past> =
            self.pasts.iter().filter(|known| !known.is_confirmed).map(|known| known.past.clone()).collect();
        if balances.is_empty() && pasts.is_empty() && has(Bug::SilentWhenEmpty) {
            return;
        }
        steps.push(NodeStep::Send(Report::Balances { epoch: self.epoch, balances, pasts }));
    }
}
