//! Escrow of budgets: how much of an account each incarnation may spend without asking.
//!
//! Rule: for each account, the sum over its leases of `granted - returned`, and what was spent without a lease, never
//! passes the limit; it is enforced by one conditional update in the transaction that raises `granted`. `granted` is
//! raised here only, `spent` and `returned` come from the node as totals that only grow. Incarnations are locked first,
//! accounts after them in key order, so transactions wait for each other and seldom deadlock.

use crate::accounts::{
    ACCOUNTS, Account, GrantRow, LEASES, broken, is_account, read_account, read_lease, select_account, select_leases,
};
use crate::db::{Db, Tx, retrying};
use crate::error::Result;
use helix_shared::budget::AccountKey;
use helix_shared::budget::escrow::{Want, grant};
use helix_shared::ids::{Incarnation, NodeId};
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;
use sea_query::{Expr, ExprTrait as _, Query};
use std::collections::BTreeMap;

/// How often a grant is computed anew after another one was quicker.
const GRANT_ATTEMPTS: u32 = 8;

/// What an incarnation asks of one account. The window and the limit are the ones that hold now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The account, its period resolved.
    pub account: AccountKey,
    /// First instant after the period.
    pub period_end: UnixMicros,
    /// The budget's present limit.
    pub limit: NanoUsd,
    /// Granted total without which waiting requests cannot be admitted.
    pub need_total: NanoUsd,
    /// Granted total that would save round trips.
    pub want_total: NanoUsd,
}

impl Db {
    /// Grants escrow, as far as there is money. One transaction; answers in key order, once an account.
    ///
    /// What cannot be met is granted in part: the caller sees it in `granted_total` and `available`. A sealed incarnation
    /// is granted nothing.
    ///
    /// # Errors
    /// What the database says; then nothing was granted.
    pub async fn acquire(
        &self,
        incarnation: &Incarnation,
        node: &NodeId,
        asks: &[Ask],
        now: UnixMicros,
    ) -> Result<Vec<GrantRow>> {
        retrying!(self.acquire_once(incarnation, node, asks, now))
    }

    async fn acquire_once(
        &self,
        incarnation: &Incarnation,
        node: &NodeId,
        asks: &[Ask],
        now: UnixMicros,
    ) -> Result<Vec<GrantRow>> {
        let mut ordered: BTreeMap<&AccountKey, &Ask> = BTreeMap::new();
        for ask in asks {
            let known = ordered.entry(&ask.account).or_insert(ask);
            if ask.need_total > known.need_total {
                *known = ask;
            }
        }
        let mut tx = self.begin().await?;
        let sealed = tx.lock_incarnation(incarnation, node, now).await?.sealed;
        let mut rows = Vec::with_capacity(ordered.len());
        for ask in ordered.into_values() {
            rows.push(tx.raise(incarnation, ask, sealed).await?);
        }
        tx.commit().await?;
        Ok(rows)
    }
}

impl Tx {
    /// Makes sure that an account exists with this window and limit, and locks it.
    async fn open_account(&mut self, ask: &Ask) -> Result<Account> {
        let key = &ask.account;
        let locked = select_account(key).lock_exclusive().to_owned();
        let mut row = self.fetch_optional(ACCOUNTS, &locked).await?;
        if row.is_none() {
            self.create_account(key).await?;
            row = self.fetch_optional(ACCOUNTS, &locked).await?;
        }
        let row = row.ok_or_else(|| broken(key, "it vanished while it was opened"))?;
        let mut account = read_account(&row)?;
        if account.limit == Some(ask.limit) && account.period_end == ask.period_end {
            return Ok(account);
        }
        account.limit = Some(ask.limit);
        account.period_end = ask.period_end;
        account.peak_limit = std::cmp::max(account.peak_limit, ask.limit);
        let update = Query::update()
            .table(ACCOUNTS)
            .value("limit_nano", ask.limit.get())
            .value("period_end", ask.period_end.get())
            .value("peak_limit_nano", account.peak_limit.get())
            .cond_where(is_account(key))
            .to_owned();
        self.execute(ACCOUNTS, &update).await?;
        Ok(account)
    }

