//! Reading journals back: for shipping, and after a process died.
//!
//! Rule: what is whole is kept; an intent without its outcome is closed at the worst case, as a new record of the same
//! incarnation, before anything is shipped. A damaged segment is kept aside, and its incarnation is never declared whole;
//! nor is one whose process kept records in memory, because the disk refused them.

use super::draft::sureness;
use super::entry::{self, Kind, MOST_BYTES, Read};
use super::files::{QUARANTINED, lock_folder, segment_path};
use super::journal::{INTACT, Identity, Journal, JournalError, Position, SHIPPED, Segment, SegmentHead, Start};
use super::segment_scan::SegmentScan;
use crate::settings::JournalSettings;
use bytes::Bytes;
use helix_proto::convert::record::{basis_from_wire, basis_to_wire};
use helix_proto::v1;
use helix_shared::time::Clock;
use prost::Message;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const READ_BYTES: usize = 256 << 10;
/// Numbers left out where some were given to records in memory: far more than requests can be in flight when the disk
/// refuses, after which none is admitted.
const UNKNOWN_NUMBERS: u64 = 1 << 24;

/// Reads the outcomes of a journal in order, as far as it is written.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    segment: u64,
    offset: u64,
    file: Option<File>,
    buffer: Vec<u8>,
}

/// A record as it stands in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shipment {
    /// Its number.
    pub seq: u64,
    /// The encoded `UsageRecord`.
    pub bytes: Bytes,
}

/// A journal of a process that died, opened to be shipped.
#[derive(Debug)]
pub struct OldJournal {
    /// The journal, every intent closed.
    pub journal: Journal,
    /// Whether it is certain that nothing is missing at its end: only then may the incarnation be sealed.
    pub is_whole: bool,
    /// Whether a segment cannot be read to its end, or the disk refused records: some are missing here for good.
    pub is_damaged: bool,
    /// How many intents had no outcome.
    pub closed_intents: usize,
}

impl Reader {
    /// Starts at a segment.
    pub fn new(folder: &Path, first_segment: u64) -> Self {
        Self { folder: folder.to_owned(), segment: first_segment, offset: 0, file: None, buffer: Vec::new() }
    }

    /// Returns up to `most` further records with a number above `above_seq`, not reading past `end`.
    ///
    /// # Errors
    /// When a segment cannot be opened or read.
    pub fn next_batch(&mut self, end: Position, above_seq: u64, most: usize) -> std::io::Result<Vec<Shipment>> {
        let mut records = Vec::new();
        while records.len() < most {
            if self.segment > end.segment || (self.segment == end.segment && self.offset >= end.offset) {
                break;
            }
            let limit = if self.segment == end.segment { end.offset } else { u64::MAX };
            let step = self.read_some(limit, above_seq, most, &mut records)?;
            if step == 0 {
                if self.segment == end.segment {
                    break;
                }
                self.segment += 1;
                self.offset = 0;
                self.file = None;
            }
        }
        Ok(records)
    }

    fn read_some(
        &mut self,
        limit: u64,
        above_seq: u64,
        most: usize,
        records: &mut Vec<Shipment>,
    ) -> std::io::Result<u64> {
        if self.file.is_none() {
            match File::open(segment_path(&self.folder, self.segment)) {
                Ok(file) => self.file = Some(file),
                // Acknowledged and deleted already.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
                Err(error) => return Err(error),
            }
        }
        let Some(file) = &self.file else { return Ok(0) };
        let left = usize::try_from(limit.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        self.buffer.resize(left.min(READ_BYTES), 0);
        let mut got = file.read_at(&mut self.buffer, self.offset)?;
        if got == READ_BYTES && matches!(entry::read(&self.buffer), Read::Partial) {
            self.buffer.resize(left.min(MOST_BYTES), 0);
            got = file.read_at(&mut self.buffer, self.offset)?;
        }
        let mut bytes = self.buffer.get(..got).unwrap_or_default();
        let mut step = 0;
        while records.len() < most {
            let Read::Entry(entry, length) = entry::read(bytes) else { break };
            if entry.kind == Kind::Outcome && entry.number > above_seq {
                records.push(Shipment { seq: entry.number, bytes: Bytes::copy_from_slice(entry.payload) });
            }
            bytes = bytes.get(length..).unwrap_or_default();
            step += u64::try_from(length).unwrap_or(0);
        }
        self.offset += step;
        Ok(step)
    }
}

/// Opens every journal under `root` that no living process holds. Intents without outcome are closed at the worst case.
///
/// # Errors
/// When the folder cannot be listed. A single journal that cannot be opened is left alone and reported in the log.
pub fn old_journals(
    root: &Path,
    own_incarnation: &str,
    boot_id: &str,
    settings: JournalSettings,
    clock: &Arc<dyn Clock>,
) -> std::io::Result<Vec<OldJournal>> {
    let mut journals = Vec::new();
    let folders = match std::fs::read_dir(root) {
        Ok(folders) => folders,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(journals),
        Err(error) => return Err(error),
    };
    for folder in folders {
        let folder = folder?.path();
        if !folder.is_dir() || folder.file_name().is_some_and(|name| name == own_incarnation) {
            continue;
        }
        if folder.extension().is_some_and(|extension| extension == SHIPPED) {
            // The process died while it deleted what nobody needs any more.
            std::fs::remove_dir_all(&folder)?;
            continue;
        }
        match reopen(&folder, boot_id, settings, clock) {
            Ok(Some(journal)) => journals.push(journal),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, folder = %folder.display(), "an old journal cannot be opened; it is left as it is");
            }
        }
    }
    Ok(journals)
}

