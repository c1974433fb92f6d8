//! The translation of a stream: the provider's events in, the client's events out.
//!
//! Rule: wherever the provider's stream is cut, the client's ends in exactly one last word, its end mark or an error.
//! Memory is bounded whatever the provider sends. What the stream is billed by is read by the same filter that reads
//! streams that pass untranslated.

use bytes::Bytes;
use helix_shared::error_code::ErrorCode;
use helix_shared::usage::TokenUsage;

use super::{AnswerContext, AnswerPlan, ChatDialect};
use crate::chat::event::Event;
use crate::chat::sequence::Sequence;
use crate::dialect::framing::Framing;
use crate::dialect::{Dialect, anthropic, bedrock, gemini, ollama, openai_chat, openai_completions, openai_responses};
use crate::error_body::ErrorBody;
use crate::json::Node;
use crate::response::{ProviderError, cut_short};
use crate::sse::{EventEnds, parse};
use crate::stream::{BYTE_ORDER_MARK, EndKind, StreamEnd, StreamFacts, StreamFilter, cut_message};

/// The largest event that is read; a larger one ends the stream with an error.
const MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;
/// Why a stream that ended early is over.
const BROKEN_OFF: ErrorCode = ErrorCode::UpstreamDisconnected;
/// A buffer that one large event left behind is given back above this size.
const KEPT_BUFFER_BYTES: usize = 4 * 1024;

/// Translates one stream.
#[derive(Debug)]
pub struct StreamTranslator {
    /// For a provider that is framed otherwise: what makes events of its frames.
    frames: Option<Framing>,
    meter: StreamFilter,
    ends: EventEnds,
    /// The unfinished event.
    partial: Vec<u8>,
    is_begun: bool,
    reader: Reader,
    sequence: Sequence,
    writer: Writer,
    context: AnswerContext,
    provider: ChatDialect,
    client: ChatDialect,
    /// The client has had the last word.
    is_over: bool,
    is_finished: bool,
}

/// Reads the provider's dialect.
#[derive(Debug)]
enum Reader {
    OpenAiChat(openai_chat::StreamReader),
    Anthropic(anthropic::StreamReader),
    Bedrock(bedrock::StreamReader),
    Gemini(gemini::StreamReader),
    Ollama(ollama::StreamReader),
}

/// Writes the client's dialect.
#[derive(Debug)]
enum Writer {
    OpenAiChat(openai_chat::StreamWriter),
    Anthropic(anthropic::StreamWriter),
    OpenAiResponses(Box<openai_responses::StreamWriter>),
    OpenAiCompletions(openai_completions::StreamWriter),
}

impl StreamTranslator {
    /// Makes a translator of a stream that answers the request of this plan. A provider's dialect that no backend speaks
    /// is read as chat completions; a client's dialect that no client speaks is written as them.
    pub fn new(provider: ChatDialect, client: ChatDialect, plan: AnswerPlan, context: AnswerContext) -> Self {
        let dialect = provider.backend().unwrap_or(Dialect::OpenAiChat);
        Self {
            frames: Framing::of(dialect),
            meter: StreamFilter::behind_frames(dialect, context.quirks),
            ends: EventEnds::new(),
            partial: Vec::new(),
            is_begun: false,
            reader: match provider {
                ChatDialect::AnthropicMessages => Reader::Anthropic(anthropic::StreamReader::default()),
                ChatDialect::Bedrock => Reader::Bedrock(bedrock::StreamReader::default()),
                ChatDialect::Gemini => Reader::Gemini(gemini::StreamReader::new(&plan, &context)),
                ChatDialect::Ollama => Reader::Ollama(ollama::StreamReader::new(&context)),
                ChatDialect::OpenAiChat | ChatDialect::OpenAiResponses | ChatDialect::OpenAiCompletions => {
                    Reader::OpenAiChat(openai_chat::StreamReader::default())
                }
            },
            sequence: Sequence::default(),
            writer: match client {
                // Nobody asks in the dialects of Bedrock, Gemini and Ollama.
                ChatDialect::OpenAiChat | ChatDialect::Bedrock | ChatDialect::Gemini | ChatDialect::Ollama => {
                    Writer::OpenAiChat(openai_chat::StreamWriter::new(plan, context.clone()))
                }
                ChatDialect::AnthropicMessages => {
                    Writer::Anthropic(anthropic::StreamWriter::new(plan, context.clone()))
                }
                ChatDialect::OpenAiCompletions => {
                    Writer::OpenAiCompletions(openai_completions::StreamWriter::new(&plan, context.clone()))
                }
                ChatDialect::OpenAiResponses => {
                    Writer::OpenAiResponses(Box::new(openai_responses::StreamWriter::new(plan, context.clone())))
                }
            },
            context,
            provider,
            client,
            is_over: false,
            is_finished: false,
        }
    }

