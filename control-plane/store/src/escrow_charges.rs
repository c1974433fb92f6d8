//! The cost of records, booked on the accounts and leases that they are charged to.
//!
//! Rule: what is booked here is a fact and never refused; escrow only reserves.

use crate::accounts::{ACCOUNTS, LEASES, is_account};
use crate::db::Tx;
use crate::error::Result;
use helix_shared::budget::AccountKey;
use helix_shared::ids::Incarnation;
use helix_shared::money::NanoUsd;
use sea_query::{Expr, ExprTrait as _, Query};
use std::collections::BTreeMap;

impl Tx {
    /// Books the cost of new records: accounts in key order, then the leases that cover them.
    pub(crate) async fn settle(
        &mut self,
        incarnation: &Incarnation,
        charges: &BTreeMap<AccountKey, Charge>,
    ) -> Result<()> {
        for (key, charge) in charges {
            self.settle_account(key, charge).await?;
            if charge.leased != NanoUsd::ZERO {
                let raise = Query::update()
                    .table(LEASES)
                    .value("settled_nano", Expr::col("settled_nano").add(charge.leased.get()))
                    .and_where(Expr::col("incarnation").eq(incarnation.as_str()))
                    .cond_where(is_account(key))
                    .to_owned();
                self.execute(LEASES, &raise).await?;
            }
        }
        Ok(())
    }

    async fn settle_account(&mut self, key: &AccountKey, charge: &Charge) -> Result<()> {
        let total = charge.leased.saturating_add(charge.unleased);
        let update = Query::update()
            .table(ACCOUNTS)
            .value("settled_nano", Expr::col("settled_nano").add(total.get()))
            .value("unleased_nano", Expr::col("unleased_nano").add(charge.unleased.get()))
            .cond_where(is_account(key))
            .to_owned();
        if self.execute(ACCOUNTS, &update).await? == 1 {
            return Ok(());
        }
        self.create_account(key).await?;
        self.execute(ACCOUNTS, &update).await.map(|_| ())
    }
}

/// Cost of new records on one account.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Charge {
    /// Reserved under a lease of it.
    pub(crate) leased: NanoUsd,
    /// Beside any lease.
    pub(crate) unleased: NanoUsd,
}
