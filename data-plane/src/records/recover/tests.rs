//! What survives the death of a process, and in which order it is told.

use super::*;
use helix_shared::time::{SystemClock, UnixMicros};

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn small() -> JournalSettings {
    JournalSettings { segment_bytes: 16 << 10, max_bytes: 1 << 20, ..JournalSettings::default() }
}

fn record(intents: &[u64], cost: i64) -> v1::UsageRecord {
    let attempts = intents.iter().map(|intent| v1::Attempt { intent: *intent, ..v1::Attempt::default() }).collect();
    v1::UsageRecord { attempts, cost_nano_usd: cost, ..v1::UsageRecord::default() }
}

fn intent(reserved: i64) -> v1::Intent {
    let request_id = "r".repeat(100);
    v1::Intent { reserved_nano_usd: reserved, request_id, started_at_us: reserved, ..v1::Intent::default() }
}

fn all_records(journal: &Journal) -> Vec<v1::UsageRecord> {
    let shipments =
        Reader::new(journal.folder(), journal.first_segment()).next_batch(journal.position(), 0, usize::MAX);
    shipments.unwrap().iter().map(|it| v1::UsageRecord::decode(it.bytes.clone()).unwrap()).collect()
}

fn create(root: &Path) -> Journal {
    Journal::create(root, new_identity("n1", false), small(), clock()).unwrap()
}

#[test]
fn an_intent_without_outcome_is_closed_at_what_was_reserved() {
    let root = tempfile::tempdir().unwrap();
    let journal = create(root.path());
    let mut open = Vec::new();
    for reserved in 1..=100 {
        let token = journal.intent(&mut intent(reserved)).unwrap();
        if reserved % 10 == 0 {
            open.push(reserved);
        } else {
            journal.outcome(&[token], record(&[u64::try_from(reserved).unwrap()], 1), &[]).unwrap();
        }
    }
    journal.outcome(&[], record(&[], 0), &[]).unwrap();
    drop(journal);

    let old = old_journals(root.path(), "other", &boot_id(), small(), &clock()).unwrap().pop().unwrap();
    assert!(old.is_whole);
    assert_eq!(old.closed_intents, 10);
    let records = all_records(&old.journal);
    assert_eq!(records.iter().map(|r| r.seq).collect::<Vec<_>>(), (1..=101).collect::<Vec<_>>(), "no hole");
    let closed: Vec<i64> =
        records.iter().filter(|r| r.basis == i32::from(v1::CostBasis::Unknown)).map(|r| r.cost_nano_usd).collect();
    assert_eq!(closed, open);
}

#[test]
fn a_torn_tail_is_cut_and_never_read() {
    let root = tempfile::tempdir().unwrap();
    let journal = create(root.path());
    for _ in 0..3 {
        journal.outcome(&[], record(&[], 7), &[]).unwrap();
    }
    let (path, end) = (segment_path(journal.folder(), 1), journal.position().offset);
    drop(journal);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0; 5], end - 5).unwrap();
    let old = old_journals(root.path(), "other", &boot_id(), small(), &clock()).unwrap().pop().unwrap();
    assert_eq!(all_records(&old.journal).len(), 2);
    assert!(old.is_whole && !old.is_damaged, "it never counted");
}

#[test]
fn damage_in_the_last_segment_is_kept_aside_and_never_called_whole() {
    let root = tempfile::tempdir().unwrap();
    let journal = create(root.path());
    let mut ends = Vec::new();
    for _ in 0..9 {
        journal.outcome(&[], record(&[], 7), &[]).unwrap();
        ends.push(journal.position().offset);
    }
    let path = segment_path(journal.folder(), 1);
    drop(journal);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0xff], ends[4] - 3).unwrap();
    for _ in 0..2 {
        let old = old_journals(root.path(), "other", &boot_id(), small(), &clock()).unwrap().pop().unwrap();
        assert!(old.is_damaged && !old.is_whole);
        assert_eq!(all_records(&old.journal).len(), 4);
        assert!(path.with_extension(QUARANTINED).exists());
    }
}

