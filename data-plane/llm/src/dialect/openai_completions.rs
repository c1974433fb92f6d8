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
use crate::request::fields::{Fields, missing, read_cap, read_count, read_flag, read_model};

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

/// Reads a text, a list of texts, a list of token numbers, or a list of such lists: `facts.messages` counts the prompts.
fn scan_prompt(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    facts.messages = 1;
    match reader.kind()? {
        Kind::String | Kind::Null => return reader.pass(),
        Kind::Array => {}
        found => return Err(reader.wrong_type("a string or an array", found)),
    }
    let mut items = reader.enter_array()?;
    let mut index = 0_usize;
    while reader.next_item(&mut items)? {
        match reader.kind()? {
            Kind::String | Kind::Array => facts.messages = facts.messages.saturating_add(u64::from(index > 0)),
            Kind::Number => {}
            found => return Err(reader.wrong_type("a string, an array of tokens or a token", found)).in_item(index),
        }
        reader.skip().in_item(index)?;
        index += 1;
    }
    Ok(())
}
