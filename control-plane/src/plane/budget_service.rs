//! The escrow stream, server side: acquire, balances, close.
//!
//! Rule: budgets and calendars are this side's: a want is resolved to the present period of a budget that exists, by this
//! clock and the budget's zone. A grant is sent only after the commit that raised it. How much is granted, and that the
//! sum never passes a limit, is the store's.

use super::identity::Identity;
use crate::error::chain;
use crate::publish::{Feed, Published};
use crate::tasks::Tasks;
use futures_util::FutureExt as _;
use helix_proto::convert::record::{account_from_wire, account_to_wire};
use helix_proto::v1;
use helix_proto::v1::budget_escrow_server::BudgetEscrow;
use helix_shared::budget::{AccountKey, Limit, Mode, Window};
use helix_shared::ids::{BudgetId, Incarnation};
use helix_shared::money::NanoUsd;
use helix_shared::time::{Clock, UnixMicros};
use helix_store::{Ask, Balance, Db, GrantRow, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// A node's totals are written at most this often.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// Most messages that are handled in one transaction.
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
}

type UpdateSender = mpsc::Sender<Result<v1::EscrowUpdate, Status>>;
type Step = v1::escrow_report::Step;

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
    /// Totals said and not yet written.
    unwritten: BTreeMap<AccountKey, Balance>,
    /// When the next write is due; `None`: nothing waits to be answered.
    write_at: Option<Instant>,
    last_write: Option<Instant>,
    /// Soft budgets the node asked about: it holds no lease of them, and wants to know how they stand.
    soft: BTreeSet<BudgetId>,
}

