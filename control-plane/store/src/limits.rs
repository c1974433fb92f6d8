//! Limits of accounts that changed while their period runs, and what they leave others to give back.
//!
//! Rule: a changed limit is written as an ask would write it, and holds for the next grant; nothing is taken from anybody
//! here. What is granted beyond a lowered limit is counted until its holders give it back.

use crate::accounts::{ACCOUNTS, Account, read_account, select_accounts};
use crate::db::{Db, retrying};
use crate::error::Result;
use helix_shared::budget::AccountKey;
use helix_shared::ids::NodeId;
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;
use sea_query::{Expr, ExprTrait as _};

impl Db {
    /// Lists the accounts that somebody has asked of and whose period is not over.
    ///
    /// # Errors
    /// What the database says.
    pub async fn running_accounts(&self, now: UnixMicros) -> Result<Vec<Account>> {
        let query = select_accounts()
            .and_where(Expr::col("period_end").gt(now.get()))
            .and_where(Expr::col("limit_nano").is_not_null())
            .to_owned();
        let mut tx = self.read().await?;
        let rows = tx.fetch_all(ACCOUNTS, &query).await?;
        tx.rollback().await?;
        rows.iter().map(read_account).collect()
    }

    /// Writes the limit that an account has now.
    ///
    /// # Errors
    /// What the database says.
    pub async fn set_limit(&self, key: &AccountKey, limit: NanoUsd, period_end: UnixMicros) -> Result<Account> {
        retrying!(self.set_limit_once(key, limit, period_end))
    }

    async fn set_limit_once(&self, key: &AccountKey, limit: NanoUsd, period_end: UnixMicros) -> Result<Account> {
        let mut tx = self.begin().await?;
        let account = tx.open_account(key, limit, period_end).await?;
        tx.commit().await?;
        Ok(account)
    }

    /// What nodes that can be reached hold of an account that is granted beyond its limit: the most that can come back now.
    /// Zero for one within its limit.
    ///
    /// # Errors
    /// What the database says.
    pub async fn recallable(&self, key: &AccountKey, now: UnixMicros) -> Result<NanoUsd> {
        let mut tx = self.read().await?;
        let beyond = tx.account(key).await?.map_or(NanoUsd::ZERO, |account| account.available());
        // nobody's own: every node's holdings count
        let (held, _) = tx.held_by_others(key, &NodeId::from(""), now).await?;
        tx.rollback().await?;
        Ok(if beyond < NanoUsd::ZERO { held } else { NanoUsd::ZERO })
    }
}
