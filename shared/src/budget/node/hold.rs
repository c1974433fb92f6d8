//! What the machine needs of the counters of one account.
//!
//! Rule: the arithmetic is [`Holding`]'s. A process that reserves beside the machine (a gateway's requests do, by atomics)
//! keeps the same counters in a form of its own that both sides share.

use super::Holding;
use crate::budget::AccountKey;
use crate::budget::broken::Broken;
use crate::money::NanoUsd;

/// The counters of one account on a node; the methods are those of [`Holding`].
pub trait Hold: Clone + std::fmt::Debug {
    /// A holding as the plane remembers it; nothing is reserved.
    fn remembered(account: &AccountKey, granted: NanoUsd, spent: NanoUsd, returned: NanoUsd) -> Self;
    /// Granted in total.
    fn granted(&self) -> NanoUsd;
    /// Spent in total.
    fn spent(&self) -> NanoUsd;
    /// Given back in total.
    fn returned(&self) -> NanoUsd;
    /// What a new attempt may reserve; below zero after an overrun.
    fn free(&self) -> NanoUsd;
    /// Takes in what was granted in total, in any order of messages.
    fn learn(&mut self, granted_total: NanoUsd);
    /// Reserves for one attempt, if that much is free.
    ///
    /// # Errors
    /// [`Broken`]: nothing was reserved.
    fn take(&mut self, amount: NanoUsd) -> Result<bool, Broken>;
    /// Ends a reservation of which nothing was spent.
    ///
    /// # Errors
    /// [`Broken`] when that much is not reserved.
    fn put_back(&mut self, amount: NanoUsd) -> Result<(), Broken>;
    /// Ends a reservation and books the cost; returns by how much it passed the reservation.
    ///
    /// # Errors
    /// [`Broken`] when that much is not reserved.
    fn settle(&mut self, held: NanoUsd, actual: NanoUsd) -> Result<NanoUsd, Broken>;
    /// Gives back what is free beyond `keep`; returns how much.
    ///
    /// # Errors
    /// [`Broken`]: nothing was given back.
    fn give_back_beyond(&mut self, keep: NanoUsd) -> Result<NanoUsd, Broken>;
    /// Whether nothing is in flight, and all that was granted is spent or returned.
    fn is_over(&self) -> bool;
}

impl Hold for Holding {
    fn remembered(_account: &AccountKey, granted: NanoUsd, spent: NanoUsd, returned: NanoUsd) -> Self {
        Self::remembered(granted, spent, returned)
    }

    fn granted(&self) -> NanoUsd {
        self.granted()
    }

    fn spent(&self) -> NanoUsd {
        self.spent()
    }

    fn returned(&self) -> NanoUsd {
        self.returned()
    }

    fn free(&self) -> NanoUsd {
        self.free()
    }

    fn learn(&mut self, granted_total: NanoUsd) {
        self.learn(granted_total);
    }

    fn take(&mut self, amount: NanoUsd) -> Result<bool, Broken> {
        self.take(amount)
    }

    fn put_back(&mut self, amount: NanoUsd) -> Result<(), Broken> {
        self.put_back(amount)
    }

    fn settle(&mut self, held: NanoUsd, actual: NanoUsd) -> Result<NanoUsd, Broken> {
        self.settle(held, actual)
    }

    fn give_back_beyond(&mut self, keep: NanoUsd) -> Result<NanoUsd, Broken> {
        self.give_back_beyond(keep)
    }

    fn is_over(&self) -> bool {
        self.is_over()
    }
}
