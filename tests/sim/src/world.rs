//! The event loop: what happens next, the network in between, healing and the probes of liveness at the end.
//!
//! Rule: one thread, one queue, one source of randomness; every event goes into the trace's digest.

use crate::Summary;
use crate::database::Database;
use crate::event::{Event, Queue};
use crate::oracle::Oracle;
use crate::plan::{Plan, SECOND, Shape, TEAMS, USERS};
use crate::plane::{Plane, Session};
use crate::proxy::Proxy;
use crate::rng::Rng;
use helix_shared::budget::message::Update;
use helix_shared::ids::{Incarnation, NodeId};
use std::collections::BTreeMap;

/// From healing to rest.
const REST_US: u64 = 14 * SECOND;
const PROBES: u64 = 3;
/// A probe is admitted within this, or there is no liveness.
const PROBE_US: u64 = 2 * SECOND;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now_us: u64,
    pub(crate) rng: Rng,
    pub(crate) plan: Plan,
    pub(crate) queue: Queue,
    pub(crate) db: Database,
    pub(crate) planes: Vec<Plane>,
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) sessions: BTreeMap<u64, Box<Session>>,
    pub(crate) last_session: u64,
    pub(crate) last_attempt: u64,
    pub(crate) lives: BTreeMap<Incarnation, (usize, u64)>,
    pub(crate) oracle: Oracle,
    pub(crate) summary: Summary,
    pub(crate) is_healed: bool,
    probe: Option<(usize, u64)>,
    probes_left: u64,
    probed_denials: u64,
    looks: u64,
}

impl World {
    pub(crate) fn new(seed: u64, shape: Shape) -> Self {
        let mut rng = Rng::new(seed);
        let plan = Plan::draw(&mut rng, shape);
        let mut queue = Queue::default();
        plan.queue(&mut rng, &mut queue);
        let nodes = (0..plan.nodes).map(|node| NodeId::from(format!("n{node:03}"))).collect();
        let plane = Plane { is_up: true, offset_us: 0, limits: plan.limits.clone() };
        Self {
            now_us: 0,
            rng,
            db: Database::new(nodes),
            planes: vec![plane; plan.planes],
            proxies: (0..plan.nodes).map(|_| Proxy::new()).collect(),
            sessions: BTreeMap::new(),
            last_session: 0,
            last_attempt: 0,
            lives: BTreeMap::new(),
            oracle: Oracle::new(),
            summary: Summary::default(),
            is_healed: false,
            probe: None,
            probes_left: PROBES,
            probed_denials: 0,
            looks: 0,
            plan,
            queue,
        }
    }

    pub(crate) fn incarnation(&self, node: usize, life: u64) -> Incarnation {
        let names = self.proxies.get(node).map_or(&[][..], |proxy| &proxy.names);
        let known = usize::try_from(life).ok().and_then(|life| names.get(life.checked_sub(1)?));
        known.cloned().unwrap_or_else(|| Incarnation::from(format!("n{node:03}-{life:03}")))
    }

    pub(crate) fn run(&mut self) -> Result<Summary, String> {
        for node in 0..self.proxies.len() {
            self.start(node)?;
        }
        while let Some((at_us, event)) = self.queue.pop() {
            self.now_us = at_us;
            self.summary.events += 1;
            let is_last = matches!(event, Event::Probe) && self.probes_left == 0;
            self.happen(event)?;
            if is_last {
                break;
            }
        }
        Ok(self.summary)
    }

    fn note(&mut self, kind: u64, of: usize) {
        let of = u64::try_from(of).unwrap_or(0);
        for word in [self.now_us, kind, of, self.summary.admitted, self.summary.exceeded] {
            self.summary.trace = (self.summary.trace ^ word).wrapping_mul(0x0100_0000_01b3).rotate_left(7);
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Arrive { node } => {
                self.note(1, node);
                self.arrive(node)?;
                self.check_reserved(node)
            }
            Event::Done { node, life, attempt, ending } => {
                self.note(2, node);
                self.done(node, life, attempt, ending)?;
                self.check_reserved(node)
            }
            Event::Wake { node, life } => {
                self.note(3, node);
                self.wake(node, life)?;
                self.check_reserved(node)
            }
            Event::ToNode { node, life, update } => {
                self.note(4, node);
                self.at_node(node, life, update)?;
                self.check_reserved(node)
            }
            Event::ToPlane { node, life, report } => {
                self.note(5, node);
                self.at_plane(node, life, report)
            }
            Event::Session { id } => {
                self.note(6, 0);
                self.step_session(id)
            }
            event => self.befall(&event),
        }
    }

