//! The machine: attempts, messages and time go in, steps come out.
//!
//! Rule: all accounts of a path or none; what was reserved is settled or put back exactly once. Whom to ask for money is
//! `asking`'s business, what is said about it `reporting`'s.

use super::asking::Waiter;
use super::reporting::KnownPast;
use super::slot::Slot;
use super::{Denial, Ending, Hold, Holding, NodeSettings, NodeStep};
use crate::budget::AccountKey;
use crate::budget::broken::Broken;
use crate::budget::message::{Epoch, Past, Update};
use crate::budget::planted::{Bug, has};
use crate::ids::BudgetId;
use crate::money::NanoUsd;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What one attempt holds.
#[derive(Clone, Debug)]
pub(super) struct Reservation {
    accounts: Vec<AccountKey>,
    amount: NanoUsd,
}

/// One incarnation's escrow. `H` is how the counters of an account are kept.
#[derive(Clone, Debug)]
pub struct NodeEscrow<H = Holding> {
    pub(super) settings: NodeSettings,
    pub(super) slots: BTreeMap<BudgetId, Slot<H>>,
    pub(super) held: BTreeMap<u64, Reservation>,
    pub(super) waiting: VecDeque<Waiter>,
    /// Budgets that somebody wants to know of without wanting money.
    pub(super) wanted_news: BTreeSet<BudgetId>,
    pub(super) last_ask: u64,
    pub(super) outstanding: Option<(u64, u64)>,
    pub(super) next_ask_us: u64,
    pub(super) next_heartbeat_us: u64,
    pub(super) epoch: Epoch,
    pub(super) pasts: Vec<KnownPast>,
    pub(super) is_report_due: bool,
    is_sealed: bool,
}

impl<H: Hold> NodeEscrow<H> {
    /// A new incarnation that holds nothing. `pasts` is what the journals of earlier ones say.
    pub fn new(settings: NodeSettings, pasts: Vec<Past>, now_us: u64) -> Self {
        Self {
            settings,
            slots: BTreeMap::new(),
            held: BTreeMap::new(),
            waiting: VecDeque::new(),
            wanted_news: BTreeSet::new(),
            last_ask: 0,
            outstanding: None,
            next_ask_us: 0,
            next_heartbeat_us: now_us.saturating_add(settings.phase_us),
            epoch: 0,
            pasts: pasts.into_iter().map(KnownPast::new).collect(),
            is_report_due: false,
            is_sealed: false,
        }
    }

    /// Reserves `amount` of every budget of the path for a new attempt, or asks for it.
    ///
    /// # Errors
    /// [`Broken`]: the machine must not be used any more.
    pub fn admit(
        &mut self,
        attempt: u64,
        path: &[BudgetId],
        amount: NanoUsd,
        now_us: u64,
    ) -> Result<Vec<NodeStep>, Broken> {
        let mut steps = Vec::new();
        if self.is_sealed {
            steps.push(NodeStep::Denied { attempt, why: Denial::Sealed });
            return Ok(steps);
        }
        match self.reserve(attempt, path, amount, now_us)? {
            Ok(step) => steps.push(step),
            Err(_) => {
                self.waiting.push_back(Waiter::new(
                    attempt,
                    path,
                    amount,
                    now_us.saturating_add(self.settings.patience_us),
                ));
                self.ask(now_us, &mut steps);
            }
        }
        Ok(steps)
    }

    /// Ends an attempt: its cost is booked, the rest of its reservation is free again. Returns by how much the cost passed
    /// the reservation, and what is to be done.
    ///
    /// # Errors
    /// [`Broken`]: the machine must not be used any more.
    pub fn settle(&mut self, attempt: u64, ending: Ending, now_us: u64) -> Result<(NanoUsd, Vec<NodeStep>), Broken> {
        let Reservation { accounts, amount } = self.held.remove(&attempt).ok_or(Broken::NoReservation(attempt))?;
        let cost = match ending {
            Ending::Cost(cost) => cost.max(NanoUsd::ZERO),
            Ending::Unbilled => NanoUsd::ZERO,
            Ending::Unknown if has(Bug::BreakIsFree) => NanoUsd::ZERO,
            Ending::Unknown => amount,
        };
        let mut overrun = NanoUsd::ZERO;
        for key in &accounts {
            overrun = overrun.max(self.release(key, amount, cost, now_us)?);
        }
        let mut steps = Vec::new();
        self.answer_waiting(now_us, false, &mut steps)?;
        self.report_if_due(&mut steps);
        Ok((overrun, steps))
    }

