//! The statements of escrow on accounts, leases and incarnations.
//!
//! Rule: one conditional update takes escrow, and one gives it back; whoever changes a lease's totals has moved its
//! account's escrow before, in the same transaction, and so holds the account's row. Incarnations are locked first,
//! accounts after them in key order, so transactions wait for each other and seldom deadlock.

use crate::accounts::{
    ACCOUNT_KEY, ACCOUNTS, Account, LEASES, broken, is_account, is_any_account, read_account, select_account,
};
use crate::db::Tx;
use crate::error::Result;
use crate::incarnations::INCARNATIONS;
use helix_shared::budget::AccountKey;
use helix_shared::budget::plane::{Lease, Seal};
use helix_shared::ids::{BudgetId, Incarnation, NodeId};
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;
use sea_query::{CaseStatement, Expr, ExprTrait as _, Func, Query};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a node holds that was not heard for this long is not expected back soon. It stays counted.
const REACHABLE: Duration = Duration::from_secs(60);

impl Tx {
    /// Makes sure that an account exists with this window and limit, and locks it.
    pub(crate) async fn open_account(
        &mut self,
        key: &AccountKey,
        limit: NanoUsd,
        period_end: UnixMicros,
    ) -> Result<Account> {
        let mut account = self.lock_account(key).await?;
        if account.limit == Some(limit) && account.period_end == period_end {
            return Ok(account);
        }
        account.limit = Some(limit);
        account.period_end = period_end;
        account.peak_limit = std::cmp::max(account.peak_limit, limit);
        let update = Query::update()
            .table(ACCOUNTS)
            .value("limit_nano", limit.get())
            .value("period_end", period_end.get())
            .value("peak_limit_nano", account.peak_limit.get())
            .cond_where(is_account(key))
            .to_owned();
        self.execute(ACCOUNTS, &update).await?;
        Ok(account)
    }

    async fn lock_account(&mut self, key: &AccountKey) -> Result<Account> {
        let locked = select_account(key).lock_exclusive().to_owned();
        let mut row = self.fetch_optional(ACCOUNTS, &locked).await?;
        if row.is_none() {
            self.create_account(key).await?;
            row = self.fetch_optional(ACCOUNTS, &locked).await?;
        }
        let row = row.ok_or_else(|| broken(key, "it vanished while it was opened"))?;
        read_account(&row)
    }

    /// The statement that the safety of every hard budget rests on.
    pub(crate) async fn take_escrow(&mut self, key: &AccountKey, more: NanoUsd) -> Result<bool> {
        let free = Expr::col("limit_nano").sub(Expr::col("escrow_nano")).sub(Expr::col("unleased_nano"));
        let update = Query::update()
            .table(ACCOUNTS)
            .value("escrow_nano", Expr::col("escrow_nano").add(more.get()))
            .cond_where(is_account(key))
            .and_where(free.gte(more.get()))
            .to_owned();
        Ok(self.execute(ACCOUNTS, &update).await? == 1)
    }

    /// Moves an account's escrow by what its leases hold more or less; never below zero.
    pub(crate) async fn move_escrow(&mut self, key: &AccountKey, by: NanoUsd) -> Result<bool> {
        let update = Query::update()
            .table(ACCOUNTS)
            .value("escrow_nano", Expr::col("escrow_nano").add(by.get()))
            .cond_where(is_account(key))
            .and_where(Expr::col("escrow_nano").add(by.get()).gte(0_i64))
            .to_owned();
        Ok(self.execute(ACCOUNTS, &update).await? == 1)
    }

    /// Writes a lease. What records settled is written by records alone.
    pub(crate) async fn put_lease(&mut self, incarnation: &Incarnation, key: &AccountKey, lease: &Lease) -> Result<()> {
        let update = Query::update()
            .table(LEASES)
            .value("granted_nano", lease.granted.get())
            .value("spent_nano", lease.spent.get())
            .value("returned_nano", lease.returned.get())
            .value("written_off_nano", lease.written_off.get())
            .and_where(Expr::col("incarnation").eq(incarnation.as_str()))
            .cond_where(is_account(key))
            .to_owned();
        if self.execute(LEASES, &update).await? == 1 {
            return Ok(());
        }
        let insert = Query::insert()
            .into_table(LEASES)
            .columns([
                "incarnation",
                "budget_id",
                "period_start",
                "granted_nano",
                "spent_nano",
                "returned_nano",
                "settled_nano",
                "written_off_nano",
                "sealed",
            ])
            .values_panic([
                incarnation.as_str().into(),
                key.budget_id.as_str().into(),
                key.period_start.get().into(),
                lease.granted.get().into(),
                lease.spent.get().into(),
                lease.returned.get().into(),
                0_i64.into(),
                lease.written_off.get().into(),
                0_i64.into(),
            ])
            .to_owned();
        self.execute(LEASES, &insert).await.map(|_| ())
    }

