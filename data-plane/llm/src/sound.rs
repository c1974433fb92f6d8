//! How long a file of sound may play, from what its container says of itself.
//!
//! Rule: a file is never taken to be shorter than it says, nor shorter than its bytes at the thinnest rate of its kind; what
//! does not say it, or is of no kind that is known, has no bound. Nothing is decoded, and nothing is read twice.

use memchr::memmem;

/// So much of the front of a file says what it is.
pub(crate) const HEAD_BYTES: usize = 1_024;
/// A file that says only at its end how long it plays is held up to this size.
pub(crate) const WHOLE_BYTES: usize = 1 << 20;
/// 4 kbit/s: half of the thinnest speech that common encoders make.
const LEAST_BYTES_PER_SECOND: u64 = 500;
/// 8 kbit/s, the thinnest that a frame of MP3 can be.
const LEAST_MP3_BYTES_PER_SECOND: u64 = 1_000;
/// A block of WebM is at most this far from the beginning of its cluster.
const CLUSTER_MS: u64 = 32_768 + 1_000;

/// What bounds how long a file plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sound {
    /// Nothing of it was read.
    #[default]
    Unread,
    /// Each second takes so many bytes at least.
    BytesPerSecond(u64),
    /// It says that it plays so long, and takes its bytes at the thinnest rate besides.
    LastsMs(u64),
    /// Its end says it, or nothing does.
    Unbounded,
}

impl Sound {
    /// Reads the front of a file, or all of it where `is_whole`.
    pub fn read(file: &[u8], is_whole: bool) -> Self {
        if file.starts_with(b"RIFF") && file.get(8..12) == Some(b"WAVE") {
            return wav(file);
        }
        if file.starts_with(b"fLaC") {
            return flac(file);
        }
        if file.starts_with(b"OggS") {
            return if is_whole { ogg(file) } else { Self::Unbounded };
        }
        if file.starts_with(&[0x1a, 0x45, 0xdf, 0xa3]) {
            return webm(file, is_whole);
        }
        if file.get(4..8) == Some(b"ftyp") {
            return mp4(file);
        }
        mp3(file)
    }

    /// How long a file of so many bytes plays at most, in ms; `None`: nobody knows.
    pub fn longest_ms(self, bytes: u64) -> Option<u64> {
        let at = |rate: u64| bytes.saturating_mul(1_000).div_ceil(rate.max(1));
        match self {
            Self::BytesPerSecond(rate) => Some(at(rate)),
            Self::LastsMs(ms) => Some(ms.max(at(LEAST_BYTES_PER_SECOND))),
            Self::Unread | Self::Unbounded => None,
        }
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn be32(bytes: &[u8], at: usize) -> Option<u64> {
    number(bytes, at).map(u32::from_be_bytes).map(u64::from)
}

fn le32(bytes: &[u8], at: usize) -> Option<u64> {
    number(bytes, at).map(u32::from_le_bytes).map(u64::from)
}

fn ms(units: u64, per_second: u64) -> Sound {
    let ms = u128::from(units) * 1_000;
    match ms.div_ceil(u128::from(per_second.max(1))) {
        ms if units > 0 && per_second > 0 => Sound::LastsMs(u64::try_from(ms).unwrap_or(u64::MAX)),
        _ => Sound::Unbounded,
    }
}

/// The samples a second times the bytes of one, as every reader plays them; only of codecs that have no silence for free.
fn wav(file: &[u8]) -> Sound {
    const PLAIN: [u16; 5] = [1, 3, 6, 7, 0xfffe];
    let mut at = 12_usize;
    while let (Some(name), Some(size)) = (number::<4>(file, at), le32(file, at.saturating_add(4))) {
        if &name == b"fmt " {
            let tag = number(file, at + 8).map(u16::from_le_bytes);
            let rate = le32(file, at + 12);
            let align = number(file, at + 20).map(u16::from_le_bytes);
            let (Some(tag), Some(rate), Some(align)) = (tag, rate, align) else { return Sound::Unbounded };
            let bytes = rate.saturating_mul(u64::from(align));
            return if PLAIN.contains(&tag) && bytes > 0 { Sound::BytesPerSecond(bytes) } else { Sound::Unbounded };
        }
        let Some(next) = usize::try_from(size).ok().and_then(|size| at.checked_add(8)?.checked_add(size + size % 2))
        else {
            return Sound::Unbounded;
        };
        at = next;
    }
    Sound::Unbounded
}

/// The samples of its first block: silence is packed to nothing.
fn flac(file: &[u8]) -> Sound {
    let Some(packed) = number(file, 18).map(u64::from_be_bytes) else { return Sound::Unbounded };
    ms(packed & 0xf_ffff_ffff, packed >> 44)
}

/// The position of its last page; Opus always counts 48,000 a second, Vorbis its own rate.
fn ogg(file: &[u8]) -> Sound {
    let rate = match memmem::find(file, b"\x01vorbis") {
        Some(at) => le32(file, at + 12),
        None => memmem::find(file, b"OpusHead").map(|_| 48_000),
    };
    let pages = memmem::find_iter(file, b"OggS").filter_map(|at| number(file, at + 6).map(u64::from_le_bytes));
    // all ones: no packet ends on the page
    let last = pages.filter(|position| *position != u64::MAX).max();
    match (rate, last) {
        (Some(rate), Some(last)) => ms(last, rate),
        _ => Sound::Unbounded,
    }
}

/// The duration that its front says, or, of one that was recorded live, the beginning of its last cluster.
fn webm(file: &[u8], is_whole: bool) -> Sound {
    let front = file.get(..file.len().min(HEAD_BYTES)).unwrap_or_default();
    let scale = memmem::find(front, &[0x2a, 0xd7, 0xb1, 0x83])
        .and_then(|at| number::<3>(front, at + 4))
        .map(|[high, middle, low]| u64::from_be_bytes([0, 0, 0, 0, 0, high, middle, low]))
        .unwrap_or(1_000_000);
    let said = memmem::find(front, &[0x44, 0x89]).and_then(|at| match front.get(at + 2)? {
        0x88 => number(front, at + 3).map(f64::from_be_bytes),
        0x84 => number(front, at + 3).map(f32::from_be_bytes).map(f64::from),
        _ => None,
    });
    if let Some(said) = said.filter(|said| said.is_finite() && *said > 0.0 && *said < 1e15) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "finite, above 0 and below 1e15")]
        let units = said.ceil() as u64;
        return ms(units.saturating_mul(scale), 1_000_000_000);
    }
    if !is_whole {
        return Sound::Unbounded;
    }
    let clusters = memmem::find_iter(file, &[0x1f, 0x43, 0xb6, 0x75]).filter_map(|at| {
        let size = *file.get(at + 4)?;
        let at = at + 4 + usize::try_from(size.leading_zeros()).ok()? + 1;
        let length = usize::from(*file.get(at + 1)? & 0x7f);
        let value =
            (*file.get(at)? == 0xe7 && (1..=8).contains(&length)).then(|| file.get(at + 2..at + 2 + length))??;
        Some(value.iter().fold(0_u64, |sum, byte| sum.saturating_mul(256).saturating_add(u64::from(*byte))))
    });
    match clusters.max() {
        Some(last) => Sound::LastsMs((last.saturating_mul(scale) / 1_000_000).saturating_add(CLUSTER_MS)),
        None => Sound::Unbounded,
    }
}

