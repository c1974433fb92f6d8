//! `docs/coverage.md`: each API that clients speak over each kind of backend, and what of a conversation crosses.
//!
//! Rule: every cell is run, end to end through the gateway, against a provider that looks for what it was promised where its
//! own dialect has it; the document says what was found. A refusal counts only if the gateway made it and nothing was sent.

mod front;
mod streams;

use crate::first_request;
use crate::support::client::Answer;
use crate::support::world::World;
use front::{Front, Said, TEXT, THOUGHT, Wish};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

const UPDATE: &str = "HELIX_UPDATE_DOCS=1 cargo test -p helixgateway coverage";
/// A model that thinks, as Ollama names it.
const QWEN: &str = "qwen3:8b";
const DOCUMENT: &str = "docs/coverage.md";

/// A kind of backend, with the model that it is asked for.
struct Backend {
    /// The name of its route.
    route: &'static str,
    title: &'static str,
    provider: &'static str,
    model: &'static str,
    /// Signs its thinking, and must see the signature again.
    signs: bool,
    /// Counts the tokens of every stream, as this provider plays it; the others take no `stream_options`.
    counts: bool,
}

const fn backend(route: &'static str, title: &'static str, provider: &'static str, model: &'static str) -> Backend {
    Backend { route, title, provider, model, signs: false, counts: true }
}

static BACKENDS: [Backend; 13] = [
    backend("to-openai", "`openai`", "openai", "gpt-5-mini"),
    backend("to-azure", "`azure`", "azure", "gpt-5-mini"),
    backend("to-deepseek", "`deepseek`", "deepseek", "gpt-4o-mini"),
    backend("to-mistral", "`mistral`", "mistral", "gpt-4o-mini"),
    Backend { counts: false, ..backend("to-cohere", "`cohere`", "cohere", "gpt-4o-mini") },
    backend("to-compatible", "`openai_compatible`, and any other kind of the family", "compatible", "gpt-4o-mini"),
    Backend { signs: true, ..backend("to-anthropic", "`anthropic`", "anthropic", "claude-haiku-4-5") },
    Backend { signs: true, ..backend("to-vertex-claude", "`vertex`, Claude", "vertex", "claude-sonnet-4-5@20250929") },
    Backend {
        signs: true,
        ..backend("to-bedrock-claude", "`bedrock`, Claude", "bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0")
    },
    backend("to-bedrock-nova", "`bedrock`, Nova", "bedrock", "us.amazon.nova-2-lite-v1:0"),
    backend("to-gemini", "`gemini`", "gemini", "gemini-2.5-flash"),
    backend("to-vertex-gemini", "`vertex`, Gemini", "vertex", "gemini-2.5-flash"),
    backend("to-ollama", "`ollama`, its own API", "ollama", QWEN),
];

/// A file with a route to each of them.
fn yaml(provider: &str) -> String {
    let compatible = |name: &str, kind: &str| {
        format!("  {name}: {{ kind: {kind}, base_url: \"{provider}/{name}/v1\", api_key: sk-canary-{name} }}\n")
    };
    let providers = [
        compatible("deepseek", "deepseek"),
        compatible("mistral", "mistral"),
        compatible("cohere", "cohere"),
        compatible("compatible", "openai_compatible"),
        format!("  azure: {{ kind: azure, base_url: \"{provider}/azure\", api_key: az-canary, api_version: 2025-04-01-preview }}\n"),
        format!("  gemini: {{ kind: gemini, base_url: \"{provider}\", api_key: sk-canary-gemini }}\n"),
        format!("  vertex: {{ kind: vertex, project: fake-project, region: global, base_url: \"{provider}\", credentials_file: google.json }}\n"),
        format!("  ollama: {{ kind: ollama, base_url: \"{provider}\", api_key: sk-canary-ollama }}\n"),
        format!("  bedrock: {{ kind: bedrock, region: us-east-1, base_url: \"{provider}/aws\", api_key: ABSKbearer }}\n"),
    ]
    .concat();
    let mut models = String::from("models:\n");
    for Backend { route, provider, model, .. } in &BACKENDS {
        let _infallible =
            writeln!(models, "  - {{ match: {route}, backends: [{{ provider: {provider}, model: \"{model}\" }}] }}");
    }
    models.push_str("prices:\n");
    for name in ["deepseek", "mistral", "cohere", "compatible"] {
        let price = "input: \"0.15\", output: \"0.6\", cache_read: \"0.075\"";
        let _infallible = writeln!(models, "  - {{ provider: {name}, model: gpt-4o-mini, {price} }}");
    }
    models.push_str(
        "  - { provider: azure, model: gpt-5-mini, input: \"0.25\", output: \"2\", cache_read: \"0.025\" }\n",
    );
    let _infallible = writeln!(models, "  - {{ provider: ollama, model: \"{QWEN}\", input: \"1\", output: \"3\" }}");
    first_request::yaml(provider)
        .replace("\"text-*\"", "\"text-*\", \"to-*\"")
        // What a document costs at most is not known of every model here.
        .replace("mode: hard", "mode: soft")
        .replacen("providers:\n", &format!("{models}providers:\n{providers}"), 1)
}

