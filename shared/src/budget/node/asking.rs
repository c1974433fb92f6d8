//! Who waits for money, and what is asked of the plane for them.
//!
//! Rule: one ask is out at a time and carries everybody who waits; they are served in their order of arrival. An attempt is
//! denied when an answer that carried it says that nobody has the money, or when its patience ends.

use super::machine::NodeEscrow;
use super::slot::Slot;
use super::{Denial, Hold, NodeStep};
use crate::budget::AccountKey;
use crate::budget::broken::Broken;
use crate::budget::message::{Need, Report};
use crate::ids::BudgetId;
use crate::money::NanoUsd;
use crate::time::UnixMicros;
use std::collections::BTreeMap;

/// An attempt without money.
#[derive(Clone, Debug)]
pub(super) struct Waiter {
    pub(super) attempt: u64,
    path: Vec<BudgetId>,
    amount: NanoUsd,
    /// The first ask that carried it.
    asked: Option<u64>,
    /// The account that was short by the last answer to it.
    short_of: Option<AccountKey>,
    /// After this, the next answer that is not enough and not more than the one before denies it.
    recall_until_us: u64,
    /// What was at hand by the last answer: as long as it grows, money is on its way.
    last_at_hand: NanoUsd,
    pub(super) deadline_us: u64,
}

impl Waiter {
    pub(super) fn new(attempt: u64, path: &[BudgetId], amount: NanoUsd, deadline_us: u64) -> Self {
        Self {
            attempt,
            path: path.to_vec(),
            amount,
            asked: None,
            short_of: None,
            recall_until_us: u64::MAX,
            last_at_hand: NanoUsd::ZERO,
            deadline_us,
        }
    }
}

impl<H: Hold> NodeEscrow<H> {
    /// Notes that an ask was answered.
    pub(super) fn note_answer(&mut self, ask: u64, now_us: u64) {
        if self.outstanding.is_some_and(|(outstanding, _)| outstanding <= ask) {
            self.outstanding = None;
            self.next_ask_us = now_us;
        }
    }

    /// Admits those whose money has come, in their order. With the answer to the newest ask, which `is_verdict` says this
    /// is, denies those whom it carried and the fleet cannot afford; older news may say less than there is.
    pub(super) fn answer_waiting(
        &mut self,
        now_us: u64,
        is_verdict: bool,
        steps: &mut Vec<NodeStep>,
    ) -> Result<(), Broken> {
        for _ in 0..self.waiting.len() {
            let Some(mut waiter) = self.waiting.pop_front() else { break };
            let short = match self.reserve(waiter.attempt, &waiter.path, waiter.amount, now_us)? {
                Ok(admitted) => {
                    steps.push(admitted);
                    continue;
                }
                Err(short) => short,
            };
            if let Some((period_start, account)) = self.slots.get(&short).and_then(|slot| slot.present(now_us))
                && is_verdict
                && waiter.asked.is_some()
            {
                let key = AccountKey { budget_id: short, period_start };
                let at_hand = account.at_hand();
                let is_given_up =
                    now_us >= waiter.recall_until_us && at_hand < waiter.amount && at_hand <= waiter.last_at_hand;
                if account.reachable() < waiter.amount || is_given_up {
                    steps.push(NodeStep::Denied { attempt: waiter.attempt, why: Denial::Exceeded(key) });
                    continue;
                }
                if waiter.short_of.is_none() {
                    waiter.recall_until_us = now_us.saturating_add(self.settings.recall_patience_us);
                }
                waiter.last_at_hand = at_hand;
                waiter.short_of = Some(key);
                self.next_ask_us = self.next_ask_us.max(now_us.saturating_add(self.settings.ask_again_us));
            }
            self.waiting.push_back(waiter);
        }
        Ok(())
    }

    /// Who was answered and still waits, because nothing is granted of a budget that the plane does not know, asks again after a
    /// pause. Who was not asked for yet does not wait for the others, but while the plane learns, when nobody is granted
    /// anything.
    pub(super) fn pause_after_an_answer(&mut self, is_learning: bool, now_us: u64) {
        let is_answered = is_learning || self.waiting.iter().all(|waiter| waiter.asked.is_some());
        if is_answered && !self.waiting.is_empty() {
            self.next_ask_us = self.next_ask_us.max(now_us.saturating_add(self.settings.ask_again_us));
        }
    }

    /// Denies those whose patience is over.
    pub(super) fn expire_waiting(&mut self, now_us: u64, steps: &mut Vec<NodeStep>) {
        let (over, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|waiter| waiter.deadline_us <= now_us);
        self.waiting = waiting;
        let over: std::collections::VecDeque<Waiter> = over;
        for waiter in over {
            let first = waiter.path.first().cloned();
            let why = match (waiter.short_of, first) {
                (Some(account), _) => Denial::Exceeded(account),
                (None, Some(budget)) => Denial::Unavailable(budget),
                (None, None) => Denial::Unavailable(BudgetId::from("")),
            };
            steps.push(NodeStep::Denied { attempt: waiter.attempt, why });
        }
    }

    /// Asks for everybody who waits, unless an ask is out or it is too early.
    pub(super) fn ask(&mut self, now_us: u64, steps: &mut Vec<NodeStep>) {
        self.ask_for(Vec::new(), now_us, steps);
    }

