//! Just enough HTTP/1.1 to count and to check, without a library in the way.
//!
//! Rule: a reader is fed any slices and never looks at a byte twice, so that the generator stays cheaper than whatever
//! it measures. It deliberately does not build header maps, decode bodies or support pipelining.

use memchr::memmem;

/// What can be wrong with a peer's HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// The first line or a length field makes no sense.
    Head,
    /// The chunked framing makes no sense.
    Chunk,
    /// More bytes came than the message has.
    Surplus,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Head => "the message head is not HTTP/1.1",
            Self::Chunk => "the chunked framing is broken",
            Self::Surplus => "bytes follow the end of the message",
        })
    }
}

impl std::error::Error for Malformed {}

/// The fields of a head that decide where its message ends.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Framing {
    pub(crate) length: Option<usize>,
    pub(crate) chunked: bool,
    pub(crate) close: bool,
    pub(crate) retry_after: bool,
}

/// Reads the header lines (without the first line) of one head.
pub(crate) fn framing(lines: &[u8]) -> Result<Framing, Malformed> {
    let mut found = Framing::default();
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => found.length = Some(decimal(value)?),
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                found.chunked = value.eq_ignore_ascii_case(b"chunked");
            }
            10 if name.eq_ignore_ascii_case(b"connection") => found.close = value.eq_ignore_ascii_case(b"close"),
            11 if name.eq_ignore_ascii_case(b"retry-after") => found.retry_after = true,
            _ => {}
        }
    }
    Ok(found)
}

fn decimal(text: &[u8]) -> Result<usize, Malformed> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(Malformed::Head)
}

/// Where a chunked body stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Step {
    #[default]
    Size,
    Extension,
    SizeEnd,
    Data,
    DataReturn,
    DataEnd,
    Trailer,
    Done,
}

/// An incremental reader of the chunked framing, trailers included.
#[derive(Debug, Default)]
pub(crate) struct Chunked {
    step: Step,
    remaining: usize,
    trailer_length: usize,
}

impl Chunked {
    /// Reports whether the last chunk and its trailers have been read.
    pub(crate) fn is_done(&self) -> bool {
        self.step == Step::Done
    }

    /// Takes bytes, hands payload to `payload`, and returns how many bytes belonged to the body.
    pub(crate) fn feed(&mut self, input: &[u8], mut payload: impl FnMut(&[u8])) -> Result<usize, Malformed> {
        let mut at = 0;
        while at < input.len() && self.step != Step::Done {
            if self.step == Step::Data {
                let take = self.remaining.min(input.len() - at);
                payload(&input[at..at + take]);
                at += take;
                self.remaining -= take;
                if self.remaining == 0 {
                    self.step = Step::DataReturn;
                }
                continue;
            }
            self.step = self.frame(input[at])?;
            at += 1;
        }
        Ok(at)
    }

    fn frame(&mut self, byte: u8) -> Result<Step, Malformed> {
        Ok(match (self.step, byte) {
            (Step::Size, b'\r') | (Step::Extension, b'\r') => Step::SizeEnd,
            (Step::Size, b';' | b' ') => Step::Extension,
            (Step::Size, _) => {
                let digit = char::from(byte).to_digit(16).ok_or(Malformed::Chunk)?;
                let digit = usize::try_from(digit).map_err(|_| Malformed::Chunk)?;
                self.remaining =
                    self.remaining.checked_mul(16).and_then(|size| size.checked_add(digit)).ok_or(Malformed::Chunk)?;
                Step::Size
            }
            (Step::Extension, _) => Step::Extension,
            (Step::SizeEnd, b'\n') if self.remaining == 0 => Step::Trailer,
            (Step::SizeEnd, b'\n') => Step::Data,
            (Step::DataReturn, b'\r') => Step::DataEnd,
            (Step::DataEnd, b'\n') => Step::Size,
            (Step::Trailer, b'\n') if self.trailer_length == 0 => Step::Done,
            (Step::Trailer, b'\n') => {
                self.trailer_length = 0;
                Step::Trailer
            }
            (Step::Trailer, b'\r') => Step::Trailer,
            (Step::Trailer, _) => {
                self.trailer_length += 1;
                Step::Trailer
            }
            _ => return Err(Malformed::Chunk),
        })
    }
}

/// Where a response stands.
#[derive(Debug)]
enum State {
    Head,
    Length(usize),
    Chunked(Chunked),
    UntilClose,
    Done,
}

/// Reads one response: its status, its size, and how many SSE events (blank lines) its body held.
#[derive(Debug)]
pub(crate) struct ResponseReader {
    state: State,
    head: Vec<u8>,
    tally: Tally,
}

/// What was read of one response so far.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) status: u16,
    pub(crate) retry_after: bool,
    pub(crate) close: bool,
    pub(crate) body_bytes: usize,
    pub(crate) events: u64,
    after_newline: bool,
}

