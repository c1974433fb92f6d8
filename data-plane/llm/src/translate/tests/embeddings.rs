//! Embeddings in the forms of backends that are not OpenAI's.

use super::super::embeddings::{EmbeddingForm, Titan, translate_embeddings};
use crate::json::Node;
use base64::Engine as _;
use bytes::Bytes;

const FLOATS: EmbeddingForm = EmbeddingForm::Floats { dimensions: "dimensions", takes_user: true };

fn calls(form: EmbeddingForm, model: &str, body: &str) -> (Vec<String>, Vec<String>) {
    let translated = translate_embeddings(form, model, body.as_bytes()).unwrap();
    let calls = translated.calls.iter().map(|call| String::from_utf8(call.to_vec()).unwrap()).collect();
    (calls, translated.dropped)
}

fn answer(form: EmbeddingForm, body: &str, answers: &[&str]) -> (String, Option<u64>) {
    let plan = translate_embeddings(form, "m", body.as_bytes()).unwrap().plan;
    let read = |(at, answer): (usize, &&str)| plan.read(at, &Bytes::copy_from_slice(answer.as_bytes()), None).unwrap();
    let calls: Vec<_> = answers.iter().enumerate().map(read).collect();
    let tokens: Option<u64> = calls.iter().map(|call| call.usage.map(|usage| usage.input_tokens)).sum();
    (String::from_utf8(plan.join(&calls, tokens.unwrap_or(7)).unwrap().to_vec()).unwrap(), tokens)
}

