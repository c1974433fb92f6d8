//! Suspense: what a vanished node holds, item by item.
//!
//! Rule: suspense is counted as spent and is never released by a timeout. It ends by the node's journal, by the end of the
//! period, or by an operator who knows that the process is dead, says what it spent at most, and why.

use super::lease::{Lease, Seal};
use crate::budget::AccountKey;
use crate::budget::planted::{Bug, has};
use crate::ids::{Incarnation, NodeId};
use crate::money::NanoUsd;
use crate::time::UnixMicros;

/// An incarnation that was not heard for this long is listed, in microseconds. It is still counted, and may come back.
const SILENT_US: i64 = 60_000_000;

/// Why an incarnation is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vanished {
    /// Its journal may lack its end.
    Torn,
    /// Its node has started anew without its journal.
    Replaced,
    /// It has not been heard for a minute; it may be cut off and spending.
    Silent,
}

/// Held money that nobody can account for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The node.
    pub node: NodeId,
    /// The incarnation.
    pub incarnation: Incarnation,
    /// The account.
    pub account: AccountKey,
    /// How much, in 1e-9 USD.
    pub amount: NanoUsd,
    /// When the incarnation was last heard.
    pub since: UnixMicros,
    /// Why it is listed.
    pub why: Vanished,
}

/// What releases an item without anybody asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The period is over: the hold is written off as spent.
    PeriodOver,
    /// Never. (What a timeout would do.)
    Timeout,
}

/// Decides whether an incarnation is listed. A node has one living incarnation; an earlier one of it that is not sealed
/// has vanished.
pub fn vanished(
    seal: Seal,
    is_torn: bool,
    has_successor: bool,
    seen_at: UnixMicros,
    now: UnixMicros,
) -> Option<Vanished> {
    if seal != Seal::Open {
        return None;
    }
    match (is_torn, has_successor) {
        (true, _) => Some(Vanished::Torn),
        (false, true) => Some(Vanished::Replaced),
        (false, false) => (now.get().saturating_sub(seen_at.get()) >= SILENT_US).then_some(Vanished::Silent),
    }
}

/// Lists what a vanished incarnation holds, in the order given.
pub fn items<'l>(
    (node, incarnation, since, why): (&NodeId, &Incarnation, UnixMicros, Vanished),
    leases: impl Iterator<Item = (&'l AccountKey, &'l Lease)>,
) -> Vec<Item> {
    leases
        .filter(|(_, lease)| lease.hold() > NanoUsd::ZERO)
        .map(|(account, lease)| Item {
            node: node.clone(),
            incarnation: incarnation.clone(),
            account: account.clone(),
            amount: lease.hold(),
            since,
            why,
        })
        .collect()
}

/// Decides what releases an item now. A cut-off node may still be spending, so silence alone releases nothing, and the end
/// of the period only what nothing can be granted of any more.
pub fn release_due(why: Vanished, seen_at: UnixMicros, period_end: UnixMicros, now: UnixMicros) -> Option<Release> {
    if has(Bug::TimeoutReleases) && now.get().saturating_sub(seen_at.get()) >= SILENT_US / 4 {
        return Some(Release::Timeout);
    }
    (why != Vanished::Silent && period_end.get() != 0 && period_end <= now).then_some(Release::PeriodOver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_lists_and_never_releases() {
        let at = |seconds: i64| UnixMicros::new(seconds * 1_000_000);
        assert_eq!(vanished(Seal::Open, false, false, at(0), at(59)), None);
        assert_eq!(vanished(Seal::Open, false, false, at(0), at(60)), Some(Vanished::Silent));
        assert_eq!(vanished(Seal::Closed, true, true, at(0), at(600)), None);
        assert_eq!(release_due(Vanished::Silent, at(0), at(100), at(1_000_000)), None);
        assert_eq!(release_due(Vanished::Torn, at(0), at(100), at(99)), None);
        assert_eq!(release_due(Vanished::Torn, at(0), at(100), at(100)), Some(Release::PeriodOver));
    }
}
