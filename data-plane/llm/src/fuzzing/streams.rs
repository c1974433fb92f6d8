//! Readers of what providers answer: whole, as a stream, as an error.

use super::{choices, chunks, readers};
use crate::translate::{
    AnswerContext, AnswerPlan, ChatDialect, StreamTranslator, error_family, stated_error, translate_answer,
    translate_error,
};
use crate::{Dialect, EndKind, Family, Quirks, StreamFilter, scan_response};
use bytes::Bytes;

/// Passing on changes no byte; hiding and translating give the same however the stream is cut, and after the end nothing.
pub fn answer(data: &[u8]) {
    let ([pair, lengths, options], content) = choices(data);
    let ends = ChatDialect::ALL;
    let provider = ends.get(usize::from(pair & 15) % ends.len()).copied().unwrap_or(ChatDialect::OpenAiChat);
    let client = ends.get(usize::from(pair >> 4) % ends.len()).copied().unwrap_or(ChatDialect::OpenAiChat);
    let Some(dialect) = provider.backend() else { return };
    let quirks = Quirks { has_reasoning_outside: options & 1 != 0, has_cost: options & 2 != 0 };
    let framed = (provider == ChatDialect::Bedrock && options & 4 != 0).then(|| readers::framed(content, 40));
    let content = framed.as_deref().unwrap_or(content);

    let passed = filter(dialect, false, quirks, std::iter::once(content));
    assert_eq!(passed, content, "passing on changes bytes");
    assert_eq!(filter(dialect, false, quirks, chunks(content, lengths)), content, "passing on in pieces changes bytes");
    let hidden = filter(dialect, true, quirks, chunks(content, lengths));
    assert!(hidden.len() <= content.len());

    let whole = translate(provider, client, quirks, std::iter::once(content));
    let pieces = translate(provider, client, quirks, chunks(content, lengths));
    assert_eq!(
        String::from_utf8_lossy(&pieces),
        String::from_utf8_lossy(&whole),
        "a translated stream depends on how it is cut"
    );
    let facts = scan_response(dialect, content, quirks);
    assert!(facts.text.wide_bytes <= facts.text.bytes);
    if let Ok(body) = translate_answer(provider, client, content, &AnswerPlan::default(), &context(quirks)) {
        assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok(), "a translated answer is no JSON");
    }
    errors(provider.family(), client.family(), content);
}

fn filter<'a>(dialect: Dialect, hides: bool, quirks: Quirks, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut filter = StreamFilter::new(dialect, hides, quirks);
    let mut out = Vec::new();
    for piece in pieces {
        filter.push(Bytes::copy_from_slice(piece), &mut |bytes| out.extend_from_slice(&bytes));
    }
    if !hides {
        let passed = out.len();
        drop(filter.finish(EndKind::Eof, "req_1"));
        out.truncate(passed);
    }
    out
}

fn context(quirks: Quirks) -> AnswerContext {
    AnswerContext {
        request_id: "req_1".to_owned(),
        unique: "1".to_owned(),
        created_unix_s: 1,
        model: "m".to_owned(),
        estimated_input_tokens: 7,
        quirks,
    }
}

fn translate<'a>(
    provider: ChatDialect,
    client: ChatDialect,
    quirks: Quirks,
    pieces: impl Iterator<Item = &'a [u8]>,
) -> Vec<u8> {
    let mut translator = StreamTranslator::new(provider, client, AnswerPlan::default(), context(quirks));
    let mut out = Vec::new();
    for piece in pieces {
        translator.push(Bytes::copy_from_slice(piece), &mut |bytes| out.extend_from_slice(&bytes));
    }
    out.extend(translator.finish(EndKind::Eof).into_iter().flatten());
    let length = out.len();
    out.extend(translator.finish(EndKind::Eof).into_iter().flatten());
    assert_eq!(out.len(), length, "a stream ends twice");
    out
}

fn errors(provider: Family, client: Family, body: &[u8]) {
    let _family = error_family(client, body);
    let stated = stated_error(provider, 400, body);
    assert!(stated.retry_after_s.is_none_or(|seconds| seconds <= u64::from(u32::MAX)));
    let translated = translate_error(provider, client, 500, body, "req_1");
    assert!(translated.body.len() <= 64 * 1024, "a provider's error is passed on without a bound");
    assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&translated.body).is_ok());
}
