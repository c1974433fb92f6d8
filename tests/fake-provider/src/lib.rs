//! A model provider that does as told and keeps its own bill: the instrument of the gateway's proofs.
//!
//! It speaks the OpenAI dialect (chat completions, embeddings, models), the Anthropic dialect (messages, token counts,
//! models) and the Gemini dialect (generateContent and its stream) as strictly as the real ones, and Amazon Bedrock's
//! Converse with its signatures, under any base path; under
//! `/azure` it is Azure OpenAI. A [`Script`] says per request what to answer, how slowly,
//! and where to break; the [`Bill`] says what a real provider would charge for it, whatever the client was told.
//!
//! Rules: the bill shares no code with the gateway; the same request and script give the same bytes; an error status
//! bills nothing; a cut stream, or one whose client left, bills its input and the output generated so far. It does not
//! judge content and keeps nothing on disk.
//!
//! Special names: a key that starts with `bad` is refused (401, Gemini: 400), one that ends with `-broke` is out of budget (429
//! `insufficient_quota`, or 402), a model that starts with `missing-` is unknown (404), with `denied-` forbidden (403).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

mod answer;
mod anthropic;
mod ask;
mod azure;
mod bedrock;
mod bill;
mod body;
mod control;
mod embed;
mod expect;
mod fast;
mod fault;
mod gates;
mod gemini;
mod issuers;
mod legacy;
mod media;
mod ollama;
mod openai;
mod plan;
mod price;
mod provider;
mod responses;
mod script;
mod server;
mod sigv4;
mod tls;
mod vertex;
mod wire;

pub use bedrock::{ACCESS_KEY_ID, SECRET_ACCESS_KEY};
pub use bill::{Bill, Entry, State, Stats, sha256_hex};
pub use expect::Expected;
pub use issuers::{EXTERNAL_ID, PRESENTED, ROLE, SERVICE_ACCOUNT};
pub use price::{Price, Tokens, built_in, cost_nano_usd, known_models};
pub use script::{Newline, Script, ScriptError, ToolCall, ToolCalls};

/// Why the provider does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The default script is no script.
    #[error("bad default script")]
    Script(#[from] ScriptError),
}

/// How a provider is started.
#[derive(Clone, Debug, Default)]
pub struct FakeProvider {
    script: Value,
    is_fast: bool,
    /// The protocols that are offered over TLS; `None`: no TLS.
    offers: Option<&'static [&'static str]>,
}

impl FakeProvider {
    /// A provider with plain behaviour.
    pub fn new() -> Self {
        Self { script: Value::Object(serde_json::Map::new()), is_fast: false, offers: None }
    }

    /// Listens with TLS and offers these protocols (`h2`, `http/1.1`); its certificate vouches for itself.
    #[must_use]
    pub fn with_tls(self, offers: &'static [&'static str]) -> Self {
        Self { offers: Some(offers), ..self }
    }

    /// Sets the default script, as JSON.
    #[must_use]
    pub fn with_script(self, script: Value) -> Self {
        Self { script, ..self }
    }

    /// Answers from memory without reading requests: for benchmarks. The bill has sums only.
    #[must_use]
    pub fn fast(self) -> Self {
        Self { is_fast: true, ..self }
    }

    /// Starts a provider with plain behaviour; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn start(address: SocketAddr) -> Result<Running, StartError> {
        Self::new().run(address)
    }

    /// Starts the provider on the current runtime.
    ///
    /// # Errors
    /// When the address cannot be listened on or the default script cannot be read.
    pub fn run(self, address: SocketAddr) -> Result<Running, StartError> {
        let failed = |source| StartError::Listen { address, source };
        Script::layered(&[Some(self.script.clone())])?;
        let listener = server::bind(address).map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let provider = Arc::new(provider::Provider::new(self.script, self.is_fast));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let tls = self.offers.map(tls::Identity::new).transpose().map_err(|error| failed(io::Error::other(error)))?;
        let (acceptor, certificate) = tls.map(|tls| (tls.acceptor, tls.certificate)).unzip();
        tasks.spawn(server::run(listener, acceptor, provider.clone(), tasks.clone(), stop.clone()));
        tasks.close();
        Ok(Running { addr, bill: provider.bill.clone(), certificate, provider, tasks, stop })
    }
}

/// A running provider. Dropping it stops it.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its bill.
    pub bill: Bill,
    /// The certificate to be believed, as PEM, where it speaks TLS.
    pub certificate: Option<String>,
    provider: Arc<provider::Provider>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Running {
    /// Returns the base URL without a path: what `ANTHROPIC_BASE_URL` wants; `OPENAI_BASE_URL` wants `/v1` after it.
    pub fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }

    /// Replaces the default script.
    ///
    /// # Errors
    /// When it cannot be read; the old one stays.
    pub fn set_script(&self, script: Value) -> Result<(), ScriptError> {
        Script::layered(&[Some(script.clone())])?;
        self.provider.set_script(script);
        Ok(())
    }

    /// Lets everybody through a gate, now and later.
    pub fn open_gate(&self, name: &str) {
        self.provider.gates.set(name, true);
    }

    /// Closes a gate again.
    pub fn close_gate(&self, name: &str) {
        self.provider.gates.set(name, false);
    }

    /// A credentials file of Google's whose service account gets tokens here.
    pub fn service_account(&self) -> String {
        self.provider.issuers.service_account(&self.url())
    }

    /// How often a place that issues credentials was asked: `google`, `google metadata`, `entra`, `azure machine`, `sts`,
    /// `aws machine`, `container` or `sso`.
    pub fn issuer_asked(&self, place: &str) -> u32 {
        self.provider.issuers.asked(place)
    }

    /// Takes back all tokens and sessions.
    pub fn revoke_issued(&self) {
        self.provider.issuers.revoke();
    }

    /// Deletes the fixed key of Amazon's; from now on one of this id and the same secret is good, with a token beside it.
    pub fn replace_key(&self, id: &str) {
        self.provider.issuers.replace_key(id);
    }

    /// Lets the next so many tokens be over when they are issued.
    pub fn issue_stillborn(&self, tokens: u32) {
        self.provider.issuers.set_stillborn(tokens);
    }

    /// Lets the issuers fail, or work again.
    pub fn set_issuers_away(&self, is_away: bool) {
        self.provider.issuers.set_away(is_away);
    }

    /// Stops at once: closes the listener and every connection. The bill stays readable through its clones.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
