//! The journal's on-disk form: length, checksum, kind, number, time, payload.
//!
//! Rule: an entry is either whole and checked or it is the end of the segment. A zero length is the unused rest of a
//! preallocated file.

use helix_shared::time::UnixMicros;

/// Bytes before the payload: len u32, crc u32, kind u8, version u8, flags u16, number u64, wall i64; little-endian.
pub const HEADER_BYTES: usize = 28;
const VERSION: u8 = 1;
/// No entry is larger; a longer length is damage.
pub const MOST_BYTES: usize = 1 << 20;

/// What an entry holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// First entry of a segment: who wrote it and where numbers stood.
    Header,
    /// An attempt is about to be sent.
    Intent,
    /// A request's record.
    Outcome,
    /// How an attempt ended whose request goes on with another one.
    Attempt,
}

impl Kind {
    fn to_byte(self) -> u8 {
        match self {
            Self::Header => 1,
            Self::Intent => 2,
            Self::Outcome => 3,
            Self::Attempt => 4,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Header, Self::Intent, Self::Outcome, Self::Attempt].into_iter().find(|kind| kind.to_byte() == byte)
    }
}

/// A checked entry, borrowed from the bytes read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it holds.
    pub kind: Kind,
    /// Sequence number of an outcome, number of an intent (also for its attempt), number of the segment in a header.
    pub number: u64,
    /// Wall clock at writing.
    pub at: UnixMicros,
    /// The message.
    pub payload: &'a [u8],
}

/// What stands at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read<'a> {
    /// A whole entry and how many bytes it took.
    Entry(Entry<'a>, usize),
    /// Nothing was written here.
    End,
    /// The bytes end inside of an entry.
    Partial,
    /// Something was written and is damaged.
    Damaged,
}

/// Appends an entry to `buffer`; `write_payload` appends the message.
pub fn append(buffer: &mut Vec<u8>, kind: Kind, number: u64, at: UnixMicros, write_payload: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 8]);
    buffer.push(kind.to_byte());
    buffer.push(VERSION);
    buffer.extend_from_slice(&[0; 2]);
    buffer.extend_from_slice(&number.to_le_bytes());
    buffer.extend_from_slice(&at.get().to_le_bytes());
    write_payload(buffer);
    let length = u32::try_from(buffer.len() - start).unwrap_or(u32::MAX);
    if let Some(head) = buffer.get_mut(start..start + 4) {
        head.copy_from_slice(&length.to_le_bytes());
    }
    let checksum = buffer.get(start + 8..).map_or(0, crc32c::crc32c);
    if let Some(head) = buffer.get_mut(start + 4..start + 8) {
        head.copy_from_slice(&checksum.to_le_bytes());
    }
}

/// Reads what stands at the start of `bytes`.
pub fn read(bytes: &[u8]) -> Read<'_> {
    let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else {
        return if bytes.iter().all(|byte| *byte == 0) { Read::End } else { Read::Partial };
    };
    let length = usize::try_from(u32::from_le_bytes([head[0], head[1], head[2], head[3]])).unwrap_or(usize::MAX);
    if length == 0 {
        return if head.iter().all(|byte| *byte == 0) { Read::End } else { Read::Damaged };
    }
    if !(HEADER_BYTES..=MOST_BYTES).contains(&length) {
        return Read::Damaged;
    }
    let Some(whole) = bytes.get(..length) else { return Read::Partial };
    let checksum = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
    let (Some(checked), Some(payload)) = (whole.get(8..), whole.get(HEADER_BYTES..)) else { return Read::Damaged };
    if crc32c::crc32c(checked) != checksum {
        return Read::Damaged;
    }
    let Some(kind) = Kind::from_byte(head[8]) else { return Read::Damaged };
    let mut number = [0; 8];
    number.copy_from_slice(&head[12..20]);
    let mut at = [0; 8];
    at.copy_from_slice(&head[20..28]);
    let (number, at) = (u64::from_le_bytes(number), UnixMicros::new(i64::from_le_bytes(at)));
    Read::Entry(Entry { kind, number, at, payload }, length)
}

/// How many bytes the entry at the start of `bytes` says that it takes; a head, when it says nothing that can be.
pub(super) fn claimed_bytes(bytes: &[u8]) -> usize {
    let claimed = bytes.first_chunk().map_or(0, |length| u32::from_le_bytes(*length));
    let claimed = usize::try_from(claimed).unwrap_or(usize::MAX);
    if (HEADER_BYTES..=MOST_BYTES).contains(&claimed) { claimed } else { HEADER_BYTES }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_entry_reads_back_and_any_changed_bit_is_found(
            payload in prop::collection::vec(any::<u8>(), 0..300), number in any::<u64>(), at in any::<i64>(), flip in any::<prop::sample::Index>()
        ) {
            let mut bytes = Vec::new();
            append(&mut bytes, Kind::Outcome, number, UnixMicros::new(at), |buffer| buffer.extend_from_slice(&payload));
            let expected = Entry { kind: Kind::Outcome, number, at: UnixMicros::new(at), payload: &payload };
            prop_assert_eq!(read(&bytes), Read::Entry(expected, bytes.len()));
            for cut in 0..bytes.len() {
                prop_assert!(!matches!(read(&bytes[..cut]), Read::Entry(..)));
            }
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!matches!(read(&bytes), Read::Entry(..)));
        }
    }

    #[test]
    fn unused_space_is_the_end() {
        assert_eq!(read(&[0; 64]), Read::End);
        assert_eq!(read(&[]), Read::End);
    }
}
