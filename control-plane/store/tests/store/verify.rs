//! The proof of the ledger: silent when the books agree, loud for each kind of error.

use crate::support::{NOW, TestDb, acquire, ask, close, incarnation, nano, node, on_every_database, pairs, record};
use helix_shared::record::Record;
use helix_store::{Budget, Dialect, Managed};

/// A ledger with a bit of everything: leases, a closed incarnation, soft spending, several hours.
async fn fill(test: &TestDb) {
    let mut tx = test.db.begin().await.unwrap();
    let budget = Budget {
        id: "hard".to_owned(),
        scope: "instance".to_owned(),
        label: String::new(),
        limit_nano: nano(10_000),
        period: "daily".to_owned(),
        mode: "hard".to_owned(),
        timezone: "UTC".to_owned(),
        alert_at: vec![],
        week_start: None,
        prior_timezone: None,
        prior_week_start: None,
        prior_until: None,
        managed: Managed::Db,
        updated_at: NOW,
    };
    tx.put(&budget).await.unwrap();
    tx.commit().await.unwrap();
    for number in [1, 2] {
        acquire(&test.db, number, vec![ask("hard", 10_000, 1_000, 1_000)]).await.unwrap();
        let batch: Vec<Record> = (1..=10)
            .map(|seq| {
                let mut one = record(number, seq, 10, &["hard", "soft"]);
                one.started_at = NOW.plus(std::time::Duration::from_secs(seq * 600));
                one
            })
            .collect();
        let (late, early) = batch.split_at(5);
        test.db.ingest(&incarnation(number), &node(), early, &[], NOW).await.unwrap();
        test.db.ingest(&incarnation(number), &node(), late, &[], NOW).await.unwrap();
    }
    close(&test.db, 1, &[("hard", 100)]).await.unwrap();
}

/// What a planted error makes the proof say, and which record it names.
struct Planted {
    sql: &'static str,
    says: &'static str,
    seq: Option<i64>,
}

const PLANTED: &[Planted] = &[
    Planted {
        sql: "UPDATE ledger_records SET cost_nano = 11 WHERE {001} AND seq = 4",
        says: "its cost is 11 nano-USD, its attempts cost 10",
        seq: Some(4),
    },
    Planted {
        sql: "DELETE FROM ledger_records WHERE {002} AND seq IN (6, 7)",
        says: "no record has the numbers 6 to 7",
        seq: Some(8),
    },
    Planted {
        sql: "DELETE FROM ledger_records WHERE {002} AND seq = 10",
        says: "acknowledged through 10, its records reach 9",
        seq: None,
    },
    Planted {
        sql: "UPDATE ledger_records SET body = {garbage} WHERE {001} AND seq = 2",
        says: "its attempts cannot be read",
        seq: Some(2),
    },
    Planted {
        sql: "UPDATE ledger_records SET charged_id = 0 WHERE {001} AND seq = 2",
        says: "settled is 200, the records charged to it cost 190",
        seq: None,
    },
    Planted {
        sql: "UPDATE ledger_records SET body = (SELECT body FROM (SELECT body FROM ledger_records WHERE {001} AND seq = 2) AS two) WHERE {001} AND seq = 3",
        says: "intent 2 is in two attempts",
        seq: Some(3),
    },
    Planted {
        sql: "UPDATE ledger_records SET body = {intent 12} WHERE {001} AND seq = 10",
        says: "is closed, but 2 intents from 10 up have no record",
        seq: None,
    },
    Planted {
        sql: "UPDATE rollups_hour SET cost_nano = cost_nano + 1 WHERE bucket = 1795305600000000",
        says: "cost_nano is 101, the records say 100",
        seq: Some(1),
    },
    Planted {
        sql: "UPDATE rollups_day SET requests = requests - 1",
        says: "requests is 19, the records say 20",
        seq: Some(1),
    },
    Planted { sql: "DELETE FROM rollups_hour", says: "records belong to it, but the row is missing", seq: Some(1) },
    Planted {
        sql: "UPDATE rollup_keys SET model = 'another'",
        says: "[\"team-1\", \"user-1\", \"key-1\", \"another\", \"openai\", \"\"], whose number it is not",
        seq: None,
    },
    Planted {
        sql: "UPDATE rollups_month SET cost_nano = cost_nano - 1",
        says: "cost_nano is 199, the records say 200",
        seq: Some(1),
    },
    Planted {
        sql: "UPDATE rollups_trend SET output_tokens = 0",
        says: "rollups_trend 2026-11-22T00:00:00Z, team `team-1`, user ``, key ``, model `gpt-5`, provider `openai`, cost centre ``: output_tokens is 0, the records say 400",
        seq: Some(1),
    },
    Planted {
        sql: "UPDATE rollups_month SET corrected_nano = 5",
        says: "corrected_nano is 5, the records say 0",
        seq: Some(1),
    },
    Planted { sql: "UPDATE rollups_day SET key_id = 5", says: "the key 5 is not known", seq: Some(1) },
    Planted {
        sql: "UPDATE ledger_records SET key_id = (SELECT id FROM rollup_keys WHERE user_id = '') WHERE {002} AND seq = 9",
        says: "user ``, key ``, model `gpt-5`, provider `openai`, cost centre ``: records belong to it, but the row is missing",
        seq: Some(9),
    },
    Planted {
        sql: "UPDATE ledger_records SET key_id = 5 WHERE {002} AND seq = 9",
        says: "ledger_records 2026-11-22T01:30:00Z: the key 5 is not known",
        seq: None,
    },
    Planted {
        sql: "UPDATE ledger_records SET charged_id = 5 WHERE {002} AND seq = 9",
        says: "its charges cannot be read: the list 5 is not known",
        seq: Some(9),
    },
    Planted { sql: "UPDATE charge_lists SET charges = 'not JSON'", says: "its charges cannot be read", seq: Some(1) },
    Planted {
        sql: "UPDATE accounts SET settled_nano = settled_nano + 1 WHERE budget_id = 'hard'",
        says: "settled is 201, the records charged to it cost 200",
        seq: None,
    },
    Planted {
        sql: "UPDATE accounts SET escrow_nano = escrow_nano - 1 WHERE budget_id = 'hard'",
        says: "escrow is 1099, its leases hold 1100",
        seq: None,
    },
    Planted {
        sql: "UPDATE accounts SET unleased_nano = 5 WHERE budget_id = 'soft'",
        says: "spent without a lease is 5, the records say 200",
        seq: None,
    },
    Planted {
        sql: "UPDATE accounts SET peak_limit_nano = 150 WHERE budget_id = 'hard'",
        says: "it is hard and settled is 200, the highest limit it had is 150",
        seq: None,
    },
    Planted {
        sql: "UPDATE accounts SET peak_limit_nano = 150 WHERE budget_id = 'hard'",
        says: "escrow is 1100, the highest limit it had is 150",
        seq: None,
    },
    Planted {
        sql: "DELETE FROM accounts WHERE budget_id = 'soft'",
        says: "is charged or leased but does not exist",
        seq: None,
    },
    Planted {
        sql: "UPDATE leases SET spent_nano = 99 WHERE incarnation = 'incarnation-001'",
        says: "it is closed with 99 spent, its records cost 100",
        seq: None,
    },
    Planted {
        sql: "UPDATE leases SET settled_nano = 99 WHERE incarnation = 'incarnation-002'",
        says: "settled is 99, its records cost 100",
        seq: None,
    },
    Planted {
        sql: "DELETE FROM leases WHERE incarnation = 'incarnation-002'",
        says: "records of incarnation-002 charge 100",
        seq: None,
    },
    Planted {
        sql: "DELETE FROM incarnations WHERE id = 'incarnation-002'",
        says: "its incarnation is not known",
        seq: Some(1),
    },
];

