//! The `BudgetEscrow` stream: the escrow machine's messages, and the requests that found too little in hand.
//!
//! Rule: fail closed. A request that finds too little escrow in hand waits for the machine's verdict; no verdict in time is
//! a refusal, never an admission. Who is admitted, asked and believed is [`NodeEscrow`]'s decision; this task only carries.

use super::account::{Counters, Signal};
use super::handle::{Command, Waiter};
pub use super::handle::{Escrow, Refused};
use super::ledger::{Held, Ledger, Reservation};
use super::pasts::Pasts;
use super::verdict;
use crate::link::Link;
use futures_util::StreamExt;
use helix_proto::convert::escrow::{past_from_wire, report_to_wire, update_from_wire};
use helix_proto::v1;
use helix_proto::v1::budget_escrow_client::BudgetEscrowClient;
use helix_shared::budget::message::{Epoch, Past, Report, Standing, Update};
use helix_shared::budget::node::{Denial, NodeEscrow, NodeSettings, NodeStep};
use helix_shared::budget::{AccountKey, Broken};
use helix_shared::ids::{BudgetId, Incarnation};
use helix_shared::money::NanoUsd;
use helix_shared::time::Clock;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

/// Between two looks at what is due, however often something is.
const LEAST_PAUSE_US: u64 = 1_000;

/// The task's end of an [`Escrow`].
#[derive(Debug)]
pub struct EscrowTask {
    ledger: Arc<Ledger>,
    clock: Arc<dyn Clock>,
    commands: mpsc::Receiver<Command>,
    machine: NodeEscrow<Counters>,
    waiters: BTreeMap<u64, Waiter>,
    last_attempt: u64,
    closing: Vec<(Incarnation, oneshot::Sender<()>)>,
    outbox: Vec<Report>,
    signal: Arc<Signal>,
    pasts: Pasts,
    /// Closed incarnations of earlier processes, with the epoch they were closed in.
    resting: Vec<(Epoch, Past)>,
    /// Closed in this process's time.
    closed: BTreeSet<Incarnation>,
    /// This process closes its own incarnation.
    is_leaving: bool,
    last_tick_us: u64,
}

impl Escrow {
    /// Makes the pair: the handle that requests use and the task that talks to the control plane.
    pub fn new(clock: Arc<dyn Clock>, data_dir: &Path) -> (Self, EscrowTask) {
        let (commands, receiver) = mpsc::channel(16_384);
        let ledger = Arc::new(Ledger::default());
        let pasts = Pasts::new(data_dir);
        let settings = NodeSettings::default();
        // a fleet that starts together should not speak in chorus
        let spread = uuid::Uuid::now_v7().as_u64_pair().1;
        let settings = NodeSettings { phase_us: spread % settings.heartbeat_us.max(1), ..settings };
        let task = EscrowTask {
            ledger: Arc::clone(&ledger),
            machine: NodeEscrow::new(settings, Vec::new(), clock.monotonic_us()),
            clock: Arc::clone(&clock),
            commands: receiver,
            waiters: BTreeMap::new(),
            last_attempt: 0,
            closing: Vec::new(),
            outbox: Vec::new(),
            signal: Arc::default(),
            resting: pasts.read(),
            pasts,
            closed: BTreeSet::new(),
            is_leaving: false,
            last_tick_us: 0,
        };
        (Self { ledger, clock, commands }, task)
    }
}

impl EscrowTask {
    /// Runs until the token of the link says stop.
    pub async fn run(mut self, link: Link) {
        let mut backoff = link.backoff();
        loop {
            let connected_at = tokio::time::Instant::now();
            match self.exchange(&link).await {
                Ok(()) => return,
                Err(status) => tracing::debug!(%status, "the escrow stream ended; it will be opened again"),
            }
            backoff.note_connection(connected_at.elapsed());
            let pause = tokio::time::sleep(backoff.next_pause());
            tokio::pin!(pause);
            loop {
                // what is said now is lost; the machine says it again
                self.outbox.clear();
                tokio::select! {
                    () = &mut pause => break,
                    () = link.stopped() => return,
                    is_open = self.next_event(link.incarnation()) => if !is_open { return },
                }
            }
        }
    }

