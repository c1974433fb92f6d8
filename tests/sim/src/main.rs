//! Runs many schedules and says what they came to: `cargo run --release -p helix-sim -- --schedules 1000000`.
//!
//! Rule: the first violation ends the run with its seed; `--seed N` runs that one again. Not here: the simulation.

use clap::Parser;
use helix_sim::{Shape, Summary, run};
use std::io::Write as _;
use std::time::Instant;

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
    /// A planted bug, by its number; needs the feature `planted-bugs`.
    #[cfg(feature = "planted-bugs")]
    #[arg(long)]
    bug: Option<usize>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let shape = if arguments.healthy { Shape::Healthy } else { Shape::Faulty };
    #[cfg(feature = "planted-bugs")]
    {
        use helix_shared::budget::planted::{Bug, plant};
        let bug = arguments.bug.and_then(|number| Bug::ALL.get(number.checked_sub(1)?));
        plant(bug.copied());
    }
    let start = Instant::now();
    let mut total = Summary::default();
    for seed in arguments.seed..arguments.seed.saturating_add(arguments.schedules) {
        total.add(&run(seed, shape)?);
    }
    let seconds = start.elapsed().as_secs_f64();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} schedules without a violation in {seconds:.1} s: {total:?}", arguments.schedules)?;
    Ok(())
}
