//! Virtual API keys: made, listed, rotated, revoked.
//!
//! Rule: the secret is returned by the call that makes it and kept nowhere; the database has its keyed hash, its first
//! characters and its last four. A revoked key stays as a row, so that records keep their meaning.

use super::actor::authorize;
use super::budget_edits::{BudgetTerms, follow_key, insert_for_key};
use super::desired::face;
use super::error::AppError;
use super::users::bump;
use super::validate::{clean_email, clean_name};
use super::{Actor, App, new_id};
use crate::secrets::random_token;
use helix_shared::ids::TeamId;
use helix_shared::rbac::{Action, ResourceType, Scope};
use helix_shared::secret::Secret;
use helix_shared::snapshot::ResourceKind;
use helix_shared::time::UnixMicros;
use helix_store::{self as store, ChangeOp, Managed, Tx};
use std::time::Duration;

/// Who a key acts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyOwner {
    /// A person, by address.
    User(String),
    /// A team, by id or name.
    Team(String),
    /// A service of a team, by the team's id or name.
    Service(String),
}

/// A key to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Who it acts for.
    pub owner: KeyOwner,
    /// Name for people.
    pub name: String,
    /// End of its lifetime.
    pub expires_at: Option<UnixMicros>,
}

/// A key as it was made. The only place its secret ever is.
#[derive(Debug, Clone)]
pub struct MintedKey {
    /// What is kept of it.
    pub row: store::ApiKey,
    /// What callers present.
    pub secret: Secret,
}

/// The name of keys that the command line makes for one request.
const SHORT_LIVED: &str = "helixgateway test";

/// The letter in a key's text, and the word in its row.
const KINDS: [(&str, &str); 3] = [("p", "personal"), ("t", "team"), ("s", "service")];

/// The word for a kind's letter.
pub(super) fn kind_name(letter: &str) -> &'static str {
    KINDS.iter().find(|(known, _)| *known == letter).map_or("personal", |(_, name)| name)
}

fn kind_letter(name: &str) -> &'static str {
    KINDS.iter().find(|(_, known)| *known == name).map_or("p", |(letter, _)| letter)
}

impl App {
    /// Makes a key; its secret is in the answer only.
    ///
    /// # Errors
    /// [`AppError::NotFound`] for an unknown owner; [`AppError::Invalid`]; [`AppError::Forbidden`].
    pub async fn create_key(&self, actor: &Actor, new: &NewKey) -> Result<MintedKey, AppError> {
        self.create_key_with_budget(actor, new, None).await
    }

    /// Makes a key and, in the same step, a budget of its own: there is no moment in which it has none.
    ///
    /// # Errors
    /// As [`App::create_key`]; [`AppError::Invalid`] for terms that cannot hold.
    pub async fn create_key_with_budget(
        &self,
        actor: &Actor,
        new: &NewKey,
        budget: Option<&BudgetTerms>,
    ) -> Result<MintedKey, AppError> {
        let now = self.now();
        if new.expires_at.is_some_and(|end| end <= now) {
            return Err(AppError::invalid("the end of the key's lifetime", "it is in the past"));
        }
        let name = clean_name(&new.name)?;
        if name.is_empty() {
            return Err(AppError::invalid("the key's name", "it is missing"));
        }
        let mut tx = self.edit().await?;
        let (user_id, team_id) = owner(&mut tx, &new.owner).await?;
        let letter = match new.owner {
            KeyOwner::User(_) => "p",
            KeyOwner::Team(_) => "t",
            KeyOwner::Service(_) => "s",
        };
        authorize_key(actor, Action::Create, (user_id.as_deref(), team_id.as_deref()), now)?;
        let minted = self.mint(&mut tx, letter, name, (user_id, team_id), new.expires_at).await?;
        let mut edits = vec![(ResourceKind::ApiKey, minted.row.id.clone(), ChangeOp::Upsert)];
        if let Some(terms) = budget {
            edits.push(insert_for_key(&mut tx, actor, &minted.row, terms, now).await?);
        }
        bump(&mut tx, &edits, now).await?;
        self.commit(tx).await?;
        Ok(minted)
    }

