//! What sums are kept by, each combination once under a number of its own.
//!
//! Rule: the number is made of the combination, so every process makes the same one without asking; where two combinations
//! make one number, the later one takes the next. A sum is then a row of integers, and a report adds integers.

use crate::db::Tx;
use crate::dialect::Dialect;
use crate::error::{Result, StoreError};
use crate::row::Cells;
use sea_query::{Expr, ExprTrait as _, OnConflict, Query};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const KEYS: &str = "rollup_keys";
/// The columns of a combination, in the order of [`RollupKey`].
pub(crate) const PARTS: [&str; 6] = ["team_id", "user_id", "api_key_id", "model", "provider", "cost_center"];
/// Numbers asked for at once.
const CHUNK: usize = 200;
/// How many numbers a combination tries. Each try fails for one in 10^12 or so.
const PROBES: u64 = 8;

/// One combination of what sums are kept by. An empty text: there is none, or it is not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RollupKey {
    /// The team that was charged.
    pub team_id: String,
    /// The person.
    pub user_id: String,
    /// The API key.
    pub api_key_id: String,
    /// The model that answered, or was asked for when none did; empty for refused requests.
    pub model: String,
    /// The backend that answered, or was tried last; empty when none was.
    pub provider: String,
    /// The cost centre of the person or the team when the request was made.
    pub cost_center: String,
}

impl RollupKey {
    /// The parts in the order of [`PARTS`].
    pub(crate) fn parts(&self) -> [&str; 6] {
        [&self.team_id, &self.user_id, &self.api_key_id, &self.model, &self.provider, &self.cost_center]
    }

    /// The same, without who it was: what the long series are kept by.
    pub(crate) fn without_people(&self) -> Self {
        Self { user_id: String::new(), api_key_id: String::new(), ..self.clone() }
    }

    pub(crate) fn take(cells: &mut Cells<'_>) -> Result<Self> {
        Ok(Self {
            team_id: cells.take()?,
            user_id: cells.take()?,
            api_key_id: cells.take()?,
            model: cells.take()?,
            provider: cells.take()?,
            cost_center: cells.take()?,
        })
    }

    /// The number that it tries: FNV-1a over the parts, each with its end marked, never negative.
    fn number(&self, probe: u64) -> i64 {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325 ^ probe;
        for part in self.parts() {
            for byte in part.bytes().chain([0xff]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        }
        i64::try_from(hash >> 1).unwrap_or(0)
    }
}

impl Tx {
    /// Finds the number of each combination; new ones get one, in order, so that two batches wait for each other instead
    /// of deadlocking.
    pub(crate) async fn key_ids(&mut self, keys: BTreeSet<RollupKey>) -> Result<BTreeMap<RollupKey, i64>> {
        let mut found = BTreeMap::new();
        let mut open: Vec<RollupKey> = keys.into_iter().collect();
        for probe in 0..PROBES {
            if open.is_empty() {
                return Ok(found);
            }
            let mut wanted: BTreeMap<i64, RollupKey> = BTreeMap::new();
            let mut postponed = Vec::new();
            for key in open.drain(..) {
                match wanted.entry(key.number(probe)) {
                    std::collections::btree_map::Entry::Vacant(entry) => drop(entry.insert(key)),
                    std::collections::btree_map::Entry::Occupied(_) => postponed.push(key),
                }
            }
            let mut held = self.keys_of(wanted.keys().copied().collect()).await?;
            let missing: Vec<i64> = wanted.keys().copied().filter(|id| !held.contains_key(id)).collect();
            if !missing.is_empty() {
                for chunk in missing.chunks(CHUNK) {
                    self.insert_keys(chunk.iter().filter_map(|id| Some((*id, wanted.get(id)?)))).await?;
                }
                held.extend(self.keys_of(missing).await?);
            }
            for (id, key) in wanted {
                if held.get(&id) == Some(&key) {
                    found.insert(key, id);
                } else {
                    postponed.push(key);
                }
            }
            open = postponed;
        }
        if open.is_empty() { Ok(found) } else { Err(StoreError::corrupt(KEYS, "no number is free for a key of sums")) }
    }

    async fn keys_of(&mut self, ids: Vec<i64>) -> Result<BTreeMap<i64, RollupKey>> {
        let mut held = BTreeMap::new();
        for chunk in ids.chunks(CHUNK) {
            // always the same number of places: a server plans the statement once
            let last = chunk.last().copied().unwrap_or_default();
            let padded = chunk.iter().copied().chain(std::iter::repeat(last)).take(CHUNK);
            let query = Query::select()
                .column("id")
                .columns(PARTS)
                .from(KEYS)
                .and_where(Expr::col("id").is_in(padded))
                .to_owned();
            for row in self.fetch_all(KEYS, &query).await? {
                let mut cells = row.cells(KEYS);
                held.insert(cells.take()?, RollupKey::take(&mut cells)?);
            }
        }
        Ok(held)
    }

    async fn insert_keys(&mut self, keys: impl Iterator<Item = (i64, &RollupKey)>) -> Result<()> {
        let mut insert = Query::insert();
        insert.into_table(KEYS).columns(["id"].into_iter().chain(PARTS));
        for (id, key) in keys {
            insert.values_panic([Expr::val(id)].into_iter().chain(key.parts().map(Expr::val)));
        }
        let keep: OnConflict = Dialect::keep_existing(&["id"]);
        insert.on_conflict(keep);
        self.execute(KEYS, &insert).await.map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_run_into_each_other_are_different_combinations() {
        let one = RollupKey { team_id: "ab".into(), user_id: "c".into(), ..RollupKey::default() };
        let other = RollupKey { team_id: "a".into(), user_id: "bc".into(), ..RollupKey::default() };
        assert_ne!(one.number(0), other.number(0));
        assert_ne!(one.number(0), one.number(1));
        // kept in databases: the same for ever
        assert_eq!(RollupKey::default().number(0), RollupKey::default().number(0));
        assert!(one.number(0) >= 0);
    }
}
