//! The ids of responses that a provider keeps, under the names that the client gets.
//!
//! Rule: an id is found by its place in a response object, and nothing but the id is changed. In a stream an event waits
//! until it is whole; one that is too large to wait passes as it is.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;

use super::MAX_READ_LARGE_BYTES;
use crate::dialect::openai_responses::id_spans;
use crate::response::owned;
use crate::sse::{EventEnds, parse};

/// Gives the client's name of a provider's id.
pub trait RenameId: Debug + Send + Sync {
    /// The client's name of a response that the provider calls `id`.
    fn rename(&self, id: &str) -> String;
}

/// Renames in a whole body; `None`: there is nothing to rename.
pub fn rename_ids(body: &[u8], names: &dyn RenameId) -> Option<Bytes> {
    let spans = id_spans(body).ok().filter(|spans| !spans.is_empty())?;
    let mut renamed = Vec::with_capacity(body.len() + 256);
    let mut at = 0;
    for (span, id) in spans {
        let Some(id) = owned(id) else { continue };
        renamed.extend_from_slice(body.get(at..span.start).unwrap_or_default());
        // A string always serializes.
        renamed.extend_from_slice(&serde_json::to_vec(&names.rename(&id)).unwrap_or_default());
        at = span.end;
    }
    renamed.extend_from_slice(body.get(at..).unwrap_or_default());
    Some(Bytes::from(renamed))
}

/// Renames in a stream.
#[derive(Debug)]
pub struct IdRenamer {
    names: Arc<dyn RenameId>,
    ends: EventEnds,
    held: Vec<u8>,
    /// The event that is not whole yet was too large to wait.
    is_passing: bool,
}

impl IdRenamer {
    /// Begins a stream.
    pub fn new(names: Arc<dyn RenameId>) -> Self {
        Self { names, ends: EventEnds::new(), held: Vec::new(), is_passing: false }
    }

    /// Takes a chunk and gives every event that is whole.
    pub fn push(&mut self, chunk: &Bytes, out: &mut impl FnMut(Bytes)) {
        let (mut start, mut at) = (0, usize::from(self.ends.takes_late_lf(chunk)));
        while let Some(end) = self.ends.next(chunk, at) {
            let last = chunk.slice(start..end);
            if std::mem::take(&mut self.is_passing) {
                out(last);
            } else if self.held.is_empty() {
                out(self.renamed(&last).unwrap_or(last));
            } else {
                self.held.extend_from_slice(&last);
                let event = Bytes::from(std::mem::take(&mut self.held));
                out(self.renamed(&event).unwrap_or(event));
            }
            (start, at) = (end, end);
        }
        let rest = chunk.slice(start..);
        if self.is_passing && !rest.is_empty() {
            out(rest);
        } else if self.held.len() + rest.len() > MAX_READ_LARGE_BYTES {
            self.is_passing = true;
            out(Bytes::from(std::mem::take(&mut self.held)));
            out(rest);
        } else {
            self.held.extend_from_slice(&rest);
        }
    }

    /// Gives what is left of an event that never became whole.
    pub fn finish(&mut self) -> Option<Bytes> {
        let held = std::mem::take(&mut self.held);
        (!held.is_empty()).then(|| Bytes::from(held))
    }

    fn renamed(&self, event: &Bytes) -> Option<Bytes> {
        memchr::memmem::find(event, b"\"response\"")?;
        let parsed = parse(event);
        let std::borrow::Cow::Borrowed(data) = parsed.data else { return None };
        let at = memchr::memmem::find(event, data)?;
        let renamed = rename_ids(data, &*self.names)?;
        let before = event.get(..at)?;
        let after = event.get(at + data.len()..)?;
        Some(Bytes::from([before, &renamed, after].concat()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Shout;

    impl RenameId for Shout {
        fn rename(&self, id: &str) -> String {
            id.to_uppercase()
        }
    }

    #[test]
    fn only_ids_of_responses_are_renamed_however_the_stream_is_cut_r21_r30() {
        let stream = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_a\",\"previous_response_id\":\"resp_b\",\"output\":[{\"id\":\"msg_a\"}]}}\n\nevent: response.novel\ndata: {\"type\":\"response.novel\",\"id\":\"resp_a\",\"text\":\"resp_a\"}\n\n: comment\n\ndata: {\"response\":{\"id\":\"resp_a\"";
        let expected = stream.replacen("\"resp_a\"", "\"RESP_A\"", 1).replacen("resp_b", "RESP_B", 1);
        for size in [1, 2, 7, 50, stream.len()] {
            let mut renamer = IdRenamer::new(Arc::new(Shout));
            let mut sent = Vec::new();
            for chunk in stream.as_bytes().chunks(size) {
                renamer.push(&Bytes::copy_from_slice(chunk), &mut |bytes| sent.extend_from_slice(&bytes));
            }
            sent.extend_from_slice(&renamer.finish().unwrap_or_default());
            assert_eq!(String::from_utf8(sent).unwrap(), expected, "{size}");
        }
    }

    #[test]
    fn a_whole_response_keeps_every_other_byte() {
        let body = r#"{ "id" : "resp_a", "object":"response","previous_response_id":null,"output":[{"id":"m"}] }"#;
        assert_eq!(rename_ids(body.as_bytes(), &Shout).unwrap(), body.replace("resp_a", "RESP_A"));
        assert_eq!(rename_ids(br#"{"id":"x","object":"list"}"#, &Shout), None);
    }
}
