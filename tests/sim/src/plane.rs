//! The control planes: they execute what the machines command, may pause or die at every await, and have clocks and
//! configurations of their own. Rule: no decision is made here; what is not a machine's is drawn.

use crate::database::{Executed, Tx};
use crate::event::Event;
use crate::plan::{SECOND, Shape};
use crate::world::World;
use helix_shared::budget::AccountKey;
use helix_shared::budget::message::{Need, Report, Update};
use helix_shared::budget::plane::{
    Acquiring, Answer, Ask, Command, Hearing, Next, Outcome, Release, Settling, Vanished, What, release_due, vanished,
};
use helix_shared::budget::{Broken, message::Balance};
use helix_shared::ids::{BudgetId, Incarnation};
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;

/// Wall clocks start here.
const BASE_US: i64 = 1_700_000_000_000_000;
/// A session that waited this often for a row gives up, as databases do.
const MOST_WAITS: u32 = 500;
const OFFLINE_HORIZON_S: u32 = 1800;

#[derive(Debug)]
enum Machine {
    Acquire(Acquiring, u64),
    Hear(Box<Hearing>),
    Settle(Settling),
}

impl Machine {
    fn next(&mut self, answer: Answer) -> Result<Next, Broken> {
        match self {
            Self::Acquire(machine, _) => machine.next(answer),
            Self::Hear(machine) => machine.next(answer),
            Self::Settle(machine) => machine.next(answer),
        }
    }
}

/// One message being handled.
#[derive(Debug)]
pub(crate) struct Session {
    plane: usize,
    /// The node and its life that are answered.
    to: Option<(usize, u64)>,
    incarnation: Incarnation,
    machine: Machine,
    tx: Tx,
    is_in_transaction: bool,
    pending: Option<Command>,
    answer: Answer,
    waits: u32,
}

/// A control plane.
#[derive(Clone, Debug)]
pub(crate) struct Plane {
    pub(crate) is_up: bool,
    pub(crate) offset_us: i64,
    pub(crate) limits: Vec<i64>,
}

impl World {
    pub(crate) fn wall_us(&self, plane: usize) -> i64 {
        BASE_US + i64::try_from(self.now_us).unwrap_or(0) + self.planes[plane].offset_us
    }

    /// The account of the present period and its end, by a plane's clock.
    pub(crate) fn window(&self, plane: usize, budget: &BudgetId) -> (AccountKey, UnixMicros) {
        let period = i64::try_from(self.plan.period_us).unwrap_or(i64::MAX);
        let start = self.wall_us(plane).div_euclid(period) * period;
        let key = AccountKey { budget_id: budget.clone(), period_start: UnixMicros::new(start) };
        (key, UnixMicros::new(start + period))
    }

    /// A report arrives at whichever plane is up.
    pub(crate) fn at_plane(&mut self, node: usize, life: u64, report: Report) -> Result<(), String> {
        let up: Vec<usize> = (0..self.planes.len()).filter(|plane| self.planes[*plane].is_up).collect();
        if up.is_empty() {
            return Ok(());
        }
        let plane = up[self.rng.index(up.len())];
        let now = UnixMicros::new(self.wall_us(plane));
        let incarnation = self.incarnation(node, life);
        let machine = match report {
            Report::Acquire { ask, needs } => {
                let resolve = |need: &Need| {
                    let (present, end) = self.window(plane, &need.account.budget_id);
                    let at = self.plan.budgets.iter().position(|budget| *budget == need.account.budget_id)?;
                    let named = self.db.lease(&need.account, &incarnation).map(|lease| lease.granted);
                    Some(Ask::resolve(need, present, end, NanoUsd::new(self.planes[plane].limits[at]), named))
                };
                let asks = needs.iter().filter_map(resolve).collect();
                Machine::Acquire(Acquiring::new(incarnation.clone(), asks, now, OFFLINE_HORIZON_S), ask)
            }
            Report::Balances { epoch, balances, pasts } => {
                for balance in &balances {
                    let rates = self.db.rates.entry(balance.account.clone()).or_default();
                    rates.insert(incarnation.clone(), balance.rate);
                }
                let name = self.db.nodes[node].clone();
                let hearing = Hearing::new(name, incarnation.clone(), epoch, balances, pasts, now, OFFLINE_HORIZON_S);
                Machine::Hear(Box::new(hearing))
            }
        };
        self.begin(plane, Some((node, life)), incarnation, machine)
    }