impl Tally {
    fn take(&mut self, payload: &[u8]) {
        self.body_bytes += payload.len();
        let mut from = 0;
        for newline in memchr::memchr_iter(b'\n', payload) {
            // an event ends where a newline follows a newline directly
            if self.after_newline && newline == from {
                self.events += 1;
                self.after_newline = false;
            } else {
                self.after_newline = true;
            }
            from = newline + 1;
        }
        if from < payload.len() {
            self.after_newline = false;
        }
    }
}

impl ResponseReader {
    /// Starts before the first byte of a response.
    pub(crate) fn new() -> Self {
        Self { state: State::Head, head: Vec::new(), tally: Tally::default() }
    }

    /// Reports whether the whole response has been read.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Returns what was read so far.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// Takes the next bytes.
    pub(crate) fn feed(&mut self, input: &[u8]) -> Result<(), Malformed> {
        if !matches!(self.state, State::Head) {
            return self.body(input);
        }
        if self.head.is_empty()
            && let Some(end) = memmem::find(input, b"\r\n\r\n")
        {
            self.open(&input[..end])?;
            return self.body(&input[end + 4..]);
        }
        self.head.extend_from_slice(input);
        let Some(end) = memmem::find(&self.head, b"\r\n\r\n") else { return Ok(()) };
        let head = std::mem::take(&mut self.head);
        self.open(&head[..end])?;
        self.body(&head[end + 4..])
    }

    /// Says that the peer closed; that ends a body without a length, and breaks any other.
    pub(crate) fn end(&mut self) -> bool {
        if matches!(self.state, State::UntilClose) {
            self.state = State::Done;
        }
        self.is_done()
    }

    fn open(&mut self, head: &[u8]) -> Result<(), Malformed> {
        let line_end = memchr::memchr(b'\n', head).unwrap_or(head.len());
        let status = head.get(9..12).ok_or(Malformed::Head)?;
        self.tally.status = u16::try_from(decimal(status)?).map_err(|_| Malformed::Head)?;
        let framing = framing(&head[line_end..])?;
        self.tally.retry_after = framing.retry_after;
        self.tally.close = framing.close;
        self.state = match framing {
            Framing { chunked: true, .. } => State::Chunked(Chunked::default()),
            Framing { length: Some(0), .. } => State::Done,
            Framing { length: Some(length), .. } => State::Length(length),
            _ => State::UntilClose,
        };
        Ok(())
    }

    fn body(&mut self, input: &[u8]) -> Result<(), Malformed> {
        if input.is_empty() {
            return Ok(());
        }
        match &mut self.state {
            State::Length(remaining) => {
                *remaining = remaining.checked_sub(input.len()).ok_or(Malformed::Surplus)?;
                self.tally.take(input);
                if *remaining == 0 {
                    self.state = State::Done;
                }
            }
            State::Chunked(chunked) => {
                let tally = &mut self.tally;
                if chunked.feed(input, |payload| tally.take(payload))? < input.len() {
                    return Err(Malformed::Surplus);
                }
                if chunked.is_done() {
                    self.state = State::Done;
                }
            }
            State::UntilClose => self.tally.take(input),
            State::Head | State::Done => return Err(Malformed::Surplus),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        9\r\ndata: a\n\n\r\na;x=y\r\ndata: bb\n\n\r\n0\r\nx-helix-cost-usd: 0.1\r\n\r\n";

    fn read(bytes: &[u8], step: usize) -> Tally {
        let mut reader = ResponseReader::new();
        for part in bytes.chunks(step) {
            reader.feed(part).unwrap();
        }
        assert!(reader.is_done());
        reader.tally()
    }

    #[test]
    fn every_split_of_a_chunked_stream_reads_the_same() {
        for step in 1..=STREAM.len() {
            let tally = read(STREAM, step);
            assert_eq!((tally.status, tally.events, tally.body_bytes), (200, 2, 19), "step {step}");
        }
    }

    #[test]
    fn a_length_and_a_retry_after_are_seen() {
        let tally = read(b"HTTP/1.1 503 Busy\r\ncontent-length: 2\r\nRetry-After: 1\r\nconnection: close\r\n\r\nno", 7);
        assert_eq!((tally.status, tally.body_bytes, tally.retry_after, tally.close), (503, 2, true, true));
    }

    #[test]
    fn surplus_and_nonsense_are_refused() {
        let mut reader = ResponseReader::new();
        assert_eq!(reader.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nab"), Err(Malformed::Surplus));
        let mut reader = ResponseReader::new();
        assert_eq!(reader.feed(b"hello\r\n\r\n"), Err(Malformed::Head));
        assert_eq!(Chunked::default().feed(b"zz\r\n", |_| {}), Err(Malformed::Chunk));
    }
}
