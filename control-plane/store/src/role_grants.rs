//! Roles given to people.
//!
//! Rule: a role is kept by its stable name, known or not; `decide` in the shared crate gives it meaning.

use crate::db::Tx;
use crate::error::Result;
use crate::table::{Managed, Table as _, select, table};
use crate::users::User;
use helix_shared::rbac::Role;
use helix_shared::time::UnixMicros;
use sea_query::{Expr, ExprTrait as _, Query};

table! {
    "role_grants";
    /// A role given to a person.
    pub struct RoleGrant {
        /// Its id.
        pub id: String,
        /// The person.
        pub user_id: String,
        /// The role's stable name.
        pub role: String,
        /// The team it holds in; `None`: the whole instance.
        pub team_id: Option<String>,
        /// When it ends.
        pub expires_at: Option<UnixMicros>,
        /// Who keeps the row.
        pub managed: Managed,
        /// Last change.
        pub updated_at: UnixMicros,
    }
}

impl Tx {
    /// Lists the roles of a person.
    ///
    /// # Errors
    /// What the database says.
    pub async fn role_grants_of(&mut self, user_id: &str) -> Result<Vec<RoleGrant>> {
        self.many(select::<RoleGrant>().and_where(Expr::col("user_id").eq(user_id)).to_owned()).await
    }

    /// Reports whether some enabled person is an instance administrator now.
    ///
    /// Two first administrators cannot race: take [`Tx::lock_config`] before asking, in the transaction that acts on it.
    ///
    /// # Errors
    /// What the database says.
    pub async fn has_admin(&mut self, now: UnixMicros) -> Result<bool> {
        let grants = RoleGrant::NAME;
        let query = Query::select()
            .expr(Expr::val(1_i64))
            .from(grants)
            .inner_join(User::NAME, Expr::col((User::NAME, "id")).equals((grants, "user_id")))
            .and_where(Expr::col((grants, "role")).eq(Role::InstanceAdmin.as_str()))
            .and_where(Expr::col((grants, "team_id")).is_null())
            .and_where(Expr::col((grants, "expires_at")).is_null().or(Expr::col((grants, "expires_at")).gt(now.get())))
            .and_where(Expr::col((User::NAME, "disabled")).eq(0_i64))
            .limit(1)
            .to_owned();
        Ok(self.fetch_optional(grants, &query).await?.is_some())
    }
}
