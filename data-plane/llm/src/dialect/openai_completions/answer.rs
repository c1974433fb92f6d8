//! Answers as legacy completions, whole and as chunks.
//!
//! Rule: text and the reason to end are all that this dialect has a word for; thinking has none.

use helix_shared::usage::TokenUsage;

use crate::chat::answer::{Answer, Stop};
use crate::chat::event::Event;
use crate::chat::request::BlockKind;
use crate::chat::sequence::Overflow;
use crate::dialect::Family;
use crate::dialect::openai_chat::{render_stop, render_usage, write_data};
use crate::json::{Node, object};
use crate::translate::{AnswerContext, AnswerPlan, Failure};

/// Renders a whole answer.
pub(crate) fn render_answer(answer: &Answer, usage: TokenUsage, context: &AnswerContext) -> Node {
    let mut text = String::new();
    for block in &answer.blocks {
        if let BlockKind::Text(piece) | BlockKind::Refusal(piece) = &block.kind {
            text.push_str(piece);
        }
    }
    let mut node = frame(context, vec![choice(&text, Node::from(finish(&answer.stop)))]);
    node.set("usage", render_usage(usage));
    node
}

fn finish(stop: &Stop) -> &'static str {
    match stop {
        // There are no tools to call.
        Stop::Calls => "stop",
        stop => render_stop(stop),
    }
}

fn choice(text: &str, finish: Node) -> Node {
    object! { "text": text, "index": 0_u64, "logprobs": Node::Null, "finish_reason": finish }
}

fn frame(context: &AnswerContext, choices: Vec<Node>) -> Node {
    object! {
        "id": context.answer_id("cmpl"),
        "object": "text_completion",
        "created": context.created_unix_s,
        "model": &context.model,
        "choices": Node::Array(choices),
    }
}

/// Writes one stream.
#[derive(Debug)]
pub(crate) struct StreamWriter {
    asks_usage: bool,
    context: AnswerContext,
}

impl StreamWriter {
    pub(crate) fn new(plan: &AnswerPlan, context: AnswerContext) -> Self {
        Self { asks_usage: plan.asks_usage, context }
    }

    /// Writes one event.
    pub(crate) fn write(&mut self, event: Event, usage: Option<TokenUsage>, out: &mut Vec<u8>) -> Result<(), Overflow> {
        match event {
            Event::Text(text) | Event::Refusal(text) => self.chunk(&text, Node::Null, out),
            Event::Stop(stop) => self.chunk("", Node::from(finish(&stop)), out),
            Event::End => {
                if self.asks_usage {
                    let mut last = frame(&self.context, Vec::new());
                    last.set("usage", render_usage(usage.unwrap_or_default()));
                    write_data(&last, out);
                }
                out.extend_from_slice(b"data: [DONE]\n\n");
            }
            Event::Failed(error) => {
                let failure = Failure::new(Family::Anthropic, Family::OpenAi, None, error);
                write_data(&failure.render(Family::OpenAi, &self.context.request_id), out);
            }
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
            Event::Start
            | Event::Thinking(_)
            | Event::Signature(_)
            | Event::Redacted(_)
            | Event::CallStart { .. }
            | Event::Arguments { .. }
            | Event::CallEnd { .. }
            | Event::BlockEnd => {}
        }
        Ok(())
    }

    fn chunk(&self, text: &str, finish: Node, out: &mut Vec<u8>) {
        write_data(&frame(&self.context, vec![choice(text, finish)]), out);
    }
}
