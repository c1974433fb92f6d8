//! The business rules of the control plane: authorise, validate, one transaction, one revision.
//!
//! Rule: everything goes through the database, so a command line beside a running gateway and the gateway itself see the
//! same. Nothing outside of this module writes a row of configuration. One file a noun.

pub mod actor;
pub mod budgets;
mod desired;
pub mod doctor;
mod error;
pub mod file;
pub mod forecast;
pub mod keys;
pub mod open;
pub mod requests;
pub mod setup;
pub mod users;
mod validate;

pub use actor::Actor;
pub use budgets::{BudgetState, Said, Span};
pub use desired::check_file;
pub use doctor::Facts;
pub use error::AppError;
pub use file::SyncOutcome;
pub use keys::{KeyOwner, MintedKey, NewKey};
pub use open::OpenError;
pub use setup::{LinkState, SetupLink};

use crate::secrets::Vault;
use helix_shared::time::{Clock, UnixMicros};
use helix_store::{Db, StoreError, Tx};
use std::sync::Arc;
use tokio::sync::Notify;
use uuid::Uuid;

/// The handles of every operation. Cloning shares them.
#[derive(Clone, Debug)]
pub struct App {
    pub(crate) db: Db,
    pub(crate) vault: Vault,
    pub(crate) clock: Arc<dyn Clock>,
    /// Wakes the follower of this process after a commit.
    pub(crate) wake: Arc<Notify>,
    pub(crate) instance_id: Arc<str>,
}

impl App {
    /// Identity of the installation.
    pub fn instance_id(&self) -> &str {
        &self.instance_id
    }

    /// The database.
    pub fn db(&self) -> &Db {
        &self.db
    }

    pub(crate) fn now(&self) -> UnixMicros {
        self.clock.now()
    }

    /// Begins an edit: nobody else changes the configuration until it is committed.
    async fn edit(&self) -> Result<Tx, StoreError> {
        let mut tx = self.db.begin().await?;
        tx.lock_config().await?;
        Ok(tx)
    }

    /// Commits an edit and tells the follower.
    async fn commit(&self, tx: Tx) -> Result<(), StoreError> {
        tx.commit().await?;
        self.wake.notify_one();
        Ok(())
    }
}

/// A new row's id.
fn new_id() -> String {
    Uuid::now_v7().to_string()
}
