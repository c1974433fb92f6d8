//! Escrow of budgets: how much of an account each incarnation may spend without asking.
//!
//! Rule: for each account, the sum over its leases of `granted - returned`, and what was spent without a lease, never
//! passes the limit; it is enforced by one conditional update in the transaction that raises `granted`. `granted` is
//! raised here only, `spent` and `returned` come from the node as totals that only grow. Incarnations are locked first,
//! accounts after them in key order, so transactions wait for each other and seldom deadlock.

use crate::db::{Db, Tx, retrying};
use crate::dialect::Dialect;
use crate::error::{Result, StoreError};
use crate::row::Row;
use helix_shared::budget::AccountKey;
use helix_shared::budget::escrow::{Want, grant};
use helix_shared::ids::{BudgetId, Incarnation, NodeId};
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;
use sea_query::{Expr, ExprTrait as _, Order, Query, SelectStatement};
use std::collections::BTreeMap;

pub(crate) const ACCOUNTS: &str = "accounts";
pub(crate) const LEASES: &str = "leases";
pub(crate) const ACCOUNT_KEY: [&str; 2] = ["budget_id", "period_start"];
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

/// What an incarnation holds of one account, and how the account stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRow {
    /// The account.
    pub account: AccountKey,
    /// Granted to the incarnation, in total.
    pub granted_total: NanoUsd,
    /// First instant after the period; 0 when nobody has asked yet.
    pub period_end: UnixMicros,
    /// The limit last known; zero when nobody has asked yet.
    pub limit: NanoUsd,
    /// Held by all incarnations: granted and not returned.
    pub escrow: NanoUsd,
    /// Cost of the records charged to it.
    pub settled: NanoUsd,
    /// What nobody holds; below zero after the limit was lowered.
    pub available: NanoUsd,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Budget and period.
    pub key: AccountKey,
    /// First instant after the period; 0 when nobody has asked yet.
    pub period_end: UnixMicros,
    /// The limit last known; `None` when nobody has asked yet.
    pub limit: Option<NanoUsd>,
    /// The highest limit it ever had.
    pub peak_limit: NanoUsd,
    /// Held by all incarnations: granted and not returned.
    pub escrow: NanoUsd,
    /// Cost of the records that were charged by an incarnation without a lease (a soft budget).
    pub unleased: NanoUsd,
    /// Cost of all records charged to it.
    pub settled: NanoUsd,
}

impl Account {
    /// What nobody holds; below zero after the limit was lowered.
    pub fn available(&self) -> NanoUsd {
        self.limit.unwrap_or_default().saturating_sub(self.escrow).saturating_sub(self.unleased)
    }

    fn grant_row(&self, granted_total: NanoUsd) -> GrantRow {
        GrantRow {
            account: self.key.clone(),
            granted_total,
            period_end: self.period_end,
            limit: self.limit.unwrap_or_default(),
            escrow: self.escrow,
            settled: self.settled,
            available: self.available(),
        }
    }
}

