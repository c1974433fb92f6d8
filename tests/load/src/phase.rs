//! The measurements, one a file: each takes a running contestant and returns figures.
//!
//! Rule: a phase sees a contestant only as an address and a process, so that none can be treated differently. It
//! deliberately knows nothing of rounds, medians or targets; `run` and `report` do.

pub(crate) mod latency;
pub(crate) mod overload;
pub(crate) mod saturation;
pub(crate) mod streams;

use crate::process::{CoreTime, Process};
use std::time::Duration;

/// CPU spent by a contestant in a window, with the noise around it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) cpu_ns: u64,
    pub(crate) busy_share: f64,
    pub(crate) foreign_share: f64,
}

/// Measures a contestant's CPU while `length` passes.
pub(crate) async fn window(process: &Process, core: usize, length: Duration) -> Window {
    let (core_before, before) = (CoreTime::now(core), process.cpu_time());
    tokio::time::sleep(length).await;
    let cpu_ns = process.cpu_time().since(&before);
    let (busy_share, foreign_share) = CoreTime::now(core).shares_since(&core_before, cpu_ns);
    Window { cpu_ns, busy_share, foreign_share }
}

/// Keeps the load thread from ever sleeping.
///
/// A contestant that writes to a sleeping peer pays for waking it, by an interrupt to another core, which costs as much
/// as several system calls; a fast contestant keeps its peers busy and pays nothing. With peers that never sleep each
/// contestant's figure is its own.
pub(crate) async fn stay_awake() {
    loop {
        tokio::task::yield_now().await;
    }
}