    async fn exchange(&mut self, link: &Link) -> Result<(), tonic::Status> {
        let (reports, receiver) = mpsc::channel::<v1::EscrowReport>(64);
        send(&reports, v1::EscrowReport { node: Some(link.node()), step: None }).await?;
        let mut client = BudgetEscrowClient::with_interceptor(link.channel(), link.credentials());
        let outbound = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let opening = client.exchange(outbound);
        tokio::pin!(opening);
        // requests that wait meanwhile are refused in their time
        let mut updates = loop {
            tokio::select! {
                opened = &mut opening => break opened?.into_inner(),
                () = link.stopped() => return Ok(()),
                is_open = self.next_event(link.incarnation()) => if !is_open { return Ok(()) },
            }
            self.outbox.clear();
        };
        let steps = self.machine.connected(self.clock.monotonic_us());
        self.follow(Ok(steps));
        loop {
            for report in std::mem::take(&mut self.outbox) {
                say(&reports, v1::EscrowReport { node: None, step: Some(report_to_wire(&report)) })?;
            }
            tokio::select! {
                biased;
                () = link.stopped() => return Ok(()),
                update = updates.next() => match update {
                    Some(update) => self.hear(update?),
                    None => return Err(tonic::Status::unavailable("the control plane ended the stream")),
                },
                is_open = self.next_event(link.incarnation()) => if !is_open { return Ok(()) },
            }
        }
    }

    /// Waits for what happens on this node and does it. `false`: nobody can ask any more.
    async fn next_event(&mut self, own: &str) -> bool {
        let now_us = self.clock.monotonic_us();
        let wake_us = self.machine.wake_at_us().max(self.last_tick_us.saturating_add(LEAST_PAUSE_US));
        if wake_us <= now_us {
            // Due, however much else there is to do.
            self.tick();
            return true;
        }
        let wake_us = wake_us - now_us;
        tokio::select! {
            biased;
            command = self.commands.recv() => {
                let Some(command) = command else { return false };
                self.take(command, own);
                while let Ok(command) = self.commands.try_recv() {
                    self.take(command, own);
                }
            }
            () = self.signal.came_free.notified() => {
                let steps = self.machine.came_free(self.clock.monotonic_us());
                self.follow(steps);
            }
            () = tokio::time::sleep(Duration::from_micros(wake_us)) => self.tick(),
        }
        true
    }

    fn tick(&mut self) {
        self.last_tick_us = self.clock.monotonic_us();
        for slot in self.ledger.all() {
            let (sum, largest) = slot.take_reserved();
            if largest > NanoUsd::ZERO {
                self.machine.note_reserved(&slot.budget_id, sum, largest);
            }
        }
        let steps = self.machine.tick(self.clock.monotonic_us());
        self.follow(steps);
        self.mark_what_goes_back();
    }

    fn take(&mut self, command: Command, own: &str) {
        match command {
            Command::Admit(waiter) => self.admit(waiter),
            Command::Inform(slot) => {
                let steps = self.machine.want_news(&slot.budget_id, self.clock.monotonic_us());
                self.follow(Ok(steps));
            }
            Command::Close(past, done) => {
                self.is_leaving |= past.incarnation.as_str() == own;
                self.close(past, done);
            }
        }
    }

    fn close(&mut self, past: Past, done: oneshot::Sender<()>) {
        if self.closed.contains(&past.incarnation) {
            // confirmed already, by its file
            if done.send(()).is_err() {
                tracing::trace!("nobody waits for the closing any more");
            }
            return;
        }
        self.closing.push((past.incarnation.clone(), done));
        // what is known of it since it was closed says more than its records, which a restored database may have lost
        let is_it = |(_, known): &(Epoch, Past)| known.incarnation == past.incarnation;
        let known = self.resting.iter().position(is_it).map(|at| self.resting.remove(at).1);
        self.machine.add_past(known.unwrap_or(past));
        let steps = self.machine.report_now();
        self.follow(Ok(steps));
    }

