//! Reports: equal to what the records say, for any period, grouping and filter.

use crate::support::{NOW, TestDb, incarnation, node, on_every_database, record};
use helix_shared::ids::{ApiKeyId, BackendId, TeamId, UserId};
use helix_shared::record::Record;
use helix_shared::time::UnixMicros;
use helix_store::{Dimension, ReportQuery, ReportRow, RollupSpan, Subject};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use std::collections::BTreeMap;

const HOUR: i64 = 3_600_000_000;

/// Records over half a year.
fn records() -> Vec<Record> {
    let mut random = crate::support::Draw(11);
    let mut made = Vec::new();
    for seq in 1..=400 {
        let mut one = record(1, seq, random.below(1_000_000), &[]);
        one.started_at = UnixMicros::new(NOW.get() + random.below(4_400) * HOUR + random.below(HOUR));
        one.actor.team_id = Some(TeamId::from(["blue", "Blue", "grün"][usize::try_from(random.below(3)).unwrap()]));
        one.actor.user_id = (random.below(4) > 0).then(|| UserId::from(format!("u-{}", random.below(5))));
        one.actor.api_key_id = Some(ApiKeyId::from(format!("k-{}", random.below(9))));
        one.served_model = format!("model-{}", random.below(4));
        one.backend_id = BackendId::from(format!("b-{}", random.below(2))).to_string();
        one.config_revision = u64::try_from(random.below(10)).unwrap();
        made.push(one);
    }
    made
}

async fn fill(test: &TestDb) -> Vec<Record> {
    let mut tx = test.db.begin().await.unwrap();
    tx.set_cost_center(Subject::Team, "blue", 4, "CC-1").await.unwrap();
    tx.set_cost_center(Subject::User, "u-2", 6, "CC-2").await.unwrap();
    tx.commit().await.unwrap();
    let made = records();
    for batch in made.chunks(97) {
        test.db.ingest(&incarnation(1), &node(), batch, &[], NOW).await.unwrap();
    }
    made
}

fn value(record: &Record, dimension: Dimension) -> String {
    let user = record.actor.user_id.as_ref().map_or("", UserId::as_str);
    let team = record.actor.team_id.as_ref().map_or("", TeamId::as_str);
    match dimension {
        Dimension::Team => team.to_owned(),
        Dimension::User => user.to_owned(),
        Dimension::Key => record.actor.api_key_id.as_ref().map_or("", ApiKeyId::as_str).to_owned(),
        Dimension::Model => record.served_model.clone(),
        Dimension::Provider => record.backend_id.clone(),
        Dimension::CostCenter if user == "u-2" && record.config_revision >= 6 => "CC-2".to_owned(),
        Dimension::CostCenter if team == "blue" && record.config_revision >= 4 => "CC-1".to_owned(),
        Dimension::CostCenter => String::new(),
    }
}

/// What the records say: requests and cost by bucket and names.
fn expected(records: &[Record], query: &ReportQuery) -> Vec<(UnixMicros, Vec<String>, u64, i64)> {
    let mut sums: BTreeMap<(UnixMicros, Vec<String>), (u64, i64)> = BTreeMap::new();
    for record in records {
        let is_wanted = query.filters.iter().all(|(dimension, wanted)| value(record, *dimension) == *wanted);
        if !is_wanted || record.started_at < query.from || record.started_at >= query.until {
            continue;
        }
        let bucket = query.every.map_or(query.from, |every| every.bucket(record.started_at));
        let names = query.group_by.iter().map(|dimension| value(record, *dimension)).collect();
        let sum = sums.entry((bucket, names)).or_default();
        sum.0 += 1;
        sum.1 += record.cost.get();
    }
    sums.into_iter().map(|((bucket, names), (requests, cost))| (bucket, names, requests, cost)).collect()
}

fn short(rows: Vec<ReportRow>) -> Vec<(UnixMicros, Vec<String>, u64, i64)> {
    rows.into_iter().map(|row| (row.bucket, row.names, row.totals.requests, row.totals.cost.get())).collect()
}

on_every_database! {
    async fn any_report_says_what_the_records_say(test: &TestDb) {
        let made = fill(test).await;
        let subsets = proptest::sample::subsequence(Dimension::ALL.to_vec(), 0..=6);
        let every = proptest::option::of(proptest::sample::select(vec![RollupSpan::Hour, RollupSpan::Day, RollupSpan::Month]));
        let filter = proptest::option::of((proptest::sample::select(Dimension::ALL.to_vec()), 0..400_usize));
        let strategy = (0_i64..4_400, 1_i64..4_400, subsets, every, filter);
        let mut runner = TestRunner::deterministic();
        let mut tx = test.db.read().await.unwrap();
        for number in 0..60 {
            let (start, hours, group_by, every, filter) = strategy.new_tree(&mut runner).unwrap().current();
            let mut from = UnixMicros::new(NOW.get() + start * HOUR);
            let mut until = UnixMicros::new(from.get() + hours * HOUR);
            if number % 3 == 0 {
                (from, until) = (from.month_start(), until.next_month_start());
            }
            let filters = filter.map(|(dimension, at)| (dimension, value(&made[at], dimension))).into_iter().collect();
            let query = ReportQuery { from, until, group_by, every, filters };
            let found = short(tx.report(&query).await.unwrap());
            assert_eq!(found, expected(&made, &query), "{query:?}");
        }
    }

    async fn a_period_that_cuts_an_hour_is_refused(test: &TestDb) {
        let query = ReportQuery { from: UnixMicros::new(1), until: NOW, group_by: vec![], every: None, filters: vec![] };
        let refused = test.db.read().await.unwrap().report(&query).await.unwrap_err();
        assert!(refused.to_string().contains("not a whole hour"), "{refused}");
    }

    async fn reports_do_not_read_records(test: &TestDb) {
        fill(test).await;
        test.raw("DELETE FROM ledger_records").await;
        let until = UnixMicros::new(NOW.get() + 5_000 * HOUR);
        let query = ReportQuery { from: NOW, until, group_by: vec![Dimension::Team], every: None, filters: vec![] };
        let rows = test.db.read().await.unwrap().report(&query).await.unwrap();
        assert_eq!(rows.iter().map(|row| row.totals.requests).sum::<u64>(), 400);
    }
}
