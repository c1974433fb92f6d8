//! The fleet's row of escrow: which history of the database the nodes' holdings are known in, and who declared in it.
//!
//! Rule: the count of the database's own histories is never only a row, which a failover forgets with the rest: it is the
//! server's timeline (PostgreSQL) plus the moment of the last restore that somebody noticed or said, in milliseconds.

use crate::accounts::{ACCOUNT_KEY, is_account};
use crate::db::{Db, Tx, retrying};
use crate::dialect::Dialect;
use crate::error::{Result, StoreError};
use crate::escrow::EscrowSpeaker;
use crate::incarnations::INCARNATIONS;
use helix_shared::budget::AccountKey;
use helix_shared::budget::message::Epoch;
use helix_shared::budget::plane::{Fleet, Forgetting, Gate, gate};
use helix_shared::ids::{BudgetId, Incarnation, NodeId};
use helix_shared::time::UnixMicros;
use sea_query::{Expr, ExprTrait as _, Order, Query, SelectStatement};

const FLEET: &str = "escrow_fleet";
const DECLARED: &str = "escrow_declared";
const RECALLS: &str = "escrow_recalls";
const EVENTS: &str = "escrow_events";
/// The timeline that the server writes: a number that every failover and every restore to a point in time raises.
const TIMELINE: &str = "('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint";

/// What a service in PostgreSQL's clothes without its log says of [`TIMELINE`]: the function is unknown, not supported, or not
/// for everybody. Any other error says nothing about the service.
const HAS_NO_LOG: [&str; 3] = ["42883", "0A000", "42501"];

/// A process that nothing is granted before, because it has not declared what it holds since the database was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// The node.
    pub node: NodeId,
    /// Its open incarnation.
    pub incarnation: Incarnation,
    /// When it was last heard, as far as this database remembers.
    pub since: UnixMicros,
}

/// An account that was recalled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recalled {
    /// The account.
    pub account: AccountKey,
    /// How often it was recalled.
    pub recalls: i64,
}

