//! Answers of OpenAI's older APIs: completions and moderations.
//!
//! Rule: counted like chat; moderations are free where the table has no price for their model. Key order is the provider's own, so bodies are written by hand.

use crate::answer::{Answer, Part, quoted};
use crate::ask::{Ask, Dialect};
use crate::fault::Fault;
use crate::openai::{CREATED, event_headers, json_headers, usage};
use crate::plan::{EventWriter, Frame, Plan};
use crate::price::Tokens;
use crate::script::Script;

/// Plans a completion; tool calls and thinking have no place in it.
pub(crate) fn completion(ask: &Ask, script: &Script, seq: u64) -> Plan {
    let answer = Answer::of(ask, script);
    let (tokens, reported) = (answer.tokens, answer.reported);
    let object = |choices: &str, usage: &str| {
        let model = quoted(&answer.model);
        format!(
            r#"{{"id":"cmpl-fake-{seq}","object":"text_completion","created":{CREATED},"model":{model},"choices":[{choices}]{usage}}}"#
        )
    };
    let choice = |text: &str, finish: &str| {
        format!(r#"{{"text":{},"index":0,"logprobs":null,"finish_reason":{finish}}}"#, quoted(text))
    };
    if !ask.stream {
        let counted = reported.map(|tokens| format!(r#","usage":{}"#, usage(&tokens))).unwrap_or_default();
        let body = object(&choice(answer.text.as_deref().unwrap_or_default(), "\"stop\""), &counted);
        return Plan::whole(200, json_headers(), body).counting(tokens, reported).scripted(script, bytes::Bytes::new);
    }
    let writer = EventWriter::new(script);
    let mut frames = Vec::new();
    for (part, output) in &answer.parts {
        if let Part::Text(text) = part {
            frames.push(Frame::now(writer.event(None, &object(&choice(text, "null"), "")), *output, true));
        }
    }
    let all = tokens.output;
    frames.push(Frame::now(writer.event(None, &object(&choice("", "\"stop\""), "")), all, false));
    let reported = reported.filter(|_| ask.include_usage);
    if let Some(tokens) = reported {
        let counted = format!(r#","usage":{}"#, usage(&tokens));
        frames.push(Frame::now(writer.event(None, &object("", &counted)), all, false));
    }
    frames.push(Frame::now(writer.event(None, "[DONE]"), all, false));
    let fault = Fault::new(500, "The server had an error while processing your request");
    Plan::stream(200, event_headers(), frames)
        .counting(tokens, reported)
        .scripted(script, || writer.event(None, &fault.body(Dialect::OpenAi, "")))
}

/// Plans a moderation that finds nothing.
pub(crate) fn moderation(ask: &Ask, script: &Script, seq: u64) -> Plan {
    let model = quoted(&ask.model);
    let body = format!(
        r#"{{"id":"modr-fake-{seq}","model":{model},"results":[{{"flagged":false,"categories":{{"hate/threatening":false,"self-harm/intent":false}},"category_scores":{{"hate/threatening":0.0001,"self-harm/intent":0.0001}}}}]}}"#
    );
    // It says nothing of what it used; whoever has a price for it charges what was read.
    let tokens = Tokens { input: script.input_tokens.unwrap_or_else(|| ask.counted_input()), ..Tokens::default() };
    Plan::whole(200, json_headers(), body).counting(tokens, None).scripted(script, bytes::Bytes::new)
}
