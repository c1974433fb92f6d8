//! The journal: append-only segments of intents and outcomes, kept until the control plane has them.
//!
//! Rule: an admitted request always has room for its outcome; when room runs out, new requests are refused and nothing is
//! dropped. One short lock orders the numbers and the bytes; it is never held across an await. `write(2)` survives the
//! death of the process; power loss is covered by strict mode, which waits for the disk.

use super::entry::{self, Kind};
use super::files::{keep_quarantined, lock_folder, new_segment, segment_path};
pub use super::journal_error::JournalError;
use crate::settings::JournalSettings;
use helix_proto::v1;
use helix_shared::time::Clock;
use prost::Message;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{Notify, watch};

/// Marks the folder of a journal that nobody needs any more.
pub(super) const SHIPPED: &str = "shipped";
/// Stands beside the segments until a record could not be written to them: to take a file away needs no room on a full disk.
pub(super) const INTACT: &str = "intact";
/// Space kept free for the outcome of each request in flight.
const OUTCOME_ROOM: u64 = 4096;

/// Who writes: kept in the head of each segment.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// The node, across restarts.
    pub node_id: String,
    /// This process start.
    pub incarnation: String,
    /// The machine's boot: a journal of the same boot is whole without fsync.
    pub boot_id: String,
    /// Whether every intent was awaited on disk.
    pub is_strict: bool,
}

/// Where numbers stood when a segment was begun.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct SegmentHead {
    pub(super) identity: Identity,
    pub(super) next_seq: u64,
    pub(super) next_intent: u64,
    /// Whether the file [`INTACT`] stands beside the segments for as long as they hold every record.
    #[serde(default)]
    pub(super) has_intact: bool,
}

/// Proof that an intent is in the journal, and the claim on room for its outcome.
#[derive(Debug)]
pub struct IntentToken {
    segment: u64,
    /// Its number, 1..m per incarnation.
    pub intent: u64,
    position: u64,
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    folder: PathBuf,
    identity: Identity,
    settings: JournalSettings,
    clock: Arc<dyn Clock>,
    writer: Mutex<Writer>,
    /// Bytes appended, over all segments.
    appended: AtomicU64,
    synced: watch::Sender<u64>,
    /// Somebody waits for the disk.
    sync_wanted: Notify,
    /// Held for as long as the journal is open: another process must not think us dead.
    _lock: File,
}

#[derive(Debug)]
struct Writer {
    file: Arc<File>,
    segment: u64,
    offset: u64,
    capacity: u64,
    buffer: Vec<u8>,
    next_seq: u64,
    next_intent: u64,
    open_intents: u64,
    segments: BTreeMap<u64, Segment>,
    acknowledged: u64,
    has_failed: bool,
    /// Records whose bytes the disk refused: shipped from memory.
    unwritten: Vec<v1::UsageRecord>,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Segment {
    pub(super) bytes: u64,
    pub(super) open_intents: u64,
    pub(super) last_seq: u64,
}

/// Where reading may go on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Segment number.
    pub segment: u64,
    /// Bytes of it that are written.
    pub offset: u64,
}

/// State that a new or recovered journal starts from.
#[derive(Debug, Default)]
pub(super) struct Start {
    pub(super) next_seq: u64,
    pub(super) next_intent: u64,
    pub(super) acknowledged: u64,
    pub(super) segments: BTreeMap<u64, Segment>,
}