    /// Takes a chunk from the provider and gives the client's bytes, if any, to `out`.
    #[expect(clippy::needless_pass_by_value, reason = "the same shape as the filter of untranslated streams")]
    pub fn push(&mut self, chunk: Bytes, out: &mut impl FnMut(Bytes)) {
        let Some(frames) = &mut self.frames else { return self.push_events(&chunk, out) };
        let (events, read) = frames.push(&chunk);
        self.push_events(&events, out);
        if read.is_err() {
            let mut last = Vec::new();
            self.fail(BROKEN_OFF, cut_message(BROKEN_OFF), &mut last);
            if !last.is_empty() {
                out(Bytes::from(last));
            }
        }
    }

    fn push_events(&mut self, chunk: &Bytes, out: &mut impl FnMut(Bytes)) {
        let mut bytes = Vec::new();
        let (mut start, mut at) = (0, 0);
        if self.ends.takes_late_lf(chunk) {
            at = 1;
            if self.partial.is_empty() {
                start = 1;
                self.meter.push(chunk.slice(..1), &mut drop);
            }
        }
        while let Some(end) = self.ends.next(chunk, at) {
            let last = chunk.slice(start..end);
            start = end;
            at = end;
            if self.partial.is_empty() && last.len() <= MAX_EVENT_BYTES {
                // It lies whole in this chunk: nothing is copied.
                self.meter.push(last.clone(), &mut drop);
                self.translate(&last, &mut bytes);
                continue;
            }
            self.hold(&last, &mut bytes);
            self.meter.push(last, &mut drop);
            let event = std::mem::take(&mut self.partial);
            self.translate(&event, &mut bytes);
            if event.capacity() <= KEPT_BUFFER_BYTES {
                self.partial = event;
                self.partial.clear();
            }
        }
        if start < chunk.len() {
            let tail = chunk.slice(start..);
            self.hold(&tail, &mut bytes);
            self.meter.push(tail, &mut drop);
        }
        if !bytes.is_empty() {
            out(Bytes::from(bytes));
        }
    }

    fn hold(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.is_over {
            return;
        }
        if self.partial.len().saturating_add(bytes.len()) > MAX_EVENT_BYTES {
            self.partial = Vec::new();
            self.fail(BROKEN_OFF, cut_message(BROKEN_OFF), out);
            return;
        }
        self.partial.extend_from_slice(bytes);
    }

    /// Translates one event.
    fn translate(&mut self, event: &[u8], out: &mut Vec<u8>) {
        if self.is_over {
            return;
        }
        let event = if self.is_begun { event } else { event.strip_prefix(BYTE_ORDER_MARK).unwrap_or(event) };
        self.is_begun = true;
        let parsed = parse(event);
        let data = parsed.data.trim_ascii();
        if data.is_empty() {
            return;
        }
        let mut events = Vec::new();
        match Node::parse(data) {
            Ok(node) => match &mut self.reader {
                Reader::OpenAiChat(reader) => reader.read(parsed.name, &node, &mut events),
                Reader::Anthropic(reader) => reader.read(parsed.name, &node, &mut events),
                Reader::Bedrock(reader) => reader.read(parsed.name, &node, &mut events),
                Reader::Gemini(reader) => reader.read(parsed.name, &node, &mut events),
                Reader::Ollama(reader) => reader.read(&node, &mut events),
            },
            Err(_) if data == b"[DONE]" && matches!(self.reader, Reader::OpenAiChat(_)) => self.end_reader(&mut events),
            Err(_) if parsed.name == b"error" => {
                let message = cut_short(String::from_utf8_lossy(data).into_owned());
                events.push(Event::Failed(ProviderError { message, ..ProviderError::default() }));
            }
            Err(_) => {}
        }
        self.write(events, out);
    }

    fn end_reader(&mut self, events: &mut Vec<Event>) {
        match &mut self.reader {
            Reader::OpenAiChat(reader) => reader.end(events),
            Reader::Anthropic(reader) => reader.end(events),
            Reader::Bedrock(reader) => reader.end(events),
            Reader::Gemini(reader) => reader.end(events),
            Reader::Ollama(reader) => reader.end(events),
        }
    }

