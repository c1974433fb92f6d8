//! OpenAI's legacy completions. Their answers and chunks read like those of chat, with `text` in place of a message.
//!
//! Rule: each prompt has `n` answers of its own, and a server that picks the best of more bills all of them.

mod answer;
mod parse;

pub(crate) use answer::{StreamWriter, render_answer};
pub(crate) use parse::parse;
pub use parse::{join_completions, split_completions};

use crate::json::{InPath, Kind, Reader, Result};
use crate::request::RequestFacts;
use crate::request::fields::{Fields, missing, read_cap, read_count, read_flag, read_model, read_texts};

/// Reads a whole request into `facts`.
pub(crate) fn scan_request(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    let mut fields = Fields::new(&["model", "prompt", "stream", "stream_options", "max_tokens", "n", "best_of"]);
    let mut members = reader.enter_object()?;
    facts.splices.top = reader.position();
    let (mut answers, mut best_of) = (1, 1);
    while let Some(name) = fields.next(reader, &mut members)? {
        match name {
            "model" => read_model(reader, facts),
            "prompt" => scan_prompt(reader, facts),
            "stream" => read_flag(reader).map(|flag| facts.is_stream = flag.unwrap_or(false)),
            "stream_options" => super::openai_chat::read_stream_options(reader, facts),
            "max_tokens" => read_cap(reader).map(|cap| facts.splices.max_tokens = cap),
            "n" => read_count(reader).map(|count| answers = count.unwrap_or(1).max(1)),
            _ => read_count(reader).map(|count| best_of = count.unwrap_or(1).max(1)),
        }
        .in_field(name)?;
    }
    if !fields.has("model") {
        return missing("model");
    }
    facts.output_cap = facts.splices.max_tokens.value;
    facts.choices = answers.max(best_of).saturating_mul(facts.messages.max(1));
    Ok(())
}

/// Reads the prompts: `facts.messages` counts them. Without a word, the model begins a text of its own.
fn scan_prompt(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    if reader.kind()? == Kind::Null {
        facts.messages = 1;
        return reader.pass();
    }
    read_texts(reader, facts, None)
}
