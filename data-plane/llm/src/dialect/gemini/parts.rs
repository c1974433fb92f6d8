//! The parts of an answer and the reasons to end, read neutrally.
//!
//! Rule: whole answers and streams read them the same way. A call's signature goes into its id.

use crate::chat::answer::{Citation, Stop};
use crate::chat::signed_id;
use crate::json::Node;
use crate::translate::AnswerContext;

/// What a part is.
pub(super) enum Part {
    Text(String),
    Thinking(String),
    /// Its id, its name, and its arguments as JSON.
    Call(String, String, String),
}

/// Reads the parts of one stream or one answer.
#[derive(Debug)]
pub(super) struct PartReader {
    signer: String,
    context: AnswerContext,
    calls: usize,
}

impl PartReader {
    pub(super) fn new(signer: &str, context: &AnswerContext) -> Self {
        Self { signer: signer.to_owned(), context: context.clone(), calls: 0 }
    }

    /// The calls so far.
    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    /// Reads a part; `None`: it says nothing that a client could be told.
    pub(super) fn read(&mut self, part: &Node) -> Option<Part> {
        if let Some(call) = part.get("functionCall") {
            let minted = || self.context.call_id("call", self.calls);
            let id = call.text("id").filter(|id| !id.is_empty()).map_or_else(minted, str::to_owned);
            let id = match part.text("thoughtSignature").filter(|signature| !signature.is_empty()) {
                Some(signature) => signed_id::sign(&id, Some(&self.signer), signature),
                None => id,
            };
            self.calls += 1;
            let args = call.get("args").filter(|args| args.is_object());
            let args = args.map_or_else(|| "{}".to_owned(), Node::to_json);
            return Some(Part::Call(id, call.text("name").unwrap_or_default().to_owned(), args));
        }
        let text = part.text("text").filter(|text| !text.is_empty())?.to_owned();
        let is_thought = matches!(part.get("thought"), Some(Node::Bool(true)));
        Some(if is_thought { Part::Thinking(text) } else { Part::Text(text) })
    }
}

/// Reads `finishReason`, which does not tell calls apart.
pub(super) fn stop_of(reason: &str, message: Option<&str>, has_calls: bool) -> Stop {
    match reason {
        "MAX_TOKENS" | "CONTINUATION" => Stop::Length,
        "SAFETY"
        | "RECITATION"
        | "LANGUAGE"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "NO_IMAGE"
        | "ESCALATION"
        | "PUP_LIMITED_DISABLED"
        | "MODEL_ARMOR"
        | "OTHER" => Stop::Refusal(message.map(str::to_owned)),
        image if image.starts_with("IMAGE_") => Stop::Refusal(message.map(str::to_owned)),
        _ if has_calls => Stop::Calls,
        // A call that went wrong is none: the model said nothing more.
        _ => Stop::End,
    }
}

/// Returns the pages that a search found for the answer.
pub(super) fn citations_of(candidate: &Node) -> impl Iterator<Item = Citation> {
    let chunks = candidate.get("groundingMetadata").map_or(&[][..], |found| found.list("groundingChunks"));
    chunks.iter().filter_map(|chunk| Citation::parse(chunk.get("web")?, "uri"))
}

/// Returns why a prompt was refused, if it was.
pub(super) fn block_of(document: &Node) -> Option<Stop> {
    let feedback = document.get("promptFeedback")?;
    feedback.text("blockReason")?;
    Some(Stop::Refusal(feedback.text("blockReasonMessage").map(str::to_owned)))
}
