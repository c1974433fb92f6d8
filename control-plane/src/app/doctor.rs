//! Facts for the doctor command: is the database there, is its schema ours, who is connected.
//!
//! Rule: facts, not advice; the command line judges them. It changes nothing.

use super::App;
use super::error::AppError;
use helix_store::{Dialect, Node, SchemaStep};

/// The state of the control plane's own parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Which database.
    pub database: Dialect,
    /// Where it is, without a password.
    pub address: String,
    /// The steps of its schema.
    pub schema: Vec<SchemaStep>,
    /// The configuration's revision.
    pub head_revision: u64,
    /// Whether somebody administers the instance.
    pub has_admin: bool,
    /// The data planes as last seen.
    pub nodes: Vec<Node>,
}

impl App {
    /// Gathers the facts.
    ///
    /// # Errors
    /// What the database says.
    pub async fn facts(&self) -> Result<Facts, AppError> {
        let schema = self.db.schema_steps().await?;
        let mut tx = self.db.read().await?;
        let head_revision = tx.head_revision().await?;
        let has_admin = tx.has_admin(self.now()).await?;
        let nodes = tx.list::<Node>().await?;
        tx.rollback().await?;
        let (database, address) = (self.db.dialect(), self.db.address().to_owned());
        Ok(Facts { database, address, schema, head_revision, has_admin, nodes })
    }
}
