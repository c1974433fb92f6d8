//! The oracle: it counts for itself what the provider charged and what must hold.
//!
//! Rule: nothing it believes comes from the machines. I1: no grant passes a limit. I2: the provider's bill of an account
//! never passes the highest limit it had. I3: a node's counters add up, only grow, and are what is really in flight.
//! I4: at rest, no money is held outside suspense. I5: the books are never below the bill.

use crate::plan::Shape;
use crate::world::World;
use helix_shared::budget::AccountKey;
use helix_shared::budget::plane::{Answer, Command, Seal};
use helix_shared::ids::{BudgetId, Incarnation};
use helix_shared::money::NanoUsd;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(crate) struct Oracle {
    /// The provider's bill.
    bill: BTreeMap<AccountKey, i64>,
    /// What the books must say when nobody died: the bill, and the worst case where nobody can know.
    booked: BTreeMap<AccountKey, i64>,
    charged: BTreeMap<Incarnation, BTreeMap<AccountKey, i64>>,
    peak: BTreeMap<AccountKey, i64>,
    /// Spent by incarnations of which both copies are lost.
    excused: BTreeMap<Incarnation, BTreeMap<AccountKey, i64>>,
    counters: BTreeMap<(usize, AccountKey), [NanoUsd; 3]>,
    pub(crate) is_exact: bool,
}

impl Oracle {
    pub(crate) fn new() -> Self {
        Self { is_exact: true, ..Self::default() }
    }

    pub(crate) fn charged_to(&self, incarnation: &Incarnation) -> Vec<(AccountKey, NanoUsd)> {
        let charged = self.charged.get(incarnation).into_iter().flatten();
        charged.map(|(account, cost)| (account.clone(), NanoUsd::new(*cost))).collect()
    }

    pub(crate) fn forget_counters(&mut self, node: usize) {
        self.counters.retain(|(of, _), _| *of != node);
    }

    fn excused(&self, account: &AccountKey) -> i64 {
        self.excused.values().filter_map(|accounts| accounts.get(account)).sum()
    }
}

impl World {
    /// The provider charges an attempt that is sent.
    pub(crate) fn charge(
        &mut self,
        incarnation: &Incarnation,
        accounts: &[AccountKey],
        actual: i64,
        booked: i64,
    ) -> Result<(), String> {
        for account in accounts {
            *self.oracle.booked.entry(account.clone()).or_default() += booked;
            *self.oracle.charged.entry(incarnation.clone()).or_default().entry(account.clone()).or_default() += actual;
            let bill = self.oracle.bill.entry(account.clone()).or_default();
            *bill += actual;
            let (bill, peak) = (*bill, self.oracle.peak.get(account).copied().unwrap_or(0));
            if bill > peak {
                self.excuse_double_faults();
            }
            let excused = self.oracle.excused(account);
            if bill > peak + excused {
                return Err(format!("I2 {account:?} is billed {bill} of {peak} (excused {excused})"));
            }
            let row = self.db.accounts.get(account).copied().unwrap_or_default();
            let books = row.funds.escrow.get() + row.funds.unleased.get();
            if self.summary.failovers == 0 && bill > books {
                return Err(format!("I5 {account:?} is billed {bill}, the books hold {books}"));
            }
        }
        Ok(())
    }

    /// After every statement.
    pub(crate) fn check_statement(&mut self, command: &Command, answer: &Answer) -> Result<(), String> {
        let account = match command {
            Command::OpenAccount { account, limit, .. } => {
                let peak = self.oracle.peak.entry(account.clone()).or_default();
                *peak = (*peak).max(limit.get());
                account
            }
            Command::TakeEscrow { account, .. } if *answer == Answer::Changed(true) => {
                let funds = self.db.accounts.get(account).map(|row| row.funds).unwrap_or_default();
                if funds.escrow.get() + funds.unleased.get() > funds.limit.get() {
                    return Err(format!("I1 a grant took {account:?} to {funds:?}"));
                }
                return Ok(());
            }
            Command::PutLease(incarnation, account, lease) if self.db.has_shrunk => {
                return Err(format!("a total of {incarnation} {account:?} shrank to {lease:?}"));
            }
            _ => return Ok(()),
        };
        if self.db.is_locked(account) { Ok(()) } else { self.check_sum(account) }
    }

