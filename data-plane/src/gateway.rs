//! What every request shares.

use crate::budget::escrowing::Escrow;
use crate::config::Current;
use crate::egress::Guard;
use crate::metrics::Metrics;
use crate::pipeline::body_room::BodyRoom;
use crate::pipeline::counting::Desk;
use crate::records::journal::Journal;
use crate::span::Spans;
use crate::tasks::Tasks;
use helix_shared::time::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The state behind the pipeline; one for each process.
#[derive(Debug)]
pub struct Gateway {
    /// Configuration in force.
    pub current: Arc<Current>,
    /// Budgets.
    pub escrow: Escrow,
    /// Records.
    pub journal: Arc<Journal>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Counters.
    pub metrics: Metrics,
    /// Traces.
    pub spans: Spans,
    /// Background work of requests whose clients left.
    pub drains: Tasks,
    /// Most requests at once.
    pub max_in_flight: usize,
    /// Limit of reading a body.
    pub body_timeout: Duration,
    /// Memory for bodies.
    pub body_room: BodyRoom,
    /// Where is counted what no provider counted.
    pub desk: Desk,
    /// The way to files that requests name by URL.
    pub egress: Guard,
    /// Requests being handled.
    pub in_flight: AtomicUsize,
}

/// A request's place among those in flight.
#[derive(Debug)]
pub struct Place(Arc<Gateway>);

impl Gateway {
    /// Claims a place; `None`: the gateway is at its limit, which is answered at once instead of queueing.
    pub fn enter(self: &Arc<Self>) -> Option<Place> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(self));
        (before < self.max_in_flight).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
