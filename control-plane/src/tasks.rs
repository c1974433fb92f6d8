//! The plane's background work: every task is spawned here, named, and awaited at shutdown.
//!
//! Rule: a task ends when the stop signal fires; nothing outlives [`Tasks::stop`]. It restarts nothing.

use std::future::Future;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Spawns and ends tasks. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Runs `work` until it ends by itself or the plane stops. `work` may be dropped at any await.
    pub(crate) fn spawn(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        let guarded = async move {
            if stop.run_until_cancelled(work).await.is_none() {
                tracing::debug!(task = name, "task stopped with the plane");
            }
        };
        drop(self.tracker.spawn(guarded.instrument(tracing::debug_span!("task", name))));
    }

    /// Tasks that may be stopped earlier than these, and are stopped with them.
    pub(crate) fn child(&self) -> Self {
        Self { tracker: self.tracker.clone(), stop: self.stop.child_token() }
    }

    /// The signal that the plane stops.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Fires the stop signal and waits for every task.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
