//! Corrections: what a record should have cost, as a new entry beside it, with who and why.
//!
//! Rule: a record is never edited. A correction counts when it is made, not when the request was, so a month that is over
//! stays as it was; it is charged to the accounts that the record was charged to, and a record never costs less than
//! nothing. What is taken away is not granted again by a hard budget: that is a top-up's business. What one record is
//! corrected by is decided under the lock of its incarnation.

use crate::accounts::{ACCOUNTS, broken, is_account};
use crate::alerts::BudgetEvent;
use crate::db::{Db, Tx, retrying};
use crate::error::{Result, StoreError};
use crate::interned::{Interned as _, Source};
use crate::request_key::request_key;
use crate::rollup_keys::{KEYS, PARTS, RollupKey};
use crate::rollups::Added;
use crate::row::Row;
use crate::usage_read::{account_of, accounts_of, charges_of, join_incarnation};
use crate::usage_row::{ChargeRow, Charges, MAX_COST_NANO, RECORDS, clip, unleased};
use helix_shared::budget::AccountKey;
use helix_shared::ids::{Incarnation, NodeId};
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;
use sea_query::{Expr, ExprTrait as _, Order, Query};
use std::collections::BTreeSet;

const CORRECTIONS: &str = "ledger_corrections";
const OWN: [&str; 9] = ["id", "at", "incarnation", "seq", "request_id", "cost_nano", "charged", "actor", "reason"];

/// What is to be corrected, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCorrection {
    /// Its id, made by the caller.
    pub id: String,
    /// The request.
    pub request_id: String,
    /// Which record of it, when several have that id.
    pub record: Option<(Incarnation, u64)>,
    /// What the record costs more; below zero: less.
    pub amount: NanoUsd,
    /// Who says so.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// A correction that was booked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// Its id.
    pub id: String,
    /// When it was made, which is when it counts.
    pub at: UnixMicros,
    /// The record's incarnation.
    pub incarnation: Incarnation,
    /// The record's number.
    pub seq: u64,
    /// The record's request.
    pub request_id: String,
    /// What the record counts in.
    pub key: RollupKey,
    /// What the record costs more; below zero: less.
    pub amount: NanoUsd,
    /// The accounts that the record was charged to.
    pub charged: Vec<AccountKey>,
    /// Who said so.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// What became of a correction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Corrected {
    /// It is booked; the record costs this much now.
    Booked {
        /// The entry.
        correction: Box<Correction>,
        /// What the record costs with every correction.
        cost: NanoUsd,
        /// What it made budgets reach.
        alerts: Vec<BudgetEvent>,
    },
    /// No record has that id.
    NoRecord,
    /// Several records have that id.
    Several(Vec<(Incarnation, u64)>),
    /// The record would cost less than nothing; it costs this much.
    BelowZero(NanoUsd),
    /// The record would cost more than any may, which is the first amount; it costs the second.
    TooMuch(NanoUsd, NanoUsd),
}

/// A record, as far as a correction needs it.
struct Target {
    incarnation: Incarnation,
    node: NodeId,
    seq: i64,
    cost: i64,
    charges: std::result::Result<Vec<ChargeRow>, String>,
    key: RollupKey,
}

impl Db {
    /// Books a correction in one transaction with the sums and accounts it counts in.
    ///
    /// # Errors
    /// What the database says; then nothing was booked.
    pub async fn correct(&self, new: &NewCorrection, now: UnixMicros) -> Result<Corrected> {
        retrying!(self.correct_once(new, now))
    }

