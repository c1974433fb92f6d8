//! A stream's frames as named events, so that one reader of streams serves every provider.
//!
//! Rule: a payload stays as it came; an exception or an error becomes the event `error`, in words that are known. What
//! cannot be believed ends the stream.

use bytes::Bytes;

use super::failure::Meaning;
use crate::aws_events::{Broken, Frame, Frames};
use crate::json::{Node, object};
use crate::response::cut_short;

/// Turns a stream of frames into server-sent events.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventStream {
    frames: Frames,
}

impl EventStream {
    /// Takes a chunk and returns the events that it completes; they are whole. `Err` beside them: nothing more can be read.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> (Bytes, Result<(), Broken>) {
        let mut out = Vec::new();
        let read = self.frames.push(chunk, |frame| write(frame, &mut out));
        (Bytes::from(out), read)
    }
}

fn write(frame: Frame<'_>, out: &mut Vec<u8>) {
    match frame.message_type {
        "event" if frame.name.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            write_event(frame.name, frame.payload, out);
        }
        "exception" | "error" => {
            let payload = Node::parse(frame.payload).unwrap_or_default();
            let said = payload.text("message").or_else(|| payload.text("Message")).unwrap_or(frame.error_message);
            let message = cut_short(said.to_owned());
            let meaning = Meaning::of(frame.name, &message, 500);
            let error = object! { "type": meaning.word, "code": meaning.status.to_string(), "message": meaning.explain(message) };
            write_event("error", &object! { "error": error }.to_bytes(), out);
        }
        _ => {}
    }
}

fn write_event(name: &str, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    // A line break in JSON is never inside a text: a space means the same.
    out.extend(payload.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws_events::tests::{event, exception};

    #[test]
    fn frames_become_events_and_exceptions_known_words() {
        let mut stream = EventStream::default();
        let start = event("messageStart", "{\n\"role\":\"assistant\"}");
        let (out, read) = stream.push(&[start, exception("throttlingException", "Too many requests")].concat());
        assert!(read.is_ok());
        let expected = "event: messageStart\ndata: { \"role\":\"assistant\"}\n\nevent: error\ndata: \
                        {\"error\":{\"type\":\"rate_limit_error\",\"code\":\"429\",\"message\":\"Too many requests\"}}\n\n";
        assert_eq!(out, expected);
        assert!(stream.push(&[0xff; 32]).1.is_err());
    }
}
