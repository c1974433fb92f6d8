//! Reserving and settling along a path of budgets.
//!
//! Rule: all accounts of the path or none; one reservation per attempt; what was reserved is settled or put back exactly
//! once, on every way out. No lock, no I/O here: what is short is the escrow task's business.

use super::account::{Account, Slot};
use arc_swap::ArcSwap;
use helix_shared::budget::AccountKey;
use helix_shared::ids::BudgetId;
use helix_shared::money::NanoUsd;
use std::collections::HashMap;
use std::sync::Arc;

/// Every budget this node has heard of.
#[derive(Debug, Default)]
pub struct Ledger {
    slots: ArcSwap<HashMap<BudgetId, Arc<Slot>>>,
}

/// Money held for one attempt. Dropped before it is settled: put back if nothing was sent, else spent in full.
#[derive(Debug)]
pub struct Reservation {
    held: Vec<Arc<Account>>,
    amount: i64,
    is_dispatched: bool,
    is_open: bool,
}

/// The budget that is short.
#[derive(Debug)]
pub struct Short {
    /// Index into the path.
    pub index: usize,
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
}

/// Takes `amount` from every budget of the path, or from none.
///
/// # Errors
/// [`Short`] names the first budget without enough escrow in hand.
pub fn reserve(path: &[Arc<Slot>], amount: NanoUsd, monotonic_us: u64) -> Result<Reservation, Short> {
    let amount = amount.get().max(0);
    let mut held = Vec::with_capacity(path.len());
    for (index, slot) in path.iter().enumerate() {
        match slot.account(monotonic_us) {
            Some(account) if account.try_take(amount) => held.push(account),
            _ => {
                held.iter().for_each(|account: &Arc<Account>| account.put_back(amount));
                return Err(Short { index });
            }
        }
    }
    path.iter().for_each(|slot| slot.note_reserved(amount));
    Ok(Reservation { held, amount, is_dispatched: false, is_open: true })
}

impl Reservation {
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
    use super::super::account::GrantNews;
    use super::*;
    use helix_shared::time::UnixMicros;

    fn slot(name: &str, granted: i64) -> Arc<Slot> {
        let slot = Slot::new(BudgetId::from(name));
        slot.learn(&GrantNews {
            key: AccountKey { budget_id: BudgetId::from(name), period_start: UnixMicros::new(0) },
            granted_total: granted,
            ends_at_monotonic_us: u64::MAX,
            period_end_us: 0,
            limit: granted,
            fleet_spent: 0,
            available: 0,
        });
        Arc::new(slot)
    }

    fn free(slot: &Slot) -> i64 {
        slot.last_account().unwrap().totals().free
    }

    #[test]
    fn all_budgets_of_the_path_are_taken_or_none() {
        let path = [slot("instance", 100), slot("team", 10)];
        let Err(short) = reserve(&path, NanoUsd::new(11), 0) else { panic!("the team cannot afford it") };
        assert_eq!((short.index, free(&path[0]), free(&path[1])), (1, 100, 10));
        let held = reserve(&path, NanoUsd::new(10), 0).unwrap();
        assert_eq!((free(&path[0]), free(&path[1])), (90, 0));
        assert_eq!(held.settle(NanoUsd::new(4)), NanoUsd::ZERO);
        assert_eq!((free(&path[0]), free(&path[1])), (96, 6));
    }

    #[test]
    fn a_dropped_reservation_is_put_back_before_dispatch_and_spent_after() {
        let path = [slot("instance", 100)];
        drop(reserve(&path, NanoUsd::new(40), 0).unwrap());
        assert_eq!(free(&path[0]), 100);
        let mut held = reserve(&path, NanoUsd::new(40), 0).unwrap();
        held.dispatched();
        drop(held);
        assert_eq!((free(&path[0]), path[0].last_account().unwrap().totals().spent), (60, 40));
    }

    #[test]
    fn two_hundred_threads_never_take_more_than_there_is() {
        let path = [slot("instance", 50), slot("team", 1_000)];
        let admitted: usize = std::thread::scope(|scope| {
            let tries: Vec<_> = (0..200)
                .map(|_| {
                    scope.spawn(|| reserve(&path, NanoUsd::new(1), 0).map(|held| held.settle(NanoUsd::new(1))).is_ok())
                })
                .collect();
            tries.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum()
        });
        assert_eq!((admitted, free(&path[0])), (50, 0));
    }
}