/// The names of those routes.
pub(crate) fn routes() -> impl Iterator<Item = &'static str> {
    BACKENDS.iter().map(|backend| backend.route)
}

/// Those of them whose streams report no usage.
pub(crate) fn uncounted() -> impl Iterator<Item = &'static str> {
    BACKENDS.iter().filter(|backend| !backend.counts).map(|backend| backend.route)
}

/// A gateway with all of them.
pub(crate) fn world() -> World {
    let world = World::start(yaml);
    std::fs::write(world.folder.path().join("google.json"), world.provider.service_account()).unwrap();
    let price = json!({ "input": 1_000_000, "output": 3_000_000 });
    world.provider.set_script(json!({ "prices": { QWEN: price } })).unwrap();
    world
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feature {
    Text,
    Tools,
    Image,
    ImageUrl,
    Document,
    Reasoning,
    Schema,
    Stream,
    Errors,
}

impl Feature {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Text, "text"),
        (Self::Tools, "tools"),
        (Self::Image, "images"),
        (Self::ImageUrl, "image by URL"),
        (Self::Document, "PDF"),
        (Self::Reasoning, "reasoning"),
        (Self::Schema, "JSON schema"),
        (Self::Stream, "stream"),
        (Self::Errors, "errors"),
    ];
}

/// What was found of a cell.
#[derive(Debug, PartialEq)]
enum Found {
    /// It crossed, both ways.
    Yes,
    /// It crossed, and the provider counted nothing: the client got an estimate, or (`false`) no counts.
    Uncounted(bool),
    /// The request was answered without what `x-helix-dropped-params` names.
    Without(String),
    /// The request was refused by this field, and nothing was sent.
    Refused(String),
    /// The client's API has no word for it.
    Nothing,
}

impl Found {
    fn render(&self) -> String {
        match self {
            Self::Yes => "yes".to_owned(),
            Self::Uncounted(true) => "yes, usage estimated".to_owned(),
            Self::Uncounted(false) => "yes, no usage".to_owned(),
            Self::Without(names) => format!("without `{names}`"),
            Self::Refused(field) if field.is_empty() => "refused".to_owned(),
            Self::Refused(field) => format!("refused: `{field}`"),
            Self::Nothing => "–".to_owned(),
        }
    }
}

/// One cell, with the gateway that it is run through.
struct Cell {
    world: Arc<World>,
    front: Front,
    backend: &'static Backend,
}

fn two_calls() -> Value {
    json!([
        { "name": "weather", "arguments": { "city": "Oslo", "days": [1, 2.50] }, "id": "call_a" },
        { "name": "time", "arguments": {}, "id": "call_b" },
    ])
}

impl Cell {
    async fn run(&self, feature: Feature) -> Found {
        let wish = Wish {
            tools: feature == Feature::Tools || (feature == Feature::Reasoning && self.backend.signs),
            image: feature == Feature::Image,
            image_url: feature == Feature::ImageUrl,
            document: feature == Feature::Document,
            reasoning: feature == Feature::Reasoning,
            schema: feature == Feature::Schema,
            stream: feature == Feature::Stream,
        };
        if !self.front.knows(wish) {
            return Found::Nothing;
        }
        match feature {
            Feature::Errors => self.errors().await,
            Feature::Stream => self.streams(wish).await,
            _ => self.whole(wish).await,
        }
    }

    fn script(&self, wish: Wish) -> Value {
        let mut script = json!({ "input_tokens": 30, "output_tokens": 12 });
        let expects = [
            (wish.tools, "tools"),
            (wish.image, "image"),
            (wish.image_url, "image_url"),
            (wish.document, "document"),
            (wish.reasoning, "reasoning"),
            (wish.schema, "schema"),
        ];
        script["expects"] = expects.iter().filter(|(is_wished, _)| *is_wished).map(|(_, name)| json!(name)).collect();
        if wish.tools {
            script["tool_call"] = two_calls();
            let mut after = script.clone();
            after.as_object_mut().unwrap().remove("tool_call");
            after["text"] = json!(TEXT);
            let signature = (wish.reasoning && self.backend.signs).then_some(json!("signature"));
            after["expects"] = std::iter::once(json!("results")).chain(signature).collect();
            script["after_tool"] = after;
        } else {
            script["text"] = json!(TEXT);
        }
        if wish.reasoning {
            script["thinking"] = json!(THOUGHT);
            script["reasoning"] = json!(5);
        }
        script
    }

