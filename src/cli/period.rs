//! Periods on the command line: `--month 2026-11`, or `--from` and `--until`, in UTC.
//!
//! Rule: a period ends before what `--until` names; a date is its first instant. Reports are made of whole hours.

use clap::Args;
use helix_shared::time::{Clock as _, SystemClock, UnixMicros};

/// Which period.
#[derive(Debug, Clone, Args)]
pub(super) struct PeriodArgs {
    /// A calendar month, UTC, such as 2026-11. Without any period: this month so far.
    #[arg(long, value_name = "YYYY-MM", conflicts_with_all = ["from", "until"])]
    month: Option<String>,
    /// The first day, such as 2026-11-01, or a whole hour, such as 2026-11-01T08:00:00Z.
    #[arg(long, value_name = "DATE", requires = "until")]
    from: Option<String>,
    /// The first day or hour after the period.
    #[arg(long, value_name = "DATE", requires = "from")]
    until: Option<String>,
}

/// A period, and whether it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) from: UnixMicros,
    pub(super) until: UnixMicros,
    pub(super) is_over: bool,
}

impl PeriodArgs {
    /// The period that was asked for.
    ///
    /// # Errors
    /// What is wrong with it, and how it is written.
    pub(super) fn chosen(&self) -> anyhow::Result<Chosen> {
        let now = SystemClock::new().now();
        let (from, until) = match (&self.month, &self.from, &self.until) {
            (Some(month), _, _) => {
                let from = UnixMicros::parse(&format!("{month}-01T00:00:00Z")).filter(|_| month.len() == 7);
                let from = from.ok_or_else(|| anyhow::anyhow!("--month: `{month}` is not a month such as 2026-11"))?;
                (from, from.next_month_start())
            }
            (None, Some(from), Some(until)) => (moment("--from", from)?, moment("--until", until)?),
            (None, _, _) => (now.month_start(), now.next_month_start()),
        };
        anyhow::ensure!(from < until, "the period is empty: it begins at {from} and ends before {until}");
        Ok(Chosen { from, until, is_over: until <= now })
    }
}

fn moment(flag: &str, text: &str) -> anyhow::Result<UnixMicros> {
    let full = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    UnixMicros::parse(&full)
        .filter(|at| at.get() % 3_600_000_000 == 0)
        .ok_or_else(|| anyhow::anyhow!("{flag}: `{text}` is neither a date such as 2026-11-01 nor a whole hour"))
}
