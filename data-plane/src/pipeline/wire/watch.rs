//! What stands between a provider's stream and the client.
//!
//! Rule: whatever is done to the bytes, the same filter reads the usage, and the end is known.

use bytes::Bytes;
use helix_llm::{
    Dialect, EndKind, IdRenamer, Quirks, RenameId, StreamEnd, StreamFacts, StreamFilter, StreamTranslator,
};
use std::sync::Arc;

/// Sound on its way: all that is known is whether it came to its end.
#[derive(Debug, Default)]
pub struct Raw {
    is_whole: bool,
}

impl Raw {
    fn end(&self) -> StreamEnd {
        if self.is_whole { StreamEnd::Done } else { StreamEnd::Open }
    }
}

/// What stands between a provider's stream and the client.
#[derive(Debug)]
pub enum Watch {
    /// Bytes pass; usage is read from them.
    Passed(Box<StreamFilter>),
    /// Bytes pass, but for the ids of responses.
    Renamed(Box<StreamFilter>, Box<IdRenamer>),
    /// Sound passes; nothing is read.
    Raw(Raw),
    /// Events are said again in the client's dialect; usage is read by the same filter.
    Translated(Box<StreamTranslator>),
}

impl Watch {
    /// Watches a stream that passes.
    pub fn passing(dialect: Dialect, hide_usage: bool, quirks: Quirks) -> Self {
        Self::Passed(Box::new(StreamFilter::new(dialect, hide_usage, quirks)))
    }

    /// Watches a stream of responses that are kept.
    pub fn renaming(dialect: Dialect, quirks: Quirks, names: Arc<dyn RenameId>) -> Self {
        Self::Renamed(Box::new(StreamFilter::new(dialect, false, quirks)), Box::new(IdRenamer::new(names)))
    }

    /// Keeps the first of the text, to be counted if nobody else does.
    pub fn keep_text(&mut self) {
        match self {
            Self::Passed(filter) | Self::Renamed(filter, _) => filter.keep_text(),
            Self::Raw(_) => {}
            Self::Translated(translator) => translator.keep_text(),
        }
    }

    /// Gives the text that was kept.
    pub fn take_text(&mut self) -> Vec<u8> {
        match self {
            Self::Passed(filter) | Self::Renamed(filter, _) => filter.take_text(),
            Self::Raw(_) => Vec::new(),
            Self::Translated(translator) => translator.take_text(),
        }
    }

    /// Takes a chunk of the provider and gives the client's bytes to `out`.
    pub fn push(&mut self, chunk: Bytes, out: &mut impl FnMut(Bytes)) {
        match self {
            Self::Passed(filter) => filter.push(chunk, out),
            Self::Renamed(filter, renamer) => filter.push(chunk, &mut |bytes| renamer.push(&bytes, out)),
            Self::Raw(_) => out(chunk),
            Self::Translated(translator) => translator.push(chunk, out),
        }
    }

    /// Ends the stream; returns the last bytes for the client, if any.
    pub fn finish(&mut self, kind: EndKind, request_id: &str) -> Option<Bytes> {
        match self {
            Self::Passed(filter) => filter.finish(kind, request_id),
            Self::Renamed(filter, renamer) => {
                let last = filter.finish(kind, request_id).unwrap_or_default();
                let mut sent = Vec::new();
                renamer.push(&last, &mut |bytes| sent.extend_from_slice(&bytes));
                sent.extend_from_slice(&renamer.finish().unwrap_or_default());
                (!sent.is_empty()).then(|| Bytes::from(sent))
            }
            Self::Raw(raw) => {
                raw.is_whole = kind == EndKind::Eof;
                None
            }
            Self::Translated(translator) => translator.finish(kind),
        }
    }

    /// The provider's last word so far.
    pub fn end(&self) -> StreamEnd {
        match self {
            Self::Passed(filter) | Self::Renamed(filter, _) => filter.end(),
            Self::Raw(raw) => raw.end(),
            Self::Translated(translator) => translator.end(),
        }
    }

    /// What the stream said about itself so far.
    pub fn facts(&self) -> StreamFacts {
        match self {
            Self::Passed(filter) | Self::Renamed(filter, _) => filter.facts(),
            Self::Raw(raw) => StreamFacts { end: raw.end(), ..StreamFacts::default() },
            Self::Translated(translator) => translator.facts(),
        }
    }
}