    /// Asks for `refill` and for everybody who waits.
    pub(super) fn ask_for(&mut self, refill: Vec<Need>, now_us: u64, steps: &mut Vec<NodeStep>) {
        if let Some((_, sent_us)) = self.outstanding
            && now_us < sent_us.saturating_add(self.settings.ask_timeout_us)
        {
            return;
        }
        let is_wanted = !refill.is_empty() || !self.wanted_news.is_empty();
        if self.is_sealed() || (!is_wanted && (self.waiting.is_empty() || now_us < self.next_ask_us)) {
            return;
        }
        let ask = self.last_ask.saturating_add(1);
        for waiter in &mut self.waiting {
            waiter.asked.get_or_insert(ask);
        }
        let sums = self.waiting_sums();
        let mut needs: Vec<Need> = Vec::with_capacity(sums.len());
        for (budget, sums) in &sums {
            needs.push(need(self.slot(budget), budget, *sums, now_us));
        }
        needs.extend(refill.into_iter().filter(|need| !sums.contains_key(&need.account.budget_id)));
        for budget in std::mem::take(&mut self.wanted_news) {
            if !needs.iter().any(|need| need.account.budget_id == budget) {
                needs.push(no_need(self.slot(&budget), &budget, now_us));
            }
        }
        self.last_ask = ask;
        self.outstanding = Some((ask, now_us));
        self.next_ask_us = now_us.saturating_add(self.settings.ask_timeout_us);
        steps.push(NodeStep::Send(Report::Acquire { ask, needs }));
    }

    /// How much of each budget those who wait need.
    fn waiting_sums(&self) -> BTreeMap<BudgetId, Sums> {
        let mut sums: BTreeMap<BudgetId, Sums> = BTreeMap::new();
        for waiter in &self.waiting {
            for budget in &waiter.path {
                let of = sums.entry(budget.clone()).or_insert(Sums { all: NanoUsd::ZERO, least: waiter.amount });
                of.all = of.all.saturating_add(waiter.amount);
                of.least = of.least.min(waiter.amount);
            }
        }
        sums
    }

    /// Once a second: what runs low is asked for ahead of need, what lies idle is given back.
    pub(super) fn refill(&mut self, now_us: u64) -> Result<Vec<Need>, Broken> {
        let mut needs = Vec::new();
        let waiting = self.waiting_sums();
        for (budget, slot) in &mut self.slots {
            // what came for those who wait for another account too is not idle
            let kept = waiting.get(budget).map(|sums| sums.all).unwrap_or_default();
            slot.rate.tick();
            slot.clear_past(now_us)?;
            let wish = slot.rate.wish(slot.horizon_s);
            let slot_is_idle = slot.rate.is_idle();
            let Some((period_start, account)) = slot.present_mut(now_us) else { continue };
            let (granted, free) = (account.holding.granted(), account.holding.free());
            if account.is_pressed(now_us) || slot_is_idle {
                account.holding.give_back_beyond(kept)?;
            } else if free.get() > wish.get().saturating_mul(4) {
                account.holding.give_back_beyond(NanoUsd::new(wish.get().saturating_mul(2)).max(kept))?;
            } else if granted > NanoUsd::ZERO && free.get() < wish.get() / 4 {
                let least = slot.rate.least_wish().saturating_sub(free).max(NanoUsd::ZERO);
                let (least_total, want_total) =
                    (granted.saturating_add(least), granted.saturating_add(wish.saturating_sub(free)));
                let account = AccountKey { budget_id: budget.clone(), period_start };
                needs.push(Need { account, least_total, need_total: granted, want_total });
            }
        }
        Ok(needs)
    }
}

/// What those who wait need of one budget.
#[derive(Clone, Copy, Debug)]
struct Sums {
    /// All of them together.
    all: NanoUsd,
    /// The one that needs least.
    least: NanoUsd,
}

/// Asks how a budget stands.
fn no_need<H: Hold>(slot: &Slot<H>, budget: &BudgetId, now_us: u64) -> Need {
    let present = slot.present(now_us);
    let period_start = present.map_or(UnixMicros::new(0), |(period_start, _)| period_start);
    let granted = present.map_or(NanoUsd::ZERO, |(_, account)| account.holding.granted());
    let account = AccountKey { budget_id: budget.clone(), period_start };
    Need { account, least_total: granted, need_total: granted, want_total: granted }
}

/// What is asked of one budget.
fn need<H: Hold>(slot: &Slot<H>, budget: &BudgetId, sums: Sums, now_us: u64) -> Need {
    let wish = slot.rate.wish(slot.horizon_s).max(NanoUsd::new(sums.all.get().saturating_mul(4)));
    let Some((period_start, account)) = slot.present(now_us) else {
        let account = AccountKey { budget_id: budget.clone(), period_start: UnixMicros::new(0) };
        return Need { account, least_total: sums.least, need_total: sums.all, want_total: wish };
    };
    let (granted, free) = (account.holding.granted(), account.holding.free());
    let wish = if account.is_pressed(now_us) { sums.all } else { wish };
    let beyond = |amount: NanoUsd| granted.saturating_add(amount.saturating_sub(free).max(NanoUsd::ZERO));
    let account = AccountKey { budget_id: budget.clone(), period_start };
    Need { account, least_total: beyond(sums.least), need_total: beyond(sums.all), want_total: beyond(wish) }
}
