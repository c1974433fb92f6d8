//! A stream of events on its way from the provider to the client: passed through, watched, and always ended properly.
//!
//! Rule: the client gets the provider's bytes, unchanged and in order. Two exceptions only: the usage event that it did
//! not ask for is left out whole, and a stream that breaks off gets one event that says so. Memory is bounded whatever
//! the provider sends.

pub(crate) mod rename;
mod tally;

use bytes::Bytes;
use helix_shared::error_code::ErrorCode;
use helix_shared::usage::TokenUsage;

use crate::dialect::framing::Framing;
use crate::dialect::{Dialect, Family};
use crate::error_body::ErrorBody;
use crate::response::{ProviderError, ResponseFacts, cut_short, observe};
use crate::sse::{EventEnds, parse};
use crate::usage::Quirks;
use tally::Tally;

/// The most bytes of one unfinished event that are held back while it may still be the usage event.
const MAX_HELD_BYTES: usize = 64 * 1024;
/// The largest event that is read; a larger one only passes through.
const MAX_READ_BYTES: usize = 256 * 1024;
/// The same where an event may hold a picture, or repeat all that was said.
const MAX_READ_LARGE_BYTES: usize = 16 * 1024 * 1024;
/// A buffer that one large event left behind is given back above this size.
const KEPT_BUFFER_BYTES: usize = 4 * 1024;
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// How the provider's side of a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndKind {
    /// The body ended as HTTP says it should.
    Eof,
    /// It broke off.
    Cut {
        /// Why.
        code: ErrorCode,
        /// The reason in words, for the client.
        message: &'static str,
    },
}

impl EndKind {
    /// It broke off, for a reason of which there is no more to say.
    pub fn cut(code: ErrorCode) -> Self {
        Self::Cut { code, message: cut_message(code) }
    }
}

/// What the provider's own last word was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StreamEnd {
    /// None came.
    #[default]
    Open,
    /// `[DONE]` or `message_stop`; where the dialect has no mark, the end of a body that was whole.
    Done,
    /// An error event.
    Error,
}

/// What a stream said about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamFacts {
    /// As for a whole answer. `usage` is the latest state of each counter.
    pub answer: ResponseFacts,
    /// Whether the usage is the provider's final word; otherwise output must be estimated from `answer.text`.
    pub is_usage_final: bool,
    /// The provider's last word.
    pub end: StreamEnd,
}

/// Passes one stream through.
#[derive(Debug, Clone)]
pub struct StreamFilter {
    dialect: Dialect,
    family: Family,
    /// For a dialect that is framed otherwise: what makes events of its frames.
    frames: Option<Framing>,
    is_hiding_usage: bool,
    ends: EventEnds,
    /// A copy of the unfinished event, while it is small enough to be read.
    partial: Vec<u8>,
    /// How many bytes of the unfinished event have come, copied or not.
    partial_bytes: usize,
    /// Whether the bytes of the unfinished event have been passed on.
    is_partial_sent: bool,
    was_last_hidden: bool,
    is_begun: bool,
    is_finished: bool,
    tally: Tally,
}

/// What was found in an event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Finding {
    /// The usage event that the client did not ask for.
    Hidden,
    /// Something whole.
    Readable,
    /// Nothing, or nothing that could be read: a comment, a broken or an oversized event.
    Unreadable,
}

impl StreamFilter {
    /// Makes a filter for a stream of this dialect. `hide_usage`: leave OpenAI's usage event out.
    pub fn new(dialect: Dialect, hide_usage: bool, quirks: Quirks) -> Self {
        let family = dialect.family();
        Self {
            dialect,
            family,
            frames: Framing::of(dialect),
            is_hiding_usage: hide_usage && family == Family::OpenAi,
            ends: EventEnds::new(),
            partial: Vec::new(),
            partial_bytes: 0,
            is_partial_sent: false,
            was_last_hidden: false,
            is_begun: false,
            is_finished: false,
            tally: Tally::new(dialect, quirks),
        }
    }

    /// Makes a meter behind somebody who makes events of frames already.
    pub(crate) fn behind_frames(dialect: Dialect, quirks: Quirks) -> Self {
        Self { frames: None, ..Self::new(dialect, false, quirks) }
    }

    /// Keeps the first of the text, to be counted if nobody else does.
    pub fn keep_text(&mut self) {
        self.tally.keep_text();
    }

    /// Gives the text that was kept, as it stood in JSON; empty: none.
    pub fn take_text(&mut self) -> Vec<u8> {
        self.tally.take_text()
    }

