//! Requests of both families: what is read, what bounds them, and what is refused.

use proptest::prelude::*;

use super::*;

fn chat(fields: &str) -> std::result::Result<RequestFacts, ScanError> {
    scan_request(Dialect::OpenAiChat, format!("{{\"model\":\"m\",\"messages\":[]{fields}}}").as_bytes())
}

fn messages(fields: &str) -> std::result::Result<RequestFacts, ScanError> {
    scan_request(Dialect::AnthropicMessages, format!("{{\"model\":\"m\",\"messages\":[]{fields}}}").as_bytes())
}

#[test]
fn a_chat_request_is_read() {
    let body = r#" {"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":[{"type":"text","text":"Hé\n"},
        {"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA","detail":"low"}},
        {"image_url":{"url":"https://example.com/a.png"},"type":"image_url"}]}],
        "mod\u0065l":"gpt-5\u002e4","stream":true,"stream_options":{"include_usage":true},"max_tokens":50,
        "max_completion_tokens":100,"n":3,"service_tier":"flex","modalities":["text","audio"],"user":"someone",
        "tools":[{"type":"function","function":{"name":"get","parameters":{}}}]}"#;
    let facts = scan_request(Dialect::OpenAiChat, body.as_bytes()).unwrap();
    assert_eq!(facts.model, "gpt-5.4");
    assert!(facts.is_stream && facts.asks_usage && facts.asks_audio);
    assert_eq!((facts.output_cap, facts.choices, facts.messages, facts.tools), (Some(100), 3, 2, 1));
    assert_eq!(facts.service_tier.as_deref(), Some("flex"));
    let inline = u64::try_from("data:image/png;base64,AAAA".len()).unwrap();
    assert_eq!(facts.media, Media { images: 2, remote_images: 1, inline_image_bytes: inline, ..Media::default() });
    assert_eq!(facts.server_tools, ServerTools::default());
    assert_eq!(facts.text.wide_bytes, 2);
    assert_eq!(facts.output_token_bound(100), 300);
}

#[test]
fn a_messages_request_is_read() {
    let body = r#"{"model":"claude-sonnet-4-6","max_tokens":4096,"stream":true,"thinking":{"type":"enabled","budget_tokens":2048},
        "system":[{"type":"text","text":"Be brief.","cache_control":{"type":"ephemeral"}}],
        "messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}},
          {"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"x"},{"source":{"type":"url","url":"https://e.com/i.png"},"type":"image"}]},
          {"type":"document","source":{"type":"text","media_type":"text/plain","data":"plain"}},
          {"type":"search_result","source":"https://e.com","title":"t","content":[{"type":"text","text":"y"}]}]},
          {"role":"assistant","content":"ok"}],
        "tools":[{"name":"get","input_schema":{"type":"object"},"cache_control":{"type":"ephemeral","ttl":"1h"}},
          {"type":"custom","name":"b","input_schema":{}},{"type":"bash_20250124","name":"bash"},
          {"type":"web_search_20250305","name":"web_search","max_uses":5},{"type":"web_fetch_20250910","name":"web_fetch"}],
        "speed":"fast","inference_geo":"us","metadata":{"user_id":"u"}}"#;
    let facts = scan_request(Dialect::AnthropicMessages, body.as_bytes()).unwrap();
    assert_eq!(facts.model, "claude-sonnet-4-6");
    assert!(facts.is_stream && facts.is_fast && !facts.asks_usage);
    assert_eq!((facts.output_cap, facts.thinking_budget), (Some(4096), Some(2048)));
    assert_eq!((facts.messages, facts.tools), (2, 5));
    assert_eq!(facts.server_tools, ServerTools { count: 2, max_uses: 5, fetches: 0, has_uncapped: true });
    assert_eq!(facts.media, Media { images: 2, remote_images: 1, inline_image_bytes: 4, ..Media::default() });
    assert_eq!(facts.cache_marks, CacheMarks::Long);
    assert_eq!(facts.inference_geo.as_deref(), Some("us"));
    assert!(facts.input_token_bound().is_some());
}