/// What an incarnation holds of an account, with the node's own totals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Whose it is.
    pub incarnation: Incarnation,
    /// Of which account.
    pub account: AccountKey,
    /// Granted in total.
    pub granted: NanoUsd,
    /// Spent in total, as the node said.
    pub spent: NanoUsd,
    /// Given back in total.
    pub returned: NanoUsd,
    /// Cost of the records of this incarnation that were charged to it.
    pub settled: NanoUsd,
    /// Closed: nothing changes any more.
    pub sealed: bool,
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
    /// Gets an account; `None` when nobody has asked of it or charged it.
    ///
    /// # Errors
    /// What the database says.
    pub async fn account(&mut self, key: &AccountKey) -> Result<Option<Account>> {
        let row = self.fetch_optional(ACCOUNTS, &select_account(key)).await?;
        row.as_ref().map(read_account).transpose()
    }

    /// Lists the accounts of a budget, the newest period first.
    ///
    /// # Errors
    /// What the database says.
    pub async fn accounts_of(&mut self, budget: &BudgetId, limit: u32) -> Result<Vec<Account>> {
        let query = select_accounts()
            .and_where(Expr::col("budget_id").eq(budget.as_str()))
            .order_by("period_start", Order::Desc)
            .limit(u64::from(limit))
            .to_owned();
        self.fetch_all(ACCOUNTS, &query).await?.iter().map(read_account).collect()
    }

    /// Lists what an incarnation holds, in key order.
    ///
    /// # Errors
    /// What the database says.
    pub async fn leases_of(&mut self, incarnation: &Incarnation) -> Result<Vec<Lease>> {
        let query = select_leases().and_where(Expr::col("incarnation").eq(incarnation.as_str())).to_owned();
        let mut leases: Vec<Lease> =
            self.fetch_all(LEASES, &query).await?.iter().map(read_lease).collect::<Result<_>>()?;
        leases.sort_by(|a, b| a.account.cmp(&b.account));
        Ok(leases)
    }

    /// Lists what an incarnation holds with the accounts' standing, in key order: the totals that heal a lost grant.
    ///
    /// # Errors
    /// What the database says.
    pub async fn balances(&mut self, incarnation: &Incarnation) -> Result<Vec<GrantRow>> {
        let mut rows = Vec::new();
        for lease in self.leases_of(incarnation).await? {
            let account = self.account(&lease.account).await?;
            let account = account.ok_or_else(|| broken(&lease.account, "a lease has no account"))?;
            rows.push(account.grant_row(lease.granted));
        }
        Ok(rows)
    }

    /// Checks that an account's escrow is what its leases hold.
    ///
    /// # Errors
    /// [`StoreError::Invariant`] with the numbers when it is not.
    pub async fn check_account(&mut self, key: &AccountKey) -> Result<()> {
        let sum = self.dialect().sum(Expr::col("granted_nano").sub(Expr::col("returned_nano")));
        let held = Query::select().expr(sum).from(LEASES).cond_where(is_account(key)).to_owned();
        let held: i64 = match self.fetch_optional(LEASES, &held).await? {
            Some(row) => row.cells(LEASES).take()?,
            None => 0,
        };
        let escrow = self.account(key).await?.map_or(0, |account| account.escrow.get());
        if held == escrow {
            return Ok(());
        }
        Err(broken(key, &format!("its escrow is {escrow}, its leases hold {held}")))
    }

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

    pub(crate) async fn create_account(&mut self, key: &AccountKey) -> Result<()> {
        let columns = [
            "budget_id",
            "period_start",
            "period_end",
            "peak_limit_nano",
            "escrow_nano",
            "unleased_nano",
            "settled_nano",
        ];
        let mut values: Vec<Expr> = vec![Expr::val(key.budget_id.as_str()), Expr::val(key.period_start.get())];
        values.extend(std::iter::repeat_n(Expr::val(0_i64), 5));
        self.insert_if_absent(ACCOUNTS, &columns, Dialect::keep_existing(&ACCOUNT_KEY), values).await
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

pub(crate) fn broken(key: &AccountKey, what: &str) -> StoreError {
    StoreError::Invariant(format!("account {} of period {}: {what}", key.budget_id, key.period_start.get()))
}

pub(crate) fn is_account(key: &AccountKey) -> Expr {
    Expr::col("budget_id").eq(key.budget_id.as_str()).and(Expr::col("period_start").eq(key.period_start.get()))
}

fn select_accounts() -> SelectStatement {
    Query::select()
        .columns([
            "budget_id",
            "period_start",
            "period_end",
            "limit_nano",
            "peak_limit_nano",
            "escrow_nano",
            "unleased_nano",
            "settled_nano",
        ])
        .from(ACCOUNTS)
        .to_owned()
}

/// Every account, in key order.
pub(crate) fn all_accounts() -> SelectStatement {
    select_accounts().order_by("budget_id", Order::Asc).order_by("period_start", Order::Asc).to_owned()
}

fn select_account(key: &AccountKey) -> SelectStatement {
    select_accounts().cond_where(is_account(key)).to_owned()
}

pub(crate) fn read_account(row: &Row) -> Result<Account> {
    let mut cells = row.cells(ACCOUNTS);
    Ok(Account {
        key: AccountKey {
            budget_id: BudgetId::from(cells.take::<String>()?),
            period_start: UnixMicros::new(cells.take()?),
        },
        period_end: UnixMicros::new(cells.take()?),
        limit: cells.take::<Option<i64>>()?.map(NanoUsd::new),
        peak_limit: NanoUsd::new(cells.take()?),
        escrow: NanoUsd::new(cells.take()?),
        unleased: NanoUsd::new(cells.take()?),
        settled: NanoUsd::new(cells.take()?),
    })
}

fn select_leases() -> SelectStatement {
    Query::select()
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
        .from(LEASES)
        .to_owned()
}

fn read_lease(row: &Row) -> Result<Lease> {
    let mut cells = row.cells(LEASES);
    Ok(Lease {
        incarnation: Incarnation::from(cells.take::<String>()?),
        account: AccountKey {
            budget_id: BudgetId::from(cells.take::<String>()?),
            period_start: UnixMicros::new(cells.take()?),
        },
        granted: NanoUsd::new(cells.take()?),
        spent: NanoUsd::new(cells.take()?),
        returned: NanoUsd::new(cells.take()?),
        settled: NanoUsd::new(cells.take()?),
        sealed: cells.take::<i64>()? != 0,
    })
}
