//! People and the teams they are in.
//!
//! Rule: an address is kept as given and compared exactly: callers make it lower case first. A membership belongs to its
//! user and goes with them.

use crate::db::Tx;
use crate::error::Result;
use crate::table::{Managed, Table as _, select, table};
use helix_shared::time::UnixMicros;
use sea_query::{Expr, ExprTrait as _, Query};

table! {
    "users";
    /// A person.
    pub struct User {
        /// Its id.
        pub id: String,
        /// Address, lower case; unique.
        pub email: String,
        /// Name for people.
        pub name: String,
        /// Their keys are refused.
        pub disabled: bool,
        /// Who keeps the row.
        pub managed: Managed,
        /// Last change.
        pub updated_at: UnixMicros,
    }
}

table! {
    "memberships";
    /// A person in a team.
    pub struct Membership {
        /// The person.
        pub user_id: String,
        /// The team.
        pub team_id: String,
        /// Order among the person's teams; the first one is charged.
        pub position: u32,
        /// Who keeps the row.
        pub managed: Managed,
        /// Last change.
        pub updated_at: UnixMicros,
    }
}

impl Tx {
    /// Gets a person by address; `None` when there is none.
    ///
    /// # Errors
    /// What the database says.
    pub async fn user_by_email(&mut self, email: &str) -> Result<Option<User>> {
        self.one(select::<User>().and_where(Expr::col("email").eq(email)).to_owned()).await
    }

    /// Replaces a person's memberships by these teams, in this order.
    ///
    /// # Errors
    /// [`crate::StoreError::Reference`] when the person does not exist.
    pub async fn set_memberships(
        &mut self,
        user_id: &str,
        team_ids: &[String],
        managed: Managed,
        now: UnixMicros,
    ) -> Result<()> {
        let delete =
            Query::delete().from_table(Membership::NAME).and_where(Expr::col("user_id").eq(user_id)).to_owned();
        self.execute(Membership::NAME, &delete).await?;
        for (position, team_id) in (0_u32..).zip(team_ids) {
            let (user_id, team_id) = (user_id.to_owned(), team_id.clone());
            self.insert(&Membership { user_id, team_id, position, managed, updated_at: now }).await?;
        }
        Ok(())
    }

    /// Lists the memberships of a person, in the order of their position.
    ///
    /// # Errors
    /// What the database says.
    pub async fn memberships_of(&mut self, user_id: &str) -> Result<Vec<Membership>> {
        let query = select::<Membership>().and_where(Expr::col("user_id").eq(user_id)).to_owned();
        let mut rows: Vec<Membership> = self.many(query).await?;
        rows.sort_by(|a, b| (a.position, &a.team_id).cmp(&(b.position, &b.team_id)));
        Ok(rows)
    }

    /// Lists the members of a team, ordered by person.
    ///
    /// # Errors
    /// What the database says.
    pub async fn members_of(&mut self, team_id: &str) -> Result<Vec<Membership>> {
        self.many(select::<Membership>().and_where(Expr::col("team_id").eq(team_id)).to_owned()).await
    }
}
