//! A deterministic simulation of the escrow machines of `helix_shared::budget`, both sides, on one thread.
//!
//! Rule: the machines that run here are the ones that ship; only the network, the disks, the database, the clocks and the
//! provider are made up. A seed decides everything, so a violation is reproduced by its seed. Invariants are checked after
//! every event, by an oracle that counts for itself. Not here: SQL, gRPC, the journal's bytes.

mod database;
mod event;
mod oracle;
mod plan;
mod plane;
mod proxy;
mod rng;
mod world;

pub use plan::Shape;

/// What a schedule came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Digest of every event: the same for the same seed.
    pub trace: u64,
    /// Events.
    pub events: u64,
    /// Attempts admitted.
    pub admitted: u64,
    /// Attempts denied because a budget could not afford them.
    pub exceeded: u64,
    /// Of these, denied although the money was free somewhere, if only since a moment.
    pub wrongful: u64,
    /// Attempts denied because the plane did not answer.
    pub unavailable: u64,
    /// Process deaths of proxies.
    pub crashes: u64,
    /// Deaths of control planes.
    pub plane_kills: u64,
    /// Failovers of the database.
    pub failovers: u64,
    /// Accounts that both copies of a fact were lost of: the database forgot it and the journal is gone.
    pub double_faults: u64,
    /// Probes of liveness that were admitted.
    pub probes: u64,
}

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The seed of the schedule.
    pub seed: u64,
    /// When, in simulated microseconds.
    pub at_us: u64,
    /// What.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "seed {} at {} us: {}", self.seed, self.at_us, self.what)
    }
}

impl std::error::Error for Violation {}

impl Summary {
    /// Adds another schedule's counts; traces are combined.
    pub fn add(&mut self, other: &Self) {
        self.trace = self.trace.rotate_left(5) ^ other.trace;
        self.events += other.events;
        self.admitted += other.admitted;
        self.exceeded += other.exceeded;
        self.wrongful += other.wrongful;
        self.unavailable += other.unavailable;
        self.crashes += other.crashes;
        self.plane_kills += other.plane_kills;
        self.failovers += other.failovers;
        self.double_faults += other.double_faults;
        self.probes += other.probes;
    }
}

/// Runs one schedule.
///
/// # Errors
/// [`Violation`]: an invariant did not hold.
pub fn run(seed: u64, shape: Shape) -> Result<Summary, Box<Violation>> {
    let mut world = world::World::new(seed, shape);
    world.run().map_err(|what| Box::new(Violation { seed, at_us: world.now_us, what }))
}