    fn begin(
        &mut self,
        plane: usize,
        to: Option<(usize, u64)>,
        incarnation: Incarnation,
        machine: Machine,
    ) -> Result<(), String> {
        self.last_session += 1;
        let session = Session {
            plane,
            to,
            incarnation,
            machine,
            tx: Tx::default(),
            is_in_transaction: false,
            pending: None,
            answer: Answer::Done,
            waits: 0,
        };
        self.sessions.insert(self.last_session, Box::new(session));
        self.step_session(self.last_session)
    }

    /// Goes on with a session until it pauses or ends.
    pub(crate) fn step_session(&mut self, id: u64) -> Result<(), String> {
        let Some(mut session) = self.sessions.remove(&id) else { return Ok(()) };
        loop {
            let next = match session.pending.take() {
                Some(command) => Next::Do(command),
                None => {
                    let answer = std::mem::replace(&mut session.answer, Answer::Done);
                    session.machine.next(answer).map_err(|broken| format!("plane: {broken}"))?
                }
            };
            match next {
                Next::Do(command) => {
                    if self.is_blocked(id, &mut session, &command)? {
                        if session.waits > MOST_WAITS {
                            self.db.roll_back(session.tx);
                            return Ok(());
                        }
                        session.pending = Some(command);
                        self.sessions.insert(id, session);
                        self.queue.at(self.now_us + 1_000, Event::Session { id });
                        return Ok(());
                    }
                }
                Next::Tell(outcome) => self.tell(&session, outcome)?,
                Next::End => {
                    self.db.roll_back(session.tx);
                    return Ok(());
                }
            }
            let is_pause = self.rng.chance(1, 6);
            if self.plan.shape == Shape::Faulty && !self.is_healed && self.rng.chance(1, 1_500) {
                let plane = session.plane;
                self.sessions.insert(id, session);
                self.plane_down(plane);
                self.queue.at(self.now_us + self.rng.below(4 * SECOND), Event::PlaneUp { plane });
                return Ok(());
            }
            if is_pause {
                self.sessions.insert(id, session);
                self.queue.at(self.now_us + self.rng.below(3_000), Event::Session { id });
                return Ok(());
            }
        }
    }

    /// Executes a statement, unless another transaction holds the row.
    fn is_blocked(&mut self, id: u64, session: &mut Session, command: &Command) -> Result<bool, String> {
        let wall_us = self.wall_us(session.plane);
        match self.db.execute(&mut session.tx, id, command, wall_us) {
            Executed::Blocked => {
                session.waits += 1;
                return Ok(true);
            }
            Executed::Answered(answer) => session.answer = answer,
        }
        session.is_in_transaction = *command != Command::Commit;
        self.check_statement(command, &session.answer)?;
        if *command == Command::Commit {
            self.check_sums(std::mem::take(&mut session.tx.written).iter())?;
        }
        Ok(false)
    }

    fn tell(&mut self, session: &Session, outcome: Outcome) -> Result<(), String> {
        let Some((node, life)) = session.to else { return Ok(()) };
        let update = match outcome {
            Outcome::Granted { epoch, standings, recall, is_learning } => {
                let Machine::Acquire(_, ask) = session.machine else { return Err("a grant without an ask".to_owned()) };
                for account in recall {
                    for (holder, lease) in self.db.other_holders(&account, Some(&session.incarnation)) {
                        if lease.hold() > NanoUsd::ZERO
                            && let Some((node, life)) = self.lives.get(&holder).copied()
                        {
                            self.send_to_node(node, life, &Update::Recall { epoch, account: account.clone() });
                        }
                    }
                }
                Update::Granted { epoch, ask, standings, is_learning }
            }
            Outcome::Acknowledged { epoch, standings, pasts, is_learning, has_forgotten } => {
                if has_forgotten && self.summary.failovers == 0 {
                    return Err(format!("{}: granted what the database does not know", session.incarnation));
                }
                Update::Acknowledged { epoch, standings, pasts, is_learning }
            }
            Outcome::Sealed => Update::Sealed,
            Outcome::Taken(_) => return Ok(()),
        };
        self.send_to_node(node, life, &update);
        Ok(())
    }

