//! The escrow protocol's arithmetic, both sides.
//!
//! Rule: every number is a total that only grows, so messages may be lost, doubled or reordered; the sum of
//! `granted - returned` over all leases of an account never passes its limit, and a node never spends more than it was
//! granted. No clock is in the proof.

use crate::ids::BudgetId;
use crate::money::NanoUsd;
use crate::time::UnixMicros;

/// A budget in one period.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountKey {
    /// The budget.
    pub budget_id: BudgetId,
    /// First instant of the period.
    pub period_start: UnixMicros,
}

/// What a node asks of one account: totals since its incarnation began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Want {
    /// The account.
    pub account: AccountKey,
    /// Granted total without which requests that wait now cannot be admitted.
    pub need_total: NanoUsd,
    /// Granted total that would save round trips for a while; at least `need_total`.
    pub want_total: NanoUsd,
}

/// Decides how much to add to a lease.
///
/// The need is met as far as there is money; beyond it, a node gets at most its fair half-share of what is left, so a
/// nearly spent budget degenerates to exactly the need: a synchronous check.
///
/// `granted` is the lease's total so far, `available` is limit minus escrow, `holders` the number of live leases of the
/// account, this one included. Never returns more than `available`, never less than zero.
pub fn grant(want: &Want, granted: NanoUsd, available: NanoUsd, holders: u32) -> NanoUsd {
    let available = available.get().max(0);
    let need = want.need_total.get().saturating_sub(granted.get()).max(0);
    let wish = want.want_total.get().saturating_sub(granted.get()).max(0);
    let share = available.checked_div(2 * i64::from(holders.max(1))).unwrap_or(0);
    NanoUsd::new(need.max(wish.min(share)).min(available))
}

/// How much a node would like to hold: what the last seconds used, for a horizon, and at least a few requests.
///
/// `rate` is reserved money per second, smoothed; `largest` the largest reservation seen lately.
pub fn wish(rate: NanoUsd, largest: NanoUsd, horizon_seconds: u32) -> NanoUsd {
    let by_rate = rate.get().max(0).saturating_mul(i64::from(horizon_seconds));
    NanoUsd::new(by_rate.max(largest.get().max(0).saturating_mul(16)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn want(need: i64, wish: i64) -> Want {
        let account = AccountKey { budget_id: BudgetId::from("b"), period_start: UnixMicros::new(0) };
        Want { account, need_total: NanoUsd::new(need), want_total: NanoUsd::new(wish) }
    }

    #[test]
    fn a_rich_budget_grants_the_wish_and_a_poor_one_exactly_the_need() {
        let check = |need, wish, granted, available, holders, expected| {
            let got = grant(&want(need, wish), NanoUsd::new(granted), NanoUsd::new(available), holders);
            assert_eq!(got.get(), expected);
        };
        check(10, 100, 0, 1_000_000, 3, 100);
        check(10, 100, 0, 20, 1, 10);
        check(10, 100, 0, 5, 1, 5);
        check(10, 100, 10, 0, 1, 0);
        check(10, 100, 50, 1000, 1, 50);
        check(10, 100, 0, -5, 1, 0);
    }

    proptest! {
        #[test]
        fn a_grant_never_passes_what_is_available(
            need in any::<i64>(), wish in any::<i64>(), granted in 0..i64::MAX, available in any::<i64>(), holders in any::<u32>()
        ) {
            let got = grant(&want(need, wish), NanoUsd::new(granted), NanoUsd::new(available), holders).get();
            prop_assert!(got >= 0 && got <= available.max(0));
        }
    }
}
