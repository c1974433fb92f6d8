//! The cost of records, booked on the accounts and leases that they are charged to.
//!
//! Rule: what is booked here is a fact and never refused; escrow only reserves. Accounts in key order, then the leases that
//! cover them, so that two batches wait for each other instead of deadlocking.

use crate::accounts::{ACCOUNT_KEY, ACCOUNTS, LEASES};
use crate::blocks::blocks;
use crate::db::Tx;
use crate::error::Result;
use helix_shared::budget::AccountKey;
use helix_shared::ids::Incarnation;
use helix_shared::money::NanoUsd;
use sea_query::{Expr, ExprTrait as _, OnConflict, Query};
use std::collections::BTreeMap;

/// What an account has that nobody has asked of yet.
const NEW_ACCOUNT: [&str; 3] = ["period_end", "peak_limit_nano", "escrow_nano"];
/// What is booked on an account.
const BOOKED: [&str; 2] = ["unleased_nano", "settled_nano"];
/// What a lease has beside what is booked on it.
const NEW_LEASE: [&str; 4] = ["granted_nano", "spent_nano", "returned_nano", "sealed"];

impl Tx {
    /// Books the cost of new records.
    pub(crate) async fn settle(
        &mut self,
        incarnation: &Incarnation,
        charges: &BTreeMap<AccountKey, Charge>,
    ) -> Result<()> {
        let charges: Vec<(&AccountKey, &Charge)> = charges.iter().collect();
        for block in blocks(&charges) {
            self.settle_accounts(block).await?;
        }
        let leased: Vec<(&AccountKey, &Charge)> =
            charges.into_iter().filter(|(_, charge)| charge.leased != NanoUsd::ZERO).collect();
        for block in blocks(&leased) {
            self.settle_leases(incarnation, block).await?;
        }
        Ok(())
    }

    /// An account that is not there is made.
    async fn settle_accounts(&mut self, charges: &[(&AccountKey, &Charge)]) -> Result<()> {
        let mut insert = Query::insert();
        insert.into_table(ACCOUNTS).columns(ACCOUNT_KEY.into_iter().chain(NEW_ACCOUNT).chain(BOOKED));
        for (key, charge) in charges {
            let total = charge.leased.saturating_add(charge.unleased);
            let key = [Expr::val(key.budget_id.as_str()), Expr::val(key.period_start.get())];
            let booked = [charge.unleased, total].map(|amount| Expr::val(amount.get()));
            insert.values_panic(key.into_iter().chain(NEW_ACCOUNT.map(|_| Expr::val(0_i64))).chain(booked));
        }
        insert.on_conflict(self.raising(ACCOUNTS, &ACCOUNT_KEY, &BOOKED));
        self.execute(ACCOUNTS, &insert).await.map(|_| ())
    }

    /// Each of them is there: that is how a charge was found to be covered.
    async fn settle_leases(&mut self, incarnation: &Incarnation, charges: &[(&AccountKey, &Charge)]) -> Result<()> {
        const KEY: [&str; 3] = ["incarnation", "budget_id", "period_start"];
        const SETTLED: [&str; 1] = ["settled_nano"];
        let mut insert = Query::insert();
        insert.into_table(LEASES).columns(KEY.into_iter().chain(NEW_LEASE).chain(SETTLED));
        for (key, charge) in charges {
            let budget = [Expr::val(key.budget_id.as_str()), Expr::val(key.period_start.get())];
            let key = [Expr::val(incarnation.as_str())].into_iter().chain(budget);
            let nothing = NEW_LEASE.map(|_| Expr::val(0_i64));
            insert.values_panic(key.chain(nothing).chain([Expr::val(charge.leased.get())]));
        }
        insert.on_conflict(self.raising(LEASES, &KEY, &SETTLED));
        self.execute(LEASES, &insert).await.map(|_| ())
    }

    /// Adds what was to be inserted to the row that is there.
    pub(crate) fn raising(&self, table: &'static str, key: &[&'static str], columns: &[&'static str]) -> OnConflict {
        let dialect = self.dialect();
        let raised = columns.iter().map(|column| (*column, Expr::col((table, *column)).add(dialect.proposed(column))));
        OnConflict::columns(key.iter().copied()).values(raised).to_owned()
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
