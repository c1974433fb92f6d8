//! Reserving and settling along a path of budgets.
//!
//! Rule: all accounts of the path or none; one reservation per attempt; what was reserved is settled or put back exactly
//! once, on every way out. No lock, no I/O here: what is short is the escrow task's business.

use super::account::{Account, Slot};
use arc_swap::ArcSwap;
use helix_shared::budget::AccountKey;
use helix_shared::ids::BudgetId;
use helix_shared::money::NanoUsd;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Accounts of one path; so many need no memory of their own.
pub(super) type Held = SmallVec<[Arc<Account>; 6]>;

/// Every budget this node has heard of.
#[derive(Debug, Default)]
pub struct Ledger {
    slots: ArcSwap<HashMap<BudgetId, Arc<Slot>>>,
    /// Reservations begun and ended. Equal: nobody holds a part of a path that may yet be put back.
    begun: AtomicU64,
    ended: AtomicU64,
}

/// Money held for one attempt. Dropped before it is settled: put back if nothing was sent, else spent in full.
#[derive(Debug)]
pub struct Reservation {
    held: Held,
    amount: i64,
    is_dispatched: bool,
    is_open: bool,
}

/// The budget that is short.
#[derive(Debug)]
pub struct Short {
    /// Index into the path.
    pub index: usize,
    /// Whether it is short for good: nobody was half-way along a path meanwhile, holding what may be put back at once.
    pub is_certain: bool,
    /// What the fleet had left of it; `None`: nothing is known of its present period.
    pub remaining: Option<NanoUsd>,
}

impl Ledger {
    /// Returns the slots of the given budgets, making those that are new. Slots outlive configuration changes.
    pub fn slots<'a>(&self, budgets: impl Iterator<Item = &'a BudgetId>) -> Vec<Arc<Slot>> {
        let mut known = (**self.slots.load()).clone();
        let before = known.len();
        let slots = budgets
            .map(|id| Arc::clone(known.entry(id.clone()).or_insert_with(|| Arc::new(Slot::new(id.clone())))))
            .collect();
        if known.len() > before {
            self.slots.store(Arc::new(known));
        }
        slots
    }

    /// Every slot.
    pub fn all(&self) -> Vec<Arc<Slot>> {
        self.slots.load().values().map(Arc::clone).collect()
    }

    /// Looks a slot up.
    pub fn slot(&self, budget: &BudgetId) -> Option<Arc<Slot>> {
        self.slots.load().get(budget).map(Arc::clone)
    }

    /// A moment when nobody is half-way along a path; `None` when somebody is.
    pub(super) fn calm(&self) -> Option<u64> {
        let ended = self.ended.load(Ordering::SeqCst);
        Some(self.begun.load(Ordering::SeqCst)).filter(|begun| *begun == ended)
    }

    /// Whether nobody began to reserve since a calm moment.
    pub(super) fn is_calm_since(&self, calm: Option<u64>) -> bool {
        calm.is_some_and(|begun| begun == self.begun.load(Ordering::SeqCst))
    }

    /// Takes `amount` from every budget of the path, or from none.
    ///
    /// # Errors
    /// [`Short`] names the first budget without enough escrow in hand. Another reservation that is about to fail at a later
    /// budget holds the earlier ones for a moment: then the shortage is not certain, and says nothing about the budget.
    pub fn reserve(&self, path: &[Arc<Slot>], amount: NanoUsd, monotonic_us: u64) -> Result<Reservation, Short> {
        let amount = amount.get().max(0);
        let ended_before = self.ended.load(Ordering::SeqCst);
        let begun_before = self.begun.fetch_add(1, Ordering::SeqCst);
        let taken = take(path, amount, monotonic_us).map_err(|index| {
            let account = path.get(index).and_then(|slot| slot.account(monotonic_us));
            (index, account.map(|account| account.remaining()))
        });
        // Nobody began before us and had not ended, nobody began after us.
        let is_certain = begun_before == ended_before && self.begun.load(Ordering::SeqCst) == begun_before + 1;
        self.ended.fetch_add(1, Ordering::SeqCst);
        taken.map_err(|(index, remaining)| Short { index, is_certain, remaining })
    }
}

