//! A gateway in front of the scripted provider, and its records.
//!
//! Rule: nothing is looked at from inside: clients speak HTTP, and records are read where operators read them, in the
//! database.

use super::books::Books;
use super::client::{Answer, Client};
use super::gateway::{ANY_PORT, Gateway, KEY};
use super::patience::until;
use helix_fake_provider::{FakeProvider, Running};
use helix_shared::record::Record;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// A provider, a gateway in front of it, and a client.
pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) provider: Running,
    pub(crate) client: Client,
    pub(crate) folder: TempDir,
    books: OnceCell<Books>,
}

impl World {
    /// Starts a gateway with a file that `yaml` makes of the provider's URL.
    pub(crate) fn start(yaml: impl FnOnce(&str) -> String) -> Self {
        Self::limited("", yaml)
    }

    /// The same in a process with further variables, as `NAME=VALUE`; `{host}` is the provider's, `{url}` its URL and
    /// `{folder}` the gateway's folder.
    pub(crate) fn with_env(env: &[&str], yaml: impl FnOnce(&str) -> String) -> Self {
        Self::start_all("", env, yaml)
    }

    /// The same with entries for `server.limits`, such as `max_in_flight: 2`.
    pub(crate) fn limited(limits: &str, yaml: impl FnOnce(&str) -> String) -> Self {
        Self::start_all(limits, &[], yaml)
    }

    /// The same with a provider that speaks TLS and offers these protocols; the gateway believes its certificate.
    pub(crate) fn over_tls(offers: &'static [&'static str], yaml: impl FnOnce(&str) -> String) -> Self {
        Self::before(FakeProvider::new().with_tls(offers), "", &["SSL_CERT_FILE={folder}/provider.pem"], yaml)
    }

    fn start_all(limits: &str, env: &[&str], yaml: impl FnOnce(&str) -> String) -> Self {
        Self::before(FakeProvider::new(), limits, env, yaml)
    }

    fn before(provider: FakeProvider, limits: &str, env: &[&str], yaml: impl FnOnce(&str) -> String) -> Self {
        let provider = provider.run("127.0.0.1:0".parse().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let server = ANY_PORT.trim_end().strip_suffix('}').unwrap();
        let head = format!("version: 1\n{server}, limits: {{ {limits} }} }}\n");
        std::fs::write(folder.path().join("gateway.yaml"), head + &yaml(&provider.url())).unwrap();
        if let Some(certificate) = &provider.certificate {
            std::fs::write(folder.path().join("provider.pem"), certificate).unwrap();
        }
        let filled = |text: &str| {
            let text = text.replace("{host}", &provider.addr.to_string()).replace("{url}", &provider.url());
            text.replace("{folder}", &folder.path().display().to_string())
        };
        let env = env.iter().filter_map(|pair| pair.split_once('='));
        let env = env.map(|(name, value)| (name.to_owned(), filled(value))).collect();
        let gateway = Gateway::start_with(folder.path(), "serve", env);
        Self { gateway, provider, client: Client::new(), folder, books: OnceCell::new() }
    }

    /// The URL of a path at the gateway.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.gateway.url())
    }

    /// Posts a body with the usual key.
    pub(crate) async fn ask(&self, path: &str, body: &Value) -> Answer {
        self.client.ask(&self.url(path), KEY, body).await
    }

    /// The record of a request, once it has arrived.
    pub(crate) async fn record(&self, request_id: &str) -> Record {
        self.records(&[request_id.to_owned()]).await.remove(0)
    }

    /// The records of requests, in their order, once all have arrived.
    pub(crate) async fn records(&self, request_ids: &[String]) -> Vec<Record> {
        let books = self.books.get_or_init(async || Books::open(self.folder.path()).await).await;
        let mut records = Vec::new();
        for id in request_ids {
            records.push(until(&format!("the record of {id}"), async || books.record(id).await).await);
        }
        records
    }

    /// The most resident memory that the gateway ever had.
    pub(crate) fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.gateway.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Stops the gateway in order and proves that its books agree on so many records.
    pub(crate) fn verify(mut self, records: usize) {
        assert!(self.gateway.stop(), "an orderly end");
        let report = self.gateway.verify();
        let facts = (report["ok"].as_bool(), report["records"].as_u64(), report["openIntents"].as_u64());
        assert_eq!(facts, (Some(true), u64::try_from(records).ok(), Some(0)), "{report}");
    }
}

/// The amount that an attempt was admitted with, as its trace says it, in 1e-9 USD.
pub(crate) fn reserved_nano_usd(record: &Record) -> i64 {
    let stage = record.stages.iter().find(|stage| stage.name == "budget" && stage.verdict == "reserved").unwrap();
    let amount = stage.reason.split(' ').next().unwrap();
    let (whole, nano) = amount.split_once('.').unwrap();
    format!("{whole}{nano:0<9}").parse().unwrap()
}

/// A prompt that scripts its own answer.
pub(crate) fn prompt(script: &Value) -> Value {
    json!([{ "role": "user", "content": format!("Say hello. [[fake:{script}]]") }])
}

/// A chat completion request.
pub(crate) fn chat(script: &Value) -> Value {
    json!({ "model": "gpt-5-mini", "max_completion_tokens": 64, "messages": prompt(script) })
}

/// A messages request.
pub(crate) fn messages(script: &Value) -> Value {
    json!({ "model": "claude-haiku-4-5", "max_tokens": 64, "messages": prompt(script) })
}

/// The same request as a stream.
pub(crate) fn streamed(mut request: Value) -> Value {
    request["stream"] = Value::Bool(true);
    request
}
