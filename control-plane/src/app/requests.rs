//! Records of requests, for people: one request's trace, and the proof that the books agree.
//!
//! Rule: read-only. Records are made by nodes and never edited.

use super::actor::authorize;
use super::error::AppError;
use super::{Actor, App};
use helix_shared::rbac::{Action, ResourceType, Scope};
use helix_shared::record::Record;
use helix_store::LedgerReport;

impl App {
    /// Finds the newest record of a request; `None` when it has not arrived.
    ///
    /// # Errors
    /// [`AppError::Forbidden`]; what the database says.
    pub async fn request_trace(&self, actor: &Actor, request_id: &str) -> Result<Option<Record>, AppError> {
        authorize(actor, Action::Read, ResourceType::Request, &Scope::Instance, self.now())?;
        let mut tx = self.db.read().await?;
        let record = tx.request_by_id(request_id).await?;
        tx.rollback().await?;
        Ok(record)
    }

    /// Proves that every record, sum and account agrees, in one consistent read. Offline or beside a running gateway.
    ///
    /// # Errors
    /// [`AppError::Forbidden`]; what the database says. Books that do not agree are the report's content, no error.
    pub async fn verify_ledger(&self, actor: &Actor) -> Result<LedgerReport, AppError> {
        authorize(actor, Action::Read, ResourceType::Request, &Scope::Instance, self.now())?;
        Ok(self.db.verify_ledger().await?)
    }
}
