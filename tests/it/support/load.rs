//! Requests without a pause, each answer kept.
//!
//! Rule: a request that gets no answer at all fails the test.

use super::client::{Answer, Client};
use super::patience::until;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use tokio::task::JoinHandle;

/// What is remembered of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) request_id: String,
}

/// Clients that ask one after the other.
pub(crate) struct Load {
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    is_over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

/// A small chat request.
pub(crate) fn chat(model: &str, prompt: &str) -> Value {
    json!({ "model": model, "max_completion_tokens": 50, "messages": [{ "role": "user", "content": prompt }] })
}

impl From<&Answer> for Outcome {
    fn from(answer: &Answer) -> Self {
        let code = answer.header("x-helix-error-code").to_owned();
        Self { status: answer.status, code, request_id: answer.header("x-request-id").to_owned() }
    }
}

impl Load {
    /// Starts `clients` of them with one key.
    pub(crate) fn start(gateway_url: &str, key: &str, clients: usize) -> Self {
        Self::saying("hi", gateway_url, key, clients)
    }

    /// Starts `clients` of them with one key and one prompt.
    pub(crate) fn saying(prompt: &'static str, gateway_url: &str, key: &str, clients: usize) -> Self {
        let (outcomes, is_over) = (Arc::<Mutex<Vec<Outcome>>>::default(), Arc::<AtomicBool>::default());
        let ask = |_| {
            let (outcomes, is_over) = (Arc::clone(&outcomes), Arc::clone(&is_over));
            let (url, key) = (format!("{gateway_url}/v1/chat/completions"), key.to_owned());
            tokio::spawn(async move {
                let (client, body) = (Client::new(), chat("gpt-5-mini", prompt));
                while !is_over.load(Ordering::Relaxed) {
                    let answer = client.ask(&url, &key, &body).await;
                    outcomes.lock().unwrap().push(Outcome::from(&answer));
                }
            })
        };
        let clients = (0..clients).map(ask).collect();
        Self { outcomes, is_over, clients }
    }

    /// How many answers came.
    pub(crate) fn count(&self) -> usize {
        self.outcomes.lock().unwrap().len()
    }

    /// Waits for that many further answers.
    pub(crate) async fn further(&self, count: usize) {
        let goal = self.count() + count;
        until("further answers under load", async || {
            assert!(!self.clients.iter().any(JoinHandle::is_finished), "a client failed");
            (self.count() >= goal).then_some(())
        })
        .await;
    }

    /// Stops; returns every answer in the order it came.
    pub(crate) async fn stop(self) -> Vec<Outcome> {
        self.is_over.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.expect("every request is answered");
        }
        Arc::try_unwrap(self.outcomes).unwrap().into_inner().unwrap()
    }
}