    /// Raises one lease as far as the account allows.
    async fn raise(&mut self, incarnation: &Incarnation, ask: &Ask, sealed: bool) -> Result<GrantRow> {
        let mut account = self.open_account(ask).await?;
        let key = &ask.account;
        let lease = select_leases()
            .and_where(Expr::col("incarnation").eq(incarnation.as_str()))
            .cond_where(is_account(key))
            .to_owned();
        let lease = self.fetch_optional(LEASES, &lease).await?.as_ref().map(read_lease).transpose()?;
        let granted = lease.as_ref().map_or(NanoUsd::ZERO, |lease| lease.granted);
        if sealed || lease.as_ref().is_some_and(|lease| lease.sealed) {
            return Ok(account.grant_row(granted));
        }
        let holders = self.holders(key).await?.saturating_add(u32::from(lease.is_none()));
        let want = Want { account: key.clone(), need_total: ask.need_total, want_total: ask.want_total };
        let mut total = granted;
        for _ in 0..GRANT_ATTEMPTS {
            let more = grant(&want, granted, account.available(), holders);
            let Some(raised) = granted.checked_add(more).filter(|_| more > NanoUsd::ZERO) else { break };
            if self.take_escrow(key, more).await? {
                account.escrow = account.escrow.saturating_add(more);
                total = raised;
                break;
            }
            // somebody was quicker: compute from what is left now
            account = self.open_account(ask).await?;
        }
        if lease.is_none() {
            self.insert_lease(incarnation, key, total).await?;
        } else if total != granted {
            self.update_lease(incarnation, key, &[("granted_nano", total)]).await?;
        }
        Ok(account.grant_row(total))
    }

    /// The statement that the safety of every hard budget rests on.
    async fn take_escrow(&mut self, key: &AccountKey, more: NanoUsd) -> Result<bool> {
        let free = Expr::col("limit_nano").sub(Expr::col("escrow_nano")).sub(Expr::col("unleased_nano"));
        let update = Query::update()
            .table(ACCOUNTS)
            .value("escrow_nano", Expr::col("escrow_nano").add(more.get()))
            .cond_where(is_account(key))
            .and_where(free.gte(more.get()))
            .to_owned();
        Ok(self.execute(ACCOUNTS, &update).await? == 1)
    }

    /// How many open leases an account has.
    async fn holders(&mut self, key: &AccountKey) -> Result<u32> {
        let query = Query::select()
            .expr(Expr::col("incarnation").count())
            .from(LEASES)
            .cond_where(is_account(key))
            .and_where(Expr::col("sealed").eq(0_i64))
            .to_owned();
        let count: i64 = match self.fetch_optional(LEASES, &query).await? {
            Some(row) => row.cells(LEASES).take()?,
            None => 0,
        };
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    async fn insert_lease(&mut self, incarnation: &Incarnation, key: &AccountKey, granted: NanoUsd) -> Result<()> {
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
                "sealed",
            ])
            .values_panic([
                incarnation.as_str().into(),
                key.budget_id.as_str().into(),
                key.period_start.get().into(),
                granted.get().into(),
                0_i64.into(),
                0_i64.into(),
                0_i64.into(),
                0_i64.into(),
            ])
            .to_owned();
        self.execute(LEASES, &insert).await.map(|_| ())
    }

    pub(crate) async fn update_lease(
        &mut self,
        incarnation: &Incarnation,
        key: &AccountKey,
        values: &[(&'static str, NanoUsd)],
    ) -> Result<()> {
        let update = Query::update()
            .table(LEASES)
            .values(values.iter().map(|(column, value)| (*column, Expr::val(value.get()))))
            .and_where(Expr::col("incarnation").eq(incarnation.as_str()))
            .cond_where(is_account(key))
            .to_owned();
        self.execute(LEASES, &update).await.map(|_| ())
    }
}
