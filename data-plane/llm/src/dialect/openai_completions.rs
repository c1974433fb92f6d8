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
use crate::request::fields::{
    Fields, is_there, missing, read_cap, read_count, read_flag, read_model, read_others, read_plugins, read_text,
    read_texts,
};

/// Reads a whole request into `facts`.
pub(crate) fn scan_request(reader: &mut Reader<'_>, facts: &mut RequestFacts) -> Result<()> {
    const FIELDS: &[&str] = &[
        "model",
        "prompt",
        "stream",
        "stream_options",
        "max_tokens",
        "n",
        "best_of",
        "service_tier",
        "models",
        "fallbacks",
        "plugins",
        "web_search_options",
        "tools",
    ];
    let mut fields = Fields::new(FIELDS);
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
            "service_tier" => read_text(reader).map(|tier| facts.service_tier = tier),
            "models" | "fallbacks" => read_others(name, reader, facts),
            "plugins" => read_plugins(reader, facts),
            // No completion has them; a server that takes them nevertheless runs what nobody has bounded.
            "web_search_options" | "tools" => is_there(reader).map(|is_there| {
                if is_there {
                    facts.server_tools.add(None);
                }
            }),
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
