//! Opening an instance: its database, its master key, its identity.
//!
//! Rule: a database belongs to one master key; another one is refused before anything is written with it. Safe to do from
//! several processes at once.

use super::{App, new_id};
use crate::publish::compiler::{SETTINGS_ID, setting};
use crate::secrets::{MasterKeyError, Vault, load_master_key};
use crate::settings::Settings;
use helix_shared::snapshot::ResourceKind;
use helix_shared::time::Clock;
use helix_store::{ChangeOp, Db, Managed, Setting, StoreError};
use std::path::PathBuf;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use tokio::sync::Notify;

/// How far back the change log reaches: a node that was away for longer is sent everything.
const KEPT_REVISIONS: u64 = 100_000;

/// Why an instance cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL is not text.
    #[error("storage.url is not text")]
    DatabaseUrl,
    /// The database.
    #[error("the database cannot be opened")]
    Store(#[from] StoreError),
    /// The master key.
    #[error("there is no master key")]
    MasterKey(#[from] MasterKeyError),
    /// The key does not belong to the database.
    #[error(
        "this master key is not the one that the database {database} was set up with: restore the right key ({}), or point storage.url at another database", hint(.data_dir)
    )]
    WrongMasterKey {
        /// The database, without a password.
        database: String,
        /// Where the key would be looked for.
        data_dir: PathBuf,
    },
}

fn hint(data_dir: &std::path::Path) -> String {
    format!("secrets.master_key, or the file {}", data_dir.join("master.key").display())
}

impl App {
    /// Opens an instance, migrating its database and making its master key and identity on the first start.
    ///
    /// # Errors
    /// [`OpenError`] says what to do.
    pub async fn open(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let url = settings.database_url.expose_str().ok_or(OpenError::DatabaseUrl)?;
        let db = Db::connect(url).await?;
        db.migrate(clock.now()).await?;
        let vault = Vault::new(&load_master_key(&settings.master_key, &settings.data_dir)?);
        let now = clock.now();
        let mut tx = db.begin().await?;
        tx.lock_config().await?;
        let keep =
            |id: &str, value: String| Setting { id: id.to_owned(), value, managed: Managed::Db, updated_at: now };
        let check = tx.setting_or_insert(&keep(setting::MASTER_KEY_CHECK, vault.check_value())).await?;
        if !bool::from(check.value.as_bytes().ct_eq(vault.check_value().as_bytes())) {
            let database = db.address().to_owned();
            return Err(OpenError::WrongMasterKey { database, data_dir: settings.data_dir.clone() });
        }
        let is_new = tx.get::<Setting>(setting::INSTANCE_ID).await?.is_none();
        let instance = tx.setting_or_insert(&keep(setting::INSTANCE_ID, new_id())).await?;
        if is_new {
            tx.bump(&[(ResourceKind::Settings, SETTINGS_ID, ChangeOp::Upsert)], now).await?;
        }
        let head = tx.head_revision().await?;
        tx.prune_config_log(head.saturating_sub(KEPT_REVISIONS)).await?;
        tx.commit().await?;
        Ok(Self { db, vault, clock, wake: Arc::new(Notify::new()), instance_id: instance.value.into() })
    }

    /// Closes the connections to the database.
    pub async fn close(&self) {
        self.db.close().await;
    }
}
