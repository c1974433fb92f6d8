//! One budget on a node: its accounts by period, one of them the present one.
//!
//! Rule: counters of an account live as long as anything of it is unconfirmed, whichever period is the present one; an
//! account is never started anew while it is known. The plane alone says which period is present, and of its answers the
//! one to the newest ask holds, so a late message cannot turn the calendar back.

use super::{Hold, Holding};
use crate::budget::broken::Broken;
use crate::budget::horizon::Rate;
use crate::budget::message::Standing;
use crate::budget::planted::{Bug, has};
use crate::money::NanoUsd;
use crate::time::UnixMicros;
use std::collections::BTreeMap;

/// Confirmed accounts of past periods that are kept, in case a database forgets them.
const KEPT_PERIODS: usize = 8;

/// An account as the node knows it.
#[derive(Clone, Debug)]
pub(super) struct Account<H = Holding> {
    pub(super) holding: H,
    pub(super) ends_at_us: u64,
    pub(super) available: NanoUsd,
    pub(super) recallable: NanoUsd,
    pub(super) pressed_until_us: u64,
    /// What was granted, spent and returned as the plane last said, in the present epoch.
    pub(super) confirmed: Option<[NanoUsd; 3]>,
}

/// A budget.
#[derive(Clone, Debug)]
pub(super) struct Slot<H = Holding> {
    pub(super) accounts: BTreeMap<UnixMicros, Account<H>>,
    current: Option<UnixMicros>,
    chosen_by_ask: u64,
    pub(super) rate: Rate,
    pub(super) horizon_s: u32,
}

impl<H: Hold> Account<H> {
    fn new(holding: H) -> Self {
        let none = NanoUsd::ZERO;
        Self { holding, ends_at_us: 0, available: none, recallable: none, pressed_until_us: 0, confirmed: None }
    }

    /// Whether the plane has the same totals, in the present epoch.
    pub(super) fn is_confirmed(&self) -> bool {
        self.confirmed == Some([self.holding.granted(), self.holding.spent(), self.holding.returned()])
    }

    /// Whether others wait for what is free here.
    pub(super) fn is_pressed(&self, now_us: u64) -> bool {
        now_us < self.pressed_until_us
    }

    /// What an attempt can get here without anybody giving back: unheld, and free on this node.
    pub(super) fn at_hand(&self) -> NanoUsd {
        self.available.max(NanoUsd::ZERO).saturating_add(self.holding.free().max(NanoUsd::ZERO))
    }

    /// What the fleet can still give to an attempt here, as far as this node knows: also what went back from here and had not
    /// come there when the plane answered.
    pub(super) fn reachable(&self) -> NanoUsd {
        let heard = self.confirmed.map_or(NanoUsd::ZERO, |[_, _, returned]| returned);
        let under_way = self.holding.returned().saturating_sub(heard).max(NanoUsd::ZERO);
        self.at_hand().saturating_add(self.recallable).saturating_add(under_way)
    }

    fn hear(&mut self, standing: &Standing, now_us: u64) {
        self.holding.learn(standing.granted);
        self.ends_at_us = now_us.saturating_add(standing.period_ends_in_us);
        self.available = standing.available;
        self.recallable = standing.recallable;
        self.confirmed = Some([standing.granted, standing.spent, standing.returned]);
    }
}

impl<H: Hold> Slot<H> {
    pub(super) fn new(horizon_s: u32) -> Self {
        Self { accounts: BTreeMap::new(), current: None, chosen_by_ask: 0, rate: Rate::default(), horizon_s }
    }

    /// The present account; `None` before the first news and after the period's end.
    pub(super) fn present(&self, now_us: u64) -> Option<(UnixMicros, &Account<H>)> {
        let period = self.current?;
        let account = self.accounts.get(&period)?;
        (now_us < account.ends_at_us).then_some((period, account))
    }

    /// The present account, to change it.
    pub(super) fn present_mut(&mut self, now_us: u64) -> Option<(UnixMicros, &mut Account<H>)> {
        let period = self.current?;
        let account = self.accounts.get_mut(&period)?;
        (now_us < account.ends_at_us).then_some((period, account))
    }

    /// Whether an account is the one that new attempts reserve in.
    pub(super) fn is_present(&self, period: UnixMicros, now_us: u64) -> bool {
        self.present(now_us).is_some_and(|(present, _)| present == period)
    }

    /// Takes in how an account stands. `ask` is the ask that is answered; an acknowledgement answers none. Returns whether
    /// something came free that should be reported.
    pub(super) fn hear(&mut self, standing: &Standing, ask: Option<u64>, now_us: u64) -> Result<bool, Broken> {
        self.horizon_s = standing.horizon_s;
        let period = standing.account.period_start;
        let is_newest = ask.is_some_and(|ask| ask >= self.chosen_by_ask);
        // an acknowledgement may be quicker than the answer that brings a new period
        let is_needed = self.present(now_us).is_none() && standing.period_ends_in_us > 0;
        let is_switch = self.current != Some(period) && (is_newest || is_needed);
        if is_switch && has(Bug::FreshAccountAgain) {
            self.accounts.remove(&period);
        }
        let account = self.accounts.entry(period).or_insert_with(|| {
            let Standing { granted, spent, returned, .. } = *standing;
            Account::new(if has(Bug::FreshAccountAgain) {
                H::remembered(&standing.account, granted, NanoUsd::ZERO, NanoUsd::ZERO)
            } else {
                H::remembered(&standing.account, granted, spent, returned)
            })
        });
        account.hear(standing, now_us);
        if is_newest {
            self.chosen_by_ask = ask.unwrap_or(0);
        }
        if is_switch {
            self.current = Some(period);
        }
        self.clear_past(now_us)
    }

    /// Gives back what is free in periods that are not the present one. Returns whether anything was.
    pub(super) fn clear_past(&mut self, now_us: u64) -> Result<bool, Broken> {
        let present = self.present(now_us).map(|(period, _)| period);
        let mut is_any = false;
        for (_, account) in self.accounts.iter_mut().filter(|(period, _)| Some(**period) != present) {
            is_any |= account.holding.give_back_beyond(NanoUsd::ZERO)? > NanoUsd::ZERO;
        }
        self.forget(present);
        Ok(is_any)
    }

    /// Gives back what is free in past periods, and in the present one while others wait for it. Returns whether anything
    /// was.
    pub(super) fn clear(&mut self, now_us: u64) -> Result<bool, Broken> {
        let mut is_any = self.clear_past(now_us)?;
        if let Some((_, account)) = self.present_mut(now_us)
            && account.is_pressed(now_us)
        {
            is_any |= account.holding.give_back_beyond(NanoUsd::ZERO)? > NanoUsd::ZERO;
        }
        Ok(is_any)
    }

    fn forget(&mut self, present: Option<UnixMicros>) {
        let over: Vec<UnixMicros> = self
            .accounts
            .iter()
            .filter(|(period, account)| {
                let is_sure = account.is_confirmed() || has(Bug::ForgetBeforeConfirmed);
                Some(**period) != present && Some(**period) != self.current && account.holding.is_over() && is_sure
            })
            .map(|(period, _)| *period)
            .collect();
        let kept = if has(Bug::ForgetBeforeConfirmed) { 0 } else { KEPT_PERIODS };
        for period in over.iter().take(over.len().saturating_sub(kept)) {
            self.accounts.remove(period);
        }
    }
}
