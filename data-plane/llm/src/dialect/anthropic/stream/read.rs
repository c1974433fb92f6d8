//! A provider's events, read neutrally.
//!
//! Rule: what the provider's own tools do is passed over, deltas included. Why the message ended is said once, at its end.

use crate::chat::answer::{Citation, Stop};
use crate::chat::event::Event;
use crate::dialect::anthropic::answer::parse_stop;
use crate::json::Node;
use crate::response::{ProviderError, cut_short};

/// Most blocks that may be open at once; more are passed over.
const MAX_OPEN: usize = 1024;
/// Most bytes of sources that wait for the ends of their blocks; more are passed over.
const MAX_CITED_BYTES: usize = 256 * 1024;

/// Reads one stream.
#[derive(Debug, Default)]
pub(crate) struct StreamReader {
    is_started: bool,
    open: Vec<(u64, Kind)>,
    calls: usize,
    cited_bytes: usize,
    stop: Option<Stop>,
}

#[derive(Debug, PartialEq)]
enum Kind {
    /// So many characters so far, and what they come from.
    Text {
        chars: usize,
        cited: Vec<Citation>,
    },
    Thinking,
    /// A call, with the input that stood at its start until a piece of it comes.
    Call {
        number: usize,
        input: Option<String>,
    },
}

impl StreamReader {
    /// Reads one event.
    pub(crate) fn read(&mut self, name: &[u8], event: &Node, out: &mut Vec<Event>) {
        let index = event.get("index").and_then(Node::as_u64).unwrap_or(0);
        match event.text("type") {
            Some("error") => out.push(Event::Failed(read_error(event))),
            _ if name == b"error" => out.push(Event::Failed(read_error(event))),
            Some("message_start") => self.start(out),
            Some("content_block_start") => {
                self.start(out);
                if let Some(block) = event.get("content_block") {
                    self.start_block(index, block, out);
                }
            }
            Some("content_block_delta") => {
                self.start(out);
                if let Some(delta) = event.get("delta") {
                    self.read_delta(index, delta, out);
                }
            }
            Some("content_block_stop") => self.stop_block(index, out),
            Some("message_delta") => {
                if let Some(delta) = event.get("delta").filter(|delta| delta.text("stop_reason").is_some()) {
                    self.stop.get_or_insert(parse_stop(delta));
                }
            }
            Some("message_stop") => self.end(out),
            Some("ping") => out.push(Event::Ping),
            _ => {}
        }
    }

    fn start(&mut self, out: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.is_started, true) {
            out.push(Event::Start);
        }
    }

    fn start_block(&mut self, index: u64, block: &Node, out: &mut Vec<Event>) {
        let text = |name: &str| block.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
        let kind = match block.text("type") {
            Some("text") => {
                let chars = text("text").map_or(0, |text| text.chars().count());
                out.extend(text("text").map(Event::Text));
                Kind::Text { chars, cited: Vec::new() }
            }
            Some("thinking") => {
                out.extend(text("thinking").map(Event::Thinking));
                out.extend(text("signature").map(Event::Signature));
                Kind::Thinking
            }
            Some("redacted_thinking") => {
                out.extend(text("data").map(Event::Redacted));
                return;
            }
            Some("tool_use") => {
                let number = self.calls;
                self.calls += 1;
                let name = text("name").unwrap_or_default();
                out.push(Event::CallStart { call: number, id: text("id"), name });
                let input = block.get("input").unwrap_or(&Node::Null);
                let input = if input.is_object() { input.to_json() } else { "{}".to_owned() };
                Kind::Call { number, input: Some(input) }
            }
            _ => return,
        };
        if self.open.len() < MAX_OPEN {
            self.open.push((index, kind));
        }
    }

    fn read_delta(&mut self, index: u64, delta: &Node, out: &mut Vec<Event>) {
        let Some((_, kind)) = self.open.iter_mut().find(|(open, _)| *open == index) else { return };
        let text = |name: &str| delta.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
        match (delta.text("type"), kind) {
            (Some("text_delta"), Kind::Text { chars, .. }) => {
                let text = text("text");
                *chars = chars.saturating_add(text.as_ref().map_or(0, |text| text.chars().count()));
                out.extend(text.map(Event::Text));
            }
            (Some("citations_delta"), Kind::Text { cited, .. }) => {
                if let Some(citation) = delta.get("citation").and_then(|citation| Citation::parse(citation, "url")) {
                    self.cited_bytes = self.cited_bytes.saturating_add(citation.size_bytes());
                    cited.extend(Some(citation).filter(|_| self.cited_bytes <= MAX_CITED_BYTES));
                }
            }
            (Some("thinking_delta"), Kind::Thinking) => out.extend(text("thinking").map(Event::Thinking)),
            (Some("signature_delta"), Kind::Thinking) => out.extend(text("signature").map(Event::Signature)),
            (Some("input_json_delta"), Kind::Call { number, input }) => {
                if let Some(piece) = text("partial_json") {
                    *input = None;
                    out.push(Event::Arguments { call: *number, piece });
                }
            }
            _ => {}
        }
    }

    fn stop_block(&mut self, index: u64, out: &mut Vec<Event>) {
        let Some(at) = self.open.iter().position(|(open, _)| *open == index) else { return };
        match self.open.remove(at).1 {
            Kind::Call { number, input } => {
                out.extend(input.map(|piece| Event::Arguments { call: number, piece }));
                out.push(Event::CallEnd { call: number });
            }
            Kind::Text { chars, cited } => {
                out.extend(cited.into_iter().map(|citation| Event::Cited { citation, chars }));
                out.push(Event::BlockEnd);
            }
            Kind::Thinking => out.push(Event::BlockEnd),
        }
    }

    /// Whether the provider said why the message ended.
    pub(crate) fn has_stopped(&self) -> bool {
        self.stop.is_some()
    }

    /// Says why the message ended, and that it did.
    pub(crate) fn end(&mut self, out: &mut Vec<Event>) {
        self.start(out);
        let open: Vec<u64> = self.open.iter().map(|(index, _)| *index).collect();
        for index in open {
            self.stop_block(index, out);
        }
        out.extend([Event::Stop(self.stop.take().unwrap_or_default()), Event::End]);
    }
}

fn read_error(event: &Node) -> ProviderError {
    let error = event.get("error").unwrap_or(event);
    let text = |name: &str| error.text(name).map(|text| cut_short(text.to_owned()));
    let message = text("message").or_else(|| error.as_str().map(str::to_owned)).unwrap_or_default();
    ProviderError { kind: text("type").filter(|kind| kind != "error"), code: None, message: cut_short(message) }
}
