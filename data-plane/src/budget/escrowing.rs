//! The `BudgetEscrow` stream: acquires what requests wait for, reports totals each second, gives back what lies idle.
//!
//! Rule: fail closed. A request that finds too little escrow in hand waits for one answer of the control plane; no answer
//! in time is a refusal, never an admission. One ask is out at a time and carries everybody who waits, so a burst costs
//! one round trip.

use super::account::{Account, GrantNews, Slot};
use super::ledger::{Ledger, Reservation, Short};
use crate::link::Link;
use futures_util::StreamExt;
use helix_proto::convert::record::{account_from_wire, account_to_wire};
use helix_proto::v1;
use helix_proto::v1::budget_escrow_client::BudgetEscrowClient;
use helix_shared::ids::BudgetId;
use helix_shared::money::NanoUsd;
use helix_shared::time::Clock;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long a request waits for escrow.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How many seconds of spending a node likes to hold.
const HORIZON_SECONDS: u32 = 30;
const TICK: Duration = Duration::from_secs(1);
/// Asks per request before money that others give back at the same moment is left alone.
const MOST_ASKS: u8 = 4;

/// Admission to hard budgets. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Escrow {
    /// The escrow in hand.
    pub ledger: Arc<Ledger>,
    clock: Arc<dyn Clock>,
    commands: mpsc::Sender<Command>,
}

/// Why a request is not admitted.
#[derive(Debug)]
pub enum Refused {
    /// This budget cannot afford it.
    Exceeded {
        /// Index into the path.
        index: usize,
        /// Its account of the current period.
        account: Arc<Account>,
    },
    /// The control plane did not answer in time.
    Unavailable {
        /// Index into the path of the budget that was short.
        index: usize,
    },
}

#[derive(Debug)]
enum Command {
    Admit(Waiter),
    Inform(Arc<Slot>),
    Close { incarnation: String, done: oneshot::Sender<()> },
}

#[derive(Debug)]
struct Waiter {
    path: Vec<Arc<Slot>>,
    amount: NanoUsd,
    asks: u8,
    answer: oneshot::Sender<Result<Reservation, Refused>>,
}

/// The task's end of an [`Escrow`].
#[derive(Debug)]
pub struct EscrowTask {
    ledger: Arc<Ledger>,
    clock: Arc<dyn Clock>,
    commands: mpsc::Receiver<Command>,
    waiting: VecDeque<Waiter>,
    inform: BTreeMap<BudgetId, Arc<Slot>>,
    closing: Vec<(String, oneshot::Sender<()>)>,
    last_ask: u64,
    outstanding: Option<u64>,
}

impl Escrow {
    /// Makes the pair: the handle that requests use and the task that talks to the control plane.
    pub fn new(clock: Arc<dyn Clock>) -> (Self, EscrowTask) {
        let (commands, receiver) = mpsc::channel(16_384);
        let ledger = Arc::new(Ledger::default());
        let task = EscrowTask {
            ledger: Arc::clone(&ledger),
            clock: Arc::clone(&clock),
            commands: receiver,
            waiting: VecDeque::new(),
            inform: BTreeMap::new(),
            closing: Vec::new(),
            last_ask: 0,
            outstanding: None,
        };
        (Self { ledger, clock, commands }, task)
    }

    /// Reserves `amount` in every budget of the path.
    ///
    /// # Errors
    /// [`Refused`] names the budget that said no, or that could not be asked.
    pub async fn admit(&self, path: &[Arc<Slot>], amount: NanoUsd) -> Result<Reservation, Refused> {
        let short = match self.ledger.reserve(path, amount, self.clock.monotonic_us()) {
            Ok(reservation) => return Ok(reservation),
            Err(short) => short,
        };
        let (answer, answered) = oneshot::channel();
        let waiter = Waiter { path: path.to_vec(), amount, asks: 0, answer };
        if self.commands.try_send(Command::Admit(waiter)).is_err() {
            return Err(Refused::Unavailable { index: short.index });
        }
        match tokio::time::timeout(ACQUIRE_TIMEOUT, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(Refused::Unavailable { index: short.index }),
        }
    }

