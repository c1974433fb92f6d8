//! What the proof of the ledger found.
//!
//! Rule: the first bad record is named; of very many problems the first hundred are told and all are counted.

use helix_shared::budget::AccountKey;
use helix_shared::ids::Incarnation;

/// The most problems that are told in words.
const MAX_PROBLEMS: usize = 100;

/// The outcome of a proof of the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerReport {
    /// Records read.
    pub records: u64,
    /// Incarnations they belong to.
    pub incarnations: u64,
    /// Accounts compared.
    pub accounts: u64,
    /// Leases compared.
    pub leases: u64,
    /// Corrections added up.
    pub corrections: u64,
    /// Sums by hour, day and month compared.
    pub rollups: u64,
    /// Entries on top of budgets that were checked.
    pub adjustments: u64,
    /// The end of their chain, as `NUMBER:HASH`, to be noted elsewhere; `None` when there is none.
    pub entries_head: Option<String>,
    /// Records of which several providers charged a part.
    pub shares: u64,
    /// Periods of budgets in which more was spent than the highest limit allowed, and what of: never of what was reserved.
    pub over_limit: Vec<OverLimit>,
    /// Intents of living incarnations whose records have not come yet. No problem by itself: their requests may still
    /// run.
    pub open_intents: u64,
    /// How many problems there are.
    pub problem_count: u64,
    /// The first hundred of them.
    pub problems: Vec<String>,
    /// The first record that a problem could be pinned on.
    pub first_bad: Option<BadRecord>,
}

/// A period in which more was spent than its limit, though nothing was reserved past it. In 1e-9 USD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverLimit {
    /// The account.
    pub account: AccountKey,
    /// The highest limit it had.
    pub limit_nano_usd: i128,
    /// By requests that were admitted while it was hard.
    pub reserved_nano_usd: i128,
    /// By requests that were admitted while it was soft.
    pub soft_nano_usd: i128,
    /// Added by corrections.
    pub corrected_nano_usd: i128,
}

/// A record that is wrong, or stands where something is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRecord {
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Its number.
    pub seq: i64,
    /// Its request.
    pub request_id: String,
    /// What is wrong.
    pub problem: String,
}

impl LedgerReport {
    /// Reports whether everything agrees.
    pub fn is_clean(&self) -> bool {
        self.problem_count == 0
    }

    /// Notes a problem.
    pub(crate) fn problem(&mut self, text: String) {
        self.problem_count = self.problem_count.saturating_add(1);
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(text);
        }
    }

    /// Notes a problem of one record.
    pub(crate) fn bad(&mut self, bad: BadRecord) {
        self.problem(format!(
            "record {} of {} (request {}): {}",
            bad.seq, bad.incarnation, bad.request_id, bad.problem
        ));
        self.first_bad.get_or_insert(bad);
    }
}
