//! What a process needs that reserves beside the machine: requests find escrow in hand by atomics, and come to the machine
//! only when they find none.
//!
//! Rule: the machine and the requests share the counters ([`super::Hold`]) and nothing else. What a request was given by
//! the machine is handed over; what it settles alone is told by [`NodeEscrow::came_free`] when the machine waits for it.

use super::machine::NodeEscrow;
use super::{Hold, NodeStep};
use crate::budget::AccountKey;
use crate::budget::broken::Broken;
use crate::ids::BudgetId;
use crate::money::NanoUsd;

impl<H: Hold> NodeEscrow<H> {
    /// The counters of an account.
    pub fn holding(&self, key: &AccountKey) -> Option<&H> {
        Some(&self.slots.get(&key.budget_id)?.accounts.get(&key.period_start)?.holding)
    }

    /// Whether what comes free of an account goes back at once: another node waits for it, or its period is over.
    pub fn goes_back(&self, key: &AccountKey, now_us: u64) -> bool {
        let Some(slot) = self.slots.get(&key.budget_id) else { return true };
        let is_pressed = slot.accounts.get(&key.period_start).is_none_or(|account| account.is_pressed(now_us));
        is_pressed || !slot.is_present(key.period_start, now_us)
    }

    /// An admitted attempt settles by itself from here on.
    pub fn hand_over(&mut self, attempt: u64) {
        self.held.remove(&attempt);
    }

    /// Something came free that the machine did not settle.
    ///
    /// # Errors
    /// [`Broken`]: the machine must not be used any more.
    pub fn came_free(&mut self, now_us: u64) -> Result<Vec<NodeStep>, Broken> {
        let mut steps = Vec::new();
        // those who wait here are served before others
        self.answer_waiting(now_us, false, &mut steps)?;
        for slot in self.slots.values_mut() {
            self.is_report_due |= slot.clear(now_us)?;
        }
        self.report_if_due(&mut steps);
        Ok(steps)
    }

    /// Notes what was reserved of a budget beside the machine since the last call: the sum, and the largest.
    pub fn note_reserved(&mut self, budget: &BudgetId, sum: NanoUsd, largest: NanoUsd) {
        self.slot(budget).rate.note_many(sum, largest);
    }

    /// Asks with the next ask how a budget stands, without wanting money.
    pub fn want_news(&mut self, budget: &BudgetId, now_us: u64) -> Vec<NodeStep> {
        let mut steps = Vec::new();
        self.wanted_news.insert(budget.clone());
        self.ask(now_us, &mut steps);
        steps
    }

    /// The plane can be reached anew: what was asked is lost, and it should hear at once what this node holds.
    pub fn connected(&mut self, now_us: u64) -> Vec<NodeStep> {
        let mut steps = Vec::new();
        (self.outstanding, self.next_ask_us, self.is_report_due) = (None, now_us, true);
        self.next_heartbeat_us = now_us.saturating_add(self.settings.heartbeat_us);
        self.report_if_due(&mut steps);
        self.ask(now_us, &mut steps);
        steps
    }

    /// Says at once what is to be said.
    pub fn report_now(&mut self) -> Vec<NodeStep> {
        let mut steps = Vec::new();
        self.is_report_due = true;
        self.report_if_due(&mut steps);
        steps
    }
}
