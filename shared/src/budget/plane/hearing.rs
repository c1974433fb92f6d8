//! A node's whole report: its own totals, its earlier incarnations, and that it has declared itself.
//!
//! Rule: a node counts as heard in an epoch only after everything it said was committed in that very history of the
//! database; if the database changed in between, nothing is acknowledged and the node says it again.

use super::command::{Answer, Command, Next, Outcome};
use super::learning::{Fleet, Gate, gate};
use super::settling::{Settling, What};
use crate::budget::broken::Broken;
use crate::budget::message::{Balance, Epoch, Past};
use crate::ids::{Incarnation, NodeId};
use crate::money::NanoUsd;
use crate::time::UnixMicros;
use std::collections::VecDeque;

#[derive(Clone, Debug)]
enum Stage {
    Settle(Box<Settling>),
    LockFleet,
    Locked,
    BeginLearning,
    Declared(Fleet),
    EndLearning,
    Committed,
    Over,
}

/// The machine: several transactions, one after the other.
#[derive(Clone, Debug)]
pub struct Hearing {
    node: NodeId,
    said_in: Epoch,
    now: UnixMicros,
    offline_horizon_s: u32,
    pasts: VecDeque<Past>,
    taken: Vec<Incarnation>,
    stage: Stage,
    history: Option<Epoch>,
    acknowledged: Option<Outcome>,
    epoch: Epoch,
    is_learning: bool,
}

impl Hearing {
    /// `said_in` is the newest epoch that the node had heard of when it spoke.
    pub fn new(
        node: NodeId,
        incarnation: Incarnation,
        said_in: Epoch,
        balances: Vec<Balance>,
        pasts: Vec<Past>,
        now: UnixMicros,
        offline_horizon_s: u32,
    ) -> Self {
        let own = Settling::new(What::Report, incarnation, balances, now, offline_horizon_s).said_in(said_in);
        Self {
            node,
            said_in,
            now,
            offline_horizon_s,
            pasts: pasts.into(),
            taken: Vec::new(),
            stage: Stage::Settle(Box::new(own)),
            history: None,
            acknowledged: None,
            epoch: 0,
            is_learning: false,
        }
    }

    /// Takes the answer to the last command; the first call takes [`Answer::Done`].
    ///
    /// # Errors
    /// [`Broken`]: roll back.
    pub fn next(&mut self, answer: Answer) -> Result<Next, Broken> {
        match (std::mem::replace(&mut self.stage, Stage::Over), answer) {
            (Stage::Settle(settling), answer) => self.settle(settling, answer),
            (Stage::LockFleet, Answer::Done) => {
                self.stage = Stage::Locked;
                Ok(Next::Do(Command::LockFleet))
            }
            (Stage::Locked, Answer::Locked { fleet, history, .. }) => self.declare(fleet, history),
            (Stage::BeginLearning, Answer::Done) => Ok(self.commit()),
            (Stage::Declared(fleet), Answer::Awaited(awaited)) => {
                if !fleet.is_learned(awaited, self.now.get()) {
                    return Ok(self.commit());
                }
                self.is_learning = false;
                self.stage = Stage::EndLearning;
                Ok(Next::Do(Command::EndLearning))
            }
            (Stage::EndLearning, Answer::Done) => Ok(self.commit()),
            (Stage::Committed, Answer::Done) => Ok(self.acknowledge()),
            (Stage::Over, Answer::Done) => Ok(Next::End),
            _ => Err(Broken::Answer),
        }
    }

    fn settle(&mut self, mut settling: Box<Settling>, answer: Answer) -> Result<Next, Broken> {
        let next = settling.next(answer)?;
        let Next::Tell(outcome) = next else {
            self.stage = Stage::Settle(settling);
            return Ok(next);
        };
        let history = *self.history.get_or_insert(settling.history());
        if history != settling.history() {
            return Ok(Next::End);
        }
        match outcome {
            Outcome::Taken(incarnation) => self.taken.push(incarnation),
            Outcome::Sealed => return Ok(Next::Tell(Outcome::Sealed)),
            Outcome::Acknowledged { .. } | Outcome::Granted { .. } => self.acknowledged = Some(outcome),
        }
        self.begin_next()
    }

    fn begin_next(&mut self) -> Result<Next, Broken> {
        let Some(past) = self.pasts.pop_front() else {
            self.stage = Stage::LockFleet;
            return self.next(Answer::Done);
        };
        let final_balance = |(account, spent)| Balance {
            account,
            spent,
            granted: NanoUsd::ZERO,
            returned: NanoUsd::ZERO,
            rate: NanoUsd::ZERO,
        };
        let finals = past.finals.into_iter().map(final_balance).collect();
        let what = if past.is_whole { What::Close } else { What::Torn };
        let settling = Settling::new(what, past.incarnation, finals, self.now, self.offline_horizon_s);
        self.stage = Stage::Settle(Box::new(settling));
        self.next(Answer::Done)
    }

    fn declare(&mut self, fleet: Fleet, history: Epoch) -> Result<Next, Broken> {
        if self.history.is_some_and(|first| first != history) {
            return Ok(Next::End);
        }
        self.epoch = fleet.epoch;
        match gate(&fleet, history) {
            Gate::Open => Ok(self.commit()),
            // somebody brought an older copy of the database in between
            Gate::Behind => Ok(Next::End),
            Gate::Forgot => {
                (self.epoch, self.is_learning, self.stage) = (history, true, Stage::BeginLearning);
                Ok(Next::Do(Command::BeginLearning(history)))
            }
            Gate::Learning => {
                self.is_learning = true;
                if self.said_in != fleet.epoch {
                    return Ok(self.commit());
                }
                self.stage = Stage::Declared(fleet);
                Ok(Next::Do(Command::Declare(self.node.clone(), fleet.epoch)))
            }
        }
    }

    fn commit(&mut self) -> Next {
        self.stage = Stage::Committed;
        Next::Do(Command::Commit)
    }

    fn acknowledge(&mut self) -> Next {
        let (standings, has_forgotten) = match self.acknowledged.take() {
            Some(Outcome::Acknowledged { standings, has_forgotten, .. }) => (standings, has_forgotten),
            _ => (Vec::new(), false),
        };
        Next::Tell(Outcome::Acknowledged {
            epoch: self.epoch,
            standings,
            pasts: std::mem::take(&mut self.taken),
            is_learning: self.is_learning,
            has_forgotten,
        })
    }
}
