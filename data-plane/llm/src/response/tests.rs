//! Usage of whole answers, by provider; the numbers follow the worked examples of the providers' documentation.

use helix_shared::money::NanoUsd;
use proptest::prelude::*;

use super::*;

fn usage(dialect: Dialect, body: &str, quirks: Quirks) -> TokenUsage {
    scan_response(dialect, body.as_bytes(), quirks).usage.unwrap()
}

#[test]
fn openai_counts_cache_and_audio_inside_the_prompt() {
    let body = r#"{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-6-sol","service_tier":"priority",
        "choices":[{"index":0,"message":{"role":"assistant","content":"Hi \u00e9","tool_calls":[{"id":"c","type":"function",
        "function":{"name":"get","arguments":"{}"}}]},"finish_reason":"stop"}],
        "usage":{"prompt_tokens":10000,"completion_tokens":500,"total_tokens":10500,
        "prompt_tokens_details":{"cached_tokens":8000,"cache_write_tokens":1000,"audio_tokens":100,
        "cache_write_tokens_details":{"ttl_30m_tokens":600,"ttl_12h_tokens":400}},
        "completion_tokens_details":{"reasoning_tokens":300,"audio_tokens":50}}}"#;
    let facts = scan_response(Dialect::OpenAiChat, body.as_bytes(), Quirks::default());
    let expected = TokenUsage {
        input_tokens: 900,
        cache_read_tokens: 8000,
        cache_write_tokens: 600,
        cache_write_long_tokens: 400,
        output_tokens: 450,
        reasoning_tokens: 300,
        audio_input_tokens: 100,
        audio_output_tokens: 50,
        searches: 0,
        ..TokenUsage::default()
    };
    assert_eq!(facts.usage, Some(expected));
    assert_eq!(expected.total_input_tokens(), 10_000);
    assert_eq!(expected.total_output_tokens(), 500);
    assert_eq!(facts.id.as_deref(), Some("chatcmpl-1"));
    assert_eq!(facts.served_model.as_deref(), Some("gpt-6-sol"));
    assert_eq!(facts.service_tier.as_deref(), Some("priority"));
    assert_eq!(facts.finish.as_deref(), Some("stop"));
    assert_eq!(facts.text, TextSize { bytes: 5 + 3 + 2, wide_bytes: 2 });
}

#[test]
fn anthropic_counts_cache_outside_the_input_and_by_lifetime() {
    let body = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-opus-5-5","content":[
        {"type":"text","text":"Hello"},{"type":"tool_use","id":"t","name":"get","input":{"a":1}}],"stop_reason":"end_turn",
        "usage":{"input_tokens":100,"cache_creation_input_tokens":2500,"cache_read_input_tokens":50000,
        "cache_creation":{"ephemeral_5m_input_tokens":500,"ephemeral_1h_input_tokens":2000},"output_tokens":1000,
        "service_tier":"standard","speed":"fast","inference_geo":"us","server_tool_use":{"web_search_requests":3}}}"#;
    let facts = scan_response(Dialect::AnthropicMessages, body.as_bytes(), Quirks::default());
    let expected = TokenUsage {
        input_tokens: 100,
        cache_read_tokens: 50_000,
        cache_write_tokens: 500,
        cache_write_long_tokens: 2_000,
        output_tokens: 1_000,
        searches: 3,
        ..TokenUsage::default()
    };
    assert_eq!(facts.usage, Some(expected));
    assert!(facts.is_fast);
    assert_eq!(facts.inference_geo.as_deref(), Some("us"));
    assert_eq!(facts.finish.as_deref(), Some("end_turn"));
    assert_eq!(facts.text.bytes, 5 + 3 + 7);
}

#[test]
fn anthropic_iterations_are_summed_n21() {
    let body = r#"{"usage":{"input_tokens":100,"output_tokens":20,"iterations":[
        {"type":"compaction","input_tokens":180000,"output_tokens":3500,"cache_creation_input_tokens":7,
         "cache_creation":{"ephemeral_1h_input_tokens":7}},
        {"type":"message","input_tokens":100,"output_tokens":20}]}}"#;
    let usage = usage(Dialect::AnthropicMessages, body, Quirks::default());
    assert_eq!((usage.input_tokens, usage.output_tokens, usage.cache_write_long_tokens), (180_100, 3_520, 7));
}

#[test]
fn a_cache_write_without_a_split_is_short() {
    let body = r#"{"usage":{"input_tokens":1,"output_tokens":2,"cache_creation_input_tokens":30}}"#;
    assert_eq!(usage(Dialect::AnthropicMessages, body, Quirks::default()).cache_write_tokens, 30);
}

#[test]
fn quirks_decide_on_reasoning_and_cost_n22() {
    let xai = r#"{"usage":{"prompt_tokens":1000,"completion_tokens":50,"prompt_tokens_details":{"cached_tokens":400},
        "completion_tokens_details":{"reasoning_tokens":200},"cost_in_usd_ticks":29000000}}"#;
    let plain = scan_response(Dialect::OpenAiChat, xai.as_bytes(), Quirks::default());
    assert_eq!((plain.usage.unwrap().output_tokens, plain.provider_cost), (50, None));
    let quirks = Quirks { has_reasoning_outside: true, has_cost: true };
    let facts = scan_response(Dialect::OpenAiChat, xai.as_bytes(), quirks);
    let usage = facts.usage.unwrap();
    assert_eq!((usage.input_tokens, usage.cache_read_tokens, usage.output_tokens), (600, 400, 250));
    assert_eq!(facts.provider_cost, Some(NanoUsd::new(2_900_000)));
    for (cost, nano) in
        [("0.00014", 140_000), ("1.4e-4", 140_000), ("{\"total_cost\":0.5}", 500_000_000), ("0.0000000001", 1)]
    {
        let body = format!("{{\"usage\":{{\"prompt_tokens\":1,\"completion_tokens\":1,\"cost\":{cost}}}}}");
        let facts = scan_response(Dialect::OpenAiChat, body.as_bytes(), quirks);
        assert_eq!(facts.provider_cost, Some(NanoUsd::new(nano)), "{cost}");
    }
}