    /// Seals an incarnation and its leases, and proves that the accounts they were of agree.
    pub(crate) async fn put_seal(&mut self, incarnation: &Incarnation, seal: Seal) -> Result<()> {
        let number = match seal {
            Seal::Open => 0_i64,
            Seal::Closed => 1,
            Seal::Released => 2,
        };
        self.set_incarnation(incarnation, "sealed", number).await?;
        let update = Query::update()
            .table(LEASES)
            .value("sealed", number)
            .and_where(Expr::col("incarnation").eq(incarnation.as_str()))
            .to_owned();
        self.execute(LEASES, &update).await?;
        for lease in self.leases_of(incarnation).await? {
            // with the row locked nobody moves escrow between the two sums
            self.lock_account(&lease.account).await?;
            self.check_account(&lease.account).await?;
        }
        Ok(())
    }

    /// What open incarnations of other nodes hold of an account and have not said to have spent, and how many they are. One
    /// that was not heard for a minute is not counted: nothing of it can be recalled now.
    pub(crate) async fn held_by_others(
        &mut self,
        key: &AccountKey,
        node: &NodeId,
        now: UnixMicros,
    ) -> Result<(NanoUsd, u32)> {
        let query = Query::select()
            .expr(self.dialect().sum(hold()))
            .expr(Expr::col("incarnation").count())
            .from(LEASES)
            .cond_where(is_account(key))
            .cond_where(is_reachable_lease(node, now))
            .to_owned();
        let Some(row) = self.fetch_optional(LEASES, &query).await? else { return Ok((NanoUsd::ZERO, 0)) };
        let mut cells = row.cells(LEASES);
        let recallable = NanoUsd::new(cells.take()?);
        let holders: i64 = cells.take()?;
        Ok((recallable, u32::try_from(holders).unwrap_or(u32::MAX)))
    }

    /// The same sum for several accounts at once; one that nobody else holds is left out.
    pub(crate) async fn all_held_by_others(
        &mut self,
        keys: &[AccountKey],
        node: &NodeId,
        now: UnixMicros,
    ) -> Result<BTreeMap<AccountKey, NanoUsd>> {
        let query = Query::select()
            .columns(ACCOUNT_KEY)
            .expr(self.dialect().sum(hold()))
            .from(LEASES)
            .cond_where(is_any_account(keys))
            .cond_where(is_reachable_lease(node, now))
            .group_by_columns(ACCOUNT_KEY)
            .to_owned();
        let rows = self.fetch_all(LEASES, &query).await?;
        let read = |row: &crate::row::Row| {
            let mut cells = row.cells(LEASES);
            let budget_id = BudgetId::from(cells.take::<String>()?);
            let key = AccountKey { budget_id, period_start: UnixMicros::new(cells.take()?) };
            Ok((key, NanoUsd::new(cells.take()?)))
        };
        rows.iter().map(read).collect()
    }
}

fn held() -> Expr {
    Expr::col("granted_nano").sub(Expr::col("returned_nano"))
}

/// What a lease holds and is not known to be spent, as `plane::Lease::hold` has it.
fn hold() -> Expr {
    let spent: Expr = CaseStatement::new()
        .case(Expr::col("settled_nano").gt(Expr::col("spent_nano")), Expr::col("settled_nano"))
        .finally(Expr::col("spent_nano"))
        .into();
    let written_off = Expr::expr(Func::coalesce([Expr::col("written_off_nano"), Expr::val(0_i64)]));
    let rest = held().sub(spent.clone()).sub(written_off.clone());
    let is_hold = held().gt(spent.add(written_off));
    CaseStatement::new().case(is_hold, rest).finally(Expr::val(0_i64)).into()
}

/// Whether a lease holds anything and is of an open incarnation of another node that was heard lately.
fn is_reachable_lease(node: &NodeId, now: UnixMicros) -> Expr {
    let earliest = now.get().saturating_sub(i64::try_from(REACHABLE.as_micros()).unwrap_or(i64::MAX));
    let reachable = Query::select()
        .column("id")
        .from(INCARNATIONS)
        .and_where(Expr::col("sealed").eq(0_i64))
        .and_where(Expr::col("node_id").ne(node.as_str()))
        .and_where(Expr::col("seen_at").gt(earliest))
        .to_owned();
    let is_open = Expr::col("sealed").eq(0_i64);
    is_open.and(held().gt(0_i64)).and(Expr::col("incarnation").in_subquery(reachable))
}