    /// Takes a chunk from the provider and gives what can be passed on to `out`, in order. Slices of the chunk are given
    /// without a copy; only an event that was cut between chunks may be copied, and held back until it is complete.
    pub fn push(&mut self, chunk: Bytes, out: &mut impl FnMut(Bytes)) {
        if let Some(frames) = &mut self.frames {
            // A broken frame says nothing more: the stream is cut there.
            let (events, _) = frames.push(&chunk);
            self.watch(&events);
            out(chunk);
            return;
        }
        if !self.is_hiding_usage {
            self.watch(&chunk);
            out(chunk);
            return;
        }
        // `run` is where the bytes begin that are to go out, `start` where the current event begins.
        let (mut run, mut start, mut at) = (0, 0, 0);
        if self.ends.takes_late_lf(&chunk) {
            at = 1;
            if self.partial_bytes == 0 {
                start = 1;
                run = usize::from(self.was_last_hidden);
            }
        }
        while let Some(end) = self.ends.next(&chunk, at) {
            let last = chunk.get(start..end).unwrap_or_default();
            self.release_if_too_large(last.len(), out);
            let held = if self.is_partial_sent { 0 } else { self.partial.len() };
            let is_hidden = self.complete(last) == Finding::Hidden && !self.is_partial_sent;
            if is_hidden {
                emit(&chunk, run, start, out);
                run = end;
            } else if held > 0 {
                out(Bytes::copy_from_slice(self.partial.get(..held).unwrap_or_default()));
            }
            self.was_last_hidden = is_hidden;
            self.forget_partial();
            (start, at) = (end, end);
        }
        let tail = chunk.get(start..).unwrap_or_default();
        self.release_if_too_large(tail.len(), out);
        emit(&chunk, run, if self.is_partial_sent { chunk.len() } else { start }, out);
        self.keep(tail);
    }

    /// Passes on what is held, when the event becomes too large to be the usage event.
    fn release_if_too_large(&mut self, more_bytes: usize, out: &mut impl FnMut(Bytes)) {
        if self.is_partial_sent || self.partial.len().saturating_add(more_bytes) <= MAX_HELD_BYTES {
            return;
        }
        if !self.partial.is_empty() {
            out(Bytes::copy_from_slice(&self.partial));
        }
        self.is_partial_sent = true;
    }

    /// Reads along, where nothing is held back.
    fn watch(&mut self, chunk: &[u8]) {
        let (mut start, mut at) = (0, 0);
        if self.ends.takes_late_lf(chunk) {
            at = 1;
            start = usize::from(self.partial_bytes == 0);
        }
        while let Some(end) = self.ends.next(chunk, at) {
            self.complete(chunk.get(start..end).unwrap_or_default());
            self.forget_partial();
            (start, at) = (end, end);
        }
        self.keep(chunk.get(start..).unwrap_or_default());
        self.is_partial_sent = true;
    }

    /// Reads the event that these last bytes complete. Leaves the copy of its earlier bytes in place.
    fn complete(&mut self, last: &[u8]) -> Finding {
        if self.partial_bytes == 0 {
            return self.read(last);
        }
        self.keep(last);
        let event = std::mem::take(&mut self.partial);
        let finding = self.read(&event);
        self.partial = event;
        finding
    }

    /// Adds bytes to the copy of the unfinished event, or gives the copy up when it grows too large.
    fn keep(&mut self, bytes: &[u8]) {
        let was_whole = self.partial.len() == self.partial_bytes;
        self.partial_bytes = self.partial_bytes.saturating_add(bytes.len());
        if was_whole && self.partial_bytes <= self.most_read_bytes() {
            self.partial.extend_from_slice(bytes);
        } else if was_whole {
            self.partial = Vec::new();
        }
    }

    fn most_read_bytes(&self) -> usize {
        if self.dialect.has_large_events() { MAX_READ_LARGE_BYTES } else { MAX_READ_BYTES }
    }

    fn forget_partial(&mut self) {
        self.partial.clear();
        if self.partial.capacity() > KEPT_BUFFER_BYTES {
            self.partial = Vec::new();
        }
        self.partial_bytes = 0;
        self.is_partial_sent = false;
    }