#[test]
fn m1_base64_of_a_backend_that_writes_numbers_is_its_single_floats_bit_by_bit() {
    let body = r#"{"model":"x","input":["a","b"],"encoding_format":"base64","user":"u"}"#;
    let (sent, dropped) = calls(FLOATS, "m", body);
    assert_eq!((sent, dropped), (vec![r#"{"model":"m","input":["a","b"],"user":"u"}"#.to_owned()], vec![]));
    let said = r#"{"data":[{"index":1,"embedding":[1e-3, -0.5]},{"index":0,"embedding":[0.1,3]}],"usage":{"prompt_tokens":4}}"#;
    let (joined, tokens) = answer(FLOATS, body, &[said]);
    assert_eq!(tokens, Some(4));
    let joined = Node::parse(joined.as_bytes()).unwrap();
    for (item, numbers) in joined.list("data").iter().zip([[0.1_f32, 3.0], [1e-3, -0.5]]) {
        let bytes = base64::engine::general_purpose::STANDARD.decode(item.text("embedding").unwrap()).unwrap();
        assert_eq!(bytes, numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<_>>());
    }
}

#[test]
fn m2_each_text_is_a_call_of_titan_and_order_is_kept() {
    let texts: Vec<String> = (0..1000).map(|index| format!("\"t{index}\"")).collect();
    let body = format!(r#"{{"model":"x","input":[{}],"dimensions":256}}"#, texts.join(","));
    let form = EmbeddingForm::bedrock("amazon.titan-embed-text-v2:0").unwrap();
    let (sent, dropped) = calls(form, "m", &body);
    assert_eq!((sent.len(), dropped.len()), (1000, 0));
    assert_eq!(sent[999], r#"{"inputText":"t999","dimensions":256}"#);
    let said: Vec<String> =
        (0..1000).map(|index| format!(r#"{{"embedding":[{index}.5],"inputTextTokenCount":2}}"#)).collect();
    let (joined, tokens) = answer(form, &body, &said.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(tokens, Some(2000));
    assert!(joined.contains(r#"{"object":"embedding","index":999,"embedding":[999.5]}"#));
    assert!(joined.ends_with(r#"],"model":"x","usage":{"prompt_tokens":2000,"total_tokens":2000}}"#), "{joined}");
}

#[test]
fn m3_cohere_gets_an_input_type_also_where_the_client_says_none() {
    let form = EmbeddingForm::bedrock("cohere.embed-english-v3").unwrap();
    let (sent, dropped) = calls(form, "m", r#"{"model":"x","input":"a","dimensions":9,"user":"u"}"#);
    assert_eq!(sent, [r#"{"texts":["a"],"input_type":"search_document","embedding_types":["float"]}"#]);
    assert_eq!(dropped, ["user", "dimensions"]);
    let form = EmbeddingForm::bedrock("us.cohere.embed-v4:0").unwrap();
    let (sent, _) = calls(form, "m", r#"{"model":"x","input":"a","dimensions":9,"input_type":"search_query"}"#);
    let expected = r#"{"texts":["a"],"input_type":"search_query","embedding_types":["float"],"output_dimension":9}"#;
    assert_eq!(sent, [expected]);
    for said in [r#"{"embeddings":[[1]]}"#, r#"{"embeddings":{"int8":[[9]],"float":[[1]]}}"#] {
        let (joined, tokens) = answer(form, r#"{"model":"x","input":"a"}"#, &[said]);
        assert!(joined.contains("\"embedding\":[1]") && tokens.is_none(), "{joined}");
    }
}

#[test]
fn m4_the_counts_of_vertex_are_added_up() {
    let form = EmbeddingForm::vertex("text-embedding-005");
    let body = r#"{"model":"x","input":["1","2","3","4","5","6"],"dimensions":4,"input_type":"search_query"}"#;
    let (sent, _) = calls(form, "m", body);
    assert_eq!(sent.len(), 2);
    let expected =
        r#"{"instances":[{"content":"6","task_type":"RETRIEVAL_QUERY"}],"parameters":{"outputDimensionality":4}}"#;
    assert_eq!(sent[1], expected);
    let one = r#"{"embeddings":{"statistics":{"truncated":false,"token_count":3},"values":[1]}}"#;
    let five = format!(r#"{{"predictions":[{one},{one},{one},{one},{one}]}}"#);
    let (_, tokens) = answer(form, body, &[&five, &format!(r#"{{"predictions":[{one}],"metadata":{{}}}}"#)]);
    assert_eq!(tokens, Some(18));
    assert_eq!(EmbeddingForm::vertex("gemini-embedding-001"), EmbeddingForm::Predict { most_texts: 1 });
}

#[test]
fn gemini_gets_a_hundred_texts_at_a_time() {
    let texts = vec!["\"t\""; 101].join(",");
    let (sent, _) =
        calls(EmbeddingForm::Gemini, "gemini-embedding-2", &format!(r#"{{"model":"x","input":[{texts}]}}"#));
    assert_eq!(sent.len(), 2);
    let expected = r#"{"requests":[{"model":"models/gemini-embedding-2","content":{"parts":[{"text":"t"}]}}]}"#;
    assert_eq!(sent[1], expected);
    let said = r#"{"embeddings":[{"values":[1,2]}],"usageMetadata":{"promptTokenCount":5}}"#;
    let (joined, tokens) = answer(EmbeddingForm::Gemini, r#"{"model":"x","input":"a"}"#, &[said]);
    assert!(joined.contains("\"embedding\":[1,2]") && tokens == Some(5), "{joined}");
}

#[test]
fn the_other_models_of_bedrock_have_their_own_words() {
    let body = r#"{"model":"x","input":"a","dimensions":256,"normalize":false}"#;
    for (model, expected, dropped) in [
        ("amazon.titan-embed-text-v1", r#"{"inputText":"a"}"#, &["dimensions", "normalize"][..]),
        ("amazon.titan-embed-text-v2:0", r#"{"inputText":"a","dimensions":256,"normalize":false}"#, &[]),
        (
            "amazon.titan-embed-image-v1",
            r#"{"inputText":"a","embeddingConfig":{"outputEmbeddingLength":256}}"#,
            &["normalize"],
        ),
        (
            "amazon.nova-2-multimodal-embeddings-v1:0",
            r#"{"taskType":"SINGLE_EMBEDDING","singleEmbeddingParams":{"embeddingPurpose":"GENERIC_INDEX","text":{"value":"a","truncationMode":"NONE"},"embeddingDimension":256}}"#,
            &["normalize"],
        ),
    ] {
        let form = EmbeddingForm::bedrock(model).unwrap();
        let (sent, named) = calls(form, model, body);
        assert_eq!(
            (sent[0].as_str(), named.as_slice()),
            (expected, dropped.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>().as_slice())
        );
    }
    assert_eq!(EmbeddingForm::bedrock("us.anthropic.claude-opus-5"), None);
    let said = r#"{"embeddings":[{"embeddingType":"TEXT","embedding":[0.25]}]}"#;
    let (joined, _) = answer(EmbeddingForm::Nova, r#"{"model":"x","input":"a"}"#, &[said]);
    assert!(joined.contains("[0.25]"), "{joined}");
}

#[test]
fn o15_a_list_of_embeddings_gets_indexes_and_the_count_of_the_prompt() {
    let body = r#"{"model":"x","input":["a","b"],"keep_alive":"5m","options":{"num_ctx":8},"user":"u"}"#;
    let (sent, dropped) = calls(EmbeddingForm::Ollama, "nomic:latest", body);
    assert_eq!(sent, [r#"{"model":"nomic:latest","input":["a","b"],"keep_alive":"5m","options":{"num_ctx":8}}"#]);
    assert_eq!(dropped, ["user"]);
    let (joined, tokens) =
        answer(EmbeddingForm::Ollama, body, &[r#"{"model":"m","embeddings":[[1],[2]],"prompt_eval_count":9}"#]);
    assert!(joined.contains(r#""index":1,"embedding":[2]"#) && tokens == Some(9), "{joined}");
}

#[test]
fn what_cannot_be_embedded_is_refused_by_its_name() {
    for (body, param) in [
        (r#"{"model":"x","input":[1,2]}"#, "input"),
        (r#"{"model":"x","input":[[1]]}"#, "input"),
        (r#"{"model":"x","input":["a",{"image":"b"}]}"#, "input[1]"),
        (r#"{"model":"x","input":[]}"#, "input"),
        (r#"{"model":"x","input":["a",""]}"#, "input[1]"),
        (r#"{"model":"x","input":"a","encoding_format":"int8"}"#, "encoding_format"),
        (r#"{"model":"x","input":"a","dimensions":0}"#, "dimensions"),
    ] {
        let error = translate_embeddings(EmbeddingForm::Titan(Titan::Text2), "m", body.as_bytes()).unwrap_err();
        assert_eq!(error.param(), Some(param), "{body}: {error}");
    }
    let long = format!(r#"{{"model":"x","input":["a","b"],"input_type":"{}"}}"#, "x".repeat(65));
    let error = translate_embeddings(EmbeddingForm::Gemini, "m", long.as_bytes()).unwrap_err();
    assert_eq!(error.param(), Some("input_type"), "it would be repeated with every text");
}

#[test]
fn an_answer_without_a_vector_for_each_text_is_none() {
    let body = br#"{"model":"x","input":["a","b"],"encoding_format":"base64"}"#;
    let plan = translate_embeddings(EmbeddingForm::Ollama, "m", body).unwrap().plan;
    for said in ["", "{}", r#"{"embeddings":[[1]]}"#, r#"{"embeddings":[[1],"AAAA"]}"#, r#"{"embeddings":[[1],[[2]]]}"#]
    {
        assert!(plan.read(0, &Bytes::copy_from_slice(said.as_bytes()), None).is_err(), "{said}");
    }
}
