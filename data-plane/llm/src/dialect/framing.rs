//! Streams that are no server-sent events, made into them, so that one reader of streams serves every provider.
//!
//! Rule: what is framed is passed as it came; bytes may be cut anywhere, and memory is bounded.

use bytes::Bytes;

use super::{Dialect, bedrock};
use crate::aws_events::Broken;

/// The longest line that is read.
const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;

/// What makes events of a stream.
#[derive(Debug, Clone)]
pub(crate) enum Framing {
    /// Amazon's frames.
    Frames(bedrock::EventStream),
    /// Lines of JSON.
    Lines(Lines),
}

/// Lines, each a document.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines {
    /// The unfinished line.
    partial: Vec<u8>,
    is_broken: bool,
}

impl Framing {
    /// The framing of a dialect whose streams are no events.
    pub(crate) fn of(dialect: Dialect) -> Option<Self> {
        match dialect {
            Dialect::BedrockConverse => Some(Self::Frames(bedrock::EventStream::default())),
            Dialect::Ollama => Some(Self::Lines(Lines::default())),
            _ => None,
        }
    }

    /// Takes a chunk and returns the events that it completes. `Err` beside them: nothing more can be read.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> (Bytes, Result<(), Broken>) {
        match self {
            Self::Frames(frames) => frames.push(chunk),
            Self::Lines(lines) => lines.push(chunk),
        }
    }

    /// Returns the event that is whole but for its end; a second time nothing.
    pub(crate) fn finish(&mut self) -> Bytes {
        match self {
            Self::Frames(_) => Bytes::new(),
            Self::Lines(lines) => {
                let mut out = Vec::new();
                write_event(&std::mem::take(&mut lines.partial), &mut out);
                Bytes::from(out)
            }
        }
    }
}

impl Lines {
    fn push(&mut self, chunk: &[u8]) -> (Bytes, Result<(), Broken>) {
        let mut out = Vec::new();
        let mut rest = chunk;
        while !self.is_broken {
            let (line, after) = match memchr::memchr(b'\n', rest).and_then(|end| rest.split_at_checked(end)) {
                Some((line, after)) => (line, after.get(1..)),
                None => (rest, None),
            };
            if self.partial.len().saturating_add(line.len()) > MAX_LINE_BYTES {
                self.partial = Vec::new();
                self.is_broken = true;
                break;
            }
            self.partial.extend_from_slice(line);
            let Some(after) = after else { return (Bytes::from(out), Ok(())) };
            write_event(&self.partial, &mut out);
            self.partial.clear();
            rest = after;
        }
        (Bytes::from(out), Err(Broken))
    }
}

fn write_event(line: &[u8], out: &mut Vec<u8>) {
    let line = line.trim_ascii();
    if line.is_empty() {
        return;
    }
    out.extend_from_slice(b"data: ");
    // A carriage return in JSON is never inside a text: a space means the same.
    out.extend(line.iter().map(|byte| if *byte == b'\r' { b' ' } else { *byte }));
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o2_o3_lines_become_events_wherever_they_are_cut_and_the_last_needs_no_end() {
        let text = b"{\"a\":1}\r\n\n {\"b\":\"\xc3\xa9\"} \n{\"c\":3}";
        for cut in 0..text.len() {
            let mut framing = Framing::of(Dialect::Ollama).unwrap();
            let (first, second) = text.split_at(cut);
            let mut out = Vec::new();
            for chunk in [first, second] {
                let (events, read) = framing.push(chunk);
                assert!(read.is_ok());
                out.extend_from_slice(&events);
            }
            assert_eq!(out, b"data: {\"a\":1}\n\ndata: {\"b\":\"\xc3\xa9\"}\n\n", "cut at {cut}");
            assert_eq!(framing.finish(), "data: {\"c\":3}\n\n");
            assert_eq!(framing.finish(), "");
        }
    }

    #[test]
    fn a_line_without_an_end_is_given_up() {
        let mut framing = Framing::of(Dialect::Ollama).unwrap();
        let chunk = vec![b'x'; 1 << 20];
        let broken = (0..6).position(|_| framing.push(&chunk).1.is_err());
        assert_eq!(broken, Some(4));
        assert!(framing.push(b"\n{}\n").0.is_empty());
    }
}
