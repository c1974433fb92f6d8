//! Opening an instance: its database, its master key, its identity.
//!
//! Rule: a database belongs to one master key; another one is refused before anything is written with it. Safe to do from
//! several processes at once. Who only looks or edits makes nothing: no file, no schema, no key.

use super::{App, new_id};
use crate::publish::compiler::{SETTINGS_ID, setting};
use crate::secrets::{MasterKeyError, Vault, load_master_key, read_master_key};
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
        Self::begin(db, settings, clock).await
    }

    /// Opens an instance that is there, beside a gateway that may be running: its database must exist and be at this
    /// release's schema. Nothing is made, but for the identity of a database that was migrated and never opened.
    ///
    /// # Errors
    /// [`OpenError`] says what to do.
    pub async fn open_existing(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let url = settings.database_url.expose_str().ok_or(OpenError::DatabaseUrl)?;
        let db = Db::connect_existing(url).await?;
        db.check_schema().await?;
        let mut tx = db.read().await?;
        let check = tx.get::<Setting>(setting::MASTER_KEY_CHECK).await?;
        let instance = tx.get::<Setting>(setting::INSTANCE_ID).await?;
        tx.rollback().await?;
        let (Some(check), Some(instance)) = (check, instance) else { return Self::begin(db, settings, clock).await };
        let vault = Vault::new(&read_master_key(&settings.master_key, &settings.data_dir)?);
        belongs(&check, &vault, &db, settings)?;
        Ok(Self { db, vault, clock, wake: Arc::new(Notify::new()), instance_id: instance.value.into() })
    }

    /// Makes what an instance has from its first start on, where it is not there yet.
    async fn begin(db: Db, settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let vault = Vault::new(&load_master_key(&settings.master_key, &settings.data_dir)?);
        let now = clock.now();
        let mut tx = db.begin().await?;
        tx.lock_config().await?;
        let keep =
            |id: &str, value: String| Setting { id: id.to_owned(), value, managed: Managed::Db, updated_at: now };
        let check = tx.setting_or_insert(&keep(setting::MASTER_KEY_CHECK, vault.check_value())).await?;
        belongs(&check, &vault, &db, settings)?;
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

/// Refuses a master key that is not the database's.
fn belongs(check: &Setting, vault: &Vault, db: &Db, settings: &Settings) -> Result<(), OpenError> {
    if check.value.as_bytes().ct_eq(vault.check_value().as_bytes()).into() {
        return Ok(());
    }
    Err(OpenError::WrongMasterKey { database: db.address().to_owned(), data_dir: settings.data_dir.clone() })
}
