//! Neutral events as a client's chunks.
//!
//! Rule: the role comes first, the reason to end once, the usage only for who asked, `[DONE]` last, and nothing after an
//! error.

use helix_shared::usage::TokenUsage;

use crate::chat::answer::Stop;
use crate::chat::event::Event;
use crate::chat::sequence::Overflow;
use crate::dialect::Family;
use crate::dialect::openai_chat::answer::{
    annotation, extra_content, freeform_input, redacted_block, render_stop, render_usage, thinking_block,
};
use crate::json::{Node, object};
use crate::translate::{AnswerContext, AnswerPlan, Failure};

/// Most bytes of thinking that are kept to be sent again with their signature, and of plain input of a freeform tool.
const MAX_KEPT_BYTES: usize = 8 * 1024 * 1024;

/// Writes one stream.
#[derive(Debug)]
pub(crate) struct StreamWriter {
    plan: AnswerPlan,
    context: AnswerContext,
    is_started: bool,
    thinking: String,
    /// Characters of text so far.
    written_chars: usize,
    /// The freeform call that is open: its name and what came of its arguments.
    freeform: Option<(Node, String)>,
}

impl StreamWriter {
    pub(crate) fn new(plan: AnswerPlan, context: AnswerContext) -> Self {
        Self { plan, context, is_started: false, thinking: String::new(), written_chars: 0, freeform: None }
    }

    /// Writes one event.
    pub(crate) fn write(&mut self, event: Event, usage: Option<TokenUsage>, out: &mut Vec<u8>) -> Result<(), Overflow> {
        match event {
            Event::Start => self.start(out),
            Event::Text(text) => {
                self.written_chars = self.written_chars.saturating_add(text.chars().count());
                self.delta(object! { "content": text }, out);
            }
            Event::Cited { citation, chars } => {
                let found = annotation(&citation, self.written_chars, chars);
                self.delta(object! { "annotations": Node::Array(vec![found]) }, out);
            }
            Event::Refusal(text) => self.delta(object! { "refusal": text }, out),
            Event::Thinking(text) => {
                self.keep(|writer| &mut writer.thinking, &text)?;
                self.delta(object! { "reasoning_content": text }, out);
            }
            Event::Signature(signature) => {
                let block = thinking_block(&std::mem::take(&mut self.thinking), &signature);
                self.delta(object! { "thinking_blocks": Node::Array(vec![block]) }, out);
            }
            Event::Redacted(data) => {
                self.delta(object! { "thinking_blocks": Node::Array(vec![redacted_block(&data)]) }, out);
            }
            Event::BlockEnd => self.thinking.clear(),
            Event::CallStart { call, id, name } => self.start_call(call, id, &name, out),
            Event::Arguments { call, piece } => {
                if let Some((_, arguments)) = &mut self.freeform {
                    if arguments.len().saturating_add(piece.len()) > MAX_KEPT_BYTES {
                        return Err(Overflow);
                    }
                    arguments.push_str(&piece);
                } else if !piece.is_empty() {
                    let function = object! { "arguments": piece };
                    self.call_delta(object! { "index": call, "function": function }, out);
                }
            }
            Event::CallEnd { .. } => {
                if let Some((mut call, arguments)) = self.freeform.take() {
                    let name = call.take("name").unwrap_or_default();
                    call.set("custom", object! { "name": name, "input": freeform_input(&arguments) });
                    self.call_delta(call, out);
                }
            }
            Event::Stop(stop) => {
                self.start(out);
                if let Stop::Refusal(explanation) = &stop {
                    self.delta(object! { "refusal": explanation.as_deref().unwrap_or_default() }, out);
                }
                self.chunk(object! {}, Node::from(render_stop(&stop)), out);
            }
            Event::End => {
                if self.plan.asks_usage {
                    let mut chunk = self.frame(Node::Array(Vec::new()));
                    chunk.set("usage", render_usage(usage.unwrap_or_default()));
                    write_data(&chunk, out);
                }
                out.extend_from_slice(b"data: [DONE]\n\n");
            }
            Event::Failed(error) => {
                let failure = Failure::new(Family::Anthropic, Family::OpenAi, None, error);
                write_data(&failure.render(Family::OpenAi, &self.context.request_id), out);
            }
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
        }
        Ok(())
    }

    fn keep(&mut self, slot: impl Fn(&mut Self) -> &mut String, text: &str) -> Result<(), Overflow> {
        let kept = slot(self);
        if kept.len().saturating_add(text.len()) > MAX_KEPT_BYTES {
            return Err(Overflow);
        }
        kept.push_str(text);
        Ok(())
    }

    fn start_call(&mut self, call: usize, id: Option<String>, name: &str, out: &mut Vec<u8>) {
        let id = id.unwrap_or_else(|| self.context.call_id("call", call));
        let name = self.plan.names.inward(name);
        if self.plan.is_freeform(name) {
            let call = object! { "index": call, "id": id, "type": "custom", "name": name };
            self.freeform = Some((call, String::new()));
            return;
        }
        let function = object! { "name": name, "arguments": "" };
        let extra = extra_content(&id);
        let call = object! { "index": call, "id": id, "type": "function", "function": function };
        self.call_delta(call.with("extra_content", extra), out);
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.is_started, true) {
            self.chunk(object! { "role": "assistant", "content": "" }, Node::Null, out);
        }
    }

    fn call_delta(&mut self, call: Node, out: &mut Vec<u8>) {
        self.delta(object! { "tool_calls": Node::Array(vec![call]) }, out);
    }

    fn delta(&mut self, delta: Node, out: &mut Vec<u8>) {
        self.start(out);
        self.chunk(delta, Node::Null, out);
    }

    fn chunk(&mut self, delta: Node, finish: Node, out: &mut Vec<u8>) {
        let choice = object! { "index": 0_u64, "delta": delta, "finish_reason": finish };
        write_data(&self.frame(Node::Array(vec![choice])), out);
    }

    fn frame(&self, choices: Node) -> Node {
        object! {
            "id": self.context.answer_id("chatcmpl"),
            "object": "chat.completion.chunk",
            "created": self.context.created_unix_s,
            "model": &self.context.model,
            "choices": choices,
        }
    }
}

pub(crate) fn write_data(node: &Node, out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    node.write(out);
    out.extend_from_slice(b"\n\n");
}
