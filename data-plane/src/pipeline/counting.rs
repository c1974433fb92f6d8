//! Counting what no provider counted, by the vocabulary of its model.
//!
//! Rule: it is done aside, a few at a time: who finds the desk taken is estimated by the length of the text, and nobody
//! waits for anybody else's count. What is counted is an estimate all the same.

use super::settle::OpenAttempt;
use crate::gateway::Gateway;
use bytes::Bytes;
use helix_llm::{RequestFacts, TextSize, Vocabulary};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// How many are counted at once.
const AT_ONCE: usize = 2;
/// The largest body that is kept until its answer is counted; a larger one goes by its length.
const MOST_KEPT_BYTES: usize = 32 << 10;
/// What a connection reads into at first.
const READ_BUFFER_BYTES: usize = 8 << 10;

/// The places where is counted.
#[derive(Debug, Clone)]
pub struct Desk(Arc<Semaphore>);

impl Default for Desk {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// What a request said, kept for the case that nobody counts it.
#[derive(Debug, Clone, Default)]
pub struct Said {
    vocabulary: Option<Vocabulary>,
    /// Empty where it is too large to be kept.
    body: Bytes,
    text: TextSize,
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// The texts of the request; `None`: they were not kept.
    pub request: Option<(u64, TextSize)>,
    /// The texts of the answer.
    pub answer: u64,
}

impl Said {
    /// Keeps what is sent to a model whose vocabulary is known; nothing of any other.
    pub fn of(vocabulary: Option<Vocabulary>, body: &Bytes, facts: &RequestFacts) -> Self {
        if vocabulary.is_none() {
            return Self::default();
        }
        let body = match body.len() {
            // A small body is a slice of what its connection reads into, and would hold all of that for a whole stream.
            ..=READ_BUFFER_BYTES if facts.is_stream => Bytes::copy_from_slice(body),
            ..=MOST_KEPT_BYTES => body.clone(),
            _ => Bytes::new(),
        };
        Self { vocabulary, body, text: facts.text }
    }

    /// Whether there is a vocabulary to count by.
    pub fn can_be_counted(&self) -> bool {
        self.vocabulary.is_some()
    }
}

/// Begins to count an attempt that wrote `size` of text, of which `written` was kept; `None`: there is no vocabulary, or no
/// place at the desk.
pub(super) fn begin(
    gateway: &Gateway,
    attempt: &OpenAttempt,
    written: Vec<u8>,
    size: TextSize,
) -> Option<JoinHandle<Counted>> {
    let said = attempt.said.clone();
    let vocabulary = said.vocabulary?;
    let place = Arc::clone(&gateway.desk.0).try_acquire_owned().ok()?;
    Some(tokio::task::spawn_blocking(move || {
        let request = (!said.body.is_empty()).then(|| (vocabulary.count_request(&said.body, said.text), said.text));
        let counted = Counted { request, answer: vocabulary.count_written(&written, size) };
        drop(place);
        counted
    }))
}

/// Counts the texts of a request for a client that asks for nothing else; `None` as for [`begin`].
pub(super) async fn request(
    gateway: &Gateway,
    vocabulary: Option<Vocabulary>,
    body: &Bytes,
    facts: &RequestFacts,
) -> Option<u64> {
    let vocabulary = vocabulary?;
    let place = Arc::clone(&gateway.desk.0).try_acquire_owned().ok()?;
    let (body, text) = (body.clone(), facts.text);
    let counting = tokio::task::spawn_blocking(move || {
        let tokens = vocabulary.count_request(&body, text);
        drop(place);
        tokens
    });
    counting.await.ok()
}
