//! What a provider's search found, as OpenAI's clients are told it.

use super::reader::{events, gather};
use super::*;

fn located(url: &str, title: &str) -> Value {
    json!({ "type": "web_search_result_location", "url": url, "title": title, "cited_text": "…", "encrypted_index": "E" })
}

/// Three blocks of text; the second comes from two pages, and from a document that is no page.
fn message() -> Value {
    let cited = json!([
        located("https://a.example/", "A"), { "type": "char_location", "document_index": 0 }, located("https://b.example/", "B"),
    ]);
    json!({ "type": "message", "stop_reason": "end_turn", "usage": { "input_tokens": 10, "output_tokens": 5 }, "content": [
        { "type": "server_tool_use", "id": "s", "name": "web_search", "input": {} },
        { "type": "web_search_tool_result", "tool_use_id": "s", "content": [] },
        { "type": "text", "text": "Héllo " }, { "type": "text", "text": "東京", "citations": cited }, { "type": "text", "text": "!" },
    ] })
}

/// The same as a stream.
fn stream() -> String {
    let mut all = vec![json!({ "type": "message_start", "message": { "usage": { "input_tokens": 10 } } })];
    for (index, block) in message()["content"].as_array().unwrap().iter().enumerate() {
        let mut empty = block.clone();
        if block["type"] == "text" {
            empty = json!({ "type": "text", "text": "" });
        }
        all.push(json!({ "type": "content_block_start", "index": index, "content_block": empty }));
        let delta = |delta: Value| json!({ "type": "content_block_delta", "index": index, "delta": delta });
        for character in block["text"].as_str().unwrap_or_default().chars() {
            all.push(delta(json!({ "type": "text_delta", "text": character })));
        }
        for citation in block["citations"].as_array().into_iter().flatten() {
            all.push(delta(json!({ "type": "citations_delta", "citation": citation })));
        }
        all.push(json!({ "type": "content_block_stop", "index": index }));
    }
    all.push(
        json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 5 } }),
    );
    all.push(json!({ "type": "message_stop" }));
    anthropic_stream(&all)
}

fn page(url: &str, title: &str) -> Value {
    json!({ "url": url, "title": title, "start_index": 6, "end_index": 8 })
}

#[test]
fn pages_that_a_text_comes_from_are_its_annotations() {
    let [a, b] = [page("https://a.example/", "A"), page("https://b.example/", "B")];
    let nested = json!([{ "type": "url_citation", "url_citation": a }, { "type": "url_citation", "url_citation": b }]);
    let whole_answer = answer(MESSAGES, CHAT, &AnswerPlan::default(), &message());
    assert_eq!(whole_answer["choices"][0]["message"]["annotations"], nested);
    let streamed = gather(CHAT, &whole((MESSAGES, CHAT), &AnswerPlan::default(), &stream()));
    assert_eq!(
        (&streamed["message"]["annotations"], &streamed["message"]["content"]),
        (&nested, &json!("Héllo 東京!"))
    );

    let flat = [a, b].map(|mut page| {
        page["type"] = json!("url_citation");
        page
    });
    let response = answer(MESSAGES, RESPONSES, &AnswerPlan::default(), &message());
    assert_eq!(response["output"][0]["content"][0]["annotations"], json!(flat));
    let sent = whole((MESSAGES, RESPONSES), &AnswerPlan::default(), &stream());
    assert_eq!(gather(RESPONSES, &sent)["output"], response["output"]);
    let added: Vec<Value> = events(&sent)
        .iter()
        .filter(|(name, _)| name == "response.output_text.annotation.added")
        .map(|(_, data)| serde_json::from_str(data).unwrap())
        .collect();
    assert_eq!(added.iter().map(|event| &event["annotation"]).collect::<Vec<_>>(), flat.iter().collect::<Vec<_>>());
    assert_eq!((&added[0]["annotation_index"], &added[1]["annotation_index"]), (&json!(0), &json!(1)));
    assert_eq!(added[0]["item_id"], response["output"][0]["id"]);
}

#[test]
fn pages_that_google_found_are_annotations_of_the_whole_text() {
    let found = json!({ "groundingChunks": [{ "web": { "uri": "https://a.example/", "title": "A" } }, { "retrievedContext": {} }] });
    let mut last = counted(candidate(&json!([{ "text": "llo" }]), Some("STOP")));
    last["candidates"][0]["groundingMetadata"] = found.clone();
    let stream = gemini_stream(&[counted(candidate(&json!([{ "text": "He" }]), None)), last]);
    let expected = json!([{ "type": "url_citation", "url_citation":
        { "url": "https://a.example/", "title": "A", "start_index": 0, "end_index": 5 } }]);
    let streamed = gather(CHAT, &whole((GEMINI, CHAT), &AnswerPlan::default(), &stream));
    assert_eq!(streamed["message"]["annotations"], expected);
    let mut body = counted(candidate(&json!([{ "text": "Hello" }]), Some("STOP")));
    body["candidates"][0]["groundingMetadata"] = found;
    assert_eq!(answer(GEMINI, CHAT, &AnswerPlan::default(), &body)["choices"][0]["message"]["annotations"], expected);
    assert!(answer(GEMINI, MESSAGES, &AnswerPlan::default(), &body)["content"][0].get("citations").is_none());
    gather(MESSAGES, &whole((GEMINI, MESSAGES), &AnswerPlan::default(), &stream));
}

#[test]
fn sources_without_end_are_passed_over_and_not_kept() {
    let huge = located(&format!("https://a.example/{}", "x".repeat(100_000)), "A");
    let mut all = vec![
        json!({ "type": "message_start", "message": {} }),
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "a" } }),
    ];
    let delta = json!({ "type": "citations_delta", "citation": huge });
    all.extend(vec![json!({ "type": "content_block_delta", "index": 0, "delta": delta }); 50]);
    all.push(json!({ "type": "content_block_stop", "index": 0 }));
    all.push(json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" } }));
    all.push(json!({ "type": "message_stop" }));
    let sent = whole((MESSAGES, CHAT), &AnswerPlan::default(), &anthropic_stream(&all));
    assert_eq!(gather(CHAT, &sent)["message"]["annotations"].as_array().unwrap().len(), 2);
}
