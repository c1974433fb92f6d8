//! Granting: one transaction that raises leases as far as there is money.
//!
//! Rule: accounts in key order, each raised by one conditional update; a grant is told after the commit. A need is met in
//! part when less is left; then what others hold free is recalled.

use super::command::{Answer, Command, Next, Outcome};
use super::learning::{Forgetting, Gate, gate};
use super::lease::{Funds, Lease, Seal};
use crate::budget::AccountKey;
use crate::budget::broken::Broken;
use crate::budget::escrow::{Want, grant};
use crate::budget::horizon::horizon_s;
use crate::budget::message::{Epoch, Need, Standing};
use crate::budget::planted::{Bug, has};
use crate::ids::Incarnation;
use crate::money::NanoUsd;
use crate::time::UnixMicros;
use std::collections::BTreeMap;

/// How often a grant is computed anew after another one was quicker.
const GRANT_ATTEMPTS: u32 = 8;

/// What is asked of one account, its period and limit resolved by the plane's calendar and configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The account of the present period.
    pub account: AccountKey,
    /// First instant after the period.
    pub period_end: UnixMicros,
    /// The configured limit.
    pub limit: NanoUsd,
    /// Granted total without which nobody who waits can be admitted, or money in hand is not worth having: a smaller part is
    /// not granted.
    pub least_total: NanoUsd,
    /// Granted total with which everybody who waits is admitted.
    pub need_total: NanoUsd,
    /// Granted total that would save round trips.
    pub want_total: NanoUsd,
}

impl Ask {
    /// Resolves a need. `named_granted` is what was granted of the account that the need names, if that is another one
    /// than the present: the need's totals count from there, and in the present account from zero.
    pub fn resolve(
        need: &Need,
        present: AccountKey,
        period_end: UnixMicros,
        limit: NanoUsd,
        named_granted: Option<NanoUsd>,
    ) -> Self {
        let from = if need.account == present { NanoUsd::ZERO } else { named_granted.unwrap_or_default() };
        let least_total = need.least_total.saturating_sub(from).max(NanoUsd::ZERO);
        let need_total = need.need_total.saturating_sub(from).max(NanoUsd::ZERO);
        let want_total = need.want_total.saturating_sub(from).max(need_total);
        Self { account: present, period_end, limit, least_total, need_total, want_total }
    }
}

#[derive(Clone, Debug)]
enum Stage {
    Lock,
    Locked,
    Raised,
    BeginLearning,
    Opened { at: usize, tries: u32 },
    Leased { at: usize, tries: u32, funds: Opened },
    Taken { at: usize, tries: u32, funds: Opened, lease: Lease, more: NanoUsd },
    Put { at: usize },
    Committed,
    ToldEarly,
    Over,
}

