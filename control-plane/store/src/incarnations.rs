//! Process starts of nodes: what scopes every cumulative number.
//!
//! Rule: an incarnation is locked before anything of it changes, so its messages are handled one after the other; a
//! sealed one is never granted anything again.

use crate::accounts::LEASES;
use crate::db::{Db, Tx};
use crate::dialect::Dialect;
use crate::error::{Result, StoreError};
use crate::interned::{Interned as _, Source};
use crate::row::Row;
use crate::schema::KEY_CHARS;
use crate::usage::DEAD_LETTERS;
use crate::usage_row::RECORDS;
use helix_shared::budget::plane::Seal;
use helix_shared::ids::{Incarnation, NodeId};
use helix_shared::time::UnixMicros;
use sea_query::{Expr, ExprTrait as _, Order, Query, SelectStatement};
use std::time::Duration;

pub(crate) const INCARNATIONS: &str = "incarnations";
/// How old `seen_at` may be before it is written again: not every heartbeat is a disk write.
pub(crate) const SEEN_EVERY: Duration = Duration::from_secs(15);

/// So many are forgotten in one transaction.
const FORGOTTEN_AT_ONCE: u64 = 500;

/// One process start of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncarnationRow {
    /// Its id.
    pub id: Incarnation,
    /// The node.
    pub node_id: NodeId,
    /// The boot of the machine it ran in; empty when it was not told.
    pub boot_id: String,
    /// Highest number below which every record is here.
    pub through_seq: u64,
    /// Whether it may still change its numbers.
    pub seal: Seal,
    /// When it was last heard of, to about 15 seconds.
    pub seen_at: UnixMicros,
}

impl Db {
    /// The node that an incarnation belongs to: the first that was heard of it; `None` when nobody was.
    ///
    /// # Errors
    /// What the database says.
    pub async fn owner(&self, id: &Incarnation) -> Result<Option<NodeId>> {
        let mut tx = self.read().await?;
        let known = tx.incarnation(id).await?;
        tx.rollback().await?;
        Ok(known.map(|known| known.node_id))
    }

    /// Forgets incarnations that are sealed, were last heard before a moment, and left nothing that the books are made of: no
    /// record and no lease that anything was granted of. Returns how many.
    ///
    /// # Errors
    /// What the database says.
    pub async fn forget_incarnations(&self, before: UnixMicros) -> Result<u64> {
        // by the index of each table: the records may be many millions
        let recorded = Query::select()
            .expr(Expr::val(1_i64))
            .from(RECORDS)
            .inner_join(Source::TABLE, Expr::col((Source::TABLE, "id")).equals((RECORDS, "incarnation_no")))
            .and_where(Expr::col((Source::TABLE, "incarnation")).equals((INCARNATIONS, "id")))
            .to_owned();
        let left = |table: &'static str| {
            let is_its = Expr::col((table, "incarnation")).equals((INCARNATIONS, "id"));
            Query::select().expr(Expr::val(1_i64)).from(table).and_where(is_its).to_owned()
        };
        let is_charged = Expr::col("granted_nano").gt(0_i64).or(Expr::col("settled_nano").gt(0_i64));
        let query = Query::select()
            .column("id")
            .from(INCARNATIONS)
            .and_where(Expr::col("sealed").ne(0_i64))
            .and_where(Expr::col("seen_at").lt(before.get()))
            .and_where(Expr::exists(recorded).not())
            .and_where(Expr::exists(left(DEAD_LETTERS)).not())
            .and_where(Expr::exists(left(LEASES).and_where(is_charged).to_owned()).not())
            .limit(FORGOTTEN_AT_ONCE)
            .to_owned();
        let mut tx = self.begin().await?;
        let mut forgotten = 0;
        for row in tx.fetch_all(INCARNATIONS, &query).await? {
            let id: String = row.cells(INCARNATIONS).take()?;
            // a record may come at this very moment: who takes it in has locked the row
            let locked = select().and_where(Expr::col("id").eq(id.as_str())).lock_exclusive().to_owned();
            tx.fetch_optional(INCARNATIONS, &locked).await?;
            let again = query.clone().and_where(Expr::col("id").eq(id.as_str())).to_owned();
            if tx.fetch_optional(INCARNATIONS, &again).await?.is_none() {
                continue;
            }
            let leases =
                Query::delete().from_table(LEASES).and_where(Expr::col("incarnation").eq(id.as_str())).to_owned();
            tx.execute(LEASES, &leases).await?;
            let known = Query::delete().from_table(INCARNATIONS).and_where(Expr::col("id").eq(id.as_str())).to_owned();
            forgotten += tx.execute(INCARNATIONS, &known).await?;
        }
        tx.commit().await?;
        Ok(forgotten)
    }
}

impl Tx {
    /// Gets an incarnation; `None` when it was never heard of.
    ///
    /// # Errors
    /// What the database says.
    pub async fn incarnation(&mut self, id: &Incarnation) -> Result<Option<IncarnationRow>> {
        let query = select().and_where(Expr::col("id").eq(id.as_str())).to_owned();
        self.fetch_optional(INCARNATIONS, &query).await?.as_ref().map(read).transpose()
    }

