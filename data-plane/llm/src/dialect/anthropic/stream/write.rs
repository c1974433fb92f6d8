//! Neutral events as a client's events.
//!
//! Rule: `message_start` first, blocks one after the other under growing indexes, then one `message_delta` and
//! `message_stop`; after an error nothing.

use helix_shared::usage::TokenUsage;

use crate::chat::event::Event;
use crate::chat::sequence::Overflow;
use crate::dialect::Family;
use crate::dialect::anthropic::answer::{render_stop, render_usage};
use crate::json::{Node, object};
use crate::translate::{AnswerContext, AnswerPlan, Failure};

/// Writes one stream.
#[derive(Debug)]
pub(crate) struct StreamWriter {
    plan: AnswerPlan,
    context: AnswerContext,
    is_started: bool,
    blocks: usize,
    open: Option<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking { is_signed: bool },
    Call,
}

impl StreamWriter {
    pub(crate) fn new(plan: AnswerPlan, context: AnswerContext) -> Self {
        Self { plan, context, is_started: false, blocks: 0, open: None }
    }

    /// Writes one event. Never overflows: nothing is kept.
    pub(crate) fn write(&mut self, event: Event, usage: Option<TokenUsage>, out: &mut Vec<u8>) -> Result<(), Overflow> {
        match event {
            Event::Start => self.start(out),
            Event::Text(text) | Event::Refusal(text) => {
                if self.open != Some(Kind::Text) {
                    self.open_block(Kind::Text, object! { "type": "text", "text": "" }, out);
                }
                self.delta(object! { "type": "text_delta", "text": text }, out);
            }
            Event::Thinking(text) => {
                self.open_thinking(out);
                self.delta(object! { "type": "thinking_delta", "thinking": text }, out);
            }
            Event::Signature(signature) => {
                self.open_thinking(out);
                self.delta(object! { "type": "signature_delta", "signature": signature }, out);
                self.open = Some(Kind::Thinking { is_signed: true });
            }
            Event::Redacted(data) => {
                self.open_block(Kind::Text, object! { "type": "redacted_thinking", "data": data }, out);
                self.close_block(out);
            }
            Event::CallStart { call, id, name } => {
                let id = id.unwrap_or_else(|| self.context.call_id("toolu", call));
                let name = self.plan.names.inward(&name).to_owned();
                let block = object! { "type": "tool_use", "id": id, "name": name, "input": object! {} };
                self.open_block(Kind::Call, block, out);
            }
            Event::Arguments { piece, .. } => {
                self.delta(object! { "type": "input_json_delta", "partial_json": piece }, out);
            }
            // What another provider's search found cannot be said here: a citation holds a secret of Anthropic's own.
            Event::Cited { .. } => {}
            Event::CallEnd { .. } | Event::BlockEnd => self.close_block(out),
            Event::Stop(stop) => {
                self.close_block(out);
                let (reason, sequence) = render_stop(&stop);
                let delta = object! { "stop_reason": reason, "stop_sequence": sequence };
                let usage = render_usage(usage.unwrap_or_default());
                emit("message_delta", object! { "type": "message_delta", "delta": delta, "usage": usage }, out);
            }
            Event::End => emit("message_stop", object! { "type": "message_stop" }, out),
            Event::Failed(error) => {
                let failure = Failure::new(Family::OpenAi, Family::Anthropic, None, error);
                emit("error", failure.render(Family::Anthropic, &self.context.request_id), out);
            }
            Event::Ping => emit("ping", object! { "type": "ping" }, out),
        }
        Ok(())
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.is_started, true) {
            return;
        }
        let estimate = TokenUsage { input_tokens: self.context.estimated_input_tokens, ..TokenUsage::default() };
        let message = object! {
            "id": self.context.answer_id("msg"),
            "type": "message",
            "role": "assistant",
            "model": &self.context.model,
            "content": Node::Array(Vec::new()),
            "stop_reason": Node::Null,
            "stop_sequence": Node::Null,
            "usage": render_usage(estimate),
        };
        emit("message_start", object! { "type": "message_start", "message": message }, out);
    }

    fn open_thinking(&mut self, out: &mut Vec<u8>) {
        if self.open != Some(Kind::Thinking { is_signed: false }) {
            let block = object! { "type": "thinking", "thinking": "", "signature": "" };
            self.open_block(Kind::Thinking { is_signed: false }, block, out);
        }
    }

    fn open_block(&mut self, kind: Kind, block: Node, out: &mut Vec<u8>) {
        self.start(out);
        self.close_block(out);
        let start = object! { "type": "content_block_start", "index": self.blocks, "content_block": block };
        emit("content_block_start", start, out);
        self.open = Some(kind);
    }

    fn close_block(&mut self, out: &mut Vec<u8>) {
        let Some(kind) = self.open.take() else { return };
        if kind == (Kind::Thinking { is_signed: false }) {
            // Says that the block is over and that nobody vouches for it; it is dropped when it comes back.
            self.delta(object! { "type": "signature_delta", "signature": "" }, out);
        }
        emit("content_block_stop", object! { "type": "content_block_stop", "index": self.blocks }, out);
        self.blocks += 1;
    }

    fn delta(&mut self, delta: Node, out: &mut Vec<u8>) {
        emit(
            "content_block_delta",
            object! { "type": "content_block_delta", "index": self.blocks, "delta": delta },
            out,
        );
    }
}

#[expect(clippy::needless_pass_by_value, reason = "an event is built where it is sent")]
fn emit(name: &str, event: Node, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    event.write(out);
    out.extend_from_slice(b"\n\n");
}
