//! Framing of server-sent events: where an event ends, and what its data is.
//!
//! Rule: each byte is looked at once for framing, wherever chunks are cut; line ends may be LF, CRLF or CR. It interprets
//! nothing and keeps nothing but two bits of state.

use std::borrow::Cow;

/// Finds the ends of events in a sequence of chunks.
#[derive(Debug, Clone)]
pub(crate) struct EventEnds {
    is_at_line_start: bool,
    /// The last chunk ended in a CR whose LF may be the first byte of the next.
    is_after_cr: bool,
}

impl EventEnds {
    pub(crate) fn new() -> Self {
        Self { is_at_line_start: true, is_after_cr: false }
    }

    /// Whether the first byte of this chunk is the second half of a line end that the chunk before began. To be asked
    /// once for each chunk, before [`Self::next`], which must then start behind it.
    pub(crate) fn takes_late_lf(&mut self, chunk: &[u8]) -> bool {
        let is_late = self.is_after_cr && chunk.first() == Some(&b'\n');
        self.is_after_cr &= chunk.is_empty();
        is_late
    }

    /// Returns the position behind the blank line that ends the event at `from`; `None` when the chunk ends first.
    pub(crate) fn next(&mut self, chunk: &[u8], from: usize) -> Option<usize> {
        let mut at = from;
        while let Some(found) = memchr::memchr2(b'\n', b'\r', chunk.get(at..)?) {
            let is_blank = found == 0 && self.is_at_line_start;
            let is_cr = chunk.get(at + found) == Some(&b'\r');
            self.is_at_line_start = true;
            at += found + 1;
            if is_cr {
                match chunk.get(at) {
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                    None => self.is_after_cr = true,
                }
            }
            if is_blank {
                return Some(at);
            }
        }
        self.is_at_line_start &= at >= chunk.len();
        None
    }
}

/// The fields of one event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    /// The value of `event:`.
    pub(crate) name: &'a [u8],
    /// The values of `data:`, joined by LF.
    pub(crate) data: Cow<'a, [u8]>,
}

/// Reads one event, whole or cut off.
pub(crate) fn parse(event: &[u8]) -> Event<'_> {
    let mut parsed = Event::default();
    let mut has_data = false;
    let mut rest = event;
    while !rest.is_empty() {
        let line_end = memchr::memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
        let (line, after) = rest.split_at(line_end);
        rest = after.get(1..).unwrap_or_default();
        let (name, value) = match memchr::memchr(b':', line) {
            Some(colon) => {
                let (name, value) = line.split_at(colon);
                let value = value.get(1..).unwrap_or_default();
                (name, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &[][..]),
        };
        match name {
            b"event" => parsed.name = value,
            b"data" if has_data => {
                let data = parsed.data.to_mut();
                data.push(b'\n');
                data.extend_from_slice(value);
            }
            b"data" => {
                has_data = true;
                parsed.data = Cow::Borrowed(value);
            }
            _ => {}
        }
    }
    parsed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_read_as_the_standard_says() {
        for (event, name, data) in [
            ("data: a\n\n", "", "a"),
            ("data:a\ndata:  b\n\n", "", "a\n b"),
            ("event: x\r\ndata: 1\r\n\r\n", "x", "1"),
            (": comment\rid: 7\rdata\rdata: z\r\r", "", "\nz"),
            ("data: {\"a\":\"b: c\"}", "", "{\"a\":\"b: c\"}"),
            ("retry: 5\n\n", "", ""),
        ] {
            let parsed = parse(event.as_bytes());
            assert_eq!((parsed.name, &*parsed.data), (name.as_bytes(), data.as_bytes()), "{event:?}");
        }
    }

    /// The ends found when the stream comes in these chunks, as positions in the whole.
    fn ends(stream: &[u8], cuts: &[usize]) -> Vec<usize> {
        let mut found = Vec::new();
        let mut framing = EventEnds::new();
        let mut base = 0;
        for chunk in chunks(stream, cuts) {
            let mut at = 0;
            if framing.takes_late_lf(chunk) {
                at = 1;
                // The late LF belongs to the event that ended with the CR before it.
                if found.last() == Some(&base) {
                    found.pop();
                    found.push(base + 1);
                }
            }
            while let Some(end) = framing.next(chunk, at) {
                found.push(base + end);
                at = end;
            }
            base += chunk.len();
        }
        found
    }

    fn chunks<'a>(stream: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
    }

    proptest! {
        #[test]
        fn ends_do_not_depend_on_chunks(stream in "[a\r\n]{0,24}", cuts in prop::collection::vec(any::<usize>(), 0..6)) {
            let stream = stream.as_bytes();
            prop_assert_eq!(ends(stream, &cuts), ends(stream, &[]));
            let bytewise: Vec<usize> = (0..stream.len()).collect();
            prop_assert_eq!(ends(stream, &bytewise), ends(stream, &[]));
        }
    }
}