impl Journal {
    /// Begins a journal in its own folder under `root`.
    ///
    /// # Errors
    /// [`JournalError::Write`] when the folder cannot be made or written.
    pub fn create(
        root: &Path,
        identity: Identity,
        settings: JournalSettings,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, JournalError> {
        let folder = root.join(&identity.incarnation);
        std::fs::create_dir_all(&folder).map_err(|source| JournalError::Write { path: folder.clone(), source })?;
        let lock = lock_folder(&folder)?.ok_or_else(|| JournalError::Write {
            path: folder.clone(),
            source: io::Error::other("another process holds this journal"),
        })?;
        let intact = folder.join(INTACT);
        File::create(&intact).map_err(|source| JournalError::Write { path: intact, source })?;
        Self::start(folder, lock, identity, settings, clock, Start { next_seq: 1, next_intent: 1, ..Start::default() })
    }

    pub(super) fn start(
        folder: PathBuf,
        lock: File,
        identity: Identity,
        settings: JournalSettings,
        clock: Arc<dyn Clock>,
        start: Start,
    ) -> Result<Self, JournalError> {
        let segment = start.segments.last_key_value().map_or(1, |(last, _)| last + 1);
        let (file, capacity) = new_segment(&folder, segment, settings.segment_bytes)?;
        let mut writer = Writer {
            file,
            segment,
            offset: 0,
            capacity,
            buffer: Vec::with_capacity(4096),
            next_seq: start.next_seq,
            next_intent: start.next_intent,
            open_intents: 0,
            segments: start.segments,
            acknowledged: start.acknowledged,
            has_failed: false,
            unwritten: Vec::new(),
        };
        writer.segments.insert(segment, Segment { bytes: capacity, ..Segment::default() });
        let (synced, _) = watch::channel(0);
        let journal = Self {
            folder,
            identity,
            settings,
            clock,
            writer: Mutex::new(writer),
            appended: AtomicU64::new(0),
            synced,
            sync_wanted: Notify::new(),
            _lock: lock,
        };
        let mut writer = journal.lock();
        journal.write_head(&mut writer)?;
        drop(writer);
        Ok(journal)
    }

    /// Who writes here.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The folder of the segments.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes an intent, numbering it. After this (and [`Self::durable`] in strict mode) bytes may go upstream.
    ///
    /// # Errors
    /// [`JournalError`]: then nothing may go upstream.
    pub fn intent(&self, intent: &mut v1::Intent) -> Result<IntentToken, JournalError> {
        let at = self.clock.now();
        let mut writer = self.lock();
        if writer.has_failed {
            return Err(JournalError::Failed);
        }
        intent.intent = writer.next_intent;
        let need = OUTCOME_ROOM * (writer.open_intents + 1) + 1024;
        self.make_room(&mut writer, need)?;
        let number = writer.next_intent;
        self.append(&mut writer, Kind::Intent, number, at, |buffer| intent.encode_raw(buffer))?;
        writer.next_intent += 1;
        writer.open_intents += 1;
        let segment = writer.segment;
        if let Some(state) = writer.segments.get_mut(&segment) {
            state.open_intents += 1;
        }
        Ok(IntentToken { segment, intent: number, position: self.appended.load(Ordering::Acquire) })
    }

    /// Waits until an intent is on disk, in strict mode; returns at once in standard mode.
    ///
    /// # Errors
    /// [`JournalError::Failed`] when the disk could not be synced.
    pub async fn durable(&self, token: &IntentToken) -> Result<(), JournalError> {
        if !self.settings.is_strict {
            return Ok(());
        }
        let mut synced = self.synced.subscribe();
        self.sync_wanted.notify_one();
        let reached = synced.wait_for(|synced| *synced >= token.position).await.map(|reached| *reached);
        match reached {
            Ok(u64::MAX) | Err(_) => Err(JournalError::Failed),
            Ok(_) => Ok(()),
        }
    }

    /// Writes a request's record with its encoded trace, numbering it and closing its intents. An admitted request always has room; what the
    /// disk does not take is shipped from memory, and new requests are refused from then on.
    ///
    /// # Errors
    /// [`JournalError::Full`], only for a request without an intent: a refusal while there is no room. It has no number and
    /// no record.
    pub fn outcome(
        &self,
        tokens: &[IntentToken],
        mut record: v1::UsageRecord,
        trace: &[u8],
    ) -> Result<(), JournalError> {
        let at = self.clock.now();
        let mut writer = self.lock();
        // Room that is kept for admitted requests is not for refusals.
        let need = if tokens.is_empty() { OUTCOME_ROOM * (writer.open_intents + 1) } else { OUTCOME_ROOM };
        let room = self.make_room(&mut writer, need);
        if tokens.is_empty() && matches!(room, Err(JournalError::Full { .. })) {
            return room;
        }
        record.seq = writer.next_seq;
        writer.next_seq += 1;
        let seq = record.seq;
        let encode = |buffer: &mut Vec<u8>| {
            record.encode_raw(buffer);
            buffer.extend_from_slice(trace);
        };
        let written = room.and_then(|()| self.append(&mut writer, Kind::Outcome, seq, at, encode));
        for token in tokens {
            writer.open_intents = writer.open_intents.saturating_sub(1);
            if let Some(state) = writer.segments.get_mut(&token.segment) {
                state.open_intents = state.open_intents.saturating_sub(1);
            }
        }
        let segment = writer.segment;
        if let Some(state) = writer.segments.get_mut(&segment) {
            state.last_seq = seq;
        }
        if let Err(error) = written {
            tracing::error!(error = %crate::chain(&error), seq, "a record could not be written; it is kept in memory and requests are refused");
            writer.has_failed = true;
            self.is_no_longer_intact();
            if let Err(error) = record.merge(trace) {
                tracing::error!(%error, seq, "invariant broken: a trace is no part of a record");
            }
            writer.unwritten.push(record);
        }
        Ok(())
    }

    /// A number was given to a record that is not in the segments: whoever reads them after this process must know.
    fn is_no_longer_intact(&self) {
        match std::fs::remove_file(self.folder.join(INTACT)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::error!(%error, folder = %self.folder.display(), "the journal cannot be marked as incomplete");
            }
            _ => {}
        }
    }

