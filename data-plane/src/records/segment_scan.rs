//! Reads the entries of one segment in order, a piece of the file at a time.
//!
//! Rule: a preallocated segment is mostly unused space; what is not written is neither read nor held in memory.

use super::entry::{self, MOST_BYTES, Read};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

const PIECE_BYTES: usize = 64 << 10;

/// The entries of a segment, from its start.
#[derive(Debug)]
pub struct SegmentScan {
    file: File,
    buffer: Vec<u8>,
    /// Where in the file the buffer's first byte stands.
    buffer_at: u64,
    /// Where in the buffer the next entry begins.
    next: usize,
    is_at_end: bool,
}

impl SegmentScan {
    /// Opens a segment.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> std::io::Result<Self> {
        Ok(Self { file: File::open(path)?, buffer: Vec::new(), buffer_at: 0, next: 0, is_at_end: false })
    }

    /// Returns what stands next and goes past it when it is an entry. Anything else is the last of this segment.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next_entry(&mut self) -> std::io::Result<Read<'_>> {
        // An entry that does not end in the buffer may go on in the file. Where none is whole after the longest, there is none.
        while !self.is_at_end && self.is_cut_off() {
            self.read_piece()?;
        }
        let rest = self.buffer.get(self.next..).unwrap_or_default();
        let read = entry::read(rest);
        if let Read::Entry(_, length) = read {
            self.next += length;
        }
        Ok(read)
    }

    /// Bytes of the file before the next entry: what is whole, and has been returned.
    pub fn whole_bytes(&self) -> u64 {
        self.buffer_at + u64::try_from(self.next).unwrap_or(0)
    }

    /// Whether what stands next is the beginning of an entry that was never written to its end, and the last thing in the
    /// file. Ask after something else than an entry was returned. A write that was cut leaves its end and all behind it
    /// unused; anything readable there means that a whole entry was damaged.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn is_torn(&self) -> std::io::Result<bool> {
        let start = self.whole_bytes();
        let claimed = entry::claimed_bytes(self.buffer.get(self.next..).unwrap_or_default());
        let mut at = start + u64::try_from(claimed).unwrap_or(0) - 1;
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let got = self.file.read_at(&mut piece, at)?;
            if piece.get(..got).unwrap_or_default().iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            if got == 0 {
                break;
            }
            at += u64::try_from(got).unwrap_or(0);
        }
        // A damaged length may claim what stands behind it.
        let mut within = vec![0; claimed];
        let got = self.file.read_at(&mut within, start)?;
        within.truncate(got);
        let is_entry = |at: usize| matches!(entry::read(within.get(at..).unwrap_or_default()), Read::Entry(..));
        Ok(!(1..got).any(is_entry))
    }

    /// Size of the file.
    ///
    /// # Errors
    /// When the file system does not say.
    pub fn file_bytes(&self) -> std::io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn is_cut_off(&self) -> bool {
        let rest = self.buffer.get(self.next..).unwrap_or_default();
        rest.len() < entry::HEADER_BYTES || (rest.len() < MOST_BYTES && matches!(entry::read(rest), Read::Partial))
    }

    fn read_piece(&mut self) -> std::io::Result<()> {
        self.buffer.drain(..self.next);
        self.buffer_at += u64::try_from(self.next).unwrap_or(0);
        self.next = 0;
        let held = self.buffer.len();
        self.buffer.resize(held + PIECE_BYTES, 0);
        let at = self.buffer_at + u64::try_from(held).unwrap_or(0);
        let got = self.file.read_at(self.buffer.get_mut(held..).unwrap_or_default(), at)?;
        self.buffer.truncate(held + got);
        self.is_at_end = got == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::entry::Kind;
    use super::*;
    use helix_shared::time::UnixMicros;

    /// Payloads of which some end exactly at a piece, some are longer than one, and one is the longest there is.
    fn sizes() -> Vec<usize> {
        let longest = MOST_BYTES - entry::HEADER_BYTES;
        let mut sizes =
            vec![0, 1, PIECE_BYTES - 2 * entry::HEADER_BYTES - 1, PIECE_BYTES, 3 * PIECE_BYTES + 7, longest];
        sizes.extend((0..3_000).map(|number| number % 97));
        sizes
    }

    fn written() -> (Vec<u8>, usize) {
        let mut bytes = Vec::new();
        for (number, size) in (1..).zip(sizes()) {
            entry::append(&mut bytes, Kind::Outcome, number, UnixMicros::new(7), |buffer| {
                buffer.resize(buffer.len() + size, 1);
            });
        }
        let whole = bytes.len();
        (bytes, whole)
    }

    fn scan(bytes: &[u8]) -> (SegmentScan, usize, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seg");
        std::fs::write(&path, bytes).unwrap();
        let mut scan = SegmentScan::open(&path).unwrap();
        for (seen, size) in sizes().into_iter().enumerate() {
            let number = u64::try_from(seen + 1).unwrap();
            match scan.next_entry().unwrap() {
                Read::Entry(entry, _) => assert_eq!((entry.number, entry.payload.len()), (number, size)),
                other => {
                    let other = format!("{other:?}");
                    return (scan, seen, other);
                }
            }
        }
        let last = format!("{:?}", scan.next_entry().unwrap());
        (scan, sizes().len(), last)
    }

    #[test]
    fn every_entry_is_found_wherever_a_piece_of_the_file_ends() {
        let (bytes, whole) = written();
        let (scan, seen, last) = scan(&bytes);
        assert_eq!((seen, last.as_str(), scan.whole_bytes()), (sizes().len(), "End", u64::try_from(whole).unwrap()));
    }

    #[test]
    fn the_unused_rest_of_a_preallocated_segment_is_not_read() {
        let (mut bytes, whole) = written();
        bytes.resize(whole + (8 << 20), 0);
        let (scan, seen, last) = scan(&bytes);
        assert_eq!((seen, last.as_str(), scan.whole_bytes()), (sizes().len(), "End", u64::try_from(whole).unwrap()));
        assert!(scan.buffer.capacity() <= 4 * MOST_BYTES, "{} bytes held", scan.buffer.capacity());
        assert_eq!(scan.file_bytes().unwrap(), u64::try_from(bytes.len()).unwrap());
    }

    #[test]
    fn a_torn_entry_ends_the_segment_where_it_begins() {
        let (bytes, whole) = written();
        let (scan, seen, last) = scan(&bytes[..whole - 1]);
        assert_eq!((seen, last.as_str()), (sizes().len() - 1, "Partial"));
        assert!(scan.whole_bytes() < u64::try_from(whole).unwrap());
    }

    #[test]
    fn a_damaged_entry_ends_the_segment_where_it_begins() {
        let (mut bytes, whole) = written();
        bytes[whole - 1] ^= 2;
        let (scan, seen, last) = scan(&bytes);
        assert_eq!((seen, last.as_str(), scan.is_torn().unwrap()), (sizes().len() - 1, "Damaged", false));
    }

    #[test]
    fn what_was_cut_while_it_was_written_is_told_from_what_was_damaged() {
        let mut bytes = Vec::new();
        entry::append(&mut bytes, Kind::Outcome, 1, UnixMicros::new(7), |buffer| buffer.extend_from_slice(&[1; 60]));
        let whole = bytes.len();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("seg");
        let is_torn = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            let mut scan = SegmentScan::open(&path).unwrap();
            assert!(!matches!(scan.next_entry().unwrap(), Read::Entry(..)));
            scan.is_torn().unwrap()
        };
        for cut in 1..whole {
            assert!(is_torn(&bytes[..cut]), "cut at {cut}");
            let mut preallocated = bytes[..cut].to_vec();
            preallocated.resize(whole + (1 << 20), 0);
            assert!(is_torn(&preallocated), "cut at {cut}, the rest unused");
        }
        for bit in 0..whole * 8 {
            let mut damaged = [bytes.as_slice(), bytes.as_slice()].concat();
            damaged[bit / 8] ^= 1 << (bit % 8);
            damaged.resize(damaged.len() + (1 << 20), 0);
            assert!(!is_torn(&damaged), "bit {bit} of what stands before another entry");
        }
    }
}
