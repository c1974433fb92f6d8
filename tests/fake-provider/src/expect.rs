//! What a script expects of its request, looked for where a provider of that dialect reads it.
//!
//! Rule: something that is missing or stands elsewhere is refused, so that what a gateway loses is seen.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ask::Endpoint;
use crate::fault::Fault;

/// Something that a request must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// A picture, in the request itself.
    Image,
    /// A picture by its address.
    ImageUrl,
    /// A PDF, in the request itself.
    Document,
    /// The declaration of a tool with its schema.
    Tools,
    /// Two answers of tools.
    Results,
    /// The signature of earlier thinking, `ZmFrZQ==`.
    Signature,
    /// A JSON schema of the answer.
    Schema,
    /// A wish for thinking.
    Reasoning,
}

/// Refuses a request that lacks something.
///
/// # Errors
/// A fault that names what is missing.
pub(crate) fn check(endpoint: Endpoint, expected: &[Expected], body: &Value) -> Result<(), Fault> {
    match expected.iter().find(|wish| !holds(endpoint, **wish, body)) {
        None => Ok(()),
        Some(wish) => Err(Fault::invalid(format!("the script expects {wish:?} in the request"))),
    }
}

fn holds(endpoint: Endpoint, wish: Expected, body: &Value) -> bool {
    let at = |pointers: &[&str]| pointers.iter().any(|pointer| body.pointer(pointer).is_some_and(|it| !it.is_null()));
    let among = |test: &dyn Fn(&Value) -> bool| count(body, test) > 0;
    let is = |node: &Value, kind: &str| node["type"] == kind;
    let begins = |node: &Value, start: &str| node.as_str().is_some_and(|text| text.starts_with(start));
    match endpoint {
        Endpoint::Chat => match wish {
            Expected::Image => among(&|it| is(it, "image_url") && begins(&it["image_url"]["url"], "data:image/png;")),
            Expected::ImageUrl => among(&|it| is(it, "image_url") && begins(&it["image_url"]["url"], "https://")),
            Expected::Document => {
                among(&|it| is(it, "file") && begins(&it["file"]["file_data"], "data:application/pdf;"))
            }
            Expected::Tools => at(&["/tools/0/function/parameters/properties"]),
            Expected::Results => count(body, &|it| it["role"] == "tool" && it["tool_call_id"].is_string()) == 2,
            Expected::Signature => among(&|it| it["signature"] == "ZmFrZQ=="),
            Expected::Schema => at(&["/response_format/json_schema/schema/properties"]),
            Expected::Reasoning => at(&["/reasoning_effort"]),
        },
        Endpoint::Responses => match wish {
            Expected::Image => among(&|it| is(it, "input_image") && begins(&it["image_url"], "data:image/png;")),
            Expected::ImageUrl => among(&|it| is(it, "input_image") && begins(&it["image_url"], "https://")),
            Expected::Document => {
                among(&|it| is(it, "input_file") && begins(&it["file_data"], "data:application/pdf;"))
            }
            Expected::Tools => at(&["/tools/0/parameters/properties"]),
            Expected::Results => count(body, &|it| is(it, "function_call_output") && it["call_id"].is_string()) == 2,
            Expected::Signature => among(&|it| is(it, "reasoning")),
            Expected::Schema => at(&["/text/format/schema/properties"]),
            Expected::Reasoning => at(&["/reasoning/effort"]),
        },
        Endpoint::Messages => match wish {
            Expected::Image => among(&|it| is(it, "image") && it["source"]["media_type"] == "image/png"),
            Expected::ImageUrl => among(&|it| is(it, "image") && begins(&it["source"]["url"], "https://")),
            Expected::Document => among(&|it| is(it, "document") && it["source"]["media_type"] == "application/pdf"),
            Expected::Tools => at(&["/tools/0/input_schema/properties"]),
            Expected::Results => count(body, &|it| is(it, "tool_result") && it["tool_use_id"].is_string()) == 2,
            Expected::Signature => among(&|it| is(it, "thinking") && it["signature"] == "ZmFrZQ=="),
            Expected::Schema => at(&["/output_config/format/schema/properties"]),
            Expected::Reasoning => at(&["/thinking", "/output_config/effort"]),
        },
        Endpoint::Converse | Endpoint::ConverseStream => match wish {
            Expected::Image => {
                among(&|it| it["image"]["format"] == "png" && it["image"]["source"]["bytes"].is_string())
            }
            Expected::ImageUrl => false,
            Expected::Document => among(&|it| it["document"]["format"] == "pdf"),
            Expected::Tools => at(&["/toolConfig/tools/0/toolSpec/inputSchema/json/properties"]),
            Expected::Results => count(body, &|it| it["toolResult"]["toolUseId"].is_string()) == 2,
            Expected::Signature => among(&|it| it["reasoningContent"]["reasoningText"]["signature"] == "ZmFrZQ=="),
            Expected::Schema => at(&["/outputConfig/textFormat/structure/jsonSchema/schema"]),
            Expected::Reasoning => at(&[
                "/additionalModelRequestFields/thinking",
                "/additionalModelRequestFields/output_config",
                "/additionalModelRequestFields/reasoningConfig",
            ]),
        },
        Endpoint::Generate | Endpoint::StreamGenerate => match wish {
            Expected::Image => among(&|it| it["inlineData"]["mimeType"] == "image/png"),
            Expected::ImageUrl => among(&|it| begins(&it["fileData"]["fileUri"], "https://")),
            Expected::Document => among(&|it| it["inlineData"]["mimeType"] == "application/pdf"),
            Expected::Tools => at(&[
                "/tools/0/functionDeclarations/0/parametersJsonSchema/properties",
                "/tools/0/functionDeclarations/0/parameters/properties",
            ]),
            Expected::Results => count(body, &|it| it["functionResponse"]["response"].is_object()) == 2,
            Expected::Signature => among(&|it| it["thoughtSignature"].is_string()),
            Expected::Schema => at(&["/generationConfig/responseJsonSchema", "/generationConfig/responseSchema"]),
            Expected::Reasoning => at(&["/generationConfig/thinkingConfig"]),
        },
        Endpoint::OllamaChat => match wish {
            Expected::Image => among(&|it| it["images"][0].is_string()),
            Expected::ImageUrl | Expected::Document | Expected::Signature => false,
            Expected::Tools => at(&["/tools/0/function/parameters/properties"]),
            Expected::Results => count(body, &|it| it["role"] == "tool" && it["tool_name"].is_string()) == 2,
            Expected::Schema => at(&["/format/properties"]),
            Expected::Reasoning => at(&["/think"]),
        },
        _ => false,
    }
}

/// Counts the nodes of a document that pass a test.
fn count(node: &Value, test: &dyn Fn(&Value) -> bool) -> usize {
    let inner: usize = match node {
        Value::Array(items) => items.iter().map(|item| count(item, test)).sum(),
        Value::Object(fields) => fields.values().map(|field| count(field, test)).sum(),
        _ => 0,
    };
    inner + usize::from(node.is_object() && test(node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_stands_in_another_dialects_place_is_missing() {
        let anthropic =
            json!({ "messages": [{ "content": [{ "type": "image", "source": { "media_type": "image/png" } }] }] });
        assert!(check(Endpoint::Messages, &[Expected::Image], &anthropic).is_ok());
        for other in [Endpoint::Chat, Endpoint::Responses, Endpoint::Converse, Endpoint::Generate, Endpoint::Embeddings]
        {
            assert!(check(other, &[Expected::Image], &anthropic).is_err());
        }
        assert!(check(Endpoint::Embeddings, &[], &anthropic).is_ok());
        let one = json!({ "input": [{ "type": "function_call_output", "call_id": "a" }] });
        assert!(check(Endpoint::Responses, &[Expected::Results], &one).is_err(), "two are expected");
    }
}
