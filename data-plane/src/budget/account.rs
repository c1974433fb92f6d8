//! One budget's escrow on this node: atomics, no lock on the request path.
//!
//! Rule: the arithmetic is [`helix_shared::budget::node::Holding`]'s. What is reserved is derived: `granted - spent -
//! returned - free`, so every step is one atomic change of `free`, which a reservation takes by compare-and-swap and never
//! below zero. Requests take and settle; everything else is the escrow task's alone.

use arc_swap::ArcSwapOption;
use helix_shared::budget::broken::Broken;
use helix_shared::budget::message::Standing;
use helix_shared::budget::node::Hold;
use helix_shared::budget::{AccountKey, Limit, Mode};
use helix_shared::ids::BudgetId;
use helix_shared::money::NanoUsd;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::Notify;

/// How requests tell the escrow task that money came free.
#[derive(Debug, Default)]
pub struct Signal {
    /// Somebody here waits for money of any account.
    pub(super) has_waiters: AtomicBool,
    /// Wakes the task.
    pub(super) came_free: Notify,
}

/// A budget in one period, as this incarnation holds it. Amounts are totals since the incarnation began, but `free`.
#[derive(Debug)]
pub struct Account {
    /// Budget and period.
    pub key: AccountKey,
    granted: AtomicI64,
    free: AtomicI64,
    spent: AtomicI64,
    returned: AtomicI64,
    ends_at_monotonic_us: AtomicU64,
    period_end_us: AtomicI64,
    limit: AtomicI64,
    fleet_spent: AtomicI64,
    available: AtomicI64,
    /// What comes free goes back at once: another node waits for it, or the period is over.
    goes_back: AtomicBool,
    signal: OnceLock<Arc<Signal>>,
}

/// What the numbers are at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Granted so far.
    pub granted: i64,
    /// Settled so far.
    pub spent: i64,
    /// Given back so far.
    pub returned: i64,
    /// Not held by anything.
    pub free: i64,
}

impl Account {
    fn remembered(key: AccountKey, granted: NanoUsd, spent: NanoUsd, returned: NanoUsd) -> Self {
        let free = granted.saturating_sub(spent).saturating_sub(returned);
        Self {
            key,
            granted: AtomicI64::new(granted.get()),
            free: AtomicI64::new(free.get()),
            spent: AtomicI64::new(spent.get()),
            returned: AtomicI64::new(returned.get()),
            ends_at_monotonic_us: AtomicU64::new(0),
            period_end_us: AtomicI64::new(0),
            limit: AtomicI64::new(0),
            fleet_spent: AtomicI64::new(0),
            available: AtomicI64::new(0),
            goes_back: AtomicBool::new(false),
            signal: OnceLock::new(),
        }
    }

    /// An account with this much granted, whose period ends then.
    #[cfg(test)]
    pub(super) fn granted(key: AccountKey, granted: NanoUsd, ends_at_monotonic_us: u64) -> Arc<Self> {
        let account = Self::remembered(key, granted, NanoUsd::ZERO, NanoUsd::ZERO);
        account.ends_at_monotonic_us.store(ends_at_monotonic_us, Ordering::Relaxed);
        account.limit.store(granted.get(), Ordering::Relaxed);
        Arc::new(account)
    }

    /// Takes in how the account stands, but for what the machine takes in itself.
    pub(super) fn note(&self, standing: &Standing, monotonic_us: u64, signal: &Arc<Signal>) {
        let ends_at_us = monotonic_us.saturating_add(standing.period_ends_in_us);
        self.ends_at_monotonic_us.store(ends_at_us, Ordering::Relaxed);
        self.period_end_us.store(standing.period_end.get(), Ordering::Relaxed);
        self.limit.store(standing.limit.get(), Ordering::Relaxed);
        self.fleet_spent.store(standing.fleet_spent.get(), Ordering::Relaxed);
        self.available.store(standing.available.get(), Ordering::Relaxed);
        self.signal.get_or_init(|| Arc::clone(signal));
    }

    pub(super) fn set_goes_back(&self, goes_back: bool) {
        self.goes_back.store(goes_back, Ordering::SeqCst);
    }

    /// Whether the period is over.
    pub fn is_over(&self, monotonic_us: u64) -> bool {
        monotonic_us >= self.ends_at_monotonic_us.load(Ordering::Relaxed)
    }

    pub(super) fn try_take(&self, amount: i64) -> bool {
        self.free
            .fetch_update(Ordering::SeqCst, Ordering::Relaxed, |free| (free >= amount).then(|| free - amount))
            .is_ok()
    }

    pub(super) fn put_back(&self, amount: i64) {
        self.come_free(amount);
    }

    pub(super) fn settle(&self, held: i64, actual: i64) {
        self.spent.fetch_add(actual, Ordering::SeqCst);
        self.come_free(held.saturating_sub(actual));
    }

    /// Also for nothing: the node that waits for a report of what was spent waits for that too.
    fn come_free(&self, amount: i64) {
        self.free.fetch_add(amount, Ordering::SeqCst);
        if let Some(signal) = self.signal.get()
            && (signal.has_waiters.load(Ordering::SeqCst) || self.goes_back.load(Ordering::SeqCst))
        {
            signal.came_free.notify_one();
        }
    }