    /// Ends an attempt that failed and begins the next one of the same request, under a reservation of its own.
    ///
    /// # Errors
    /// [`Broken`]: the machine must not be used any more.
    pub fn fail_over(
        &mut self,
        attempt: u64,
        ending: Ending,
        next: u64,
        path: &[BudgetId],
        now_us: u64,
    ) -> Result<Vec<NodeStep>, Broken> {
        let amount = self.held.get(&attempt).ok_or(Broken::NoReservation(attempt))?.amount;
        if has(Bug::OneHoldForAllAttempts)
            && let Some(held) = self.held.remove(&attempt)
        {
            let accounts = held.accounts.clone();
            self.held.insert(next, held);
            return Ok(vec![NodeStep::Admitted { attempt: next, accounts, amount }]);
        }
        let (_, mut steps) = self.settle(attempt, ending, now_us)?;
        steps.extend(self.admit(next, path, amount, now_us)?);
        Ok(steps)
    }

    /// Takes a message of the plane in.
    ///
    /// # Errors
    /// [`Broken`]: the machine must not be used any more.
    pub fn hear(&mut self, update: Update, now_us: u64) -> Result<Vec<NodeStep>, Broken> {
        let mut steps = Vec::new();
        match update {
            Update::Granted { epoch, ask, standings, is_learning } => {
                if !self.is_believed(epoch) {
                    return Ok(steps);
                }
                for standing in &standings {
                    self.is_report_due |= self.slot(&standing.account.budget_id).hear(standing, Some(ask), now_us)?;
                }
                self.note_answer(ask, now_us);
                let is_verdict = ask == self.last_ask && !is_learning;
                self.answer_waiting(now_us, is_verdict, &mut steps)?;
                self.pause_after_an_answer(is_learning, now_us);
                self.ask(now_us, &mut steps);
            }
            Update::Acknowledged { epoch, standings, pasts, is_learning: _ } => {
                if !self.is_believed(epoch) {
                    return Ok(steps);
                }
                for standing in standings.iter().filter(|_| !has(Bug::NoResync)) {
                    self.is_report_due |= self.slot(&standing.account.budget_id).hear(standing, None, now_us)?;
                }
                self.confirm_pasts(&pasts);
                self.answer_waiting(now_us, false, &mut steps)?;
            }
            Update::Recall { epoch, account } => {
                if self.is_believed(epoch) {
                    self.give_up(&account, now_us)?;
                }
            }
            Update::Sealed => self.seal(&mut steps),
        }
        self.report_if_due(&mut steps);
        Ok(steps)
    }

    /// Does what is due. To be called when [`Self::wake_at_us`] says so; earlier does no harm.
    ///
    /// # Errors
    /// [`Broken`]: the machine must not be used any more.
    pub fn tick(&mut self, now_us: u64) -> Result<Vec<NodeStep>, Broken> {
        let mut steps = Vec::new();
        if now_us >= self.next_heartbeat_us {
            self.next_heartbeat_us = now_us.saturating_add(self.settings.heartbeat_us);
            let refill = self.refill(now_us)?;
            self.is_report_due = true;
            self.report_if_due(&mut steps);
            self.ask_for(refill, now_us, &mut steps);
        }
        self.expire_waiting(now_us, &mut steps);
        self.ask(now_us, &mut steps);
        Ok(steps)
    }

    /// When [`Self::tick`] is due next, in microseconds on the same clock.
    pub fn wake_at_us(&self) -> u64 {
        let deadlines = self.waiting.iter().map(|waiter| waiter.deadline_us);
        let timeout_us = self.settings.ask_timeout_us;
        // both hold: an ask that timed out is not asked again before a pause is over
        let is_lost_at = self.outstanding.map_or(0, |(_, sent_us)| sent_us.saturating_add(timeout_us));
        let ask_at = self.next_ask_us.max(is_lost_at);
        let asks = (!self.waiting.is_empty()).then_some(ask_at);
        deadlines.chain(asks).fold(self.next_heartbeat_us, u64::min)
    }