impl BudgetService {
    async fn serve(&self, mut reports: Streaming<v1::EscrowReport>, out: &UpdateSender) -> Result<(), Status> {
        let Some(first) = reports.message().await? else { return Ok(()) };
        let node = Identity::introduce(first.node)?;
        let mut exchange = Exchange {
            service: self,
            node,
            out,
            unwritten: BTreeMap::new(),
            write_at: None,
            last_write: None,
            soft: BTreeSet::new(),
        };
        let mut steps: Vec<Step> = first.step.into_iter().collect();
        loop {
            // what has arrived meanwhile shares a transaction
            while steps.len() < BATCH
                && let Some(Ok(Some(more))) = reports.message().now_or_never()
            {
                steps.extend(more.step);
            }
            exchange.take(std::mem::take(&mut steps)).await?;
            let write_at = exchange.write_at;
            tokio::select! {
                report = reports.message() => match report? {
                    Some(report) => steps.extend(report.step),
                    None => return exchange.write().await,
                },
                () = until(write_at) => exchange.write().await?,
            }
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

impl Exchange<'_> {
    async fn take(&mut self, steps: Vec<Step>) -> Result<(), Status> {
        let mut acquires = Vec::new();
        for step in steps {
            match step {
                Step::Acquire(acquire) => acquires.push(acquire),
                Step::Balances(balances) => self.hear(&balances),
                Step::Close(close) => self.close(close).await?,
            }
        }
        if !acquires.is_empty() {
            self.acquire(acquires).await?;
        }
        if self.write_at.is_some_and(|at| at <= Instant::now()) {
            self.write().await?;
        }
        Ok(())
    }

    async fn acquire(&mut self, acquires: Vec<v1::Acquire>) -> Result<(), Status> {
        let published = self.service.feed.current();
        let now = self.service.clock.now();
        let mut over: Option<Vec<GrantRow>> = None;
        let mut asks: BTreeMap<AccountKey, Ask> = BTreeMap::new();
        let mut asked: Vec<(u64, Vec<AccountKey>)> = Vec::new();
        for acquire in acquires {
            let mut accounts = Vec::new();
            for want in acquire.wants {
                let Some((limit, window)) = resolve(&published, &want, now) else { continue };
                let account = AccountKey { budget_id: limit.id.clone(), period_start: window.start };
                accounts.push(account.clone());
                if limit.mode == Mode::Soft {
                    self.soft.insert(limit.id.clone());
                    continue;
                }
                let (mut need_total, mut want_total) = totals(&want);
                if let Some(old) = period_over(&want, &account) {
                    // the totals count from what was granted in the period that is over; in this one they count from zero
                    if over.is_none() {
                        let held = self.held(&self.node.incarnation).await;
                        over = Some(held.map_err(|error| unavailable(&error))?);
                    }
                    let of_old = over.iter().flatten().find(|row| row.account == old);
                    let granted = of_old.map_or(NanoUsd::ZERO, |row| row.granted_total);
                    need_total = need_total.saturating_sub(granted).max(NanoUsd::ZERO);
                    want_total = want_total.saturating_sub(granted).max(need_total);
                }
                let ask = Ask { account, period_end: window.end, limit: limit.limit, need_total, want_total };
                let merged = asks.entry(ask.account.clone()).or_insert_with(|| ask.clone());
                merged.need_total = merged.need_total.max(ask.need_total);
                merged.want_total = merged.want_total.max(ask.want_total);
            }
            asked.push((acquire.ask, accounts));
        }
        let mut granted = self.grant(&asks.into_values().collect::<Vec<_>>(), now).await?;
        granted.extend(self.soft_standing(&published, now).await?);
        for (ask, accounts) in asked {
            let totals = accounts.iter().filter_map(|account| granted.get(account)).cloned().collect();
            self.send(v1::escrow_update::Step::Granted(v1::Granted { ask, totals })).await?;
        }
        Ok(())
    }

    async fn grant(&self, asks: &[Ask], now: UnixMicros) -> Result<BTreeMap<AccountKey, v1::Grant>, Status> {
        if asks.is_empty() {
            return Ok(BTreeMap::new());
        }
        let turn = self.service.turns.acquire().await;
        let (incarnation, node) = (&self.node.incarnation, &self.node.node_id);
        let rows = self.service.db.acquire(incarnation, node, asks, now).await;
        drop(turn);
        Ok(rows
            .map_err(|error| unavailable(&error))?
            .into_iter()
            .map(|row| (row.account.clone(), grant(&row, now)))
            .collect())
    }

    /// How the soft budgets stand that this node asked about.
    async fn soft_standing(
        &self,
        published: &Published,
        now: UnixMicros,
    ) -> Result<BTreeMap<AccountKey, v1::Grant>, Status> {
        let mut standing = BTreeMap::new();
        if self.soft.is_empty() {
            return Ok(standing);
        }
        let mut tx = self.service.db.read().await.map_err(|error| unavailable(&error))?;
        for id in &self.soft {
            let Some(limit) = published.limit(id).filter(|limit| limit.mode == Mode::Soft) else { continue };
            let Some(window) = window(limit, now) else { continue };
            let account = AccountKey { budget_id: id.clone(), period_start: window.start };
            let known = tx.account(&account).await.map_err(|error| unavailable(&error))?;
            let settled = known.map_or(NanoUsd::ZERO, |account| account.settled);
            let row = GrantRow {
                account: account.clone(),
                granted_total: NanoUsd::ZERO,
                period_end: window.end,
                limit: limit.limit,
                escrow: NanoUsd::ZERO,
                settled,
                available: limit.limit.saturating_sub(settled),
            };
            standing.insert(account, grant(&row, now));
        }
        tx.rollback().await.map_err(|error| unavailable(&error))?;
        Ok(standing)
    }

    fn hear(&mut self, balances: &v1::Balances) {
        for balance in balances.balances.iter().filter_map(balance_from_wire) {
            let entry = self.unwritten.entry(balance.account.clone()).or_insert_with(|| balance.clone());
            entry.spent_total = entry.spent_total.max(balance.spent_total);
            entry.returned_total = entry.returned_total.max(balance.returned_total);
        }
        let now = Instant::now();
        let earliest = self.last_write.map_or(now, |last| last + WRITE_EVERY);
        self.write_at.get_or_insert(earliest.max(now));
    }

    /// Writes what was said, and answers with every total of this incarnation.
    async fn write(&mut self) -> Result<(), Status> {
        if self.write_at.take().is_none() {
            return Ok(());
        }
        self.last_write = Some(Instant::now());
        let now = self.service.clock.now();
        let said: Vec<Balance> = std::mem::take(&mut self.unwritten).into_values().collect();
        let (incarnation, node) = (&self.node.incarnation, &self.node.node_id);
        let turn = self.service.turns.acquire().await;
        let written = self.service.db.report(incarnation, node, &said, now).await;
        drop(turn);
        written.map_err(|error| unavailable(&error))?;
        let mut totals: Vec<v1::Grant> = self
            .held(incarnation)
            .await
            .map_err(|error| unavailable(&error))?
            .into_iter()
            .map(|row| grant(&row, now))
            .collect();
        totals.extend(self.soft_standing(&self.service.feed.current(), now).await?.into_values());
        self.send(v1::escrow_update::Step::Acknowledged(v1::Acknowledged { totals })).await
    }

    async fn held(&self, incarnation: &Incarnation) -> Result<Vec<GrantRow>, StoreError> {
        let mut tx = self.service.db.read().await?;
        let rows = tx.balances(incarnation).await?;
        tx.rollback().await?;
        Ok(rows)
    }

    async fn close(&mut self, close: v1::Close) -> Result<(), Status> {
        if close.incarnation.is_empty() || close.incarnation.len() > 64 {
            return Err(Status::invalid_argument("Close must name an incarnation of 1 to 64 characters"));
        }
        let incarnation = Incarnation::from(close.incarnation.as_str());
        let finals: Vec<Balance> = close.r#final.iter().filter_map(balance_from_wire).collect();
        let now = self.service.clock.now();
        let turn = self.service.turns.acquire().await;
        let closed = self.service.db.close_incarnation(&incarnation, &self.node.node_id, &finals, now).await;
        drop(turn);
        closed.map_err(|error| unavailable(&error))?;
        tracing::info!(node.id = %self.node.node_id, %incarnation, "incarnation {incarnation} is closed");
        self.send(v1::escrow_update::Step::Closed(v1::Closed { incarnation: close.incarnation })).await
    }

    async fn send(&self, step: v1::escrow_update::Step) -> Result<(), Status> {
        let update = v1::EscrowUpdate { step: Some(step) };
        self.out.send(Ok(update)).await.map_err(|_| Status::cancelled("the node is gone"))
    }
}

/// The budget that a want is about and its present period. `None` for one that does not exist or compile: it is left out
/// of the answer.
fn resolve<'p>(published: &'p Published, want: &v1::Want, now: UnixMicros) -> Option<(&'p Limit, Window)> {
    let account = account_from_wire(want.account.as_ref()?);
    let limit = published.limit(&account.budget_id)?;
    Some((limit, window(limit, now)?))
}

fn window(limit: &Limit, now: UnixMicros) -> Option<Window> {
    limit.period.window(now, &limit.timezone).ok()
}

fn totals(want: &v1::Want) -> (NanoUsd, NanoUsd) {
    let need = want.need_total_nano_usd.max(0);
    (NanoUsd::new(need), NanoUsd::new(want.want_total_nano_usd.max(need)))
}

/// The account that a want is still counted in, when its period is over.
fn period_over(want: &v1::Want, present: &AccountKey) -> Option<AccountKey> {
    let named = account_from_wire(want.account.as_ref()?);
    (named.period_start.get() != 0 && named != *present).then_some(named)
}

/// Leaves out what names no account; numbers below zero are none.
fn balance_from_wire(balance: &v1::Balance) -> Option<Balance> {
    Some(Balance {
        account: account_from_wire(balance.account.as_ref()?),
        spent_total: NanoUsd::new(balance.spent_total_nano_usd.max(0)),
        returned_total: NanoUsd::new(balance.returned_total_nano_usd.max(0)),
    })
}

fn grant(row: &GrantRow, now: UnixMicros) -> v1::Grant {
    let ends_in_ms = row.period_end.get().saturating_sub(now.get()).max(0) / 1_000;
    v1::Grant {
        account: Some(account_to_wire(&row.account)),
        granted_total_nano_usd: row.granted_total.get(),
        period_ends_in_ms: ends_in_ms,
        limit_nano_usd: row.limit.get(),
        fleet_spent_nano_usd: row.settled.get(),
        available_nano_usd: row.available.get().max(0),
        period_end_us: row.period_end.get(),
    }
}

/// The node keeps what it holds and asks again.
fn unavailable(error: &StoreError) -> Status {
    tracing::warn!(error = %chain(error), "escrow is not available");
    Status::unavailable("the budgets' database is not available; try again")
}
