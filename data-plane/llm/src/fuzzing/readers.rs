//! Readers of framing, of JSON, of forms and of requests.

use super::{choices, chunks};
use crate::aws_events::Frames;
use crate::json::{Node, Reader, Record};
use crate::sse::{EventEnds, parse};
use crate::translate::{ChatDialect, RequestContext, translate_request};
use crate::{Dialect, Form, FormError, ModelTraits, Rewrite, boundary, rewrite, scan_request};
use bytes::Bytes;

/// Events end at the same places however the stream is cut, and each can be read.
pub fn sse(data: &[u8]) {
    let ([lengths], stream) = choices(data);
    let whole = ends(std::iter::once(stream));
    assert_eq!(ends(chunks(stream, lengths)), whole, "the ends of events depend on how the stream is cut");
    let mut start = 0;
    for end in whole {
        let event = stream.get(start..end).unwrap_or_default();
        let read = parse(event);
        assert!(read.data.len() <= event.len() && read.name.len() <= event.len());
        start = end;
    }
}

fn ends<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<usize> {
    let mut found = Vec::new();
    let mut framing = EventEnds::new();
    let mut base = 0;
    for piece in pieces {
        let mut at = 0;
        if framing.takes_late_lf(piece) {
            at = 1;
            if found.last() == Some(&base) {
                found.pop();
                found.push(base + 1);
            }
        }
        while let Some(end) = framing.next(piece, at) {
            found.push(base + end);
            at = end;
        }
        base += piece.len();
    }
    found
}

/// Frames are the same however the stream is cut, and none is longer than what came. The second choice puts the rest into
/// frames whose checksums are right, so that what stands behind them is reached.
pub fn aws_events(data: &[u8]) {
    let ([lengths, header_bytes], rest) = choices(data);
    let stream = if header_bytes == 0 { rest.to_vec() } else { framed(rest, usize::from(header_bytes)) };
    let whole = frames(std::iter::once(stream.as_slice()));
    assert_eq!(frames(chunks(&stream, lengths)), whole, "frames depend on how the stream is cut");
    let payloads: usize = whole.0.iter().map(|(_, _, payload)| payload.len()).sum();
    assert!(payloads <= stream.len());
}

type Seen = (String, String, Vec<u8>);

fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Seen>, bool) {
    let mut frames = Frames::default();
    let mut seen = Vec::new();
    let mut is_broken = false;
    for piece in pieces {
        let note = |frame: crate::aws_events::Frame<'_>| {
            seen.push((frame.message_type.to_owned(), frame.name.to_owned(), frame.payload.to_vec()));
        };
        is_broken |= frames.push(piece, note).is_err();
    }
    (seen, is_broken)
}

/// Two frames with sound checksums, of which the first has these many bytes of headers.
pub(super) fn framed(content: &[u8], header_bytes: usize) -> Vec<u8> {
    let (first, second) = content.split_at(content.len() / 2);
    [frame(first, header_bytes.min(first.len())), frame(second, 0)].concat()
}

fn frame(content: &[u8], header_bytes: usize) -> Vec<u8> {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = number(content.len() + 16).to_vec();
    frame.extend_from_slice(&number(header_bytes));
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame.extend_from_slice(content);
    frame.extend_from_slice(&crc32fast::hash(&frame).to_be_bytes());
    frame
}

/// The scan takes what the tree takes; what is written of a tree is read as the same tree; another reader takes it too.
pub fn json(data: &[u8]) {
    let mut reader = Reader::new(data);
    let scanned = reader.skip().is_ok() && reader.end().is_ok();
    let Ok(tree) = Node::parse(data) else {
        assert!(!scanned || std::str::from_utf8(data).is_err() || Node::parse(data).is_err());
        return;
    };
    assert!(scanned, "the tree takes what the scan refuses");
    let written = tree.to_bytes();
    let other = serde_json::from_slice::<serde::de::IgnoredAny>(&written);
    assert!(other.is_ok(), "another reader does not take what was written: {other:?}");
    let again = Node::parse(&written).map(|node| node.to_bytes());
    assert!(again.is_ok_and(|again| again == written), "what was written is read as something else");
    take_apart(tree, "");
}

/// Reads a record as the dialects do.
fn take_apart(node: Node, path: &str) {
    let Ok(mut record) = Record::new(node, path) else { return };
    let mut dropped = Vec::new();
    let texts = [record.text("model").is_ok(), record.needed_text("role").is_ok()];
    let numbers =
        [record.count("max_tokens").is_ok(), record.number("temperature").is_ok(), record.flag("stream").is_ok()];
    if texts.into_iter().chain(numbers).all(|is_read| is_read)
        && let Ok(messages) = record.list("messages")
    {
        messages.into_iter().take(8).for_each(|message| take_apart(message, "messages"));
    }
    if let Ok(Some(inner)) = record.record("metadata") {
        inner.name_rest("metadata", &mut dropped);
    }
    record.name_rest(path, &mut dropped);
    assert!(dropped.iter().all(|name| name.is_ascii() && !name.contains(',') && name.len() <= 160));
}