    /// Asks for news of a budget without waiting and without wanting money: soft budgets warn by it.
    pub fn inform(&self, slot: &Arc<Slot>) {
        if self.commands.try_send(Command::Inform(Arc::clone(slot))).is_err() {
            tracing::debug!("the escrow queue is full; a budget's state stays unknown for now");
        }
    }

    /// Seals an incarnation whose records have all been taken: what it was granted and did not spend comes free. Returns
    /// when the control plane confirmed.
    pub async fn close(&self, incarnation: &str) {
        let (done, confirmed) = oneshot::channel();
        let command = Command::Close { incarnation: incarnation.to_owned(), done };
        if self.commands.send(command).await.is_ok() && confirmed.await.is_err() {
            tracing::debug!(incarnation, "the escrow task ended before the incarnation was sealed");
        }
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
            self.outstanding = None;
            backoff.note_connection(connected_at.elapsed());
            let pause = tokio::time::sleep(backoff.next_pause());
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    () = link.stopped() => return,
                    command = self.commands.recv() => match command {
                        Some(command) => self.take(command),
                        None => return,
                    },
                }
            }
        }
    }

    async fn exchange(&mut self, link: &Link) -> Result<(), tonic::Status> {
        let (reports, receiver) = mpsc::channel::<v1::EscrowReport>(64);
        let hello = self.balances(Some(link.node()));
        if reports.send(hello).await.is_err() {
            return Err(tonic::Status::unavailable("the report stream is closed"));
        }
        let mut client = BudgetEscrowClient::with_interceptor(link.channel(), link.credentials());
        let outbound = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let mut updates = client.exchange(outbound).await?.into_inner();
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for (incarnation, _) in &self.closing {
            send(&reports, close_report(incarnation)).await?;
        }
        loop {
            tokio::select! {
                biased;
                () = link.stopped() => return Ok(()),
                update = updates.next() => match update {
                    Some(update) => self.learn(update?),
                    None => return Err(tonic::Status::unavailable("the control plane ended the stream")),
                },
                command = self.commands.recv() => {
                    let Some(command) = command else { return Ok(()) };
                    self.take_and_send(command, &reports).await?;
                    while let Ok(command) = self.commands.try_recv() {
                        self.take_and_send(command, &reports).await?;
                    }
                }
                _ = tick.tick() => {
                    let refill = self.refill();
                    let report = self.balances(None);
                    send(&reports, report).await?;
                    self.ask(refill, &reports).await?;
                }
            }
            self.ask_for_waiting(&reports).await?;
        }
    }

    async fn take_and_send(
        &mut self,
        command: Command,
        reports: &mpsc::Sender<v1::EscrowReport>,
    ) -> Result<(), tonic::Status> {
        if let Command::Close { incarnation, .. } = &command {
            send(reports, close_report(incarnation)).await?;
        }
        self.take(command);
        Ok(())
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Admit(waiter) => self.waiting.push_back(waiter),
            Command::Inform(slot) => {
                self.inform.insert(slot.budget_id.clone(), slot);
            }
            Command::Close { incarnation, done } => self.closing.push((incarnation, done)),
        }
    }

    fn learn(&mut self, update: v1::EscrowUpdate) {
        let totals = match update.step {
            Some(v1::escrow_update::Step::Granted(granted)) => {
                if self.outstanding == Some(granted.ask) {
                    self.outstanding = None;
                }
                self.take_news(granted.totals);
                self.answer_waiting();
                return;
            }
            Some(v1::escrow_update::Step::Acknowledged(acknowledged)) => acknowledged.totals,
            Some(v1::escrow_update::Step::Closed(closed)) => {
                let (sealed, open) =
                    std::mem::take(&mut self.closing).into_iter().partition(|(inc, _)| *inc == closed.incarnation);
                self.closing = open;
                let sealed: Vec<(String, oneshot::Sender<()>)> = sealed;
                for (_, done) in sealed {
                    if done.send(()).is_err() {
                        tracing::trace!("nobody waits for the sealing any more");
                    }
                }
                return;
            }
            None => return,
        };
        self.take_news(totals);
    }

    fn take_news(&mut self, totals: Vec<v1::Grant>) {
        let now = self.clock.monotonic_us();
        for grant in totals {
            let Some(account) = &grant.account else { continue };
            let key = account_from_wire(account);
            let Some(slot) = self.ledger.slot(&key.budget_id) else { continue };
            let ends_in_us = u64::try_from(grant.period_ends_in_ms).unwrap_or(0).saturating_mul(1_000);
            slot.learn(&GrantNews {
                key,
                granted_total: grant.granted_total_nano_usd,
                ends_at_monotonic_us: now.saturating_add(ends_in_us),
                period_end_us: grant.period_end_us,
                limit: grant.limit_nano_usd,
                fleet_spent: grant.fleet_spent_nano_usd,
                available: grant.available_nano_usd,
            });
        }
    }

    /// Admits in the order of arrival; denies those that were asked for and cannot be afforded.
    fn answer_waiting(&mut self) {
        let now = self.clock.monotonic_us();
        for _ in 0..self.waiting.len() {
            let Some(mut waiter) = self.waiting.pop_front() else { return };
            if waiter.answer.is_closed() {
                continue;
            }
            let answer = match self.ledger.reserve(&waiter.path, waiter.amount, now) {
                Ok(reservation) => Ok(reservation),
                Err(short) if waiter.asks == 0 => {
                    let _still_short = short;
                    self.waiting.push_back(waiter);
                    continue;
                }
                Err(short) => {
                    let account = waiter.path.get(short.index).and_then(|slot| slot.account(now));
                    match account {
                        // A shortage that is not certain is another's half-way: it may name the wrong budget.
                        Some(account) if waiter.asks >= MOST_ASKS || is_refusal(&short, waiter.amount) => {
                            Err(Refused::Exceeded { index: short.index, account })
                        }
                        None if waiter.asks >= MOST_ASKS => Err(Refused::Unavailable { index: short.index }),
                        _ => {
                            waiter.asks = waiter.asks.saturating_add(1);
                            self.waiting.push_back(waiter);
                            continue;
                        }
                    }
                }
            };
            // Nobody waits any more: the reservation drops and is put back.
            drop(waiter.answer.send(answer));
        }
    }

    async fn ask_for_waiting(&mut self, reports: &mpsc::Sender<v1::EscrowReport>) -> Result<(), tonic::Status> {
        if self.outstanding.is_some() || (self.waiting.is_empty() && self.inform.is_empty()) {
            return Ok(());
        }
        // Escrow may have come free while they waited; only what is still short is asked for.
        self.answer_waiting();
        let mut sums: BTreeMap<BudgetId, (Arc<Slot>, i64)> = BTreeMap::new();
        for waiter in &mut self.waiting {
            waiter.asks = waiter.asks.max(1);
            for slot in &waiter.path {
                let entry = sums.entry(slot.budget_id.clone()).or_insert_with(|| (Arc::clone(slot), 0));
                entry.1 = entry.1.saturating_add(waiter.amount.get());
            }
        }
        let now = self.clock.monotonic_us();
        let mut wants: Vec<v1::Want> = sums.values().map(|(slot, sum)| want(slot, *sum, now)).collect();
        for (budget, slot) in std::mem::take(&mut self.inform) {
            if !sums.contains_key(&budget) {
                wants.push(no_want(&slot, now));
            }
        }
        self.ask(wants, reports).await
    }

    async fn ask(
        &mut self,
        wants: Vec<v1::Want>,
        reports: &mpsc::Sender<v1::EscrowReport>,
    ) -> Result<(), tonic::Status> {
        if wants.is_empty() || self.outstanding.is_some() {
            return Ok(());
        }
        self.last_ask += 1;
        self.outstanding = Some(self.last_ask);
        let acquire = v1::Acquire { ask: self.last_ask, wants };
        send(reports, v1::EscrowReport { node: None, step: Some(v1::escrow_report::Step::Acquire(acquire)) }).await
    }

    /// Once a second: what runs low is asked for ahead of need, what lies idle is given back.
    fn refill(&mut self) -> Vec<v1::Want> {
        let now = self.clock.monotonic_us();
        let mut wants = Vec::new();
        for slot in self.ledger.all() {
            let wish = slot.tick(HORIZON_SECONDS).get();
            let Some(account) = slot.account(now) else { continue };
            let totals = account.totals();
            if totals.granted == 0 {
                continue;
            }
            if totals.free > wish.saturating_mul(4) {
                account.give_back_beyond(wish.saturating_mul(2));
            } else if totals.free < wish / 4 {
                wants.push(v1::Want {
                    account: Some(account_to_wire(&account.key)),
                    need_total_nano_usd: totals.granted,
                    want_total_nano_usd: totals.granted.saturating_add(wish - totals.free),
                });
            }
        }
        wants
    }

    fn balances(&self, node: Option<v1::Node>) -> v1::EscrowReport {
        let balance = |totals: super::account::Totals| v1::Balance {
            account: Some(account_to_wire(&totals.key)),
            spent_total_nano_usd: totals.spent,
            returned_total_nano_usd: totals.returned,
        };
        let balances =
            self.ledger.all().iter().flat_map(|slot| slot.report()).filter(|t| t.granted > 0).map(balance).collect();
        v1::EscrowReport { node, step: Some(v1::escrow_report::Step::Balances(v1::Balances { balances })) }
    }
}

