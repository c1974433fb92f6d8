//! A provider's events, read neutrally.
//!
//! Rule: the stream has no end mark: it is whole when the reason to end has come and the body ends. A call comes in one
//! piece; calls are counted over all events.

use super::error::{read_error, unwrapped};
use super::parts::{Part, PartReader, block_of, citations_of, stop_of};
use crate::chat::answer::{Citation, Stop};
use crate::chat::event::Event;
use crate::json::Node;
use crate::translate::{AnswerContext, AnswerPlan};

/// Reads one stream.
#[derive(Debug)]
pub(crate) struct StreamReader {
    parts: PartReader,
    is_started: bool,
    /// `finishReason` and `finishMessage`.
    finish: Option<(String, Option<String>)>,
    block: Option<Stop>,
    /// Characters of text so far, and the pages found for them; the latest list is the whole one.
    written_chars: usize,
    cited: Vec<Citation>,
}

impl StreamReader {
    pub(crate) fn new(plan: &AnswerPlan, context: &AnswerContext) -> Self {
        Self {
            parts: PartReader::new(&plan.signer, context),
            is_started: false,
            finish: None,
            block: None,
            written_chars: 0,
            cited: Vec::new(),
        }
    }

    /// Reads one event.
    pub(crate) fn read(&mut self, name: &[u8], event: &Node, out: &mut Vec<Event>) {
        let document = unwrapped(event);
        if let Some(error) = document.get("error").or_else(|| (name == b"error").then_some(document)) {
            out.push(Event::Failed(read_error(error)));
            return;
        }
        if !document.is_object() {
            return;
        }
        self.start(out);
        if self.block.is_none() {
            self.block = block_of(document);
        }
        let is_first = |candidate: &&Node| candidate.get("index").and_then(Node::as_u64).unwrap_or(0) == 0;
        for candidate in document.list("candidates").iter().filter(is_first) {
            for part in candidate.get("content").map_or(&[][..], |content| content.list("parts")) {
                self.read_part(part, out);
            }
            let cited: Vec<Citation> = citations_of(candidate).collect();
            if !cited.is_empty() {
                self.cited = cited;
            }
            if let Some(reason) = candidate.text("finishReason") {
                let message = candidate.text("finishMessage").map(str::to_owned);
                self.finish.get_or_insert_with(|| (reason.to_owned(), message));
            }
        }
    }

    fn start(&mut self, out: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.is_started, true) {
            out.push(Event::Start);
        }
    }

    fn read_part(&mut self, part: &Node, out: &mut Vec<Event>) {
        let call = self.parts.calls();
        match self.parts.read(part) {
            Some(Part::Text(text)) => {
                self.written_chars = self.written_chars.saturating_add(text.chars().count());
                out.push(Event::Text(text));
            }
            Some(Part::Thinking(text)) => out.push(Event::Thinking(text)),
            Some(Part::Call(id, name, piece)) => out.extend([
                Event::CallStart { call, id: Some(id), name },
                Event::Arguments { call, piece },
                Event::CallEnd { call },
            ]),
            None => {}
        }
    }

    /// Whether the provider said why the answer ended.
    pub(crate) fn has_stopped(&self) -> bool {
        self.finish.is_some() || self.block.is_some()
    }

    /// Says why the answer ended, and that it did.
    pub(crate) fn end(&mut self, out: &mut Vec<Event>) {
        self.start(out);
        let chars = self.written_chars;
        out.extend(std::mem::take(&mut self.cited).into_iter().map(|citation| Event::Cited { citation, chars }));
        let has_calls = self.parts.calls() > 0;
        let stop = match (self.finish.take(), self.block.take()) {
            (Some((reason, message)), _) => stop_of(&reason, message.as_deref(), has_calls),
            (None, Some(block)) => block,
            (None, None) => Stop::End,
        };
        out.extend([Event::Stop(stop), Event::End]);
    }
}