    fn write(&mut self, events: Vec<Event>, out: &mut Vec<u8>) {
        let mut ordered = Vec::with_capacity(events.len());
        let mut has_overflown = false;
        for event in events {
            has_overflown |= self.sequence.accept(event, &mut ordered).is_err();
        }
        for event in ordered {
            if self.is_over {
                return;
            }
            self.is_over = matches!(event, Event::End | Event::Failed(_));
            let dialect = self.provider.backend().unwrap_or(Dialect::OpenAiChat);
            let counted = self.meter.usage().map(|usage| self.context.completed(dialect, usage));
            let usage = counted.or_else(|| self.estimate_for(&event));
            let is_written = match &mut self.writer {
                Writer::OpenAiChat(writer) => writer.write(event, usage, out),
                Writer::Anthropic(writer) => writer.write(event, usage, out),
                Writer::OpenAiResponses(writer) => writer.write(event, usage, out),
                Writer::OpenAiCompletions(writer) => writer.write(event, usage, out),
            };
            has_overflown |= is_written.is_err();
            if has_overflown {
                break;
            }
        }
        if has_overflown {
            self.fail(BROKEN_OFF, cut_message(BROKEN_OFF), out);
        }
    }

    /// Returns an estimate of the usage for an event that says it, where the provider counted nothing.
    fn estimate_for(&self, event: &Event) -> Option<TokenUsage> {
        matches!(event, Event::Stop(_) | Event::End).then(|| {
            let text = self.meter.facts().answer.text;
            self.context.estimate(self.provider.family(), text)
        })
    }

    /// Ends the client's stream with an error of ours.
    fn fail(&mut self, code: ErrorCode, message: &'static str, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        if let Writer::OpenAiResponses(writer) = &mut self.writer {
            writer.fail(message, self.meter.usage(), out);
            return;
        }
        let family = self.client.family();
        let error = ErrorBody::new(family, code, message, &self.context.request_id);
        out.extend_from_slice(&error.render_event(family));
    }

    /// Ends the stream and returns the last bytes for the client, if any. A stream without a last word of the provider
    /// gets an error event; one that only lacks its end mark gets the mark. The second call returns nothing.
    pub fn finish(&mut self, kind: EndKind) -> Option<Bytes> {
        if std::mem::replace(&mut self.is_finished, true) {
            return None;
        }
        let mut out = Vec::new();
        if let Some(rest) = self.frames.as_mut().map(Framing::finish) {
            self.push_events(&rest, &mut |bytes| out.extend_from_slice(&bytes));
        }
        // What the filter would say to an untranslated client is not for this one.
        drop(self.meter.finish(kind, &self.context.request_id));
        let event = std::mem::take(&mut self.partial);
        self.translate(&event, &mut out);
        if !self.is_over {
            let has_stopped = match &self.reader {
                Reader::OpenAiChat(reader) => reader.has_stopped(),
                Reader::Anthropic(reader) => reader.has_stopped(),
                Reader::Bedrock(reader) => reader.has_stopped(),
                Reader::Gemini(reader) => reader.has_stopped(),
                Reader::Ollama(reader) => reader.has_stopped(),
            };
            match kind {
                EndKind::Eof if has_stopped => {
                    let mut events = Vec::new();
                    self.end_reader(&mut events);
                    self.write(events, &mut out);
                }
                EndKind::Eof => self.fail(BROKEN_OFF, cut_message(BROKEN_OFF), &mut out),
                EndKind::Cut { code, message } => self.fail(code, message, &mut out),
            }
        }
        (!out.is_empty()).then(|| Bytes::from(out))
    }

    /// Keeps the first of the text, to be counted if nobody else does.
    pub fn keep_text(&mut self) {
        self.meter.keep_text();
    }

    /// Gives the text that was kept, as it stood in JSON; empty: none.
    pub fn take_text(&mut self) -> Vec<u8> {
        self.meter.take_text()
    }

    /// Whether the client has had the last word: nothing that the provider still sends can reach it.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Returns the provider's last word so far.
    pub fn end(&self) -> StreamEnd {
        self.meter.end()
    }

    /// Returns the latest state of the usage counters.
    pub fn usage(&self) -> Option<TokenUsage> {
        self.meter.usage()
    }

    /// Returns what the stream said about itself so far, in the provider's words.
    pub fn facts(&self) -> StreamFacts {
        self.meter.facts()
    }
}