    /// Makes a key of a person that ends by itself, for one governed request from the command line. Such keys that have
    /// ended are removed: they would only pile up.
    ///
    /// # Errors
    /// [`AppError::NotFound`] for an unknown address.
    pub async fn mint_short_lived_key(&self, email: &str, ttl: Duration) -> Result<MintedKey, AppError> {
        let now = self.now();
        let mut tx = self.edit().await?;
        let (user_id, team_id) = owner(&mut tx, &KeyOwner::User(email.to_owned())).await?;
        let mut edits = Vec::new();
        for old in tx.api_keys_of_user(user_id.as_deref().unwrap_or_default()).await? {
            let has_ended = old.expires_at.is_some_and(|end| end <= now);
            if old.managed == Managed::Db && old.name == SHORT_LIVED && has_ended {
                tx.delete::<store::ApiKey>(&old.id).await?;
                edits.push((ResourceKind::ApiKey, old.id, ChangeOp::Remove));
            }
        }
        let minted = self.mint(&mut tx, "p", SHORT_LIVED.to_owned(), (user_id, team_id), Some(now.plus(ttl))).await?;
        edits.push((ResourceKind::ApiKey, minted.row.id.clone(), ChangeOp::Upsert));
        bump(&mut tx, &edits, now).await?;
        self.commit(tx).await?;
        Ok(minted)
    }

    /// Lists every key, of one owner if given.
    ///
    /// # Errors
    /// [`AppError::NotFound`] for an unknown owner; [`AppError::Forbidden`].
    pub async fn list_keys(&self, actor: &Actor, of: Option<&KeyOwner>) -> Result<Vec<store::ApiKey>, AppError> {
        let now = self.now();
        let mut tx = self.db.read().await?;
        let keys = match of {
            None => {
                authorize(actor, Action::Read, ResourceType::ApiKey, &Scope::Instance, now)?;
                tx.list::<store::ApiKey>().await?
            }
            Some(of) => {
                let (user_id, team_id) = owner(&mut tx, of).await?;
                authorize_key(actor, Action::Read, (user_id.as_deref(), team_id.as_deref()), now)?;
                match (user_id, team_id) {
                    (Some(user_id), _) => tx.api_keys_of_user(&user_id).await?,
                    (None, Some(team_id)) => tx.api_keys_of_team(&team_id).await?,
                    (None, None) => Vec::new(),
                }
            }
        };
        tx.rollback().await?;
        Ok(keys)
    }

    /// Takes a key back, by its id. A key that was taken back already stays as it is.
    ///
    /// # Errors
    /// [`AppError::NotFound`]; [`AppError::LockedByConfig`]; [`AppError::Forbidden`].
    pub async fn revoke_key(&self, actor: &Actor, id: &str) -> Result<store::ApiKey, AppError> {
        let now = self.now();
        let mut tx = self.edit().await?;
        let mut row = editable_key(&mut tx, actor, Action::Delete, id, now).await?;
        if row.revoked_at.is_some() {
            tx.rollback().await?;
            return Ok(row);
        }
        row.revoked_at = Some(now);
        row.updated_at = now;
        tx.put(&row).await?;
        bump(&mut tx, &[(ResourceKind::ApiKey, row.id.clone(), ChangeOp::Upsert)], now).await?;
        self.commit(tx).await?;
        Ok(row)
    }

