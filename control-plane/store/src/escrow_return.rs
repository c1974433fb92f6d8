//! Escrow on its way back: reports of a living incarnation, the close of a dead one.
//!
//! Rule: totals only grow, the larger one holds; an account's escrow falls by exactly what the leases' `returned` rise. A
//! node can give back at most what it was granted and did not spend.

use crate::accounts::{ACCOUNTS, LEASES, Lease, broken, is_account};
use crate::db::{Db, Tx, retrying};
use crate::error::Result;
use crate::incarnations::SEEN_EVERY;
use helix_shared::budget::AccountKey;
use helix_shared::ids::{Incarnation, NodeId};
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;
use sea_query::{Expr, ExprTrait as _, Query};
use std::cmp::{max, min};
use std::collections::BTreeMap;

/// A node's totals of one account since its incarnation began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// The account.
    pub account: AccountKey,
    /// Spent in total.
    pub spent_total: NanoUsd,
    /// Given back in total; not read when an incarnation is closed.
    pub returned_total: NanoUsd,
}

/// Totals of the nodes' word, the larger one of what was said twice.
type Said<'b> = BTreeMap<&'b AccountKey, (NanoUsd, NanoUsd)>;

fn merge(balances: &[Balance]) -> Said<'_> {
    let mut said = Said::new();
    for balance in balances {
        let totals = said.entry(&balance.account).or_default();
        totals.0 = max(totals.0, balance.spent_total);
        totals.1 = max(totals.1, balance.returned_total);
    }
    said
}

impl Lease {
    /// The most that may have come back when `spent` was spent.
    fn returnable(&self, spent: NanoUsd) -> NanoUsd {
        max(self.granted.saturating_sub(spent), NanoUsd::ZERO)
    }

    /// The totals after a report; `None` when nothing changes.
    fn after(&self, said: &Said<'_>) -> Option<(NanoUsd, NanoUsd)> {
        let (spent, returned) = said.get(&self.account)?;
        let spent = max(self.spent, *spent);
        let returned = max(self.returned, min(*returned, self.returnable(spent)));
        (!self.sealed && (spent, returned) != (self.spent, self.returned)).then_some((spent, returned))
    }
}

impl Db {
    /// Takes a node's totals. Writes only what changed, and `seen_at` four times a minute.
    ///
    /// Totals of accounts it holds no lease of are ignored: records tell about those.
    ///
    /// # Errors
    /// What the database says; then nothing changed.
    pub async fn report(
        &self,
        incarnation: &Incarnation,
        node: &NodeId,
        balances: &[Balance],
        now: UnixMicros,
    ) -> Result<()> {
        retrying!(self.report_once(incarnation, node, balances, now))
    }

    async fn report_once(
        &self,
        incarnation: &Incarnation,
        node: &NodeId,
        balances: &[Balance],
        now: UnixMicros,
    ) -> Result<()> {
        let said = merge(balances);
        if self.is_old_news(incarnation, &said, now).await? {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        if tx.lock_incarnation(incarnation, node, now).await?.sealed {
            return Ok(());
        }
        for lease in tx.leases_of(incarnation).await? {
            let Some((spent, returned)) = lease.after(&said) else { continue };
            tx.move_lease(&lease, spent, returned, false).await?;
        }
        tx.commit().await
    }

    async fn is_old_news(&self, incarnation: &Incarnation, said: &Said<'_>, now: UnixMicros) -> Result<bool> {
        let mut tx = self.read().await?;
        let Some(known) = tx.incarnation(incarnation).await? else { return Ok(false) };
        if now.since(known.seen_at) >= SEEN_EVERY {
            return Ok(false);
        }
        Ok(tx.leases_of(incarnation).await?.iter().all(|lease| lease.after(said).is_none()))
    }

    /// Seals an incarnation whose journal is whole: what it was granted and did not spend comes free. Closing it again
    /// changes nothing.
    ///
    /// An account that `finals` does not name was spent as the records say.
    ///
    /// # Errors
    /// What the database says, or [`crate::StoreError::Invariant`] when the books did not agree; then nothing changed.
    pub async fn close_incarnation(
        &self,
        incarnation: &Incarnation,
        node: &NodeId,
        finals: &[Balance],
        now: UnixMicros,
    ) -> Result<()> {
        retrying!(self.close_once(incarnation, node, finals, now))
    }

    async fn close_once(
        &self,
        incarnation: &Incarnation,
        node: &NodeId,
        finals: &[Balance],
        now: UnixMicros,
    ) -> Result<()> {
        let said = merge(finals);
        let mut tx = self.begin().await?;
        if tx.lock_incarnation(incarnation, node, now).await?.sealed {
            return Ok(());
        }
        for lease in tx.leases_of(incarnation).await?.iter().filter(|lease| !lease.sealed) {
            // never less than what is on record: the records are the truth
            let known = said.get(&lease.account).map_or(NanoUsd::ZERO, |(spent, _)| *spent);
            let spent = max(known, lease.settled);
            let returned = max(lease.returned, lease.returnable(spent));
            tx.move_lease(lease, spent, returned, true).await?;
            tx.check_account(&lease.account).await?;
        }
        tx.set_incarnation(incarnation, "sealed", 1).await?;
        tx.commit().await
    }
}

impl Tx {
    /// Writes a lease's totals and takes what came back out of the account's escrow. The account first: the order of locks.
    async fn move_lease(&mut self, lease: &Lease, spent: NanoUsd, returned: NanoUsd, seal: bool) -> Result<()> {
        let back = returned.saturating_sub(lease.returned).get();
        if back > 0 {
            let lower = Query::update()
                .table(ACCOUNTS)
                .value("escrow_nano", Expr::col("escrow_nano").sub(back))
                .cond_where(is_account(&lease.account))
                .and_where(Expr::col("escrow_nano").gte(back))
                .to_owned();
            if self.execute(ACCOUNTS, &lower).await? != 1 {
                return Err(broken(&lease.account, &format!("{back} came back, more than its escrow")));
            }
        }
        let sealed = if seal { NanoUsd::new(1) } else { NanoUsd::ZERO };
        let values = [("spent_nano", spent), ("returned_nano", returned), ("sealed", sealed)];
        self.update_lease(&lease.incarnation, &lease.account, &values).await
    }

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
    /// By an incarnation that holds a lease of it.
    pub(crate) leased: NanoUsd,
    /// By one that does not.
    pub(crate) unleased: NanoUsd,
}
