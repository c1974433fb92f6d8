//! A planned answer: the exact bytes, when each part goes out, and how it ends.
//!
//! Rule: everything a script can break is broken here, on bytes already rendered, so that a plan can be tested without a
//! network. Sending is not done here.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use crate::price::Tokens;
use crate::script::{Newline, Script};

/// One part of a body, handed to the connection at once.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// How long to wait after the frame before.
    pub(crate) delay: Duration,
    /// Whether to wait at the plan's gate first.
    pub(crate) gated: bool,
    /// The bytes.
    pub(crate) data: Bytes,
    /// Output tokens generated once this frame is out, in total.
    pub(crate) output: u64,
    /// Whether the frame carries content of the model, not framing.
    pub(crate) content: bool,
}

impl Frame {
    /// A frame that goes out at once.
    pub(crate) fn now(data: impl Into<Bytes>, output: u64, content: bool) -> Self {
        Self { delay: Duration::ZERO, gated: false, data: data.into(), output, content }
    }
}

/// What happens after the last frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The body ends as it should.
    Complete,
    /// The body ends as it should, but it was an error.
    Error,
    /// The connection is closed inside the body.
    Cut {
        /// By a reset instead of an end of file.
        by_reset: bool,
    },
    /// Nothing more is sent and nothing is closed.
    Hang,
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The status.
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body in parts.
    pub(crate) frames: Vec<Frame>,
    /// The length announced; `None` for a chunked body.
    pub(crate) content_length: Option<u64>,
    /// How it ends.
    pub(crate) ending: Ending,
    /// The tokens of the whole answer.
    pub(crate) tokens: Tokens,
    /// What the answer says about its tokens when it is complete.
    pub(crate) reported: Option<Tokens>,
    /// Splits the body into writes of so many bytes.
    pub(crate) write_bytes: Option<usize>,
    /// How long to wait between those writes.
    pub(crate) write_delay: Duration,
    /// The gate that gated frames wait at.
    pub(crate) gate: Option<String>,
}

/// Writes events of a stream as a script wants them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventWriter {
    newline: &'static str,
    colon: &'static str,
    comments: bool,
}

impl EventWriter {
    /// A writer for a script.
    pub(crate) fn new(script: &Script) -> Self {
        let colon = if script.tight { ":" } else { ": " };
        Self { newline: script.newline.as_str(), colon, comments: script.comments }
    }

    /// Renders one event; without a name only its data.
    pub(crate) fn event(&self, name: Option<&str>, data: &str) -> Bytes {
        let Self { newline, colon, comments } = *self;
        let mut text = String::with_capacity(data.len() + 32);
        if comments {
            text.push_str(": keep-alive");
            text.push_str(newline);
            text.push_str(newline);
        }
        for (field, value) in [("event", name), ("data", Some(data))] {
            if let Some(value) = value {
                text.push_str(field);
                text.push_str(colon);
                text.push_str(value);
                text.push_str(newline);
            }
        }
        text.push_str(newline);
        Bytes::from(text)
    }
}

impl Plan {
    /// A whole body that goes out at once.
    pub(crate) fn whole(status: u16, headers: HeaderMap, body: impl Into<Bytes>) -> Self {
        let body: Bytes = body.into();
        let content_length = Some(u64::try_from(body.len()).unwrap_or(u64::MAX));
        let ending = if status < 400 { Ending::Complete } else { Ending::Error };
        Self { content_length, ending, ..Self::stream(status, headers, vec![Frame::now(body, 0, true)]) }
    }

    /// A chunked body in frames.
    pub(crate) fn stream(status: u16, headers: HeaderMap, frames: Vec<Frame>) -> Self {
        Self {
            status,
            headers,
            frames,
            content_length: None,
            ending: Ending::Complete,
            tokens: Tokens::default(),
            reported: None,
            write_bytes: None,
            write_delay: Duration::ZERO,
            gate: None,
        }
    }

