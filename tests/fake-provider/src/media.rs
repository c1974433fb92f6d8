//! Answers of OpenAI's images and audio, and the forms that ask for them.
//!
//! Rule: charged by what the real one charges by: tokens of pictures and sound, characters, seconds. A form is read by a
//! reader of its own, as strictly as a server does.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Map, Value, json};

use crate::ask::{Ask, Endpoint};
use crate::fault::Fault;
use crate::openai::{CREATED, event_headers, json_headers};
use crate::plan::{EventWriter, Frame, Plan};
use crate::price::Tokens;
use crate::script::Script;

/// Reads a form as if it were JSON: fields as texts, and of files their bytes (`_file_bytes`) and their number (`_files`).
///
/// # Errors
/// What is wrong with the form.
pub(crate) fn form(parts: &Parts, body: &[u8]) -> Result<Value, String> {
    let content_type =
        parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (_, boundary) = content_type.split_once("boundary=").ok_or("there is no boundary")?;
    let boundary = boundary.split(';').next().unwrap_or_default().trim_matches('"');
    let delimiter = format!("--{boundary}");
    let mut fields = Map::new();
    let (mut files, mut file_bytes) = (0_u64, 0_u64);
    let text = String::from_utf8_lossy(body);
    let is_latin = text.len() == body.len();
    let whole: String = if is_latin { text.into_owned() } else { body.iter().map(|byte| char::from(*byte)).collect() };
    if !whole.trim_end().ends_with(&format!("{delimiter}--")) {
        return Err("the form does not end".to_owned());
    }
    let mut pieces = whole.split(delimiter.as_str());
    if pieces.next() != Some("") {
        return Err("the form does not begin with its boundary".to_owned());
    }
    for piece in pieces.filter(|piece| !piece.starts_with("--")) {
        let (head, value) = piece.split_once("\r\n\r\n").ok_or("a part has no head")?;
        let value = value.strip_suffix("\r\n").ok_or("a part has no end")?;
        let (_, name) = head.split_once("name=\"").ok_or("a part has no name")?;
        let name = name.split('"').next().unwrap_or_default();
        if head.contains("filename=") {
            files += 1;
            file_bytes += u64::try_from(value.chars().count()).unwrap_or(0);
        } else {
            let bytes: Vec<u8> = if is_latin {
                value.bytes().collect()
            } else {
                value.chars().filter_map(|c| u8::try_from(c).ok()).collect()
            };
            fields.insert(name.to_owned(), Value::from(String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    fields.insert("_files".to_owned(), files.into());
    fields.insert("_file_bytes".to_owned(), file_bytes.into());
    Ok(Value::Object(fields))
}

/// Reads what only these APIs have.
///
/// # Errors
/// A fault for what the real one refuses.
pub(crate) fn read(endpoint: Endpoint, body: &Value, ask: &mut Ask) -> Result<(), Fault> {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let number = |name: &str| body.get(name).and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
    ask.stream |= text("stream") == Some("true");
    ask.files = number("_files").unwrap_or(0);
    ask.file_bytes = number("_file_bytes").unwrap_or(0);
    ask.pictures = number("n").unwrap_or(1);
    ask.format = text("response_format").map(str::to_owned);
    match endpoint {
        Endpoint::Images | Endpoint::ImageEdits => {
            ask.previews = number("partial_images").unwrap_or(0);
            if text("prompt").is_none() {
                return Err(Fault::invalid("Missing required parameter: 'prompt'."));
            }
            if endpoint == Endpoint::ImageEdits && ask.files == 0 {
                return Err(Fault::invalid("Missing required parameter: 'image'."));
            }
        }
        Endpoint::Speech => {
            let input = text("input").ok_or_else(|| Fault::invalid("Missing required parameter: 'input'."))?;
            if text("voice").is_none() {
                return Err(Fault::invalid("Missing required parameter: 'voice'."));
            }
            ask.characters = u64::try_from(input.chars().count()).unwrap_or(0);
            ask.stream = text("stream_format") == Some("sse");
        }
        _ if ["url", "file_url", "file_id"].iter().any(|name| text(name).is_some()) => ask.is_remote = true,
        _ if ask.files != 1 => return Err(Fault::invalid("Missing required parameter: 'file'.")),
        _ => {}
    }
    Ok(())
}

/// Plans pictures.
pub(crate) fn images(endpoint: Endpoint, ask: &Ask, script: &Script) -> Plan {
    let count = script.images.unwrap_or(ask.pictures);
    let each = script.output_tokens.unwrap_or(272);
    let tokens = Tokens {
        input: script.input_tokens.unwrap_or_else(|| ask.counted_input()),
        image_input: ask.files * 100,
        image_output: each * count + ask.previews * 100,
        ..Tokens::default()
    };
    let picture = STANDARD.encode(vec![7_u8; usize::try_from(script.picture_bytes.unwrap_or(64)).unwrap_or(64)]);
    let input = tokens.input + tokens.image_input;
    let usage = json!({ "input_tokens": input, "output_tokens": tokens.image_output,
        "total_tokens": input + tokens.image_output,
        "input_tokens_details": { "text_tokens": tokens.input, "image_tokens": tokens.image_input } });
    let reported = (!script.no_usage).then_some(tokens);
    let usage = if script.no_usage { Value::Null } else { usage };
    // Without usage, it is a model that is charged by the picture.
    let tokens = if script.no_usage { Tokens { images: count, ..Tokens::default() } } else { tokens };
    if !ask.stream {
        let data: Vec<Value> = (0..count).map(|_| json!({ "b64_json": picture })).collect();
        let mut body = json!({ "created": CREATED, "data": data, "output_format": "png", "quality": "low",
            "size": "1024x1024" });
        if !usage.is_null() {
            body["usage"] = usage;
        }
        return Plan::whole(200, json_headers(), body.to_string())
            .counting(tokens, reported)
            .scripted(script, bytes::Bytes::new);
    }
    let writer = EventWriter::new(script);
    let prefix = if endpoint == Endpoint::Images { "image_generation" } else { "image_edit" };
    let event = |kind: &str, further: Value| {
        let name = format!("{prefix}.{kind}");
        let mut event = json!({ "type": name, "b64_json": picture, "background": "opaque", "created_at": CREATED,
            "output_format": "png", "quality": "low", "size": "1024x1024" });
        if let (Some(event), Value::Object(further)) = (event.as_object_mut(), further) {
            event.extend(further);
        }
        Frame::now(writer.event(Some(&name), &event.to_string()), 0, true)
    };
    let mut frames: Vec<Frame> =
        (0..ask.previews).map(|at| event("partial_image", json!({ "partial_image_index": at }))).collect();
    frames.push(event("completed", json!({ "usage": usage })));
    let fault = Fault::new(500, "The server had an error while processing your request");
    Plan::stream(200, event_headers(), frames)
        .counting(tokens, reported)
        .scripted(script, || writer.event(Some("error"), &fault.body(crate::ask::Dialect::OpenAi, "")))
}

/// Plans a speech: by the character for the older models, by tokens for those that say so in a stream.
pub(crate) fn speech(ask: &Ask, script: &Script) -> Plan {
    if !ask.stream {
        let tokens = Tokens { characters: ask.characters, ..Tokens::default() };
        let chunks = script.chunks.unwrap_or(4);
        let frames =
            (0..chunks).map(|at| Frame::now(vec![u8::try_from(at % 251).unwrap_or(0); 700], 0, true)).collect();
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("audio/mpeg"))]);
        return Plan::stream(200, headers, frames).counting(tokens, None).scripted(script, bytes::Bytes::new);
    }
    let input = script.input_tokens.unwrap_or_else(|| ask.counted_input());
    let tokens = Tokens { input, audio_output: script.output_tokens.unwrap_or(50), ..Tokens::default() };
    let writer = EventWriter::new(script);
    let delta = json!({ "type": "speech.audio.delta", "audio": STANDARD.encode([3; 30]) }).to_string();
    let done = json!({ "type": "speech.audio.done", "usage": { "input_tokens": tokens.input,
        "output_tokens": tokens.audio_output, "total_tokens": tokens.input + tokens.audio_output } });
    let frames = vec![
        Frame::now(writer.event(Some("speech.audio.delta"), &delta), 0, true),
        Frame::now(writer.event(Some("speech.audio.done"), &done.to_string()), 0, false),
    ];
    Plan::stream(200, event_headers(), frames).counting(tokens, Some(tokens)).scripted(script, bytes::Bytes::new)
}

/// Plans a transcript: by the second, or by tokens for models whose name says `gpt-4o`.
pub(crate) fn transcript(ask: &Ask, script: &Script) -> Plan {
    let text = script.text.clone().unwrap_or_else(|| "Hello there.".to_owned());
    // What is fetched is as long as it is: ten hours.
    let ms = if ask.is_remote { 36_000_000 } else { script.sound_ms.unwrap_or(ask.file_bytes / 4) };
    let seconds = json!(std::time::Duration::from_millis(ms).as_secs_f64());
    let by_tokens = ask.model.contains("gpt-4o");
    let tokens = if by_tokens {
        let audio_input = script.input_tokens.unwrap_or(50);
        Tokens { audio_input, output: script.output_tokens.unwrap_or(9), ..Tokens::default() }
    } else {
        Tokens { sound_ms: ms, ..Tokens::default() }
    };
    let usage = if by_tokens {
        json!({ "type": "tokens", "input_tokens": tokens.audio_input, "output_tokens": tokens.output,
            "total_tokens": tokens.audio_input + tokens.output,
            "input_token_details": { "audio_tokens": tokens.audio_input, "text_tokens": 0 } })
    } else {
        json!({ "type": "duration", "seconds": seconds })
    };
    let plain = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"))]);
    let whole = |headers, body: String| {
        Plan::whole(200, headers, body).counting(tokens, Some(tokens)).scripted(script, bytes::Bytes::new)
    };
    if ask.stream {
        let writer = EventWriter::new(script);
        let delta = json!({ "type": "transcript.text.delta", "delta": text }).to_string();
        let done = json!({ "type": "transcript.text.done", "text": text, "usage": usage }).to_string();
        let frames = vec![
            Frame::now(writer.event(None, &delta), tokens.output, true),
            Frame::now(writer.event(None, &done), tokens.output, false),
        ];
        return Plan::stream(200, event_headers(), frames)
            .counting(tokens, Some(tokens))
            .scripted(script, bytes::Bytes::new);
    }
    match ask.format.as_deref() {
        Some("text") => whole(plain, format!("{text}\n")),
        Some("srt") => {
            let stamp = format!("00:{:02}:{:02},{:03}", ms / 60_000, ms / 1_000 % 60, ms % 1_000);
            whole(plain, format!("1\n00:00:00,000 --> {stamp}\n{text}\n\n"))
        }
        Some("verbose_json") => {
            let body = json!({ "task": "transcribe", "language": "english", "duration": seconds, "text": text,
                "segments": [], "usage": usage });
            whole(json_headers(), body.to_string())
        }
        _ => whole(json_headers(), json!({ "text": text, "usage": usage }).to_string()),
    }
}
