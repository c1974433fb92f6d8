//! The proxies: a machine, a journal on a disk, attempts in flight, and deaths. Rule: the provider is charged from the
//! moment an attempt is sent, whatever happens to the proxy; the intent is written before.

use crate::event::{Death, Event};
use crate::plan::{SECOND, Shape, TEAMS, USERS};
use crate::world::World;
use helix_shared::budget::AccountKey;
use helix_shared::budget::message::{Past, Report, Update};
use helix_shared::budget::node::{Denial, Ending, NodeEscrow, NodeSettings, NodeStep, Replay, Tail};
use helix_shared::ids::{BudgetId, Incarnation};
use helix_shared::money::NanoUsd;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Entry {
    Intent(u64, Vec<AccountKey>, NanoUsd),
    Outcome(u64, NanoUsd),
}

#[derive(Clone, Debug)]
struct Journal {
    incarnation: Incarnation,
    boot: u64,
    entries: Vec<Entry>,
}

/// What is drawn of an attempt when it arrives.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    path: Vec<BudgetId>,
    pub(crate) worst: i64,
    actual: i64,
    ending: Ending,
    duration_us: u64,
    fails_over: u32,
    pub(crate) is_sent: bool,
    pub(crate) accounts: Vec<AccountKey>,
}

#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) life: u64,
    /// The incarnation of each life, from the first.
    pub(crate) names: Vec<Incarnation>,
    pub(crate) machine: Option<NodeEscrow>,
    pub(crate) attempts: BTreeMap<u64, Attempt>,
    pub(crate) is_cut_off: bool,
    boot: u64,
    disk: Vec<Journal>,
    /// Whole journals that the machine no longer wanted, though the disk was never lost.
    dropped: Vec<Incarnation>,
    wake_us: Option<u64>,
}

impl Proxy {
    pub(crate) fn new() -> Self {
        Self {
            life: 0,
            names: Vec::new(),
            machine: None,
            attempts: BTreeMap::new(),
            is_cut_off: false,
            boot: 0,
            disk: Vec::new(),
            dropped: Vec::new(),
            wake_us: None,
        }
    }

    /// Whether everything that an incarnation sent can be read from the disk.
    fn has_whole(&self, incarnation: &Incarnation, is_strict: bool) -> bool {
        let is_whole =
            |journal: &Journal| journal.incarnation == *incarnation && (journal.boot == self.boot || is_strict);
        self.disk.iter().any(is_whole) || self.dropped.contains(incarnation)
    }
}

impl World {
    pub(crate) fn is_living(&self, (node, life): (usize, u64)) -> bool {
        self.proxies[node].life == life && self.proxies[node].machine.is_some()
    }

    /// Whether the books of a dead incarnation must come out in the end.
    pub(crate) fn is_whole(&self, (node, _): (usize, u64), incarnation: &Incarnation) -> bool {
        self.proxies[node].has_whole(incarnation, self.plan.is_strict)
    }

    /// A process starts.
    pub(crate) fn start(&mut self, node: usize) -> Result<(), String> {
        if self.proxies[node].machine.is_some() {
            return Ok(());
        }
        let proxy = &mut self.proxies[node];
        proxy.life += 1;
        let life = proxy.life;
        let mut pasts = Vec::new();
        for journal in &proxy.disk {
            let is_same_boot = journal.boot == proxy.boot;
            pasts.push(read(journal, Tail { is_same_boot, is_strict: self.plan.is_strict, is_damaged: false })?);
        }
        let phase_us = self.rng.below(self.plan.settings.heartbeat_us);
        let settings = NodeSettings { phase_us, ..self.plan.settings };
        let incarnation = self.incarnation(node, life);
        let proxy = &mut self.proxies[node];
        proxy.names.push(incarnation.clone());
        proxy.disk.push(Journal { incarnation: incarnation.clone(), boot: proxy.boot, entries: Vec::new() });
        proxy.machine = Some(NodeEscrow::new(settings, pasts, self.now_us));
        proxy.wake_us = None;
        self.lives.insert(incarnation, (node, life));
        self.oracle.forget_counters(node);
        self.wake_later(node);
        Ok(())
    }

    /// A process dies.
    pub(crate) fn die(&mut self, node: usize, death: Death) {
        if self.proxies[node].machine.take().is_none() {
            return;
        }
        self.summary.crashes += 1;
        self.oracle.is_exact = false;
        self.proxies[node].attempts.clear();
        let torn = if death == Death::Power { self.rng.below(4) } else { 0 };
        let is_strict = self.plan.is_strict;
        let proxy = &mut self.proxies[node];
        if death != Death::Kill {
            proxy.boot += 1;
        }
        if death == Death::DiskLost {
            proxy.disk.clear();
            proxy.dropped.clear();
        }
        if let Some(journal) = proxy.disk.last_mut() {
            for _ in 0..torn {
                // what was awaited on the disk is there
                if is_strict && matches!(journal.entries.last(), Some(Entry::Intent(..))) {
                    break;
                }
                journal.entries.pop();
            }
        }
        self.excuse_double_faults();
    }