    /// Writes how an attempt ended whose request goes on: should the process die, it is booked as this says and not at the
    /// worst case. Its intent stays open until the outcome.
    ///
    /// # Errors
    /// [`JournalError`]: then it counts as open.
    pub fn attempt(&self, attempt: &v1::Attempt) -> Result<(), JournalError> {
        let at = self.clock.now();
        let mut writer = self.lock();
        self.make_room(&mut writer, OUTCOME_ROOM)?;
        self.append(&mut writer, Kind::Attempt, attempt.intent, at, |buffer| attempt.encode_raw(buffer))
    }

    /// Whether new requests may be admitted at all.
    pub fn has_failed(&self) -> bool {
        self.lock().has_failed
    }

    /// Where reading may go on to.
    pub fn position(&self) -> Position {
        let writer = self.lock();
        Position { segment: writer.segment, offset: writer.offset }
    }

    /// The sequence number that the next record gets.
    pub fn next_seq(&self) -> u64 {
        self.lock().next_seq
    }

    /// Records that the disk refused, to be shipped from memory.
    pub fn unwritten(&self) -> Vec<v1::UsageRecord> {
        let writer = self.lock();
        writer.unwritten.iter().filter(|record| record.seq > writer.acknowledged).cloned().collect()
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.lock().segments.values().map(|segment| segment.bytes).sum()
    }

    /// Segments that are still needed, oldest first.
    pub fn first_segment(&self) -> u64 {
        self.lock().segments.first_key_value().map_or(1, |(first, _)| *first)
    }

    /// The control plane has everything up to `through_seq`: segments wholly below are deleted.
    pub fn acknowledge(&self, through_seq: u64) {
        let done = {
            let mut writer = self.lock();
            writer.acknowledged = writer.acknowledged.max(through_seq);
            let (current, acknowledged) = (writer.segment, writer.acknowledged);
            writer.unwritten.retain(|record| record.seq > acknowledged);
            let is_done = |number: u64, state: &Segment| {
                number != current && state.open_intents == 0 && state.last_seq <= acknowledged
            };
            // The oldest first and no gaps: an intent must not stay behind when the outcome that closes it goes.
            let done: Vec<u64> = writer
                .segments
                .iter()
                .take_while(|(number, state)| is_done(**number, state))
                .map(|(number, _)| *number)
                .collect();
            for number in &done {
                writer.segments.remove(number);
            }
            done
        };
        // Deleting takes the file system a while: not under the lock that requests need.
        for number in done {
            if let Err(error) = std::fs::remove_file(segment_path(&self.folder, number)) {
                tracing::warn!(%error, segment = number, "a shipped journal segment could not be deleted");
            }
        }
    }

    /// Deletes the folder. For a journal whose every record is acknowledged. Copies of damaged segments stay, beside it.
    pub fn discard(self) {
        if let Err(error) = keep_quarantined(&self.folder) {
            tracing::warn!(%error, folder = %self.folder.display(), "copies of damaged segments could not be kept; the journal stays");
            return;
        }
        // Renamed first: half a folder must never be read as a journal.
        let aside = self.folder.with_extension(SHIPPED);
        if let Err(error) = std::fs::rename(&self.folder, &aside).and_then(|()| std::fs::remove_dir_all(&aside)) {
            tracing::warn!(%error, folder = %self.folder.display(), "a shipped journal could not be deleted");
        }
    }

