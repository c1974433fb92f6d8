//! A journal whose disk lost a part of it: what can be read is told, what cannot is kept for whoever looks into it.

use crate::support::gateway::Gateway;
use crate::support::ledger::{Ledger, sqlite_in};
use crate::support::patience::{logged, until};
use helix_data_plane::records::journal::Journal;
use helix_data_plane::records::recover::new_identity;
use helix_data_plane::settings::JournalSettings;
use helix_proto::v1;
use helix_shared::budget::plane::Seal;
use helix_shared::time::SystemClock;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

const RECORDS: u64 = 60;

fn record(number: u64) -> v1::UsageRecord {
    v1::UsageRecord {
        request_id: format!("request-{number}-{}", "x".repeat(900)),
        dialect: "openai_chat".to_owned(),
        decision: Some(v1::Decision { kind: v1::decision::Kind::Allowed.into(), ..v1::Decision::default() }),
        timing: Some(v1::Timing { started_at_us: 1_795_305_600_000_000, first_byte_us: 1, total_us: 1 }),
        basis: v1::CostBasis::Exact.into(),
        http_status: 200,
        ..v1::UsageRecord::default()
    }
}

/// Leaves a journal of several segments, the second of which is damaged in its middle. Returns its folder.
fn damaged(root: &Path) -> std::path::PathBuf {
    let settings = JournalSettings { segment_bytes: 16 << 10, max_bytes: 1 << 20, ..JournalSettings::default() };
    let journal = Journal::create(root, new_identity("n1", false), settings, Arc::new(SystemClock::new())).unwrap();
    for number in 1..=RECORDS {
        journal.outcome(&[], record(number), &[]).unwrap();
    }
    let folder = journal.folder().to_owned();
    drop(journal);
    let mut segments: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    segments.sort();
    assert!(segments.len() > 3, "{segments:?}");
    let mut bytes = std::fs::read(&segments[1]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segments[1], bytes).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn the_records_around_a_damaged_part_arrive_and_the_part_is_kept_aside() {
    let folder = tempfile::tempdir().unwrap();
    let journal = damaged(&folder.path().join("helix-data/journal"));
    let mut gateway = Gateway::serve(folder.path(), "");
    logged(&gateway, "a journal segment is damaged").await;
    until("the journal is shipped and deleted", async || (!journal.exists()).then_some(())).await;
    let url = sqlite_in(folder.path());
    let ledger = Ledger::read(&url).await;
    let seqs: BTreeSet<u64> = ledger.records.iter().map(|record| record.seq).collect();
    assert!(seqs.contains(&1) && seqs.contains(&RECORDS), "{seqs:?}");
    assert!(seqs.len() > usize::try_from(RECORDS / 2).unwrap() && seqs.len() < usize::try_from(RECORDS).unwrap());
    let kept: Vec<_> = std::fs::read_dir(journal.parent().unwrap())
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "quarantined"))
        .collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    // Nobody can say what was spent in the lost part: its incarnation is never declared whole.
    assert!(
        ledger.incarnations.iter().any(|it| it.seal == Seal::Open && it.through_seq < RECORDS),
        "{:?}",
        ledger.incarnations
    );
    assert!(gateway.stop(), "an orderly end");
}
