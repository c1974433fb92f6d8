//! Answers in the OpenAI dialect: chat completions, embeddings and the model list.
//!
//! Rule: usage stands in a stream only when it was asked for: one last chunk with it, `"usage":null` in the others.
//! Key order is the provider's own, so bodies are written by hand.

use base64::Engine as _;
use http::{HeaderMap, HeaderValue, header};
use std::fmt::Write as _;

use crate::answer::{Answer, Part, Stop, quoted};
use crate::ask::Ask;
use crate::azure;
use crate::fault::Fault;
use crate::plan::{EventWriter, Frame, Plan};
use crate::price::Tokens;
use crate::script::Script;

/// When everything was created: a constant, so that bodies can be compared.
pub(crate) const CREATED: u64 = 1_760_000_000;

/// Plans a chat completion.
pub(crate) fn chat(ask: &Ask, script: &Script, seq: u64) -> Plan {
    let answer = Answer::of(ask, script);
    let (tokens, reported) = (answer.tokens, answer.reported);
    if !ask.stream {
        let body = completion(&answer, script, seq);
        return Plan::whole(200, json_headers(), body).counting(tokens, reported).scripted(script, bytes::Bytes::new);
    }
    let writer = EventWriter::new(script);
    let frames = chunks(&answer, ask, script, seq, writer);
    let reported = reported.filter(|_| ask.include_usage || ask.counts_unasked || script.usage_in_every_chunk);
    let fault = Fault::new(500, "The server had an error while processing your request");
    Plan::stream(200, event_headers(), frames)
        .counting(tokens, reported)
        .scripted(script, || writer.event(None, &fault.body(crate::ask::Dialect::OpenAi, "")))
}