    /// Makes a new key like this one and takes this one back, in one step. Its budgets limit the new one from then on.
    ///
    /// # Errors
    /// [`AppError::NotFound`]; [`AppError::Invalid`] for a revoked or ended key; [`AppError::LockedByConfig`];
    /// [`AppError::Forbidden`].
    pub async fn rotate_key(&self, actor: &Actor, id: &str) -> Result<MintedKey, AppError> {
        let now = self.now();
        let mut tx = self.edit().await?;
        let mut old = editable_key(&mut tx, actor, Action::Update, id, now).await?;
        if old.revoked_at.is_some() || old.expires_at.is_some_and(|end| end <= now) {
            return Err(AppError::invalid(format!("key `{}`", old.name), "it is revoked or has ended; make a new one"));
        }
        old.revoked_at = Some(now);
        old.updated_at = now;
        tx.put(&old).await?;
        let owner = (old.user_id.clone(), old.team_id.clone());
        let minted = self.mint(&mut tx, kind_letter(&old.kind), old.name.clone(), owner, old.expires_at).await?;
        let mut edits = follow_key(&mut tx, &old.id, &minted.row.id, now).await?;
        edits.push((ResourceKind::ApiKey, old.id, ChangeOp::Upsert));
        edits.push((ResourceKind::ApiKey, minted.row.id.clone(), ChangeOp::Upsert));
        bump(&mut tx, &edits, now).await?;
        self.commit(tx).await?;
        Ok(minted)
    }

    pub(super) async fn mint(
        &self,
        tx: &mut Tx,
        letter: &'static str,
        name: String,
        (user_id, team_id): (Option<String>, Option<String>),
        expires_at: Option<UnixMicros>,
    ) -> Result<MintedKey, AppError> {
        let now = self.now();
        let text = format!("hx_{letter}_{}", random_token()?);
        let face = face(&text, letter);
        let secret = Secret::new(text);
        let row = store::ApiKey {
            id: new_id(),
            name,
            hash: store::to_hex(&self.vault.hash_api_key(&secret)),
            prefix: face.prefix,
            last_four: face.last_four,
            kind: kind_name(letter).to_owned(),
            user_id,
            team_id,
            expires_at,
            revoked_at: None,
            created_at: now,
            managed: Managed::Db,
            updated_at: now,
        };
        tx.insert(&row).await?;
        Ok(MintedKey { row, secret })
    }
}

async fn owner(tx: &mut Tx, owner: &KeyOwner) -> Result<(Option<String>, Option<String>), AppError> {
    match owner {
        KeyOwner::User(email) => {
            let email = clean_email(email)?;
            let user = tx.user_by_email(&email).await?;
            let user = user.ok_or_else(|| AppError::not_found(format!("user {email}")))?;
            Ok((Some(user.id), None))
        }
        KeyOwner::Team(name) | KeyOwner::Service(name) => Ok((None, Some(team_id(tx, name).await?))),
    }
}

pub(super) async fn team_id(tx: &mut Tx, name: &str) -> Result<String, AppError> {
    if let Some(team) = tx.get::<store::Team>(name).await? {
        return Ok(team.id);
    }
    let named: Vec<_> = tx.list::<store::Team>().await?.into_iter().filter(|team| team.name == name).collect();
    match named.as_slice() {
        [team] => Ok(team.id.clone()),
        [] => Err(AppError::not_found(format!("team `{name}`"))),
        _ => Err(AppError::invalid(format!("team `{name}`"), "several teams have this name; give the id")),
    }
}

/// People may handle their own keys; others' take a role.
fn authorize_key(
    actor: &Actor,
    action: Action,
    (user_id, team_id): (Option<&str>, Option<&str>),
    now: UnixMicros,
) -> Result<(), AppError> {
    if let (Actor::Person { user_id: own, .. }, Some(user_id)) = (actor, user_id)
        && own.as_str() == user_id
    {
        return Ok(());
    }
    let place = team_id.map_or(Scope::Instance, |team| Scope::Team(TeamId::from(team)));
    authorize(actor, action, ResourceType::ApiKey, &place, now)
}

async fn editable_key(
    tx: &mut Tx,
    actor: &Actor,
    action: Action,
    id: &str,
    now: UnixMicros,
) -> Result<store::ApiKey, AppError> {
    let row = tx.get::<store::ApiKey>(id).await?.ok_or_else(|| AppError::not_found(format!("key with id {id}")))?;
    authorize_key(actor, action, (row.user_id.as_deref(), row.team_id.as_deref()), now)?;
    if row.managed == Managed::File {
        return Err(AppError::LockedByConfig { what: format!("key `{}`", row.name) });
    }
    Ok(row)
}