    /// After every commit: each account's escrow is what its leases hold.
    pub(crate) fn check_sums<'a>(&self, accounts: impl Iterator<Item = &'a AccountKey>) -> Result<(), String> {
        accounts.filter(|account| !self.db.is_locked(account)).try_for_each(|account| self.check_sum(account))
    }

    fn check_sum(&self, account: &AccountKey) -> Result<(), String> {
        let held: i64 = self.db.leases.get(account).into_iter().flatten().map(|(_, lease)| lease.held().get()).sum();
        let escrow = self.db.accounts.get(account).map_or(0, |row| row.funds.escrow.get());
        if held == escrow { Ok(()) } else { Err(format!("I1 {account:?}: escrow {escrow}, leases hold {held}")) }
    }

    /// After every event of a node.
    pub(crate) fn check_node(&mut self, node: usize) -> Result<(), String> {
        let proxy = &self.proxies[node];
        let Some(machine) = &proxy.machine else { return Ok(()) };
        let incarnation = self.incarnation(node, proxy.life);
        for (account, holding) in machine.holdings() {
            holding.check().map_err(|broken| format!("I3 {incarnation} {account:?}: {broken}"))?;
            let now = [holding.granted(), holding.spent(), holding.returned()];
            let before = self.oracle.counters.entry((node, account.clone())).or_insert(now);
            if now.iter().zip(before.iter()).any(|(now, before)| now < before) {
                return Err(format!("I3 {incarnation} {account:?}: {before:?} became {now:?}"));
            }
            *before = now;
            let lease = self.db.lease(&account, &incarnation).unwrap_or_default();
            let is_learned = self.db.fleet.epoch == self.db.history() && !self.db.fleet.is_learning;
            if is_learned && lease.granted < now[0] {
                return Err(format!("the books of {incarnation} {account:?} say {lease:?}, it was granted {}", now[0]));
            }
            if self.summary.failovers == 0 && (lease.returned > now[2] || lease.spent > now[1]) {
                return Err(format!("the books of {incarnation} {account:?} say {lease:?}, it has {holding:?}"));
            }
        }
        Ok(())
    }

    /// What is reserved is what is in flight. Checked when the steps of an event were followed.
    pub(crate) fn check_reserved(&self, node: usize) -> Result<(), String> {
        let proxy = &self.proxies[node];
        let Some(machine) = &proxy.machine else { return Ok(()) };
        for (account, holding) in machine.holdings() {
            let held = proxy.attempts.values().filter(|attempt| attempt.is_sent && attempt.accounts.contains(&account));
            let held: i64 = held.map(|attempt| attempt.worst).sum();
            if held != holding.reserved().get() {
                return Err(format!("I3 node {node} {account:?}: {held} in flight, {} reserved", holding.reserved()));
            }
        }
        Ok(())
    }

    /// A dead incarnation's journal is gone, and the database, which has forgotten commits, knows less than it spent: nobody
    /// can ever know. A late report of the dead may show it only now.
    pub(crate) fn excuse_double_faults(&mut self) {
        if self.summary.failovers == 0 {
            return;
        }
        for (incarnation, accounts) in &self.oracle.charged {
            let Some(life) = self.lives.get(incarnation).copied() else { continue };
            if self.is_living(life) || self.is_whole(life, incarnation) {
                continue;
            }
            for (account, cost) in accounts {
                let held = self.db.lease(account, incarnation).unwrap_or_default().held().get();
                if *cost > held {
                    let excused = self.oracle.excused.entry(incarnation.clone()).or_default();
                    self.summary.double_faults += u64::from(!excused.contains_key(account));
                    let most = excused.entry(account.clone()).or_default();
                    *most = (*most).max(cost - held);
                }
            }
        }
    }

    /// What nobody holds and what living nodes hold free of an account: money that a request can really get.
    pub(crate) fn free_money(&self, account: &AccountKey) -> i64 {
        let row = self.db.accounts.get(account).copied().unwrap_or_default();
        let mut committed = row.funds.unleased.get();
        for (incarnation, lease) in self.db.leases.get(account).into_iter().flatten() {
            let Some((node, life)) = self.lives.get(incarnation).copied() else { continue };
            let holding = self.proxies[node].machine.as_ref().filter(|_| self.is_living((node, life)));
            let holding = holding.and_then(|machine| machine.holdings().find(|(key, _)| key == account));
            committed += holding.map_or(lease.held(), |(_, h)| h.spent().saturating_add(h.reserved())).get();
        }
        row.funds.limit.get() - committed
    }

    /// Whether every account of a path has this much free somewhere.
    pub(crate) fn is_free_somewhere(&self, path: &[BudgetId], amount: i64) -> bool {
        path.iter().all(|budget| self.free_money(&self.window(0, budget).0) >= amount)
    }

    /// At rest, long after everything healed.
    pub(crate) fn check_rest(&mut self) -> Result<(), String> {
        self.excuse_double_faults();
        self.check_sums(self.db.accounts.keys())?;
        if self.db.fleet.is_learning {
            return Err("liveness: still learning".to_owned());
        }
        for (account, leases) in &self.db.leases {
            for (incarnation, lease) in leases {
                let Some(life) = self.lives.get(incarnation).copied() else { continue };
                if let (true, Some(machine)) = (self.is_living(life), &self.proxies[life.0].machine) {
                    let holding = machine.holdings().find(|(key, _)| key == account);
                    let says = holding.map(|(_, h)| (h.granted(), h.spent(), h.returned()));
                    let books = (lease.granted, lease.spent, lease.returned);
                    if says.map_or(lease.hold() != NanoUsd::ZERO, |says| says != books) {
                        return Err(format!("I4 {incarnation} {account:?} has {says:?}, the books say {books:?}"));
                    }
                    let is_present =
                        machine.present(&account.budget_id, self.now_us).is_some_and(|now| now == *account);
                    let ended_us = self.db.accounts.get(account).map_or(0, |row| row.period_end.get());
                    let is_past = ended_us + 10_000_000 < self.wall_us(0);
                    if is_past && !is_present && lease.hold() != NanoUsd::ZERO {
                        return Err(format!("I4 {incarnation} holds {} of the past {account:?}", lease.hold()));
                    }
                } else if self.is_whole(life, incarnation) || !self.db.is_open(incarnation) {
                    let seal = self.db.incarnations.get(incarnation).map(|row| row.seal).unwrap_or_default();
                    if lease.hold() != NanoUsd::ZERO || seal == Seal::Open {
                        return Err(format!("I4 {incarnation} ({seal:?}) still holds {} of {account:?}", lease.hold()));
                    }
                }
            }
        }
        self.check_books()
    }

    fn check_books(&self) -> Result<(), String> {
        for (account, bill) in &self.oracle.bill {
            let row = self.db.accounts.get(account).copied().unwrap_or_default();
            let books = row.funds.escrow.get() + self.oracle.excused(account);
            if books < *bill {
                return Err(format!("I5 {account:?} is billed {bill}, the books hold {books}"));
            }
            let spent: i64 =
                self.db.leases.get(account).into_iter().flatten().map(|(_, lease)| lease.spent.get()).sum();
            let booked = self.oracle.booked.get(account).copied().unwrap_or(0);
            let is_exact = self.oracle.is_exact || self.plan.shape == Shape::Healthy;
            if is_exact && spent != booked {
                return Err(format!("I5 {account:?}: booked {booked}, the books say {spent}"));
            }
        }
        Ok(())
    }
}