    async fn ask(&self, body: &Value) -> Answer {
        self.world.ask(self.front.path(), body).await
    }

    /// Whether an answer is a refusal of ours: by a field, before anything was sent.
    fn refusal(&self, answer: &Answer, sent_before: u64) -> Option<Found> {
        let is_ours = (400..500).contains(&answer.status) && self.sent() == sent_before;
        is_ours.then(|| {
            let body = answer.json();
            assert!(self.front.error(&body).is_some(), "{body}");
            let code = answer.header("x-helix-error-code");
            let is_known = matches!(code, "invalid_request" | "unsupported_backend" | "unsupported_by_model");
            assert!(is_known, "{body}");
            Found::Refused(body["error"]["param"].as_str().unwrap_or_default().to_owned())
        })
    }

    fn sent(&self) -> u64 {
        self.world.provider.bill.stats().accepted
    }

    /// Asks for a whole answer; where the provider misses something, again without expecting it, if the gateway named it.
    async fn whole(&self, wish: Wish) -> Found {
        let mut script = self.script(wish);
        let before = self.sent();
        let mut request = self.front.request(self.backend.route, wish, &script);
        let mut answer = self.ask(&request).await;
        if let Some(refused) = self.refusal(&answer, before) {
            return refused;
        }
        if answer.status == 400 && answer.text().contains("the script expects") {
            script["expects"] = json!([]);
            request = self.front.request(self.backend.route, wish, &script);
            answer = self.ask(&request).await;
            assert_ne!(answer.header("x-helix-dropped-params"), "", "{}: lost without a word", self.place());
        }
        assert_eq!(answer.status, 200, "{}: {}", self.place(), answer.text());
        let dropped = answer.header("x-helix-dropped-params").to_owned();
        let said = self.front.read(&answer.json());
        let is_named = |name: &str| dropped.split(',').any(|it| it.contains(name));
        self.check(&said, wish, !is_named("reasoning") && !is_named("thinking"));
        if wish.tools {
            let next = self.front.follow(&request, &answer.json(), &said);
            let answer = self.ask(&next).await;
            assert_eq!(answer.status, 200, "{}: {}", self.place(), answer.text());
            assert_eq!(self.front.read(&answer.json()).text, TEXT);
        }
        if dropped.is_empty() { Found::Yes } else { Found::Without(dropped) }
    }

    fn place(&self) -> String {
        format!("{:?} over {}", self.front, self.backend.route)
    }

    fn check(&self, said: &Said, wish: Wish, is_thinking: bool) {
        let place = self.place();
        // Mistral counts what is said in chat, asked or not.
        let is_counted = self.backend.counts && (self.front, self.backend.route) != (Front::Completions, "to-mistral");
        if !wish.stream || is_counted {
            assert_eq!((said.input_tokens, said.output_tokens), (30, 12), "{place}: {said:?}");
        }
        if wish.tools {
            let calls: Vec<_> =
                said.calls.iter().map(|(_, name, arguments)| (name.as_str(), arguments.clone())).collect();
            let expected = [("weather", json!({ "city": "Oslo", "days": [1, 2.50] })), ("time", json!({}))];
            assert_eq!(calls, expected, "{place}");
            assert_ne!(said.calls[0].0, said.calls[1].0, "{place}");
            assert!(matches!(said.end.as_str(), "tool_calls" | "tool_use" | "completed"), "{place}: {}", said.end);
        } else {
            assert_eq!(said.text, TEXT, "{place}");
            assert!(matches!(said.end.as_str(), "stop" | "end_turn" | "completed"), "{place}: {}", said.end);
        }
        if wish.reasoning && is_thinking {
            assert_eq!(said.reasoning, THOUGHT, "{place}");
        }
    }

    async fn streams(&self, wish: Wish) -> Found {
        let mut script = json!({ "input_tokens": 30, "output_tokens": 12, "text": TEXT, "chunks": 4 });
        let is_plain = self.front == Front::Completions;
        if !is_plain {
            script["tool_call"] = two_calls();
        }
        let before = self.sent();
        let with_tools = Wish { tools: !is_plain, ..wish };
        let answer = self.ask(&self.front.request(self.backend.route, with_tools, &script)).await;
        if let Some(refused) = self.refusal(&answer, before) {
            return refused;
        }
        assert_eq!((answer.status, answer.is_whole), (200, true), "{}: {}", self.place(), answer.text());
        let said = streams::read(self.front, &answer.text());
        assert_eq!(said.text, TEXT, "{}", self.place());
        self.check(&said, with_tools, false);
        let dropped = answer.header("x-helix-dropped-params").to_owned();
        if !dropped.is_empty() {
            return Found::Without(dropped);
        }
        if (said.input_tokens, said.output_tokens) == (30, 12) {
            return Found::Yes;
        }
        assert_eq!(said.input_tokens > 0, said.output_tokens > 0, "{}: {said:?}", self.place());
        Found::Uncounted(said.output_tokens > 0)
    }

