//! A provider's chunks, read neutrally.
//!
//! Rule: servers differ in how they number, name and repeat calls; a call is told by its index, else by its id, else it is
//! the last one. Only the first choice counts, and why it ended is said once, at the end, when usage is known.

use crate::chat::answer::Stop;
use crate::chat::event::Event;
use crate::chat::signed_id;
use crate::dialect::openai_chat::answer::{signature_beside, stop_of, text_of, thinking_of};
use crate::json::Node;
use crate::response::ProviderError;
use crate::translate::{AnswerContext, AnswerPlan};

/// Most bytes of arguments that wait for the name of their call.
const MAX_HELD_BYTES: usize = 1024 * 1024;
const MAX_CALLS: usize = 1024;

/// Reads one stream.
#[derive(Debug)]
pub(crate) struct StreamReader {
    /// The model whose signatures these are.
    signer: String,
    context: AnswerContext,
    is_started: bool,
    calls: Vec<Call>,
    is_refused: bool,
    /// The choice that said why it ended.
    finish: Option<Node>,
    held_bytes: usize,
}

#[derive(Debug, Default)]
struct Call {
    index: Option<u64>,
    id: Option<String>,
    /// What the provider wants to see again with the call.
    signature: Option<String>,
    /// The number it started under; `None` while its name has not come.
    number: Option<usize>,
    held: String,
}

impl Call {
    /// The id that the client gets, with the signature in it; `None`: whoever writes makes one.
    fn outward_id(&self, number: usize, signer: &str, context: &AnswerContext) -> Option<String> {
        let Some(signature) = &self.signature else { return self.id.clone() };
        let id = self.id.clone().unwrap_or_else(|| context.call_id("call", number));
        Some(signed_id::sign(&id, Some(signer), signature))
    }
}

impl StreamReader {
    pub(crate) fn new(plan: &AnswerPlan, context: &AnswerContext) -> Self {
        Self {
            signer: plan.signer.clone(),
            context: context.clone(),
            is_started: false,
            calls: Vec::new(),
            is_refused: false,
            finish: None,
            held_bytes: 0,
        }
    }

    /// Reads one chunk.
    pub(crate) fn read(&mut self, name: &[u8], chunk: &Node, out: &mut Vec<Event>) {
        if let Some(error) = chunk.get("error").or_else(|| (name == b"error").then_some(chunk)) {
            out.push(Event::Failed(read_error(error)));
            return;
        }
        if !std::mem::replace(&mut self.is_started, true) {
            out.push(Event::Start);
        }
        let is_first = |choice: &&Node| choice.get("index").and_then(Node::as_u64).unwrap_or(0) == 0;
        for choice in chunk.list("choices").iter().filter(is_first) {
            if let Some(delta) = choice.get("delta").or_else(|| choice.get("message")) {
                self.read_delta(delta, out);
            }
            if choice.text("finish_reason").is_some() && self.finish.is_none() {
                let reason = choice.text("finish_reason");
                let kept = crate::json::object! { "finish_reason": reason };
                self.finish = Some(kept.with("stop_reason", choice.text("stop_reason")));
            }
        }
    }

    fn read_delta(&mut self, delta: &Node, out: &mut Vec<Event>) {
        out.extend(thinking_of(delta).map(Event::Thinking));
        out.extend(text_of(delta.get("content")).map(Event::Text));
        if let Some(refusal) = delta.text("refusal").filter(|text| !text.is_empty()) {
            self.is_refused = true;
            out.push(Event::Refusal(refusal.to_owned()));
        }
        for call in delta.list("tool_calls") {
            self.read_call(call, call.get("function").unwrap_or(call), out);
        }
        if let Some(function) = delta.get("function_call") {
            let only = crate::json::object! { "index": 0_u64 };
            self.read_call(&only, function, out);
        }
    }

