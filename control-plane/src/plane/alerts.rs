//! What budgets have reached, told: a line in the log and a count.
//!
//! Rule: this is the one place that an event of a budget leaves the ledger by, after its commit. The table is what counts:
//! a process that dies before it tells has told nobody, and the event still stands there. A log names no person.

use helix_shared::budget::{AlertKind, Share};
use helix_store::BudgetEvent;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const KINDS: [AlertKind; 3] = [AlertKind::ThresholdReached, AlertKind::SoftExceeded, AlertKind::Exceeded];

/// Tells events. Cloning shares the counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alerts(Arc<[AtomicU64; 3]>);

impl Alerts {
    /// Tells what was just committed.
    pub(crate) fn tell(&self, events: &[BudgetEvent]) {
        for event in events {
            let place = KINDS.iter().position(|kind| kind.as_str() == event.kind);
            if let Some(count) = place.and_then(|place| self.0.get(place)) {
                count.fetch_add(1, Ordering::Relaxed);
            }
            // a person's budget is called by an address
            let budget = if event.scope.starts_with("user:") { "of a user" } else { event.label.as_str() };
            let share = Share::of_ten_thousandths(event.threshold).map(|share| share.to_string()).unwrap_or_default();
            tracing::warn!(
                event.id = event.id, event.kind = event.kind, budget, share,
                used_nano_usd = event.used_nano.get(), limit_nano_usd = event.limit_nano.get(),
                resets_at = %event.period_end,
                "a budget has reached {share} of its limit; `ledger alerts` names it"
            );
        }
    }

    /// The counts as OpenMetrics text.
    pub(crate) fn metrics(&self) -> String {
        let name = "helix_control_budget_alerts";
        let mut text = format!("# HELP {name} Events of budgets that were told.\n# TYPE {name} counter\n");
        for (kind, count) in KINDS.iter().zip(self.0.iter()) {
            let count = count.load(Ordering::Relaxed);
            text.push_str(&format!("{name}_total{{kind=\"{}\"}} {count}\n", kind.as_str()));
        }
        text
    }
}
