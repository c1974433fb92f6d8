//! How many records a second SQLite takes. Run it by hand in release: `cargo test --release -p helix-store -- --ignored`.

use crate::support::{NOW, TestDb, acquire, ask, incarnation, node, record};
use helix_shared::record::Record;
use helix_store::Dialect;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement, not a test"]
async fn records_a_second() {
    const BATCHES: u64 = 40;
    for dialect in [Dialect::Sqlite, Dialect::Postgres, Dialect::MySql] {
        let Some(test) = TestDb::fresh(dialect).await else { continue };
        let asks = ["a", "b", "c"].map(|budget| ask(budget, i64::MAX, 1_000_000, 1_000_000));
        acquire(&test.db, 1, asks.to_vec()).await.unwrap();
        let batches: Vec<Vec<Record>> = (0..BATCHES)
            .map(|batch| (1..=500).map(|seq| record(1, batch * 500 + seq, 10, &["a", "b", "c"])).collect())
            .collect();
        let start = std::time::Instant::now();
        for batch in &batches {
            test.db.ingest(&incarnation(1), &node(), batch, &[], NOW).await.unwrap();
        }
        let ingest = start.elapsed();
        let start = std::time::Instant::now();
        assert!(test.db.verify_ledger().await.unwrap().is_clean());
        let verify = start.elapsed();
        let start = std::time::Instant::now();
        for need in 1..=200_i64 {
            let asks = ["a", "b", "c"].map(|budget| ask(budget, i64::MAX, 1_000_000 + need, 1_000_000 + need));
            acquire(&test.db, 1, asks.to_vec()).await.unwrap();
        }
        let acquired = start.elapsed();
        let rate =
            |elapsed: std::time::Duration, count: u64| u128::from(count) * 1_000_000 / elapsed.as_micros().max(1);
        eprintln!(
            "{}: {} records/s taken, {} records/s verified, {} acquires/s of three accounts",
            dialect.as_str(),
            rate(ingest, BATCHES * 500),
            rate(verify, BATCHES * 500),
            rate(acquired, 200),
        );
        test.drop_database().await;
    }
}
