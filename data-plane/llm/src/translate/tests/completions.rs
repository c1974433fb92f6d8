//! Legacy completions over models of conversations (M16), and what they are refused for.

use super::reader::gather;
use super::*;
use crate::dialect::openai_completions::{join_completions, split_completions};

const COMPLETIONS: ChatDialect = ChatDialect::OpenAiCompletions;

fn asked(to: ChatDialect, model: &str, fields: &Value) -> Result<Translated, TranslateError> {
    let mut body = json!({ "model": "asked", "prompt": "Say hi" });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    try_request(COMPLETIONS, to, model, &body)
}

#[test]
fn a_prompt_is_one_message_of_the_user_and_the_apis_own_cap_holds() {
    let made = value(&asked(MESSAGES, "claude-haiku-4-5", &json!({})).unwrap());
    assert_eq!(
        made["messages"],
        json!([{ "role": "user", "content": [{ "type": "text", "text": "Say hi" }] }]),
        "{made}"
    );
    assert_eq!(made["max_tokens"], 16);
    let fields = json!({ "prompt": ["Say hi"], "max_tokens": 9, "temperature": 0.5, "stop": ["x"], "echo": false, "best_of": 1,
        "n": 1, "logprobs": null, "suffix": null, "presence_penalty": 0, "seed": 3, "user": "u" });
    let translated = asked(CHAT, "llama", &fields).unwrap();
    let made = value(&translated);
    assert_eq!(made["messages"], json!([{ "role": "user", "content": "Say hi" }]));
    let cap = made.get("max_completion_tokens").or_else(|| made.get("max_tokens"));
    assert_eq!((cap, &made["stop"], &made["seed"]), (Some(&json!(9)), &json!(["x"]), &json!(3)), "{made}");
    assert_eq!(translated.dropped, Vec::<String>::new());
}

#[test]
fn what_only_a_continuation_has_is_refused_by_its_name() {
    for (fields, param) in [
        (json!({ "echo": true }), "echo"),
        (json!({ "suffix": "." }), "suffix"),
        (json!({ "logprobs": 0 }), "logprobs"),
        (json!({ "best_of": 2 }), "best_of"),
        (json!({ "prompt": [1, 2] }), "prompt"),
        (json!({ "prompt": ["a", "b"] }), "prompt"),
        (json!({ "prompt": "" }), "prompt"),
        (json!({ "prompt": null }), "prompt"),
        (json!({ "max_tokens": 0 }), "max_tokens"),
    ] {
        let error = asked(GEMINI, "gemini-2.5-flash", &fields).unwrap_err();
        assert_eq!(error.param(), Some(param), "{fields}: {error}");
    }
}

#[test]
fn m16_two_prompts_of_two_answers_are_four_requests_and_four_indexes() {
    let body = json!({ "model": "m", "prompt": ["a", "b"], "n": 2, "max_tokens": 5 });
    let split = split_completions(&bytes(&body)).unwrap();
    let prompts: Vec<Value> = split.iter().map(|body| serde_json::from_slice(body).unwrap()).collect();
    let expected = |prompt| json!({ "model": "m", "max_tokens": 5, "prompt": prompt });
    assert_eq!(prompts, ["a", "a", "b", "b"].map(expected));
    let one = |text: &str| {
        let answer = json!({ "id": "cmpl-1", "object": "text_completion", "choices": [{ "text": text, "index": 0, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5 } });
        Bytes::from(answer.to_string())
    };
    let joined = join_completions(&["w", "x", "y", "z"].map(one)).unwrap();
    let joined: Value = serde_json::from_slice(&joined).unwrap();
    let found: Vec<(u64, &str)> = joined["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|choice| (choice["index"].as_u64().unwrap(), choice["text"].as_str().unwrap()))
        .collect();
    assert_eq!(found, [(0, "w"), (1, "x"), (2, "y"), (3, "z")]);
    assert_eq!(joined["usage"], json!({ "prompt_tokens": 12, "completion_tokens": 8, "total_tokens": 20 }));
    for (fields, param) in [
        (json!({ "prompt": ["a", "b"], "stream": true }), "prompt"),
        (json!({ "prompt": "a", "n": 2, "stream": true }), "n"),
        (json!({ "prompt": "a", "n": 129 }), "n"),
        (json!({ "prompt": "a", "n": 0 }), "n"),
    ] {
        assert_eq!(split_completions(&bytes(&fields)).unwrap_err().param(), Some(param), "{fields}");
    }
    let repeated = json!({ "prompt": vec!["a"; 100], "user": "u".repeat(1 << 20) });
    assert_eq!(
        split_completions(&bytes(&repeated)).unwrap_err().param(),
        Some("prompt"),
        "what is repeated is bounded"
    );
    assert!(join_completions(&[Bytes::from_static(b"{}")]).is_err() && join_completions(&[]).is_err());
}

#[test]
fn an_answer_is_its_text_whole_and_streamed() {
    let body = json!({ "id": "m1", "type": "message", "role": "assistant", "model": "served", "stop_reason": "max_tokens",
        "content": [{ "type": "thinking", "thinking": "Hm", "signature": "s" }, { "type": "text", "text": "Hi" }],
        "usage": { "input_tokens": 3, "output_tokens": 2 } });
    let made = answer(MESSAGES, COMPLETIONS, &asking(), &body);
    let choice = json!({ "text": "Hi", "index": 0, "logprobs": null, "finish_reason": "length" });
    assert_eq!(
        (&made["object"], &made["choices"], &made["id"]),
        (&json!("text_completion"), &json!([choice]), &json!("cmpl-7"))
    );
    assert_eq!(made["usage"]["total_tokens"], 5);
    let thought = candidate(&json!([{ "text": "Hm", "thought": true }]), None);
    let text = candidate(&json!([{ "text": "Hel" }]), None);
    let last = counted(candidate(&json!([{ "text": "lo" }]), Some("STOP")));
    let stream = gemini_stream(&[thought, text, last]);
    let gathered = gather(COMPLETIONS, &whole((GEMINI, COMPLETIONS), &asking(), &stream));
    assert_eq!((&gathered["text"], &gathered["finish_reason"]), (&json!("Hello"), &json!("stop")));
    assert_eq!(gathered["usage"]["completion_tokens"], 5);
    let silent = whole((GEMINI, COMPLETIONS), &AnswerPlan::default(), &stream);
    assert!(!silent.contains("usage") && silent.ends_with("data: [DONE]\n\n"), "{silent}");
    let cut = run((GEMINI, COMPLETIONS), &asking(), [&stream.as_bytes()[..60]], EndKind::Eof).sent;
    assert!(gather(COMPLETIONS, &cut)["error"].is_object(), "{cut}");
}
