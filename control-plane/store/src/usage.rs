//! Records of requests: taken at least once, kept once.
//!
//! Rule: a batch is one transaction: rows that are new by (incarnation, seq), and, for those rows only, the sums, the
//! accounts and the leases they count in. What cannot be kept is parked beside them and never blocks what follows. Sums
//! and accounts, which every batch raises, come last: they are locked until the commit.

use crate::alerts::BudgetEvent;
use crate::blocks::blocks;
use crate::closing::{LATE, LATE_COLUMNS};
use crate::db::{Db, Tx, retrying};
use crate::dialect::Dialect;
use crate::error::{Result, StoreError};
use crate::escrow_charges::Charge;
use crate::interned::{Interned as _, Source};
use crate::request_key::request_key;
use crate::rollup_keys::RollupKey;
use crate::rollups::{Added, with_trends};
use crate::usage_read::{read_record, select_records};
use crate::usage_row::{COLUMNS, Charges, Checked, Cover, NO_CHARGES, Numbers, RECORDS, check, clip};
use helix_shared::budget::AccountKey;
use helix_shared::ids::{Incarnation, NodeId};
use helix_shared::record::Record;
use helix_shared::time::UnixMicros;
use sea_query::{Expr, ExprTrait as _, Order, Query, UnionType};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const DEAD_LETTERS: &str = "dead_letters";
/// Numbers read at once while looking for the next hole.
const PAGE: u64 = 256;
/// The most of a parked record that is kept, in characters.
const PAYLOAD_CHARS: usize = 16_000;

/// A record that its receiver could not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Its number.
    pub seq: u64,
    /// Why it cannot be kept.
    pub reason: String,
    /// What came, as text.
    pub payload: String,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IngestOutcome {
    /// Highest number below which every record is here or parked: the node may forget up to it.
    pub through_seq: u64,
    /// Numbers that were parked.
    pub rejected: Vec<u64>,
    /// How many records were new.
    pub inserted: usize,
    /// What they made budgets reach.
    pub alerts: Vec<BudgetEvent>,
}

impl Db {
    /// Takes a batch of one incarnation. One transaction; taking it again counts nothing twice.
    ///
    /// Every `charged` account has its period resolved by the caller. `malformed` are those that it could not read.
    ///
    /// # Errors
    /// What the database says; then nothing of the batch was taken.
    pub async fn ingest(
        &self,
        incarnation: &Incarnation,
        node: &NodeId,
        records: &[Record],
        malformed: &[Malformed],
        now: UnixMicros,
    ) -> Result<IngestOutcome> {
        retrying!(self.ingest_once(incarnation, node, records, malformed, now))
    }

    async fn ingest_once(
        &self,
        incarnation: &Incarnation,
        node: &NodeId,
        records: &[Record],
        malformed: &[Malformed],
        now: UnixMicros,
    ) -> Result<IngestOutcome> {
        let mut parked: BTreeMap<u64, Malformed> = malformed.iter().map(|one| (one.seq, one.clone())).collect();
        let mut fresh: BTreeMap<i64, Checked<'_>> = BTreeMap::new();
        for record in records {
            match check(incarnation, record) {
                // of two with one number the first one counts
                Ok(checked) => drop(fresh.entry(checked.seq).or_insert(checked)),
                Err(reason) => drop(parked.insert(record.seq, park(record, reason))),
            }
        }
        let mut tx = self.begin().await?;
        let through = tx.lock_incarnation(incarnation, node, now).await?.through_seq;
        let through_seq = i64::try_from(through).map_err(|error| StoreError::corrupt(RECORDS, error))?;
        fresh.retain(|seq, _| *seq > through_seq);
        let last = fresh.last_key_value().map_or(through_seq, |(last, _)| *last);
        let (source, known) = tx.known_seqs(incarnation, through_seq, last).await?;
        fresh.retain(|seq, _| !known.contains(seq));
        // number zero is never reached by the count, so it is always told again
        parked.retain(|seq, _| *seq > through || *seq == 0);
        let centers = tx.cost_centers().await?;
        fresh.values_mut().for_each(|checked| checked.cost_center = centers.of(checked.record));
        let books = tx.insert_fresh(incarnation, source, &fresh).await?;
        let rejected: Vec<u64> = parked.keys().copied().collect();
        tx.park(incarnation, parked.into_values(), now).await?;
        let present: BTreeSet<i64> = known.into_iter().chain(fresh.keys().copied()).collect();
        let reached = tx.advance(incarnation, through_seq, present).await?;
        if reached != through_seq {
            tx.set_incarnation(incarnation, "through_seq", reached).await?;
        }
        let inserted = fresh.len();
        let alerts = if fresh.is_empty() { Vec::new() } else { tx.book_fresh(incarnation, &fresh, books, now).await? };
        tx.commit().await?;
        let through_seq = u64::try_from(reached).map_err(|error| StoreError::corrupt(RECORDS, error))?;
        Ok(IngestOutcome { through_seq, rejected, inserted, alerts })
    }
}