    pub(crate) fn arrive(&mut self, node: usize) -> Result<(), String> {
        let user = self.rng.index(USERS);
        self.attempt(node, user, None).map(|_| ())
    }

    /// A request comes in. `amount`: a probe that must cost exactly this.
    pub(crate) fn attempt(&mut self, node: usize, user: usize, amount: Option<i64>) -> Result<u64, String> {
        let budgets = &self.plan.budgets;
        let path = vec![budgets[0].clone(), budgets[1 + user % TEAMS].clone(), budgets[1 + TEAMS + user].clone()];
        let worst = amount.unwrap_or_else(|| self.rng.amount(1, self.plan.dearest));
        let attempt = self.draw(path.clone(), worst, if amount.is_some() { 0 } else { 2 });
        self.last_attempt += 1;
        let id = self.last_attempt;
        let now_us = self.now_us;
        let proxy = &mut self.proxies[node];
        let Some(machine) = &mut proxy.machine else { return Ok(id) };
        proxy.attempts.insert(id, attempt);
        let steps =
            machine.admit(id, &path, NanoUsd::new(worst), now_us).map_err(|broken| format!("node: {broken}"))?;
        self.follow(node, steps)?;
        Ok(id)
    }

    fn draw(&mut self, path: Vec<BudgetId>, worst: i64, fails_over: u32) -> Attempt {
        let most = u64::try_from(worst).unwrap_or(0);
        let mut actual = if self.rng.chance(1, 3) { worst } else { self.rng.amount(0, most) };
        let ending = match self.rng.below(20) {
            0 => {
                actual = 0;
                Ending::Unbilled
            }
            1 | 2 => Ending::Unknown,
            _ => Ending::Cost(NanoUsd::new(actual)),
        };
        let longest = if self.is_healed { 2 * SECOND } else { 8 * SECOND };
        let duration_us = self.rng.range(20_000, longest);
        let fails_over = if self.rng.chance(1, 10) { fails_over.saturating_sub(1) } else { 0 };
        Attempt { path, worst, actual, ending, duration_us, fails_over, is_sent: false, accounts: Vec::new() }
    }

    /// Does what the machine says, and may die between any two steps.
    fn follow(&mut self, node: usize, steps: Vec<NodeStep>) -> Result<(), String> {
        let life = self.proxies[node].life;
        self.check_node(node)?;
        for step in steps {
            if self.dies_here(node) {
                return Ok(());
            }
            match step {
                NodeStep::Send(report) => self.send_to_plane(node, life, &report),
                NodeStep::Admitted { attempt, accounts, amount } => {
                    self.summary.admitted += 1;
                    let entry = Entry::Intent(attempt, accounts.clone(), amount);
                    self.proxies[node].disk.last_mut().ok_or("no journal")?.entries.push(entry);
                    if self.dies_here(node) {
                        return Ok(());
                    }
                    self.send_upstream(node, attempt, &accounts)?;
                }
                NodeStep::Denied { attempt, why } => {
                    let denied = self.proxies[node].attempts.remove(&attempt);
                    match (why, denied) {
                        (Denial::Exceeded(_), Some(denied)) => {
                            self.summary.exceeded += 1;
                            let is_wrongful = self.is_free_somewhere(&denied.path, denied.worst);
                            self.summary.wrongful += u64::from(is_wrongful);
                        }
                        _ => self.summary.unavailable += 1,
                    }
                }
            }
        }
        if self.proxies[node].life == life {
            self.wake_later(node);
        }
        Ok(())
    }

    fn send_upstream(&mut self, node: usize, id: u64, accounts: &[AccountKey]) -> Result<(), String> {
        let life = self.proxies[node].life;
        let incarnation = self.incarnation(node, life);
        let Some(attempt) = self.proxies[node].attempts.get_mut(&id) else {
            return Err(format!("{id} admitted twice"));
        };
        attempt.is_sent = true;
        attempt.accounts = accounts.to_vec();
        let (actual, ending) = (attempt.actual, attempt.ending);
        let booked = if ending == Ending::Unknown { attempt.worst } else { actual };
        let event = Event::Done { node, life, attempt: id, ending };
        self.queue.at(self.now_us + attempt.duration_us, event);
        self.charge(&incarnation, accounts, actual, booked)
    }

