//! One record as one row.
//!
//! Rule: what is filtered or summed is a column, the rest is compact JSON; a record that one of the databases could not
//! keep, or whose sums could leave their range, is refused before it is written, so a batch never fails for one of its
//! records. Texts that clients choose are cut at 255 characters, ids never.

use crate::rollup_keys::RollupKey;
use crate::schema::{KEY_CHARS, SHORT_CHARS};
use crate::trace_text;
use helix_shared::budget::AccountKey;
use helix_shared::ids::{ApiKeyId, BudgetId, Incarnation, TeamId, UserId};
use helix_shared::money::NanoUsd;
use helix_shared::record::{Attempt, Decision, Record};
use helix_shared::usage::TokenUsage;
use sea_query::Expr;
use std::collections::BTreeSet;

pub(crate) const RECORDS: &str = "usage_records";

/// The columns of a record, in the order in which they are written and read.
pub(crate) const COLUMNS: [&str; 36] = [
    "incarnation",
    "seq",
    "request_id",
    "config_revision",
    "api_key_id",
    "user_id",
    "team_id",
    "decision",
    "decision_stage",
    "decision_code",
    "dialect",
    "requested_model",
    "served_model",
    "backend_id",
    "model",
    "provider",
    "strategy",
    "is_streaming",
    "http_status",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "other_units",
    "cost_nano",
    "basis",
    "started_at",
    "first_byte_us",
    "total_us",
    "charged",
    "attempts",
    "stages",
    "cost_center",
    "price_version",
    "attempt_units",
    "trace",
];

/// The most units of a kind that one record may have: sums of them stay far from the end of the range.
const MAX_UNITS: u64 = 1_000_000_000_000;
/// The most that one record may cost: a million USD.
pub(crate) const MAX_COST_NANO: i64 = 1_000_000_000_000_000;

/// Attempt as kept: intent, backend, upstream model, status, error, µs, cost, basis, the provider's request id.
pub(crate) type AttemptRow = (u64, String, String, u16, String, u32, i64, String, String);
/// Stage as kept: name, verdict, reason, µs.
pub(crate) type StageRow = (String, String, String, u64);
/// Charge as kept: budget, period, what covers it.
pub(crate) type ChargeRow = (String, i64, u8);
/// What an attempt used and by which prices: the version, and its units without the zeros at the end.
pub(crate) type UnitsRow = (String, Vec<u64>);

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