#[derive(Clone, Copy, Debug)]
struct Opened {
    funds: Funds,
    fleet_rate: NanoUsd,
    recallable: NanoUsd,
    holders: u32,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Acquiring {
    incarnation: Incarnation,
    asks: Vec<Ask>,
    now: UnixMicros,
    offline_horizon_s: u32,
    stage: Stage,
    seal: Seal,
    epoch: Epoch,
    is_learning: bool,
    standings: Vec<Standing>,
    recall: Vec<AccountKey>,
}

impl Acquiring {
    /// Of two asks of one account, the larger need holds.
    pub fn new(incarnation: Incarnation, asks: Vec<Ask>, now: UnixMicros, offline_horizon_s: u32) -> Self {
        let mut ordered: BTreeMap<AccountKey, Ask> = BTreeMap::new();
        for ask in asks {
            match ordered.get_mut(&ask.account) {
                Some(known) if known.need_total >= ask.need_total => {}
                Some(known) => *known = ask,
                None => drop(ordered.insert(ask.account.clone(), ask)),
            }
        }
        Self {
            incarnation,
            asks: ordered.into_values().collect(),
            now,
            offline_horizon_s,
            stage: Stage::Lock,
            seal: Seal::Open,
            epoch: 0,
            is_learning: false,
            standings: Vec::new(),
            recall: Vec::new(),
        }
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
                self.seal = seal;
                self.epoch = fleet.epoch;
                match gate(&fleet, history) {
                    Gate::Open => Ok(self.open(0)),
                    Gate::Learning => {
                        self.is_learning = true;
                        Ok(self.open(0))
                    }
                    Gate::Forgot => Ok(self.begin_learning(history)),
                    Gate::Behind => {
                        self.stage = Stage::Raised;
                        Ok(Next::Do(Command::RaiseHistory(fleet.epoch, Forgetting::Older)))
                    }
                }
            }
            (Stage::Raised, Answer::History(history)) => Ok(self.begin_learning(history)),
            (Stage::BeginLearning, Answer::Done) => Ok(self.open(0)),
            (Stage::Opened { at, tries }, Answer::Account { funds, fleet_rate, recallable, other_holders, .. }) => {
                let funds = Opened { funds, fleet_rate, recallable, holders: other_holders.saturating_add(1) };
                self.stage = Stage::Leased { at, tries, funds };
                let account = self.asks.get(at).ok_or(Broken::Answer)?.account.clone();
                Ok(Next::Do(Command::ReadLease(self.incarnation.clone(), account)))
            }
            (Stage::Leased { at, tries, funds }, Answer::Lease(lease)) => self.raise(at, tries, funds, lease),
            (Stage::Taken { at, funds, lease, more, .. }, Answer::Changed(true)) => self.took(at, funds, lease, more),
            (Stage::Taken { at, funds, lease, more, .. }, Answer::Changed(false)) if has(Bug::RaiseWithoutTake) => {
                self.took(at, funds, lease, more)
            }
            (Stage::Taken { at, tries, funds, lease, .. }, Answer::Changed(false)) => {
                if tries >= GRANT_ATTEMPTS {
                    return self.keep(at, funds, Some(lease));
                }
                // somebody was quicker: compute from what is left now
                Ok(self.open_again(at, tries.saturating_add(1)))
            }
            (Stage::Put { at }, Answer::Done) => Ok(self.open(at.saturating_add(1))),
            (Stage::Committed, Answer::Done) => Ok(self.outcome()),
            (Stage::ToldEarly, Answer::Done) => Ok(Next::Do(Command::Commit)),
            (Stage::Over, Answer::Done) => Ok(Next::End),
            _ => Err(Broken::Answer),
        }
    }

    fn begin_learning(&mut self, history: Epoch) -> Next {
        (self.epoch, self.is_learning, self.stage) = (history, true, Stage::BeginLearning);
        Next::Do(Command::BeginLearning(history))
    }

    fn open(&mut self, at: usize) -> Next {
        if at < self.asks.len() && (self.seal == Seal::Open || has(Bug::GrantToSealed)) {
            return self.open_again(at, 1);
        }
        if has(Bug::AnswerBeforeCommit) {
            let told = self.outcome();
            self.stage = Stage::ToldEarly;
            return told;
        }
        self.stage = Stage::Committed;
        Next::Do(Command::Commit)
    }

    fn open_again(&mut self, at: usize, tries: u32) -> Next {
        let Some(ask) = self.asks.get(at) else { return Next::End };
        self.stage = Stage::Opened { at, tries };
        let Ask { account, limit, period_end, .. } = ask.clone();
        Next::Do(Command::OpenAccount { account, limit, period_end })
    }

    fn raise(&mut self, at: usize, tries: u32, opened: Opened, lease: Option<Lease>) -> Result<Next, Broken> {
        let ask = self.asks.get(at).ok_or(Broken::Answer)?;
        let known = lease.unwrap_or_default();
        let want = Want { account: ask.account.clone(), need_total: ask.need_total, want_total: ask.want_total };
        let more = grant(&want, known.granted, opened.funds.available(), opened.holders);
        // a part that admits nobody would lie idle here while it may be enough for another node; crumbs that a fleet takes
        // ahead of need, and gives back when they are recalled, keep what is left from whoever needs all of it
        let is_idle = known.granted.saturating_add(more) < ask.least_total;
        if self.is_learning || is_idle || more <= NanoUsd::ZERO {
            return self.keep(at, opened, lease);
        }
        let account = ask.account.clone();
        self.stage = Stage::Taken { at, tries, funds: opened, lease: known, more };
        Ok(Next::Do(Command::TakeEscrow { account, more }))
    }

    fn took(&mut self, at: usize, mut opened: Opened, lease: Lease, more: NanoUsd) -> Result<Next, Broken> {
        opened.funds = opened.funds.moved(more).ok_or(Broken::Range("an account's escrow"))?;
        self.put(at, opened, lease.raised(more)?)
    }

    /// Nothing more is granted here. A lease is made all the same: what is spent from now on is spent under it.
    fn keep(&mut self, at: usize, opened: Opened, lease: Option<Lease>) -> Result<Next, Broken> {
        match lease {
            None => self.put(at, opened, Lease::default()),
            Some(lease) => {
                self.stand(at, opened, &lease)?;
                Ok(self.open(at.saturating_add(1)))
            }
        }
    }

    fn put(&mut self, at: usize, opened: Opened, lease: Lease) -> Result<Next, Broken> {
        let account = self.stand(at, opened, &lease)?;
        self.stage = Stage::Put { at };
        Ok(Next::Do(Command::PutLease(self.incarnation.clone(), account, lease)))
    }

    fn stand(&mut self, at: usize, opened: Opened, lease: &Lease) -> Result<AccountKey, Broken> {
        let ask = self.asks.get(at).ok_or(Broken::Answer)?;
        let is_short = lease.granted < ask.need_total;
        if is_short && opened.recallable > NanoUsd::ZERO && !self.is_learning && !has(Bug::NoRecall) {
            self.recall.push(ask.account.clone());
        }
        let ends_in = ask.period_end.since(self.now).as_micros();
        self.standings.push(Standing {
            account: ask.account.clone(),
            granted: lease.granted,
            spent: lease.spent,
            returned: lease.returned,
            limit: opened.funds.limit,
            available: opened.funds.available(),
            recallable: opened.recallable,
            fleet_spent: opened.funds.settled,
            period_end: ask.period_end,
            period_ends_in_us: u64::try_from(ends_in).unwrap_or(u64::MAX),
            horizon_s: horizon_s(opened.funds.available(), opened.fleet_rate, self.offline_horizon_s),
        });
        Ok(ask.account.clone())
    }

    fn outcome(&mut self) -> Next {
        if self.seal != Seal::Open && !has(Bug::GrantToSealed) {
            return Next::Tell(Outcome::Sealed);
        }
        Next::Tell(Outcome::Granted {
            epoch: self.epoch,
            standings: std::mem::take(&mut self.standings),
            recall: std::mem::take(&mut self.recall),
            is_learning: self.is_learning,
        })
    }
}