/// The header of the whole, which stands in front or at the end.
fn mp4(file: &[u8]) -> Sound {
    let Some(at) = memmem::find(file, b"mvhd") else { return Sound::Unbounded };
    let (scale, units) = match file.get(at + 4) {
        Some(0) => (be32(file, at + 16), be32(file, at + 20)),
        Some(1) => (be32(file, at + 24), number(file, at + 28).map(u64::from_be_bytes)),
        _ => (None, None),
    };
    // a fragmented file has no length here
    let is_fragmented = memmem::find(file, b"mvex").is_some();
    match (scale, units) {
        (Some(scale), Some(units)) if !is_fragmented => ms(units, scale),
        _ => Sound::Unbounded,
    }
}

/// A frame of layer III says its rate; behind a tag that is longer than what was read nobody knows what comes.
fn mp3(file: &[u8]) -> Sound {
    let start = if file.starts_with(b"ID3") {
        let Some(size) = number::<4>(file, 6) else { return Sound::Unbounded };
        size.iter().fold(0_usize, |sum, byte| sum * 128 + usize::from(byte & 0x7f)) + 10
    } else {
        0
    };
    let Some([first, second, third]) = number::<3>(file, start) else { return Sound::Unbounded };
    let is_layer_3 = first == 0xff && second & 0xe0 == 0xe0 && second & 0x06 == 0x02;
    let rate = third >> 4;
    if is_layer_3 && (1..15).contains(&rate) {
        Sound::BytesPerSecond(LEAST_MP3_BYTES_PER_SECOND)
    } else {
        Sound::Unbounded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: &[u8], is_whole: bool, expected: Sound) {
        assert_eq!(Sound::read(file, is_whole), expected);
    }

    fn wav_of(tag: u16, rate: u32, align: u16) -> Vec<u8> {
        let mut file = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
        file.extend_from_slice(&tag.to_le_bytes());
        file.extend_from_slice(&1_u16.to_le_bytes());
        file.extend_from_slice(&rate.to_le_bytes());
        file.extend_from_slice(&0_u32.to_le_bytes());
        file.extend_from_slice(&align.to_le_bytes());
        file
    }

    #[test]
    fn a_wav_takes_what_its_samples_take_however_few_a_second() {
        check(&wav_of(1, 16_000, 2), false, Sound::BytesPerSecond(32_000));
        check(&wav_of(7, 8_000, 1), false, Sound::BytesPerSecond(8_000));
        // one sample a second: 32 KiB play for nine hours
        check(&wav_of(1, 1, 1), false, Sound::BytesPerSecond(1));
        assert_eq!(Sound::BytesPerSecond(1).longest_ms(32_768), Some(32_768_000));
        check(&wav_of(0x11, 16_000, 2), false, Sound::Unbounded);
        check(&wav_of(1, 0, 2), false, Sound::Unbounded);
        check(&wav_of(1, 16_000, 2)[..30], false, Sound::Unbounded);
    }

    #[test]
    fn silence_in_a_flac_lasts_as_long_as_it_says() {
        let mut file = b"fLaC\0\0\0\x22".to_vec();
        file.extend_from_slice(&[0x10, 0, 0x10, 0, 0, 0, 0, 0, 0, 0]);
        let samples = 36_000_u64 * 48_000;
        file.extend_from_slice(&((48_000_u64 << 44) | (15 << 36) | samples).to_be_bytes());
        check(&file, false, Sound::LastsMs(36_000_000));
        // ten hours in 200 kB, where 4 kbit/s would say seven minutes
        assert_eq!(Sound::LastsMs(36_000_000).longest_ms(200_000), Some(36_000_000));
        let at = file.len() - 8;
        file.truncate(at);
        file.extend_from_slice(&(48_000_u64 << 44).to_be_bytes());
        check(&file, true, Sound::Unbounded);
    }

    #[test]
    fn an_ogg_says_at_its_end_how_long_it_plays() {
        let page = |position: u64, data: &[u8]| {
            [b"OggS\0\0".as_slice(), position.to_le_bytes().as_slice(), &[0; 14], data].concat()
        };
        let opus = [page(0, b"OpusHead\x01\x01"), page(u64::MAX, b""), page(48_000 * 90, b"")].concat();
        check(&opus, true, Sound::LastsMs(90_000));
        check(&opus, false, Sound::Unbounded);
        let head = [b"\x01vorbis\0\0\0\0\x01".as_slice(), 22_050_u32.to_le_bytes().as_slice()].concat();
        check(&[page(0, &head), page(22_050, b"")].concat(), true, Sound::LastsMs(1_000));
        check(&page(5, b"speex"), true, Sound::Unbounded);
    }

    #[test]
    fn a_webm_says_it_in_front_or_by_its_clusters() {
        let front = [0x1a, 0x45, 0xdf, 0xa3, 0x2a, 0xd7, 0xb1, 0x83, 0x0f, 0x42, 0x40];
        let said = [front.as_slice(), &[0x44, 0x89, 0x88], &1_500_f64.to_be_bytes()].concat();
        check(&said, false, Sound::LastsMs(1_500));
        let live = [
            front.as_slice(),
            &[0x1f, 0x43, 0xb6, 0x75, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xe7, 0x81, 0],
            &[0x1f, 0x43, 0xb6, 0x75, 0x90, 0xe7, 0x82, 0x27, 0x10],
        ];
        check(&live.concat(), true, Sound::LastsMs(10_000 + CLUSTER_MS));
        check(&live.concat(), false, Sound::Unbounded);
    }

    #[test]
    fn an_mp4_says_it_where_its_header_stands_but_not_in_fragments() {
        let mut file = b"\0\0\0\x18ftypM4A \0\0\0\0mvhd\0\0\0\0".to_vec();
        file.extend_from_slice(&[0; 8]);
        file.extend_from_slice(&1_000_u32.to_be_bytes());
        file.extend_from_slice(&61_500_u32.to_be_bytes());
        check(&file, false, Sound::LastsMs(61_500));
        file.extend_from_slice(b"mvex");
        check(&file, true, Sound::Unbounded);
        check(b"\0\0\0\x18ftypM4A \0\0\0\0mdat", false, Sound::Unbounded);
    }

    #[test]
    fn an_mp3_has_eight_kbit_a_second_at_least_and_a_tag_hides_nothing() {
        let frame = [0xff, 0xf3, 0x14, 0xc4];
        check(&frame, false, Sound::BytesPerSecond(1_000));
        check(&[b"ID3\x04\0\0\0\0\0\x02xx".as_slice(), &frame].concat(), false, Sound::BytesPerSecond(1_000));
        check(&[b"ID3\x04\0\0\0\0\0\x02xx".as_slice(), b"fLaC"].concat(), true, Sound::Unbounded);
        check(b"ID3\x04\0\0\0\x7f\x7f\x7fxx", false, Sound::Unbounded);
        check(&[0xff, 0xf3, 0x04, 0xc4], false, Sound::Unbounded);
        check(b"", true, Sound::Unbounded);
        check(b"#!AMR\n", true, Sound::Unbounded);
    }

    #[test]
    fn no_bytes_make_the_reader_stumble() {
        let heads: [&[u8]; 6] =
            [b"RIFF\0\0\0\0WAVE", b"fLaC", b"OggS", &[0x1a, 0x45, 0xdf, 0xa3], b"\0\0\0\x18ftyp", b"ID3"];
        for head in heads {
            for length in 0..200 {
                for fill in [0, 1, 0x7f, 0x81, 0xff] {
                    let file = [head, &vec![fill; length]].concat();
                    for is_whole in [false, true] {
                        assert_ne!(Sound::read(&file, is_whole).longest_ms(u64::MAX), Some(0));
                    }
                }
            }
        }
    }
}
