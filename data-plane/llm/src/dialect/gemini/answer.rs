//! A whole answer, read neutrally.
//!
//! Rule: the first candidate is the answer. A prompt that was refused is an answer too: a refusal.

use super::error::unwrapped;
use super::parts::{Part, PartReader, block_of, citations_of, stop_of};
use crate::chat::answer::Answer;
use crate::chat::request::{Block, BlockKind, Call, Place};
use crate::json::Node;
use crate::translate::{AnswerContext, AnswerPlan, TranslateError};

type Result<T> = std::result::Result<T, TranslateError>;

/// Reads an answer.
pub(crate) fn parse_answer(body: &[u8], plan: &AnswerPlan, context: &AnswerContext) -> Result<Answer> {
    let node = Node::parse(body).map_err(|_| TranslateError::UnreadableAnswer)?;
    let document = unwrapped(&node);
    let Some(candidate) = document.list("candidates").first() else {
        let stop = block_of(document).ok_or(TranslateError::UnreadableAnswer)?;
        return Ok(Answer { stop, ..Answer::default() });
    };
    let mut reader = PartReader::new(&plan.signer, context);
    let mut blocks: Vec<Block> = Vec::new();
    for part in candidate.get("content").map_or(&[][..], |content| content.list("parts")) {
        let kind = match (reader.read(part), blocks.last_mut().map(|block| &mut block.kind)) {
            // Pieces of one text are one text.
            (Some(Part::Text(more)), Some(BlockKind::Text(text))) => {
                text.push_str(&more);
                continue;
            }
            (Some(Part::Thinking(more)), Some(BlockKind::Thinking { text, .. })) => {
                text.push_str(&more);
                continue;
            }
            (Some(Part::Text(text)), _) => BlockKind::Text(text),
            (Some(Part::Thinking(text)), _) => BlockKind::Thinking { text, signature: None },
            (Some(Part::Call(id, name, arguments)), _) => {
                BlockKind::Call(Call { id, name, arguments, is_freeform: false })
            }
            (None, _) => continue,
        };
        blocks.push(Block::new(kind, Place::default()));
    }
    let reason = candidate.text("finishReason").unwrap_or_default();
    let stop = stop_of(reason, candidate.text("finishMessage"), reader.calls() > 0);
    let last = blocks.iter().rposition(|block| block.as_text().is_some());
    let cited = last.into_iter().flat_map(|at| citations_of(candidate).map(move |citation| (at, citation))).collect();
    Ok(Answer { blocks, cited, stop })
}
