//! What a schedule is made of: how many proxies, which budgets, which faults when. Rule: everything is drawn from the seed.

use crate::event::{Death, Event, Queue};
use crate::rng::Rng;
use helix_shared::budget::node::NodeSettings;
use helix_shared::ids::BudgetId;

pub(crate) const SECOND: u64 = 1_000_000;
pub(crate) const TEAMS: usize = 2;
pub(crate) const USERS: usize = 4;

/// Which faults a schedule has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// No faults: the network is quick, nobody dies. Measures wrongful denials.
    Healthy,
    /// Every fault.
    Faulty,
    /// A database that fails over again and again, often as a copy in a new server.
    Copied,
}

/// The drawn constants of a schedule.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) shape: Shape,
    pub(crate) nodes: usize,
    pub(crate) planes: usize,
    pub(crate) heal_us: u64,
    pub(crate) loss: u64,
    pub(crate) dup: u64,
    pub(crate) slow: u64,
    pub(crate) period_us: u64,
    pub(crate) settings: NodeSettings,
    pub(crate) budgets: Vec<BudgetId>,
    pub(crate) limits: Vec<i64>,
    pub(crate) is_strict: bool,
    pub(crate) dearest: u64,
}

impl Plan {
    pub(crate) fn draw(rng: &mut Rng, shape: Shape) -> Self {
        let is_faulty = shape != Shape::Healthy;
        let nodes = match rng.below(400) {
            0 => rng.range(50, 200),
            1..=20 => rng.range(6, 24),
            _ => rng.range(2, 5),
        };
        let nodes = usize::try_from(nodes).unwrap_or(2);
        let dearest = rng.range(5, 40);
        let scale = if nodes > 5 { 4 } else { 1 };
        let mut budgets = vec![BudgetId::from("i")];
        let mut limits = vec![rng.amount(200 * scale, 2_000 * scale)];
        for team in 0..TEAMS {
            budgets.push(BudgetId::from(format!("t{team}")));
            limits.push(rng.amount(100 * scale, 1_200 * scale));
        }
        for user in 0..USERS {
            budgets.push(BudgetId::from(format!("u{user}")));
            limits.push(rng.amount(40 * scale, 600 * scale));
        }
        let heartbeat_us = if is_faulty { rng.range(1, 3) * SECOND } else { SECOND };
        Self {
            shape,
            nodes,
            planes: usize::try_from(rng.range(1, 2)).unwrap_or(1),
            heal_us: rng.range(10, 30) * SECOND,
            loss: if is_faulty && rng.chance(3, 4) { rng.range(0, 30) } else { 0 },
            dup: if is_faulty && rng.chance(3, 4) { rng.range(0, 40) } else { 0 },
            slow: if is_faulty { rng.below(4) } else { 0 },
            period_us: if rng.chance(1, 2) { rng.range(8, 40) * SECOND } else { 3_600 * SECOND },
            settings: NodeSettings { heartbeat_us, ..NodeSettings::default() },
            budgets,
            limits,
            is_strict: rng.chance(1, 3),
            dearest,
        }
    }

    /// Queues what happens from outside.
    pub(crate) fn queue(&self, rng: &mut Rng, queue: &mut Queue) {
        let requests = if self.nodes > 24 { 300 } else { rng.range(20, 90) };
        for _ in 0..requests {
            queue.at(rng.below(self.heal_us), Event::Arrive { node: rng.index(self.nodes) });
        }
        queue.at(self.heal_us, Event::Heal);
        if self.shape == Shape::Healthy {
            return;
        }
        let times = |rng: &mut Rng, most: u64| -> Vec<u64> {
            let count = rng.below(most + 1);
            (0..count).map(|_| rng.below(self.heal_us)).collect()
        };
        for at in times(rng, 5) {
            let death = [Death::Kill, Death::Kill, Death::Power, Death::DiskLost][rng.index(4)];
            let node = rng.index(self.nodes);
            queue.at(at, Event::Die { node, death });
            queue.at(at + rng.below(10 * SECOND), Event::Restart { node });
        }
        for at in times(rng, 2) {
            let plane = rng.index(self.planes);
            queue.at(at, Event::PlaneDown { plane });
            queue.at(at + rng.below(10 * SECOND), Event::PlaneUp { plane });
        }
        for at in times(rng, 2) {
            let node = rng.index(self.nodes);
            queue.at(at, Event::CutOff { node });
            queue.at(at + rng.below(15 * SECOND), Event::Join { node });
        }
        let is_copied = self.shape == Shape::Copied;
        if is_copied || rng.chance(1, 3) {
            for at in times(rng, if is_copied { 6 } else { 2 }) {
                queue.at(at, Event::Failover { lost: rng.below(24), is_copied: rng.chance(1, 2) });
            }
        }
        for at in times(rng, 2) {
            let budget = rng.index(self.budgets.len());
            let limit = rng.amount(0, 2 * u64::try_from(self.limits[budget]).unwrap_or(0));
            for plane in 0..self.planes {
                queue.at(at + rng.below(3 * SECOND), Event::EditLimit { plane, budget, limit });
            }
        }
        if rng.chance(1, 4) {
            let by_us = i64::try_from(rng.below(2 * self.period_us)).unwrap_or(0);
            let by_us = if rng.chance(1, 2) { by_us } else { -by_us };
            queue.at(rng.below(self.heal_us), Event::MoveClock { plane: rng.index(self.planes), by_us });
        }
        for at in times(rng, 2) {
            queue.at(at, Event::Operator);
        }
        let mut at = 5 * SECOND;
        while at < self.heal_us {
            queue.at(at, Event::Suspense);
            at += 5 * SECOND;
        }
    }
}
