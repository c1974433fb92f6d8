//! What can happen, and the queue that says when. Rule: events of one moment happen in the order they were queued.

use helix_shared::budget::message::{Report, Update};
use helix_shared::budget::node::Ending;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// How a proxy dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// `kill -9`: the disk and the boot stay.
    Kill,
    /// The machine loses power: the end of the journal may be gone.
    Power,
    /// The disk is gone too.
    DiskLost,
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Arrive { node: usize },
    Done { node: usize, life: u64, attempt: u64, ending: Ending },
    Wake { node: usize, life: u64 },
    ToPlane { node: usize, life: u64, report: Report },
    ToNode { node: usize, life: u64, update: Update },
    Session { id: u64 },
    Die { node: usize, death: Death },
    Restart { node: usize },
    PlaneDown { plane: usize },
    PlaneUp { plane: usize },
    CutOff { node: usize },
    Join { node: usize },
    Failover { lost: u64, is_copied: bool },
    EditLimit { plane: usize, budget: usize, limit: i64 },
    MoveClock { plane: usize, by_us: i64 },
    Operator,
    Suspense,
    Heal,
    Probe,
}

/// An event and its place: the moment, and how many were queued before it.
#[derive(Debug)]
struct Queued(u64, u64, Box<Event>);

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Queued {}

/// Events by time.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    events: BinaryHeap<Reverse<Queued>>,
    queued: u64,
}

impl Queue {
    pub(crate) fn at(&mut self, at_us: u64, event: Event) {
        self.queued += 1;
        self.events.push(Reverse(Queued(at_us, self.queued, Box::new(event))));
    }

    pub(crate) fn pop(&mut self) -> Option<(u64, Event)> {
        self.events.pop().map(|Reverse(Queued(at_us, _, event))| (at_us, *event))
    }
}