pub(crate) fn units(usage: &TokenUsage) -> [u64; 15] {
    [
        usage.input_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.cache_write_long_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
        usage.audio_input_tokens,
        usage.audio_output_tokens,
        usage.searches,
        usage.image_input_tokens,
        usage.image_output_tokens,
        usage.images,
        usage.characters,
        usage.audio_input_ms,
        usage.audio_output_ms,
    ]
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

/// `None` when it is what the row says already.
fn unless_same(text: String, same: &str) -> Option<String> {
    (text != same).then_some(text)
}

fn json<T: serde::Serialize>(value: &T) -> String {
    // tuples of texts and numbers always encode
    serde_json::to_string(value).unwrap_or_default()
}

impl Checked<'_> {
    /// What covers a charge, when the incarnation holds leases of these accounts.
    pub(crate) fn cover(&self, account: &AccountKey, leased: &BTreeSet<AccountKey>) -> Cover {
        if self.record.unreserved.contains(&account.budget_id) {
            return Cover::Unreserved;
        }
        if leased.contains(account) { Cover::Lease } else { Cover::None }
    }

    /// The row. `leased` are the accounts that this incarnation holds leases of.
    pub(crate) fn values(&self, leased: &BTreeSet<AccountKey>) -> Vec<Expr> {
        let record = self.record;
        let usage = &record.usage;
        let (stage, code) = match &record.decision {
            Decision::Allowed => ("", ""),
            Decision::Denied { stage, code } | Decision::Failed { stage, code } => (stage.as_str(), code.as_str()),
        };
        // checked: none of them is out of range
        let number = |value: u64| Expr::val(i64::try_from(value).unwrap_or(i64::MAX));
        let text = |id: Option<&str>| Expr::val(id.unwrap_or_default());
        vec![
            Expr::val(record.incarnation.as_str()),
            Expr::val(self.seq),
            Expr::val(clip(&record.request_id)),
            number(record.config_revision),
            text(record.actor.api_key_id.as_ref().map(ApiKeyId::as_str)),
            text(record.actor.user_id.as_ref().map(UserId::as_str)),
            text(record.actor.team_id.as_ref().map(TeamId::as_str)),
            Expr::val(record.decision.as_str()),
            Expr::val(clip(stage)),
            Expr::val(clip(code)),
            Expr::val(clip(&record.dialect)),
            Expr::val(unless_same(clip(&record.requested_model), &self.model)),
            Expr::val(unless_same(clip(&record.served_model), &self.model)),
            Expr::val(unless_same(record.backend_id.clone(), &self.provider)),
            Expr::val(self.model.as_str()),
            Expr::val(self.provider.as_str()),
            Expr::val(clip(&record.strategy)),
            Expr::val(i64::from(record.is_streaming)),
            Expr::val(i64::from(record.http_status)),
            number(usage.input_tokens),
            number(usage.output_tokens),
            number(usage.cache_read_tokens),
            number(usage.cache_write_tokens.saturating_add(usage.cache_write_long_tokens)),
            Expr::val(other_units(usage)),
            Expr::val(record.cost.get()),
            Expr::val(record.basis.as_str()),
            Expr::val(record.started_at.get()),
            number(record.first_byte_us),
            number(record.total_us),
            Expr::val(charges_json(&self.charged, |account| self.cover(account, leased))),
            Expr::val(attempts_json(&record.attempts)),
            // the release before this one reads stages here; they are in `trace`
            Expr::val("[]"),
            Expr::val((!self.cost_center.is_empty()).then_some(self.cost_center.as_str())),
            Expr::val(price_version(record)),
            Expr::val(attempt_units_json(record)),
            Expr::val(trace_text::write(&record.stages)),
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

/// The prices of the last attempt; `None` when it had none.
fn price_version(record: &Record) -> Option<String> {
    let version = record.attempts.last().map(|attempt| clip(&attempt.price_version));
    version.filter(|version| !version.is_empty())
}

/// What each attempt used; `None` when the row says it already.
fn attempt_units_json(record: &Record) -> Option<String> {
    let is_said = match record.attempts.as_slice() {
        [] => true,
        [only] => only.usage == record.usage,
        _ => false,
    };
    let row = |attempt: &Attempt| {
        let mut used = units(&attempt.usage).to_vec();
        while used.last() == Some(&0) {
            used.pop();
        }
        (clip(&attempt.price_version), used)
    };
    (!is_said).then(|| json(&record.attempts.iter().map(row).collect::<Vec<UnitsRow>>()))
}

/// Accounts that are charged without a lease.
pub(crate) fn unleased_json(charged: &[AccountKey]) -> String {
    charges_json(&charged.iter().collect::<Vec<_>>(), |_| Cover::None)
}

/// Long cache writes, reasoning, audio in, audio out, searches, and what media are charged by; empty when there are none.
fn other_units(usage: &TokenUsage) -> String {
    let mut others = vec![
        usage.cache_write_long_tokens,
        usage.reasoning_tokens,
        usage.audio_input_tokens,
        usage.audio_output_tokens,
        usage.searches,
    ];
    let media = [
        usage.image_input_tokens,
        usage.image_output_tokens,
        usage.images,
        usage.characters,
        usage.audio_input_ms,
        usage.audio_output_ms,
    ];
    if media.iter().any(|units| *units > 0) {
        others.extend(media);
    }
    if others.iter().all(|units| *units == 0) { String::new() } else { json(&others) }
}

fn charges_json(charged: &[&AccountKey], cover: impl Fn(&AccountKey) -> Cover) -> String {
    let rows: Vec<ChargeRow> = charged
        .iter()
        .map(|key| (key.budget_id.as_str().to_owned(), key.period_start.get(), cover(key) as u8))
        .collect();
    json(&rows)
}

fn attempts_json(attempts: &[Attempt]) -> String {
    let rows: Vec<_> = attempts
        .iter()
        .map(|attempt| {
            (
                attempt.intent,
                attempt.backend_id.as_str(),
                &attempt.upstream_model,
                attempt.status,
                &attempt.error,
                attempt.duration_us,
                attempt.cost.get(),
                &attempt.basis,
                &attempt.provider_request_id,
            )
        })
        .collect();
    json(&rows)
}