/// The statement in the words of a database: `{001}` names the records of the first incarnation.
async fn planted_sql(sql: &str, test: &TestDb) -> String {
    let of = |number: &str| {
        format!("incarnation_no = (SELECT id FROM record_sources WHERE incarnation = 'incarnation-{number}')")
    };
    let is_postgres = test.db.dialect() == Dialect::Postgres;
    let bytes = |hex: &str| if is_postgres { format!(r"'\x{hex}'") } else { format!("X'{hex}'") };
    let body = if is_postgres { "encode(body, 'hex')" } else { "lower(hex(body))" };
    let tenth = format!("SELECT {body}, 'body' FROM ledger_records WHERE {} AND seq = 10", of("001"));
    // the packed attempt begins with its intent
    let tenth = pairs(&test.url, &tenth).await.remove(0).0.replacen("080a", "080c", 1);
    sql.replace("{001}", &of("001"))
        .replace("{002}", &of("002"))
        .replace("{garbage}", &bytes("ff"))
        .replace("{intent 12}", &bytes(&tenth))
}

on_every_database! {
    async fn books_that_agree_have_no_problem(test: &TestDb) {
        let empty = test.db.verify_ledger().await.unwrap();
        assert!(empty.is_clean() && empty.records == 0);
        fill(test).await;
        let report = test.db.verify_ledger().await.unwrap();
        assert_eq!(report.problems, Vec::<String>::new());
        assert!(report.is_clean() && report.first_bad.is_none());
        assert_eq!((report.records, report.incarnations, report.accounts, report.leases), (20, 2, 2, 2));
        assert_eq!((report.rollups, report.open_intents), (5, 0));
    }

    async fn each_kind_of_planted_error_is_found_and_named(test: &TestDb) {
        for planted in PLANTED {
            let another = TestDb::fresh(test.db.dialect()).await.unwrap();
            fill(&another).await;
            another.raw(&planted_sql(planted.sql, &another).await).await;
            let report = another.db.verify_ledger().await.unwrap();
            let said = report.problems.join("\n");
            assert!(said.contains(planted.says), "{}\nsaid:\n{said}", planted.sql);
            assert!(!report.is_clean());
            if planted.seq.is_some() {
                assert_eq!(report.first_bad.map(|bad| bad.seq), planted.seq, "{}\nsaid:\n{said}", planted.sql);
            }
            another.drop_database().await;
        }
    }

    async fn intents_whose_requests_still_run_are_counted_not_blamed(test: &TestDb) {
        let mut later = record(1, 1, 10, &[]);
        later.attempts[0].intent = 4;
        test.db.ingest(&incarnation(1), &node(), &[later], &[], NOW).await.unwrap();
        let report = test.db.verify_ledger().await.unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
        assert_eq!(report.open_intents, 3);
    }

    async fn a_hundred_problems_are_told_and_all_are_counted(test: &TestDb) {
        let batch: Vec<Record> = (1..=150).map(|seq| record(1, seq, 10, &[])).collect();
        test.db.ingest(&incarnation(1), &node(), &batch, &[], NOW).await.unwrap();
        test.raw("UPDATE ledger_records SET cost_nano = cost_nano + 1").await;
        let report = test.db.verify_ledger().await.unwrap();
        assert_eq!(report.problems.len(), 100);
        // every record, and the sums of the hour, the day, the month and the trend
        assert_eq!(report.problem_count, 154);
        assert_eq!(report.first_bad.map(|bad| bad.seq), Some(1));
    }
}