    /// A plane dies: what it had not committed is rolled back.
    pub(crate) fn plane_down(&mut self, plane: usize) {
        self.summary.plane_kills += 1;
        self.planes[plane].is_up = false;
        self.end_sessions(|session| session.plane == plane);
    }

    /// The database fails over: open transactions are gone, and the last commits with them.
    pub(crate) fn fail_over(&mut self, lost: u64, is_copied: bool) {
        self.summary.failovers += 1;
        self.end_sessions(|session| session.is_in_transaction);
        self.db.fail_over(lost, is_copied);
    }

    fn end_sessions(&mut self, ends: impl Fn(&Session) -> bool) {
        let ids: Vec<u64> = self.sessions.iter().filter(|(_, session)| ends(session)).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(session) = self.sessions.remove(&id) {
                self.db.roll_back(session.tx);
            }
        }
    }

    /// The job that looks at vanished incarnations.
    pub(crate) fn look_at_suspense(&mut self) -> Result<(), String> {
        let Some(plane) = (0..self.planes.len()).find(|plane| self.planes[*plane].is_up) else { return Ok(()) };
        let now = UnixMicros::new(self.wall_us(plane));
        let rows: Vec<_> = self.db.incarnations.iter().map(|(incarnation, row)| (incarnation.clone(), *row)).collect();
        for (incarnation, row) in rows {
            let Some((node, life)) = self.lives.get(&incarnation).copied() else { continue };
            let has_successor = self.db.incarnations.contains_key(&self.incarnation(node, life + 1));
            let seen_at = UnixMicros::new(row.seen_us);
            let why = vanished(row.seal, false, has_successor, seen_at, now);
            let silent = cfg!(feature = "planted-bugs").then_some(Vanished::Silent);
            let Some(why) = why.or(silent) else { continue };
            let mut over = Vec::new();
            let mut what = What::Expire;
            for (account, lease) in self.db.leases_of(&incarnation) {
                let end = self.db.accounts.get(&account).map_or(UnixMicros::new(0), |row| row.period_end);
                match release_due(why, seen_at, end, now) {
                    Some(Release::PeriodOver) if lease.hold() > NanoUsd::ZERO => over.push((account, NanoUsd::ZERO)),
                    Some(Release::Timeout) if row.seal == Default::default() => what = What::Release,
                    _ => {}
                }
            }
            if !over.is_empty() || what == What::Release {
                self.oracle.is_exact = false;
                self.settle(plane, what, incarnation, over)?;
            }
        }
        Ok(())
    }

    /// An operator, who knows that a process is dead and what the provider billed for it, releases its escrow.
    pub(crate) fn operate(&mut self) -> Result<(), String> {
        let Some(plane) = (0..self.planes.len()).find(|plane| self.planes[*plane].is_up) else { return Ok(()) };
        let is_dead =
            |incarnation: &&Incarnation| self.lives.get(*incarnation).is_some_and(|life| !self.is_living(*life));
        let dead: Vec<Incarnation> = self.db.incarnations.keys().filter(is_dead).cloned().collect();
        if dead.is_empty() {
            return Ok(());
        }
        let incarnation = dead[self.rng.index(dead.len())].clone();
        let evidence = self.oracle.charged_to(&incarnation);
        self.oracle.is_exact = false;
        if self.rng.chance(1, 4) {
            return self.settle(plane, What::Retire, incarnation, Vec::new());
        }
        self.settle(plane, What::Release, incarnation, evidence)
    }

    fn settle(
        &mut self,
        plane: usize,
        what: What,
        incarnation: Incarnation,
        spent: Vec<(AccountKey, NanoUsd)>,
    ) -> Result<(), String> {
        let balance = |(account, spent)| Balance {
            account,
            spent,
            granted: NanoUsd::ZERO,
            returned: NanoUsd::ZERO,
            rate: NanoUsd::ZERO,
        };
        let said = spent.into_iter().map(balance).collect();
        let now = UnixMicros::new(self.wall_us(plane));
        let settling = Settling::new(what, incarnation.clone(), said, now, OFFLINE_HORIZON_S);
        self.begin(plane, None, incarnation, Machine::Settle(settling))
    }
}