    /// Lists the incarnations of a node, the last seen first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn incarnations_of(&mut self, node: &NodeId) -> Result<Vec<IncarnationRow>> {
        let query = select()
            .and_where(Expr::col("node_id").eq(node.as_str()))
            .order_by("seen_at", Order::Desc)
            .order_by("id", Order::Asc)
            .to_owned();
        self.fetch_all(INCARNATIONS, &query).await?.iter().map(read).collect()
    }

    /// Every incarnation, by id.
    pub(crate) async fn all_incarnations(&mut self) -> Result<Vec<IncarnationRow>> {
        let query = select().order_by("id", Order::Asc).to_owned();
        self.fetch_all(INCARNATIONS, &query).await?.iter().map(read).collect()
    }

    /// Every incarnation that is not sealed, by id.
    pub(crate) async fn open_incarnations(&mut self) -> Result<Vec<IncarnationRow>> {
        let query = select().and_where(Expr::col("sealed").eq(0_i64)).order_by("id", Order::Asc).to_owned();
        self.fetch_all(INCARNATIONS, &query).await?.iter().map(read).collect()
    }

    /// Notes that an incarnation is alive and which boot of the machine it runs in.
    ///
    /// # Errors
    /// What the database says.
    pub async fn see_incarnation(
        &mut self,
        id: &Incarnation,
        node: &NodeId,
        boot_id: &str,
        now: UnixMicros,
    ) -> Result<IncarnationRow> {
        let mut known = self.lock_incarnation(id, node, now).await?;
        if known.boot_id != boot_id {
            let update = Query::update()
                .table(INCARNATIONS)
                .value("boot_id", short_key("boot_id", boot_id)?)
                .and_where(Expr::col("id").eq(id.as_str()))
                .to_owned();
            self.execute(INCARNATIONS, &update).await?;
            boot_id.clone_into(&mut known.boot_id);
        }
        Ok(known)
    }

    /// Makes sure that an incarnation is known, locks it until the transaction ends, and notes that it was seen.
    pub(crate) async fn lock_incarnation(
        &mut self,
        id: &Incarnation,
        node: &NodeId,
        now: UnixMicros,
    ) -> Result<IncarnationRow> {
        let locked = select().and_where(Expr::col("id").eq(id.as_str())).lock_exclusive().to_owned();
        let mut row = self.fetch_optional(INCARNATIONS, &locked).await?;
        if row.is_none() {
            let columns = ["id", "node_id", "boot_id", "through_seq", "sealed", "seen_at"];
            let values = vec![
                Expr::val(short_key("id", id.as_str())?),
                Expr::val(short_key("node_id", node.as_str())?),
                Expr::val(""),
                Expr::val(0_i64),
                Expr::val(0_i64),
                Expr::val(now.get()),
            ];
            self.insert_if_absent(INCARNATIONS, &columns, Dialect::keep_existing(&["id"]), values).await?;
            row = self.fetch_optional(INCARNATIONS, &locked).await?;
        }
        let row = row.ok_or_else(|| StoreError::corrupt(INCARNATIONS, "a row vanished while it was locked"))?;
        let mut known = read(&row)?;
        if now.since(known.seen_at) >= SEEN_EVERY {
            let update = Query::update()
                .table(INCARNATIONS)
                .value("seen_at", now.get())
                .and_where(Expr::col("id").eq(id.as_str()))
                .to_owned();
            self.execute(INCARNATIONS, &update).await?;
            known.seen_at = now;
        }
        Ok(known)
    }

    /// Writes one integer of a locked incarnation.
    pub(crate) async fn set_incarnation(&mut self, id: &Incarnation, column: &'static str, value: i64) -> Result<()> {
        let update = Query::update()
            .table(INCARNATIONS)
            .value(column, value)
            .and_where(Expr::col("id").eq(id.as_str()))
            .to_owned();
        self.execute(INCARNATIONS, &update).await.map(|_| ())
    }
}

/// Refuses a key that one of the databases would cut or refuse.
pub(crate) fn short_key<'t>(column: &'static str, text: &'t str) -> Result<&'t str> {
    let fits = text.chars().count() <= usize::try_from(KEY_CHARS).unwrap_or(usize::MAX) && !text.contains('\0');
    let reason = || format!("it is longer than {KEY_CHARS} characters or contains a NUL character");
    if fits { Ok(text) } else { Err(StoreError::Invalid { table: INCARNATIONS, column, reason: reason() }) }
}

fn select() -> SelectStatement {
    Query::select()
        .columns(["id", "node_id", "boot_id", "through_seq", "sealed", "seen_at"])
        .from(INCARNATIONS)
        .to_owned()
}

fn read(row: &Row) -> Result<IncarnationRow> {
    let mut cells = row.cells(INCARNATIONS);
    Ok(IncarnationRow {
        id: Incarnation::from(cells.take::<String>()?),
        node_id: NodeId::from(cells.take::<String>()?),
        boot_id: cells.take()?,
        through_seq: {
            let seq: i64 = cells.take()?;
            u64::try_from(seq).map_err(|error| cells.corrupt(error))?
        },
        seal: match cells.take::<i64>()? {
            0 => Seal::Open,
            2 => Seal::Released,
            _ => Seal::Closed,
        },
        seen_at: UnixMicros::new(cells.take()?),
    })
}
