//! Answers one request: reads it, opens its line on the bill, plans the answer.
//!
//! Rule: the line is opened when the request was read whole and before anything else can fail, so every accepted request
//! is on the bill. Sockets are not touched here.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::ask::{Ask, Dialect, Endpoint, key_of, read, script_of};
use crate::bill::{Bill, Charge, Entry, State, sha256_hex};
use crate::fast::FastAnswers;
use crate::fault::Fault;
use crate::gates::Gates;
use crate::issuers::Issuers;
use crate::plan::{Ending, Plan};
use crate::price::{Price, Tokens, built_in};
use crate::responses::Kept;
use crate::script::Script;
use crate::{anthropic, azure, bedrock, embed, expect, gemini, legacy, media, ollama, openai, responses, vertex};

/// A planned answer and its open line; `None` resets the connection without a header.
pub(crate) type Verdict = Option<(Arc<Plan>, Charge)>;

/// Everything that all connections share.
pub(crate) struct Provider {
    pub(crate) bill: Bill,
    pub(crate) gates: Gates,
    pub(crate) kept: Kept,
    pub(crate) issuers: Issuers,
    script: RwLock<Value>,
    fast: Option<FastAnswers>,
}

impl Provider {
    pub(crate) fn new(script: Value, is_fast: bool) -> Self {
        let fast = is_fast.then(FastAnswers::default);
        Self {
            bill: Bill::default(),
            gates: Gates::default(),
            kept: Kept::default(),
            issuers: Issuers::default(),
            script: RwLock::new(script),
            fast,
        }
    }

