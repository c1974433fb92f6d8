//! People: made by an operator, by the first-run page, or by the file.
//!
//! Rule: an address is one person, whoever made the row. Making an administrator of somebody who exists only adds the
//! role.

use super::actor::authorize;
use super::error::AppError;
use super::validate::{clean_email, clean_name};
use super::{Actor, App, new_id};
use helix_shared::rbac::{Action, ResourceType, Role, Scope};
use helix_shared::snapshot::ResourceKind;
use helix_shared::time::UnixMicros;
use helix_store::{self as store, ChangeOp, Managed, Tx};

/// A person to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// Address.
    pub email: String,
    /// Name for people; may be empty.
    pub name: String,
    /// Role in the whole instance.
    pub role: Role,
}

impl App {
    /// Makes a person with a role in the whole instance.
    ///
    /// # Errors
    /// [`AppError::Exists`] when the address is taken; [`AppError::Invalid`]; [`AppError::Forbidden`].
    pub async fn create_user(&self, actor: &Actor, new: &NewUser) -> Result<store::User, AppError> {
        let now = self.now();
        authorize(actor, Action::Create, ResourceType::User, &Scope::Instance, now)?;
        let mut tx = self.edit().await?;
        let (user, changes) = insert_user(&mut tx, new, now).await?;
        bump(&mut tx, &changes, now).await?;
        self.commit(tx).await?;
        Ok(user)
    }

    /// Makes a person, or gives the role to the person of that address. For the first administrator and for emergencies.
    ///
    /// # Errors
    /// [`AppError::Invalid`]; [`AppError::Forbidden`].
    pub async fn create_admin(&self, actor: &Actor, new: &NewUser) -> Result<store::User, AppError> {
        let now = self.now();
        authorize(actor, Action::Create, ResourceType::User, &Scope::Instance, now)?;
        let email = clean_email(&new.email)?;
        let mut tx = self.edit().await?;
        let Some(user) = tx.user_by_email(&email).await? else {
            let (user, changes) = insert_user(&mut tx, new, now).await?;
            bump(&mut tx, &changes, now).await?;
            self.commit(tx).await?;
            return Ok(user);
        };
        let grants = tx.role_grants_of(&user.id).await?;
        let lasts = |end: Option<UnixMicros>| end.is_none_or(|end| now < end);
        let has_it = grants
            .iter()
            .any(|grant| grant.role == new.role.as_str() && grant.team_id.is_none() && lasts(grant.expires_at));
        if has_it {
            tx.rollback().await?;
            return Ok(user);
        }
        let grant = insert_grant(&mut tx, &user.id, new.role, now).await?;
        bump(&mut tx, &[grant], now).await?;
        self.commit(tx).await?;
        Ok(user)
    }

    /// Whether somebody administers the instance.
    ///
    /// # Errors
    /// What the database says.
    pub async fn has_admin(&self) -> Result<bool, AppError> {
        let mut tx = self.db.read().await?;
        let answer = tx.has_admin(self.now()).await?;
        tx.rollback().await?;
        Ok(answer)
    }

    /// The administrator of the instance whose role was given first; `None` when nobody administers it.
    ///
    /// # Errors
    /// [`AppError::Forbidden`]; what the database says.
    pub async fn first_admin(&self, actor: &Actor) -> Result<Option<store::User>, AppError> {
        let now = self.now();
        authorize(actor, Action::Read, ResourceType::User, &Scope::Instance, now)?;
        let mut tx = self.db.read().await?;
        let mut grants = tx.list::<store::RoleGrant>().await?;
        grants.retain(|grant| grant.role == Role::InstanceAdmin.as_str() && grant.team_id.is_none());
        grants.retain(|grant| grant.expires_at.is_none_or(|end| now < end));
        grants.sort_by(|one, other| (one.updated_at, &one.id).cmp(&(other.updated_at, &other.id)));
        let mut first = None;
        for grant in grants {
            first = tx.get::<store::User>(&grant.user_id).await?.filter(|user| !user.disabled);
            if first.is_some() {
                break;
            }
        }
        tx.rollback().await?;
        Ok(first)
    }

    /// Finds a person by address; `None` when there is none.
    ///
    /// # Errors
    /// What the database says; [`AppError::Invalid`] for what is no address.
    pub async fn user_by_email(&self, email: &str) -> Result<Option<store::User>, AppError> {
        let email = clean_email(email)?;
        let mut tx = self.db.read().await?;
        let user = tx.user_by_email(&email).await?;
        tx.rollback().await?;
        Ok(user)
    }

    /// Lists every person.
    ///
    /// # Errors
    /// [`AppError::Forbidden`]; what the database says.
    pub async fn list_users(&self, actor: &Actor) -> Result<Vec<store::User>, AppError> {
        authorize(actor, Action::Read, ResourceType::User, &Scope::Instance, self.now())?;
        let mut tx = self.db.read().await?;
        let users = tx.list::<store::User>().await?;
        tx.rollback().await?;
        Ok(users)
    }
}

/// A change on its way to the change log.
pub(super) type Edit = (ResourceKind, String, ChangeOp);

pub(super) async fn bump(tx: &mut Tx, edits: &[Edit], now: UnixMicros) -> Result<u64, AppError> {
    let changes: Vec<_> = edits.iter().map(|(kind, id, op)| (*kind, id.as_str(), *op)).collect();
    Ok(tx.bump(&changes, now).await?)
}

pub(super) async fn insert_user(
    tx: &mut Tx,
    new: &NewUser,
    now: UnixMicros,
) -> Result<(store::User, Vec<Edit>), AppError> {
    let (email, name) = (clean_email(&new.email)?, clean_name(&new.name)?);
    if tx.user_by_email(&email).await?.is_some() {
        return Err(AppError::Exists { what: format!("a user with the address {email}") });
    }
    let user = store::User { id: new_id(), email, name, disabled: false, managed: Managed::Db, updated_at: now };
    tx.insert(&user).await?;
    let grant = insert_grant(tx, &user.id, new.role, now).await?;
    let edits = vec![(ResourceKind::User, user.id.clone(), ChangeOp::Upsert), grant];
    Ok((user, edits))
}

pub(super) async fn insert_grant(tx: &mut Tx, user_id: &str, role: Role, now: UnixMicros) -> Result<Edit, AppError> {
    let grant = store::RoleGrant {
        id: new_id(),
        user_id: user_id.to_owned(),
        role: role.as_str().to_owned(),
        team_id: None,
        expires_at: None,
        managed: Managed::Db,
        updated_at: now,
    };
    tx.insert(&grant).await?;
    Ok((ResourceKind::RoleGrant, grant.id, ChangeOp::Upsert))
}
