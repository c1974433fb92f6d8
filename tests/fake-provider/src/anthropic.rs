//! Answers in the Anthropic dialect: messages, token counts and the model list.
//!
//! Rule: the event order is the provider's: message_start, then per block start, (ping once,) deltas, stop, then
//! message_delta with running totals, then message_stop. Key order is the provider's own, so bodies are written by hand.

use crate::answer::{Answer, Part, Stop, quoted};
use crate::ask::{Ask, Dialect};
use crate::fault::Fault;
use crate::openai::{event_headers, json_headers};
use crate::plan::{EventWriter, Frame, Plan};
use crate::price::Tokens;
use crate::script::Script;

/// Plans an answer to `/v1/messages`.
pub(crate) fn messages(ask: &Ask, script: &Script, seq: u64) -> Plan {
    let answer = Answer::of(ask, script);
    let (tokens, reported) = (answer.tokens, answer.reported);
    if !ask.stream {
        let body = message(&answer, script, seq);
        return Plan::whole(200, json_headers(), body).counting(tokens, reported).scripted(script, bytes::Bytes::new);
    }
    let writer = EventWriter::new(script);
    let fault = Fault::new(529, "Overloaded").body(Dialect::Anthropic, &format!("req_fake_{seq}"));
    Plan::stream(200, event_headers(), events(&answer, script, seq, writer))
        .counting(tokens, reported)
        .scripted(script, || writer.event(Some("error"), &fault))
}