#[test]
fn a_journal_that_is_damaged_from_its_first_byte_is_not_thrown_away() {
    let root = tempfile::tempdir().unwrap();
    let journal = create(root.path());
    journal.outcome(&[], record(&[], 7), &[]).unwrap();
    let path = segment_path(journal.folder(), 1);
    drop(journal);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0xff], 9).unwrap();
    for _ in 0..2 {
        assert!(old_journals(root.path(), "other", &boot_id(), small(), &clock()).unwrap().is_empty());
        assert!(path.exists() && path.with_extension(QUARANTINED).exists());
    }
}

#[test]
fn numbers_of_records_that_the_disk_refused_are_given_to_no_other() {
    let root = tempfile::tempdir().unwrap();
    let journal = create(root.path());
    journal.intent(&mut intent(70)).unwrap();
    let refused = journal.intent(&mut intent(80)).unwrap();
    journal.outcome(&[], record(&[], 7), &[]).unwrap();
    // The next segment cannot be made: its place is taken, as it is where the disk has no room.
    std::fs::create_dir(segment_path(journal.folder(), 2)).unwrap();
    journal.outcome(&[refused], record(&[2], 8), &[]).unwrap();
    while !journal.has_failed() {
        journal.outcome(&[], record(&[], 7), &[]).unwrap();
    }
    let told = journal.unwritten();
    assert_eq!(told.len(), 1, "shipped from memory");
    std::fs::remove_dir(segment_path(journal.folder(), 2)).unwrap();
    drop(journal);
    let old = old_journals(root.path(), "other", &boot_id(), small(), &clock()).unwrap().pop().unwrap();
    assert!(old.is_damaged && !old.is_whole && old.closed_intents == 1);
    let closed = all_records(&old.journal).pop().unwrap();
    assert_eq!(closed.cost_nano_usd, 70);
    assert!(closed.seq > told[0].seq, "{} was given to another record before", closed.seq);
}

#[test]
fn another_boot_or_a_damaged_sealed_segment_is_not_whole() {
    let root = tempfile::tempdir().unwrap();
    let journal = create(root.path());
    for _ in 0..400 {
        journal.outcome(&[], record(&[], 7), &[]).unwrap();
    }
    let first = segment_path(journal.folder(), 1);
    drop(journal);
    let old = old_journals(root.path(), "other", "another boot", small(), &clock()).unwrap().pop().unwrap();
    assert!(!old.is_whole);
    drop(old);
    let file = std::fs::OpenOptions::new().write(true).open(&first).unwrap();
    file.write_all_at(&[0xff; 5], 4000).unwrap();
    let old = old_journals(root.path(), "other", &boot_id(), small(), &clock()).unwrap().pop().unwrap();
    assert!(!old.is_whole);
}

#[test]
fn a_living_process_keeps_its_journal() {
    let root = tempfile::tempdir().unwrap();
    let journal = create(root.path());
    assert!(old_journals(root.path(), "other", &boot_id(), small(), &clock()).unwrap().is_empty());
    drop(journal);
}

#[test]
fn a_full_journal_refuses_intents_and_still_takes_outcomes() {
    let root = tempfile::tempdir().unwrap();
    let settings = JournalSettings { segment_bytes: 64 << 10, max_bytes: 128 << 10, ..JournalSettings::default() };
    let journal = Journal::create(root.path(), new_identity("n1", false), settings, clock()).unwrap();
    let mut tokens = Vec::new();
    let refused = loop {
        match journal.intent(&mut intent(5)) {
            Ok(token) => tokens.push(token),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, JournalError::Full { .. }), "{refused}");
    while journal.outcome(&[], record(&[], 0), &[]).is_ok() {}
    let refusals = all_records(&journal).len();
    assert!(!journal.has_failed(), "refusals do not take the room of admitted requests");
    let admitted = tokens.len();
    assert!(admitted > 5);
    for token in tokens {
        let number = token.intent;
        journal.outcome(&[token], record(&[number], 5), &[]).unwrap();
    }
    assert!(!journal.has_failed());
    assert_eq!(all_records(&journal).len(), refusals + admitted);
}