#[test]
fn odd_counters_do_no_harm() {
    for (counters, input, cached, output) in [
        (r#""prompt_tokens":400,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":500}"#, 400, 500, 5),
        (r#""prompt_tokens":-4,"completion_tokens":5.0"#, 0, 0, 5),
        (r#""prompt_tokens":10,"completion_tokens":null,"prompt_tokens_details":null"#, 10, 0, 0),
        (
            r#""prompt_tokens":10,"completion_tokens":2,"prompt_cache_hit_tokens":4,"prompt_cache_miss_tokens":6"#,
            6,
            4,
            2,
        ),
        (r#""prompt_tokens":10,"completion_tokens":2,"cached_tokens":3"#, 7, 3, 2),
        (r#""prompt_tokens":10,"completion_tokens":"2""#, 10, 0, 0),
    ] {
        let usage = usage(Dialect::OpenAiChat, &format!("{{\"usage\":{{{counters}}}}}"), Quirks::default());
        assert_eq!(
            (usage.input_tokens, usage.cache_read_tokens, usage.output_tokens),
            (input, cached, output),
            "{counters}"
        );
    }
}

#[test]
fn an_answer_without_usage_has_none() {
    for body in
        ["", "{", "[]", "{}", "{\"usage\":null}", "{\"usage\":{}}", "<html>", "{\"usage\":{\"prompt_tokens\":1}} x"]
    {
        for dialect in Dialect::ALL {
            assert_eq!(scan_response(dialect, body.as_bytes(), Quirks::default()).usage, None, "{body}");
        }
    }
}

#[test]
fn embeddings_are_passed_over_for_their_usage() {
    let body = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1,-2e-3]}],"model":"e",
        "usage":{"prompt_tokens":8,"total_tokens":8}}"#;
    let usage = usage(Dialect::OpenAiEmbeddings, body, Quirks::default());
    assert_eq!((usage.input_tokens, usage.total_output_tokens()), (8, 0));
}

#[test]
fn an_error_body_is_read_in_both_families() {
    let openai = br#"{"error":{"message":"no such model","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#;
    let error = scan_response(Dialect::OpenAiChat, openai, Quirks::default()).error.unwrap();
    assert_eq!(
        (error.kind.as_deref(), error.code.as_deref()),
        (Some("invalid_request_error"), Some("model_not_found"))
    );
    let anthropic = br#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"r"}"#;
    let error = scan_response(Dialect::AnthropicMessages, anthropic, Quirks::default()).error.unwrap();
    assert_eq!((error.kind.as_deref(), error.message.as_str()), (Some("overloaded_error"), "Overloaded"));
}

proptest! {
    #[test]
    fn any_counters_never_panic_and_cached_plus_uncached_is_the_prompt(
        prompt: u64, cached: u64, written: u64, audio: u64, output: u64, reasoning: u64,
    ) {
        let body = format!(
            "{{\"usage\":{{\"prompt_tokens\":{prompt},\"completion_tokens\":{output},\"prompt_tokens_details\":\
             {{\"cached_tokens\":{cached},\"cache_write_tokens\":{written},\"audio_tokens\":{audio}}},\
             \"completion_tokens_details\":{{\"reasoning_tokens\":{reasoning}}}}}}}"
        );
        let quirks = Quirks { has_reasoning_outside: true, has_cost: true };
        let usage = usage(Dialect::OpenAiChat, &body, quirks);
        if cached.saturating_add(written).saturating_add(audio) <= prompt {
            prop_assert_eq!(usage.total_input_tokens(), prompt);
        }
        prop_assert!(usage.total_input_tokens() >= prompt);
    }

    #[test]
    fn noise_never_panics(body in prop::collection::vec(any::<u8>(), 0..64)) {
        for dialect in Dialect::ALL {
            prop_assert_eq!(scan_response(dialect, &body, Quirks::default()).usage, None);
        }
    }
}

#[test]
fn a_gemini_answer_says_its_tier_in_either_word() {
    use helix_shared::catalog::ServiceTier;
    for (fields, tier) in [
        (r#""trafficType":"ON_DEMAND""#, ServiceTier::Standard),
        (r#""trafficType":"ON_DEMAND_PRIORITY""#, ServiceTier::Priority),
        (r#""trafficType":"ON_DEMAND_FLEX""#, ServiceTier::Flex),
        (r#""trafficType":"PROVISIONED_THROUGHPUT""#, ServiceTier::Standard),
        (r#""trafficType":"TRAFFIC_TYPE_UNSPECIFIED""#, ServiceTier::Standard),
        (r#""trafficType":"NOVEL""#, ServiceTier::Other),
        (r#""serviceTier":"priority","trafficType":"ON_DEMAND""#, ServiceTier::Priority),
        (r#""serviceTier":"SERVICE_TIER_FLEX""#, ServiceTier::Flex),
        (r#""totalTokenCount":3"#, ServiceTier::Standard),
    ] {
        let body = format!(r#"{{"candidates":[],"usageMetadata":{{"promptTokenCount":3,{fields}}}}}"#);
        let facts = scan_response(Dialect::Gemini, body.as_bytes(), Quirks::default());
        assert_eq!(ServiceTier::from_gemini(facts.service_tier.as_deref()), tier, "{fields}");
    }
}