fn message(answer: &Answer, script: &Script, seq: u64) -> String {
    let mut blocks = Vec::new();
    if let Some(thinking) = &answer.thinking {
        blocks.push(format!(r#"{{"type":"thinking","thinking":{},"signature":"ZmFrZQ=="}}"#, quoted(thinking)));
    }
    if let Some(text) = &answer.text {
        blocks.push(format!(r#"{{"type":"text","text":{}}}"#, quoted(text)));
    }
    for call in &answer.calls {
        let (id, name) = (quoted(&call.id), quoted(&call.name));
        blocks.push(format!(r#"{{"type":"tool_use","id":{id},"name":{name},"input":{}}}"#, call.arguments));
    }
    let usage = answer.reported.map(|tokens| format!(r#","usage":{}"#, usage(&tokens, script, true)));
    format!(
        r#"{{"id":"msg_fake_{seq}","type":"message","role":"assistant","model":{},"content":[{}],"stop_reason":{},"stop_sequence":null{}}}"#,
        quoted(&answer.model),
        blocks.join(","),
        stop_reason(answer, script),
        usage.unwrap_or_default(),
    )
}

fn events(answer: &Answer, script: &Script, seq: u64, writer: EventWriter) -> Vec<Frame> {
    let send = |name: &str, rest: &str, output: u64, content: bool| {
        Frame::now(writer.event(Some(name), &format!(r#"{{"type":"{name}"{rest}}}"#)), output, content)
    };
    let start_usage = answer.reported_at(1).map(|tokens| format!(r#","usage":{}"#, usage(&tokens, script, true)));
    let start = format!(
        r#","message":{{"id":"msg_fake_{seq}","type":"message","role":"assistant","model":{},"content":[],"stop_reason":null,"stop_sequence":null{}}}"#,
        quoted(&answer.model),
        start_usage.unwrap_or_default()
    );
    let mut frames = vec![send("message_start", &start, 0, false)];
    let mut blocks = 0_usize;
    let mut open: Option<&Part> = None;
    let mut generated = 0;
    for (part, output) in &answer.parts {
        if open.is_none_or(|before| !same_block(before, part)) {
            if let Some(before) = open {
                close_block(before, blocks - 1, generated, &send, &mut frames);
            }
            let rest = format!(r#","index":{blocks},"content_block":{}"#, empty_block(answer, part));
            let is_call = matches!(part, Part::CallStart(_));
            frames.push(send("content_block_start", &rest, if is_call { *output } else { generated }, is_call));
            if blocks == 0 {
                frames.push(send("ping", "", generated, false));
            }
            blocks += 1;
        }
        if let Some(delta) = delta(part) {
            let rest = format!(r#","index":{},"delta":{delta}"#, blocks - 1);
            frames.push(send("content_block_delta", &rest, *output, true));
        }
        open = Some(part);
        generated = *output;
    }
    if let Some(before) = open {
        close_block(before, blocks - 1, generated, &send, &mut frames);
    }
    let all = answer.tokens.output;
    let stop = stop_reason(answer, script);
    let end_usage = answer.reported.map(|tokens| format!(r#","usage":{}"#, usage(&tokens, script, false)));
    let end = format!(r#","delta":{{"stop_reason":{stop},"stop_sequence":null}}{}"#, end_usage.unwrap_or_default());
    frames.push(send("message_delta", &end, all, false));
    frames.push(send("message_stop", "", all, false));
    frames
}

fn close_block(
    part: &Part,
    index: usize,
    generated: u64,
    send: &impl Fn(&str, &str, u64, bool) -> Frame,
    frames: &mut Vec<Frame>,
) {
    if matches!(part, Part::Thinking(_)) {
        let rest = format!(r#","index":{index},"delta":{{"type":"signature_delta","signature":"ZmFrZQ=="}}"#);
        frames.push(send("content_block_delta", &rest, generated, false));
    }
    frames.push(send("content_block_stop", &format!(r#","index":{index}"#), generated, false));
}

fn same_block(one: &Part, other: &Part) -> bool {
    match (one, other) {
        (Part::Thinking(_), Part::Thinking(_)) | (Part::Text(_), Part::Text(_)) => true,
        (Part::CallStart(a) | Part::CallArguments(a, _), Part::CallArguments(b, _)) => a == b,
        _ => false,
    }
}

fn empty_block(answer: &Answer, part: &Part) -> String {
    match part {
        Part::Thinking(_) => r#"{"type":"thinking","thinking":"","signature":""}"#.to_owned(),
        Part::Text(_) => r#"{"type":"text","text":""}"#.to_owned(),
        Part::CallStart(at) | Part::CallArguments(at, _) => {
            let (id, name) =
                answer.calls.get(*at).map(|call| (quoted(&call.id), quoted(&call.name))).unwrap_or_default();
            format!(r#"{{"type":"tool_use","id":{id},"name":{name},"input":{{}}}}"#)
        }
    }
}

fn delta(part: &Part) -> Option<String> {
    Some(match part {
        Part::Thinking(text) => format!(r#"{{"type":"thinking_delta","thinking":{}}}"#, quoted(text)),
        Part::Text(text) => format!(r#"{{"type":"text_delta","text":{}}}"#, quoted(text)),
        Part::CallArguments(_, piece) => format!(r#"{{"type":"input_json_delta","partial_json":{}}}"#, quoted(piece)),
        Part::CallStart(_) => return None,
    })
}

fn stop_reason(answer: &Answer, script: &Script) -> String {
    let usual = match answer.stop {
        Stop::End => "end_turn",
        Stop::Length => "max_tokens",
        Stop::Tools => "tool_use",
    };
    quoted(script.stop_reason.as_deref().unwrap_or(usual))
}

/// The counts of this dialect do not overlap; `whole` adds what only the start of a message tells.
fn usage(tokens: &Tokens, script: &Script, whole: bool) -> String {
    let Tokens { input, cache_read, cache_write, cache_write_1h, output, reasoning, .. } = *tokens;
    let created = cache_write + cache_write_1h;
    let mut text = format!(
        r#"{{"input_tokens":{input},"cache_creation_input_tokens":{created},"cache_read_input_tokens":{cache_read}"#
    );
    if whole {
        text += &format!(
            r#","cache_creation":{{"ephemeral_5m_input_tokens":{cache_write},"ephemeral_1h_input_tokens":{cache_write_1h}}}"#
        );
    }
    text += &format!(r#","output_tokens":{output}"#);
    if reasoning > 0 {
        text += &format!(r#","output_tokens_details":{{"thinking_tokens":{reasoning}}}"#);
    }
    if whole {
        text += &format!(r#","service_tier":{}"#, quoted(script.service_tier.as_deref().unwrap_or("standard")));
    }
    text + "}"
}

/// Plans an answer to `/v1/messages/count_tokens`: free of charge.
pub(crate) fn count_tokens(ask: &Ask, script: &Script) -> Plan {
    let input = script.input_tokens.unwrap_or_else(|| ask.counted_input());
    Plan::whole(200, json_headers(), format!(r#"{{"input_tokens":{input}}}"#)).scripted(script, bytes::Bytes::new)
}

/// Renders the model list.
pub(crate) fn models<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let models: Vec<String> = names.iter().copied().map(model).collect();
    let end = |name: Option<&&str>| name.map_or_else(|| "null".to_owned(), |name| quoted(name));
    format!(
        r#"{{"data":[{}],"has_more":false,"first_id":{},"last_id":{}}}"#,
        models.join(","),
        end(names.first()),
        end(names.last())
    )
}

/// Renders one model.
pub(crate) fn model(name: &str) -> String {
    let name = quoted(name);
    format!(r#"{{"type":"model","id":{name},"display_name":{name},"created_at":"2025-10-09T08:53:20Z"}}"#)
}
