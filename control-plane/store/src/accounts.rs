//! Accounts of budgets in their periods, and what incarnations hold of them: the rows and how they are read.
//!
//! Rule: money here is totals; only `escrow` and the taking of records change them.

use crate::db::Tx;
use crate::dialect::Dialect;
use crate::error::{Result, StoreError};
use crate::row::Row;
use helix_shared::budget::AccountKey;
use helix_shared::budget::plane::{Funds, Lease as LeaseTotals};
use helix_shared::ids::{BudgetId, Incarnation};
use helix_shared::money::NanoUsd;
use helix_shared::time::UnixMicros;
use sea_query::{Cond, Condition, Expr, ExprTrait as _, Order, Query, SelectStatement};

pub(crate) const ACCOUNTS: &str = "accounts";
pub(crate) const LEASES: &str = "leases";
pub(crate) const ACCOUNT_KEY: [&str; 2] = ["budget_id", "period_start"];

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
    /// Cost of the records that were charged without being reserved under a lease (a soft budget).
    pub unleased: NanoUsd,
    /// Cost of all records charged to it.
    pub settled: NanoUsd,
}

impl Account {
    /// How it stands, as the protocol's rules see it.
    pub fn funds(&self) -> Funds {
        let limit = self.limit.unwrap_or_default();
        Funds { limit, escrow: self.escrow, unleased: self.unleased, settled: self.settled }
    }

    /// What nobody holds; below zero after the limit was lowered.
    pub fn available(&self) -> NanoUsd {
        self.funds().available()
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
    /// Counted as spent beyond `spent`, by an operator's word or because the period is over.
    pub written_off: NanoUsd,
    /// Closed or released: nothing changes any more.
    pub sealed: bool,
}

impl Lease {
    /// Its totals, as the protocol's rules see them.
    pub fn totals(&self) -> LeaseTotals {
        let Self { granted, spent, returned, settled, written_off, .. } = *self;
        LeaseTotals { granted, spent, returned, settled, written_off }
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

    /// Of these accounts, those that exist.
    pub(crate) async fn accounts_among(&mut self, keys: &[AccountKey]) -> Result<Vec<Account>> {
        let query = select_accounts().cond_where(is_any_account(keys)).to_owned();
        self.fetch_all(ACCOUNTS, &query).await?.iter().map(read_account).collect()
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

    /// Gets one lease; `None` when the incarnation holds nothing of the account.
    ///
    /// # Errors
    /// What the database says.
    pub async fn lease(&mut self, incarnation: &Incarnation, key: &AccountKey) -> Result<Option<Lease>> {
        let query = select_leases()
            .and_where(Expr::col("incarnation").eq(incarnation.as_str()))
            .cond_where(is_account(key))
            .to_owned();
        self.fetch_optional(LEASES, &query).await?.as_ref().map(read_lease).transpose()
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

    /// Makes an account that nobody has asked of yet; one that exists stays as it is.
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
}

pub(crate) fn broken(key: &AccountKey, what: &str) -> StoreError {
    StoreError::Invariant(format!("account {} of period {}: {what}", key.budget_id, key.period_start.get()))
}

pub(crate) fn is_account(key: &AccountKey) -> Expr {
    Expr::col("budget_id").eq(key.budget_id.as_str()).and(Expr::col("period_start").eq(key.period_start.get()))
}

/// Whether a row is of one of these accounts; nothing is of none.
pub(crate) fn is_any_account(keys: &[AccountKey]) -> Condition {
    keys.iter().fold(Cond::any().add(Expr::val(1_i64).eq(0_i64)), |any, key| any.add(is_account(key)))
}

pub(crate) fn select_accounts() -> SelectStatement {
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

pub(crate) fn select_account(key: &AccountKey) -> SelectStatement {
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

pub(crate) fn select_leases() -> SelectStatement {
    Query::select()
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
        .from(LEASES)
        .to_owned()
}

pub(crate) fn read_lease(row: &Row) -> Result<Lease> {
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
        written_off: NanoUsd::new(cells.take::<Option<i64>>()?.unwrap_or_default()),
        sealed: cells.take::<i64>()? != 0,
    })
}