fn completion(answer: &Answer, script: &Script, seq: u64) -> String {
    let mut message = String::from(r#"{"role":"assistant","content":"#);
    message.push_str(&answer.text.as_deref().map_or_else(|| "null".to_owned(), quoted));
    message.push_str(r#","refusal":null,"annotations":[]"#);
    if let Some(thinking) = &answer.thinking {
        let _infallible = write!(message, r#","reasoning_content":{}"#, quoted(thinking));
    }
    if !answer.calls.is_empty() {
        let calls: Vec<String> = answer
            .calls
            .iter()
            .map(|call| {
                let (id, name, arguments) = (quoted(&call.id), quoted(&call.name), quoted(&call.arguments));
                format!(r#"{{"id":{id},"type":"function","function":{{"name":{name},"arguments":{arguments}}}}}"#)
            })
            .collect();
        let _infallible = write!(message, r#","tool_calls":[{}]"#, calls.join(","));
    }
    message.push('}');
    let usage = answer.reported.map(|tokens| format!(r#""usage":{},"#, usage(&tokens))).unwrap_or_default();
    format!(
        r#"{{"id":"chatcmpl-fake-{seq}","object":"chat.completion","created":{CREATED},"model":{},"choices":[{{"index":0,"message":{message},"logprobs":null,"finish_reason":{}}}],{usage}"service_tier":{},"system_fingerprint":"fp_fake"}}"#,
        quoted(&answer.model),
        finish_reason(answer, script),
        service_tier(script),
    )
}

fn chunks(answer: &Answer, ask: &Ask, script: &Script, seq: u64, writer: EventWriter) -> Vec<Frame> {
    let model = quoted(&answer.model);
    let tier = service_tier(script);
    let chunk = |choices: &str, output: u64, is_usage: bool| {
        let tokens = answer.reported_at(output);
        let usage = match tokens {
            Some(tokens) if is_usage || script.usage_in_every_chunk => format!(r#","usage":{}"#, usage(&tokens)),
            _ if ask.include_usage => r#","usage":null"#.to_owned(),
            _ => String::new(),
        };
        let data = format!(
            r#"{{"id":"chatcmpl-fake-{seq}","object":"chat.completion.chunk","created":{CREATED},"model":{model},"service_tier":{tier},"system_fingerprint":"fp_fake","choices":[{choices}]{usage}}}"#
        );
        writer.event(None, &data)
    };
    let delta = |delta: &str, finish: &str| {
        format!(r#"{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}"#)
    };
    let role = delta(r#"{"role":"assistant","content":"","refusal":null}"#, "null");
    let mut frames = Vec::new();
    if ask.is_azure {
        frames.push(Frame::now(writer.event(None, azure::PROMPT_FILTER), 0, false));
    }
    frames.push(Frame::now(chunk(&role, 0, false), 0, false));
    for (part, output) in &answer.parts {
        let choices = delta(&part_delta(answer, part), "null");
        frames.push(Frame::now(chunk(&choices, *output, false), *output, true));
    }
    let all = answer.tokens.output;
    let finish = delta("{}", &finish_reason(answer, script));
    frames.push(Frame::now(chunk(&finish, all, ask.counts_unasked), all, false));
    if ask.is_azure {
        frames.push(Frame::now(writer.event(None, azure::LATE_FILTER), all, false));
    }
    if ask.include_usage && answer.reported.is_some() {
        frames.push(Frame::now(chunk("", all, true), all, false));
    }
    frames.push(Frame::now(writer.event(None, "[DONE]"), all, false));
    frames
}

fn part_delta(answer: &Answer, part: &Part) -> String {
    match part {
        Part::Thinking(text) => format!(r#"{{"reasoning_content":{}}}"#, quoted(text)),
        Part::Text(text) => format!(r#"{{"content":{}}}"#, quoted(text)),
        Part::CallStart(at) => {
            let (id, name) =
                answer.calls.get(*at).map(|call| (quoted(&call.id), quoted(&call.name))).unwrap_or_default();
            format!(
                r#"{{"tool_calls":[{{"index":{at},"id":{id},"type":"function","function":{{"name":{name},"arguments":""}}}}]}}"#
            )
        }
        Part::CallArguments(at, piece) => {
            format!(r#"{{"tool_calls":[{{"index":{at},"function":{{"arguments":{}}}}}]}}"#, quoted(piece))
        }
    }
}

fn finish_reason(answer: &Answer, script: &Script) -> String {
    let usual = match answer.stop {
        Stop::End => "stop",
        Stop::Length => "length",
        Stop::Tools => "tool_calls",
    };
    quoted(script.stop_reason.as_deref().unwrap_or(usual))
}

fn service_tier(script: &Script) -> String {
    quoted(script.service_tier.as_deref().unwrap_or("default"))
}

/// The totals of this dialect include the cached tokens.
pub(crate) fn usage(tokens: &Tokens) -> String {
    let (prompt, completion) = (tokens.total_input(), tokens.output);
    let written = tokens.cache_write + tokens.cache_write_1h;
    let written = if written > 0 { format!(r#","cache_write_tokens":{written}"#) } else { String::new() };
    format!(
        r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":{},"audio_tokens":0{written}}},"completion_tokens_details":{{"reasoning_tokens":{},"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}}"#,
        prompt + completion,
        tokens.cache_read,
        tokens.reasoning,
    )
}

/// Plans an embeddings answer.
pub(crate) fn embeddings(ask: &Ask, script: &Script) -> Plan {
    let input = script.input_tokens.unwrap_or_else(|| ask.counted_input());
    let tokens = Tokens { input, ..Tokens::default() };
    let reported = (!script.no_usage).then(|| if script.usage_zero { Tokens::default() } else { tokens });
    let data: Vec<String> = (0..ask.inputs)
        .map(|index| format!(r#"{{"object":"embedding","index":{index},"embedding":{}}}"#, embedding(index, ask)))
        .collect();
    let usage = reported.map(|tokens| format!(r#","usage":{{"prompt_tokens":{0},"total_tokens":{0}}}"#, tokens.input));
    let body = format!(
        r#"{{"object":"list","data":[{}],"model":{}{}}}"#,
        data.join(","),
        quoted(&ask.model),
        usage.unwrap_or_default()
    );
    Plan::whole(200, json_headers(), body).counting(tokens, reported).scripted(script, bytes::Bytes::new)
}

/// Multiples of 1/64 between -1 and 1: exact in binary and short in decimal.
pub(crate) fn vector(index: u64, ask: &Ask) -> Vec<f32> {
    let steps =
        (0..ask.dimensions).map(|at| i16::try_from((at * 7 + index * 13 + ask.text_bytes) % 129).unwrap_or(0) - 64);
    steps.map(|step| f32::from(step) / 64.0).collect()
}

fn embedding(index: u64, ask: &Ask) -> String {
    let numbers = vector(index, ask);
    if ask.base64 {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        quoted(&base64::engine::general_purpose::STANDARD.encode(bytes))
    } else {
        format!("[{}]", numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
    }
}

/// Renders the model list.
pub(crate) fn models<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let models: Vec<String> = names.map(model).collect();
    format!(r#"{{"object":"list","data":[{}]}}"#, models.join(","))
}

/// Renders one model.
pub(crate) fn model(name: &str) -> String {
    format!(r#"{{"id":{},"object":"model","created":{CREATED},"owned_by":"fake"}}"#, quoted(name))
}

/// Headers of a JSON answer.
pub(crate) fn json_headers() -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))])
}

/// Headers of an event stream.
pub(crate) fn event_headers() -> HeaderMap {
    let kind = HeaderValue::from_static("text/event-stream; charset=utf-8");
    HeaderMap::from_iter([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))])
}
