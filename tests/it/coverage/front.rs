//! The client's side of the coverage table: how each API asks, what it is answered, and what its streams add up to.
//!
//! Rule: shares no code with the gateway; an answer that the API's own clients could not read ends the test.

use serde_json::{Value, json};

/// What a client says, and a provider answers.
pub(super) const TEXT: &str = "Grüße aus 東京";
pub(super) const THOUGHT: &str = "Hm. Hm.";
/// One pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const ADDRESS: &str = "https://pictures.example/one.png";
const PDF: &str = "JVBERi0xLjQKJSVFT0YK";
const CAP: u64 = 4000;

/// An API that clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Front {
    Chat,
    Responses,
    Completions,
    Messages,
}

/// What a request holds beside its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) tools: bool,
    pub(super) image: bool,
    pub(super) image_url: bool,
    pub(super) document: bool,
    pub(super) reasoning: bool,
    pub(super) schema: bool,
    pub(super) stream: bool,
}

/// What an answer says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Said {
    pub(super) text: String,
    /// Id, name and arguments.
    pub(super) calls: Vec<(String, String, Value)>,
    pub(super) reasoning: String,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    /// Why it ended, in the API's own word.
    pub(super) end: String,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn parsed(arguments: &Value) -> Value {
    serde_json::from_str(arguments.as_str().expect("arguments are text")).expect("arguments are JSON")
}

fn schema() -> Value {
    json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"], "additionalProperties": false })
}

