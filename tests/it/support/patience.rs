//! Waiting for what must come, without saying when.
//!
//! Rule: a test waits for a condition, never for a time; the limit is far beyond any loaded machine and only ends a test
//! that has failed already.

use super::gateway::Gateway;
use std::time::Duration;

/// When waiting is given up.
const LIMIT: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(50);

/// Probes until there is an answer.
pub(crate) async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let probing = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    within(what, probing).await
}

/// Waits for something that must happen.
pub(crate) async fn within<T>(what: &str, awaited: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, awaited).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Waits for a text in a process's log: what it wrote arrives a moment after what it did.
pub(crate) async fn logged(process: &Gateway, text: &str) {
    until(&format!("`{text}` in the log"), async || process.log().contains(text).then_some(())).await;
}