/// What new records are to be booked in.
struct Books {
    source: i64,
    /// The combination of each record.
    of: BTreeMap<i64, RollupKey>,
    keys: BTreeMap<RollupKey, i64>,
    charges: BTreeMap<AccountKey, Charge>,
    /// Those of closed months: number, own time, when they count, cost.
    late: Vec<[i64; 4]>,
}

impl Books {
    /// The sums that records raise: at their own time, or when they come if that is closed.
    fn added(&mut self, fresh: &BTreeMap<i64, Checked<'_>>, closed_until: UnixMicros, now: UnixMicros) -> Added {
        let booked_at = std::cmp::max(now, closed_until);
        let mut added = Added::default();
        for (seq, checked) in fresh {
            let Some(key) = self.of.get(seq) else { continue };
            let own = checked.record.started_at;
            if own < closed_until {
                self.late.push([*seq, own.get(), booked_at.get(), checked.record.cost.get()]);
            }
            added.add(checked, key, if own < closed_until { booked_at } else { own });
        }
        added
    }
}

fn park(record: &Record, reason: String) -> Malformed {
    Malformed { seq: record.seq, reason, payload: format!("{record:?}") }
}

impl Tx {
    /// Highest number below which every record of an incarnation is here or parked; 0 when none is.
    ///
    /// # Errors
    /// What the database says.
    pub async fn through_seq(&mut self, incarnation: &Incarnation) -> Result<u64> {
        Ok(self.incarnation(incarnation).await?.map_or(0, |known| known.through_seq))
    }

    /// Gets the newest record of a request; `None` when there is none.
    ///
    /// # Errors
    /// What the database says.
    pub async fn request_by_id(&mut self, request_id: &str) -> Result<Option<Record>> {
        let query = select_records()
            .and_where(Expr::col((RECORDS, "request_id")).eq(request_key(&clip(request_id))))
            .order_by((RECORDS, "started_at"), Order::Desc)
            .limit(1)
            .to_owned();
        self.fetch_optional(RECORDS, &query).await?.as_ref().map(read_record).transpose()
    }