fn take(path: &[Arc<Slot>], amount: i64, monotonic_us: u64) -> Result<Reservation, usize> {
    let mut held = Held::new();
    for (index, slot) in path.iter().enumerate() {
        match slot.account(monotonic_us) {
            Some(account) if account.try_take(amount) => held.push(account),
            _ => {
                held.iter().for_each(|account: &Arc<Account>| account.put_back(amount));
                return Err(index);
            }
        }
    }
    path.iter().for_each(|slot| slot.note_reserved(amount));
    Ok(Reservation { held, amount, is_dispatched: false, is_open: true })
}

impl Reservation {
    /// What the escrow task took for an attempt that waited.
    pub(super) fn taken(held: Held, amount: NanoUsd) -> Self {
        Self { held, amount: amount.get(), is_dispatched: false, is_open: true }
    }

    /// How much is held in each account.
    pub fn amount(&self) -> NanoUsd {
        NanoUsd::new(self.amount)
    }

    /// The accounts it is held in.
    pub fn accounts(&self) -> impl Iterator<Item = &AccountKey> {
        self.held.iter().map(|account| &account.key)
    }

    /// Notes that the first byte may go upstream: from here on, being dropped costs the full amount.
    pub fn dispatched(&mut self) {
        self.is_dispatched = true;
    }