    async fn correct_once(&self, new: &NewCorrection, now: UnixMicros) -> Result<Corrected> {
        let mut tx = self.begin().await?;
        let mut targets = tx.targets(new).await?;
        if targets.len() > 1 {
            let name = |target: Target| (target.incarnation, u64::try_from(target.seq).unwrap_or_default());
            return Ok(Corrected::Several(targets.into_iter().map(name).collect()));
        }
        let Some(target) = targets.pop() else { return Ok(Corrected::NoRecord) };
        // locked, but not seen: a correction is no sign of life of the process
        let seen_at = tx.incarnation(&target.incarnation).await?.map_or(now, |known| known.seen_at);
        tx.lock_incarnation(&target.incarnation, &target.node, seen_at).await?;
        let before = i128::from(target.cost) + tx.corrected_so_far(&target).await?;
        let cost = before + i128::from(new.amount.get());
        let narrow = |amount: i128| NanoUsd::new(i64::try_from(amount).unwrap_or(i64::MAX));
        if cost < 0 {
            return Ok(Corrected::BelowZero(narrow(before)));
        }
        if cost > i128::from(MAX_COST_NANO) {
            return Ok(Corrected::TooMuch(NanoUsd::new(MAX_COST_NANO), narrow(before)));
        }
        let charges = target.charges.map_err(|error| StoreError::corrupt(format!("charges of {RECORDS}"), error))?;
        // in a month that is open, whatever a clock says
        let at = std::cmp::max(now, tx.lock_frontier().await?);
        let correction = Correction {
            id: new.id.clone(),
            at,
            incarnation: target.incarnation,
            seq: u64::try_from(target.seq).unwrap_or_default(),
            request_id: clip(&new.request_id),
            key: target.key,
            amount: new.amount,
            charged: charges.iter().map(account_of).collect(),
            actor: clip(&new.actor),
            reason: new.reason.replace('\0', "\u{fffd}"),
        };
        tx.insert_correction(&correction).await?;
        let mut added = Added::default();
        added.add_correction(&correction);
        let charged: BTreeSet<AccountKey> = correction.charged.iter().cloned().collect();
        let watched = tx.watched(&charged).await?;
        tx.raise_all(added).await?;
        for account in &charged {
            tx.book(account, correction.amount).await?;
        }
        let alerts = tx.raise_alerts(&watched, &charged, now).await?;
        tx.commit().await?;
        Ok(Corrected::Booked { correction: Box::new(correction), cost: narrow(cost), alerts })
    }
}