    /// Sets what is charged and what is said about it.
    #[must_use]
    pub(crate) fn counting(mut self, tokens: Tokens, reported: Option<Tokens>) -> Self {
        self.tokens = tokens;
        self.reported = reported;
        if let Some(last) = self.frames.last_mut() {
            last.output = tokens.output;
        }
        self
    }

    /// Breaks and paces the plan as the script says.
    #[must_use]
    pub(crate) fn scripted(mut self, script: &Script, error_event: impl FnOnce() -> Bytes) -> Self {
        let is_stream = self.content_length.is_none();
        if is_stream {
            self.pace(script);
            if let Some(bytes) = script.huge_line_bytes {
                self.insert_huge_line(bytes, script.newline);
            }
            self.end_early(script, error_event);
            if script.bom
                && let Some(first) = self.frames.first_mut()
            {
                first.data = Bytes::from([b"\xef\xbb\xbf".as_slice(), &first.data].concat());
            }
        }
        if let Some(at) = script.cut_at_byte {
            self.cut_at(at, script.cut_rst);
        }
        self.write_bytes = script.chunk_bytes.filter(|bytes| *bytes > 0);
        self.write_delay = Duration::from_millis(script.write_delay_ms);
        self.gate.clone_from(&script.gate);
        self
    }

    fn pace(&mut self, script: &Script) {
        let mut content = 0;
        for (index, frame) in self.frames.iter_mut().enumerate() {
            content += u64::from(frame.content);
            if index == 0 {
                frame.delay = Duration::from_millis(script.first_chunk_delay_ms);
            }
            if frame.content && content > 1 {
                frame.delay += Duration::from_millis(script.chunk_delay_ms);
            }
            frame.gated = frame.content && script.gate.is_some() && content == script.gate_at_chunk;
        }
    }

    /// Returns the index after the n-th content frame; 0 for none.
    fn after_content(&self, n: u64) -> usize {
        let mut seen = 0;
        let at = self.frames.iter().position(|frame| {
            let here = seen == n;
            seen += u64::from(frame.content);
            here
        });
        at.unwrap_or(self.frames.len())
    }

    fn end_early(&mut self, script: &Script, error_event: impl FnOnce() -> Bytes) {
        if let Some(n) = script.error_midstream {
            self.frames.truncate(self.after_content(n));
            let output = self.frames.last().map_or(0, |frame| frame.output);
            self.frames.push(Frame::now(error_event(), output, false));
            self.ending = Ending::Error;
        }
        if let Some(n) = script.hang_after_chunks {
            self.frames.truncate(self.after_content(n));
            self.ending = Ending::Hang;
        }
        if let Some(n) = script.cut_after_chunks {
            self.frames.truncate(self.after_content(n));
            self.ending = Ending::Cut { by_reset: script.cut_rst };
        }
    }

    /// Cuts inside the body; a place behind the end changes nothing.
    fn cut_at(&mut self, at: u64, by_reset: bool) {
        let mut left = usize::try_from(at).unwrap_or(usize::MAX);
        for index in 0..self.frames.len() {
            let generated_before = if index == 0 { 0 } else { self.frames[index - 1].output };
            let frame = &mut self.frames[index];
            if left >= frame.data.len() {
                left -= frame.data.len();
                continue;
            }
            frame.data.truncate(left);
            if self.content_length.is_none() {
                frame.output = generated_before;
            }
            self.frames.truncate(if left == 0 { index } else { index + 1 });
            self.ending = Ending::Cut { by_reset };
            if self.content_length.is_some() && self.frames.is_empty() {
                self.frames.push(Frame::now(Bytes::new(), self.tokens.output, false));
            }
            return;
        }
    }