fn row(columns: &[&'static str]) -> SelectStatement {
    Query::select().columns(columns.iter().copied()).from(FLEET).and_where(Expr::col("id").eq(1_i64)).to_owned()
}

impl Db {
    /// Whether the database counts its own histories, so that a failover that lost commits is noticed at once. Without,
    /// it is noticed when a node proves a grant that is not on the books, or when an operator says so.
    ///
    /// # Errors
    /// When that cannot be known: two control planes must never take it for different things.
    pub async fn counts_histories(&self) -> Result<bool> {
        if self.dialect() != Dialect::Postgres {
            return Ok(false);
        }
        let mut tx = self.read().await?;
        match tx.timeline().await {
            Ok(timeline) => Ok(timeline > 0),
            Err(StoreError::Query(sqlx::Error::Database(error)))
                if error.code().is_some_and(|code| HAS_NO_LOG.contains(&code.as_ref())) =>
            {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Begins a new history: the database may have forgotten commits. Nothing is granted until every known node has
    /// declared what it holds.
    ///
    /// # Errors
    /// What the database says.
    pub async fn begin_history(&self, now: UnixMicros, reason: &str) -> Result<()> {
        retrying!(self.begin_history_once(now, reason))
    }

    async fn begin_history_once(&self, now: UnixMicros, reason: &str) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.lock_fleet().await?;
        tx.set_restored(now, 0, reason).await?;
        tx.commit().await
    }

    /// Lists whom the fleet waits for before anything is granted, by incarnation; `None` when nothing is being learned. A node
    /// that is gone for good is excused by [`Db::release_suspense`] of each of its incarnations.
    ///
    /// # Errors
    /// What the database says.
    pub async fn awaited(&self) -> Result<Option<Vec<Awaited>>> {
        let counts_histories = self.counts_histories().await?;
        let mut tx = self.read().await?;
        let (fleet, history) = tx.escrow_fleet(counts_histories, false).await?;
        if gate(&fleet, history) == Gate::Open {
            return Ok(None);
        }
        let epoch = i64::try_from(history).unwrap_or(i64::MAX);
        let query = Query::select()
            .columns(["node_id", "id", "seen_at"])
            .from(INCARNATIONS)
            .and_where(Expr::col("sealed").eq(0_i64))
            .and_where(Expr::col("node_id").not_in_subquery(declared_in(epoch)))
            .order_by("id", Order::Asc)
            .to_owned();
        let rows = tx.fetch_all(INCARNATIONS, &query).await?;
        tx.rollback().await?;
        let read = |row: &crate::row::Row| {
            let mut cells = row.cells(INCARNATIONS);
            Ok(Awaited {
                node: NodeId::from(cells.take::<String>()?),
                incarnation: Incarnation::from(cells.take::<String>()?),
                since: UnixMicros::new(cells.take()?),
            })
        };
        rows.iter().map(read).collect::<Result<_>>().map(Some)
    }

    /// Notes that an account was recalled, for control planes that other nodes are connected to.
    ///
    /// # Errors
    /// What the database says.
    pub async fn note_recall(&self, account: &AccountKey, now: UnixMicros) -> Result<()> {
        retrying!(self.note_recall_once(account, now))
    }

    async fn note_recall_once(&self, account: &AccountKey, now: UnixMicros) -> Result<()> {
        let mut tx = self.begin().await?;
        let values = vec![
            Expr::val(account.budget_id.as_str()),
            Expr::val(account.period_start.get()),
            Expr::val(0_i64),
            Expr::val(0_i64),
        ];
        let update = Query::update()
            .table(RECALLS)
            .value("recalls", Expr::col("recalls").add(1_i64))
            .value("recalled_at", now.get())
            .cond_where(is_account(account))
            .to_owned();
        if tx.execute(RECALLS, &update).await? == 0 {
            let columns = ["budget_id", "period_start", "recalls", "recalled_at"];
            tx.insert_if_absent(RECALLS, &columns, Dialect::keep_existing(&ACCOUNT_KEY), values).await?;
            tx.execute(RECALLS, &update).await?;
        }
        tx.commit().await
    }

    /// Lists the accounts that were recalled after a moment.
    ///
    /// # Errors
    /// What the database says.
    pub async fn recalled_since(&self, since: UnixMicros) -> Result<Vec<Recalled>> {
        let query = Query::select()
            .columns(["budget_id", "period_start", "recalls"])
            .from(RECALLS)
            .and_where(Expr::col("recalled_at").gt(since.get()))
            .to_owned();
        let mut tx = self.read().await?;
        let rows = tx.fetch_all(RECALLS, &query).await?;
        tx.rollback().await?;
        rows.iter()
            .map(|row| {
                let mut cells = row.cells(RECALLS);
                let account = AccountKey {
                    budget_id: BudgetId::from(cells.take::<String>()?),
                    period_start: UnixMicros::new(cells.take()?),
                };
                Ok(Recalled { account, recalls: cells.take()? })
            })
            .collect()
    }

    /// Forgets recalls from before a moment.
    ///
    /// # Errors
    /// What the database says.
    pub async fn forget_recalls(&self, before: UnixMicros) -> Result<()> {
        let delete =
            Query::delete().from_table(RECALLS).and_where(Expr::col("recalled_at").lt(before.get())).to_owned();
        let mut tx = self.begin().await?;
        tx.execute(RECALLS, &delete).await?;
        tx.commit().await
    }
}

impl Tx {
    async fn timeline(&mut self) -> Result<i64> {
        let query = Query::select().expr(Expr::cust(TIMELINE)).to_owned();
        match self.fetch_optional(FLEET, &query).await? {
            Some(row) => row.cells(FLEET).take(),
            None => Ok(0),
        }
    }

    /// The fleet's row and the database's count of its histories. A row that no history was written into yet takes the
    /// present one over: nothing was granted under another.
    pub(crate) async fn escrow_fleet(&mut self, counts_histories: bool, is_writing: bool) -> Result<(Fleet, Epoch)> {
        let query = row(&["epoch", "is_learning", "since_us", "restored_ms"]);
        let timeline = if counts_histories { self.timeline().await? } else { 1 };
        let Some(row) = self.fetch_optional(FLEET, &query).await? else {
            return Ok((Fleet::default(), u64::try_from(timeline).unwrap_or_default()));
        };
        let mut cells = row.cells(FLEET);
        let (epoch, is_learning, since_us, restored_ms): (i64, i64, i64, i64) =
            (cells.take()?, cells.take()?, cells.take()?, cells.take()?);
        let history = timeline.saturating_add(restored_ms);
        let mut fleet = Fleet { epoch: unsigned(epoch), is_learning: is_learning != 0, since_us, awaited: 0 };
        if epoch == 0 {
            fleet.epoch = unsigned(history);
            if is_writing {
                let update = Query::update()
                    .table(FLEET)
                    .value("epoch", history)
                    .and_where(Expr::col("id").eq(1_i64))
                    .and_where(Expr::col("epoch").eq(0_i64))
                    .to_owned();
                self.execute(FLEET, &update).await?;
            }
        }
        Ok((fleet, unsigned(history)))
    }

    pub(crate) async fn lock_fleet(&mut self) -> Result<()> {
        let locked = row(&["id"]).lock_exclusive().to_owned();
        self.fetch_optional(FLEET, &locked).await.map(|_| ())
    }

    /// Gives the database a history that nobody has heard of, unless it has one beyond `beyond` by now. Returns its count.
    pub(crate) async fn raise_history(
        &mut self,
        beyond: Epoch,
        why: Forgetting,
        speaker: &EscrowSpeaker,
    ) -> Result<Epoch> {
        self.lock_fleet().await?;
        let (_, history) = self.escrow_fleet(speaker.counts_histories, false).await?;
        if history > beyond {
            return Ok(history);
        }
        let reason = match why {
            Forgetting::Older => "the database is older than what the fleet remembers",
            Forgetting::Grant => "a node proved a grant that was not on the books",
        };
        let beyond = i64::try_from(beyond).unwrap_or(i64::MAX);
        self.set_restored(speaker.now, beyond, reason).await?;
        let (_, history) = self.escrow_fleet(speaker.counts_histories, false).await?;
        Ok(history)
    }

    /// Counts a restore: by the present moment, which no history before it had, and at least by `least`.
    async fn set_restored(&mut self, now: UnixMicros, least: i64, reason: &str) -> Result<()> {
        let before: i64 = match self.fetch_optional(FLEET, &row(&["restored_ms"])).await? {
            Some(row) => row.cells(FLEET).take()?,
            None => 0,
        };
        let restored_ms = [now.get() / 1_000, before.saturating_add(1), least].into_iter().fold(0, std::cmp::Ord::max);
        let update = Query::update()
            .table(FLEET)
            .value("restored_ms", restored_ms)
            .and_where(Expr::col("id").eq(1_i64))
            .to_owned();
        self.execute(FLEET, &update).await?;
        self.note_event("history", "", 0, reason, now).await
    }

    /// Learning begins, unless it has for this epoch.
    pub(crate) async fn begin_learning(&mut self, epoch: Epoch, now: UnixMicros) -> Result<()> {
        let epoch = i64::try_from(epoch).unwrap_or(i64::MAX);
        let update = Query::update()
            .table(FLEET)
            .value("epoch", epoch)
            .value("is_learning", 1_i64)
            .value("since_us", now.get())
            .and_where(Expr::col("id").eq(1_i64))
            .and_where(Expr::col("epoch").ne(epoch))
            .to_owned();
        self.execute(FLEET, &update).await.map(|_| ())
    }

    pub(crate) async fn end_learning(&mut self) -> Result<()> {
        let update =
            Query::update().table(FLEET).value("is_learning", 0_i64).and_where(Expr::col("id").eq(1_i64)).to_owned();
        self.execute(FLEET, &update).await.map(|_| ())
    }

    /// Notes that a node declared in an epoch. Returns how many nodes with an open incarnation have not.
    pub(crate) async fn declare(&mut self, node: &NodeId, epoch: Epoch) -> Result<u32> {
        let epoch = i64::try_from(epoch).unwrap_or(i64::MAX);
        let values = vec![Expr::val(node.as_str()), Expr::val(epoch)];
        self.insert_if_absent(DECLARED, &["node_id", "epoch"], Dialect::keep_existing(&["node_id"]), values).await?;
        let update = Query::update()
            .table(DECLARED)
            .value("epoch", epoch)
            .and_where(Expr::col("node_id").eq(node.as_str()))
            .to_owned();
        self.execute(DECLARED, &update).await?;
        let awaited = Query::select()
            .expr(Expr::col("node_id").count_distinct())
            .from(INCARNATIONS)
            .and_where(Expr::col("sealed").eq(0_i64))
            .and_where(Expr::col("node_id").not_in_subquery(declared_in(epoch)))
            .to_owned();
        let awaited: i64 = match self.fetch_optional(INCARNATIONS, &awaited).await? {
            Some(row) => row.cells(INCARNATIONS).take()?,
            None => 0,
        };
        Ok(u32::try_from(awaited).unwrap_or(u32::MAX))
    }

    /// Writes down what somebody said about escrow, and why.
    pub(crate) async fn note_event(
        &mut self,
        kind: &'static str,
        incarnation: &str,
        spent_nano: i64,
        reason: &str,
        now: UnixMicros,
    ) -> Result<()> {
        let insert = Query::insert()
            .into_table(EVENTS)
            .columns(["id", "at", "kind", "incarnation", "spent_nano", "reason"])
            .values_panic([
                uuid::Uuid::now_v7().simple().to_string().into(),
                now.get().into(),
                kind.into(),
                incarnation.into(),
                spent_nano.into(),
                reason.replace('\0', "\u{fffd}").into(),
            ])
            .to_owned();
        self.execute(EVENTS, &insert).await.map(|_| ())
    }
}

/// Nodes that have declared in an epoch. Epochs are compared for equality: one of a history that was forgotten may be larger.
fn declared_in(epoch: i64) -> SelectStatement {
    Query::select().column("node_id").from(DECLARED).and_where(Expr::col("epoch").eq(epoch)).to_owned()
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
