//! For how long a node should hold money: long while a budget is rich, not at all when it is nearly spent.
//!
//! Rule: the horizon is a quarter of the time until the fleet has spent what is left, within bounds. A rich budget then
//! rides out an absence of the control plane; a nearly spent one degenerates to a synchronous check. No safety rests on it:
//! a wrong rate only costs round trips.

use crate::money::NanoUsd;

/// The least horizon, in seconds.
pub const LEAST_HORIZON_S: u32 = 2;
/// The horizon when nobody said another: half an hour, in seconds.
pub const OFFLINE_HORIZON_S: u32 = 30 * 60;
/// The most that the horizon may be set to: eight hours, in seconds.
pub const MOST_HORIZON_S: u32 = 8 * 60 * 60;

/// A budget that nothing was reserved of for so many seconds is at rest: the largest reservation has faded to a fiftieth.
const IDLE_TICKS: u32 = 60;

/// Returns for how many seconds of its own rate a node should hold money.
///
/// `available` is what nobody holds, `fleet_rate` what all nodes reserve in a second, `offline_horizon_s` the longest
/// absence of the control plane to ride out. An idle fleet gets the longest.
pub fn horizon_s(available: NanoUsd, fleet_rate: NanoUsd, offline_horizon_s: u32) -> u32 {
    let most = offline_horizon_s.clamp(LEAST_HORIZON_S, MOST_HORIZON_S);
    let Some(seconds) = available.get().max(0).checked_div(fleet_rate.get().max(0)) else { return most };
    u32::try_from(seconds / 4).unwrap_or(u32::MAX).clamp(LEAST_HORIZON_S, most)
}

/// How fast a node spends a budget: a smoothed rate and the largest reservation seen lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    reserved_since: NanoUsd,
    per_second: NanoUsd,
    largest: NanoUsd,
    /// Ticks in a row without a reservation.
    idle_ticks: u32,
}

impl Rate {
    /// Notes a reservation.
    pub fn note(&mut self, amount: NanoUsd) {
        self.reserved_since = self.reserved_since.saturating_add(amount);
        self.largest = self.largest.max(amount);
    }

    /// Notes many reservations: their sum and the largest of them.
    pub fn note_many(&mut self, sum: NanoUsd, largest: NanoUsd) {
        self.reserved_since = self.reserved_since.saturating_add(sum);
        self.largest = self.largest.max(largest);
    }

    /// Smooths the rate; to be called once a second.
    pub fn tick(&mut self) {
        let (rate, reserved) = (self.per_second.get(), self.reserved_since.get());
        self.per_second = NanoUsd::new((rate - rate / 4).saturating_add(reserved / 4));
        if reserved == 0 {
            self.largest = NanoUsd::new(self.largest.get() - self.largest.get() / 16);
            self.idle_ticks = self.idle_ticks.saturating_add(1);
        } else {
            self.idle_ticks = 0;
        }
        self.reserved_since = NanoUsd::ZERO;
        if self.is_idle() {
            (self.per_second, self.largest) = (NanoUsd::ZERO, NanoUsd::ZERO);
        }
    }

    /// Whether nothing was reserved for so long that nothing need be held: what the rate and the largest reservation have
    /// faded to by then would admit nobody.
    pub fn is_idle(&self) -> bool {
        self.idle_ticks >= IDLE_TICKS
    }

    /// Reserved in a second, smoothed.
    pub fn per_second(&self) -> NanoUsd {
        self.per_second
    }

    /// The least that is worth holding ahead of need: a few requests. Where the fair share is smaller, the budget is nearly
    /// spent, and who needs money asks for it.
    pub fn least_wish(&self) -> NanoUsd {
        super::escrow::wish(NanoUsd::ZERO, self.largest, 0)
    }

    /// What the node would like to hold for a horizon.
    pub fn wish(&self, horizon_s: u32) -> NanoUsd {
        super::escrow::wish(self.per_second, self.largest, horizon_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rich_budget_is_held_for_long_and_a_poor_one_for_two_seconds() {
        let check = |available, rate, expected| {
            assert_eq!(horizon_s(NanoUsd::new(available), NanoUsd::new(rate), OFFLINE_HORIZON_S), expected);
        };
        check(1_000_000, 0, 1800);
        check(1_000_000, 100, 1800);
        check(400_000, 1_000, 100);
        check(1_000, 1_000, 2);
        check(-5, 1_000, 2);
        assert_eq!(horizon_s(NanoUsd::MAX, NanoUsd::new(1), u32::MAX), MOST_HORIZON_S);
    }

    #[test]
    fn the_rate_follows_spending_and_fades() {
        let mut rate = Rate::default();
        for _ in 0..40 {
            rate.note(NanoUsd::new(1_000));
            rate.tick();
        }
        assert!((900..=1_000).contains(&rate.per_second().get()), "{rate:?}");
        for _ in 0..59 {
            rate.tick();
        }
        assert!(rate.per_second().get() < 5 && !rate.is_idle(), "{rate:?}");
        assert!(rate.wish(30).get() < 1_000);
        rate.tick();
        assert!(rate.is_idle());
        assert_eq!(rate.wish(MOST_HORIZON_S), NanoUsd::ZERO, "at rest nothing is wished for");
        rate.note(NanoUsd::new(7));
        rate.tick();
        assert!(!rate.is_idle() && rate.wish(30) > NanoUsd::ZERO);
    }
}
