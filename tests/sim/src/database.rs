//! The made-up database: tables, row locks, transactions that roll back, a failover that forgets commits.
//!
//! Rule: weaker than any of the real ones. A statement is atomic; a row that was written stays locked until the end of its
//! transaction; reads lock nothing and see what was committed last, which may be changed in the next moment.

use helix_shared::budget::AccountKey;
use helix_shared::budget::plane::{Answer, Command, Fleet, Funds, Lease, Seal, Seen};
use helix_shared::ids::{Incarnation, NodeId};
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;
use std::collections::{BTreeMap, BTreeSet};

/// Commits that a failover may lose are kept this long.
const KEPT_COMMITS: usize = 64;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AccountRow {
    pub(crate) funds: Funds,
    pub(crate) period_end: UnixMicros,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct IncarnationRow {
    pub(crate) seal: Seal,
    pub(crate) seen_us: i64,
}

#[derive(Clone, Debug)]
enum Undo {
    Account(AccountKey, Option<AccountRow>),
    Lease(AccountKey, Incarnation, Option<Lease>),
    Incarnation(Incarnation, Option<IncarnationRow>),
    Fleet(Fleet),
    Restored(u64),
    Declared(NodeId, Option<u64>),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lock {
    Account(AccountKey),
    Incarnation(Incarnation),
    Fleet,
}

/// A map of the few entries that there are at a time, looked through from the front.
#[derive(Debug)]
struct Few<K, V>(Vec<(K, V)>);

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Clone + PartialEq, V> Few<K, V> {
    fn get(&self, is_it: impl Fn(&K) -> bool) -> Option<&V> {
        self.0.iter().find(|(key, _)| is_it(key)).map(|(_, value)| value)
    }

    fn get_or_put(&mut self, key: &K, value: V) -> &V {
        let at = self.0.iter().position(|(known, _)| known == key).unwrap_or_else(|| {
            self.0.push((key.clone(), value));
            self.0.len() - 1
        });
        &self.0[at].1
    }

    fn retain(&mut self, keep: impl Fn(&V) -> bool) {
        self.0.retain(|(_, value)| keep(value));
    }
}

/// One open transaction.
#[derive(Debug, Default)]
pub(crate) struct Tx {
    undo: Vec<Undo>,
    incarnation: Option<Incarnation>,
    /// Accounts that it wrote something about.
    pub(crate) written: BTreeSet<AccountKey>,
    id: u64,
}

/// What became of a statement.
pub(crate) enum Executed {
    Answered(Answer),
    /// Another transaction holds the row.
    Blocked,
}

#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) accounts: BTreeMap<AccountKey, AccountRow>,
    pub(crate) leases: BTreeMap<AccountKey, BTreeMap<Incarnation, Lease>>,
    pub(crate) incarnations: BTreeMap<Incarnation, IncarnationRow>,
    pub(crate) fleet: Fleet,
    declared: BTreeMap<NodeId, u64>,
    pub(crate) nodes: Vec<NodeId>,
    /// The server's own count of its histories, and what was added to it by those who knew better. Of the two, only the
    /// second is in a row.
    timeline: u64,
    restored: u64,
    pub(crate) rates: BTreeMap<AccountKey, BTreeMap<Incarnation, NanoUsd>>,
    /// A total of a lease was written that is less than before.
    pub(crate) has_shrunk: bool,
    locks: Few<Lock, u64>,
    /// What others than the writer see of rows that are being written.
    old_accounts: Few<AccountKey, (u64, Option<AccountRow>)>,
    old_leases: Few<(AccountKey, Incarnation), (u64, Option<Lease>)>,
    commits: Vec<Vec<Undo>>,
}

impl Database {
    pub(crate) fn new(nodes: Vec<NodeId>) -> Self {
        Self {
            accounts: BTreeMap::new(),
            leases: BTreeMap::new(),
            incarnations: BTreeMap::new(),
            fleet: Fleet { epoch: 1, ..Fleet::default() },
            declared: BTreeMap::new(),
            nodes,
            timeline: 1,
            restored: 0,
            rates: BTreeMap::new(),
            has_shrunk: false,
            locks: Few::default(),
            old_accounts: Few::default(),
            old_leases: Few::default(),
            commits: Vec::new(),
        }
    }

    pub(crate) fn history(&self) -> u64 {
        self.timeline + self.restored
    }

    pub(crate) fn lease(&self, key: &AccountKey, incarnation: &Incarnation) -> Option<Lease> {
        self.leases.get(key)?.get(incarnation).copied()
    }

    /// Every lease of an incarnation.
    pub(crate) fn leases_of(&self, incarnation: &Incarnation) -> Vec<(AccountKey, Lease)> {
        let of = |(key, leases): (&AccountKey, &BTreeMap<Incarnation, Lease>)| {
            Some((key.clone(), *leases.get(incarnation)?))
        };
        self.leases.iter().filter_map(of).collect()
    }

    pub(crate) fn is_open(&self, incarnation: &Incarnation) -> bool {
        self.incarnations.get(incarnation).is_none_or(|row| row.seal == Seal::Open)
    }

    /// Other open incarnations that hold something of an account.
    pub(crate) fn other_holders(&self, key: &AccountKey, own: Option<&Incarnation>) -> Vec<(Incarnation, Lease)> {
        let leases = self.leases.get(key).into_iter().flatten();
        let others = leases.filter(|(incarnation, lease)| {
            Some(*incarnation) != own && lease.held() > NanoUsd::ZERO && self.is_open(incarnation)
        });
        others.map(|(incarnation, lease)| (incarnation.clone(), *lease)).collect()
    }

    pub(crate) fn is_locked(&self, key: &AccountKey) -> bool {
        self.locks.get(|lock| matches!(lock, Lock::Account(locked) if locked == key)).is_some()
    }

    /// Executes one statement in a transaction.
    pub(crate) fn execute(&mut self, tx: &mut Tx, id: u64, command: &Command, now_us: i64) -> Executed {
        let lock = match command {
            Command::Lock(incarnation) => Some(Lock::Incarnation(incarnation.clone())),
            Command::LockFleet | Command::BeginLearning(_) | Command::RaiseHistory(..) => Some(Lock::Fleet),
            Command::TakeEscrow { account, .. } | Command::MoveEscrow { account, .. } => {
                Some(Lock::Account(account.clone()))
            }
            Command::OpenAccount { account, limit, period_end } => {
                let is_same = |row: &AccountRow| row.funds.limit == *limit && row.period_end == *period_end;
                (!self.accounts.get(account).is_some_and(is_same)).then(|| Lock::Account(account.clone()))
            }
            Command::ReadAccount(account) => {
                (!self.accounts.contains_key(account)).then(|| Lock::Account(account.clone()))
            }
            _ => None,
        };
        tx.id = id;
        if let Command::OpenAccount { account, .. } | Command::ReadAccount(account) = command
            && matches!(self.old_accounts.get(|old| old == account), Some((writer, None)) if *writer != id)
        {
            return Executed::Blocked;
        }
        if let Some(lock) = lock
            && *self.locks.get_or_put(&lock, id) != id
        {
            return Executed::Blocked;
        }
        Executed::Answered(self.answer(tx, command, now_us))
    }

    fn answer(&mut self, tx: &mut Tx, command: &Command, now_us: i64) -> Answer {
        match command {
            Command::Lock(incarnation) => {
                let before = self.incarnations.get(incarnation).copied();
                let row = IncarnationRow { seen_us: now_us, ..before.unwrap_or_default() };
                tx.undo.push(Undo::Incarnation(incarnation.clone(), before));
                self.incarnations.insert(incarnation.clone(), row);
                tx.incarnation = Some(incarnation.clone());
                Answer::Locked { seal: row.seal, fleet: self.fleet_row(), history: self.history() }
            }
            Command::LockFleet => Answer::Locked { seal: Seal::Open, fleet: self.fleet_row(), history: self.history() },
            Command::OpenAccount { account, limit, period_end } => {
                let before = self.accounts.get(account).copied();
                let mut row = before.unwrap_or_default();
                (row.funds.limit, row.period_end) = (*limit, *period_end);
                if before != Some(row) {
                    self.put_account(tx, account, row);
                }
                self.account(tx, account)
            }
            Command::ReadAccount(account) => {
                if !self.accounts.contains_key(account) {
                    self.put_account(tx, account, AccountRow::default());
                }
                self.account(tx, account)
            }
            Command::ReadAccounts(accounts) => {
                let known = accounts.iter().filter(|account| self.accounts.contains_key(*account));
                Answer::Accounts(known.map(|account| (account.clone(), self.seen(tx, account).0)).collect())
            }
            Command::ReadLease(incarnation, account) => Answer::Lease(self.lease(account, incarnation)),
            Command::ReadLeases(incarnation) => Answer::Leases(self.leases_of(incarnation)),
            Command::TakeEscrow { account, more } => {
                let mut row = self.accounts.get(account).copied().unwrap_or_default();
                if !row.funds.affords(*more) {
                    return Answer::Changed(false);
                }
                row.funds.escrow = row.funds.escrow.saturating_add(*more);
                self.put_account(tx, account, row);
                Answer::Changed(true)
            }
            Command::MoveEscrow { account, by } => {
                let mut row = self.accounts.get(account).copied().unwrap_or_default();
                let Some(funds) = row.funds.moved(*by) else { return Answer::Changed(false) };
                row.funds = funds;
                self.put_account(tx, account, row);
                Answer::Changed(true)
            }
            Command::PutLease(incarnation, account, lease) => {
                let before = self.leases.entry(account.clone()).or_default().insert(incarnation.clone(), *lease);
                let old = before.unwrap_or_default();
                self.has_shrunk |=
                    lease.granted < old.granted || lease.spent < old.spent || lease.returned < old.returned;
                let row = (account.clone(), incarnation.clone());
                self.old_leases.get_or_put(&row, (tx.id, before));
                tx.undo.push(Undo::Lease(account.clone(), incarnation.clone(), before));
                tx.written.insert(account.clone());
                Answer::Done
            }
            Command::PutSeal(incarnation, seal) => {
                let before = self.incarnations.get(incarnation).copied();
                tx.undo.push(Undo::Incarnation(incarnation.clone(), before));
                self.incarnations.entry(incarnation.clone()).or_default().seal = *seal;
                Answer::Done
            }
            Command::BeginLearning(epoch) => {
                tx.undo.push(Undo::Fleet(self.fleet));
                if self.fleet.epoch != *epoch {
                    self.fleet = Fleet { epoch: *epoch, is_learning: true, since_us: now_us, awaited: 0 };
                }
                Answer::Done
            }
            Command::RaiseHistory(beyond, _) => {
                if self.history() <= *beyond {
                    tx.undo.push(Undo::Restored(self.restored));
                    self.restored = (self.restored + 1).max(*beyond).max(u64::try_from(now_us / 1_000).unwrap_or(0));
                }
                Answer::History(self.history())
            }
            Command::Declare(node, epoch) => {
                let before = self.declared.insert(node.clone(), *epoch);
                tx.undo.push(Undo::Declared(node.clone(), before));
                Answer::Awaited(self.fleet_row().awaited)
            }
            Command::EndLearning => {
                tx.undo.push(Undo::Fleet(self.fleet));
                self.fleet.is_learning = false;
                Answer::Done
            }
            Command::Commit => {
                self.end(tx);
                let undo = std::mem::take(&mut tx.undo);
                if !undo.is_empty() {
                    self.commits.push(undo);
                    if self.commits.len() > 2 * KEPT_COMMITS {
                        self.commits.drain(..KEPT_COMMITS);
                    }
                }
                Answer::Done
            }
        }
    }

    fn fleet_row(&self) -> Fleet {
        let is_awaited = |node: &&NodeId| self.declared.get(*node).is_none_or(|epoch| *epoch != self.fleet.epoch);
        let awaited = self.nodes.iter().filter(is_awaited).count();
        Fleet { awaited: u32::try_from(awaited).unwrap_or(u32::MAX), ..self.fleet }
    }

    fn put_account(&mut self, tx: &mut Tx, account: &AccountKey, row: AccountRow) {
        let before = self.accounts.insert(account.clone(), row);
        self.old_accounts.get_or_put(account, (tx.id, before));
        tx.written.insert(account.clone());
        tx.undo.push(Undo::Account(account.clone(), before));
    }

    fn account(&self, tx: &Tx, key: &AccountKey) -> Answer {
        let (Seen { funds, period_end, fleet_rate, recallable }, other_holders) = self.seen(tx, key);
        Answer::Account { funds, period_end, fleet_rate, recallable, other_holders }
    }

    fn seen(&self, tx: &Tx, key: &AccountKey) -> (Seen, u32) {
        let row = match self.old_accounts.get(|old| old == key) {
            Some((writer, before)) if *writer != tx.id => before.unwrap_or_default(),
            _ => self.accounts.get(key).copied().unwrap_or_default(),
        };
        let (mut recallable, mut other_holders) = (NanoUsd::ZERO, 0_u32);
        for (incarnation, lease) in self.leases.get(key).into_iter().flatten() {
            let lease = match self.old_leases.get(|(old, holder)| holder == incarnation && old == key) {
                Some((writer, before)) if *writer != tx.id => before.unwrap_or_default(),
                _ => *lease,
            };
            let is_other = tx.incarnation.as_ref() != Some(incarnation);
            if is_other && lease.held() > NanoUsd::ZERO && self.is_open(incarnation) {
                recallable = recallable.saturating_add(lease.hold());
                other_holders += 1;
            }
        }
        let fleet_rate = self.rates.get(key).into_iter().flatten().map(|(_, rate)| *rate).sum();
        (Seen { funds: row.funds, period_end: row.period_end, fleet_rate, recallable }, other_holders)
    }

    /// Rolls a transaction back.
    pub(crate) fn roll_back(&mut self, mut tx: Tx) {
        let undo = std::mem::take(&mut tx.undo);
        self.undo(undo);
        self.end(&mut tx);
    }

    fn end(&mut self, tx: &mut Tx) {
        self.locks.retain(|owner| *owner != tx.id);
        tx.incarnation = None;
        self.old_accounts.retain(|(writer, _)| *writer != tx.id);
        self.old_leases.retain(|(writer, _)| *writer != tx.id);
    }

    /// The last commits are forgotten. Every transaction must have been rolled back. `is_copied`: what is left was copied into
    /// a new server, which begins to count its histories anew, if it can tell that it is older than what it has learned.
    pub(crate) fn fail_over(&mut self, lost: u64, is_copied: bool) {
        for _ in 0..lost {
            match self.commits.pop() {
                Some(undo) => self.undo(undo),
                None => break,
            }
        }
        let is_older = 1 + self.restored < self.fleet.epoch;
        self.timeline = if is_copied && is_older { 1 } else { self.timeline + 1 };
    }

    fn undo(&mut self, undo: Vec<Undo>) {
        for entry in undo.into_iter().rev() {
            match entry {
                Undo::Account(key, row) => put_back(&mut self.accounts, key, row),
                Undo::Lease(key, incarnation, lease) => {
                    put_back(self.leases.entry(key).or_default(), incarnation, lease);
                }
                Undo::Incarnation(incarnation, row) => put_back(&mut self.incarnations, incarnation, row),
                Undo::Fleet(fleet) => self.fleet = fleet,
                Undo::Restored(restored) => self.restored = restored,
                Undo::Declared(node, epoch) => put_back(&mut self.declared, node, epoch),
            }
        }
    }
}

fn put_back<K: Ord, V>(table: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(table.insert(key, value)),
        None => drop(table.remove(&key)),
    }
}