#[test]
fn what_the_body_does_not_bound_takes_the_bound_away() {
    let part = |part: &str| chat(&format!(",\"messages \":0,\"x\":[],\"y\":{part}")).unwrap();
    assert!(part("{\"type\":\"file\"}").input_token_bound().is_some(), "only messages count");
    let chat_part = |part: &str| {
        let body = format!("{{\"model\":\"m\",\"messages\":[{{\"role\":\"user\",\"content\":[{part}]}}]}}");
        scan_request(Dialect::OpenAiChat, body.as_bytes()).unwrap()
    };
    for unbounded in [
        r#"{"type":"file","file":{"file_id":"file-1"}}"#,
        r#"{"type":"file","file":{"file_data":"data:application/pdf;base64,AA"}}"#,
        r#"{"type":"video_url","video_url":{"url":"https://e.com/v"}}"#,
        r#"{"type":"new_kind"}"#,
    ] {
        assert_eq!(chat_part(unbounded).input_token_bound(), None, "{unbounded}");
    }
    let block = |block: &str| {
        let body = format!("{{\"model\":\"m\",\"messages\":[{{\"role\":\"user\",\"content\":[{block}]}}]}}");
        scan_request(Dialect::AnthropicMessages, body.as_bytes()).unwrap()
    };
    for unbounded in [
        r#"{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"AA"}}"#,
        r#"{"type":"document","source":{"type":"url","url":"https://e.com/d.pdf"}}"#,
        r#"{"source":{"file_id":"f","type":"file"},"type":"document"}"#,
        r#"{"type":"container_upload","file_id":"f"}"#,
        r#"{"type":"web_fetch_tool_result","content":{"type":"web_fetch_result","content":{"type":"document","source":{"type":"base64","data":"AA"}}}}"#,
    ] {
        assert_eq!(block(unbounded).input_token_bound(), None, "{unbounded}");
    }
    let image = block(r#"{"type":"image","source":{"type":"file","file_id":"f"}}"#);
    assert!(image.input_token_bound().unwrap() > ANTHROPIC_IMAGE_TOKENS);
}

#[test]
fn tools_that_run_at_the_provider_are_seen() {
    for fields in [
        r#","web_search_options":{}"#,
        r#","search_parameters":{"mode":"on"}"#,
        r#","plugins":[{"id":"web"}]"#,
        r#","tools":[{"type":"browser_search"}]"#,
    ] {
        let tools = chat(fields).unwrap().server_tools;
        assert_eq!((tools.count, tools.has_uncapped), (1, true), "{fields}");
    }
    assert_eq!(messages(r#","mcp_servers":[{"type":"url"}]"#).unwrap().server_tools.count, 1);
    assert!(chat(r#","models":["other"]"#).unwrap().other_models.is_some());
    assert!(chat(r#","models":null,"web_search_options":null"#).unwrap().other_models.is_none());
}

#[test]
fn another_model_is_found_wherever_it_is_named() {
    let advisor = r#","tools":[{"type":"advisor_20260301","name":"advisor","model":"claude-opus-4-6","max_uses":5}]"#;
    let nested = r#","tools":[{"name":"x","type":"helper_1","options":[{"Sub_Model":"dear"}]}]"#;
    for (fields, field) in [
        (advisor, Some("tools")),
        (nested, Some("tools")),
        (r#","fallbacks":[{"model":"claude-opus-4-6"}]"#, Some("fallbacks")),
        (r#","fallbacks":[]"#, None),
        (r#","fallbacks":null"#, None),
        (r#","tools":[{"name":"f","input_schema":{"properties":{"model":{"type":"string"}}}}]"#, None),
        (r#","tools":[{"type":"computer_20250124","name":"computer","display_width_px":9}]"#, None),
    ] {
        assert_eq!(messages(fields).unwrap().other_models, field, "{fields}");
    }
    let server = r#","tools":[{"type":"openrouter:advisor","parameters":{"model":"dear"}}]"#;
    let late = r#","tools":[{"parameters":{"judge":{"model":"dear"}},"type":"fusion"}]"#;
    for (fields, field) in [
        (server, Some("tools")),
        (late, Some("tools")),
        (r#","tools":[{"type":"openrouter:datetime","parameters":{"zone":"UTC"}}]"#, None),
        (r#","tools":[{"type":"function","function":{"parameters":{"properties":{"model":{}}}}}]"#, None),
        (r#","tools":[{"type":"custom","custom":{"name":"model"}}]"#, None),
        (r#","fallbacks":["dear"]"#, Some("fallbacks")),
        (r#","models":"dear""#, Some("models")),
        (r#","plugins":[{"id":"fusion","analysis_models":["dear"]}]"#, Some("plugins")),
        (r#","plugins":[{"id":"web"}]"#, None),
    ] {
        assert_eq!(chat(fields).unwrap().other_models, field, "{fields}");
    }
    let bodies = [
        (Dialect::OpenAiCompletions, r#""prompt":"p""#),
        (Dialect::OpenAiEmbeddings, r#""input":"p""#),
        (Dialect::OpenAiImages, r#""prompt":"p""#),
        (Dialect::OpenAiSpeech, r#""input":"p""#),
        (Dialect::OpenAiModerations, r#""input":"p""#),
        (Dialect::OpenAiResponses, r#""input":"p""#),
    ];
    for (dialect, body) in bodies {
        for field in ["models", "fallbacks"] {
            let body = format!(r#"{{"model":"cheap",{body},"{field}":["dear"],"route":"fallback"}}"#);
            assert_eq!(scan_request(dialect, body.as_bytes()).unwrap().other_models, Some(field), "{dialect:?}");
        }
    }
}

#[test]
fn what_runs_at_a_provider_is_seen_beside_a_completion_and_an_embedding() {
    for (dialect, body) in
        [(Dialect::OpenAiCompletions, r#""prompt":"p""#), (Dialect::OpenAiEmbeddings, r#""input":"p""#)]
    {
        let plain = format!(r#"{{"model":"m",{body},"plugins":null}}"#);
        assert_eq!(scan_request(dialect, plain.as_bytes()).unwrap().server_tools, ServerTools::default());
        let body = format!(r#"{{"model":"m",{body},"plugins":[{{"id":"web"}}]}}"#);
        assert!(scan_request(dialect, body.as_bytes()).unwrap().server_tools.has_uncapped, "{dialect:?}");
    }
}

#[test]
fn only_searches_and_fetches_are_bounded_by_their_uses() {
    let tool = |kind: &str| messages(&format!(r#","tools":[{{"type":"{kind}","max_uses":3}}]"#)).unwrap().server_tools;
    let none = ServerTools { count: 1, ..ServerTools::default() };
    assert_eq!(tool("web_search_20250305"), ServerTools { max_uses: 3, ..none });
    assert_eq!(tool("web_fetch_20260318"), ServerTools { fetches: 3, ..none });
    for kind in ["code_execution_20250825", "mcp_toolset", "novel_1"] {
        assert_eq!(tool(kind), ServerTools { has_uncapped: true, ..none }, "{kind}");
    }
    assert_eq!(tool("bash_20250124"), ServerTools::default());
}

#[test]
fn a_summary_of_the_conversation_is_a_pass_of_its_own() {
    let compacted =
        |edit: &str| messages(&format!(r#","context_management":{{"edits":[{{"type":"{edit}"}}]}}"#)).unwrap();
    let facts = compacted("compact_20260112");
    assert_eq!((facts.may_compact, facts.output_token_bound(100)), (true, 100 + SUMMARY_TOKENS));
    assert!(compacted("\\u0063ompact_20270101").may_compact);
    assert!(!compacted("clear_tool_uses_20250919").may_compact);
    assert!(!messages(r#","context_management":null"#).unwrap().may_compact);
}

#[test]
fn the_larger_of_two_caps_counts() {
    for (fields, cap) in [
        (r#","max_completion_tokens":1,"max_tokens":65536"#, Some(65_536)),
        (r#","max_completion_tokens":9,"max_tokens":2"#, Some(9)),
        (r#","max_completion_tokens":null,"max_tokens":2"#, Some(2)),
        ("", None),
    ] {
        assert_eq!(chat(fields).unwrap().output_cap, cap, "{fields}");
    }
}

#[test]
fn a_cache_mark_counts_with_its_longest_life() {
    for (fields, marks) in [
        ("", CacheMarks::None),
        (r#","cache_control":{"type":"ephemeral"}"#, CacheMarks::Short),
        (r#","cache_control":{"type":"ephemeral","ttl":"5m"}"#, CacheMarks::Short),
        (r#","system":[{"type":"text","text":"x","cache_control":{"type":"ephemeral","ttl":"1h"}}]"#, CacheMarks::Long),
        (r#","cache_control":{"ttl":"2d"}"#, CacheMarks::Long),
        (r#","cache_control":null"#, CacheMarks::None),
    ] {
        assert_eq!(messages(fields).unwrap().cache_marks, marks, "{fields}");
    }
    assert_eq!(chat(r#","prompt_cache_options":{"ttl":"12h"}"#).unwrap().cache_marks, CacheMarks::Long);
    assert_eq!(chat(r#","prompt_cache_options":{"ttl":"30m"}"#).unwrap().cache_marks, CacheMarks::Short);
}

#[test]
fn embeddings_take_texts_and_tokens() {
    for (input, count) in [("\"a\"", 1), ("[\"a\",\"b\"]", 2), ("[1,2,3]", 1), ("[[1,2],[3]]", 2), ("[]", 1)] {
        let facts =
            scan_request(Dialect::OpenAiEmbeddings, format!("{{\"input\":{input},\"model\":\"e\"}}").as_bytes())
                .unwrap();
        assert_eq!(facts.messages, count, "{input}");
    }
}

#[test]
fn refusals_name_the_field_the_type_and_the_place() {
    let refusal = |dialect, body: &str| {
        let error = scan_request(dialect, body.as_bytes()).unwrap_err();
        format!("{} | {:?} | {}", error, error.param(), error.code().as_str())
    };
    let chat = [
        "",
        "   \n ",
        "nothing",
        "[]",
        "{}",
        "{\"model\":\"m\"}",
        "{\"messages\":[]}",
        "{\"model\":\"m\",\"messages\":[]} x",
        "{\"model\":\"m\",\"messages\":[],}",
        "{\"model\":\"m\",\n \"messages\":\"hi\"}",
        "{\"model\":5,\"messages\":[]}",
        "{\"model\":\"\",\"messages\":[]}",
        "{\"model\":null,\"messages\":[]}",
        "{\"model\":\"\\ud800\",\"messages\":[]}",
        "{\"model\":\"m\",\"messages\":[1]}",
        "{\"model\":\"m\",\"messages\":[{\"content\":\"a\"},{\"content\":5}]}",
        "{\"model\":\"m\",\"messages\":[{\"content\":[{\"type\":1}]}]}",
        "{\"model\":\"m\",\"messages\":[],\"stream\":\"yes\"}",
        "{\"model\":\"m\",\"messages\":[],\"stream_options\":{\"include_usage\":1}}",
        "{\"model\":\"m\",\"messages\":[],\"max_tokens\":-1}",
        "{\"model\":\"m\",\"messages\":[],\"max_tokens\":1.5}",
        "{\"model\":\"m\",\"messages\":[],\"max_tokens\":\"5\"}",
        "{\"model\":\"m\",\"messages\":[],\"max_tokens\":99999999999999999999}",
        "{\"model\":\"m\",\"messages\":[],\"model\":\"other\"}",
        "{\"model\":\"m\",\"messages\":[],\"mod\\u0065l\":\"other\"}",
        "{\"model\":\"m\",\"messages\":[],\"Model\":\"other\"}",
        "{\"model\":\"m\",\"messages\":[],\"max_to\u{212a}ens\":5}",
        "{\"model\":\"m\",\"messages\":[{\"content\":\"\t\"}]}",
    ];
    let mut table: Vec<String> = chat.iter().map(|body| refusal(Dialect::OpenAiChat, body)).collect();
    let deep = format!("{{\"model\":\"m\",\"x\":{}", "[".repeat(100_000));
    table.push(refusal(Dialect::OpenAiChat, &deep));
    for body in [
        "{\"model\":\"m\",\"messages\":[],\"system\":{}}",
        "{\"model\":\"m\",\"messages\":[],\"tools\":[{\"type\":\"web_search\",\"max_uses\":\"many\"}]}",
        "{\"model\":\"m\",\"messages\":[],\"thinking\":{\"budget_tokens\":true}}",
    ] {
        table.push(refusal(Dialect::AnthropicMessages, body));
    }
    table.push(refusal(Dialect::OpenAiEmbeddings, "{\"model\":\"m\",\"input\":[true]}"));
    insta::assert_snapshot!("refusals", table.join("\n"));
    let not_utf8 = scan_request(Dialect::OpenAiChat, b"{\"model\":\"m\",\"messages\":[],\"x\":\"\xff\"}").unwrap_err();
    assert!(matches!(not_utf8, ScanError::InvalidJson { line: 1, column: 33, .. }), "{not_utf8:?}");
}

#[test]
fn a_refusal_never_repeats_what_the_client_wrote() {
    let error = chat(",\"stream\":\"s3cret\"").unwrap_err();
    assert!(!error.to_string().contains("s3cret"));
}

#[test]
fn twenty_megabytes_of_image_are_one_image() {
    let data = "A".repeat(20_000_000);
    let body = format!(
        "{{\"model\":\"m\",\"messages\":[{{\"role\":\"user\",\"content\":[{{\"type\":\"image_url\",\"image_url\":{{\"url\":\"data:image/png;base64,{data}\"}}}}]}}]}}"
    );
    let facts = scan_request(Dialect::OpenAiChat, body.as_bytes()).unwrap();
    assert!(facts.input_token_bound().unwrap() < OPENAI_IMAGE_TOKENS + 1_000);
    assert!(facts.estimate_input_tokens() < 2_000);
}

proptest! {
    #[test]
    fn noise_never_panics(body in prop::collection::vec(any::<u8>(), 0..96)) {
        for dialect in Dialect::ALL {
            prop_assert!(scan_request(dialect, &body).is_err());
        }
    }

    #[test]
    fn a_damaged_request_never_panics(at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()) {
        let mut body = br#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"x"}}]}],"tools":[{"type":"web","max_uses":1,"cache_control":{"ttl":"1h"}}]}"#.to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        let end = cut.index(body.len());
        for dialect in Dialect::ALL {
            let whole = scan_request(dialect, &body);
            prop_assert!(whole.is_ok() || whole.is_err());
            prop_assert!(scan_request(dialect, &body[..end]).is_err());
        }
    }

    #[test]
    fn the_estimate_stays_under_the_bound(texts in prop::collection::vec(any::<String>(), 0..8)) {
        let list: Vec<_> = texts.iter().map(|text| serde_json::json!({"role": "user", "content": text})).collect();
        let body = serde_json::json!({"model": "m", "messages": list}).to_string();
        for dialect in [Dialect::OpenAiChat, Dialect::AnthropicMessages] {
            let facts = scan_request(dialect, body.as_bytes()).unwrap();
            prop_assert!(facts.estimate_input_tokens() <= facts.input_token_bound().unwrap());
        }
    }
}