    fn dies_here(&mut self, node: usize) -> bool {
        let is_now = self.plan.shape == Shape::Faulty && !self.is_healed && self.rng.chance(1, 3_000);
        if is_now {
            self.die(node, Death::Kill);
            let at = self.now_us + self.rng.below(5 * SECOND);
            self.queue.at(at, Event::Restart { node });
        }
        is_now
    }

    pub(crate) fn done(&mut self, node: usize, life: u64, id: u64, ending: Ending) -> Result<(), String> {
        if !self.is_living((node, life)) {
            return Ok(());
        }
        let now_us = self.now_us;
        let Some(attempt) = self.proxies[node].attempts.remove(&id) else { return Ok(()) };
        let cost = match ending {
            Ending::Cost(cost) => cost,
            Ending::Unbilled => NanoUsd::ZERO,
            Ending::Unknown => NanoUsd::new(attempt.worst),
        };
        self.proxies[node].disk.last_mut().ok_or("no journal")?.entries.push(Entry::Outcome(id, cost));
        if self.dies_here(node) {
            return Ok(());
        }
        let next = (attempt.fails_over > 0).then(|| {
            self.last_attempt += 1;
            (self.last_attempt, self.draw(attempt.path.clone(), attempt.worst, attempt.fails_over))
        });
        let proxy = &mut self.proxies[node];
        let Some(machine) = &mut proxy.machine else { return Ok(()) };
        let steps = match next {
            Some((next, drawn)) => {
                proxy.attempts.insert(next, drawn);
                machine.fail_over(id, ending, next, &attempt.path, now_us)
            }
            None => machine.settle(id, ending, now_us).map(|(_, steps)| steps),
        };
        self.follow(node, steps.map_err(|broken| format!("node: {broken}"))?)
    }

    pub(crate) fn at_node(&mut self, node: usize, life: u64, update: Update) -> Result<(), String> {
        if !self.is_living((node, life)) {
            return Ok(());
        }
        let now_us = self.now_us;
        let Some(machine) = &mut self.proxies[node].machine else { return Ok(()) };
        let steps = machine.hear(update, now_us).map_err(|broken| format!("node: {broken}"))?;
        let is_sealed = machine.is_sealed();
        let kept: Vec<Incarnation> = machine.pasts().map(|past| past.incarnation.clone()).collect();
        let own = self.incarnation(node, life);
        let is_strict = self.plan.is_strict;
        let proxy = &mut self.proxies[node];
        for journal in std::mem::take(&mut proxy.disk) {
            if journal.incarnation == own || kept.contains(&journal.incarnation) {
                proxy.disk.push(journal);
            } else if journal.boot == proxy.boot || is_strict {
                proxy.dropped.push(journal.incarnation);
            }
        }
        self.follow(node, steps)?;
        if is_sealed && self.is_living((node, life)) {
            return Err(format!("{own} was sealed while it lived"));
        }
        Ok(())
    }

    pub(crate) fn wake(&mut self, node: usize, life: u64) -> Result<(), String> {
        if !self.is_living((node, life)) || self.proxies[node].wake_us != Some(self.now_us) {
            return Ok(());
        }
        let now_us = self.now_us;
        let proxy = &mut self.proxies[node];
        proxy.wake_us = None;
        let Some(machine) = &mut proxy.machine else { return Ok(()) };
        let steps = machine.tick(now_us).map_err(|broken| format!("node: {broken}"))?;
        self.follow(node, steps)
    }

    fn wake_later(&mut self, node: usize) {
        let now_us = self.now_us;
        let proxy = &mut self.proxies[node];
        let Some(machine) = &proxy.machine else { return };
        let at = machine.wake_at_us().max(now_us + 1);
        if proxy.wake_us.is_none_or(|queued| at < queued || queued <= now_us) {
            proxy.wake_us = Some(at);
            let life = proxy.life;
            self.queue.at(at, Event::Wake { node, life });
        }
    }

    fn send_to_plane(&mut self, node: usize, life: u64, report: &Report) {
        for at in self.deliveries(node) {
            self.queue.at(at, Event::ToPlane { node, life, report: report.clone() });
        }
    }
}

fn read(journal: &Journal, tail: Tail) -> Result<Past, String> {
    let mut replay = Replay::default();
    for entry in &journal.entries {
        match entry {
            Entry::Intent(attempt, accounts, worst) => replay.intent(*attempt, accounts, *worst),
            Entry::Outcome(attempt, cost) => replay.outcome(*attempt, *cost).map_err(|broken| broken.to_string())?,
        }
    }
    replay.finish(journal.incarnation.clone(), tail).map_err(|broken| broken.to_string())
}