/// A form is read alike however it comes; nothing is passed on that did not come, and nothing is held back at its end.
pub fn multipart(data: &[u8]) {
    let ([lengths, kind], body) = choices(data);
    let dialect = if kind & 1 == 0 { Dialect::OpenAiTranscriptions } else { Dialect::OpenAiImageEdits };
    if kind & 2 != 0 {
        let content_type = String::from_utf8_lossy(body.get(..body.len().min(200)).unwrap_or_default());
        if let Ok(Some(boundary)) = boundary(&content_type) {
            assert!((1..=70).contains(&boundary.len()) && boundary.is_ascii());
        }
    }
    let begin = || if dialect.is_upload() { Form::new("b").with_file() } else { Form::new("b") };
    let mut whole = begin();
    let read = whole.read(body).and_then(|()| whole.finish());
    if read.is_ok() {
        let facts = whole.facts(dialect, body, None);
        assert!(facts.is_err() || whole.has_model());
    }
    let (passed, passing) = pass(begin(), body, lengths);
    assert!(body.starts_with(&passed), "something was passed on that did not come");
    match (read, passing) {
        (Ok(()), passing) => {
            assert_eq!(passing, Ok(()), "a form that is good as a whole is refused in pieces");
            assert_eq!(passed.len(), body.len(), "the end of a good form is held back");
        }
        (Err(_), passing) => assert!(passing.is_err(), "a form that is bad as a whole is passed on in pieces"),
    }
}

fn pass(mut form: Form, body: &[u8], lengths: u8) -> (Vec<u8>, Result<(), FormError>) {
    let (mut passed, mut window) = (Vec::new(), Vec::new());
    for piece in chunks(body, lengths) {
        window.extend_from_slice(piece);
        if let Err(error) = form.read(&window) {
            return (passed, Err(error));
        }
        passed.extend(window.drain(..form.known_bytes().min(window.len())));
        form.forget_known();
    }
    (passed, form.finish())
}

/// A request that is taken can be rewritten, and is then a request for the new model; one that can be translated becomes
/// one that the scan of its target takes.
pub fn request(data: &[u8]) {
    let ([dialect, options], body) = choices(data);
    let dialects = Dialect::ALL;
    let Some(dialect) = dialects.get(usize::from(dialect) % dialects.len()).copied() else { return };
    let Ok(facts) = scan_request(dialect, body) else { return };
    assert!(facts.text.wide_bytes <= facts.text.bytes || facts.media.inline_image_bytes > 0 || !body.is_ascii());
    let changes = Rewrite {
        model: Some("another-model"),
        force_usage: options & 1 != 0,
        withhold_stream_options: options & 2 != 0,
        output_cap: None,
        cap_name: None,
        previous_response: None,
        hosted_version: None,
    };
    let rewritten = rewrite(Bytes::copy_from_slice(body), &facts, &changes);
    let joined = rewritten.parts.concat();
    assert_eq!(u64::try_from(joined.len()).ok(), Some(rewritten.length));
    let names_model = !matches!(dialect, Dialect::BedrockConverse | Dialect::Gemini);
    match scan_request(dialect, &joined) {
        Ok(again) => assert!(!names_model || again.model == "another-model", "the model was not replaced"),
        Err(error) => assert!(!names_model, "a rewritten request is not taken: {error}"),
    }
    translate(dialect, options, body);
}

fn translate(dialect: Dialect, options: u8, body: &[u8]) {
    let Some(from) = ChatDialect::of(dialect) else { return };
    let traits = match options >> 2 & 3 {
        0 => ModelTraits::claude("claude-sonnet-4-5"),
        1 => ModelTraits::openai("gpt-5"),
        2 => ModelTraits::gemini("gemini-2.5-pro"),
        _ => ModelTraits::openai_compatible(),
    };
    let context = RequestContext { upstream_model: "m", output_cap: None, max_output_tokens: Some(64), traits };
    for to in ChatDialect::ALL {
        let Ok(translated) = translate_request(from, to, body, &context) else { continue };
        if let Some(target) = to.backend() {
            let taken = scan_request(target, &translated.body);
            assert!(taken.is_ok(), "a translated request is not taken: {:?}", taken.err());
        }
    }
}