    fn admit(&mut self, waiter: Waiter) {
        if waiter.answer.is_closed() {
            return;
        }
        self.last_attempt += 1;
        let attempt = self.last_attempt;
        let path: Vec<BudgetId> = waiter.path.iter().map(|slot| slot.budget_id.clone()).collect();
        let amount = waiter.amount.max(NanoUsd::ZERO);
        self.waiters.insert(attempt, waiter);
        let steps = self.machine.admit(attempt, &path, amount, self.clock.monotonic_us());
        self.follow(steps);
        // a budget that is new to the configuration may be known to the machine
        self.show(&path);
    }

    fn hear(&mut self, update: v1::EscrowUpdate) {
        let closed = closed_by(&update);
        let Some(update) = update_from_wire(update) else { return };
        let now_us = self.clock.monotonic_us();
        let standings: Vec<Standing> = match &update {
            Update::Granted { standings, .. } | Update::Acknowledged { standings, .. } => standings.clone(),
            Update::Recall { .. } | Update::Sealed => Vec::new(),
        };
        let was_sealed = self.machine.is_sealed();
        let calm = self.ledger.calm();
        let steps = self.machine.hear(update, now_us);
        for standing in &standings {
            if let Some(account) = self.machine.holding(&standing.account) {
                account.0.note(standing, now_us, &self.signal);
            }
        }
        self.show(&standings.iter().map(|standing| standing.account.budget_id.clone()).collect::<Vec<_>>());
        self.follow_after(steps, self.ledger.is_calm_since(calm));
        self.confirm(closed);
        if self.machine.is_sealed() && !was_sealed && !self.is_leaving {
            tracing::error!(
                "the control plane has sealed this process: an operator released what it held. It admits nothing under hard budgets any more; restart it"
            );
        }
        if self.machine.is_sealed() {
            self.ledger.all().iter().for_each(|slot| slot.show(None));
        }
        self.declare_again();
        self.mark_what_goes_back();
    }

    /// What closed incarnations spent, for a database that has another history than the one that heard of it.
    fn declare_again(&mut self) {
        let epoch = self.machine.epoch();
        let (resting, due) =
            std::mem::take(&mut self.resting).into_iter().partition(|(closed_in, _)| *closed_in >= epoch);
        self.resting = resting;
        let due: Vec<(Epoch, Past)> = due;
        if due.is_empty() {
            return;
        }
        for (_, past) in due {
            self.machine.add_past(past);
        }
        let steps = self.machine.report_now();
        self.follow(Ok(steps));
    }

    fn confirm(&mut self, closed: Vec<Past>) {
        for past in closed {
            if past.is_whole {
                self.closed.insert(past.incarnation.clone());
                self.machine.replace_past(&past);
                self.pasts.keep(self.machine.epoch(), &past);
            } else {
                tracing::warn!(
                    incarnation = %past.incarnation,
                    "not every record of an earlier process has arrived in a form that can be read; its escrow stays counted as spent"
                );
            }
            let is_it = |(incarnation, _): &(Incarnation, oneshot::Sender<()>)| *incarnation == past.incarnation;
            let (done, open) = std::mem::take(&mut self.closing).into_iter().partition(is_it);
            self.closing = open;
            let done: Vec<(Incarnation, oneshot::Sender<()>)> = done;
            for (_, done) in done {
                if done.send(()).is_err() {
                    tracing::trace!("nobody waits for the closing any more");
                }
            }
        }
    }

    /// Shows requests the present accounts of these budgets.
    fn show(&self, budgets: &[BudgetId]) {
        let now_us = self.clock.monotonic_us();
        for slot in budgets.iter().filter_map(|budget| self.ledger.slot(budget)) {
            let present = self.machine.present(&slot.budget_id, now_us).filter(|_| !self.machine.is_sealed());
            slot.show(present.and_then(|key| self.machine.holding(&key).map(|counters| Arc::clone(&counters.0))));
        }
    }

