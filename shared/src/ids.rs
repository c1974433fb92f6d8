//! Typed identifiers: one newtype a noun, so that a team's id can never be passed where a user's is meant.
//!
//! Ids are opaque text of at most 64 bytes (`UUIDv7` for rows made by the gateway, the name for what a file defines).
//! Cloning is a reference count, not a copy: ids travel with every request.

use std::fmt;
use std::sync::Arc;

macro_rules! id_type {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Wraps the text of an id.
            pub fn new(id: impl Into<Arc<str>>) -> Self {
                Self(id.into())
            }

            /// Returns the text of the id.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), &self.0)
            }
        }

        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.into())
            }
        }

        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(id.into())
            }
        }
    )+};
}

id_type! {
    /// A person who may sign in and call models.
    UserId;
    /// A group of users with its own model lists and budgets.
    TeamId;
    /// One virtual API key.
    ApiKeyId;
    /// One role given to a principal on a scope.
    RoleGrantId;
    /// One budget (a limit on a scope; its periods are accounts).
    BudgetId;
    /// One provider account that can serve models; its configured name.
    BackendId;
    /// One rule from a model name to backends.
    ModelId;
    /// One price override.
    PriceId;
    /// One data-plane process, across restarts.
    NodeId;
    /// One start of a data-plane process; never reused, scopes every cumulative number of that node.
    Incarnation;
}
