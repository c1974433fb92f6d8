//! One-time links: the first administrator, and a key for a person whom an operator made.
//!
//! Rule: the token is in the link only, its hash in the database. Of many who use a link at once, one succeeds; the
//! first administrator is made only while there is none.

use super::App;
use super::error::AppError;
use super::keys::MintedKey;
use super::users::{NewUser, bump, insert_grant, insert_user};
use super::validate::{clean_email, clean_name};
use crate::secrets::random_token;
use helix_shared::rbac::Role;
use helix_shared::snapshot::ResourceKind;
use helix_shared::time::UnixMicros;
use helix_store::{self as store, ChangeOp, SetupToken, Tx};
use std::time::Duration;

const SETUP: &str = "setup";
const SIGN_IN: &str = "sign_in";
/// How long an ended link is remembered: 30 days.
const KEPT_US: i64 = 30 * 24 * 3_600 * 1_000_000;

/// A link as it was made. The only place its token ever is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupLink {
    /// What the link's page is asked with.
    pub token: String,
    /// When it ends.
    pub expires_at: UnixMicros,
}

impl SetupLink {
    /// The address to open.
    pub fn url(&self, public_url: &str) -> String {
        format!("{}/setup?token={}", public_url.trim_end_matches('/'), self.token)
    }
}

/// What a link would do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// Make the first administrator.
    FirstAdmin,
    /// Give this person a key.
    ForUser {
        /// The person's address.
        email: String,
        /// The person's name.
        name: String,
    },
    /// It was used, its time is over, or the instance has an administrator meanwhile.
    Spent,
    /// Nobody made it.
    Unknown,
}

impl App {
    /// Makes the link of the first run. `None` when the instance has an administrator already.
    ///
    /// # Errors
    /// What the database says.
    pub async fn create_setup_link(&self, ttl: Duration) -> Result<Option<SetupLink>, AppError> {
        if self.has_admin().await? {
            return Ok(None);
        }
        self.create_link(SETUP, None, ttl).await.map(Some)
    }

    /// Makes a link that gives a person one key.
    ///
    /// # Errors
    /// What the database says.
    pub async fn create_sign_in_link(&self, user: &store::User, ttl: Duration) -> Result<SetupLink, AppError> {
        self.create_link(SIGN_IN, Some(user.id.clone()), ttl).await
    }

    /// Says what a link would do, without using it.
    ///
    /// # Errors
    /// What the database says.
    pub async fn link_state(&self, token: &str) -> Result<LinkState, AppError> {
        let now = self.now();
        let mut tx = self.db.read().await?;
        let link = tx.get::<SetupToken>(&self.link_hash(token)).await?;
        let state = match link {
            None => LinkState::Unknown,
            Some(link) if link.used_at.is_some() || link.expires_at <= now => LinkState::Spent,
            Some(link) => match link.user_id {
                Some(user_id) => match tx.get::<store::User>(&user_id).await? {
                    Some(user) => LinkState::ForUser { email: user.email, name: user.name },
                    None => LinkState::Spent,
                },
                None if tx.has_admin(now).await? => LinkState::Spent,
                None => LinkState::FirstAdmin,
            },
        };
        tx.rollback().await?;
        Ok(state)
    }

    /// Uses a link. The first run's makes the administrator of this address; a person's own gives that person a key,
    /// whatever is typed. The key's secret is in the answer only.
    ///
    /// # Errors
    /// [`AppError::UnknownLink`]; [`AppError::SpentLink`]; [`AppError::Invalid`] and [`AppError::Exists`] leave the link
    /// as it was.
    pub async fn claim_setup(
        &self,
        token: &str,
        email: &str,
        name: &str,
    ) -> Result<(store::User, MintedKey), AppError> {
        let now = self.now();
        let hash = self.link_hash(token);
        let mut tx = self.edit().await?;
        let link = match tx.consume_setup_token(&hash, now).await? {
            Some(link) => link,
            None if tx.get::<SetupToken>(&hash).await?.is_some() => return Err(AppError::SpentLink),
            None => return Err(AppError::UnknownLink),
        };
        let (user, mut edits) = match link.user_id {
            Some(user_id) => (tx.get::<store::User>(&user_id).await?.ok_or(AppError::SpentLink)?, Vec::new()),
            None => first_admin(&mut tx, email, name, now).await?,
        };
        let key = self.mint(&mut tx, "p", "first key".to_owned(), (Some(user.id.clone()), None), None).await?;
        edits.push((ResourceKind::ApiKey, key.row.id.clone(), ChangeOp::Upsert));
        bump(&mut tx, &edits, now).await?;
        self.commit(tx).await?;
        Ok((user, key))
    }

    async fn create_link(&self, purpose: &str, user_id: Option<String>, ttl: Duration) -> Result<SetupLink, AppError> {
        let now = self.now();
        let token = random_token()?;
        let expires_at = now.plus(ttl);
        let mut tx = self.db.begin().await?;
        // ended ones stay for a while, so that their holders are told that they ended
        tx.prune_setup_tokens(UnixMicros::new(now.get().saturating_sub(KEPT_US))).await?;
        tx.insert(&SetupToken {
            hash: self.link_hash(&token),
            purpose: purpose.to_owned(),
            user_id,
            created_at: now,
            expires_at,
            used_at: None,
        })
        .await?;
        tx.commit().await?;
        Ok(SetupLink { token, expires_at })
    }

    fn link_hash(&self, token: &str) -> String {
        store::to_hex(&self.vault.hash_link_token(token))
    }
}

async fn first_admin(
    tx: &mut Tx,
    email: &str,
    name: &str,
    now: UnixMicros,
) -> Result<(store::User, Vec<super::users::Edit>), AppError> {
    if tx.has_admin(now).await? {
        return Err(AppError::SpentLink);
    }
    let (email, name) = (clean_email(email)?, clean_name(name)?);
    if let Some(user) = tx.user_by_email(&email).await? {
        let grant = insert_grant(tx, &user.id, Role::InstanceAdmin, now).await?;
        return Ok((user, vec![grant]));
    }
    insert_user(tx, &NewUser { email, name, role: Role::InstanceAdmin }, now).await
}
