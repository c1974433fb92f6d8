//! Taking totals in: a living incarnation's report, a dead one's journal, an operator's release, the end of a period.
//!
//! Rule: an account's escrow moves by exactly what its leases hold more or less, in the same transaction. A sealed
//! incarnation changes no more, but that a journal corrects what an operator said.

use super::command::{Answer, Command, Next, Outcome, Seen};
use super::learning::{Forgetting, Gate, gate, is_plausible};
use super::lease::{Lease, Seal};
use crate::budget::AccountKey;
use crate::budget::broken::{Broken, sub};
use crate::budget::horizon::horizon_s;
use crate::budget::message::{Balance, Epoch, Standing};
use crate::budget::planted::{Bug, has};
use crate::ids::Incarnation;
use crate::money::NanoUsd;
use crate::time::UnixMicros;
use std::collections::BTreeMap;

/// What is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A living incarnation's totals.
    Report,
    /// The journal of a dead one that may lack its end: at least this was spent.
    Torn,
    /// The journal of a dead one, whole.
    Close,
    /// An operator's word that an incarnation is dead and spent at most this.
    Release,
    /// The period of these accounts is over and the incarnation vanished.
    Expire,
    /// The incarnation was not heard for so long that it is gone: whatever it holds counts as spent, and nothing comes free,
    /// also not of what it was granted in the last moment.
    Retire,
}

/// What follows when a new history has begun.
#[derive(Clone, Copy, Debug)]
enum Then {
    Read,
    Write,
}

#[derive(Clone, Debug)]
enum Stage {
    Lock,
    Locked,
    Raised(Then),
    BeginLearning(Then),
    Leases,
    /// The account is made: a lease that nobody knew of needs it.
    Ensured,
    Moved,
    Put,
    Sealed,
    Stand,
    Committed,
    Over,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Settling {
    what: What,
    incarnation: Incarnation,
    said: BTreeMap<AccountKey, Balance>,
    now: UnixMicros,
    offline_horizon_s: u32,
    stage: Stage,
    todo: Vec<(AccountKey, Option<Lease>, Lease)>,
    to_stand: Vec<(AccountKey, Lease)>,
    standings: Vec<Standing>,
    is_known_sealed: bool,
    /// The newest epoch that the node had heard of when it spoke.
    said_in: Epoch,
    /// What was forgotten is being learned already.
    is_learning: bool,
    has_forgotten: bool,
    /// The database's history that this was written in; 0 before the lock.
    history: Epoch,
}

impl Settling {
    /// Of two balances of one account, the larger totals hold. For anything but a report only `spent` is read.
    pub fn new(
        what: What,
        incarnation: Incarnation,
        said: Vec<Balance>,
        now: UnixMicros,
        offline_horizon_s: u32,
    ) -> Self {
        let mut merged: BTreeMap<AccountKey, Balance> = BTreeMap::new();
        for balance in said {
            let known = merged.entry(balance.account.clone()).or_insert_with(|| balance.clone());
            known.granted = known.granted.max(balance.granted);
            known.spent = known.spent.max(balance.spent);
            known.returned = known.returned.max(balance.returned);
        }
        Self {
            what,
            incarnation,
            said: merged,
            now,
            offline_horizon_s,
            stage: Stage::Lock,
            todo: Vec::new(),
            to_stand: Vec::new(),
            standings: Vec::new(),
            is_known_sealed: false,
            said_in: 0,
            is_learning: false,
            has_forgotten: false,
            history: 0,
        }
    }

    /// `epoch` is the newest that the node had heard of when it spoke.
    pub(super) fn said_in(self, epoch: Epoch) -> Self {
        Self { said_in: epoch, ..self }
    }

    pub(super) fn history(&self) -> Epoch {
        self.history
    }

