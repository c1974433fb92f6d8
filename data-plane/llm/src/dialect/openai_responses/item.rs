//! One output item of a response, while it grows and when it is done.
//!
//! Rule: what is said of an item in its events and in the item itself comes from the same fields.

use super::carrier;
use super::echo::Echo;
use crate::chat::answer::Citation;
use crate::chat::request::BlockKind;
use crate::dialect::openai_chat::freeform_input;
use crate::json::{Node, object};
use crate::translate::AnswerContext;

/// What an item is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Text,
    Refusal,
    Thinking,
    Redacted,
    Call,
    Freeform,
}

/// An output item.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) part: Part,
    pub(super) index: usize,
    id: String,
    /// Text, thinking, hidden data or arguments so far.
    pub(super) text: String,
    pub(super) signature: Option<String>,
    annotations: Vec<Node>,
    call_id: String,
    name: String,
}

type Named = (&'static str, Node);

impl Item {
    pub(super) fn new(part: Part, (index, context): (usize, &AnswerContext)) -> Self {
        let prefix = match part {
            Part::Text | Part::Refusal => "msg",
            Part::Thinking | Part::Redacted => "rs",
            Part::Call => "fc",
            Part::Freeform => "ctc",
        };
        Self {
            part,
            index,
            id: context.call_id(prefix, index),
            text: String::new(),
            signature: None,
            annotations: Vec::new(),
            call_id: String::new(),
            name: String::new(),
        }
    }

    pub(super) fn call(place: (usize, &AnswerContext), call_id: String, name: String, is_freeform: bool) -> Self {
        let part = if is_freeform { Part::Freeform } else { Part::Call };
        Self { call_id, name, ..Self::new(part, place) }
    }

    /// Whether it is no call, or one whose arguments are whole.
    pub(super) fn is_whole_call(&self) -> bool {
        match self.part {
            Part::Call | Part::Freeform => {
                self.text.trim().is_empty() || Node::parse(self.text.as_bytes()).is_ok_and(|node| node.is_object())
            }
            _ => true,
        }
    }

    fn at(&self) -> Node {
        object! { "item_id": &self.id, "output_index": self.index }
    }

    /// Returns the place of the text inside of the item.
    fn at_text(&self) -> Node {
        match self.part {
            Part::Text | Part::Refusal => self.at().with("content_index", Some(0_u64)),
            Part::Thinking => self.at().with("summary_index", Some(0_u64)),
            _ => self.at(),
        }
    }

    /// Returns the event of a piece of text.
    pub(super) fn delta(&self, piece: &str) -> Named {
        let delta = self.at_text().with("delta", Some(piece));
        match self.part {
            Part::Text => ("response.output_text.delta", delta.with("logprobs", Some(Node::Array(Vec::new())))),
            Part::Refusal => ("response.refusal.delta", delta),
            Part::Thinking | Part::Redacted => ("response.reasoning_summary_text.delta", delta),
            Part::Call => ("response.function_call_arguments.delta", delta),
            Part::Freeform => ("response.custom_tool_call_input.delta", delta),
        }
    }

    /// Adds what the last characters come from, and returns the event that says so; only text comes from somewhere.
    pub(super) fn cite(&mut self, citation: &Citation, chars: usize) -> Option<Named> {
        if self.part != Part::Text {
            return None;
        }
        let mut found = object! { "type": "url_citation" };
        if let (Node::Object(found), Node::Object(fields)) =
            (&mut found, citation.render(self.text.chars().count(), chars))
        {
            found.extend(fields);
        }
        let added = self.at_text().with("annotation_index", Some(self.annotations.len()));
        self.annotations.push(found.clone());
        Some(("response.output_text.annotation.added", added.with("annotation", Some(found))))
    }

    fn render_part(&self, text: &str) -> Node {
        match self.part {
            Part::Refusal => object! { "type": "refusal", "refusal": text },
            Part::Thinking => object! { "type": "summary_text", "text": text },
            _ => object! { "type": "output_text", "text": text, "annotations": Node::Array(self.annotations.clone()) },
        }
    }

    /// Returns the event that begins the text, for items that have one inside.
    pub(super) fn part_added(&self) -> Option<Named> {
        let added = self.at_text().with("part", Some(self.render_part("")));
        match self.part {
            Part::Text | Part::Refusal => Some(("response.content_part.added", added)),
            Part::Thinking => Some(("response.reasoning_summary_part.added", added)),
            _ => None,
        }
    }

    /// Completes the text, and returns the events that say so.
    pub(super) fn finish(&mut self) -> Vec<Named> {
        let mut events = Vec::new();
        match self.part {
            Part::Call if self.text.trim().is_empty() => "{}".clone_into(&mut self.text),
            Part::Freeform => {
                self.text = if self.text.is_empty() { String::new() } else { freeform_input(&self.text) };
                if !self.text.is_empty() {
                    events.push(self.delta(&self.text));
                }
            }
            _ => {}
        }
        let text = self.text.as_str();
        let done = |name: &'static str| self.at_text().with(name, Some(text));
        let part = self.at_text().with("part", Some(self.render_part(text)));
        match self.part {
            Part::Text => {
                let text = done("text").with("logprobs", Some(Node::Array(Vec::new())));
                events.extend([("response.output_text.done", text), ("response.content_part.done", part)]);
            }
            Part::Refusal => {
                events.extend([("response.refusal.done", done("refusal")), ("response.content_part.done", part)]);
            }
            Part::Thinking => events.extend([
                ("response.reasoning_summary_text.done", done("text")),
                ("response.reasoning_summary_part.done", part),
            ]),
            Part::Call => {
                let done = done("arguments").with("name", Some(self.name.as_str()));
                events.push(("response.function_call_arguments.done", done));
            }
            Part::Freeform => events.push(("response.custom_tool_call_input.done", done("input"))),
            Part::Redacted => {}
        }
        events
    }

    /// Returns the item as it begins.
    pub(super) fn render_empty(&self, echo: &Echo) -> Node {
        match self.part {
            Part::Text | Part::Refusal => self.render_message("in_progress", Vec::new()),
            Part::Thinking | Part::Redacted => {
                object! { "id": &self.id, "type": "reasoning", "summary": Node::Array(Vec::new()) }
            }
            Part::Call | Part::Freeform => self.render_call("in_progress", "", echo),
        }
    }

    /// Returns the item as it is.
    pub(super) fn render(&self, status: &'static str, echo: &Echo) -> Node {
        match self.part {
            Part::Text | Part::Refusal => self.render_message(status, vec![self.render_part(&self.text)]),
            Part::Thinking | Part::Redacted => {
                let has_words = self.part == Part::Thinking && !self.text.is_empty();
                let summary = if has_words { vec![self.render_part(&self.text)] } else { Vec::new() };
                let kind = match self.part {
                    Part::Redacted => BlockKind::Redacted(self.text.clone()),
                    _ => BlockKind::Thinking { text: self.text.clone(), signature: self.signature.clone() },
                };
                let carrier = carrier::pack(&kind).filter(|_| echo.asks_encrypted);
                object! { "id": &self.id, "type": "reasoning", "summary": Node::Array(summary) }
                    .with("encrypted_content", carrier)
            }
            Part::Call | Part::Freeform => self.render_call(status, &self.text, echo),
        }
    }

    fn render_message(&self, status: &'static str, content: Vec<Node>) -> Node {
        object! {
            "id": &self.id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": Node::Array(content),
        }
    }

    fn render_call(&self, status: &'static str, text: &str, echo: &Echo) -> Node {
        let spaced = echo.namespaces.get(&self.name);
        let name = spaced.map_or(self.name.as_str(), |(_, name)| name);
        let (kind, field) = match self.part {
            Part::Freeform => ("custom_tool_call", "input"),
            _ => ("function_call", "arguments"),
        };
        object! { "id": &self.id, "type": kind, "call_id": &self.call_id, "name": name }
            .with("namespace", spaced.map(|(namespace, _)| namespace))
            .with(field, Some(text))
            .with("status", Some(status))
    }
}