impl Front {
    pub(super) const ALL: [Self; 4] = [Self::Chat, Self::Responses, Self::Completions, Self::Messages];

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
            Self::Completions => "/v1/completions",
            Self::Messages => "/v1/messages",
        }
    }

    /// Whether the API has a word for what is wished.
    pub(super) fn knows(self, wish: Wish) -> bool {
        let beyond = wish.tools || wish.image || wish.image_url || wish.document || wish.reasoning || wish.schema;
        self != Self::Completions || !beyond
    }

    /// A request whose answer is scripted.
    pub(super) fn request(self, model: &str, wish: Wish, script: &Value) -> Value {
        let prompt = format!("Say hello. [[fake:{script}]]");
        let mut body = match self {
            Self::Chat => json!({ "model": model, "max_completion_tokens": CAP }),
            Self::Responses => json!({ "model": model, "max_output_tokens": CAP, "store": false }),
            Self::Completions => json!({ "model": model, "max_tokens": CAP, "prompt": prompt }),
            Self::Messages => json!({ "model": model, "max_tokens": CAP }),
        };
        if wish.stream {
            body["stream"] = json!(true);
            if matches!(self, Self::Chat | Self::Completions) {
                body["stream_options"] = json!({ "include_usage": true });
            }
        }
        if self != Self::Completions {
            let said = if wish.image || wish.image_url || wish.document {
                json!(self.parts(wish, &prompt))
            } else {
                json!(prompt)
            };
            let field = if self == Self::Responses { "input" } else { "messages" };
            body[field] = json!([{ "role": "user", "content": said }]);
        }
        if wish.tools {
            body["tools"] = json!([self.tool("weather"), self.tool("time")]);
        }
        if wish.reasoning {
            match self {
                Self::Chat | Self::Completions => body["reasoning_effort"] = json!("low"),
                Self::Responses => {
                    body["reasoning"] = json!({ "effort": "low", "summary": "auto" });
                    body["include"] = json!(["reasoning.encrypted_content"]);
                }
                Self::Messages => body["thinking"] = json!({ "type": "enabled", "budget_tokens": 1024 }),
            }
        }
        if wish.schema {
            let (name, schema) = ("answer", schema());
            match self {
                Self::Chat | Self::Completions => {
                    let inner = json!({ "name": name, "schema": schema, "strict": true });
                    body["response_format"] = json!({ "type": "json_schema", "json_schema": inner });
                }
                Self::Responses => {
                    let format = json!({ "type": "json_schema", "name": name, "schema": schema, "strict": true });
                    body["text"] = json!({ "format": format });
                }
                Self::Messages => {
                    body["output_config"] = json!({ "format": { "type": "json_schema", "schema": schema } });
                }
            }
        }
        body
    }

    fn parts(self, wish: Wish, prompt: &str) -> Vec<Value> {
        let (picture, paper) = (format!("data:image/png;base64,{PNG}"), format!("data:application/pdf;base64,{PDF}"));
        let picture = if wish.image_url { ADDRESS.to_owned() } else { picture };
        let source = |kind: &str, data: &str| json!({ "type": "base64", "media_type": kind, "data": data });
        let shown = if wish.image_url { json!({ "type": "url", "url": ADDRESS }) } else { source("image/png", PNG) };
        let (said, image, document) = match self {
            Self::Chat | Self::Completions => (
                json!({ "type": "text", "text": prompt }),
                json!({ "type": "image_url", "image_url": { "url": picture } }),
                json!({ "type": "file", "file": { "filename": "a.pdf", "file_data": paper } }),
            ),
            Self::Responses => (
                json!({ "type": "input_text", "text": prompt }),
                json!({ "type": "input_image", "image_url": picture }),
                json!({ "type": "input_file", "filename": "a.pdf", "file_data": paper }),
            ),
            Self::Messages => (
                json!({ "type": "text", "text": prompt }),
                json!({ "type": "image", "source": shown }),
                json!({ "type": "document", "title": "a.pdf", "source": source("application/pdf", PDF) }),
            ),
        };
        let media =
            (wish.image || wish.image_url).then_some(image).into_iter().chain(wish.document.then_some(document));
        std::iter::once(said).chain(media).collect()
    }

    fn tool(self, name: &str) -> Value {
        let parameters = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
        match self {
            Self::Chat | Self::Completions => {
                json!({ "type": "function", "function": { "name": name, "description": "Tells it.", "parameters": parameters } })
            }
            Self::Responses => {
                json!({ "type": "function", "name": name, "description": "Tells it.", "parameters": parameters, "strict": false })
            }
            Self::Messages => json!({ "name": name, "description": "Tells it.", "input_schema": parameters }),
        }
    }

    /// The next request of the same conversation: what came goes back as it came, with a result for each call.
    pub(super) fn follow(self, request: &Value, answer: &Value, said: &Said) -> Value {
        let mut next = request.clone();
        let ids = said.calls.iter().map(|(id, ..)| id);
        match self {
            Self::Chat | Self::Completions => {
                let turns = next["messages"].as_array_mut().unwrap();
                turns.push(answer["choices"][0]["message"].clone());
                turns.extend(ids.map(|id| json!({ "role": "tool", "tool_call_id": id, "content": "sunny" })));
            }
            Self::Responses => {
                let items = next["input"].as_array_mut().unwrap();
                items.extend(answer["output"].as_array().unwrap().clone());
                items.extend(ids.map(|id| json!({ "type": "function_call_output", "call_id": id, "output": "sunny" })));
            }
            Self::Messages => {
                let turns = next["messages"].as_array_mut().unwrap();
                turns.push(json!({ "role": "assistant", "content": answer["content"] }));
                let results: Vec<Value> =
                    ids.map(|id| json!({ "type": "tool_result", "tool_use_id": id, "content": "sunny" })).collect();
                turns.push(json!({ "role": "user", "content": results }));
            }
        }
        next
    }

    /// Reads a whole answer.
    pub(super) fn read(self, answer: &Value) -> Said {
        let count = |name: &str| answer["usage"][name].as_u64().unwrap_or_default();
        match self {
            Self::Chat => {
                let choice = &answer["choices"][0];
                let message = &choice["message"];
                let call = |call: &Value| {
                    (text(&call["id"]), text(&call["function"]["name"]), parsed(&call["function"]["arguments"]))
                };
                Said {
                    text: text(&message["content"]),
                    calls: message["tool_calls"].as_array().into_iter().flatten().map(call).collect(),
                    reasoning: text(&message["reasoning_content"]),
                    input_tokens: count("prompt_tokens"),
                    output_tokens: count("completion_tokens"),
                    end: text(&choice["finish_reason"]),
                }
            }
            Self::Completions => Said {
                text: text(&answer["choices"][0]["text"]),
                input_tokens: count("prompt_tokens"),
                output_tokens: count("completion_tokens"),
                end: text(&answer["choices"][0]["finish_reason"]),
                ..Said::default()
            },
            Self::Responses => {
                let mut said = Said {
                    input_tokens: count("input_tokens"),
                    output_tokens: count("output_tokens"),
                    end: text(&answer["status"]),
                    ..Said::default()
                };
                for item in answer["output"].as_array().unwrap() {
                    match item["type"].as_str().unwrap() {
                        "message" => said.text += item["content"][0]["text"].as_str().unwrap(),
                        "reasoning" => said.reasoning += item["summary"][0]["text"].as_str().unwrap(),
                        "function_call" => {
                            said.calls.push((text(&item["call_id"]), text(&item["name"]), parsed(&item["arguments"])));
                        }
                        other => panic!("{other}"),
                    }
                }
                said
            }
            Self::Messages => {
                let mut said = Said {
                    input_tokens: count("input_tokens"),
                    output_tokens: count("output_tokens"),
                    end: text(&answer["stop_reason"]),
                    ..Said::default()
                };
                for block in answer["content"].as_array().unwrap() {
                    match block["type"].as_str().unwrap() {
                        "text" => said.text += block["text"].as_str().unwrap(),
                        "thinking" => said.reasoning += block["thinking"].as_str().unwrap(),
                        "tool_use" => {
                            said.calls.push((text(&block["id"]), text(&block["name"]), block["input"].clone()));
                        }
                        other => panic!("{other}"),
                    }
                }
                said
            }
        }
    }

    /// The type of an error of this API, from a body or from the event that ends a stream.
    pub(super) fn error(self, body: &Value) -> Option<String> {
        let error = match self {
            Self::Messages if body["type"] != "error" => return None,
            Self::Responses if body["type"] == "response.failed" => &body["response"]["error"],
            Self::Responses if body["type"] == "error" => body,
            _ => &body["error"],
        };
        let kind = error["type"].as_str().or_else(|| error["code"].as_str())?;
        error["message"].as_str().map(|_| kind.to_owned())
    }
}
