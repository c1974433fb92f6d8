//! The lines of a stream of Ollama's, read neutrally.
//!
//! Rule: a call comes in one piece; calls are counted over all lines. The line that is `done` is the last word.

use super::answer::{read_call, stop_of};
use crate::chat::event::Event;
use crate::json::Node;
use crate::response::{ProviderError, cut_short};
use crate::translate::AnswerContext;

/// Reads one stream.
#[derive(Debug)]
pub(crate) struct StreamReader {
    context: AnswerContext,
    is_started: bool,
    calls: usize,
    is_done: bool,
}

impl StreamReader {
    pub(crate) fn new(context: &AnswerContext) -> Self {
        Self { context: context.clone(), is_started: false, calls: 0, is_done: false }
    }

    /// Reads one line.
    pub(crate) fn read(&mut self, line: &Node, out: &mut Vec<Event>) {
        if let Some(error) = line.get("error") {
            let message = error.as_str().or_else(|| error.text("message")).unwrap_or_default();
            let message = cut_short(message.to_owned());
            out.push(Event::Failed(ProviderError { message, ..ProviderError::default() }));
            return;
        }
        if !line.is_object() {
            return;
        }
        self.start(out);
        if let Some(message) = line.get("message") {
            let text = |name: &str| message.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
            out.extend(text("thinking").map(Event::Thinking));
            out.extend(text("content").map(Event::Text));
            for node in message.list("tool_calls") {
                let call = self.calls;
                self.calls += 1;
                let (id, name, piece) = read_call(node, call, &self.context);
                out.extend([
                    Event::CallStart { call, id: Some(id), name },
                    Event::Arguments { call, piece },
                    Event::CallEnd { call },
                ]);
            }
        }
        if line.get("done") == Some(&Node::Bool(true)) && !self.is_done {
            self.is_done = true;
            let stop = stop_of(line.text("done_reason").unwrap_or_default(), self.calls > 0);
            out.extend([Event::Stop(stop), Event::End]);
        }
    }

    fn start(&mut self, out: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.is_started, true) {
            out.push(Event::Start);
        }
    }

    /// Whether the last word has come.
    pub(crate) fn has_stopped(&self) -> bool {
        self.is_done
    }

    /// Says that the answer ended, where the last line did not.
    pub(crate) fn end(&mut self, out: &mut Vec<Event>) {
        self.start(out);
        if !std::mem::replace(&mut self.is_done, true) {
            out.extend([Event::Stop(stop_of("", self.calls > 0)), Event::End]);
        }
    }
}
