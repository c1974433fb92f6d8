//! Named gates that answers wait at until a test opens them: synchronisation without sleeping.
//!
//! Rule: a gate is closed until opened, and stays open until closed again; waiting costs nothing.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Somebody waiting at a gate.
pub(crate) type Waiting = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// All gates. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Gates {
    gates: Arc<Mutex<HashMap<String, watch::Sender<bool>>>>,
}

impl Gates {
    /// Opens or closes a gate.
    pub(crate) fn set(&self, name: &str, is_open: bool) {
        self.with(name, |gate| gate.send_replace(is_open));
    }

    /// Waits until the gate is open.
    pub(crate) fn wait(&self, name: &str) -> Waiting {
        let mut state = self.with(name, watch::Sender::subscribe);
        Box::pin(async move {
            // The sender lives as long as the gates do; when they go, nobody is left to answer.
            if state.wait_for(|open| *open).await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }

    fn with<T>(&self, name: &str, act: impl FnOnce(&watch::Sender<bool>) -> T) -> T {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        act(gates.entry(name.to_owned()).or_insert_with(|| watch::Sender::new(false)))
    }
}
