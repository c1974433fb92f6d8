//! Reports on a database that adds slowly: the rows of sums are read by number, and added up here.
//!
//! Rule: the same rows in the same order as the database itself would give. MySQL and MariaDB add integers as decimals, in
//! temporary tables whose rows are as wide as every name: reading the same rows takes a third of the time.

use crate::db::Tx;
use crate::error::Result;
use crate::report::{Part, ReportQuery, ReportRow};
use crate::rollup_keys::{KEYS, RollupKey};
use crate::rollups::{SUMS, Totals};
use crate::row::Row;
use helix_shared::time::UnixMicros;
use sea_query::{Expr, ExprTrait as _, Query, SelectStatement};
use std::collections::{BTreeMap, HashMap};

/// What combinations are told as: each under its number, and each once.
#[derive(Default)]
struct Groups {
    of: HashMap<i64, usize>,
    names: Vec<Vec<String>>,
}

impl Tx {
    /// Answers a question whose period is cut into these stretches.
    pub(crate) async fn report_by_number(&mut self, query: &ReportQuery, parts: &[Part]) -> Result<Vec<ReportRow>> {
        let groups = self.groups(query).await?;
        let mut added: HashMap<(UnixMicros, usize), Totals> = HashMap::new();
        for part in parts {
            let table = part.span.table();
            let each = |row: Row| {
                let mut cells = row.cells(table);
                let (bucket, key) = (UnixMicros::new(cells.take()?), cells.take::<i64>()?);
                if let Some(group) = groups.of.get(&key) {
                    let bucket = query.every.map_or(query.from, |every| every.bucket(bucket));
                    added.entry((bucket, *group)).or_default().add(&Totals::take(&mut cells)?);
                }
                Ok(())
            };
            self.fetch_each(table, &rows_of(query, *part), each).await?;
        }
        let row = |((bucket, group), totals): ((UnixMicros, usize), Totals)| {
            let names = groups.names.get(group).cloned().unwrap_or_default();
            ReportRow { bucket, names, totals }
        };
        let mut rows: Vec<ReportRow> = added.into_iter().map(row).collect();
        rows.sort_by(|a, b| (a.bucket, &a.names).cmp(&(b.bucket, &b.names)));
        Ok(rows)
    }

    async fn groups(&mut self, query: &ReportQuery) -> Result<Groups> {
        let mut wanted = query.wanted();
        wanted.columns(crate::rollup_keys::PARTS);
        let mut known: BTreeMap<Vec<String>, usize> = BTreeMap::new();
        let mut groups = Groups::default();
        for row in self.fetch_all(KEYS, &wanted).await? {
            let mut cells = row.cells(KEYS);
            let (id, key): (i64, RollupKey) = (cells.take()?, RollupKey::take(&mut cells)?);
            let names: Vec<String> = query.group_by.iter().map(|dimension| dimension.of(&key).to_owned()).collect();
            let next = groups.names.len();
            let group = *known.entry(names.clone()).or_insert(next);
            if group == next {
                groups.names.push(names);
            }
            groups.of.insert(id, group);
        }
        Ok(groups)
    }
}

fn rows_of(query: &ReportQuery, part: Part) -> SelectStatement {
    let mut rows = Query::select();
    rows.columns(["bucket", "key_id"]).columns(SUMS).from(part.span.table());
    rows.and_where(Expr::col("bucket").gte(part.from.get())).and_where(Expr::col("bucket").lt(part.until.get()));
    if !query.filters.is_empty() {
        rows.and_where(Expr::col("key_id").in_subquery(query.wanted()));
    }
    rows
}