#[derive(Debug, Default)]
pub(super) struct Scan {
    head: Option<SegmentHead>,
    /// The first number that may still be here.
    first_seq: u64,
    next_seq: u64,
    next_intent: u64,
    open: BTreeMap<u64, v1::Intent>,
    /// Attempts of open intents of which it is known how they ended.
    ended: HashMap<u64, v1::Attempt>,
    segments: BTreeMap<u64, Segment>,
    is_damaged: bool,
}

fn reopen(
    folder: &Path,
    boot_id: &str,
    settings: JournalSettings,
    clock: &Arc<dyn Clock>,
) -> Result<Option<OldJournal>, JournalError> {
    let Some(lock) = lock_folder(folder)? else { return Ok(None) };
    let write_error = |source| JournalError::Write { path: folder.to_owned(), source };
    let numbers = segment_numbers(folder).map_err(write_error)?;
    let mut scan = Scan { next_seq: 1, next_intent: 1, ..Scan::default() };
    for (index, number) in numbers.iter().enumerate() {
        let is_last = index + 1 == numbers.len();
        scan_segment(folder, *number, is_last, &mut scan).map_err(write_error)?;
    }
    let Some(head) = scan.head.clone() else {
        if scan.is_damaged {
            return Err(write_error(std::io::Error::other("its first segment is damaged from the start")));
        }
        // The process died before its first entry: there is nothing to tell.
        std::fs::remove_dir_all(folder).map_err(write_error)?;
        return Ok(None);
    };
    if head.has_intact && !folder.join(INTACT).exists() {
        tracing::error!(folder = %folder.display(), "the disk refused records of this journal; its incarnation will not be sealed");
        scan.is_damaged = true;
        // Those were shipped from memory under the next numbers: what is told now must not be taken for them.
        scan.next_seq = scan.next_seq.saturating_add(UNKNOWN_NUMBERS);
    }
    let is_damaged = scan.is_damaged;
    let is_whole = !is_damaged && (head.identity.boot_id == boot_id || head.identity.is_strict);
    let start = Start {
        next_seq: scan.next_seq,
        next_intent: scan.next_intent,
        // Segments go when all in them is acknowledged, the oldest first.
        acknowledged: scan.first_seq.saturating_sub(1),
        segments: scan.segments,
    };
    // What a dead process left is told, however full the journal is.
    let settings = JournalSettings { max_bytes: u64::MAX, ..settings };
    let journal = Journal::start(folder.to_owned(), lock, head.identity, settings, Arc::clone(clock), start)?;
    let closed_intents = scan.open.len();
    for intents in by_request(scan.open) {
        if let Some(record) = worst_case_record(intents, &scan.ended, clock.now().get()) {
            journal.outcome(&[], record, &[])?;
        }
    }
    // Closing intents by hand does not go through tokens: every segment is free to go once it is acknowledged.
    journal.sync();
    Ok(Some(OldJournal { journal, is_whole, is_damaged, closed_intents }))
}