#[test]
fn acknowledged_segments_are_deleted_and_reading_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let journal = create(root.path());
    let mut reader = Reader::new(journal.folder(), 1);
    let mut seen = 0;
    for _ in 0..20 {
        for _ in 0..50 {
            journal.outcome(&[], record(&[], 7), &[]).unwrap();
        }
        let batch = reader.next_batch(journal.position(), seen, 500).unwrap();
        assert_eq!(batch.first().map(|r| r.seq), Some(seen + 1));
        seen += u64::try_from(batch.len()).unwrap();
        journal.acknowledge(seen);
    }
    assert_eq!(seen, 1000);
    assert!(std::fs::read_dir(journal.folder()).unwrap().count() <= 3, "lock, current and at most one more");
}

#[tokio::test]
async fn strict_mode_waits_for_the_disk() {
    let root = tempfile::tempdir().unwrap();
    let settings = JournalSettings { is_strict: true, ..small() };
    let journal = Journal::create(root.path(), new_identity("n1", true), settings, clock()).unwrap();
    let token = journal.intent(&mut intent(5)).unwrap();
    let waiting = journal.durable(&token);
    tokio::pin!(waiting);
    assert!(futures_util::poll!(&mut waiting).is_pending());
    journal.sync();
    assert!(waiting.await.is_ok());
}

#[tokio::test]
async fn strict_mode_waits_for_the_disk_alone_and_not_for_the_next_interval() {
    let root = tempfile::tempdir().unwrap();
    let settings =
        JournalSettings { is_strict: true, sync_interval: std::time::Duration::from_secs(86_400), ..small() };
    let journal = Journal::create(root.path(), new_identity("n1", true), settings, clock()).unwrap();
    let token = journal.intent(&mut intent(5)).unwrap();
    let syncs = async {
        journal.sync_due().await;
        journal.sync();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        durable = journal.durable(&token) => assert!(durable.is_ok()),
        () = syncs => {}
    }
}

fn reopened(root: &Path) -> OldJournal {
    old_journals(root, "other", &boot_id(), small(), &clock()).unwrap().pop().unwrap()
}

#[test]
fn a_request_that_died_at_its_second_backend_has_one_record_of_both() {
    let root = tempfile::tempdir().unwrap();
    let journal = create(root.path());
    let first = v1::Intent { backend_id: "first".into(), ..intent(7) };
    let second = v1::Intent { backend_id: "second".into(), reserved_nano_usd: 5, ..first.clone() };
    let namesake = v1::Intent { started_at_us: 99, ..first.clone() };
    for mut intent in [first, namesake, second] {
        journal.intent(&mut intent).unwrap();
    }
    drop(journal);
    let old = reopened(root.path());
    let found: Vec<(Vec<u64>, i64, String)> = all_records(&old.journal)
        .into_iter()
        .map(|it| (it.attempts.iter().map(|attempt| attempt.intent).collect(), it.cost_nano_usd, it.backend_id))
        .collect();
    assert_eq!(found, [(vec![1, 3], 12, "second".to_owned()), (vec![2], 7, "first".to_owned())]);
    assert_eq!(old.closed_intents, 3);
}

#[test]
fn a_journal_whose_repair_was_cut_short_is_still_whole() {
    let root = tempfile::tempdir().unwrap();
    let journal = create(root.path());
    for _ in 0..3 {
        journal.outcome(&[], record(&[], 7), &[]).unwrap();
    }
    let (path, end) = (segment_path(journal.folder(), 1), journal.position().offset);
    drop(journal);
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[0; 5], end - 5).unwrap();
    for _ in 0..3 {
        let old = reopened(root.path());
        assert!(old.is_whole);
        assert_eq!(all_records(&old.journal).len(), 2);
    }
}