    /// Faults, and what ends them.
    fn befall(&mut self, event: &Event) -> Result<(), String> {
        self.note(7, 0);
        match *event {
            Event::Die { node, death } => self.die(node, death),
            Event::Restart { node } => self.start(node)?,
            Event::PlaneDown { plane } => self.plane_down(plane),
            Event::PlaneUp { plane } => self.planes[plane].is_up = true,
            Event::CutOff { node } => self.proxies[node].is_cut_off = true,
            Event::Join { node } => self.proxies[node].is_cut_off = false,
            Event::Failover { lost, is_copied } => {
                self.fail_over(lost, is_copied);
                self.excuse_double_faults();
            }
            Event::EditLimit { plane, budget, limit } if !self.is_healed => self.planes[plane].limits[budget] = limit,
            Event::MoveClock { plane, by_us } => self.planes[plane].offset_us += by_us,
            Event::Operator => self.operate()?,
            Event::Suspense => self.look_at_suspense()?,
            Event::Heal => self.heal()?,
            Event::Probe => self.probe()?,
            _ => {}
        }
        Ok(())
    }

    /// When a message of a node arrives; each time it does.
    pub(crate) fn deliveries(&mut self, node: usize) -> Vec<u64> {
        let (loss, dup) = if self.is_healed { (0, 0) } else { (self.plan.loss, self.plan.dup) };
        if self.proxies[node].is_cut_off {
            return Vec::new();
        }
        let copies = 1 + u64::from(self.rng.chance(dup, 100));
        let mut at = Vec::new();
        for _ in 0..copies {
            if self.rng.chance(loss, 100) {
                continue;
            }
            let slow = if self.is_healed { 0 } else { self.plan.slow };
            let most = match (slow, self.rng.below(8)) {
                (0, _) => 5_000,
                (1, 0) | (2, 0..=2) => 400_000,
                (2, 3) | (3, 0..=3) => 3_000_000,
                (3, 4) => 12_000_000,
                _ => 20_000,
            };
            at.push(self.now_us + self.rng.range(200, most));
        }
        at
    }

    pub(crate) fn send_to_node(&mut self, node: usize, life: u64, update: &Update) {
        for at in self.deliveries(node) {
            self.queue.at(at, Event::ToNode { node, life, update: update.clone() });
        }
    }

    fn heal(&mut self) -> Result<(), String> {
        self.is_healed = true;
        for plane in &mut self.planes {
            plane.is_up = true;
            plane.offset_us = 0;
        }
        let limits = self.planes[0].limits.clone();
        self.planes.iter_mut().for_each(|plane| plane.limits.clone_from(&limits));
        for node in 0..self.proxies.len() {
            self.proxies[node].is_cut_off = false;
            self.start(node)?;
        }
        self.queue.at(self.now_us + REST_US, Event::Probe);
        Ok(())
    }

    /// Asks for all the money that is really free somewhere: it must be admitted.
    fn probe(&mut self) -> Result<(), String> {
        if let Some((node, attempt)) = self.probe.take() {
            let proxy = &self.proxies[node];
            if proxy.attempts.get(&attempt).is_some_and(|attempt| !attempt.is_sent) {
                return Err(format!("liveness: node {node} still waits for money that is free"));
            }
            if self.probed_denials != self.summary.exceeded + self.summary.unavailable {
                return Err(format!("liveness: node {node} was denied money that was free"));
            }
            self.summary.probes += 1;
        }
        if self.probes_left == PROBES
            && let Err(unrest) = self.check_rest()
        {
            // a report may be under way at this very moment
            self.looks += 1;
            if self.looks > 5 {
                return Err(unrest);
            }
            self.queue.at(self.now_us + SECOND / 5, Event::Probe);
            return Ok(());
        }
        if self.probes_left == 0 {
            return Ok(());
        }
        self.probes_left -= 1;
        self.queue.at(self.now_us + PROBE_US + SECOND / 2, Event::Probe);
        let (node, user) = (self.rng.index(self.proxies.len()), self.rng.index(USERS));
        let (_, end) = self.window(0, &self.plan.budgets[0]);
        if end.get() - self.wall_us(0) < 4_000_000 {
            return Ok(());
        }
        let path = [0, 1 + user % TEAMS, 1 + TEAMS + user];
        let free = |at: &usize| {
            let account = self.window(0, &self.plan.budgets[*at]).0;
            let row = self.db.accounts.contains_key(&account);
            if row { self.free_money(&account) } else { self.planes[0].limits[*at] }
        };
        // a row may have an older limit; the plane grants by the configured one
        let limit = |at: &usize| {
            let account = self.window(0, &self.plan.budgets[*at]).0;
            let known = self.db.accounts.get(&account).map_or(self.planes[0].limits[*at], |row| row.funds.limit.get());
            self.planes[0].limits[*at] - known
        };
        let most = path.iter().map(|at| free(at) + limit(at)).min().unwrap_or(0);
        if most < 1 {
            return Ok(());
        }
        self.probed_denials = self.summary.exceeded + self.summary.unavailable;
        let attempt = self.attempt(node, user, Some(most))?;
        self.probe = Some((node, attempt));
        Ok(())
    }
}
