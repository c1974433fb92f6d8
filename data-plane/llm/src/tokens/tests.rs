//! What the vocabularies count, against counts that OpenAI published, and that no text is worse than its bytes.

use super::*;
use crate::request::scan_request;
use proptest::prelude::*;

#[test]
fn a_model_has_the_vocabulary_of_its_family() {
    for (model, expected) in [
        ("gpt-5-mini", Some(Vocabulary::O200k)),
        ("gpt-4o-2024-08-06", Some(Vocabulary::O200k)),
        ("o3", Some(Vocabulary::O200k)),
        ("o4-mini", Some(Vocabulary::O200k)),
        ("openai/gpt-oss-120b", Some(Vocabulary::O200k)),
        ("openai.gpt-oss-20b-1:0", Some(Vocabulary::O200k)),
        ("ft:gpt-4o:acme::x", Some(Vocabulary::O200k)),
        ("gpt-4-turbo", Some(Vocabulary::Cl100k)),
        ("text-embedding-3-small", Some(Vocabulary::Cl100k)),
        ("claude-opus-5", None),
        ("o3dyn", None),
        ("gemini-3-pro", None),
        ("qwen3-32b", None),
    ] {
        assert_eq!(Vocabulary::of(model), expected, "{model}");
    }
}

#[test]
fn the_counts_that_openai_shows_in_its_reference_come_out() {
    // Chat completions, the first example: 19 tokens in, 10 out, one of them the end.
    let body = br#"{"model":"gpt-4o","messages":[{"role":"developer","content":"You are a helpful assistant."},
        {"role":"user","content":"Hello!"}]}"#;
    let facts = scan_request(Dialect::OpenAiChat, body).unwrap();
    let counted = Vocabulary::O200k.count_request(body, facts.text);
    let by_size = crate::estimate_tokens(facts.dialect.family(), facts.text);
    assert_eq!(facts.estimate_input_tokens() - by_size + counted, 19);
    assert_eq!(Vocabulary::O200k.count("Hello! How can I assist you today?"), 9);
    // The tokenizer's own examples.
    assert_eq!(Vocabulary::Cl100k.count("tiktoken is great!"), 6);
    assert_eq!(Vocabulary::O200k.count("tiktoken is great!"), 6);
}

#[test]
fn what_a_stream_wrote_is_counted_by_what_was_kept_of_it() {
    let words = "The quick brown fox jumps over the lazy dog. ".repeat(1000);
    let all = Vocabulary::O200k.count(&words);
    let whole = TextSize { bytes: to_u64(words.len()), wide_bytes: 0 };
    let sampled = Vocabulary::O200k.count_written(&words.as_bytes()[..MOST_KEPT_BYTES], whole);
    assert!(sampled.abs_diff(all) * 100 < all, "{sampled} of {all}");
    let escaped = TextSize { bytes: 4, wide_bytes: 2 };
    assert_eq!(Vocabulary::O200k.count_written(br"\u00e9\n!", escaped), Vocabulary::O200k.count("\u{e9}\n!"));
    assert_eq!(Vocabulary::O200k.count_written(b"", TextSize::default()), 0);
}

#[test]
fn text_without_a_break_or_of_blanks_alone_is_counted_like_any_other() {
    for text in ["a", " ", "\n ", "\u{3042}", "A", "1", "'", "\t\n"] {
        let text = text.repeat(20_000);
        for vocabulary in [Vocabulary::O200k, Vocabulary::Cl100k] {
            let tokens = vocabulary.count(&text);
            assert!(tokens > 0 && tokens <= to_u64(text.len()), "{tokens}");
        }
    }
}

#[test]
fn ids_types_addresses_and_pictures_are_no_text_and_names_of_parameters_are() {
    let body = br#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"look"},
        {"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}],
        "tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]}"#;
    let mut texts = Vec::new();
    each_text(body, &mut |text| texts.push(text.to_owned()));
    assert_eq!(texts, ["look", "f", "city"]);
}

proptest! {
    #[test]
    fn a_text_never_has_more_tokens_than_bytes(text in any::<String>(), blanks in "[ \n\t\u{a0}]{0,40}", wide in "\\PC{0,40}") {
        let text = text + &blanks + &wide;
        for vocabulary in [Vocabulary::O200k, Vocabulary::Cl100k] {
            prop_assert!(vocabulary.count(&text) <= to_u64(text.len()));
        }
    }

    #[test]
    fn a_body_never_has_more_counted_than_is_reserved(text in any::<String>()) {
        let body = serde_json::json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": text }] }).to_string();
        let facts = scan_request(Dialect::OpenAiChat, body.as_bytes()).unwrap();
        let by_size = crate::estimate_tokens(facts.dialect.family(), facts.text);
        let counted = Vocabulary::O200k.count_request(body.as_bytes(), facts.text);
        let all = facts.estimate_input_tokens() - by_size + counted;
        prop_assert!(all <= facts.input_token_bound().unwrap());
    }
}