#[test]
fn what_was_acknowledged_before_a_death_is_not_waited_for_after_it() {
    let root = tempfile::tempdir().unwrap();
    let journal = create(root.path());
    for _ in 0..3 {
        journal.outcome(&[], record(&[], 7), &[]).unwrap();
    }
    drop(journal);
    let old = reopened(root.path());
    old.journal.acknowledge(3);
    assert_eq!(old.journal.first_segment(), 2);
    drop(old);
    let old = reopened(root.path());
    assert_eq!((old.journal.acknowledged(), old.journal.next_seq()), (3, 4));
    let folder = old.journal.folder().to_owned();
    std::fs::rename(&folder, folder.with_extension(SHIPPED)).unwrap();
    drop(old);
    assert!(
        old_journals(root.path(), "other", &boot_id(), small(), &clock()).unwrap().is_empty(),
        "it was on its way out"
    );
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}

#[test]
fn an_intent_never_stays_behind_when_the_outcome_that_closes_it_goes() {
    let root = tempfile::tempdir().unwrap();
    let journal = create(root.path());
    let _long = journal.intent(&mut intent(1)).unwrap();
    let short = journal.intent(&mut intent(2)).unwrap();
    let mut last = 0;
    while journal.position().segment == 1 {
        journal.outcome(&[], record(&[], 0), &[]).unwrap();
        last += 1;
    }
    journal.outcome(&[short], record(&[2], 1), &[]).unwrap();
    while journal.position().segment == 2 {
        journal.outcome(&[], record(&[], 0), &[]).unwrap();
        last += 1;
    }
    journal.acknowledge(last);
    drop(journal);
    let old = reopened(root.path());
    assert_eq!(old.closed_intents, 1, "the second one is closed already");
}

#[test]
fn an_attempt_that_is_known_to_have_ended_is_booked_as_it_ended() {
    let root = tempfile::tempdir().unwrap();
    let journal = create(root.path());
    let first = intent(7);
    for mut intent in [first.clone(), v1::Intent { reserved_nano_usd: 5, ..first }] {
        let token = journal.intent(&mut intent).unwrap();
        if token.intent == 1 {
            let basis = v1::CostBasis::Exact.into();
            let ended = v1::Attempt { intent: 1, status: 500, basis, ..v1::Attempt::default() };
            journal.attempt(&ended).unwrap();
        }
    }
    drop(journal);
    let record = all_records(&reopened(root.path()).journal).remove(0);
    assert_eq!((record.cost_nano_usd, record.basis), (5, i32::from(v1::CostBasis::Unknown)));
    let attempts: Vec<(u64, u32, i64)> =
        record.attempts.iter().map(|attempt| (attempt.intent, attempt.status, attempt.cost_nano_usd)).collect();
    assert_eq!(attempts, [(1, 500, 0), (2, 0, 5)]);
}

#[test]
fn a_record_longer_than_one_read_is_shipped() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = Vec::new();
    for (number, size) in [(1, 10), (2, 3 * READ_BYTES), (3, 10)] {
        entry::append(&mut bytes, Kind::Outcome, number, UnixMicros::new(7), |buffer| {
            buffer.resize(buffer.len() + size, 1);
        });
    }
    std::fs::write(segment_path(folder.path(), 1), &bytes).unwrap();
    let end = Position { segment: 1, offset: u64::try_from(bytes.len()).unwrap() };
    let shipped = Reader::new(folder.path(), 1).next_batch(end, 0, 10).unwrap();
    assert_eq!(shipped.iter().map(|it| it.seq).collect::<Vec<_>>(), [1, 2, 3]);
}