impl Tx {
    /// Lists every correction, the oldest first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn corrections(&mut self) -> Result<Vec<Correction>> {
        let query = Query::select()
            .columns(OWN)
            .columns(PARTS)
            .from(CORRECTIONS)
            .order_by("at", Order::Asc)
            .order_by("id", Order::Asc)
            .to_owned();
        self.fetch_all(CORRECTIONS, &query).await?.iter().map(read).collect()
    }

    /// Lists the corrections of records that are not there.
    pub(crate) async fn corrections_of_nothing(&mut self) -> Result<Vec<(String, String)>> {
        let record = Query::select()
            .expr(Expr::val(1_i64))
            .from(RECORDS)
            .inner_join(Source::TABLE, Expr::col((Source::TABLE, "id")).equals((RECORDS, "incarnation_no")))
            .and_where(Expr::col((Source::TABLE, "incarnation")).equals((CORRECTIONS, "incarnation")))
            .and_where(Expr::col((RECORDS, "seq")).equals((CORRECTIONS, "seq")))
            .to_owned();
        let query = Query::select()
            .columns([(CORRECTIONS, "id"), (CORRECTIONS, "request_id")])
            .from(CORRECTIONS)
            .and_where(Expr::exists(record).not())
            .order_by((CORRECTIONS, "id"), Order::Asc)
            .to_owned();
        let rows = self.fetch_all(CORRECTIONS, &query).await?;
        let read = |row: &Row| {
            let mut cells = row.cells(CORRECTIONS);
            Ok((cells.take()?, cells.take()?))
        };
        rows.iter().map(read).collect()
    }

    /// Books a correction on an account. What it takes away was spent when it was granted: it shows as not spent, but no
    /// hard budget grants it again.
    async fn book(&mut self, account: &AccountKey, amount: NanoUsd) -> Result<()> {
        let update = Query::update()
            .table(ACCOUNTS)
            .value("settled_nano", Expr::col("settled_nano").add(amount.get()))
            .value("unleased_nano", Expr::col("unleased_nano").add(std::cmp::max(amount, NanoUsd::ZERO).get()))
            .cond_where(is_account(account))
            .to_owned();
        match self.execute(ACCOUNTS, &update).await? {
            1 => Ok(()),
            _ => Err(broken(account, "a record is charged to it, but it is not there to correct")),
        }
    }

    async fn targets(&mut self, new: &NewCorrection) -> Result<Vec<Target>> {
        const INCARNATIONS: &str = crate::incarnations::INCARNATIONS;
        let mut query = Query::select();
        query
            .columns([(INCARNATIONS, "id"), (RECORDS, "seq"), (RECORDS, "cost_nano"), (RECORDS, "charged_id")])
            .columns([(Charges::TABLE, "charges"), (INCARNATIONS, "node_id")])
            .columns(PARTS.map(|part| (KEYS, part)))
            .from(RECORDS);
        join_incarnation(&mut query);
        query
            .inner_join(KEYS, Expr::col((KEYS, "id")).equals((RECORDS, "key_id")))
            .left_join(Charges::TABLE, Expr::col((Charges::TABLE, "id")).equals((RECORDS, "charged_id")))
            .and_where(Expr::col((RECORDS, "request_id")).eq(request_key(&clip(&new.request_id))))
            .order_by((INCARNATIONS, "id"), Order::Asc)
            .order_by((RECORDS, "seq"), Order::Asc)
            .limit(20);
        if let Some((incarnation, seq)) = &new.record {
            query
                .and_where(Expr::col((INCARNATIONS, "id")).eq(incarnation.as_str()))
                .and_where(Expr::col((RECORDS, "seq")).eq(i64::try_from(*seq).unwrap_or(i64::MAX)));
        }
        let rows = self.fetch_all(RECORDS, &query).await?;
        let read = |row: &Row| {
            let mut cells = row.cells(RECORDS);
            Ok(Target {
                incarnation: Incarnation::from(cells.take::<String>()?),
                seq: cells.take()?,
                cost: cells.take()?,
                charges: {
                    let number = cells.take()?;
                    charges_of(number, cells.take::<Option<String>>()?.as_deref())
                },
                node: NodeId::from(cells.take::<String>()?),
                key: RollupKey::take(&mut cells)?,
            })
        };
        rows.iter().map(read).collect()
    }

    async fn corrected_so_far(&mut self, target: &Target) -> Result<i128> {
        let query = Query::select()
            .column("cost_nano")
            .from(CORRECTIONS)
            .and_where(Expr::col("incarnation").eq(target.incarnation.as_str()))
            .and_where(Expr::col("seq").eq(target.seq))
            .to_owned();
        let mut sum = 0_i128;
        for row in self.fetch_all(CORRECTIONS, &query).await? {
            sum = sum.saturating_add(i128::from(row.cells(CORRECTIONS).take::<i64>()?));
        }
        Ok(sum)
    }

    async fn insert_correction(&mut self, correction: &Correction) -> Result<()> {
        let own = [
            Expr::val(correction.id.as_str()),
            Expr::val(correction.at.get()),
            Expr::val(correction.incarnation.as_str()),
            Expr::val(i64::try_from(correction.seq).unwrap_or(i64::MAX)),
            Expr::val(correction.request_id.as_str()),
            Expr::val(correction.amount.get()),
            // the release before this one reads no empty text
            Expr::val(if correction.charged.is_empty() { "[]".to_owned() } else { unleased(&correction.charged).0 }),
            Expr::val(correction.actor.as_str()),
            Expr::val(correction.reason.as_str()),
        ];
        let insert = Query::insert()
            .into_table(CORRECTIONS)
            .columns(OWN.into_iter().chain(PARTS))
            .values_panic(own.into_iter().chain(correction.key.parts().map(Expr::val)))
            .to_owned();
        self.execute(CORRECTIONS, &insert).await.map(|_| ())
    }
}

fn read(row: &Row) -> Result<Correction> {
    let mut cells = row.cells(CORRECTIONS);
    let (id, at, incarnation) = (cells.take()?, UnixMicros::new(cells.take()?), cells.take::<String>()?);
    let seq: i64 = cells.take()?;
    let (request_id, amount) = (cells.take()?, NanoUsd::new(cells.take()?));
    let charged: String = cells.take()?;
    let charged = accounts_of(&charged).map_err(|error| cells.corrupt(error))?;
    let (actor, reason) = (cells.take()?, cells.take()?);
    Ok(Correction {
        id,
        at,
        incarnation: Incarnation::from(incarnation),
        seq: u64::try_from(seq).unwrap_or_default(),
        request_id,
        key: RollupKey::take(&mut cells)?,
        amount,
        charged,
        actor,
        reason,
    })
}