    pub(crate) fn script(&self) -> Value {
        self.script.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_script(&self, script: Value) {
        *self.script.write().unwrap_or_else(PoisonError::into_inner) = script;
        if let Some(fast) = &self.fast {
            fast.clear();
        }
    }

    /// Answers a request whose body was read whole. Dropped while it waits: the client went away.
    pub(crate) async fn answer(&self, endpoint: Endpoint, parts: &Parts, body: &[u8]) -> Verdict {
        if let Some(fast) = &self.fast {
            let answer = fast.answer(endpoint, body, || self.script());
            let mut charge = Charge::counted(&self.bill);
            charge.prices(answer.price, answer.plan.tokens);
            if !answer.delay.is_zero() {
                tokio::time::sleep(answer.delay).await;
            }
            return Some((answer.plan, charge));
        }
        let is_form = parts.headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"multipart/"));
        let json: Result<Value, String> = if is_form {
            media::form(parts, body)
        } else {
            serde_json::from_slice(body).map_err(|error| error.to_string())
        };
        let json = json.map(|json| bedrock::completed(endpoint, parts, json));
        let hosted = vertex::admit(parts, &self.issuers);
        let asked = match &json {
            Ok(json) => {
                let json = hosted.and_then(|()| vertex::completed(parts, endpoint, json.clone()));
                json.and_then(|json| read(endpoint, parts, &json))
            }
            Err(error) => Err(Fault::invalid(format!("We could not parse the JSON body of your request: {error}"))),
        };
        let asked = azure::check(parts, &self.issuers).and_then(|azure| {
            let mut ask = asked?;
            ask.is_azure = azure.is_some();
            let location = vertex::location(parts.uri.path()).filter(|_| endpoint.dialect() == Dialect::Anthropic);
            ask.is_priority = vertex::is_priority(parts);
            ask.is_regional = location.is_some_and(|location| location != "global");
            if let Some(deployment) = azure.and_then(|azure| azure.deployment) {
                ask.model = deployment;
            }
            Ok(ask)
        });
        let null = Value::Null;
        let script = script_of(&self.script(), &parts.headers, json.as_ref().unwrap_or(&null));
        let mut charge = Charge::open(&self.bill, entry(parts, body, asked.as_ref().ok()));
        let request_id = format!("req_fake_{}", charge.seq());
        let script = match script {
            Ok(script) => script,
            Err(error) => {
                let plan = Fault::invalid(error.to_string()).plan(endpoint.dialect(), &request_id);
                return self.finish(endpoint, plan, charge, &Script::default(), &request_id);
            }
        };
        let asked = asked.and_then(|ask| {
            if endpoint.dialect() == Dialect::Bedrock {
                bedrock::admit(parts, body, &self.issuers)?;
            }
            Ok(ask)
        });
        let asked = asked.and_then(|ask| {
            expect::check(endpoint, &script.expects, json.as_ref().unwrap_or(&null))?;
            Ok(ask)
        });
        let asked = asked.and_then(|ask| admit(endpoint, &parts.headers, &ask, &script, charge.seq()).map(|()| ask));
        let key = key_of(&parts.headers).unwrap_or_default();
        let asked = asked.and_then(|ask| match &ask.previous {
            Some(id) if !self.kept.has(key, id) => Err(responses::not_found(id)),
            _ => Ok(ask),
        });
        let plan = asked.map_or_else(
            |fault| fault.plan(endpoint.dialect(), &request_id),
            |ask| {
                let plan = if endpoint == Endpoint::Responses && script.raw_body.is_none() {
                    let (plan, kept) = responses::respond(&ask, &script, charge.seq());
                    if let Some((id, response)) = kept {
                        self.kept.keep(key, &id, response);
                    }
                    plan
                } else {
                    plan_of(endpoint, &ask, &script, charge.seq())
                };
                if endpoint != Endpoint::CountTokens && plan.status < 400 {
                    let named = std::iter::once(&ask.model).chain(&ask.others);
                    let prices = named.filter_map(|model| price_of(model, &script));
                    let price = prices.max_by_key(|price| price.input + price.output);
                    let price = if ask.is_priority { price.map(vertex::priority) } else { price };
                    let price = if ask.is_regional { price.map(vertex::regional) } else { price };
                    charge.prices(price, plan.tokens);
                }
                plan
            },
        );
        self.wait(&script).await;
        if script.reset {
            charge.prices(None, Tokens::default());
            charge.close(State::Cut, None);
            return None;
        }
        self.finish(endpoint, plan, charge, &script, &request_id)
    }

    async fn wait(&self, script: &Script) {
        if script.delay_ms > 0 {
            tokio::time::sleep(Duration::from_millis(script.delay_ms)).await;
        }
        if let (Some(gate), 0) = (&script.gate, script.gate_at_chunk) {
            self.gates.wait(gate).await;
        }
        if script.hang {
            std::future::pending::<()>().await;
        }
    }

    fn finish(&self, endpoint: Endpoint, mut plan: Plan, mut charge: Charge, script: &Script, id: &str) -> Verdict {
        let name = match endpoint.dialect() {
            Dialect::OpenAi | Dialect::Gemini => "x-request-id",
            Dialect::Anthropic => "request-id",
            Dialect::Bedrock => "x-amzn-requestid",
        };
        let further = script.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in std::iter::once((name, id)).chain(further) {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                plan.headers.insert(name, value);
            }
        }
        charge.answers(plan.status);
        Some((Arc::new(plan), charge))
    }
}

