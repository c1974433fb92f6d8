//! A legacy completion request as a conversation of one message.
//!
//! Rule: a model of conversations answers a prompt, it does not continue it: what only a continuation has (an echo, a
//! suffix, log probabilities) is refused by its name. Each prompt, and each of `n` answers, is a request of its own.

use bytes::Bytes;

use crate::chat::request::{Block, Conversation, Place, Role, Turn, Words};
use crate::dialect::Family;
use crate::json::{Node, Record, object};
use crate::translate::TranslateError;

type Result<T> = std::result::Result<T, TranslateError>;

/// The API's own cap where none is given. Source: OpenAI API reference, `max_tokens`.
const OUTPUT_TOKENS: u64 = 16;
/// The most answers that one request is split into.
const MOST_ANSWERS: usize = 128;
/// The most that the requests of all prompts may take together: each repeats what they have in common.
const MOST_BYTES: usize = 64 << 20;

/// Splits a request into one for each answer that it asks for, in the order of their indexes.
///
/// # Errors
/// `invalid_json` and `invalid_request`, with the field at fault.
pub fn split_completions(body: &[u8]) -> Result<Vec<Bytes>> {
    let mut body = Node::parse(body)?;
    let prompts = read_prompts(body.take("prompt"))?;
    let answers = match body.take("n") {
        None => 1,
        Some(count) => match count.as_u64().and_then(|count| usize::try_from(count).ok()).filter(|count| *count > 0) {
            Some(count) => count,
            None => return Err(TranslateError::wrong("n", "a positive number")),
        },
    };
    let all = prompts.len().saturating_mul(answers);
    if all > MOST_ANSWERS {
        return Err(TranslateError::unsupported("n", "it gives at most 128 answers to one request"));
    }
    if all > 1 && body.get("stream") == Some(&Node::Bool(true)) {
        let param = if answers > 1 { "n" } else { "prompt" };
        return Err(TranslateError::unsupported(param, "several answers come whole, not as a stream"));
    }
    let (mut bodies, mut bytes) = (Vec::with_capacity(all), 0_usize);
    for prompt in prompts {
        body.set("prompt", prompt);
        let one = Bytes::from(body.to_bytes());
        bytes = bytes.saturating_add(one.len());
        if bytes > MOST_BYTES {
            return Err(TranslateError::unsupported("prompt", "a request of this size takes one prompt at a time"));
        }
        bodies.extend(std::iter::repeat_n(one, answers));
    }
    Ok(bodies)
}

fn read_prompts(prompt: Option<Node>) -> Result<Vec<String>> {
    let prompts = match prompt {
        Some(Node::String(text)) => vec![text],
        Some(Node::Array(items)) => {
            let text = |item| match item {
                Node::String(text) => Ok(text),
                _ => Err(TranslateError::unsupported(
                    "prompt",
                    "token numbers are those of another model's tokenizer; send text",
                )),
            };
            items.into_iter().map(text).collect::<Result<_>>()?
        }
        Some(_) => return Err(TranslateError::wrong("prompt", "a string or an array of strings")),
        None => Vec::new(),
    };
    if prompts.is_empty() || prompts.iter().any(String::is_empty) {
        return Err(TranslateError::invalid("prompt", "must say something"));
    }
    Ok(prompts)
}

/// Reads a request with one prompt.
pub(crate) fn parse(body: &[u8]) -> Result<Conversation> {
    let mut record = Record::new(Node::parse(body)?, "")?;
    let mut conversation = Conversation { extra_family: Some(Family::OpenAi), ..Conversation::default() };
    conversation.words = Words { messages: "prompt", ..Words::default() };
    record.needed_text("model")?;
    let mut prompts = read_prompts(record.take("prompt"))?;
    let (Some(prompt), true) = (prompts.pop(), prompts.is_empty()) else {
        return Err(TranslateError::unsupported("prompt", "it takes one prompt at a time"));
    };
    conversation.turns = vec![Turn::new(Role::User, vec![Block::text(prompt, Place::of(0))])];
    refuse_continuation(&mut record)?;
    let cap = record.count("max_tokens")?.unwrap_or(OUTPUT_TOKENS);
    if cap == 0 {
        return Err(TranslateError::invalid("max_tokens", "must be at least 1"));
    }
    conversation.output_cap = Some(cap);
    conversation.temperature = record.number("temperature")?;
    conversation.top_p = record.number("top_p")?;
    conversation.top_k = record.count("top_k")?;
    conversation.stop = crate::dialect::openai_chat::parse_stop(&mut record)?;
    conversation.user_id = record.text("user")?;
    conversation.is_stream = record.flag("stream")?.unwrap_or(false);
    if let Some(mut options) = record.record("stream_options")? {
        conversation.asks_usage = options.flag("include_usage")?.unwrap_or(false);
    }
    let is_said = |(name, value): &(crate::json::Name, Node)| match (&**name, value) {
        ("frequency_penalty" | "presence_penalty", Node::Number(_)) => value.as_f64().is_some_and(|it| it.abs() > 0.0),
        ("logit_bias", Node::Object(fields)) => !fields.is_empty(),
        _ => true,
    };
    conversation.extra = record.rest().into_iter().filter(is_said).collect();
    Ok(conversation)
}

fn refuse_continuation(record: &mut Record) -> Result<()> {
    if record.flag("echo")?.unwrap_or(false) {
        return Err(TranslateError::unsupported("echo", "its models answer a prompt and do not repeat it"));
    }
    if record.text("suffix")?.is_some_and(|suffix| !suffix.is_empty()) {
        return Err(TranslateError::unsupported("suffix", "its models do not fill in the middle of a text"));
    }
    if record.count("logprobs")?.is_some() {
        return Err(TranslateError::unsupported("logprobs", "it does not tell them in this form"));
    }
    if record.count("best_of")?.is_some_and(|count| count > 1) {
        return Err(TranslateError::unsupported("best_of", "it does not choose among answers"));
    }
    if record.count("n")?.is_some_and(|count| count != 1) {
        return Err(TranslateError::unsupported("n", "it gives one answer to a request"));
    }
    Ok(())
}

/// Joins the answers to the requests that one was split into.
///
/// # Errors
/// `upstream_disconnected` when one is no completion.
pub fn join_completions(answers: &[Bytes]) -> Result<Bytes> {
    let mut joined: Option<Node> = None;
    let mut choices = Vec::with_capacity(answers.len());
    let (mut prompt, mut completion) = (0_u64, 0_u64);
    for (index, answer) in answers.iter().enumerate() {
        let node = Node::parse(answer).map_err(|_| TranslateError::UnreadableAnswer)?;
        let Some(mut choice) = node.list("choices").first().cloned() else {
            return Err(TranslateError::UnreadableAnswer);
        };
        choice.set("index", index);
        choices.push(choice);
        let count = |name: &str| node.get("usage").and_then(|usage| usage.get(name)?.as_u64()).unwrap_or(0);
        prompt = prompt.saturating_add(count("prompt_tokens"));
        completion = completion.saturating_add(count("completion_tokens"));
        joined.get_or_insert(node);
    }
    let Some(mut joined) = joined else { return Err(TranslateError::UnreadableAnswer) };
    joined.set("choices", Node::Array(choices));
    joined.set(
        "usage",
        object! {
            "prompt_tokens": prompt, "completion_tokens": completion,
            "total_tokens": prompt.saturating_add(completion),
        },
    );
    Ok(Bytes::from(joined.to_bytes()))
}
