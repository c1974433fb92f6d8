//! Runs many schedules and says what they came to: `cargo run --profile dist -p helix-sim -- --schedules 1000000`.
//!
//! Rule: the first violation ends the run with its seed; `--seed N --schedules 1` runs that one again. Not here: the
//! simulation.

use anyhow::Context as _;
use clap::Parser;
use helix_sim::{Shape, Summary, Violation, run};
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Seeds that a thread takes at once.
const PORTION: u64 = 64;
/// A line of progress after so many schedules.
const PROGRESS: u64 = 10_000;

/// Simulates the escrow protocol under faults.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many schedules to run.
    #[arg(long, default_value_t = 20_000)]
    schedules: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// No faults: measures wrongful denials.
    #[arg(long)]
    healthy: bool,
    /// A database that fails over again and again, often as a copy.
    #[arg(long, conflicts_with = "healthy")]
    copied: bool,
    /// How many at a time; without it, as many as there are cores.
    #[arg(long)]
    threads: Option<usize>,
    /// Plants each bug in turn and says which seed finds it; fails when one is not found in so many schedules.
    #[cfg(feature = "planted-bugs")]
    #[arg(long)]
    find_bugs: bool,
    /// A planted bug, by its number; needs the feature `planted-bugs`.
    #[cfg(feature = "planted-bugs")]
    #[arg(long)]
    bug: Option<usize>,
}

impl Arguments {
    fn shape(&self) -> Shape {
        match (self.healthy, self.copied) {
            (true, _) => Shape::Healthy,
            (false, true) => Shape::Copied,
            (false, false) => Shape::Faulty,
        }
    }

    /// Plants what was asked for into the machines of the calling thread.
    #[cfg(feature = "planted-bugs")]
    fn plant(&self) {
        use helix_shared::budget::planted::{Bug, plant};
        plant(self.bug.and_then(|number| Bug::ALL.get(number.checked_sub(1)?)).copied());
    }

    #[cfg(not(feature = "planted-bugs"))]
    fn plant(&self) {}
}

/// Seeds that are not taken yet, and what the taken ones came to.
struct Work {
    next: AtomicU64,
    done: AtomicU64,
    has_failed: AtomicBool,
    end: u64,
    start: Instant,
}

impl Work {
    /// Runs portions until there are none or somebody has found a violation.
    fn run(&self, arguments: &Arguments) -> Result<Summary, Box<Violation>> {
        arguments.plant();
        let mut total = Summary::default();
        loop {
            let first = self.next.fetch_add(PORTION, Ordering::Relaxed);
            if first >= self.end || self.has_failed.load(Ordering::Relaxed) {
                return Ok(total);
            }
            let last = first.saturating_add(PORTION).min(self.end);
            for seed in first..last {
                let summary =
                    run(seed, arguments.shape()).inspect_err(|_| self.has_failed.store(true, Ordering::Relaxed))?;
                total.add(&summary);
            }
            let before = self.done.fetch_add(last - first, Ordering::Relaxed);
            let done = before + (last - first);
            if before / PROGRESS != done / PROGRESS {
                let seconds = self.start.elapsed().as_secs_f64();
                drop(writeln!(std::io::stderr().lock(), "{done} schedules in {seconds:.0} s, no violation"));
            }
        }
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    #[cfg(feature = "planted-bugs")]
    if arguments.find_bugs {
        return find_bugs(&arguments);
    }
    let threads = arguments.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let end = arguments.seed.saturating_add(arguments.schedules);
    let work = Work {
        next: AtomicU64::new(arguments.seed),
        done: AtomicU64::new(0),
        has_failed: AtomicBool::new(false),
        end,
        start: Instant::now(),
    };
    let parts = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(|| work.run(&arguments))).collect();
        running.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let mut total = Summary::default();
    for part in parts {
        total.add(&part.ok().context("a thread of the simulation died")??);
    }
    let seconds = work.start.elapsed().as_secs_f64();
    let mut out = std::io::stdout().lock();
    let (first, count) = (arguments.seed, arguments.schedules);
    writeln!(out, "{count} schedules (seeds {first} to {}) without a violation in {seconds:.1} s: {total:?}", end - 1)?;
    Ok(())
}

/// Plants one bug after the other.
#[cfg(feature = "planted-bugs")]
fn find_bugs(arguments: &Arguments) -> anyhow::Result<()> {
    use helix_shared::budget::planted::{Bug, plant};
    let mut missed = Vec::new();
    for (number, bug) in (1..).zip(Bug::ALL) {
        plant(Some(bug));
        let seeds = arguments.seed..arguments.seed.saturating_add(arguments.schedules);
        let mut shapes = [Shape::Faulty, Shape::Copied].into_iter();
        match shapes.find_map(|shape| seeds.clone().find_map(|seed| run(seed, shape).err())) {
            Some(violation) => writeln!(std::io::stdout().lock(), "{number} {bug:?}: {violation}")?,
            None => missed.push(bug),
        }
    }
    anyhow::ensure!(missed.is_empty(), "not found in {} schedules: {missed:?}", arguments.schedules);
    Ok(())
}