    /// Takes the answer to the last command; the first call takes [`Answer::Done`].
    ///
    /// # Errors
    /// [`Broken`]: roll back.
    pub fn next(&mut self, answer: Answer) -> Result<Next, Broken> {
        match (std::mem::replace(&mut self.stage, Stage::Over), answer) {
            (Stage::Lock, Answer::Done) => {
                self.stage = Stage::Locked;
                Ok(Next::Do(Command::Lock(self.incarnation.clone())))
            }
            (Stage::Locked, Answer::Locked { seal, fleet, history }) => {
                self.history = history;
                self.is_known_sealed = self.is_over(seal);
                let gate = gate(&fleet, history);
                self.is_learning = gate != Gate::Open;
                // of what is over nothing is believed but that it is over
                let is_ahead = history < self.said_in && is_plausible(self.said_in, self.now) && !self.is_known_sealed;
                if gate == Gate::Behind || is_ahead {
                    return Ok(self.raise(fleet.epoch.max(self.said_in), Forgetting::Older, Then::Read));
                }
                if gate == Gate::Forgot { Ok(self.begin_learning(history, Then::Read)) } else { Ok(self.read()) }
            }
            (Stage::Raised(then), Answer::History(history)) => Ok(self.begin_learning(history, then)),
            (Stage::BeginLearning(Then::Read), Answer::Done) => Ok(self.read()),
            (Stage::BeginLearning(Then::Write), Answer::Done) => self.write(),
            (Stage::Leases, Answer::Leases(leases)) => {
                self.plan(leases)?;
                if self.has_forgotten && !self.is_learning && self.what == What::Report {
                    return Ok(self.raise(self.history, Forgetting::Grant, Then::Write));
                }
                self.write()
            }
            (Stage::Ensured, Answer::Account { .. }) => self.move_escrow(),
            (Stage::Moved, Answer::Changed(true)) => self.put(),
            (Stage::Moved, Answer::Changed(false)) => {
                let by =
                    self.todo.last().map_or(Ok(NanoUsd::ZERO), |(_, known, lease)| Self::by(known.as_ref(), lease))?;
                Err(Broken::Escrow(by.get()))
            }
            (Stage::Put, Answer::Done) => {
                self.todo.pop();
                self.write()
            }
            (Stage::Sealed, Answer::Done) => Ok(self.commit()),
            (Stage::Stand, Answer::Accounts(accounts)) => {
                self.stand(accounts);
                Ok(self.commit())
            }
            (Stage::Committed, Answer::Done) => Ok(Next::Tell(self.outcome())),
            (Stage::Over, Answer::Done) => Ok(Next::End),
            _ => Err(Broken::Answer),
        }
    }

    /// Whether a seal leaves nothing to do.
    fn is_over(&self, seal: Seal) -> bool {
        match self.what {
            What::Close => seal == Seal::Closed && !has(Bug::CloseTwice),
            What::Report | What::Torn | What::Release | What::Retire => seal != Seal::Open,
            What::Expire => seal == Seal::Closed,
        }
    }

    fn raise(&mut self, beyond: Epoch, why: Forgetting, then: Then) -> Next {
        self.stage = Stage::Raised(then);
        Next::Do(Command::RaiseHistory(beyond, why))
    }

    fn begin_learning(&mut self, history: Epoch, then: Then) -> Next {
        (self.history, self.is_learning, self.stage) = (history, true, Stage::BeginLearning(then));
        Next::Do(Command::BeginLearning(history))
    }

    fn read(&mut self) -> Next {
        if self.is_known_sealed {
            return self.commit();
        }
        self.stage = Stage::Leases;
        Next::Do(Command::ReadLeases(self.incarnation.clone()))
    }

    /// What each lease becomes. Kept in reverse, so that accounts are written in key order from the back.
    fn plan(&mut self, leases: Vec<(AccountKey, Lease)>) -> Result<(), Broken> {
        let mut known: BTreeMap<AccountKey, Lease> = leases.into_iter().collect();
        for (key, balance) in &self.said {
            let is_new = !known.contains_key(key);
            let lease = known.get(key).copied().unwrap_or_default();
            self.has_forgotten |= balance.granted > lease.granted;
            if is_new && (balance.granted > NanoUsd::ZERO || balance.spent > NanoUsd::ZERO) {
                let after = self.after(lease, Some(balance))?;
                self.todo.push((key.clone(), None, after));
            }
        }
        for (key, lease) in &known {
            let after = self.after(*lease, self.said.get(key))?;
            if after != *lease || has(Bug::CloseTwice) && self.what == What::Close {
                self.todo.push((key.clone(), Some(*lease), after));
            }
        }
        for (key, _, after) in &self.todo {
            known.insert(key.clone(), *after);
        }
        self.todo.sort_by(|a, b| b.0.cmp(&a.0));
        if self.what == What::Report {
            let is_told =
                |(key, lease): &(AccountKey, Lease)| self.said.contains_key(key) || lease.hold() > NanoUsd::ZERO;
            self.to_stand = known.into_iter().filter(is_told).collect();
        }
        Ok(())
    }

