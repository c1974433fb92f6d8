//! What is fuzzed of the journal: a segment that holds any bytes is read as it is after a process died.
//!
//! Rule: whatever stands in a segment, reading it ends, finds its whole entries, and never takes the process down.

use super::entry::{self, Kind, Read};
use super::files::segment_path;
use super::recover::{Scan, scan_segment};
use super::segment_scan::SegmentScan;
use helix_shared::time::UnixMicros;
use std::path::Path;

/// Reads a segment with this content in `folder`, which is left empty. The first byte says whether the content is taken as
/// it is or put into entries whose checksums are right.
///
/// # Errors
/// When the file cannot be written or read.
pub fn journal(folder: &Path, data: &[u8]) -> std::io::Result<()> {
    let (mode, content) = data.split_first().map_or((0, data), |(mode, content)| (*mode, content));
    let content = if mode & 1 == 0 { content.to_vec() } else { entries(content) };
    let path = segment_path(folder, 1);
    std::fs::write(&path, &content)?;

    let mut scan = SegmentScan::open(&path)?;
    let mut whole = 0;
    while let Read::Entry(entry, bytes) = scan.next_entry()? {
        assert!(entry.payload.len() + entry::HEADER_BYTES == bytes);
        whole += bytes;
    }
    assert_eq!(scan.whole_bytes(), u64::try_from(whole).unwrap_or(u64::MAX));
    assert!(whole <= content.len());

    let mut found = Scan::default();
    scan_segment(folder, 1, mode & 2 != 0, &mut found)?;
    for file in std::fs::read_dir(folder)? {
        std::fs::remove_file(file?.path())?;
    }
    Ok(())
}

/// Entries of a kind, a number and a payload, as the content says.
fn entries(mut content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(([kind, number, length], rest)) = content.split_first_chunk::<3>() {
        let kind = match kind % 4 {
            0 => Kind::Header,
            1 => Kind::Intent,
            2 => Kind::Outcome,
            _ => Kind::Attempt,
        };
        let number = if *number == u8::MAX { u64::MAX } else { u64::from(*number) };
        let (payload, after) = rest.split_at(usize::from(*length).min(rest.len()));
        entry::append(&mut out, kind, number, UnixMicros::new(7), |buffer| buffer.extend_from_slice(payload));
        content = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_seed_of_journals_is_read() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/journal");
        let scratch = tempfile::tempdir().unwrap();
        let mut read = 0;
        for seed in std::fs::read_dir(&seeds).unwrap() {
            let seed = seed.unwrap().path();
            journal(scratch.path(), &std::fs::read(&seed).unwrap())
                .unwrap_or_else(|error| panic!("{}: {error}", seed.display()));
            read += 1;
        }
        assert!(read > 0, "no seeds in {}", seeds.display());
    }

    #[test]
    fn a_journal_whose_numbers_are_at_their_end_is_read() {
        let scratch = tempfile::tempdir().unwrap();
        for kind in 0..4 {
            journal(scratch.path(), &[1, kind, u8::MAX, 0]).unwrap();
        }
    }
}
