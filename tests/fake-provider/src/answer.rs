//! What the model says: texts, tool calls and token counts, before any dialect.
//!
//! Rule: deterministic; the same request and script give the same bytes, and never more output than the request's cap.

use serde_json::Value;

use crate::ask::Ask;
use crate::plan::split_text;
use crate::price::Tokens;
use crate::script::Script;

/// Words of the default text: some of two to four bytes a character, so that a split inside a character is seen.
const WORDS: [&str; 10] = ["The", "gateway", "counts", "naïve", "tokens", "東京", "exactly", "🙂", "and", "honestly"];

/// A tool call as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// The id.
    pub(crate) id: String,
    /// The tool's name.
    pub(crate) name: String,
    /// The arguments as JSON text.
    pub(crate) arguments: String,
}

/// Why the model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It was done.
    End,
    /// It reached the cap.
    Length,
    /// It calls tools.
    Tools,
}

/// A part of a streamed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Reasoning text.
    Thinking(String),
    /// Answer text.
    Text(String),
    /// The start of the call with this index.
    CallStart(usize),
    /// A piece of the arguments of the call with this index.
    CallArguments(usize, String),
}

/// A whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The model that answers.
    pub(crate) model: String,
    /// Reasoning text.
    pub(crate) thinking: Option<String>,
    /// The text; `None` when there are only tool calls.
    pub(crate) text: Option<String>,
    /// The tool calls.
    pub(crate) calls: Vec<Call>,
    /// The true counts.
    pub(crate) tokens: Tokens,
    /// What is said about them.
    pub(crate) reported: Option<Tokens>,
    /// Why it stopped.
    pub(crate) stop: Stop,
    /// The parts of a stream, each with the output generated after it.
    pub(crate) parts: Vec<(Part, u64)>,
}

impl Answer {
    /// Makes the answer to a request.
    pub(crate) fn of(ask: &Ask, script: &Script) -> Self {
        let wanted = script.output_tokens.unwrap_or(20);
        let output = ask.output_cap.map_or(wanted, |cap| wanted.min(cap));
        let tokens = Tokens {
            input: script.input_tokens.unwrap_or_else(|| ask.counted_input()),
            cache_read: script.cache_read,
            cache_write: script.cache_write,
            cache_write_1h: script.cache_write_1h,
            output,
            reasoning: script.reasoning.min(output),
            ..Tokens::default()
        };
        let calls: Vec<Call> = script
            .tool_calls()
            .iter()
            .enumerate()
            .map(|(at, call)| Call {
                id: call.id.clone().unwrap_or_else(|| format!("call_fake_{at}")),
                name: call.name.clone(),
                arguments: match &call.arguments {
                    Value::Null => "{}".to_owned(),
                    Value::String(text) => text.clone(),
                    value => value.to_string(),
                },
            })
            .collect();
        let default_text = || calls.is_empty().then(|| words(output - tokens.reasoning));
        let text = script.text.clone().or_else(default_text);
        let stop = match (wanted > output, calls.is_empty()) {
            (true, _) => Stop::Length,
            (false, true) => Stop::End,
            (false, false) => Stop::Tools,
        };
        let reported = (!script.no_usage).then(|| if script.usage_zero { Tokens::default() } else { tokens });
        let thinking = script.thinking.clone();
        let chunks = script.chunks.unwrap_or_else(|| output.clamp(1, 8));
        let parts = parts(thinking.as_deref(), text.as_deref(), &calls, chunks);
        let count = u64::try_from(parts.len()).unwrap_or(1).max(1);
        let parts = parts.into_iter().zip(1..).map(|(part, nth)| (part, output * nth / count)).collect();
        Self { model: ask.model.clone(), thinking, text, calls, tokens, reported, stop, parts }
    }

    /// Returns the counts to report once so much output is generated.
    pub(crate) fn reported_at(&self, output: u64) -> Option<Tokens> {
        let reported = self.reported?;
        Some(Tokens { output: reported.output.min(output), reasoning: reported.reasoning.min(output), ..reported })
    }
}

fn parts(thinking: Option<&str>, text: Option<&str>, calls: &[Call], chunks: u64) -> Vec<Part> {
    let mut parts: Vec<Part> =
        thinking.map(|text| split_text(text, 2)).unwrap_or_default().into_iter().map(Part::Thinking).collect();
    parts.extend(text.map(|text| split_text(text, chunks)).unwrap_or_default().into_iter().map(Part::Text));
    for (at, call) in calls.iter().enumerate() {
        parts.push(Part::CallStart(at));
        parts.extend(split_text(&call.arguments, 3).into_iter().map(|piece| Part::CallArguments(at, piece)));
    }
    parts
}

fn words(count: u64) -> String {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    WORDS.iter().cycle().take(count).copied().collect::<Vec<_>>().join(" ")
}

/// Renders a text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
