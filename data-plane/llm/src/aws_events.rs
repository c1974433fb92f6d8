//! The frames of `application/vnd.amazon.eventstream`: where one ends, what it is called and what it carries.
//!
//! Rule: nothing is believed before its checksum; a frame that is broken, or larger than is kept, ends the reading for
//! good. Bytes may be cut anywhere. It keeps one unfinished frame and allocates for what came, never for what a length
//! announces.
//! Not here: what the events mean.

/// The largest frame that is read.
const MAX_FRAME_BYTES: usize = 4 * 1024 * 1024;
/// The largest headers that the format allows.
const MAX_HEADER_BYTES: usize = 128 * 1024;
const PRELUDE_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 4;
/// A buffer that one large frame left behind is given back above this size.
const KEPT_BUFFER_BYTES: usize = 16 * 1024;

/// A frame that cannot be believed; nothing behind it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

/// What a frame says, borrowed from it. Headers that are not text, or are not known, are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// `:message-type`: `event`, `exception` or `error`.
    pub(crate) message_type: &'a str,
    /// `:event-type`, `:exception-type` or `:error-code`.
    pub(crate) name: &'a str,
    /// `:error-message`.
    pub(crate) error_message: &'a str,
    pub(crate) payload: &'a [u8],
}

/// Finds the frames in a sequence of chunks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Frames {
    /// The unfinished frame.
    partial: Vec<u8>,
    is_broken: bool,
}

impl Frames {
    /// Takes a chunk and gives each frame that it completes to `read`.
    ///
    /// # Errors
    /// [`Broken`], for this chunk and every later one.
    pub(crate) fn push(&mut self, chunk: &[u8], mut read: impl FnMut(Frame<'_>)) -> Result<(), Broken> {
        let mut rest = chunk;
        while !rest.is_empty() && !self.is_broken {
            if self.partial.is_empty()
                && let Some((frame, after)) = self.split(rest)
            {
                self.give(frame, &mut read);
                rest = after;
                continue;
            }
            // The length first: only then is it known how much belongs to the frame.
            let wanted = match prelude(&self.partial) {
                None => PRELUDE_BYTES,
                Some(Ok((total, _))) => total,
                Some(Err(Broken)) => {
                    self.is_broken = true;
                    break;
                }
            };
            let (now, after) = rest.split_at(wanted.saturating_sub(self.partial.len()).min(rest.len()));
            self.partial.extend_from_slice(now);
            rest = after;
            let is_checked = match prelude(&self.partial) {
                Some(Err(Broken)) => {
                    self.is_broken = true;
                    break;
                }
                Some(Ok((total, _))) => self.partial.len() >= total,
                None => false,
            };
            if is_checked {
                let frame = std::mem::take(&mut self.partial);
                self.give(&frame, &mut read);
                if frame.capacity() <= KEPT_BUFFER_BYTES {
                    self.partial = frame;
                    self.partial.clear();
                }
            }
        }
        if self.is_broken { Err(Broken) } else { Ok(()) }
    }

    /// Splits a whole frame off, without a copy.
    fn split<'a>(&self, bytes: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let (total, _) = prelude(bytes)?.ok()?;
        bytes.split_at_checked(total)
    }

    fn give(&mut self, frame: &[u8], read: &mut impl FnMut(Frame<'_>)) {
        match parse(frame) {
            Some(frame) => read(frame),
            None => self.is_broken = true,
        }
    }
}

/// Reads the lengths of the frame and of its headers, checked; `None` while they have not all come.
fn prelude(bytes: &[u8]) -> Option<Result<(usize, usize), Broken>> {
    let prelude = bytes.get(..PRELUDE_BYTES)?;
    let total = number(prelude, 0)?;
    let headers = number(prelude, 4)?;
    let is_sound = u32_at(prelude, 8)? == crc32fast::hash(prelude.get(..8)?)
        && (PRELUDE_BYTES + CHECKSUM_BYTES..=MAX_FRAME_BYTES).contains(&total)
        && headers <= MAX_HEADER_BYTES.min(total - PRELUDE_BYTES - CHECKSUM_BYTES);
    Some(if is_sound { Ok((total, headers)) } else { Err(Broken) })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32_at(bytes, at)?).ok()
}

/// Reads a whole frame; `None` when it is not what it says.
fn parse(frame: &[u8]) -> Option<Frame<'_>> {
    let (_, header_bytes) = prelude(frame)?.ok()?;
    let (body, checksum) = frame.split_at_checked(frame.len().checked_sub(CHECKSUM_BYTES)?)?;
    if u32_at(checksum, 0)? != crc32fast::hash(body) {
        return None;
    }
    let (headers, payload) = body.get(PRELUDE_BYTES..)?.split_at_checked(header_bytes)?;
    let mut parsed = Frame { payload, ..Frame::default() };
    let mut rest = headers;
    while !rest.is_empty() {
        let (name, value, after) = header(rest)?;
        let text = value.and_then(|value| std::str::from_utf8(value).ok());
        match (name, text) {
            (b":message-type", Some(text)) => parsed.message_type = text,
            (b":event-type" | b":exception-type" | b":error-code", Some(text)) => parsed.name = text,
            (b":error-message", Some(text)) => parsed.error_message = text,
            _ => {}
        }
        rest = after;
    }
    Some(parsed)
}

/// A header: its name, its value if that is a text, and what follows.
type Header<'a> = (&'a [u8], Option<&'a [u8]>, &'a [u8]);

fn header(bytes: &[u8]) -> Option<Header<'_>> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let (kind, rest) = rest.split_first()?;
    let (size, rest) = match kind {
        0 | 1 => (0, rest),
        2 => (1, rest),
        3 => (2, rest),
        4 => (4, rest),
        5 | 8 => (8, rest),
        6 | 7 => {
            let (length, rest) = rest.split_at_checked(2)?;
            (usize::from(u16::from_be_bytes(length.try_into().ok()?)), rest)
        }
        9 => (16, rest),
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(size)?;
    Some((name, (*kind == 7).then_some(value), rest))
}

#[cfg(test)]
pub(crate) mod tests;