    async fn errors(&self) -> Found {
        let before = self.sent();
        let script = json!({ "status": 429, "error_message": "slow down" });
        let whole = self.ask(&self.front.request(self.backend.route, Wish::default(), &script)).await;
        if let Some(refused) = self.refusal(&whole, before) {
            return refused;
        }
        let body = whole.json();
        assert_eq!(whole.status, 429, "{}: {body}", self.place());
        assert!(
            self.front.error(&body).is_some() && body.to_string().contains("slow down"),
            "{}: {body}",
            self.place()
        );
        let script = json!({ "error_midstream": 2, "chunks": 6, "text": "one two three four five six" });
        let wish = Wish { stream: true, ..Wish::default() };
        let answer = self.ask(&self.front.request(self.backend.route, wish, &script)).await;
        assert_eq!((answer.status, answer.is_whole), (200, true), "{}: {}", self.place(), answer.text());
        let error = streams::error_of(self.front, &answer.text());
        assert!(error.is_some() && answer.text().contains("one"), "{}: {}", self.place(), answer.text());
        Found::Yes
    }
}

/// Compares each exact record with its line on the provider's bill.
pub(crate) async fn costs_agree(world: &World) {
    let entries = world.provider.bill.settled().await;
    let entries: Vec<_> = entries.into_iter().filter(|entry| entry.status == 200).collect();
    let ids: Vec<String> = entries.iter().map(|entry| entry.request_id.clone().unwrap()).collect();
    let mut exact = 0;
    for (record, entry) in world.records(&ids).await.iter().zip(&entries) {
        if record.basis.as_str() == "exact" {
            exact += 1;
            assert_eq!(record.cost.get(), i64::try_from(entry.cost_nano_usd).unwrap(), "{entry:?}");
        }
    }
    assert!(exact > entries.len() / 2, "{exact} of {}", entries.len());
}

const HEAD: &str = "\
# Coverage

<!-- Made by tests/it/coverage.rs. Do not edit; run: HELIX_UPDATE_DOCS=1 cargo test -p helixgateway coverage -->

What crosses between each API that clients speak and each kind of backend. Every cell is run by a test, through the gateway,
against a provider that looks for what it was sent in its own dialect and keeps its own bill; this document is what the test
found.

- **yes**: it crosses, both ways, as the client's API says it.
- **yes, usage estimated** or **yes, no usage**: it crosses, and the provider counts no tokens of a stream: the client of another
  API gets an estimate, a client of the provider's own API what the provider sends.
- **without `NAME`**: the request is answered, without what `x-helix-dropped-params` names; a route with `params: strict`
  refuses it instead.
- **refused**: the request is refused in the client's dialect before anything is sent or costs: by the field named, or because
  the backend has no such API.
- **–**: the client's API has no word for it.

*tools*: two calls in one answer, and their results back. *reasoning*: asked for, shown, and where the provider signs it, its
signature back with the results of calls. *stream*: text and two calls, in order, with usage at the end. *errors*: a refusal
of the provider, and an error in the middle of a stream, which is the stream's one last word.
";

#[tokio::test(flavor = "multi_thread")]
async fn the_coverage_document_says_what_crosses() {
    let world = Arc::new(world());
    let mut failed = Vec::new();
    let mut text = HEAD.to_owned();
    for front in Front::ALL {
        let _infallible = write!(text, "\n## `POST {}`\n\n| backend |", front.path());
        for (_, name) in Feature::ALL {
            let _infallible = write!(text, " {name} |");
        }
        text.push_str("\n|");
        text.push_str(&" --- |".repeat(Feature::ALL.len() + 1));
        text.push('\n');
        for backend in &BACKENDS {
            let _infallible = write!(text, "| {} |", backend.title);
            for (feature, _) in Feature::ALL {
                let cell = Cell { world: Arc::clone(&world), front, backend };
                // A cell that fails does not hide the others.
                match tokio::spawn(async move { cell.run(feature).await }).await {
                    Ok(found) => {
                        let _infallible = write!(text, " {} |", found.render());
                    }
                    Err(panic) => failed.push(format!("{front:?} over {}, {feature:?}: {panic}", backend.route)),
                }
            }
            text.push('\n');
        }
    }
    assert!(failed.is_empty(), "cells that failed:\n  {}", failed.join("\n  "));
    costs_agree(&world).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    if std::env::var("HELIX_UPDATE_DOCS").is_ok_and(|update| update == "1") {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "{DOCUMENT} does not say what was found; run: {UPDATE}\n{text}");
}
