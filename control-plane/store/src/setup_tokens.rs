//! One-time links: each works once, until it ends, by its hash.
//!
//! Rule: using one is a compare-and-set; of many who try at once, one succeeds. The token itself is never here.

use crate::db::Tx;
use crate::error::Result;
use crate::table::{Table as _, table};
use helix_shared::time::UnixMicros;
use sea_query::{Expr, ExprTrait as _, Query};

table! {
    "setup_tokens";
    /// A one-time link.
    pub struct SetupToken {
        /// Hash of the token, hexadecimal.
        pub hash: String,
        /// What it allows: `setup` or `sign_in`.
        pub purpose: String,
        /// Whom it signs in, when known.
        pub user_id: Option<String>,
        /// When it was made.
        pub created_at: UnixMicros,
        /// When it ends.
        pub expires_at: UnixMicros,
        /// When it was used.
        pub used_at: Option<UnixMicros>,
    }
}

impl Tx {
    /// Uses a token; `None` when it does not exist, has ended or was used before.
    ///
    /// # Errors
    /// What the database says.
    pub async fn consume_setup_token(&mut self, hash: &str, now: UnixMicros) -> Result<Option<SetupToken>> {
        let set = Query::update()
            .table(SetupToken::NAME)
            .value("used_at", now.get())
            .and_where(Expr::col("hash").eq(hash))
            .and_where(Expr::col("used_at").is_null())
            .and_where(Expr::col("expires_at").gt(now.get()))
            .to_owned();
        if self.execute(SetupToken::NAME, &set).await? == 0 {
            return Ok(None);
        }
        self.get(hash).await
    }

    /// Deletes the tokens that have ended; returns how many.
    ///
    /// # Errors
    /// What the database says.
    pub async fn prune_setup_tokens(&mut self, now: UnixMicros) -> Result<u64> {
        let delete =
            Query::delete().from_table(SetupToken::NAME).and_where(Expr::col("expires_at").lte(now.get())).to_owned();
        self.execute(SetupToken::NAME, &delete).await
    }
}
