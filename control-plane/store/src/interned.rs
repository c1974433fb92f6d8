//! What rows repeat, kept once under a number of its own.
//!
//! Rule: the number is made of what it stands for (FNV-1a, never negative), so every process makes the same one without
//! asking; where two make one number, the later one takes the next. A number is never given anew.

use crate::db::Tx;
use crate::dialect::Dialect;
use crate::error::{Result, StoreError};
use crate::row::Cells;
use crate::usage_row::Charges;
use sea_query::{Expr, ExprTrait as _, Query};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

/// Numbers asked for at once.
const CHUNK: usize = 200;
/// How many numbers each tries. Each try fails for one in 10^12 or so.
const PROBES: u64 = 8;

/// Something that has a number in a table of its own, whose first column is `id`.
pub(crate) trait Interned: Clone + Ord + Send + Sync {
    /// The table.
    const TABLE: &'static str;
    /// Its columns after `id`.
    const COLUMNS: &'static [&'static str];

    /// The values of the columns.
    fn parts(&self) -> Vec<&str>;

    /// Reads the columns.
    ///
    /// # Errors
    /// What the row says.
    fn take(cells: &mut Cells<'_>) -> Result<Self>;

    /// The number that it tries: a hash over the parts, each with its end marked.
    fn number(&self, probe: u64) -> i64 {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325 ^ probe;
        for part in self.parts() {
            for byte in part.bytes().chain([0xff]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        i64::try_from(hash >> 1).unwrap_or(0)
    }

    /// Whether it may stand under a number: one that it does not try was given to something else, or it was edited.
    fn may_be(&self, number: i64) -> bool {
        (0..PROBES).any(|probe| self.number(probe) == number)
    }
}

impl Interned for Charges {
    const TABLE: &'static str = "charge_lists";
    const COLUMNS: &'static [&'static str] = &["charges"];

    fn parts(&self) -> Vec<&str> {
        vec![&self.0]
    }

    fn take(cells: &mut Cells<'_>) -> Result<Self> {
        Ok(Self(cells.take()?))
    }
}

/// The id of an incarnation, which every one of its records names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source(pub(crate) String);

impl Interned for Source {
    const TABLE: &'static str = "record_sources";
    const COLUMNS: &'static [&'static str] = &["incarnation"];

    fn parts(&self) -> Vec<&str> {
        vec![&self.0]
    }

    fn take(cells: &mut Cells<'_>) -> Result<Self> {
        Ok(Self(cells.take()?))
    }
}

impl Tx {
    /// Finds the number of each; new ones get one, in order, so that two batches wait for each other instead of
    /// deadlocking.
    pub(crate) async fn numbers_of<T: Interned>(&mut self, all: BTreeSet<T>) -> Result<BTreeMap<T, i64>> {
        let mut found = BTreeMap::new();
        let mut open: Vec<T> = all.into_iter().collect();
        for probe in 0..PROBES {
            if open.is_empty() {
                return Ok(found);
            }
            let mut wanted: BTreeMap<i64, T> = BTreeMap::new();
            let mut postponed = Vec::new();
            for one in open.drain(..) {
                match wanted.entry(one.number(probe)) {
                    Entry::Vacant(entry) => drop(entry.insert(one)),
                    Entry::Occupied(_) => postponed.push(one),
                }
            }
            let mut held = self.held_under::<T>(&wanted.keys().copied().collect::<Vec<_>>()).await?;
            let missing: Vec<i64> = wanted.keys().copied().filter(|id| !held.contains_key(id)).collect();
            if !missing.is_empty() {
                for chunk in missing.chunks(CHUNK) {
                    self.intern(chunk.iter().filter_map(|id| Some((*id, wanted.get(id)?)))).await?;
                }
                held.extend(self.held_under(&missing).await?);
            }
            for (id, one) in wanted {
                if held.get(&id) == Some(&one) {
                    found.insert(one, id);
                } else {
                    postponed.push(one);
                }
            }
            open = postponed;
        }
        if open.is_empty() { Ok(found) } else { Err(StoreError::corrupt(T::TABLE, "no number is free")) }
    }

    async fn held_under<T: Interned>(&mut self, ids: &[i64]) -> Result<BTreeMap<i64, T>> {
        let mut held = BTreeMap::new();
        for chunk in ids.chunks(CHUNK) {
            // always the same numbers of places: a server plans the statement once
            let places = if chunk.len() > CHUNK / 8 { CHUNK } else { CHUNK / 8 };
            let last = chunk.last().copied().unwrap_or_default();
            let padded = chunk.iter().copied().chain(std::iter::repeat(last)).take(places);
            let query = Query::select()
                .column("id")
                .columns(T::COLUMNS.iter().copied())
                .from(T::TABLE)
                .and_where(Expr::col("id").is_in(padded))
                .to_owned();
            for row in self.fetch_all(T::TABLE, &query).await? {
                let mut cells = row.cells(T::TABLE);
                held.insert(cells.take()?, T::take(&mut cells)?);
            }
        }
        Ok(held)
    }

    async fn intern<'t, T: Interned + 't>(&mut self, all: impl Iterator<Item = (i64, &'t T)>) -> Result<()> {
        let mut insert = Query::insert();
        insert.into_table(T::TABLE).columns(["id"].into_iter().chain(T::COLUMNS.iter().copied()));
        for (id, one) in all {
            insert.values_panic([Expr::val(id)].into_iter().chain(one.parts().into_iter().map(Expr::val)));
        }
        insert.on_conflict(Dialect::keep_existing(&["id"]));
        self.execute(T::TABLE, &insert).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollup_keys::RollupKey;

    #[test]
    fn parts_that_run_into_each_other_are_different_combinations() {
        let one = RollupKey { team_id: "ab".into(), user_id: "c".into(), ..RollupKey::default() };
        let other = RollupKey { team_id: "a".into(), user_id: "bc".into(), ..RollupKey::default() };
        assert_ne!(one.number(0), other.number(0));
        assert_ne!(one.number(0), one.number(1));
        assert!(one.number(0) >= 0);
    }

    #[test]
    fn numbers_are_kept_in_databases_and_so_the_same_for_ever() {
        let key = RollupKey { team_id: "team-1".into(), model: "gpt-5".into(), ..RollupKey::default() };
        assert_eq!(key.number(0), 5_528_530_810_585_876_959);
        assert!(key.may_be(key.number(3)));
        assert!(!key.may_be(1));
    }
}
