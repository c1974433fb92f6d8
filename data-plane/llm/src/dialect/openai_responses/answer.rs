//! A whole answer as a response.
//!
//! Rule: it is the response that a stream of the same answer ends with.

use helix_shared::usage::TokenUsage;

use super::write::StreamWriter;
use crate::chat::answer::Answer;
use crate::chat::event::Event;
use crate::chat::request::BlockKind;
use crate::json::Node;
use crate::translate::{AnswerContext, AnswerPlan};

/// Renders an answer.
pub(crate) fn render_answer(answer: &Answer, usage: TokenUsage, plan: &AnswerPlan, context: &AnswerContext) -> Node {
    let mut events = vec![Event::Start];
    let mut calls = 0_usize;
    for (at, block) in answer.blocks.iter().enumerate() {
        match &block.kind {
            BlockKind::Text(text) => {
                events.push(Event::Text(text.clone()));
                let chars = text.chars().count();
                let cited = answer.cited.iter().filter(|(block, _)| *block == at);
                events.extend(cited.map(|(_, citation)| Event::Cited { citation: citation.clone(), chars }));
            }
            BlockKind::Refusal(text) => events.push(Event::Refusal(text.clone())),
            BlockKind::Thinking { text, signature } => {
                events.push(Event::Thinking(text.clone()));
                events.extend(signature.clone().map(Event::Signature));
                events.push(Event::BlockEnd);
            }
            BlockKind::Redacted(data) => events.push(Event::Redacted(data.clone())),
            BlockKind::Call(call) => {
                let id = Some(call.id.clone()).filter(|id| !id.is_empty());
                events.push(Event::CallStart { call: calls, id, name: call.name.clone() });
                events.push(Event::Arguments { call: calls, piece: call.arguments.clone() });
                events.push(Event::CallEnd { call: calls });
                calls += 1;
            }
            _ => {}
        }
    }
    events.extend([Event::Stop(answer.stop.clone()), Event::End]);
    let mut writer = StreamWriter::new(plan.clone(), context.clone());
    let mut scratch = Vec::new();
    for event in events {
        scratch.clear();
        if writer.write(event, Some(usage), &mut scratch).is_err() {
            writer.fail("The answer is too large.", Some(usage), &mut scratch);
            break;
        }
    }
    writer.into_response()
}