    /// The highest sequence number that the control plane has, with none missing below.
    pub fn acknowledged(&self) -> u64 {
        self.lock().acknowledged
    }

    /// Whether something was appended since the last sync.
    pub fn needs_sync(&self) -> bool {
        *self.synced.borrow() < self.appended.load(Ordering::Acquire)
    }

    /// Returns when the next sync is due: after the interval, or as soon as somebody waits for it. Who comes during a sync shares
    /// the next one.
    pub async fn sync_due(&self) {
        tokio::select! {
            () = self.sync_wanted.notified() => {}
            () = tokio::time::sleep(self.settings.sync_interval) => {}
        }
    }

    /// Forces what was appended to disk, if anything was. Blocks; call it off the request path.
    pub fn sync(&self) {
        let (file, appended) = {
            let writer = self.lock();
            (Arc::clone(&writer.file), self.appended.load(Ordering::Acquire))
        };
        if *self.synced.borrow() >= appended {
            return;
        }
        if let Err(error) = file.sync_data() {
            // After a failed sync the kernel may forget the pages: trying again would lie.
            tracing::error!(%error, "the journal could not be synced; requests are refused from now on");
            self.lock().has_failed = true;
            self.synced.send_replace(u64::MAX);
            return;
        }
        self.synced.send_if_modified(|synced| {
            let is_news = *synced < appended;
            *synced = (*synced).max(appended);
            is_news
        });
    }

    fn make_room(&self, writer: &mut Writer, need: u64) -> Result<(), JournalError> {
        if writer.offset + need <= writer.capacity {
            return Ok(());
        }
        let size = self.settings.segment_bytes.max(need.saturating_mul(2));
        let held: u64 = writer.segments.values().map(|segment| segment.bytes).sum();
        if held + size > self.settings.max_bytes.max(2 * self.settings.segment_bytes) {
            return Err(JournalError::Full { max_bytes: self.settings.max_bytes });
        }
        // The old segment must be on disk before the new one counts as progress in strict mode.
        if self.settings.is_strict
            && let Err(source) = writer.file.sync_data()
        {
            // As in `sync`: the kernel tells a failure once, and another try would seem to succeed.
            writer.has_failed = true;
            self.synced.send_replace(u64::MAX);
            return Err(JournalError::Write { path: segment_path(&self.folder, writer.segment), source });
        }
        let next = writer.segment + 1;
        let (file, capacity) = new_segment(&self.folder, next, size)?;
        if let Some(state) = writer.segments.get_mut(&writer.segment.clone()) {
            state.bytes = writer.offset;
        }
        let old_path = segment_path(&self.folder, writer.segment);
        if let Err(error) = writer.file.set_len(writer.offset) {
            tracing::warn!(%error, path = %old_path.display(), "a full journal segment could not be trimmed");
        }
        writer.file = file;
        writer.segment = next;
        writer.offset = 0;
        writer.capacity = capacity;
        writer.segments.insert(next, Segment { bytes: capacity, ..Segment::default() });
        self.write_head(writer)
    }

    fn write_head(&self, writer: &mut Writer) -> Result<(), JournalError> {
        let head = SegmentHead {
            identity: self.identity.clone(),
            next_seq: writer.next_seq,
            next_intent: writer.next_intent,
            has_intact: true,
        };
        let payload = serde_json::to_vec(&head).unwrap_or_default();
        let number = writer.segment;
        self.append(writer, Kind::Header, number, self.clock.now(), |buffer| buffer.extend_from_slice(&payload))
    }

    fn append(
        &self,
        writer: &mut Writer,
        kind: Kind,
        number: u64,
        at: helix_shared::time::UnixMicros,
        write_payload: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), JournalError> {
        writer.buffer.clear();
        entry::append(&mut writer.buffer, kind, number, at, write_payload);
        if let Err(source) = writer.file.write_all_at(&writer.buffer, writer.offset) {
            writer.has_failed = true;
            return Err(JournalError::Write { path: segment_path(&self.folder, writer.segment), source });
        }
        let length = u64::try_from(writer.buffer.len()).unwrap_or(0);
        writer.offset += length;
        self.appended.fetch_add(length, Ordering::AcqRel);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