    fn after(&self, lease: Lease, said: Option<&Balance>) -> Result<Lease, Broken> {
        let spent = said.map_or(NanoUsd::ZERO, |balance| balance.spent);
        match (self.what, said) {
            (What::Report, Some(said)) => lease.reported(said.granted, said.spent, said.returned),
            (What::Torn, Some(said)) => lease.reported(NanoUsd::ZERO, said.spent, NanoUsd::ZERO),
            (What::Report | What::Torn | What::Expire, None) => Ok(lease),
            (What::Close, _) => lease.closed(spent),
            (What::Release, _) => lease.released(spent),
            (What::Expire, Some(_)) | (What::Retire, _) => Ok(lease.expired()),
        }
    }

    fn by(known: Option<&Lease>, lease: &Lease) -> Result<NanoUsd, Broken> {
        if has(Bug::CloseTwice) && lease.held() == lease.spent {
            return sub(lease.spent, lease.granted, "an account's escrow");
        }
        sub(lease.held(), known.map_or(NanoUsd::ZERO, Lease::held), "an account's escrow")
    }

    fn write(&mut self) -> Result<Next, Broken> {
        match self.todo.last() {
            Some((key, None, _)) => {
                self.stage = Stage::Ensured;
                Ok(Next::Do(Command::ReadAccount(key.clone())))
            }
            Some(_) => self.move_escrow(),
            None => Ok(self.finish()),
        }
    }

    fn move_escrow(&mut self) -> Result<Next, Broken> {
        let Some((key, known, lease)) = self.todo.last() else { return Err(Broken::Answer) };
        let by = Self::by(known.as_ref(), lease)?;
        if by == NanoUsd::ZERO {
            return self.put();
        }
        self.stage = Stage::Moved;
        Ok(Next::Do(Command::MoveEscrow { account: key.clone(), by }))
    }

    fn put(&mut self) -> Result<Next, Broken> {
        let Some((key, _, lease)) = self.todo.last() else { return Err(Broken::Answer) };
        self.stage = Stage::Put;
        Ok(Next::Do(Command::PutLease(self.incarnation.clone(), key.clone(), *lease)))
    }

    fn finish(&mut self) -> Next {
        let seal = match self.what {
            What::Close => Seal::Closed,
            What::Release | What::Retire => Seal::Released,
            What::Report | What::Torn | What::Expire => return self.read_accounts(),
        };
        self.stage = Stage::Sealed;
        Next::Do(Command::PutSeal(self.incarnation.clone(), seal))
    }

    fn read_accounts(&mut self) -> Next {
        if self.to_stand.is_empty() {
            return self.commit();
        }
        self.stage = Stage::Stand;
        Next::Do(Command::ReadAccounts(self.to_stand.iter().map(|(account, _)| account.clone()).collect()))
    }

    fn stand(&mut self, accounts: Vec<(AccountKey, Seen)>) {
        let seen: BTreeMap<AccountKey, Seen> = accounts.into_iter().collect();
        for (account, lease) in std::mem::take(&mut self.to_stand) {
            let Some(Seen { funds, period_end, fleet_rate, recallable }) = seen.get(&account).copied() else {
                continue;
            };
            self.standings.push(Standing {
                account,
                granted: lease.granted,
                spent: lease.spent,
                returned: lease.returned,
                limit: funds.limit,
                available: funds.available(),
                recallable,
                fleet_spent: funds.settled,
                period_end,
                period_ends_in_us: u64::try_from(period_end.since(self.now).as_micros()).unwrap_or(u64::MAX),
                horizon_s: horizon_s(funds.available(), fleet_rate, self.offline_horizon_s),
            });
        }
    }

    fn commit(&mut self) -> Next {
        self.stage = Stage::Committed;
        Next::Do(Command::Commit)
    }

    fn outcome(&mut self) -> Outcome {
        if self.what != What::Report {
            return Outcome::Taken(self.incarnation.clone());
        }
        if self.is_known_sealed {
            return Outcome::Sealed;
        }
        Outcome::Acknowledged {
            epoch: self.history,
            standings: std::mem::take(&mut self.standings),
            pasts: Vec::new(),
            is_learning: false,
            has_forgotten: self.has_forgotten,
        }
    }
}