    fn read(&mut self, event: &[u8]) -> Finding {
        let size = event.len().max(self.partial_bytes);
        if size > self.most_read_bytes() {
            self.tally.note_unread(size);
            return Finding::Unreadable;
        }
        let event = if self.is_begun { event } else { event.strip_prefix(BYTE_ORDER_MARK).unwrap_or(event) };
        self.is_begun = true;
        let event = parse(event);
        let data = event.data.trim_ascii();
        if data.is_empty() {
            return Finding::Unreadable;
        }
        if self.family == Family::OpenAi && data == b"[DONE]" {
            self.tally.note_end(StreamEnd::Done);
            return Finding::Readable;
        }
        if self.tally.is_introduced() && !self.is_finished && event.name != b"error" && self.tally.glance(data) {
            return Finding::Readable;
        }
        let Ok(seen) = observe(self.dialect, data) else {
            if event.name == b"error" {
                let message = cut_short(String::from_utf8_lossy(data).into_owned());
                self.tally.note_error(ProviderError { message, ..ProviderError::default() });
            }
            return Finding::Unreadable;
        };
        let is_usage_event = seen.choices.is_empty_list && seen.counts.is_usage() && seen.error.is_none();
        self.tally.keep(data);
        self.tally.note(seen, event.name);
        if is_usage_event && self.is_hiding_usage { Finding::Hidden } else { Finding::Readable }
    }

    /// Ends the stream and returns the last bytes for the client, if any. A stream without a last word of the provider
    /// gets an error event; one that only lacks its end mark gets the mark. The second call returns nothing.
    ///
    /// An event that was cut off before its blank line is passed on if it is whole otherwise, and dropped if not (the
    /// standard says that clients drop it too); if its first bytes are out already, it is closed by a blank line.
    pub fn finish(&mut self, kind: EndKind, request_id: &str) -> Option<Bytes> {
        if std::mem::replace(&mut self.is_finished, true) {
            return None;
        }
        let mut last = Vec::new();
        if let Some(rest) = self.frames.as_mut().map(Framing::finish) {
            self.watch(&rest);
        }
        if self.partial_bytes > 0 {
            let event = std::mem::take(&mut self.partial);
            let finding = self.read(&event);
            if self.is_partial_sent {
                last.extend_from_slice(b"\n\n");
            } else if finding == Finding::Readable {
                last.extend_from_slice(&event);
                last.extend_from_slice(b"\n\n");
            }
            self.forget_partial();
        }
        if self.tally.end() == StreamEnd::Open {
            let is_whole = self.tally.is_whole(self.is_hiding_usage);
            let error = match kind {
                EndKind::Eof if is_whole => None,
                EndKind::Eof => {
                    let code = ErrorCode::UpstreamDisconnected;
                    Some((code, cut_message(code)))
                }
                EndKind::Cut { code, message } => Some((code, message)),
            };
            match (error, self.family) {
                (Some((code, message)), family) => {
                    let error = ErrorBody::new(family, code, message, request_id);
                    let event = match self.dialect {
                        Dialect::OpenAiResponses => error.render_responses_event(self.tally.events()),
                        _ => error.render_event(family),
                    };
                    last.extend_from_slice(&event);
                }
                (None, Family::OpenAi) => last.extend_from_slice(b"data: [DONE]\n\n"),
                // The end of the body is the end mark.
                (None, Family::Gemini) => self.tally.note_end(StreamEnd::Done),
                (None, Family::Anthropic) => {
                    last.extend_from_slice(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
                }
            }
        }
        (!last.is_empty()).then(|| Bytes::from(last))
    }

    /// Returns the provider's last word so far.
    pub fn end(&self) -> StreamEnd {
        self.tally.end()
    }

    /// Returns the latest state of the usage counters.
    pub fn usage(&self) -> Option<TokenUsage> {
        self.tally.usage()
    }

    /// Returns what the stream said about itself so far.
    pub fn facts(&self) -> StreamFacts {
        self.tally.facts()
    }
}

fn emit(chunk: &Bytes, from: usize, to: usize, out: &mut impl FnMut(Bytes)) {
    if from < to {
        out(chunk.slice(from..to));
    }
}

pub(crate) fn cut_message(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::UpstreamTimeout => "The provider stopped sending before the answer was complete.",
        ErrorCode::UpstreamDisconnected | ErrorCode::UpstreamUnreachable => {
            "The provider's stream ended before the answer was complete."
        }
        ErrorCode::BudgetExceeded => "The budget was used up before the answer was complete.",
        ErrorCode::ContentPolicyViolation => "The answer was stopped by a content policy.",
        ErrorCode::Overloaded | ErrorCode::NotReady => "The gateway is shutting down; the answer is not complete.",
        _ => "The answer could not be completed.",
    }
}

#[cfg(test)]
mod tests;
