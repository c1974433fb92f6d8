//! One record as one row.
//!
//! Rule: what is filtered or summed is a column, what rows repeat is a number (`interned`), the rest is packed
//! (`record_body`); a record that one of the databases could not keep, or whose sums could leave their range, is refused
//! before it is written, so a batch never fails for one of its records. Texts that clients choose are cut at 255
//! characters, ids never.

use crate::record_body::{pack, units};
use crate::record_words::basis_number;
use crate::request_key::request_key;
use crate::rollup_keys::RollupKey;
use crate::schema::{KEY_CHARS, SHORT_CHARS};
use helix_shared::budget::AccountKey;
use helix_shared::ids::{ApiKeyId, BudgetId, Incarnation, TeamId, UserId};
use helix_shared::money::NanoUsd;
use helix_shared::record::{Decision, Record};
use sea_query::Expr;
use std::collections::BTreeSet;

pub(crate) const RECORDS: &str = "ledger_records";

/// The columns of a record, in the order in which they are written and read.
pub(crate) const COLUMNS: [&str; 14] = [
    "incarnation_no",
    "seq",
    "request_id",
    "key_id",
    "started_at",
    "decision",
    "basis",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "cost_nano",
    "charged_id",
    "body",
];

/// The numbers of decisions in their column.
pub(crate) const ALLOWED: i64 = 0;
pub(crate) const DENIED: i64 = 1;
pub(crate) const FAILED: i64 = 2;
/// The number of the empty list of charges.
pub(crate) const NO_CHARGES: i64 = 0;

/// The most units of a kind that one record may have: sums of them stay far from the end of the range.
const MAX_UNITS: u64 = 1_000_000_000_000;
/// The most that one record may cost: a million USD.
pub(crate) const MAX_COST_NANO: i64 = 1_000_000_000_000_000;

/// Charge as kept: budget, period, what covers it.
pub(crate) type ChargeRow = (String, i64, u8);
/// The charges of a record, as text: most records of a team in a period have the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Charges(pub(crate) String);

/// What stands in a row for what rows repeat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbers {
    pub(crate) incarnation: i64,
    pub(crate) key: i64,
    pub(crate) charges: i64,
}

/// Whether a charge lies within what a lease holds. A lease covers only what was reserved under it: what was spent while a
/// budget was soft is spent beside the lease that the same process may hold from before or after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cover {
    /// The incarnation holds no lease of the account.
    None = 0,
    /// A lease covers it.
    Lease = 1,
    /// Nothing was reserved of it: the budget was soft.
    Unreserved = 2,
}

/// Whether a charge as kept is covered by a lease.
pub(crate) fn is_leased((_, _, cover): &ChargeRow) -> bool {
    *cover == Cover::Lease as u8
}

/// A record that can be kept.
#[derive(Debug)]
pub(crate) struct Checked<'r> {
    pub(crate) record: &'r Record,
    pub(crate) seq: i64,
    /// What sums are kept by.
    pub(crate) model: String,
    pub(crate) provider: String,
    /// The cost centre of who asked, at the revision of the record; empty: none.
    pub(crate) cost_center: String,
    /// Accounts, each once.
    pub(crate) charged: Vec<&'r AccountKey>,
}

/// Cuts a text that a client chose to what every database keeps.
pub(crate) fn clip(text: &str) -> String {
    let limit = usize::try_from(SHORT_CHARS).unwrap_or(usize::MAX);
    text.chars().take(limit).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect()
}

fn key_fits(text: &str) -> bool {
    text.chars().count() <= usize::try_from(KEY_CHARS).unwrap_or(usize::MAX) && !text.contains('\0')
}

fn int(what: &str, value: u64) -> Result<i64, String> {
    i64::try_from(value).map_err(|_| format!("{what} is out of range"))
}

fn cost_fits(cost: NanoUsd) -> bool {
    (0..=MAX_COST_NANO).contains(&cost.get())
}

/// Checks that a record can be kept.
///
/// # Errors
/// Why not, in words.
pub(crate) fn check<'r>(incarnation: &Incarnation, record: &'r Record) -> Result<Checked<'r>, String> {
    if record.incarnation != *incarnation {
        return Err("it is of another incarnation than its batch".to_owned());
    }
    let seq = int("seq", record.seq)?;
    if seq == 0 {
        return Err("seq is zero".to_owned());
    }
    int("config_revision", record.config_revision)?;
    int("first_byte_us", record.first_byte_us)?;
    int("total_us", record.total_us)?;
    if record.started_at.get() < 0 {
        return Err("started_at is out of range".to_owned());
    }
    if !cost_fits(record.cost) || record.attempts.iter().any(|attempt| !cost_fits(attempt.cost)) {
        return Err("a cost is below zero or above a million USD".to_owned());
    }
    let used = record.attempts.iter().map(|attempt| &attempt.usage).chain([&record.usage]);
    if used.flat_map(units).any(|units| units > MAX_UNITS) {
        return Err("a number of tokens is out of range".to_owned());
    }
    let actor = &record.actor;
    let actor_ids = [
        actor.api_key_id.as_ref().map(ApiKeyId::as_str),
        actor.user_id.as_ref().map(UserId::as_str),
        actor.team_id.as_ref().map(TeamId::as_str),
    ];
    let budget_ids = record.charged.iter().map(|account| account.budget_id.as_str());
    let budget_ids = budget_ids.chain(record.unreserved.iter().map(BudgetId::as_str));
    let ids = actor_ids.into_iter().flatten().chain([record.backend_id.as_str()]).chain(budget_ids);
    if let Some(id) = ids.into_iter().find(|id| !key_fits(id)) {
        return Err(format!(
            "the id that begins with `{}` is too long or contains NUL",
            id.chars().take(16).collect::<String>()
        ));
    }
    let mut charged: Vec<&AccountKey> = record.charged.iter().collect();
    charged.sort();
    charged.dedup();
    let (model, provider) = (model_of(record), provider_of(record));
    Ok(Checked { record, seq, model, provider, cost_center: String::new(), charged })
}