fn segment_numbers(folder: &Path) -> std::io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let name = file?.file_name();
        let number: Option<u64> =
            name.to_str().and_then(|name| name.strip_prefix("seg-")?.strip_suffix(".log")?.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

pub(super) fn scan_segment(folder: &Path, number: u64, is_last: bool, scan: &mut Scan) -> std::io::Result<()> {
    let path = segment_path(folder, number);
    let mut entries = SegmentScan::open(&path)?;
    let mut state = Segment { bytes: entries.file_bytes()?, ..Segment::default() };
    loop {
        match entries.next_entry()? {
            Read::Entry(entry, _) => {
                scan.take(&entry, &mut state);
                continue;
            }
            Read::End => break,
            Read::Partial | Read::Damaged => {}
        }
        if is_last && entries.is_torn()? {
            // The process died while writing: the entry never counted. It is cut off, so that what follows in a new
            // segment never makes this one look damaged.
            std::fs::OpenOptions::new().write(true).open(&path)?.set_len(entries.whole_bytes())?;
        } else {
            let aside = path.with_extension(QUARANTINED);
            tracing::error!(path = %path.display(), aside = %aside.display(), "a journal segment is damaged; a copy is kept and the incarnation will not be sealed");
            std::fs::copy(&path, aside)?;
            scan.is_damaged = true;
        }
        break;
    }
    scan.segments.insert(number, state);
    Ok(())
}

impl Scan {
    fn take(&mut self, entry: &entry::Entry<'_>, state: &mut Segment) {
        match entry.kind {
            Kind::Header => {
                if let Ok(head) = serde_json::from_slice::<SegmentHead>(entry.payload) {
                    if self.head.is_none() {
                        self.first_seq = head.next_seq;
                    }
                    self.next_seq = self.next_seq.max(head.next_seq);
                    self.next_intent = self.next_intent.max(head.next_intent);
                    self.head = Some(head);
                }
            }
            Kind::Intent => {
                self.next_intent = self.next_intent.max(entry.number.saturating_add(1));
                if let Ok(intent) = v1::Intent::decode(entry.payload) {
                    self.open.insert(entry.number, intent);
                }
            }
            Kind::Attempt => {
                if let Ok(attempt) = v1::Attempt::decode(entry.payload) {
                    self.ended.insert(attempt.intent, attempt);
                }
            }
            Kind::Outcome => {
                self.next_seq = self.next_seq.max(entry.number.saturating_add(1));
                state.last_seq = entry.number;
                if let Ok(record) = v1::UsageRecord::decode(entry.payload) {
                    for attempt in &record.attempts {
                        self.open.remove(&attempt.intent);
                    }
                }
            }
        }
    }
}

/// Open intents, those of one request together. Clients choose ids, so an id alone does not make a request.
fn by_request(open: BTreeMap<u64, v1::Intent>) -> Vec<Vec<v1::Intent>> {
    let mut requests: Vec<Vec<v1::Intent>> = Vec::new();
    let mut known: HashMap<(String, i64), Vec<usize>> = HashMap::new();
    for intent in open.into_values() {
        let places = known.entry((intent.request_id.clone(), intent.started_at_us)).or_default();
        let is_same = |other: &v1::Intent| other.actor == intent.actor;
        let place = places.iter().find(|at| requests.get(**at).and_then(|it| it.first()).is_some_and(is_same));
        if let Some(attempts) = place.and_then(|at| requests.get_mut(*at)) {
            attempts.push(intent);
        } else {
            places.push(requests.len());
            requests.push(vec![intent]);
        }
    }
    requests
}

/// The record of a request whose process died: an attempt whose end is not known is booked at what was reserved, since
/// nobody can know less.
fn worst_case_record(
    intents: Vec<v1::Intent>,
    ended: &HashMap<u64, v1::Attempt>,
    now_us: i64,
) -> Option<v1::UsageRecord> {
    let worst_case = |intent: &v1::Intent| v1::Attempt {
        intent: intent.intent,
        backend_id: intent.backend_id.clone(),
        upstream_model: intent.upstream_model.clone(),
        error: "process_died".to_owned(),
        cost_nano_usd: intent.reserved_nano_usd,
        basis: v1::CostBasis::Unknown.into(),
        ..v1::Attempt::default()
    };
    let attempt = |intent: &v1::Intent| ended.get(&intent.intent).cloned().unwrap_or_else(|| worst_case(intent));
    let attempts: Vec<v1::Attempt> = intents.iter().map(attempt).collect();
    let cost_nano_usd = attempts.iter().fold(0_i64, |sum, attempt| sum.saturating_add(attempt.cost_nano_usd));
    let basis = attempts.iter().map(|attempt| basis_from_wire(attempt.basis)).min_by_key(|basis| sureness(*basis))?;
    let basis = basis_to_wire(basis).into();
    let intent = intents.into_iter().next_back()?;
    let decision = v1::Decision {
        kind: v1::decision::Kind::Failed.into(),
        stage: "model".to_owned(),
        code: "process_died".to_owned(),
    };
    Some(v1::UsageRecord {
        seq: 0,
        request_id: intent.request_id,
        config_revision: intent.config_revision,
        actor: intent.actor,
        decision: Some(decision),
        dialect: intent.dialect,
        requested_model: intent.requested_model,
        backend_id: intent.backend_id,
        streaming: intent.streaming,
        attempts,
        tokens: Some(v1::Tokens::default()),
        cost_nano_usd,
        basis,
        charged: intent.charged,
        unreserved: intent.unreserved,
        timing: Some(v1::Timing {
            started_at_us: intent.started_at_us,
            first_byte_us: 0,
            total_us: u64::try_from(now_us - intent.started_at_us).unwrap_or(0),
        }),
        ..v1::UsageRecord::default()
    })
}

/// The machine's boot, from the kernel; empty where there is none, which never counts as the same boot.
pub fn boot_id() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let text = text.trim();
    if text.is_empty() { format!("unknown-{}", uuid::Uuid::now_v7()) } else { text.to_owned() }
}

/// Identity of a new incarnation.
pub fn new_identity(node_id: &str, is_strict: bool) -> Identity {
    Identity {
        node_id: node_id.to_owned(),
        incarnation: uuid::Uuid::now_v7().simple().to_string(),
        boot_id: boot_id(),
        is_strict,
    }
}

#[cfg(test)]
mod tests;
