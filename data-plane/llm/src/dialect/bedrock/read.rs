//! The events of `ConverseStream`, read neutrally.
//!
//! Rule: a block of text or reasoning has no start of its own: its first piece begins it. Why the answer ended waits for
//! the counters behind it.

use super::answer::parse_stop;
use crate::chat::answer::Stop;
use crate::chat::event::Event;
use crate::json::Node;
use crate::response::{ProviderError, cut_short};

/// Most blocks that may be open at once; more are passed over.
const MAX_OPEN: usize = 1024;

/// Reads one stream.
#[derive(Debug, Default)]
pub(crate) struct StreamReader {
    is_started: bool,
    open: Vec<(u64, Kind)>,
    calls: usize,
    stop: Option<Stop>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Prose,
    Call {
        number: usize,
        has_input: bool,
    },
    /// Something that no client has a word for.
    Other,
}

impl StreamReader {
    /// Reads one event.
    pub(crate) fn read(&mut self, name: &[u8], event: &Node, out: &mut Vec<Event>) {
        let index = event.get("contentBlockIndex").and_then(Node::as_u64).unwrap_or(0);
        match name {
            b"error" => out.push(Event::Failed(read_error(event))),
            b"messageStart" => self.start(out),
            b"contentBlockStart" => {
                self.start(out);
                if let Some(start) = event.get("start") {
                    self.start_block(index, start, out);
                }
            }
            b"contentBlockDelta" => {
                self.start(out);
                if let Some(delta) = event.get("delta") {
                    self.read_delta(index, delta, out);
                }
            }
            b"contentBlockStop" => self.stop_block(index, out),
            b"messageStop" => {
                self.start(out);
                self.stop.get_or_insert(parse_stop(event));
            }
            b"metadata" => self.end(out),
            _ => {}
        }
    }

    fn start(&mut self, out: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.is_started, true) {
            out.push(Event::Start);
        }
    }

    fn start_block(&mut self, index: u64, start: &Node, out: &mut Vec<Event>) {
        let Some(call) = start.get("toolUse") else {
            self.open_block(index, Kind::Other);
            return;
        };
        let number = self.calls;
        if self.open_block(index, Kind::Call { number, has_input: false }) {
            self.calls += 1;
            let id = call.text("toolUseId").filter(|id| !id.is_empty()).map(str::to_owned);
            out.push(Event::CallStart { call: number, id, name: call.text("name").unwrap_or_default().to_owned() });
        }
    }

    fn open_block(&mut self, index: u64, kind: Kind) -> bool {
        let is_new = self.open.len() < MAX_OPEN && !self.open.iter().any(|(open, _)| *open == index);
        if is_new {
            self.open.push((index, kind));
        }
        is_new
    }

    fn read_delta(&mut self, index: u64, delta: &Node, out: &mut Vec<Event>) {
        self.open_block(index, Kind::Prose);
        let Some((_, kind)) = self.open.iter_mut().find(|(open, _)| *open == index) else { return };
        let text = |node: &Node, name: &str| node.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
        match kind {
            Kind::Prose => {
                out.extend(text(delta, "text").map(Event::Text));
                if let Some(reasoning) = delta.get("reasoningContent") {
                    out.extend(text(reasoning, "text").map(Event::Thinking));
                    out.extend(text(reasoning, "signature").map(Event::Signature));
                    out.extend(text(reasoning, "redactedContent").map(Event::Redacted));
                }
            }
            Kind::Call { number, has_input } => {
                let piece = delta.get("toolUse").and_then(|call| text(call, "input"));
                *has_input |= piece.is_some();
                let call = *number;
                out.extend(piece.map(|piece| Event::Arguments { call, piece }));
            }
            Kind::Other => {}
        }
    }

    fn stop_block(&mut self, index: u64, out: &mut Vec<Event>) {
        let Some(at) = self.open.iter().position(|(open, _)| *open == index) else { return };
        match self.open.remove(at).1 {
            Kind::Prose => out.push(Event::BlockEnd),
            Kind::Call { number: call, has_input } => {
                if !has_input {
                    out.push(Event::Arguments { call, piece: "{}".to_owned() });
                }
                out.push(Event::CallEnd { call });
            }
            Kind::Other => {}
        }
    }

    /// Whether the provider said why the answer ended.
    pub(crate) fn has_stopped(&self) -> bool {
        self.stop.is_some()
    }

    /// Says why the answer ended, and that it did.
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
    ProviderError { kind: text("type"), code: text("code"), message: text("message").unwrap_or_default() }
}
