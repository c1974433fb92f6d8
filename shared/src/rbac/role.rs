//! The five roles and what each contains.
//!
//! Rule: this table is the only place that knows; `decide` adds scope and expiry.

/// What someone wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Make a new one.
    Create,
    /// Look at it.
    Read,
    /// Change it.
    Update,
    /// Remove it.
    Delete,
    /// Send requests through it (models).
    Proxy,
    /// Act as another person.
    Impersonate,
}

/// What it is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceType {
    /// A person.
    User,
    /// A team and its memberships.
    Team,
    /// An API key.
    ApiKey,
    /// A provider account.
    Provider,
    /// A model and its route.
    Model,
    /// A price.
    Price,
    /// A budget.
    Budget,
    /// A content policy.
    Policy,
    /// A request's record.
    Request,
    /// An instance setting.
    Setting,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 6] = [Self::Create, Self::Read, Self::Update, Self::Delete, Self::Proxy, Self::Impersonate];
}

impl ResourceType {
    /// Every type.
    pub const ALL: [Self; 10] = [
        Self::User,
        Self::Team,
        Self::ApiKey,
        Self::Provider,
        Self::Model,
        Self::Price,
        Self::Budget,
        Self::Policy,
        Self::Request,
        Self::Setting,
    ];
}

/// A named set of permissions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Everything.
    InstanceAdmin,
    /// Money: budgets and prices; reads the rest.
    FinancialAdmin,
    /// Providers, models and routes.
    ModelAdmin,
    /// The members, keys and lists of a team.
    TeamManager,
    /// Uses models.
    Member,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] =
        [Self::InstanceAdmin, Self::FinancialAdmin, Self::ModelAdmin, Self::TeamManager, Self::Member];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InstanceAdmin => "instance_admin",
            Self::FinancialAdmin => "financial_admin",
            Self::ModelAdmin => "model_admin",
            Self::TeamManager => "team_manager",
            Self::Member => "member",
        }
    }

    /// Reads the stable name; `None` for another word.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// Whether the role contains the permission, scope aside.
    pub fn contains(self, action: Action, resource: ResourceType) -> bool {
        use ResourceType as R;
        let uses_models = resource == R::Model && matches!(action, Action::Read | Action::Proxy);
        match self {
            Self::InstanceAdmin => true,
            Self::FinancialAdmin => {
                uses_models
                    || action == Action::Read
                    || (matches!(resource, R::Budget | R::Price)
                        && !matches!(action, Action::Proxy | Action::Impersonate))
            }
            Self::ModelAdmin => {
                uses_models
                    || (matches!(resource, R::Provider | R::Model)
                        && !matches!(action, Action::Proxy | Action::Impersonate))
                    || (resource == R::Price && action == Action::Read)
            }
            Self::TeamManager => {
                uses_models
                    || (resource == R::Team && matches!(action, Action::Read | Action::Update))
                    || (resource == R::ApiKey && !matches!(action, Action::Proxy | Action::Impersonate))
                    || (matches!(resource, R::User | R::Budget | R::Request) && action == Action::Read)
            }
            Self::Member => uses_models,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    /// The whole matrix as a file that a reviewer can read.
    #[test]
    fn the_role_matrix_is_as_reviewed() {
        let mut matrix = String::new();
        for role in Role::ALL {
            writeln!(matrix, "{}", role.as_str()).unwrap();
            for resource in ResourceType::ALL {
                let held: Vec<String> = Action::ALL
                    .into_iter()
                    .filter(|action| role.contains(*action, resource))
                    .map(|action| format!("{action:?}"))
                    .collect();
                writeln!(matrix, "  {resource:?}: {}", held.join(" ")).unwrap();
            }
        }
        insta::assert_snapshot!(matrix);
    }

    #[test]
    fn every_role_may_use_models_and_only_an_admin_impersonates() {
        for role in Role::ALL {
            assert!(role.contains(Action::Proxy, ResourceType::Model), "{role:?}");
            let impersonates = ResourceType::ALL.into_iter().any(|r| role.contains(Action::Impersonate, r));
            assert_eq!(impersonates, role == Role::InstanceAdmin, "{role:?}");
        }
    }
}
