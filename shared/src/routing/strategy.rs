//! How a route orders its targets.
//!
//! Rule: a strategy orders, it never drops: failover walks the whole list. `priority` keeps the written order; the other
//! names are known and keep the written order too until their signals (cost, latency, weights) are wired, which the
//! configuration says in a warning.

/// A strategy's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// As written.
    Priority,
    /// Cheapest first.
    LowestCost,
    /// Fastest first.
    LowestLatency,
    /// In turn.
    RoundRobin,
    /// By share.
    Weighted,
}

impl Strategy {
    /// Every strategy.
    pub const ALL: [Self; 5] =
        [Self::Priority, Self::LowestCost, Self::LowestLatency, Self::RoundRobin, Self::Weighted];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Priority => "priority",
            Self::LowestCost => "lowest_cost",
            Self::LowestLatency => "lowest_latency",
            Self::RoundRobin => "round_robin",
            Self::Weighted => "weighted",
        }
    }

    /// Reads the stable name; `None` for another word.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|strategy| strategy.as_str() == name)
    }
}
