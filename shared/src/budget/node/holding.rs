//! The counters of one account on a node: granted, spent, returned, reserved.
//!
//! Rule: `spent + reserved + returned <= granted`, always, but for what an attempt cost beyond its reservation. What is
//! free is derived, never stored. All operations are arithmetic of a few integers, fit for a lock held for nanoseconds.

use crate::budget::broken::{Broken, add, sub, wide};
use crate::budget::planted::{Bug, has};
use crate::money::NanoUsd;

/// What an incarnation holds of one account. Amounts are totals since the incarnation began, but `reserved`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    granted: NanoUsd,
    spent: NanoUsd,
    returned: NanoUsd,
    reserved: NanoUsd,
    overrun: NanoUsd,
}

impl Holding {
    /// A holding as the plane remembers it; nothing is reserved. For accounts that the node had forgotten.
    pub fn remembered(granted: NanoUsd, spent: NanoUsd, returned: NanoUsd) -> Self {
        Self { granted, spent, returned, ..Self::default() }
    }

    /// Granted in total.
    pub fn granted(&self) -> NanoUsd {
        self.granted
    }

    /// Spent in total.
    pub fn spent(&self) -> NanoUsd {
        self.spent
    }

    /// Given back in total.
    pub fn returned(&self) -> NanoUsd {
        self.returned
    }

    /// Held by attempts in flight.
    pub fn reserved(&self) -> NanoUsd {
        self.reserved
    }

    /// Spent beyond what was reserved, in total: zero unless a bound was wrong.
    pub fn overrun(&self) -> NanoUsd {
        self.overrun
    }

    /// What a new attempt may reserve; below zero after an overrun.
    pub fn free(&self) -> NanoUsd {
        self.granted.saturating_sub(self.spent).saturating_sub(self.returned).saturating_sub(self.reserved)
    }

    /// Takes in what was granted in total, in any order of messages.
    pub fn learn(&mut self, granted_total: NanoUsd) {
        self.granted = if has(Bug::LastGrantWins) { granted_total } else { self.granted.max(granted_total) };
    }

    /// Reserves for one attempt, if that much is free.
    ///
    /// # Errors
    /// [`Broken`]: nothing was reserved, and nothing ever should be again.
    pub fn take(&mut self, amount: NanoUsd) -> Result<bool, Broken> {
        if amount < NanoUsd::ZERO {
            return Err(Broken::Negative("a reservation"));
        }
        if self.free() < amount {
            return Ok(false);
        }
        if !has(Bug::CheckThenAct) {
            self.reserved = add(self.reserved, amount, "what is reserved")?;
        }
        self.check()?;
        Ok(true)
    }

    /// Ends a reservation of which nothing was spent.
    ///
    /// # Errors
    /// [`Broken`] when that much is not reserved.
    pub fn put_back(&mut self, amount: NanoUsd) -> Result<(), Broken> {
        self.settle(amount, NanoUsd::ZERO).map(|_| ())
    }

    /// Ends a reservation: books what the attempt cost, the rest is free again. Returns by how much the cost passed the
    /// reservation; it is booked all the same.
    ///
    /// # Errors
    /// [`Broken`] when that much is not reserved.
    pub fn settle(&mut self, held: NanoUsd, actual: NanoUsd) -> Result<NanoUsd, Broken> {
        if actual < NanoUsd::ZERO {
            return Err(Broken::Negative("a cost"));
        }
        let released =
            if has(Bug::ForgetRelease) { held.max(actual).min(held).saturating_sub(NanoUsd::new(1)) } else { held };
        if !has(Bug::CheckThenAct) {
            self.reserved = sub(self.reserved, released, "what is reserved")?;
        }
        if !has(Bug::RefundSpent) {
            self.spent = add(self.spent, actual, "what is spent")?;
        }
        let beyond = actual.saturating_sub(held).max(NanoUsd::ZERO);
        self.overrun = add(self.overrun, beyond, "the overrun")?;
        self.check()?;
        Ok(beyond)
    }

    /// Gives back what is free beyond `keep`; returns how much.
    ///
    /// # Errors
    /// [`Broken`]: nothing was given back.
    pub fn give_back_beyond(&mut self, keep: NanoUsd) -> Result<NanoUsd, Broken> {
        let free = if has(Bug::ReturnReserved) { self.free().saturating_add(self.reserved) } else { self.free() };
        let back = free.saturating_sub(keep.max(NanoUsd::ZERO)).max(NanoUsd::ZERO);
        self.returned = add(self.returned, back, "what is returned")?;
        self.check()?;
        Ok(back)
    }

    /// Whether nothing is in flight, and all that was granted is spent or returned.
    pub fn is_over(&self) -> bool {
        self.reserved == NanoUsd::ZERO && self.free() == NanoUsd::ZERO
    }

    /// Checks what must always hold.
    ///
    /// # Errors
    /// [`Broken`] with the counters.
    pub fn check(&self) -> Result<(), Broken> {
        let parts = [self.granted, self.spent, self.returned, self.reserved, self.overrun];
        if parts.iter().any(|part| *part < NanoUsd::ZERO) {
            return Err(Broken::Negative("a counter of a holding"));
        }
        if wide(&[self.spent, self.reserved, self.returned]) > wide(&[self.granted, self.overrun]) {
            return Err(Broken::Holding {
                granted: self.granted.get(),
                spent: self.spent.get(),
                returned: self.returned.get(),
                reserved: self.reserved.get(),
                overrun: self.overrun.get(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nano(amount: i64) -> NanoUsd {
        NanoUsd::new(amount)
    }

    #[test]
    fn a_reservation_is_taken_once_and_its_rest_comes_free() {
        let mut holding = Holding::default();
        holding.learn(nano(50));
        assert_eq!(
            (holding.take(nano(30)), holding.take(nano(21)), holding.take(nano(20))),
            (Ok(true), Ok(false), Ok(true))
        );
        assert_eq!(holding.settle(nano(30), nano(12)), Ok(nano(0)));
        holding.put_back(nano(20)).unwrap();
        assert_eq!((holding.spent(), holding.free()), (nano(12), nano(38)));
        assert_eq!(holding.give_back_beyond(nano(8)), Ok(nano(30)));
        assert_eq!(holding.put_back(nano(1)), Err(Broken::Negative("a counter of a holding")));
    }

    #[test]
    fn a_cost_beyond_the_reservation_is_booked_and_blocks() {
        let mut holding = Holding::default();
        holding.learn(nano(10));
        assert_eq!(holding.take(nano(10)), Ok(true));
        assert_eq!(holding.settle(nano(10), nano(13)), Ok(nano(3)));
        assert_eq!((holding.free(), holding.take(nano(1))), (nano(-3), Ok(false)));
        holding.learn(nano(13));
        assert!(holding.is_over());
    }

    proptest! {
        #[test]
        fn whatever_happens_the_counters_add_up(steps in prop::collection::vec((0_u8..4, 0_i64..100, 0_i64..100), 0..60)) {
            let mut holding = Holding::default();
            let mut held = Vec::new();
            for (kind, a, b) in steps {
                match kind {
                    0 => holding.learn(nano(a * 4)),
                    1 => if holding.take(nano(a)).unwrap() { held.push(a) },
                    2 => if let Some(amount) = held.pop() { holding.settle(nano(amount), nano(b.min(amount))).unwrap(); },
                    _ => drop(holding.give_back_beyond(nano(b)).unwrap()),
                }
                prop_assert_eq!(holding.reserved().get(), held.iter().sum::<i64>());
                prop_assert!(holding.free() >= NanoUsd::ZERO);
            }
        }
    }
}
