//! Revisions of the configuration: a number that no reader can skip, and what changed at it.
//!
//! Rule: the number comes from one locked row, in the transaction of the change; so revisions commit in order. It does
//! not say what the change was, only which resource.

use crate::db::Tx;
use crate::error::{Result, StoreError};
use helix_shared::snapshot::resource::{ResourceKey, ResourceKind};
use helix_shared::time::UnixMicros;
use sea_query::{Expr, ExprTrait as _, Order, Query, SelectStatement};
use std::collections::BTreeMap;

const HEAD: &str = "config_head";
const LOG: &str = "config_log";
/// Rows a statement inserts at once.
const CHUNK: usize = 200;

/// What happened to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeOp {
    /// It was made or changed.
    Upsert,
    /// It was removed.
    Remove,
}

impl ChangeOp {
    fn as_str(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Remove => "remove",
        }
    }
}

/// One change of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The revision it made.
    pub revision: u64,
    /// The resource.
    pub key: ResourceKey,
    /// What happened.
    pub op: ChangeOp,
    /// When.
    pub at: UnixMicros,
}

impl Tx {
    /// Takes the lock of the configuration until the transaction ends; returns the revision that holds.
    ///
    /// Whoever holds it sees the state that its own change will follow, with nothing in between.
    ///
    /// # Errors
    /// What the database says.
    pub async fn lock_config(&mut self) -> Result<u64> {
        Ok(self.head(select_head().lock_exclusive().to_owned()).await?.0)
    }

    /// The current revision; 0 before the first change.
    ///
    /// # Errors
    /// What the database says.
    pub async fn head_revision(&mut self) -> Result<u64> {
        Ok(self.head(select_head()).await?.0)
    }

    /// Makes the next revision of these changes and returns it. Without changes it returns the current one.
    ///
    /// # Errors
    /// What the database says.
    pub async fn bump(&mut self, changes: &[(ResourceKind, &str, ChangeOp)], now: UnixMicros) -> Result<u64> {
        if changes.is_empty() {
            return self.head_revision().await;
        }
        let raise = Query::update()
            .table(HEAD)
            .value("revision", Expr::col("revision").add(1_i64))
            .and_where(Expr::col("id").eq(1_i64))
            .to_owned();
        self.execute(HEAD, &raise).await?;
        let (revision, _) = self.head(select_head()).await?;
        let number = i64::try_from(revision).map_err(|error| StoreError::corrupt(HEAD, error))?;
        // the last word on a resource counts
        let last: BTreeMap<(&str, &str), ChangeOp> =
            changes.iter().map(|(kind, id, op)| ((kind.as_str(), *id), *op)).collect();
        let last: Vec<_> = last.into_iter().collect();
        for chunk in last.chunks(CHUNK) {
            let mut insert = Query::insert();
            insert.into_table(LOG).columns(["revision", "kind", "resource_id", "op", "changed_at"]);
            for ((kind, id), op) in chunk {
                insert.values_panic([
                    number.into(),
                    (*kind).into(),
                    (*id).into(),
                    op.as_str().into(),
                    now.get().into(),
                ]);
            }
            self.execute(LOG, &insert).await?;
        }
        let budgets = changes.iter().filter(|(kind, _, op)| *kind == ResourceKind::Budget && *op == ChangeOp::Upsert);
        self.note_modes(&budgets.map(|(_, id, _)| *id).collect(), revision).await?;
        Ok(revision)
    }

    /// Lists what changed after a revision, in order.
    ///
    /// `None` when it cannot be told as a list: the log no longer reaches back that far, the revision is not one of this
    /// database, or there are more than `limit` changes. Then everything must be read anew.
    ///
    /// # Errors
    /// What the database says.
    pub async fn changes_since(&mut self, revision: u64, limit: u32) -> Result<Option<Vec<Change>>> {
        let (head, floor) = self.head(select_head()).await?;
        if revision < floor || revision > head {
            return Ok(None);
        }
        let after = i64::try_from(revision).map_err(|error| StoreError::corrupt(HEAD, error))?;
        let query = Query::select()
            .columns(["revision", "kind", "resource_id", "op", "changed_at"])
            .from(LOG)
            .and_where(Expr::col("revision").gt(after))
            .order_by("revision", Order::Asc)
            .order_by("kind", Order::Asc)
            .order_by("resource_id", Order::Asc)
            .limit(u64::from(limit).saturating_add(1))
            .to_owned();
        let rows = self.fetch_all(LOG, &query).await?;
        if rows.len() > usize::try_from(limit).unwrap_or(usize::MAX) {
            return Ok(None);
        }
        let changes: Result<Vec<Change>> = rows
            .iter()
            .map(|row| {
                let mut cells = row.cells(LOG);
                let revision = unsigned(cells.take()?)?;
                let kind: String = cells.take()?;
                let kind = ResourceKind::parse(&kind).ok_or_else(|| cells.corrupt("it is no kind of resource"))?;
                let key = ResourceKey { kind, id: cells.take()? };
                let op = match cells.take::<String>()?.as_str() {
                    "upsert" => ChangeOp::Upsert,
                    "remove" => ChangeOp::Remove,
                    _ => return Err(cells.corrupt("it is neither `upsert` nor `remove`")),
                };
                Ok(Change { revision, key, op, at: UnixMicros::new(cells.take()?) })
            })
            .collect();
        changes.map(Some)
    }

    /// Forgets what changed up to a revision; followers further behind read everything anew.
    ///
    /// # Errors
    /// What the database says.
    pub async fn prune_config_log(&mut self, up_to_revision: u64) -> Result<u64> {
        let (head, floor) = self.head(select_head().lock_exclusive().to_owned()).await?;
        let new_floor = std::cmp::max(std::cmp::min(up_to_revision, head), floor);
        let number = i64::try_from(new_floor).map_err(|error| StoreError::corrupt(HEAD, error))?;
        let delete = Query::delete().from_table(LOG).and_where(Expr::col("revision").lte(number)).to_owned();
        let gone = self.execute(LOG, &delete).await?;
        let raise =
            Query::update().table(HEAD).value("floor_revision", number).and_where(Expr::col("id").eq(1_i64)).to_owned();
        self.execute(HEAD, &raise).await?;
        Ok(gone)
    }

    async fn head(&mut self, query: SelectStatement) -> Result<(u64, u64)> {
        let row = self.fetch_optional(HEAD, &query).await?;
        let row = row.ok_or_else(|| StoreError::corrupt(HEAD, "its row is missing"))?;
        let mut cells = row.cells(HEAD);
        Ok((unsigned(cells.take()?)?, unsigned(cells.take()?)?))
    }
}

fn select_head() -> SelectStatement {
    Query::select().columns(["revision", "floor_revision"]).from(HEAD).and_where(Expr::col("id").eq(1_i64)).to_owned()
}

fn unsigned(value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|error| StoreError::corrupt(HEAD, error))
}
