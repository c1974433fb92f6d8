//! One answer to "may this principal do this here, now".
//!
//! Rule: deny by default; a grant counts only in its scope and until it expires.

use super::role::{Action, ResourceType, Role};
use crate::ids::TeamId;
use crate::time::UnixMicros;

/// Where a grant holds, or where something is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The whole installation.
    Instance,
    /// One team.
    Team(TeamId),
}

/// A role given to a principal on a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What was given.
    pub role: Role,
    /// Where it holds.
    pub scope: Scope,
    /// When it ends; `None`: it does not.
    pub expires_at: Option<UnixMicros>,
}

/// The answer, with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Allowed by this role.
    Allowed(Role),
    /// No grant of the principal contains the permission.
    NotGranted,
    /// A grant would contain it, but it has expired.
    Expired(Role),
}

/// Decides whether a holder of `grants` may do `action` to `resource` in `place` at `now`.
///
/// Grants on the instance hold everywhere. Grants on a team hold in that team.
pub fn decide(grants: &[Grant], action: Action, resource: ResourceType, place: &Scope, now: UnixMicros) -> Decision {
    let mut answer = Decision::NotGranted;
    for grant in grants {
        let in_scope = grant.scope == Scope::Instance || grant.scope == *place;
        if !in_scope || !grant.role.contains(action, resource) {
            continue;
        }
        if grant.expires_at.is_none_or(|end| now < end) {
            return Decision::Allowed(grant.role);
        }
        answer = Decision::Expired(grant.role);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(role: Role, scope: Scope, expires_at: Option<i64>) -> Grant {
        Grant { role, scope, expires_at: expires_at.map(UnixMicros::new) }
    }

    #[test]
    fn a_grant_counts_only_in_its_scope_and_until_it_expires() {
        let now = UnixMicros::new(100);
        let blue = Scope::Team(TeamId::from("blue"));
        let red = Scope::Team(TeamId::from("red"));
        let check = |grants: &[Grant], place: &Scope| decide(grants, Action::Proxy, ResourceType::Model, place, now);
        assert_eq!(check(&[], &blue), Decision::NotGranted);
        assert_eq!(check(&[grant(Role::Member, blue.clone(), None)], &blue), Decision::Allowed(Role::Member));
        assert_eq!(check(&[grant(Role::Member, blue.clone(), None)], &red), Decision::NotGranted);
        assert_eq!(check(&[grant(Role::Member, Scope::Instance, Some(101))], &red), Decision::Allowed(Role::Member));
        assert_eq!(check(&[grant(Role::Member, Scope::Instance, Some(100))], &red), Decision::Expired(Role::Member));
    }
}