    /// Lists the latest records, the newest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn recent_requests(&mut self, limit: u32) -> Result<Vec<Record>> {
        let query = select_records()
            .order_by((RECORDS, "started_at"), Order::Desc)
            .order_by((Source::TABLE, "incarnation"), Order::Asc)
            .order_by((RECORDS, "seq"), Order::Desc)
            .limit(u64::from(limit))
            .to_owned();
        self.fetch_all(RECORDS, &query).await?.iter().map(read_record).collect()
    }

    /// Lists the parked records of an incarnation, by number.
    ///
    /// # Errors
    /// What the database says.
    pub async fn parked(&mut self, incarnation: &Incarnation) -> Result<Vec<Malformed>> {
        let query = Query::select()
            .columns(["seq_text", "reason", "payload"])
            .from(DEAD_LETTERS)
            .and_where(Expr::col("incarnation").eq(incarnation.as_str()))
            .to_owned();
        let rows = self.fetch_all(DEAD_LETTERS, &query).await?;
        let read = |row: &crate::row::Row| {
            let mut cells = row.cells(DEAD_LETTERS);
            let seq = cells.take::<String>()?.parse().map_err(|error| cells.corrupt(error))?;
            Ok(Malformed { seq, reason: cells.take()?, payload: cells.take()? })
        };
        let mut parked: Vec<Malformed> = rows.iter().map(read).collect::<Result<_>>()?;
        parked.sort_by_key(|one| one.seq);
        Ok(parked)
    }

    /// Numbers of an incarnation that were parked.
    pub(crate) async fn parked_seqs(&mut self, incarnation: &Incarnation) -> Result<BTreeSet<i64>> {
        let query = Query::select()
            .column("seq")
            .from(DEAD_LETTERS)
            .and_where(Expr::col("incarnation").eq(incarnation.as_str()))
            .and_where(Expr::col("seq").is_not_null())
            .to_owned();
        self.fetch_all(DEAD_LETTERS, &query).await?.iter().map(|row| row.cells(DEAD_LETTERS).take()).collect()
    }

    /// Inserts rows that are known to be new; returns what they are to be booked in.
    async fn insert_fresh(
        &mut self,
        incarnation: &Incarnation,
        source: Option<i64>,
        fresh: &BTreeMap<i64, Checked<'_>>,
    ) -> Result<Books> {
        let is_charged = fresh.values().any(|checked| !checked.charged.is_empty());
        let leases = if is_charged { self.leases_of(incarnation).await? } else { Vec::new() };
        let leased: BTreeSet<AccountKey> = leases.into_iter().map(|lease| lease.account).collect();
        let mut charges: BTreeMap<AccountKey, Charge> = BTreeMap::new();
        let mut rows: Vec<(&Checked<'_>, RollupKey, Charges)> = Vec::with_capacity(fresh.len());
        for checked in fresh.values() {
            let key = checked.rollup_key();
            for account in &checked.charged {
                let charge = charges.entry((*account).clone()).or_default();
                let side = match checked.cover(account, &leased) {
                    Cover::Lease => &mut charge.leased,
                    Cover::None | Cover::Unreserved => &mut charge.unleased,
                };
                *side = side.saturating_add(checked.record.cost);
            }
            rows.push((checked, key, checked.charges(&leased)));
        }
        let source = match source {
            None if !rows.is_empty() => self.source_of(incarnation).await?,
            known => known.unwrap_or_default(),
        };
        let lists = rows.iter().map(|(_, _, list)| list).filter(|list| !list.0.is_empty()).cloned().collect();
        let lists = self.numbers_of::<Charges>(lists).await?;
        let keys = self.numbers_of(with_trends(rows.iter().map(|(_, key, _)| key))).await?;
        let mut values = Vec::with_capacity(rows.len());
        let mut of = BTreeMap::new();
        for (checked, combination, list) in rows {
            let key =
                keys.get(&combination).ok_or_else(|| StoreError::corrupt(RollupKey::TABLE, "a key has no number"))?;
            let charges = lists.get(&list).copied().unwrap_or(NO_CHARGES);
            values.push(checked.values(Numbers { incarnation: source, key: *key, charges }));
            of.insert(checked.seq, combination);
        }
        self.insert_records(values, false).await?;
        Ok(Books { source, of, keys, charges, late: Vec::new() })
    }

    /// Books new records in sums, accounts and leases.
    async fn book_fresh(
        &mut self,
        incarnation: &Incarnation,
        fresh: &BTreeMap<i64, Checked<'_>>,
        mut books: Books,
        now: UnixMicros,
    ) -> Result<Vec<BudgetEvent>> {
        let charged: BTreeSet<AccountKey> = books.charges.keys().cloned().collect();
        let watched = self.watched(&charged).await?;
        // from here on other batches wait
        let closed_until = self.lock_frontier().await?;
        let added = books.added(fresh, closed_until, now);
        self.insert_late(&books).await?;
        self.raise_rollups(added, &books.keys).await?;
        self.settle(incarnation, &books.charges).await?;
        self.raise_alerts(&watched, &charged, now).await
    }

    /// Notes which records count later than they were made.
    async fn insert_late(&mut self, books: &Books) -> Result<()> {
        for block in blocks(&books.late) {
            let mut insert = Query::insert();
            insert.into_table(LATE).columns(LATE_COLUMNS);
            for row in block {
                insert.values_panic([books.source].into_iter().chain(*row).map(Expr::val));
            }
            self.execute(LATE, &insert).await?;
        }
        Ok(())
    }

    /// Inserts rows; those that are there already stay, where that is what was asked for.
    pub(crate) async fn insert_records(&mut self, rows: Vec<[Expr; COLUMNS.len()]>, may_be_there: bool) -> Result<()> {
        for block in blocks(&rows) {
            let mut insert = Query::insert();
            insert.into_table(RECORDS).columns(COLUMNS);
            for row in block {
                insert.values_panic(row.iter().cloned());
            }
            if may_be_there {
                insert.on_conflict(Dialect::keep_existing(&["incarnation_no", "seq"]));
            }
            self.execute(RECORDS, &insert).await?;
        }
        Ok(())
    }

    /// The number of an incarnation that is locked; it gets one when it has none.
    async fn source_of(&mut self, incarnation: &Incarnation) -> Result<i64> {
        let source = Source(incarnation.as_str().to_owned());
        let numbers = self.numbers_of(BTreeSet::from([source.clone()])).await?;
        numbers.get(&source).copied().ok_or_else(|| StoreError::corrupt(Source::TABLE, "an incarnation has no number"))
    }

    async fn park(
        &mut self,
        incarnation: &Incarnation,
        parked: impl Iterator<Item = Malformed>,
        now: UnixMicros,
    ) -> Result<()> {
        for one in parked {
            let payload: String = one.payload.replace('\0', "\u{fffd}").chars().take(PAYLOAD_CHARS).collect();
            let values = vec![
                Expr::val(incarnation.as_str()),
                Expr::val(one.seq.to_string()),
                Expr::val(i64::try_from(one.seq).ok()),
                Expr::val(clip(&one.reason)),
                Expr::val(payload),
                Expr::val(now.get()),
            ];
            let columns = ["incarnation", "seq_text", "seq", "reason", "payload", "received_at"];
            let keep = Dialect::keep_existing(&["incarnation", "seq_text"]);
            self.insert_if_absent(DEAD_LETTERS, &columns, keep, values).await?;
        }
        Ok(())
    }

    /// The number of an incarnation, and which of its records after `after` and up to `last` have a row.
    async fn known_seqs(
        &mut self,
        incarnation: &Incarnation,
        after: i64,
        last: i64,
    ) -> Result<(Option<i64>, BTreeSet<i64>)> {
        let is_its = Expr::col((RECORDS, "incarnation_no"))
            .equals((Source::TABLE, "id"))
            .and(Expr::col((RECORDS, "seq")).gt(after))
            .and(Expr::col((RECORDS, "seq")).lte(last));
        let query = Query::select()
            .columns([(Source::TABLE, "id"), (RECORDS, "seq")])
            .from(Source::TABLE)
            .left_join(RECORDS, is_its)
            .and_where(Expr::col((Source::TABLE, "incarnation")).eq(incarnation.as_str()))
            .to_owned();
        let (mut source, mut known) = (None, BTreeSet::new());
        for row in self.fetch_all(RECORDS, &query).await? {
            let mut cells = row.cells(RECORDS);
            source = Some(cells.take()?);
            known.extend(cells.take::<Option<i64>>()?);
        }
        Ok((source, known))
    }

    /// Walks up from `through` to the last number before a hole. `present` is what is known without asking.
    async fn advance(&mut self, incarnation: &Incarnation, through: i64, mut present: BTreeSet<i64>) -> Result<i64> {
        let mut reached = through;
        loop {
            while reached < i64::MAX && present.contains(&(reached + 1)) {
                reached += 1;
            }
            present.clear();
            let mut query = Query::select();
            query.column((RECORDS, "seq")).from(RECORDS);
            query.inner_join(Source::TABLE, Expr::col((Source::TABLE, "id")).equals((RECORDS, "incarnation_no")));
            query.and_where(Expr::col((Source::TABLE, "incarnation")).eq(incarnation.as_str()));
            query.and_where(Expr::col((RECORDS, "seq")).gt(reached));
            let parked = Query::select()
                .column("seq")
                .from(DEAD_LETTERS)
                .and_where(Expr::col("incarnation").eq(incarnation.as_str()))
                .and_where(Expr::col("seq").gt(reached))
                .to_owned();
            query.union(UnionType::All, parked).order_by("seq", Order::Asc).limit(PAGE);
            for row in self.fetch_all(RECORDS, &query).await? {
                present.insert(row.cells(RECORDS).take()?);
            }
            if reached == i64::MAX || !present.contains(&(reached + 1)) {
                return Ok(reached);
            }
        }
    }
}