    fn mark_what_goes_back(&self) {
        let now_us = self.clock.monotonic_us();
        for (key, account) in self.machine.holdings() {
            account.0.set_goes_back(self.machine.goes_back(&key, now_us));
        }
    }

    fn follow(&mut self, steps: Result<Vec<NodeStep>, Broken>) {
        self.follow_after(steps, true);
    }

    /// Does what the machine says. `is_calm`: nobody was half-way along a path while it decided.
    fn follow_after(&mut self, steps: Result<Vec<NodeStep>, Broken>, is_calm: bool) {
        let steps = match steps {
            Ok(steps) => steps,
            Err(broken) => {
                tracing::error!(%broken, "an invariant of escrow does not hold on this node; a request is refused");
                return;
            }
        };
        for step in steps {
            match step {
                NodeStep::Send(report) => self.outbox.push(report),
                NodeStep::Admitted { attempt, accounts, amount } => self.admitted(attempt, &accounts, amount),
                NodeStep::Denied { attempt, why } => self.denied(attempt, why, is_calm),
            }
        }
        let has_waiters = self.machine.waiting() > 0;
        if self.signal.has_waiters.swap(has_waiters, Ordering::SeqCst) != has_waiters && has_waiters {
            // what came free in between was told to nobody
            self.signal.came_free.notify_one();
        }
    }

    fn admitted(&mut self, attempt: u64, accounts: &[AccountKey], amount: NanoUsd) {
        self.machine.hand_over(attempt);
        let held: Held = accounts
            .iter()
            .filter_map(|key| self.machine.holding(key).map(|counters| Arc::clone(&counters.0)))
            .collect();
        let reservation = Reservation::taken(held, amount);
        if let Some(waiter) = self.waiters.remove(&attempt) {
            // Nobody waits any more: the reservation drops and is put back.
            drop(waiter.answer.send(Ok(reservation)));
        }
    }

    fn denied(&mut self, attempt: u64, why: Denial, is_calm: bool) {
        let Some(waiter) = self.waiters.remove(&attempt) else { return };
        let index = |budget: &BudgetId| waiter.path.iter().position(|slot| slot.budget_id == *budget).unwrap_or(0);
        let refused = match why {
            Denial::Exceeded(key) => {
                let looked = if is_calm {
                    None
                } else {
                    verdict::look_again(&self.ledger, &waiter.path, waiter.amount, self.clock.monotonic_us())
                };
                match (looked, self.machine.holding(&key)) {
                    (Some(answer), _) => {
                        drop(waiter.answer.send(answer));
                        return;
                    }
                    (None, Some(account)) => {
                        Refused::Exceeded { index: index(&key.budget_id), account: Arc::clone(&account.0) }
                    }
                    (None, None) => Refused::Unavailable { index: index(&key.budget_id) },
                }
            }
            Denial::Unavailable(budget) => Refused::Unavailable { index: index(&budget) },
            Denial::Sealed => Refused::Unavailable { index: 0 },
        };
        drop(waiter.answer.send(Err(refused)));
    }
}

/// The earlier incarnations that an update confirms, with what they spent.
fn closed_by(update: &v1::EscrowUpdate) -> Vec<Past> {
    match &update.step {
        Some(v1::escrow_update::Step::Acknowledged(told)) => told.pasts.iter().filter_map(past_from_wire).collect(),
        _ => Vec::new(),
    }
}

async fn send(reports: &mpsc::Sender<v1::EscrowReport>, report: v1::EscrowReport) -> Result<(), tonic::Status> {
    reports.send(report).await.map_err(|_| tonic::Status::unavailable("the report stream is closed"))
}

/// Says something on a stream that runs. A plane that does not read is not waited for: what it misses is said again, and
/// meanwhile money that comes free on this node has those who wait for it.
fn say(reports: &mpsc::Sender<v1::EscrowReport>, report: v1::EscrowReport) -> Result<(), tonic::Status> {
    match reports.try_send(report) {
        Ok(()) | Err(TrySendError::Full(_)) => Ok(()),
        Err(TrySendError::Closed(_)) => Err(tonic::Status::unavailable("the report stream is closed")),
    }
}
