//! The escrow stream, server side: acquire, balances, recall.
//!
//! Rule: budgets and calendars are this side's: a want is resolved to the present period of a budget that exists, by this
//! clock and the budget's zone. What a node reports is written before what it asks is answered, and both are answered only
//! after the commit. What is granted, taken back and believed is the machines' decision ([`helix_shared::budget::plane`]).

use super::holders::Holders;
use super::identity::Identity;
use crate::error::chain;
use crate::publish::{Feed, Published};
use crate::tasks::Tasks;
use futures_util::FutureExt as _;
use helix_proto::convert::escrow::{balance_from_wire, need_from_wire, past_from_wire, past_to_wire, standing_to_wire};
use helix_proto::v1;
use helix_proto::v1::budget_escrow_server::BudgetEscrow;
use helix_shared::budget::horizon::OFFLINE_HORIZON_S;
use helix_shared::budget::message::{Balance, Epoch, Past, Standing};
use helix_shared::budget::plane::{Acquiring, Ask, Hearing, Outcome};
use helix_shared::budget::{AccountKey, Limit, Mode, Window};
use helix_shared::ids::{BudgetId, Incarnation};
use helix_shared::money::NanoUsd;
use helix_shared::time::{Clock, UnixMicros};
use helix_store::{Db, Dialect, EscrowSpeaker, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Most messages that are handled at once.
const BATCH: usize = 64;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct BudgetService {
    pub(crate) db: Db,
    pub(crate) feed: Feed,
    pub(crate) tasks: Tasks,
    pub(crate) clock: Arc<dyn Clock>,
    /// Who may write escrow now: one at a time on SQLite, which has one writer; a few on a server. First come, first served.
    pub(crate) turns: Arc<Semaphore>,
    /// The nodes that are connected here.
    pub(crate) holders: Holders,
    /// Whether the database counts its own histories.
    pub(crate) counts_histories: bool,
}

pub(crate) type UpdateSender = mpsc::Sender<Result<v1::EscrowUpdate, Status>>;
type Step = v1::escrow_report::Step;
type Told = v1::escrow_update::Step;

#[tonic::async_trait]
impl BudgetEscrow for BudgetService {
    type ExchangeStream = ReceiverStream<Result<v1::EscrowUpdate, Status>>;

    async fn exchange(
        &self,
        request: Request<Streaming<v1::EscrowReport>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let (sender, receiver) = mpsc::channel(64);
        let service = self.clone();
        self.tasks.spawn("escrow stream", async move {
            if let Err(status) = service.serve(request.into_inner(), &sender).await {
                // the node may be gone already; then nobody needs the status
                drop(sender.send(Err(status)).await);
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// One node's escrow.
struct Exchange<'a> {
    service: &'a BudgetService,
    node: Identity,
    out: &'a UpdateSender,
    /// Soft budgets the node asked about: it holds no lease of them, and wants to know how they stand.
    soft: BTreeSet<BudgetId>,
}

/// What a node said in several reports, as one.
#[derive(Default)]
struct Said {
    epoch: Epoch,
    balances: Vec<Balance>,
    pasts: BTreeMap<Incarnation, Past>,
}

impl BudgetService {
    async fn serve(&self, mut reports: Streaming<v1::EscrowReport>, out: &UpdateSender) -> Result<(), Status> {
        let Some(first) = reports.message().await? else { return Ok(()) };
        let node = Identity::introduce(first.node)?;
        let owner = self.db.owner(&node.incarnation).await.map_err(|error| unavailable(&error))?;
        if owner.is_some_and(|owner| owner != node.node_id) {
            return Err(Status::permission_denied("the incarnation belongs to another node"));
        }
        let _held = self.holders.connect(&node.incarnation, out);
        let mut exchange = Exchange { service: self, node, out, soft: BTreeSet::new() };
        let mut steps: Vec<Step> = first.step.into_iter().collect();
        loop {
            // what has arrived meanwhile is handled together
            while steps.len() < BATCH
                && let Some(Ok(Some(more))) = reports.message().now_or_never()
            {
                steps.extend(more.step);
            }
            exchange.take(std::mem::take(&mut steps)).await?;
            match reports.message().await? {
                Some(report) => steps.extend(report.step),
                None => return Ok(()),
            }
        }
    }
}

impl Exchange<'_> {
    async fn take(&mut self, steps: Vec<Step>) -> Result<(), Status> {
        let mut acquires = Vec::new();
        let mut said: Option<Said> = None;
        for step in steps {
            match step {
                Step::Acquire(acquire) => acquires.push(acquire),
                Step::Balances(balances) => {
                    let said = said.get_or_insert_default();
                    said.epoch = said.epoch.max(balances.epoch);
                    said.balances.extend(balances.balances.iter().filter_map(balance_from_wire));
                    let pasts = balances.pasts.iter().filter_map(past_from_wire);
                    said.pasts.extend(pasts.map(|past| (past.incarnation.clone(), past)));
                }
            }
        }
        // what came back is there for whoever asks next, the node itself included
        if let Some(said) = said {
            self.hear(said).await.map_err(|error| unavailable(&error))?;
        }
        if !acquires.is_empty() {
            self.acquire(acquires).await.map_err(|error| unavailable(&error))?;
        }
        Ok(())
    }

    fn speaker<'a>(&self, now: UnixMicros, accounts: impl Iterator<Item = &'a AccountKey>) -> EscrowSpeaker {
        EscrowSpeaker {
            node: self.node.node_id.clone(),
            now,
            fleet_rates: self.service.holders.fleet_rates(accounts),
            counts_histories: self.service.counts_histories,
        }
    }

    async fn acquire(&mut self, acquires: Vec<v1::Acquire>) -> Result<(), StoreError> {
        let published = self.service.feed.current();
        let now = self.service.clock.now();
        let mut asks: Vec<Ask> = Vec::new();
        let mut asked: Vec<(u64, Vec<AccountKey>)> = Vec::new();
        for acquire in acquires {
            let mut accounts = Vec::new();
            for need in acquire.wants.iter().filter_map(need_from_wire) {
                let Some((limit, window)) = resolve(&published, &need.account.budget_id, now) else { continue };
                let account = AccountKey { budget_id: limit.id.clone(), period_start: window.start };
                accounts.push(account.clone());
                if limit.mode == Mode::Soft {
                    self.soft.insert(limit.id.clone());
                    continue;
                }
                let named_granted = self.granted_of_another_period(&need.account, &account).await?;
                asks.push(Ask::resolve(&need, account, window.end, limit.at(now), named_granted));
            }
            asked.push((acquire.ask, accounts));
        }
        let (epoch, is_learning, standings) = match self.grant(asks, now).await? {
            Some(Outcome::Granted { epoch, standings, recall, is_learning }) => {
                self.service.holders.note_told(&self.node.incarnation, epoch, &standings);
                for account in recall {
                    self.recall(&account, now).await?;
                }
                (epoch, is_learning, standings)
            }
            Some(_) => return self.send(Told::Sealed(v1::Sealed {})).await,
            // nothing but soft budgets
            None => (self.service.holders.epoch(), false, Vec::new()),
        };
        let mut totals: BTreeMap<AccountKey, v1::Grant> =
            standings.iter().map(|standing| (standing.account.clone(), standing_to_wire(standing))).collect();
        totals.extend(self.soft_standing(&published, now).await?);
        for (ask, accounts) in asked {
            let totals = accounts.iter().filter_map(|account| totals.get(account)).cloned().collect();
            self.send(Told::Granted(v1::Granted { ask, totals, epoch, is_learning })).await?;
        }
        Ok(())
    }

    /// What was granted of the account that a need still counts in, when its period is another one than the present.
    async fn granted_of_another_period(
        &self,
        named: &AccountKey,
        present: &AccountKey,
    ) -> Result<Option<NanoUsd>, StoreError> {
        if named == present || named.period_start.get() == 0 {
            return Ok(None);
        }
        let mut tx = self.service.db.read().await?;
        let lease = tx.lease(&self.node.incarnation, named).await?;
        tx.rollback().await?;
        Ok(lease.map(|lease| lease.granted))
    }

    async fn grant(&self, asks: Vec<Ask>, now: UnixMicros) -> Result<Option<Outcome>, StoreError> {
        if asks.is_empty() {
            return Ok(None);
        }
        let speaker = self.speaker(now, asks.iter().map(|ask| &ask.account));
        let acquiring = Acquiring::new(self.node.incarnation.clone(), asks, now, OFFLINE_HORIZON_S);
        let turn = self.service.turns.acquire().await;
        let told = self.service.db.run_escrow(acquiring, &speaker).await;
        drop(turn);
        Ok(told?.into_iter().next())
    }

    /// Asks others for what this node needs: those that are connected here, and by the database those that are not.
    async fn recall(&self, account: &AccountKey, now: UnixMicros) -> Result<(), StoreError> {
        let is_new = self.service.holders.recall(account, Some(&self.node.incarnation));
        if is_new && self.service.db.dialect() != Dialect::Sqlite {
            self.service.db.note_recall(account, now).await?;
        }
        Ok(())
    }

    /// How the soft budgets stand that this node asked about.
    async fn soft_standing(
        &self,
        published: &Published,
        now: UnixMicros,
    ) -> Result<BTreeMap<AccountKey, v1::Grant>, StoreError> {
        let mut standing = BTreeMap::new();
        if self.soft.is_empty() {
            return Ok(standing);
        }
        let mut tx = self.service.db.read().await?;
        for id in &self.soft {
            let Some((limit, window)) = resolve(published, id, now).filter(|(limit, _)| limit.mode == Mode::Soft)
            else {
                continue;
            };
            let account = AccountKey { budget_id: id.clone(), period_start: window.start };
            let settled = tx.account(&account).await?.map_or(NanoUsd::ZERO, |account| account.settled);
            let ends_in_us = u64::try_from(window.end.since(now).as_micros()).unwrap_or(u64::MAX);
            let none = NanoUsd::ZERO;
            let told = Standing {
                account: account.clone(),
                granted: none,
                spent: none,
                returned: none,
                limit: limit.at(now),
                available: limit.at(now).saturating_sub(settled),
                recallable: none,
                fleet_spent: settled,
                period_end: window.end,
                period_ends_in_us: ends_in_us,
                horizon_s: OFFLINE_HORIZON_S,
            };
            standing.insert(account, standing_to_wire(&told));
        }
        tx.rollback().await?;
        Ok(standing)
    }

    /// Writes what was said, and answers with how the incarnation's accounts stand.
    async fn hear(&mut self, said: Said) -> Result<(), StoreError> {
        let now = self.service.clock.now();
        self.service.holders.note_rates(&self.node.incarnation, &said.balances);
        let mut pasts = Vec::with_capacity(said.pasts.len());
        let mut refused = Vec::new();
        for past in said.pasts.into_values() {
            match self.checked(past).await? {
                Ok(past) => pasts.push(past),
                Err(incarnation) => refused.push(incarnation),
            }
        }
        let (node, incarnation) = (self.node.node_id.clone(), self.node.incarnation.clone());
        let speaker = self.speaker(now, said.balances.iter().map(|balance| &balance.account));
        let hearing = Hearing::new(node, incarnation, said.epoch, said.balances, pasts, now, OFFLINE_HORIZON_S);
        let mut told = self.service.db.peek_escrow(hearing.clone(), &speaker).await?;
        if told.is_none() {
            let turn = self.service.turns.acquire().await;
            let written = self.service.db.run_escrow(hearing, &speaker).await;
            drop(turn);
            told = Some(written?);
        }
        for outcome in told.unwrap_or_default() {
            match outcome {
                Outcome::Acknowledged { epoch, standings, pasts, is_learning, .. } => {
                    if is_learning {
                        self.is_learning(epoch);
                    }
                    self.acknowledge(epoch, &standings, (pasts, &refused), is_learning, now).await?;
                }
                Outcome::Sealed => self.send(Told::Sealed(v1::Sealed {})).await?,
                Outcome::Granted { .. } | Outcome::Taken(_) => {}
            }
        }
        Ok(())
    }

    /// A past is whole only if every record of it is here and can be read: what was spent is known by them. One that another
    /// node opened is not this node's to speak of; it is named and left alone.
    async fn checked(&self, past: Past) -> Result<Result<Past, Incarnation>, StoreError> {
        if self.service.db.owner(&past.incarnation).await?.is_some_and(|owner| owner != self.node.node_id) {
            tracing::warn!(
                node.id = %self.node.node_id, incarnation = %past.incarnation,
                "data plane {} speaks of process {} of another data plane; that is left as it was",
                self.node.node_id, past.incarnation
            );
            return Ok(Err(past.incarnation));
        }
        if !past.is_whole {
            return Ok(Ok(past));
        }
        let is_whole = self.service.db.has_every_record(&past.incarnation, past.last_seq).await?;
        if !is_whole {
            tracing::warn!(
                node.id = %self.node.node_id, incarnation = %past.incarnation,
                "records of incarnation {} are missing or cannot be read; what it holds stays counted as spent",
                past.incarnation
            );
        }
        Ok(Ok(Past { is_whole, ..past }))
    }

    /// Says once that a new history is being learned.
    fn is_learning(&self, epoch: Epoch) {
        if epoch > self.service.holders.epoch() {
            tracing::error!(
                epoch,
                "the database may not know what was granted: it has forgotten commits, or somebody said so. Nothing is granted until every node has declared what it holds; `ledger suspense` lists whom it waits for"
            );
        }
    }

    async fn acknowledge(
        &self,
        epoch: Epoch,
        standings: &[Standing],
        (taken, refused): (Vec<Incarnation>, &[Incarnation]),
        is_learning: bool,
        now: UnixMicros,
    ) -> Result<(), StoreError> {
        self.service.holders.note_told(&self.node.incarnation, epoch, standings);
        let mut totals: Vec<v1::Grant> = standings.iter().map(standing_to_wire).collect();
        totals.extend(self.soft_standing(&self.service.feed.current(), now).await?.into_values());
        let mut pasts = Vec::with_capacity(taken.len());
        for incarnation in taken {
            let finals = self.service.db.finals(&incarnation).await?;
            if finals.is_some() {
                tracing::info!(node.id = %self.node.node_id, %incarnation, "incarnation {incarnation} is closed");
            }
            let is_whole = finals.is_some();
            let past = Past { incarnation, finals: finals.unwrap_or_default(), is_whole, last_seq: 0 };
            pasts.push(past_to_wire(&past));
        }
        pasts.extend(refused.iter().map(|incarnation| {
            let (incarnation, finals) = (incarnation.clone(), Vec::new());
            past_to_wire(&Past { incarnation, finals, is_whole: false, last_seq: 0 })
        }));
        self.send(Told::Acknowledged(v1::Acknowledged { totals, epoch, pasts, is_learning })).await
    }

    /// A node that is gone hears nothing; its stream ends by itself.
    async fn send(&self, step: Told) -> Result<(), StoreError> {
        if self.out.send(Ok(v1::EscrowUpdate { step: Some(step) })).await.is_err() {
            tracing::trace!(node.id = %self.node.node_id, "the node is gone");
        }
        Ok(())
    }
}

/// A budget and its present period. `None` for one that does not exist or compile: it is left out of the answer.
pub(crate) fn resolve<'p>(published: &'p Published, budget: &BudgetId, now: UnixMicros) -> Option<(&'p Limit, Window)> {
    let limit = published.limit(budget)?;
    Some((limit, limit.window(now).ok()?))
}

/// The node keeps what it holds and asks again.
fn unavailable(error: &StoreError) -> Status {
    tracing::warn!(error = %chain(error), "escrow is not available");
    Status::unavailable("the budgets' database is not available; try again")
}
