//! The nodes whose escrow streams are connected here: who holds what, how fast it is spent, and whom to ask for it back.
//!
//! Rule: nothing here decides about money. A recall may be lost or come twice; a node gives back what is free and says so.

use super::budget_service::UpdateSender;
use helix_proto::convert::escrow::recall_to_wire;
use helix_proto::v1;
use helix_shared::budget::AccountKey;
use helix_shared::budget::message::{Balance, Epoch, Standing};
use helix_shared::ids::Incarnation;
use helix_shared::money::NanoUsd;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One account is recalled at most this often: who was asked gives back what comes free for two seconds.
const RECALL_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug)]
struct Holder {
    stream: u64,
    out: UpdateSender,
    /// Accounts that it was told to hold something of.
    held: BTreeSet<AccountKey>,
    rates: BTreeMap<AccountKey, NanoUsd>,
}

#[derive(Debug, Default)]
struct Registry {
    streams: u64,
    holders: BTreeMap<Incarnation, Holder>,
    recalled: BTreeMap<AccountKey, Instant>,
    /// What all holders reserve in a second.
    fleet_rates: BTreeMap<AccountKey, NanoUsd>,
    epoch: Epoch,
}

impl Registry {
    /// Takes a holder's rates out of the sums.
    fn take_rates(&mut self, incarnation: &Incarnation) {
        let rates = self.holders.get_mut(incarnation).map(|holder| std::mem::take(&mut holder.rates));
        for (account, rate) in rates.unwrap_or_default() {
            if let Some(sum) = self.fleet_rates.get_mut(&account) {
                *sum = sum.saturating_sub(rate);
                if *sum <= NanoUsd::ZERO {
                    self.fleet_rates.remove(&account);
                }
            }
        }
    }
}

/// The registry. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holders(Arc<Mutex<Registry>>);

/// A connected stream; dropped, it is forgotten.
#[derive(Debug)]
pub(crate) struct Held {
    holders: Holders,
    incarnation: Incarnation,
    stream: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.holders.with(|registry| {
            if registry.holders.get(&self.incarnation).is_some_and(|holder| holder.stream == self.stream) {
                registry.take_rates(&self.incarnation);
                registry.holders.remove(&self.incarnation);
            }
        });
    }
}

impl Holders {
    pub(crate) fn connect(&self, incarnation: &Incarnation, out: &UpdateSender) -> Held {
        let stream = self.with(|registry| {
            registry.take_rates(incarnation);
            registry.streams += 1;
            let (held, rates) = (BTreeSet::new(), BTreeMap::new());
            let holder = Holder { stream: registry.streams, out: out.clone(), held, rates };
            registry.holders.insert(incarnation.clone(), holder);
            registry.streams
        });
        Held { holders: self.clone(), incarnation: incarnation.clone(), stream }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.with(|registry| registry.holders.is_empty())
    }

    /// Notes how fast a node spends.
    pub(crate) fn note_rates(&self, incarnation: &Incarnation, balances: &[Balance]) {
        let rates: BTreeMap<AccountKey, NanoUsd> =
            balances.iter().map(|balance| (balance.account.clone(), balance.rate)).collect();
        self.with(|registry| {
            registry.take_rates(incarnation);
            if !registry.holders.contains_key(incarnation) {
                return;
            }
            for (account, rate) in &rates {
                let sum = registry.fleet_rates.entry(account.clone()).or_default();
                *sum = sum.saturating_add(*rate);
            }
            if let Some(holder) = registry.holders.get_mut(incarnation) {
                holder.rates = rates;
            }
        });
    }

    /// What all connected nodes reserve of these accounts in a second.
    pub(crate) fn fleet_rates<'a>(
        &self,
        accounts: impl Iterator<Item = &'a AccountKey>,
    ) -> BTreeMap<AccountKey, NanoUsd> {
        self.with(|registry| {
            accounts.filter_map(|account| Some((account.clone(), *registry.fleet_rates.get(account)?))).collect()
        })
    }

    /// The newest epoch that a node here was told; 0 before any.
    pub(crate) fn epoch(&self) -> Epoch {
        self.with(|registry| registry.epoch)
    }

    /// Notes what a node is told to hold.
    pub(crate) fn note_told(&self, incarnation: &Incarnation, epoch: Epoch, standings: &[Standing]) {
        self.with(|registry| {
            registry.epoch = registry.epoch.max(epoch);
            let Some(holder) = registry.holders.get_mut(incarnation) else { return };
            for standing in standings {
                if standing.granted > standing.returned.saturating_add(standing.spent) {
                    holder.held.insert(standing.account.clone());
                } else {
                    holder.held.remove(&standing.account);
                }
            }
        });
    }

    /// Recalls an account from every node here that holds something of it, but for `asker`. Returns whether it was not
    /// recalled a moment ago.
    pub(crate) fn recall(&self, account: &AccountKey, asker: Option<&Incarnation>) -> bool {
        self.with(|registry| {
            let now = Instant::now();
            registry.recalled.retain(|_, at| now.duration_since(*at) < RECALL_EVERY);
            if registry.recalled.contains_key(account) {
                return false;
            }
            registry.recalled.insert(account.clone(), now);
            for (incarnation, holder) in &registry.holders {
                if Some(incarnation) == asker || !holder.held.contains(account) {
                    continue;
                }
                let update = v1::EscrowUpdate { step: Some(recall_to_wire(registry.epoch, account)) };
                if holder.out.try_send(Ok(update)).is_err() {
                    tracing::debug!(%incarnation, "a recall was not sent; the next one may be");
                }
            }
            true
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Registry) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
