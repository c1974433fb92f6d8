//! One budget's escrow on this node: atomics, no lock on the request path.
//!
//! Rule: `spent + reserved + returned + free == granted`, always; a reservation takes from `free` by compare-and-swap and
//! never below zero.

use arc_swap::ArcSwapOption;
use helix_shared::budget::{AccountKey, Limit, Mode};
use helix_shared::ids::BudgetId;
use helix_shared::money::NanoUsd;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A budget in one period, as this incarnation holds it.
#[derive(Debug)]
pub struct Account {
    /// Budget and period.
    pub key: AccountKey,
    /// End of the period on the server's clock, for messages; µs since 1970.
    pub period_end_us: i64,
    ends_at_monotonic_us: AtomicU64,
    granted: AtomicI64,
    free: AtomicI64,
    reserved: AtomicI64,
    spent: AtomicI64,
    returned: AtomicI64,
    limit: AtomicI64,
    fleet_spent: AtomicI64,
    available: AtomicI64,
}

/// What the control plane says about an account.
#[derive(Debug, Clone)]
pub struct GrantNews {
    /// Budget and period.
    pub key: AccountKey,
    /// Total granted to this incarnation.
    pub granted_total: i64,
    /// End of the period on this node's monotonic clock, µs.
    pub ends_at_monotonic_us: u64,
    /// End of the period, µs since 1970.
    pub period_end_us: i64,
    /// The budget's limit.
    pub limit: i64,
    /// Settled spend of the fleet.
    pub fleet_spent: i64,
    /// What nobody holds.
    pub available: i64,
}

/// Totals that are reported every second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// Budget and period.
    pub key: AccountKey,
    /// Granted so far.
    pub granted: i64,
    /// Settled so far.
    pub spent: i64,
    /// Given back so far.
    pub returned: i64,
    /// Held by requests in flight.
    pub reserved: i64,
    /// Not held by anything.
    pub free: i64,
}

impl Account {
    fn new(news: &GrantNews) -> Self {
        let account = Self {
            key: news.key.clone(),
            period_end_us: news.period_end_us,
            ends_at_monotonic_us: AtomicU64::new(0),
            granted: AtomicI64::new(0),
            free: AtomicI64::new(0),
            reserved: AtomicI64::new(0),
            spent: AtomicI64::new(0),
            returned: AtomicI64::new(0),
            limit: AtomicI64::new(0),
            fleet_spent: AtomicI64::new(0),
            available: AtomicI64::new(0),
        };
        account.learn(news);
        account
    }

    /// Takes news in: totals only grow, whatever order messages come in.
    fn learn(&self, news: &GrantNews) {
        let before = self.granted.fetch_max(news.granted_total, Ordering::AcqRel);
        if news.granted_total > before {
            self.free.fetch_add(news.granted_total - before, Ordering::AcqRel);
        }
        self.ends_at_monotonic_us.store(news.ends_at_monotonic_us, Ordering::Relaxed);
        self.limit.store(news.limit, Ordering::Relaxed);
        self.fleet_spent.store(news.fleet_spent, Ordering::Relaxed);
        self.available.store(news.available, Ordering::Relaxed);
    }

    /// Whether the period is over.
    pub fn is_over(&self, monotonic_us: u64) -> bool {
        monotonic_us >= self.ends_at_monotonic_us.load(Ordering::Relaxed)
    }