/// Whether nobody in the fleet has what is short.
fn is_refusal(short: &Short, amount: NanoUsd) -> bool {
    short.is_certain && short.remaining.is_some_and(|remaining| remaining < amount)
}

fn want(slot: &Slot, sum: i64, now: u64) -> v1::Want {
    let wish = slot.wish(HORIZON_SECONDS).get().max(sum.saturating_mul(4));
    let Some(account) = slot.account(now) else {
        let account = v1::AccountKey { budget_id: slot.budget_id.as_str().to_owned(), period_start_us: 0 };
        return v1::Want { account: Some(account), need_total_nano_usd: sum, want_total_nano_usd: wish };
    };
    let totals = account.totals();
    v1::Want {
        account: Some(account_to_wire(&account.key)),
        need_total_nano_usd: totals.granted.saturating_add((sum - totals.free).max(0)),
        want_total_nano_usd: totals.granted.saturating_add((wish - totals.free).max(0)),
    }
}

fn no_want(slot: &Slot, now: u64) -> v1::Want {
    let known = slot.account(now);
    let granted = known.as_ref().map_or(0, |account| account.totals().granted);
    let account = known.map_or_else(
        || v1::AccountKey { budget_id: slot.budget_id.as_str().to_owned(), period_start_us: 0 },
        |account| account_to_wire(&account.key),
    );
    v1::Want { account: Some(account), need_total_nano_usd: granted, want_total_nano_usd: granted }
}

fn close_report(incarnation: &str) -> v1::EscrowReport {
    // No finals: the control plane has every record of the incarnation and sums them up itself.
    let close = v1::Close { incarnation: incarnation.to_owned(), r#final: Vec::new() };
    v1::EscrowReport { node: None, step: Some(v1::escrow_report::Step::Close(close)) }
}

async fn send(reports: &mpsc::Sender<v1::EscrowReport>, report: v1::EscrowReport) -> Result<(), tonic::Status> {
    reports.send(report).await.map_err(|_| tonic::Status::unavailable("the report stream is closed"))
}
