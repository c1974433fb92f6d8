//! The pipeline trace of a request, encoded line by line as it comes.
//!
//! Rule: the bytes are field 19 (`stages`) of `helix.plane.v1.UsageRecord`, so a record's encoding followed by them is the
//! record with its trace (protobuf: fields may come in any order). Each request writes eight lines; as strings of their own
//! they were a fifth of its allocations. Source: <https://protobuf.dev/programming-guides/encoding>.

use std::fmt::{self, Display, Write};

/// Key of `UsageRecord.stages`: field 19, length-delimited.
const STAGES: [u8; 2] = [0x9a, 0x01];
/// Keys of `Stage`: name, verdict and reason are length-delimited, the time is a varint.
const NAME: u8 = 0x0a;
const VERDICT: u8 = 0x12;
const REASON: u8 = 0x1a;
const DURATION_US: u8 = 0x20;
/// The longest reason that is kept, in bytes.
const MOST_REASON_BYTES: usize = 1024;

/// The lines so far.
#[derive(Debug, Default)]
pub struct Trace {
    bytes: Vec<u8>,
}

impl Trace {
    /// An empty trace with room for the lines of an ordinary request.
    pub fn new() -> Self {
        Self { bytes: Vec::with_capacity(512) }
    }

    /// Adds a line. A reason longer than a kilobyte is cut.
    pub fn push(&mut self, name: &str, verdict: &str, reason: impl Display, duration_us: u64) {
        self.bytes.extend_from_slice(&STAGES);
        let line = self.open();
        put_text(&mut self.bytes, NAME, name.as_bytes());
        put_text(&mut self.bytes, VERDICT, verdict.as_bytes());
        self.bytes.push(REASON);
        let text = self.open();
        let end = self.bytes.len() + MOST_REASON_BYTES;
        if write!(Limited { bytes: &mut self.bytes, end }, "{reason}").is_err() {
            tracing::trace!(name, "the reason of a stage was cut");
        }
        self.close(text);
        self.bytes.push(DURATION_US);
        put_varint(&mut self.bytes, duration_us);
        self.close(line);
    }

    /// The encoding, to be appended to that of the record.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Keeps two bytes for a length; lines are short, and a varint may be written longer than it must be.
    fn open(&mut self) -> usize {
        self.bytes.extend_from_slice(&[0x80, 0]);
        self.bytes.len()
    }

    fn close(&mut self, start: usize) {
        let length = self.bytes.len() - start;
        let (low, high) = (length & 0x7f, length >> 7);
        if let (Some(place), Ok(low), Ok(high)) =
            (self.bytes.get_mut(start - 2..start), u8::try_from(low), u8::try_from(high))
        {
            place.copy_from_slice(&[0x80 | low, high]);
        }
    }
}

/// Takes text as long as there is room, cut at a character.
struct Limited<'a> {
    bytes: &'a mut Vec<u8>,
    end: usize,
}

impl Write for Limited<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.end.saturating_sub(self.bytes.len());
        if text.len() <= room {
            self.bytes.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        let cut = text.floor_char_boundary(room);
        self.bytes.extend_from_slice(text.as_bytes().get(..cut).unwrap_or_default());
        self.end = self.bytes.len();
        Err(fmt::Error)
    }
}

fn put_text(bytes: &mut Vec<u8>, key: u8, text: &[u8]) {
    // Names and verdicts are ours and short; the sum must fit the two bytes of the line's length.
    let text = text.get(..text.len().min(255)).unwrap_or_default();
    bytes.push(key);
    put_varint(bytes, u64::try_from(text.len()).unwrap_or(0));
    bytes.extend_from_slice(text);
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(0x80 | u8::try_from(value & 0x7f).unwrap_or(0));
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;
    use helix_proto::v1::{Stage, UsageRecord};
    use proptest::prelude::*;
    use prost::Message;

    fn decoded(record: &UsageRecord, trace: &Trace) -> UsageRecord {
        let mut bytes = record.encode_to_vec();
        bytes.extend_from_slice(trace.as_bytes());
        UsageRecord::decode(bytes.as_slice()).unwrap()
    }

    #[test]
    fn a_record_followed_by_its_trace_is_the_record_with_its_trace() {
        let mut trace = Trace::new();
        trace.push("auth", "ok", format_args!("key {}", "key_1"), 12);
        trace.push("audit", "recorded", "", 0);
        let record = UsageRecord { request_id: "r".to_owned(), seq: 7, ..UsageRecord::default() };
        let stage = |name: &str, verdict: &str, reason: &str, duration_us| Stage {
            name: name.to_owned(),
            verdict: verdict.to_owned(),
            reason: reason.to_owned(),
            duration_us,
        };
        let stages = vec![stage("auth", "ok", "key key_1", 12), stage("audit", "recorded", "", 0)];
        assert_eq!(decoded(&record, &trace), UsageRecord { stages, ..record });
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let mut trace = Trace::new();
        trace.push("model", "error", "ä".repeat(5_000), u64::MAX);
        let stage = &decoded(&UsageRecord::default(), &trace).stages[0];
        assert_eq!((stage.reason.len(), stage.duration_us), (MOST_REASON_BYTES, u64::MAX));
    }

    proptest! {
        #[test]
        fn every_line_is_read_as_it_was_written(reason in ".{0,300}", duration_us in any::<u64>(), name in "[a-z]{0,200}") {
            let mut trace = Trace::new();
            trace.push(&name, "v", &reason, duration_us);
            trace.push("next", "ok", 1, 2);
            let record = decoded(&UsageRecord::default(), &trace);
            let expected = (name.as_str(), "v", reason.as_str(), duration_us);
            let first = &record.stages[0];
            prop_assert_eq!((&*first.name, &*first.verdict, &*first.reason, first.duration_us), expected);
            prop_assert_eq!((record.stages.len(), &*record.stages[1].reason), (2, "1"));
        }
    }
}