    pub(super) fn try_take(&self, amount: i64) -> bool {
        let took = self
            .free
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, |free| (free >= amount).then(|| free - amount))
            .is_ok();
        if took {
            self.reserved.fetch_add(amount, Ordering::AcqRel);
        }
        took
    }

    pub(super) fn put_back(&self, amount: i64) {
        self.reserved.fetch_sub(amount, Ordering::AcqRel);
        self.free.fetch_add(amount, Ordering::AcqRel);
    }

    pub(super) fn settle(&self, held: i64, actual: i64) {
        self.spent.fetch_add(actual, Ordering::AcqRel);
        self.reserved.fetch_sub(held, Ordering::AcqRel);
        self.free.fetch_add(held - actual, Ordering::AcqRel);
    }

    /// Gives back what is free beyond `keep`. Returns how much.
    pub(super) fn give_back_beyond(&self, keep: i64) -> i64 {
        let keep = keep.max(0);
        match self.free.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |free| (free > keep).then_some(keep)) {
            Ok(free) => {
                self.returned.fetch_add(free - keep, Ordering::AcqRel);
                // Until the control plane says the same: nobody holds it from here on.
                self.available.fetch_add(free - keep, Ordering::Relaxed);
                free - keep
            }
            Err(_) => 0,
        }
    }

    /// What the numbers are now.
    pub fn totals(&self) -> Totals {
        Totals {
            key: self.key.clone(),
            granted: self.granted.load(Ordering::Acquire),
            spent: self.spent.load(Ordering::Acquire),
            returned: self.returned.load(Ordering::Acquire),
            reserved: self.reserved.load(Ordering::Acquire),
            free: self.free.load(Ordering::Acquire),
        }
    }

    /// Money left for the whole fleet as far as this node knows: what nobody holds plus what this node holds free.
    pub fn remaining(&self) -> NanoUsd {
        let free = self.free.load(Ordering::Relaxed);
        NanoUsd::new(self.available.load(Ordering::Relaxed).saturating_add(free))
    }

    /// The limit as last heard.
    pub fn limit(&self) -> NanoUsd {
        NanoUsd::new(self.limit.load(Ordering::Relaxed))
    }

    /// What nobody holds, as last heard.
    pub fn available(&self) -> NanoUsd {
        NanoUsd::new(self.available.load(Ordering::Relaxed))
    }

    /// Spent by the fleet as far as this node knows: what was settled when last heard, and at least its own.
    pub fn known_spent(&self) -> NanoUsd {
        NanoUsd::new(self.fleet_spent.load(Ordering::Relaxed).max(self.spent.load(Ordering::Relaxed)))
    }

    /// Money that is not available to a request: settled, held in flight or by other nodes.
    pub fn committed(&self) -> NanoUsd {
        self.limit().saturating_sub(self.remaining())
    }
}

/// A budget of the configuration, with its account of the current period. Lives across configuration changes.
#[derive(Debug)]
pub struct Slot {
    /// The budget.
    pub budget_id: BudgetId,
    current: ArcSwapOption<Account>,
    /// Accounts of past periods that requests in flight still settle into.
    retired: Mutex<Vec<Arc<Account>>>,
    /// Reserved since the last look, for the rate.
    reserved_since: AtomicI64,
    rate: AtomicI64,
    largest: AtomicI64,
}

impl Slot {
    /// A budget that nothing is known of yet.
    pub fn new(budget_id: BudgetId) -> Self {
        Self {
            budget_id,
            current: ArcSwapOption::empty(),
            retired: Mutex::new(Vec::new()),
            reserved_since: AtomicI64::new(0),
            rate: AtomicI64::new(0),
            largest: AtomicI64::new(0),
        }
    }

    /// The account of the current period; `None` before the first news and after the period's end.
    pub fn account(&self, monotonic_us: u64) -> Option<Arc<Account>> {
        self.current.load_full().filter(|account| !account.is_over(monotonic_us))
    }

    /// The account last heard of, over or not.
    pub fn last_account(&self) -> Option<Arc<Account>> {
        self.current.load_full()
    }

    /// Takes news in; a new period replaces the account. Called by the escrow task alone.
    pub fn learn(&self, news: &GrantNews) {
        match self.current.load_full() {
            Some(account) if account.key == news.key => account.learn(news),
            Some(account) if account.key.period_start > news.key.period_start => {
                let retired = self.retired();
                if let Some(old) = retired.iter().find(|old| old.key == news.key) {
                    old.learn(news);
                }
            }
            before => {
                self.current.store(Some(Arc::new(Account::new(news))));
                if let Some(before) = before {
                    before.give_back_beyond(0);
                    self.retired().push(before);
                }
            }
        }
    }

    pub(super) fn note_reserved(&self, amount: i64) {
        self.reserved_since.fetch_add(amount, Ordering::Relaxed);
        self.largest.fetch_max(amount, Ordering::Relaxed);
    }