    /// Books what it really cost. Returns by how much that passed the reservation (zero, unless a bound was wrong).
    pub fn settle(mut self, actual: NanoUsd) -> NanoUsd {
        self.is_open = false;
        let actual = actual.get().max(0);
        self.held.iter().for_each(|account| account.settle(self.amount, actual));
        NanoUsd::new((actual - self.amount).max(0))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.is_open {
            return;
        }
        for account in &self.held {
            if self.is_dispatched {
                account.settle(self.amount, self.amount);
            } else {
                account.put_back(self.amount);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use helix_shared::time::UnixMicros;

    fn slot(name: &str, granted: i64) -> Arc<Slot> {
        let key = AccountKey { budget_id: BudgetId::from(name), period_start: UnixMicros::new(0) };
        let slot = Slot::new(BudgetId::from(name));
        slot.show(Some(Account::granted(key, NanoUsd::new(granted), u64::MAX)));
        Arc::new(slot)
    }

    fn free(slot: &Slot) -> i64 {
        slot.account(0).unwrap().totals().free
    }

    #[test]
    fn all_budgets_of_the_path_are_taken_or_none() {
        let (ledger, path) = (Ledger::default(), [slot("instance", 100), slot("team", 10)]);
        let Err(short) = ledger.reserve(&path, NanoUsd::new(11), 0) else { panic!("the team cannot afford it") };
        assert_eq!((short.index, free(&path[0]), free(&path[1])), (1, 100, 10));
        let held = ledger.reserve(&path, NanoUsd::new(10), 0).unwrap();
        assert_eq!((free(&path[0]), free(&path[1])), (90, 0));
        assert_eq!(held.settle(NanoUsd::new(4)), NanoUsd::ZERO);
        assert_eq!((free(&path[0]), free(&path[1])), (96, 6));
    }

    #[test]
    fn a_dropped_reservation_is_put_back_before_dispatch_and_spent_after() {
        let (ledger, path) = (Ledger::default(), [slot("instance", 100)]);
        drop(ledger.reserve(&path, NanoUsd::new(40), 0).unwrap());
        assert_eq!(free(&path[0]), 100);
        let mut held = ledger.reserve(&path, NanoUsd::new(40), 0).unwrap();
        held.dispatched();
        drop(held);
        assert_eq!((free(&path[0]), path[0].account(0).unwrap().totals().spent), (60, 40));
    }

    #[test]
    fn a_shortage_is_certain_only_when_nobody_else_is_half_way() {
        let (ledger, path) = (Ledger::default(), [slot("instance", 10)]);
        let short = ledger.reserve(&path, NanoUsd::new(11), 0).unwrap_err();
        assert_eq!((short.is_certain, short.remaining), (true, Some(NanoUsd::new(10))));
        // Somebody has taken from the first budget and will fail at a later one.
        ledger.begun.fetch_add(1, Ordering::SeqCst);
        assert!(path[0].account(0).unwrap().try_take(10));
        assert!(!ledger.reserve(&path, NanoUsd::new(1), 0).unwrap_err().is_certain);
        path[0].account(0).unwrap().put_back(10);
        ledger.ended.fetch_add(1, Ordering::SeqCst);
        assert!(ledger.reserve(&path, NanoUsd::new(11), 0).unwrap_err().is_certain);
    }

    #[test]
    fn among_two_hundred_threads_a_certain_shortage_always_names_the_budget_that_binds() {
        for _ in 0..50 {
            let (ledger, path) = (Ledger::default(), [slot("instance", 51), slot("team", 1_000), slot("user", 50)]);
            let (held, short): (Vec<_>, Vec<_>) = std::thread::scope(|scope| {
                let tries: Vec<_> =
                    (0..200).map(|_| scope.spawn(|| ledger.reserve(&path, NanoUsd::new(1), 0))).collect();
                tries.into_iter().map(|thread| thread.join().unwrap()).partition(Result::is_ok)
            });
            assert!(held.len() <= 50);
            for short in short.into_iter().map(Result::unwrap_err).filter(|short| short.is_certain) {
                assert_eq!(short.index, 2);
            }
        }
    }

    fn six_budgets() -> [Arc<Slot>; 6] {
        ["instance", "team", "user", "key", "model", "weekly"].map(|name| slot(name, i64::MAX / 2))
    }

    #[test]
    fn reserving_and_settling_along_six_budgets_allocates_nothing() {
        let (ledger, path) = (Ledger::default(), six_budgets());
        let work = || {
            for amount in 1..100 {
                let held = ledger.reserve(&path, NanoUsd::new(amount), 0).unwrap();
                assert_eq!(held.settle(NanoUsd::new(amount / 2)), NanoUsd::ZERO);
                drop(ledger.reserve(&path, NanoUsd::new(amount), 0).unwrap());
                assert!(ledger.reserve(&path, NanoUsd::MAX, 0).is_err());
            }
        };
        let counted = allocation_counter::measure(work);
        assert_eq!((counted.count_total, counted.bytes_total), (0, 0), "{counted:?}");
        // the counter counts
        assert!(allocation_counter::measure(|| drop(Box::new(path.len()))).count_total > 0);
    }

    #[test]
    #[ignore = "a measurement: cargo test --release -p helix-data-plane --lib along_six_budgets -- --ignored --nocapture"]
    fn measure_reserving_and_settling_along_six_budgets() {
        use std::io::Write as _;
        const TIMES: u32 = 200_000;
        let (ledger, path) = (Ledger::default(), six_budgets());
        let mut best = std::time::Duration::MAX;
        for _ in 0..20 {
            let begun = std::time::Instant::now();
            for _ in 0..TIMES {
                let held = ledger.reserve(std::hint::black_box(&path), NanoUsd::new(1_000), 0).unwrap();
                std::hint::black_box(held.settle(NanoUsd::new(400)));
            }
            best = best.min(begun.elapsed() / TIMES);
        }
        writeln!(std::io::stderr(), "reserve and settle along six budgets: {} ns", best.as_nanos()).unwrap();
    }

    #[test]
    fn two_hundred_threads_never_take_more_than_there_is() {
        let (ledger, path) = (Ledger::default(), [slot("instance", 50), slot("team", 1_000)]);
        let admitted: usize = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..200)
                .map(|_| {
                    scope.spawn(|| {
                        ledger.reserve(&path, NanoUsd::new(1), 0).map(|held| held.settle(NanoUsd::new(1))).is_ok()
                    })
                })
                .collect();
            tries.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
        });
        assert_eq!((admitted, free(&path[0])), (50, 0));
    }
}