    /// What the numbers are now.
    pub fn totals(&self) -> Totals {
        Totals {
            granted: self.granted.load(Ordering::Acquire),
            spent: self.spent.load(Ordering::Acquire),
            returned: self.returned.load(Ordering::Acquire),
            free: self.free.load(Ordering::Acquire),
        }
    }

    /// End of the period on the server's clock, for messages; µs since 1970.
    pub fn period_end_us(&self) -> i64 {
        self.period_end_us.load(Ordering::Relaxed)
    }

    /// Money left for the whole fleet as far as this node knows: what nobody holds plus what this node holds free.
    pub fn remaining(&self) -> NanoUsd {
        let free = self.free.load(Ordering::Relaxed);
        NanoUsd::new(self.available.load(Ordering::Relaxed).max(0).saturating_add(free))
    }

    /// The limit as last heard.
    pub fn limit(&self) -> NanoUsd {
        NanoUsd::new(self.limit.load(Ordering::Relaxed))
    }

    /// Spent by the fleet as far as this node knows: what was settled when last heard, and at least its own.
    pub fn known_spent(&self) -> NanoUsd {
        NanoUsd::new(self.fleet_spent.load(Ordering::Relaxed).max(self.spent.load(Ordering::Relaxed)))
    }

    /// Money that is not available to a request: settled, held in flight or by other nodes. More than the limit where that
    /// was lowered below what is spent.
    pub fn committed(&self) -> NanoUsd {
        self.limit().saturating_sub(self.remaining()).max(self.known_spent())
    }
}

/// An account as the escrow machine holds it.
#[derive(Debug, Clone)]
pub struct Counters(pub Arc<Account>);

impl Hold for Counters {
    fn remembered(account: &AccountKey, granted: NanoUsd, spent: NanoUsd, returned: NanoUsd) -> Self {
        Self(Arc::new(Account::remembered(account.clone(), granted, spent, returned)))
    }

    fn granted(&self) -> NanoUsd {
        NanoUsd::new(self.0.granted.load(Ordering::SeqCst))
    }

    fn spent(&self) -> NanoUsd {
        NanoUsd::new(self.0.spent.load(Ordering::SeqCst))
    }

    fn returned(&self) -> NanoUsd {
        NanoUsd::new(self.0.returned.load(Ordering::SeqCst))
    }

    fn free(&self) -> NanoUsd {
        NanoUsd::new(self.0.free.load(Ordering::SeqCst))
    }

    fn learn(&mut self, granted_total: NanoUsd) {
        let before = self.0.granted.fetch_max(granted_total.get(), Ordering::SeqCst);
        if granted_total.get() > before {
            self.0.free.fetch_add(granted_total.get().saturating_sub(before), Ordering::SeqCst);
        }
    }

    fn take(&mut self, amount: NanoUsd) -> Result<bool, Broken> {
        if amount < NanoUsd::ZERO {
            return Err(Broken::Negative("a reservation"));
        }
        Ok(self.0.try_take(amount.get()))
    }

    fn put_back(&mut self, amount: NanoUsd) -> Result<(), Broken> {
        // The machine undoes what it took itself a moment ago: nothing has come free, and nobody is to be told so.
        self.0.free.fetch_add(amount.get(), Ordering::SeqCst);
        Ok(())
    }

    fn settle(&mut self, held: NanoUsd, actual: NanoUsd) -> Result<NanoUsd, Broken> {
        if actual < NanoUsd::ZERO {
            return Err(Broken::Negative("a cost"));
        }
        self.0.settle(held.get(), actual.get());
        Ok(actual.saturating_sub(held).max(NanoUsd::ZERO))
    }

    fn give_back_beyond(&mut self, keep: NanoUsd) -> Result<NanoUsd, Broken> {
        let keep = keep.get().max(0);
        let kept = |free: i64| (free > keep).then_some(keep);
        let Ok(free) = self.0.free.fetch_update(Ordering::SeqCst, Ordering::Relaxed, kept) else {
            return Ok(NanoUsd::ZERO);
        };
        self.0.returned.fetch_add(free - keep, Ordering::SeqCst);
        // Until the control plane says the same: nobody holds it from here on.
        self.0.available.fetch_add(free - keep, Ordering::Relaxed);
        Ok(NanoUsd::new(free - keep))
    }

    fn is_over(&self) -> bool {
        let Totals { granted, spent, returned, free } = self.0.totals();
        free == 0 && i128::from(granted) == i128::from(spent) + i128::from(returned)
    }
}

/// A budget of the configuration, with its account of the current period. Lives across configuration changes.
#[derive(Debug)]
pub struct Slot {
    /// The budget.
    pub budget_id: BudgetId,
    current: ArcSwapOption<Account>,
    /// Reserved since the last look, for the rate.
    reserved_since: AtomicI64,
    largest: AtomicI64,
}