    /// Smooths the rate once a second and returns what the node would like to hold.
    pub fn tick(&self, horizon_seconds: u32) -> NanoUsd {
        let reserved = self.reserved_since.swap(0, Ordering::Relaxed);
        let rate = self.rate.load(Ordering::Relaxed);
        let smoothed = rate - rate / 4 + reserved / 4;
        self.rate.store(smoothed, Ordering::Relaxed);
        let largest = self.largest.load(Ordering::Relaxed);
        if reserved == 0 {
            self.largest.store(largest - largest / 16, Ordering::Relaxed);
        }
        helix_shared::budget::escrow::wish(NanoUsd::new(smoothed), NanoUsd::new(largest), horizon_seconds)
    }

    /// What the node would like to hold, without moving the rate.
    pub fn wish(&self, horizon_seconds: u32) -> NanoUsd {
        let (rate, largest) = (self.rate.load(Ordering::Relaxed), self.largest.load(Ordering::Relaxed));
        helix_shared::budget::escrow::wish(NanoUsd::new(rate), NanoUsd::new(largest), horizon_seconds)
    }

    /// Totals of every account with something to report; retired ones are forgotten when nothing is in flight in them.
    pub fn report(&self) -> Vec<Totals> {
        let mut totals: Vec<Totals> = self.current.load().iter().map(|account| account.totals()).collect();
        let mut retired = self.retired();
        totals.extend(retired.iter().map(|account| account.totals()));
        retired.retain(|account| account.totals().reserved != 0 || account.give_back_beyond(0) != 0);
        totals
    }

    fn retired(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Account>>> {
        self.retired.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Whether a budget needs escrow.
pub fn is_hard(limit: &Limit) -> bool {
    limit.mode == Mode::Hard
}

#[cfg(test)]
mod tests {
    use super::*;
    use helix_shared::time::UnixMicros;

    fn news(period: i64, granted: i64) -> GrantNews {
        GrantNews {
            key: AccountKey { budget_id: BudgetId::from("b"), period_start: UnixMicros::new(period) },
            granted_total: granted,
            ends_at_monotonic_us: 1_000,
            period_end_us: period + 1_000,
            limit: 100,
            fleet_spent: 0,
            available: 100 - granted,
        }
    }

    fn adds_up(account: &Account) {
        let t = account.totals();
        assert_eq!(t.spent + t.reserved + t.returned + t.free, t.granted);
    }

    #[test]
    fn news_may_come_doubled_and_out_of_order() {
        let slot = Slot::new(BudgetId::from("b"));
        for granted in [30, 10, 30, 50, 40] {
            slot.learn(&news(0, granted));
        }
        let account = slot.account(0).unwrap();
        assert_eq!(account.totals().granted, 50);
        adds_up(&account);
    }

    #[test]
    fn a_reservation_never_takes_more_than_is_free_and_settles_exactly() {
        let slot = Slot::new(BudgetId::from("b"));
        slot.learn(&news(0, 50));
        let account = slot.account(0).unwrap();
        assert!(account.try_take(30) && !account.try_take(21) && account.try_take(20));
        account.settle(30, 12);
        account.put_back(20);
        assert_eq!((account.totals().spent, account.totals().free), (12, 38));
        let remaining = account.remaining();
        assert_eq!(account.give_back_beyond(8), 30);
        assert_eq!(account.remaining(), remaining, "what is given back is not spent");
        adds_up(&account);
    }

    #[test]
    fn a_new_period_starts_empty_and_the_old_one_still_settles() {
        let slot = Slot::new(BudgetId::from("b"));
        slot.learn(&news(0, 50));
        let old = slot.account(0).unwrap();
        assert!(old.try_take(30));
        assert!(slot.account(1_000).is_none(), "over");
        slot.learn(&news(1_000, 5));
        assert_eq!(slot.last_account().unwrap().totals().granted, 5);
        old.settle(30, 30);
        let reported = slot.report();
        assert_eq!(
            reported.iter().map(|t| (t.key.period_start.get(), t.spent, t.returned)).collect::<Vec<_>>(),
            [(1_000, 0, 0), (0, 30, 20)]
        );
        assert_eq!(slot.report().len(), 1, "a settled old period is forgotten after its last report");
    }
}