    /// What this incarnation holds of every account, for checks and displays.
    pub fn holdings(&self) -> impl Iterator<Item = (AccountKey, &H)> {
        self.slots.iter().flat_map(|(budget_id, slot)| {
            let key =
                |period: &crate::time::UnixMicros| AccountKey { budget_id: budget_id.clone(), period_start: *period };
            slot.accounts.iter().map(move |(period, account)| (key(period), &account.holding))
        })
    }

    /// The account that a new attempt would reserve in; `None` when its period is over or unknown.
    pub fn present(&self, budget: &BudgetId, now_us: u64) -> Option<AccountKey> {
        let (period_start, _) = self.slots.get(budget)?.present(now_us)?;
        Some(AccountKey { budget_id: budget.clone(), period_start })
    }

    /// Whether this incarnation was sealed: the process should end and start anew.
    pub fn is_sealed(&self) -> bool {
        self.is_sealed
    }

    /// How many attempts wait for money.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn slot(&mut self, budget: &BudgetId) -> &mut Slot<H> {
        let horizon_s = self.settings.horizon_s;
        self.slots.entry(budget.clone()).or_insert_with(|| Slot::new(horizon_s))
    }

    /// Takes from every account of the path, or from none. `Err` names the first that is short.
    pub(super) fn reserve(
        &mut self,
        attempt: u64,
        path: &[BudgetId],
        amount: NanoUsd,
        now_us: u64,
    ) -> Result<Result<NodeStep, BudgetId>, Broken> {
        let mut accounts = Vec::with_capacity(path.len());
        for budget in path {
            let slot = self.slot(budget);
            let mut taken = None;
            if let Some((period_start, account)) = slot.present_mut(now_us)
                && account.holding.take(amount)?
            {
                taken = Some(period_start);
            }
            let Some(period_start) = taken else {
                for key in accounts.iter().filter(|_| !has(Bug::HalfPath)) {
                    self.undo(key, amount)?;
                }
                return Ok(Err(budget.clone()));
            };
            accounts.push(AccountKey { budget_id: budget.clone(), period_start });
        }
        for budget in path {
            self.slot(budget).rate.note(amount);
        }
        self.held.insert(attempt, Reservation { accounts: accounts.clone(), amount });
        Ok(Ok(NodeStep::Admitted { attempt, accounts, amount }))
    }

    fn undo(&mut self, key: &AccountKey, amount: NanoUsd) -> Result<(), Broken> {
        match self.slot(&key.budget_id).accounts.get_mut(&key.period_start) {
            Some(account) => account.holding.put_back(amount),
            None => Ok(()),
        }
    }

    fn release(&mut self, key: &AccountKey, amount: NanoUsd, cost: NanoUsd, now_us: u64) -> Result<NanoUsd, Broken> {
        let slot = self.slot(&key.budget_id);
        let is_present = slot.is_present(key.period_start, now_us);
        let Some(account) = slot.accounts.get_mut(&key.period_start) else { return Ok(NanoUsd::ZERO) };
        let overrun = account.holding.settle(amount, cost)?;
        if !is_present || account.is_pressed(now_us) {
            let back = account.holding.give_back_beyond(NanoUsd::ZERO)?;
            self.is_report_due |= back > NanoUsd::ZERO;
        }
        Ok(overrun)
    }

    fn give_up(&mut self, key: &AccountKey, now_us: u64) -> Result<(), Broken> {
        let pressed_until_us = now_us.saturating_add(self.settings.pressed_us);
        if let Some(account) =
            self.slots.get_mut(&key.budget_id).and_then(|slot| slot.accounts.get_mut(&key.period_start))
        {
            account.pressed_until_us = pressed_until_us;
            let back = account.holding.give_back_beyond(NanoUsd::ZERO)?;
            // who has nothing to give and has said so stays silent: a fleet would answer each recall in chorus
            self.is_report_due |= back > NanoUsd::ZERO || !account.is_confirmed();
        }
        Ok(())
    }

    fn seal(&mut self, steps: &mut Vec<NodeStep>) {
        self.is_sealed = true;
        let waiting = std::mem::take(&mut self.waiting);
        steps.extend(
            waiting.into_iter().map(|waiter| NodeStep::Denied { attempt: waiter.attempt, why: Denial::Sealed }),
        );
    }
}
