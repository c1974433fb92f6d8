//! Follows the change log and keeps the current configuration in memory: woken in-process, polling as the truth.
//!
//! Rule: a reconciler. It compares the database's revision with what it holds and reads what changed, in one consistent
//! read; a missed wake-up costs half a second, never a change. While the database is away the last revision stays.

use super::compiler;
use super::published::{History, Published};
use crate::error::chain;
use crate::secrets::Vault;
use crate::tasks::Tasks;
use helix_shared::snapshot::{Digest, ResourceKey};
use helix_store::{Db, StoreError};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::timeout;

/// Time between two looks at the database when nobody wakes the follower.
const POLL: Duration = Duration::from_millis(500);
/// More changes than this are read anew as a whole.
const MOST_CHANGES: u32 = 20_000;
/// How long a caller waits for a look at the database.
const LOOK: Duration = Duration::from_secs(5);

/// The configuration as it is now, for everyone in this process. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Feed {
    current: watch::Receiver<Arc<Published>>,
    history: Arc<Mutex<History>>,
    looks: mpsc::Sender<oneshot::Sender<bool>>,
    db: Db,
}

/// What a node's push can start from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    /// What the node holds; these keys changed since.
    Changes(BTreeSet<ResourceKey>),
    /// Nothing: send everything.
    Nothing,
}

impl Feed {
    /// The configuration now.
    pub fn current(&self) -> Arc<Published> {
        Arc::clone(&self.current.borrow())
    }

    /// Follows the configuration.
    pub fn watch(&self) -> watch::Receiver<Arc<Published>> {
        self.current.clone()
    }

    /// Looks at the database now. Returns whether what [`Feed::current`] says afterwards is as fresh as this call.
    pub async fn refresh(&self) -> bool {
        let (answer, looked) = oneshot::channel();
        if self.looks.send(answer).await.is_err() {
            return false;
        }
        matches!(timeout(LOOK, looked).await, Ok(Ok(true)))
    }

    /// Says what a node that holds `base` can be sent to reach `target`.
    ///
    /// A base that this process never published is trusted as far as the change log reaches back: the digest at the end
    /// of the push tells whether that was right.
    pub(crate) async fn start(&self, base: u64, digest: Digest, target: u64) -> Start {
        if base == 0 || base >= target {
            return Start::Nothing;
        }
        {
            let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
            if history.digest_at(base).is_some_and(|known| known != digest) {
                return Start::Nothing;
            }
            if let Some(changed) = history.changed_since(base) {
                return Start::Changes(changed);
            }
        }
        match changes(&self.db, base).await {
            Ok(Some(changed)) => Start::Changes(changed),
            Ok(None) => Start::Nothing,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the change log cannot be read; sending everything");
                Start::Nothing
            }
        }
    }
}

async fn changes(db: &Db, since: u64) -> Result<Option<BTreeSet<ResourceKey>>, StoreError> {
    let mut tx = db.read().await?;
    let changes = tx.changes_since(since, MOST_CHANGES).await?;
    tx.rollback().await?;
    Ok(changes.map(|changes| changes.into_iter().map(|change| change.key).collect()))
}

/// The task behind a [`Feed`].
struct Follower {
    db: Db,
    vault: Vault,
    publish: watch::Sender<Arc<Published>>,
    history: Arc<Mutex<History>>,
}

/// Reads the configuration and starts to follow it.
///
/// # Errors
/// What the database says to the first read.
pub(crate) async fn follow(db: Db, vault: Vault, wake: Arc<Notify>, tasks: &Tasks) -> Result<Feed, StoreError> {
    let (publish, current) = watch::channel(Arc::new(Published::default()));
    let history = Arc::new(Mutex::new(History::default()));
    let (looks, asked) = mpsc::channel(64);
    let feed = Feed { current, history: Arc::clone(&history), looks, db: db.clone() };
    let mut follower = Follower { db, vault, publish, history };
    follower.look(true).await?;
    tasks.spawn("follower", async move { follower.run(&wake, asked).await });
    Ok(feed)
}

impl Follower {
    async fn run(&mut self, wake: &Notify, mut asked: mpsc::Receiver<oneshot::Sender<bool>>) {
        let mut is_failing = false;
        loop {
            let mut askers = Vec::new();
            tokio::select! {
                asker = asked.recv() => match asker {
                    Some(asker) => askers.push(asker),
                    None => return,
                },
                () = wake.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            }
            while let Ok(asker) = asked.try_recv() {
                askers.push(asker);
            }
            let outcome = self.look(false).await;
            if let Err(error) = &outcome
                && !is_failing
            {
                tracing::error!(error = %chain(error), "the configuration cannot be followed; the last one stays in force");
            }
            if outcome.is_ok() && is_failing {
                tracing::info!("the configuration is followed again");
            }
            is_failing = outcome.is_err();
            for asker in askers {
                // who asked may have given up
                asker.send(outcome.is_ok()).ok();
            }
        }
    }

    /// Publishes the database's revision unless it is the one that is held.
    async fn look(&mut self, is_first: bool) -> Result<(), StoreError> {
        let held = Arc::clone(&self.publish.borrow());
        let mut tx = self.db.read().await?;
        let head = tx.head_revision().await?;
        if head == held.revision() && !is_first {
            return tx.rollback().await;
        }
        let changes = if is_first { None } else { tx.changes_since(held.revision(), MOST_CHANGES).await? };
        let (set, changed) = match changes {
            Some(changes) => {
                let changed: BTreeSet<ResourceKey> = changes.into_iter().map(|change| change.key).collect();
                let mut set = held.set().clone();
                for key in &changed {
                    match compiler::load(&mut tx, &self.vault, key).await? {
                        Some(body) => set.upsert(key.id.clone(), compiler::content_hash(&key.id, &body), body),
                        None => set.remove(key),
                    }
                }
                (set, Some(changed))
            }
            None => (compiler::load_all(&mut tx, &self.vault).await?, None),
        };
        tx.rollback().await?;
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        match changed {
            Some(changed) => history.push(head, set.digest(), changed),
            None => history.restart(head, set.digest()),
        }
        drop(history);
        tracing::info!(revision = head, resources = set.len(), "configuration revision {head} is published");
        self.publish.send_replace(Arc::new(Published::new(head, set)));
        Ok(())
    }
}
