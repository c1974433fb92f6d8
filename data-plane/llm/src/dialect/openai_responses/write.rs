//! Neutral events as a Responses client's events; a whole answer is what their last event says.
//!
//! Rule: `sequence_number` counts every event from 0; one item is open at a time and keeps its id in everything that is
//! said of it; the last event is exactly one of completed, incomplete and failed.

use helix_shared::usage::TokenUsage;

use super::echo::{Status, response};
use super::item::{Item, Part};
use crate::chat::answer::Stop;
use crate::chat::event::Event;
use crate::chat::sequence::Overflow;
use crate::dialect::Family;
use crate::json::{Node, object};
use crate::translate::{AnswerContext, AnswerPlan, Failure};

/// The most text of one answer; its last event repeats all of it.
const MAX_KEPT_BYTES: usize = 16 * 1024 * 1024;

/// Writes one stream.
#[derive(Debug)]
pub(crate) struct StreamWriter {
    plan: AnswerPlan,
    context: AnswerContext,
    events: u64,
    is_started: bool,
    /// The items that are done.
    output: Vec<Node>,
    open: Option<Item>,
    kept_bytes: usize,
    stop: Stop,
    /// What the last event said.
    last: Option<Node>,
}

impl StreamWriter {
    pub(crate) fn new(plan: AnswerPlan, context: AnswerContext) -> Self {
        Self {
            plan,
            context,
            events: 0,
            is_started: false,
            output: Vec::new(),
            open: None,
            kept_bytes: 0,
            stop: Stop::End,
            last: None,
        }
    }

    /// Returns the response that the last event held.
    pub(super) fn into_response(self) -> Node {
        self.last.unwrap_or_default()
    }

    /// Writes one event.
    pub(crate) fn write(&mut self, event: Event, usage: Option<TokenUsage>, out: &mut Vec<u8>) -> Result<(), Overflow> {
        match event {
            Event::Start => self.start(out),
            Event::Text(text) => self.add(Part::Text, &text, out)?,
            Event::Refusal(text) => self.add(Part::Refusal, &text, out)?,
            Event::Thinking(text) => self.add(Part::Thinking, &text, out)?,
            Event::Signature(signature) => {
                // A signature may come without a visible word.
                if !self.open.as_ref().is_some_and(|item| item.part == Part::Thinking) {
                    self.open(Part::Thinking, out);
                }
                if let Some(item) = &mut self.open {
                    item.signature = Some(signature);
                }
                self.close("completed", out);
            }
            Event::Redacted(data) => {
                if self.plan.echo.asks_encrypted {
                    self.open(Part::Redacted, out);
                    if let Some(item) = &mut self.open {
                        item.text = data;
                    }
                    self.close("completed", out);
                }
            }
            Event::Cited { citation, chars } => {
                self.keep(citation.size_bytes())?;
                let added = self.open.as_mut().and_then(|item| item.cite(&citation, chars));
                if let Some((name, fields)) = added {
                    self.emit(name, fields, out);
                }
            }
            Event::BlockEnd => {
                if self.open.as_ref().is_some_and(|item| item.part == Part::Thinking) {
                    self.close("completed", out);
                }
            }
            Event::CallStart { call, id, name } => {
                let call_id = id.unwrap_or_else(|| self.context.call_id("call", call));
                let name = self.plan.names.inward(&name).to_owned();
                let is_freeform = self.plan.is_freeform(&name);
                self.open_item(Item::call(self.place(), call_id, name, is_freeform), out);
            }
            Event::Arguments { piece, .. } => self.add_arguments(&piece, out)?,
            Event::CallEnd { .. } => {
                let is_whole = self.open.as_ref().is_none_or(Item::is_whole_call);
                self.close(if is_whole { "completed" } else { "incomplete" }, out);
            }
            Event::Stop(stop) => {
                self.start(out);
                self.stop_with(stop, out)?;
            }
            Event::End => {
                let status = match &self.stop {
                    Stop::Length => Status::Incomplete("max_output_tokens"),
                    Stop::Refusal(_) => Status::Incomplete("content_filter"),
                    Stop::End | Stop::Sequence(_) | Stop::Calls | Stop::Declined => Status::Completed,
                };
                self.finish(status, usage, out);
            }
            Event::Failed(error) => {
                let failure = Failure::new(Family::Anthropic, Family::OpenAi, None, error);
                let code = match failure.shape(Family::OpenAi).2 {
                    "rate_limit_exceeded" => "rate_limit_exceeded",
                    _ => "server_error",
                };
                self.fail_with(code, &failure.message, usage, out);
            }
            Event::Ping => out.extend_from_slice(b": ping\n\n"),
        }
        Ok(())
    }