    fn read_call(&mut self, call: &Node, function: &Node, out: &mut Vec<Event>) {
        let Some(at) = self.find(call, function) else {
            out.push(too_much());
            return;
        };
        let number = self.calls.iter().filter(|call| call.number.is_some()).count();
        let Some(state) = self.calls.get_mut(at) else { return };
        if state.number.is_none() {
            state.signature = signature_beside(call).map(str::to_owned).or(state.signature.take());
        }
        let arguments = match function.get("arguments") {
            None => String::new(),
            Some(Node::String(text)) => text.clone(),
            Some(object) => object.to_json(),
        };
        let number = match (state.number, function.text("name").filter(|name| !name.is_empty())) {
            (Some(number), _) => number,
            (None, Some(name)) => {
                state.number = Some(number);
                let id = state.outward_id(number, &self.signer, &self.context);
                out.push(Event::CallStart { call: number, id, name: name.to_owned() });
                let held = std::mem::take(&mut state.held);
                if !held.is_empty() {
                    out.push(Event::Arguments { call: number, piece: held });
                }
                number
            }
            (None, None) => {
                self.held_bytes = self.held_bytes.saturating_add(arguments.len());
                if self.held_bytes > MAX_HELD_BYTES {
                    out.push(too_much());
                    return;
                }
                state.held.push_str(&arguments);
                return;
            }
        };
        if !arguments.is_empty() {
            out.push(Event::Arguments { call: number, piece: arguments });
        }
    }

    /// Finds the call that a delta belongs to, or begins one; `None` when there are too many.
    fn find(&mut self, call: &Node, function: &Node) -> Option<usize> {
        let index = call.get("index").and_then(Node::as_u64);
        let id = call.text("id").filter(|id| !id.is_empty());
        let is_named = function.text("name").is_some_and(|name| !name.is_empty());
        let found = match (index, id) {
            (Some(_), _) => self.calls.iter().rposition(|known| known.index == index),
            (None, Some(_)) => self.calls.iter().rposition(|known| known.id.as_deref() == id),
            (None, None) => self.calls.len().checked_sub(1).filter(|_| !is_named),
        };
        if let Some(at) = found
            && let Some(known) = self.calls.get_mut(at)
        {
            // Some servers number every call 0: another id with a name is another call.
            let is_other = is_named && id.is_some() && known.id.is_some() && known.id.as_deref() != id;
            if !is_other {
                known.id = known.id.take().or_else(|| id.map(str::to_owned));
                return Some(at);
            }
        }
        if self.calls.len() >= MAX_CALLS {
            return None;
        }
        self.calls.push(Call { index, id: id.map(str::to_owned), ..Call::default() });
        Some(self.calls.len() - 1)
    }

    /// Whether the provider said why the answer ended.
    pub(crate) fn has_stopped(&self) -> bool {
        self.finish.is_some()
    }

    /// Says why the answer ended, and that it did.
    pub(crate) fn end(&mut self, out: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.is_started, true) {
            out.push(Event::Start);
        }
        let has_calls = self.calls.iter().any(|call| call.number.is_some());
        let stop = match self.finish.take() {
            Some(choice) => stop_of(&choice, has_calls, self.is_refused),
            None if has_calls => Stop::Calls,
            None => Stop::End,
        };
        out.extend([Event::Stop(stop), Event::End]);
    }
}

fn too_much() -> Event {
    let message = "The provider sent more calls of tools than can be kept.".to_owned();
    Event::Failed(ProviderError { message, ..ProviderError::default() })
}

pub(super) fn read_error(error: &Node) -> ProviderError {
    let short = |name: &str| match error.get(name) {
        Some(Node::String(text)) => Some(crate::response::cut_short(text.clone())),
        Some(Node::Number(number)) => Some(number.clone()),
        _ => None,
    };
    let message = error.as_str().map(str::to_owned).or_else(|| short("message")).unwrap_or_default();
    ProviderError { kind: short("type"), code: short("code"), message: crate::response::cut_short(message) }
}