/// The model that sums are kept by: the one that answered; else the one asked for, when it was admitted. A name that was
/// refused is anybody's invention and would make a sum of its own each time.
fn model_of(record: &Record) -> String {
    let model = match (&record.decision, record.served_model.is_empty()) {
        (_, false) => clip(&record.served_model),
        (Decision::Denied { .. }, true) => String::new(),
        (Decision::Allowed | Decision::Failed { .. }, true) => clip(&record.requested_model),
    };
    // MySQL does not tell a name from one with spaces after it; so nobody's sums do
    model.trim_end_matches(' ').to_owned()
}

/// The backend that sums are kept by: the one that answered; else the last one tried.
fn provider_of(record: &Record) -> String {
    let tried = || record.attempts.last().map(|attempt| attempt.backend_id.as_str()).filter(|id| key_fits(id));
    if record.backend_id.is_empty() { tried().unwrap_or_default().to_owned() } else { record.backend_id.clone() }
}

impl Checked<'_> {
    /// What covers a charge, when the incarnation holds leases of these accounts.
    pub(crate) fn cover(&self, account: &AccountKey, leased: &BTreeSet<AccountKey>) -> Cover {
        if self.record.unreserved.contains(&account.budget_id) {
            return Cover::Unreserved;
        }
        if leased.contains(account) { Cover::Lease } else { Cover::None }
    }

    /// The charges, with what covers each. `leased` are the accounts that its incarnation holds leases of.
    pub(crate) fn charges(&self, leased: &BTreeSet<AccountKey>) -> Charges {
        Charges::of(self.charged.iter().map(|account| (*account, self.cover(account, leased))))
    }

    /// The row.
    pub(crate) fn values(&self, numbers: Numbers) -> [Expr; COLUMNS.len()] {
        let record = self.record;
        let usage = &record.usage;
        // checked: none of them is out of range
        let number = |value: u64| Expr::val(i64::try_from(value).unwrap_or(i64::MAX));
        [
            Expr::val(numbers.incarnation),
            Expr::val(self.seq),
            Expr::val(request_key(&clip(&record.request_id))),
            Expr::val(numbers.key),
            Expr::val(record.started_at.get()),
            Expr::val(match record.decision {
                Decision::Allowed => ALLOWED,
                Decision::Denied { .. } => DENIED,
                Decision::Failed { .. } => FAILED,
            }),
            Expr::val(basis_number(record.basis)),
            number(usage.input_tokens),
            number(usage.output_tokens),
            number(usage.cache_read_tokens),
            number(usage.cache_write_tokens.saturating_add(usage.cache_write_long_tokens)),
            Expr::val(record.cost.get()),
            Expr::val(numbers.charges),
            Expr::val(pack(self)),
        ]
    }

    /// What sums of it are kept by.
    pub(crate) fn rollup_key(&self) -> RollupKey {
        let actor = &self.record.actor;
        let text = |id: Option<&str>| id.unwrap_or_default().to_owned();
        RollupKey {
            team_id: text(actor.team_id.as_ref().map(TeamId::as_str)),
            user_id: text(actor.user_id.as_ref().map(UserId::as_str)),
            api_key_id: text(actor.api_key_id.as_ref().map(ApiKeyId::as_str)),
            model: self.model.clone(),
            provider: self.provider.clone(),
            cost_center: self.cost_center.clone(),
        }
    }
}

impl Charges {
    /// The text of charges; empty for none.
    pub(crate) fn of<'a>(charged: impl Iterator<Item = (&'a AccountKey, Cover)>) -> Self {
        let row = |(key, cover): (&AccountKey, Cover)| -> ChargeRow {
            (key.budget_id.as_str().to_owned(), key.period_start.get(), cover as u8)
        };
        let rows: Vec<ChargeRow> = charged.map(row).collect();
        // tuples of texts and numbers always encode
        Self(if rows.is_empty() { String::new() } else { serde_json::to_string(&rows).unwrap_or_default() })
    }

    /// What it says; nothing for an empty one.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub(crate) fn rows(text: &str) -> serde_json::Result<Vec<ChargeRow>> {
        if text.is_empty() { Ok(Vec::new()) } else { serde_json::from_str(text) }
    }
}

/// Accounts that are charged without a lease, as text.
pub(crate) fn unleased(charged: &[AccountKey]) -> Charges {
    Charges::of(charged.iter().map(|account| (account, Cover::None)))
}