    /// Ends the stream with an error of ours.
    pub(crate) fn fail(&mut self, message: &str, usage: Option<TokenUsage>, out: &mut Vec<u8>) {
        self.fail_with("server_error", message, usage, out);
    }

    fn fail_with(&mut self, code: &str, message: &str, usage: Option<TokenUsage>, out: &mut Vec<u8>) {
        self.start(out);
        if let Some(item) = self.open.take() {
            self.output.push(item.render("incomplete", &self.plan.echo));
        }
        self.finish(Status::Failed(code, message), usage, out);
    }

    fn finish(&mut self, status: Status<'_>, usage: Option<TokenUsage>, out: &mut Vec<u8>) {
        let output = std::mem::take(&mut self.output);
        let response = response(&self.plan.echo, &self.context, status, output, usage);
        self.last = Some(response.clone());
        self.emit(&format!("response.{}", status.name()), object! { "response": response }, out);
    }

    fn stop_with(&mut self, stop: Stop, out: &mut Vec<u8>) -> Result<(), Overflow> {
        let is_short = matches!(stop, Stop::Length | Stop::Refusal(_));
        if let Stop::Refusal(Some(explanation)) = &stop
            && !explanation.is_empty()
        {
            self.close("completed", out);
            self.add(Part::Refusal, &explanation.clone(), out)?;
        }
        self.close(if is_short { "incomplete" } else { "completed" }, out);
        self.stop = stop;
        Ok(())
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.is_started, true) {
            return;
        }
        let response = response(&self.plan.echo, &self.context, Status::InProgress, Vec::new(), None);
        self.emit("response.created", object! { "response": response.clone() }, out);
        self.emit("response.in_progress", object! { "response": response }, out);
    }

    /// The index of the next item.
    fn place(&self) -> (usize, &AnswerContext) {
        (self.output.len() + usize::from(self.open.is_some()), &self.context)
    }

    fn keep(&mut self, bytes: usize) -> Result<(), Overflow> {
        self.kept_bytes = self.kept_bytes.saturating_add(bytes);
        if self.kept_bytes > MAX_KEPT_BYTES { Err(Overflow) } else { Ok(()) }
    }

    fn add(&mut self, part: Part, text: &str, out: &mut Vec<u8>) -> Result<(), Overflow> {
        self.keep(text.len())?;
        if !self.open.as_ref().is_some_and(|item| item.part == part) {
            self.open(part, out);
        }
        if let Some(item) = &mut self.open {
            item.text.push_str(text);
            let (name, delta) = item.delta(text);
            self.emit(name, delta, out);
        }
        Ok(())
    }

    fn add_arguments(&mut self, piece: &str, out: &mut Vec<u8>) -> Result<(), Overflow> {
        self.keep(piece.len())?;
        let Some(item) = &mut self.open else { return Ok(()) };
        item.text.push_str(piece);
        // The plain input of a freeform tool is known only when the JSON around it is whole.
        if item.part == Part::Call {
            let (name, delta) = item.delta(piece);
            self.emit(name, delta, out);
        }
        Ok(())
    }

    fn open(&mut self, part: Part, out: &mut Vec<u8>) {
        let item = Item::new(part, self.place());
        self.open_item(item, out);
    }

    fn open_item(&mut self, item: Item, out: &mut Vec<u8>) {
        self.start(out);
        self.close("completed", out);
        let added = object! { "output_index": item.index, "item": item.render_empty(&self.plan.echo) };
        self.emit("response.output_item.added", added, out);
        if let Some((name, fields)) = item.part_added() {
            self.emit(name, fields, out);
        }
        self.open = Some(item);
    }

    fn close(&mut self, status: &'static str, out: &mut Vec<u8>) {
        let Some(mut item) = self.open.take() else { return };
        for (name, fields) in item.finish() {
            self.emit(name, fields, out);
        }
        let rendered = item.render(status, &self.plan.echo);
        let done = object! { "output_index": item.index, "item": rendered.clone() };
        self.emit("response.output_item.done", done, out);
        self.output.push(rendered);
    }

    fn emit(&mut self, name: &str, fields: Node, out: &mut Vec<u8>) {
        let mut event = object! { "type": name, "sequence_number": self.events };
        if let (Node::Object(event), Node::Object(fields)) = (&mut event, fields) {
            event.extend(fields);
        }
        self.events += 1;
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\ndata: ");
        event.write(out);
        out.extend_from_slice(b"\n\n");
    }
}
