//! Tracked tasks: named, counted, awaited at shutdown.
//!
//! Rule: nothing in this plane runs that shutdown does not know of. Long-lived loops stop on the token; drains of
//! requests are only waited for, never stopped before the deadline.

use std::future::Future;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The plane's tasks. Cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Starts a task that shutdown waits for.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(async move {
            future.await;
            tracing::trace!(task = name, "task ended");
        });
    }

    /// Starts a loop that ends when shutdown begins.
    pub fn spawn_until_stop(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.spawn(name, async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = future => {}
            }
        });
    }

    /// A token that is cancelled when shutdown begins.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Tells the loops to end.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits until every task has ended. Call [`Self::stop`] first.
    pub async fn wait(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