/// Plans the answer to an admitted request.
pub(crate) fn plan_of(endpoint: Endpoint, ask: &Ask, script: &Script, seq: u64) -> Plan {
    let mut plan = match endpoint {
        Endpoint::Chat => openai::chat(ask, script, seq),
        Endpoint::Messages => anthropic::messages(ask, script, seq),
        Endpoint::CountTokens => anthropic::count_tokens(ask, script),
        Endpoint::Embeddings => openai::embeddings(ask, script),
        Endpoint::Completions => legacy::completion(ask, script, seq),
        Endpoint::Moderations => legacy::moderation(ask, script, seq),
        Endpoint::Responses => responses::respond(ask, script, seq).0,
        Endpoint::Images | Endpoint::ImageEdits => media::images(endpoint, ask, script),
        Endpoint::Speech => media::speech(ask, script),
        Endpoint::Transcripts => media::transcript(ask, script),
        Endpoint::Converse | Endpoint::ConverseStream => bedrock::converse(ask, script),
        Endpoint::Generate | Endpoint::StreamGenerate => gemini::generate(ask, script, seq),
        Endpoint::OllamaChat => ollama::chat(ask, script),
        Endpoint::BatchEmbed | Endpoint::Predict | Endpoint::Invoke | Endpoint::OllamaEmbed => {
            embed::plan(endpoint, ask, script)
        }
    };
    if let Some(raw) = &script.raw_body {
        let headers = std::mem::take(&mut plan.headers);
        plan = Plan::whole(200, headers, raw.clone()).counting(plan.tokens, None).scripted(script, Bytes::new);
    }
    plan.status = script.status.unwrap_or(200);
    if plan.status >= 400 && plan.ending == Ending::Complete {
        plan.ending = Ending::Error;
    }
    plan
}

/// Returns the price of a model: the script's, or the built-in one.
pub(crate) fn price_of(model: &str, script: &Script) -> Option<Price> {
    script.prices.get(model).copied().or_else(|| built_in(model))
}

/// Refuses what a provider refuses, and what the script wants refused.
fn admit(endpoint: Endpoint, headers: &HeaderMap, ask: &Ask, script: &Script, seq: u64) -> Result<(), Fault> {
    let dialect = endpoint.dialect();
    match key_of(headers) {
        _ if dialect == Dialect::Bedrock => {}
        None if script.require_auth != Some(false) => return Err(Fault::new(401, "You didn't provide an API key.")),
        Some(key) if key.starts_with("bad") && dialect == Dialect::Gemini => return Err(gemini::bad_key()),
        Some(key) if key.starts_with("bad") => return Err(Fault::new(401, "Incorrect API key provided.")),
        Some(key) if key.ends_with("-broke") => return Err(Fault::out_of_budget(dialect)),
        _ => {}
    }
    let model = &ask.model;
    if model.starts_with("missing-") {
        return Err(Fault::new(404, format!("The model `{model}` does not exist or you do not have access to it.")));
    }
    if model.starts_with("denied-") {
        return Err(Fault::new(403, format!("You are not allowed to use the model `{model}`.")));
    }
    if script.error_every_nth.is_some_and(|nth| nth > 0 && seq.is_multiple_of(nth)) {
        return Err(Fault::new(500, "The server had an error while processing your request."));
    }
    match script.status {
        Some(status) if status >= 400 && script.raw_body.is_none() => Err(Fault::scripted(status, script)),
        _ => Ok(()),
    }
}

fn entry(parts: &Parts, body: &[u8], ask: Option<&Ask>) -> Entry {
    let mut headers = BTreeMap::new();
    for (name, value) in &parts.headers {
        let text = String::from_utf8_lossy(value.as_bytes());
        let is_secret = matches!(
            name.as_str(),
            "authorization" | "x-api-key" | "api-key" | "x-goog-api-key" | "x-amz-security-token"
        );
        headers.insert(name.to_string(), if is_secret { format!("…{}", last4(&text)) } else { text.into_owned() });
    }
    Entry {
        seq: 0,
        request_id: headers.get("x-request-id").cloned(),
        path: parts.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        key_last4: key_of(&parts.headers).map(last4),
        model: ask.map(|ask| ask.model.clone()).unwrap_or_default(),
        stream: ask.is_some_and(|ask| ask.stream),
        status: 0,
        billed_usage: Tokens::default(),
        reported_usage: None,
        cost_nano_usd: 0,
        priced: false,
        state: State::InFlight,
        request_sha256: sha256_hex(body),
        response_sha256: String::new(),
        request_bytes: u64::try_from(body.len()).unwrap_or(u64::MAX),
        response_bytes: 0,
        headers,
    }
}

fn last4(text: &str) -> String {
    let skip = text.chars().count().saturating_sub(4);
    text.chars().skip(skip).collect()
}