impl Slot {
    /// A budget that nothing is known of yet.
    pub fn new(budget_id: BudgetId) -> Self {
        let (reserved_since, largest) = (AtomicI64::new(0), AtomicI64::new(0));
        Self { budget_id, current: ArcSwapOption::empty(), reserved_since, largest }
    }

    /// The account of the current period; `None` before the first news and after the period's end.
    pub fn account(&self, monotonic_us: u64) -> Option<Arc<Account>> {
        self.current.load_full().filter(|account| !account.is_over(monotonic_us))
    }

    /// Shows requests the account that they may reserve in.
    pub(super) fn show(&self, account: Option<Arc<Account>>) {
        self.current.store(account);
    }

    pub(super) fn note_reserved(&self, amount: i64) {
        self.reserved_since.fetch_add(amount, Ordering::Relaxed);
        self.largest.fetch_max(amount, Ordering::Relaxed);
    }

    /// What was reserved since the last call: the sum, and the largest.
    pub(super) fn take_reserved(&self) -> (NanoUsd, NanoUsd) {
        let take = |number: &AtomicI64| NanoUsd::new(number.swap(0, Ordering::Relaxed));
        (take(&self.reserved_since), take(&self.largest))
    }
}

/// Whether a budget needs escrow.
pub fn is_hard(limit: &Limit) -> bool {
    limit.mode == Mode::Hard
}

#[cfg(test)]
mod tests {
    use super::*;
    use helix_shared::budget::node::Holding;
    use helix_shared::time::UnixMicros;
    use proptest::prelude::*;

    fn key() -> AccountKey {
        AccountKey { budget_id: BudgetId::from("b"), period_start: UnixMicros::new(0) }
    }

    #[test]
    fn an_account_is_not_over_while_a_settlement_is_half_done() {
        let mut counters = Counters(Account::granted(key(), NanoUsd::new(10), u64::MAX));
        let account = Arc::clone(&counters.0);
        assert!(account.try_take(10));
        account.spent.fetch_add(4, Ordering::SeqCst);
        assert!(!counters.is_over(), "the rest has not come free yet");
        account.come_free(6);
        assert!(!counters.is_over());
        assert_eq!(counters.give_back_beyond(NanoUsd::ZERO), Ok(NanoUsd::new(6)));
        assert!(counters.is_over());
    }

    #[test]
    fn only_what_really_comes_free_is_told_to_who_waits() {
        use futures_util::FutureExt as _;
        let account = Account::granted(key(), NanoUsd::new(10), u64::MAX);
        let signal: Arc<Signal> = Arc::default();
        signal.has_waiters.store(true, Ordering::SeqCst);
        account.signal.get_or_init(|| Arc::clone(&signal));
        let mut counters = Counters(Arc::clone(&account));
        // The machine takes, finds a later budget short, and undoes it: told of that, it would try again without end.
        assert_eq!(counters.take(NanoUsd::new(10)), Ok(true));
        assert_eq!(counters.put_back(NanoUsd::new(10)), Ok(()));
        assert!(signal.came_free.notified().now_or_never().is_none());
        assert!(account.try_take(10));
        account.settle(10, 4);
        assert!(signal.came_free.notified().now_or_never().is_some());
    }

    #[test]
    fn what_is_given_back_stays_in_what_is_left_for_the_fleet() {
        let account = Account::granted(key(), NanoUsd::new(50), u64::MAX);
        assert!(account.try_take(20));
        let remaining = account.remaining();
        assert_eq!(Counters(Arc::clone(&account)).give_back_beyond(NanoUsd::new(8)), Ok(NanoUsd::new(22)));
        assert_eq!(account.remaining(), remaining);
    }

    proptest! {
        /// The simulation proves the protocol with [`Holding`]; requests run on atomics. They are the same arithmetic.
        #[test]
        fn the_atomics_do_what_the_simulated_holding_does(
            steps in prop::collection::vec((0_u8..4, 0_i64..100, 0_i64..130), 0..80),
        ) {
            let nano = NanoUsd::new;
            let mut model = Holding::default();
            let mut account = Counters::remembered(&key(), nano(0), nano(0), nano(0));
            let mut held = Vec::new();
            for (kind, a, b) in steps {
                match kind {
                    0 => {
                        model.learn(nano(a * 4));
                        account.learn(nano(a * 4));
                    }
                    1 => {
                        let took = model.take(nano(a));
                        prop_assert_eq!(&account.take(nano(a)), &took);
                        if took == Ok(true) {
                            held.push(a);
                        }
                    }
                    2 => if let Some(amount) = held.pop() {
                        let beyond = model.settle(nano(amount), nano(b));
                        prop_assert_eq!(account.settle(nano(amount), nano(b)), beyond);
                    },
                    _ => prop_assert_eq!(account.give_back_beyond(nano(b)), model.give_back_beyond(nano(b))),
                }
                let Totals { granted, spent, returned, free } = account.0.totals();
                let model_now = [model.granted(), model.spent(), model.returned(), model.free()].map(NanoUsd::get);
                prop_assert_eq!([granted, spent, returned, free], model_now);
                prop_assert_eq!(account.is_over(), model.is_over());
            }
        }
    }
}