    fn insert_huge_line(&mut self, bytes: u64, newline: Newline) {
        const PART: usize = 64 * 1024;
        let part = Bytes::from(vec![b'x'; PART]);
        let at = self.after_content(1);
        let output = at.checked_sub(1).and_then(|before| self.frames.get(before)).map_or(0, |frame| frame.output);
        let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut line = vec![Frame::now("data: ", output, false)];
        while left > 0 {
            let take = left.min(PART);
            line.push(Frame::now(part.slice(..take), output, false));
            left -= take;
        }
        line.push(Frame::now(newline.as_str().repeat(2), output, false));
        self.frames.splice(at..at, line);
    }
}

/// Splits a text into so many parts of about equal length, never inside a character, never an empty part.
pub(crate) fn split_text(text: &str, parts: u64) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let parts = usize::try_from(parts).unwrap_or(usize::MAX).clamp(1, chars.len().max(1));
    (0..parts)
        .map(|part| chars[chars.len() * part / parts..chars.len() * (part + 1) / parts].iter().collect::<String>())
        .filter(|part| !part.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(script: &str) -> Plan {
        let frame = |text: &'static str, output, content| Frame::now(text, output, content);
        let frames =
            vec![frame("head|", 0, false), frame("one|", 1, true), frame("two|", 2, true), frame("end", 2, false)];
        let script = Script::from_json(script).unwrap();
        Plan::stream(200, HeaderMap::new(), frames).scripted(&script, || Bytes::from_static(b"error"))
    }

    fn text(plan: &Plan) -> String {
        plan.frames.iter().map(|frame| String::from_utf8_lossy(&frame.data).into_owned()).collect()
    }

    #[test]
    fn a_plan_is_cut_at_every_byte_and_charges_whole_chunks_only() {
        let whole = "head|one|two|end";
        for at in 0..whole.len() {
            let plan = plan(&format!(r#"{{"cut_at_byte":{at}}}"#));
            assert_eq!(Some(text(&plan).as_str()), whole.get(..at), "cut at {at}");
            assert_eq!(plan.ending, Ending::Cut { by_reset: false });
            let output = plan.frames.last().map_or(0, |frame| frame.output);
            assert_eq!(output, u64::from(at >= 9) + u64::from(at >= 13), "cut at {at}");
        }
        assert_eq!(plan(r#"{"cut_at_byte":16}"#).ending, Ending::Complete);
    }

    #[test]
    fn a_plan_ends_after_the_asked_chunks() {
        let check = |script, body, ending| {
            let plan = plan(script);
            assert_eq!((text(&plan).as_str(), plan.ending), (body, ending), "{script}");
        };
        check(r#"{"cut_after_chunks":1,"cut_rst":true}"#, "head|one|", Ending::Cut { by_reset: true });
        check(r#"{"cut_after_chunks":0}"#, "", Ending::Cut { by_reset: false });
        check(r#"{"error_midstream":2}"#, "head|one|two|error", Ending::Error);
        check(r#"{"hang_after_chunks":1}"#, "head|one|", Ending::Hang);
        check(r#"{"hang_after_chunks":9}"#, "head|one|two|end", Ending::Hang);
    }

    #[test]
    fn a_huge_line_stands_between_two_chunks_and_shares_its_memory() {
        let plan = plan(r#"{"huge_line_bytes":200000}"#);
        let body = text(&plan);
        assert!(body.starts_with("head|one|data: xxx") && body.ends_with("x\n\ntwo|end"));
        assert_eq!(body.matches('x').count(), 200_000);
    }

    #[test]
    fn text_is_split_between_characters() {
        assert_eq!(split_text("a東京🙂", 2), ["a東", "京🙂"]);
        assert_eq!(split_text("ab", 9), ["a", "b"]);
        assert!(split_text("", 3).is_empty());
    }

    #[test]
    fn events_are_written_as_scripted() {
        let script = Script::from_json(r#"{"newline":"crlf","tight":true,"comments":true}"#).unwrap();
        let bytes = EventWriter::new(&script).event(Some("ping"), "{}");
        assert_eq!(bytes, ": keep-alive\r\n\r\nevent:ping\r\ndata:{}\r\n\r\n");
    }
}
