//! The whole benchmark: rounds in which the contestants take turns, one at a time on their core.
//!
//! Rule: interleaved rounds, so that a slow minute of the machine falls on all; one contestant alive at a time. It
//! deliberately keeps every figure of every round: the report takes medians and shows the spread.

use crate::client::fetch;
use crate::contestant::{Contestant, Ground, Running};
use crate::phase::{latency, overload, saturation, streams};
use crate::process::{CoreTime, Process, settle_on};
use crate::report::{Figures, Report};
use crate::requests::{Kind, Requests, keys};
use crate::stats::float;
use crate::upstream;
use anyhow::{Context, Result, ensure};
use clap::Args;
use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle};

/// What to run, and for how long.
#[derive(Args, Clone)]
pub(crate) struct Flags {
    /// The gateway's release binary; without it only nginx and the pass-through run.
    #[arg(long)]
    pub(crate) gateway: Option<PathBuf>,
    /// The nginx binary.
    #[arg(long, default_value = "nginx")]
    pub(crate) nginx: PathBuf,
    /// Rounds in which the contestants take turns.
    #[arg(long, default_value_t = 5)]
    pub(crate) rounds: usize,
    /// One short round of everything: a smoke test, not a measurement.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Print JSON instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
    /// The contestant's core.
    #[arg(long, default_value_t = 0)]
    pub(crate) core: usize,
    /// The core of the load generator and of the upstream.
    #[arg(long, default_value_t = 1)]
    pub(crate) load_core: usize,
    /// Seconds that the whole run may spend waiting for other programs to leave the two cores alone.
    #[arg(long, default_value_t = 60.0)]
    pub(crate) quiet_patience: f64,
    /// Connections of the closed loop.
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// Seconds of each closed loop.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) saturation_seconds: f64,
    /// Requests per second of the open loop.
    #[arg(long, default_value_t = 1000)]
    pub(crate) rate: u32,
    /// Seconds of each open loop.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) latency_seconds: f64,
    /// Streams opened per second for the time to the first chunk.
    #[arg(long, default_value_t = 100)]
    pub(crate) first_chunk_rate: u32,
    /// Seconds of the time to the first chunk.
    #[arg(long, default_value_t = 2.0)]
    pub(crate) first_chunk_seconds: f64,
    /// Concurrent streams for the CPU per chunk.
    #[arg(long, default_value_t = 200)]
    pub(crate) chunk_streams: usize,
    /// Milliseconds between two chunks of a stream.
    #[arg(long, default_value_t = 10)]
    pub(crate) chunk_pace_ms: u64,
    /// Seconds of the CPU per chunk.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) chunk_seconds: f64,
    /// Paced streams held for the memory.
    #[arg(long, default_value_t = 4000)]
    pub(crate) held_streams: usize,
    /// Seconds to hold them.
    #[arg(long, default_value_t = 2.0)]
    pub(crate) hold_seconds: f64,
    /// Keys in the gateway's configuration.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) keys: usize,
    /// The gateway's limit of requests in flight in the overload phase.
    #[arg(long, default_value_t = 500)]
    pub(crate) overload_limit: usize,
    /// Requests sent at once in the overload phase.
    #[arg(long, default_value_t = 2000)]
    pub(crate) overload_burst: usize,
    /// Keep configurations, logs and databases in this folder.
    #[arg(long)]
    pub(crate) keep: Option<PathBuf>,
}

/// Two cores are quiet when others use less than this share of each.
const QUIET_SHARE: f64 = 0.07;

/// Everything that one run needs at hand.
struct Bench {
    flags: Flags,
    ground: Ground,
    load: Handle,
    patience_left: Cell<Duration>,
    active_keys: Vec<String>,
}

/// Runs the benchmark and prints its report.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    let mut flags = flags.clone();
    if flags.quick {
        flags.rounds = 1;
        for seconds in [&mut flags.saturation_seconds, &mut flags.latency_seconds, &mut flags.chunk_seconds] {
            *seconds = 1.0;
        }
        (flags.first_chunk_seconds, flags.hold_seconds) = (1.0, 1.0);
        flags.held_streams = flags.held_streams.min(500);
    }
    settle_on(flags.load_core)?;
    let scratch = tempfile::Builder::new().prefix("helix-load-").tempdir()?;
    let folder = flags.keep.clone().unwrap_or_else(|| scratch.path().to_path_buf());
    std::fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    let (load, upstream) = start_load_thread()?;
    let keys = keys(flags.keys);
    let gateway =
        flags.gateway.as_ref().map(|path| path.canonicalize().with_context(|| format!("find {}", path.display())));
    let ground = Ground {
        core: flags.core,
        load_core: flags.load_core,
        upstream,
        folder,
        nginx: flags.nginx.clone(),
        gateway: gateway.transpose()?,
        keys: keys.clone(),
        max_in_flight: None,
    };
    let active_keys = keys.iter().step_by(keys.len().div_ceil(1_000).max(1)).cloned().collect();
    let patience_left = Cell::new(Duration::from_secs_f64(flags.quiet_patience));
    let begin = Instant::now();
    let mut bench = Bench { flags, ground, load, patience_left, active_keys };
    let mut report = Report::new(&bench.flags, bench.contestants());
    for round in 1..=bench.flags.rounds {
        bench.round(round, &mut report)?;
    }
    bench.overload(&mut report)?;
    report.seconds = begin.elapsed().as_secs_f64();
    crate::say(&if bench.flags.json { report.json()? } else { report.markdown() })
}

/// Starts the thread that carries the upstream and all asynchronous clients, and returns where the upstream listens.
///
/// Both live on one thread so that a phase can keep it awake: see [`crate::phase::stay_awake`].
fn start_load_thread() -> Result<(Handle, SocketAddr)> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    let listener = handle.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    let address = listener.local_addr()?;
    std::thread::Builder::new().name("load".into()).spawn(move || {
        if let Err(error) = runtime.block_on(upstream::serve(listener)) {
            crate::note(&format!("the upstream failed: {error:#}"));
        }
    })?;
    Ok((handle, address))
}

impl Bench {
    fn contestants(&self) -> Vec<Contestant> {
        let mut all = vec![Contestant::Direct, Contestant::Nginx, Contestant::Hyper];
        if self.ground.gateway.is_some() {
            all.extend([Contestant::Gateway, Contestant::Serve]);
        }
        all
    }

    fn round(&self, round: usize, report: &mut Report) -> Result<()> {
        for contestant in self.contestants() {
            crate::note(&format!("round {round} of {}: {}", self.flags.rounds, contestant.name()));
            self.wait_for_quiet();
            let figures = self.measure(contestant).with_context(|| format!("measure {}", contestant.name()))?;
            report.add(contestant, figures);
        }
        Ok(())
    }

    /// Waits until nobody else uses the two cores, as long as the run's patience lasts.
    fn wait_for_quiet(&self) {
        let step = Duration::from_millis(300);
        while !self.patience_left.get().is_zero() {
            let cores = [self.flags.core, self.flags.load_core];
            let before = cores.map(CoreTime::now);
            std::thread::sleep(step);
            let is_quiet = cores.iter().zip(before).all(|(core, before)| {
                let (busy, _) = CoreTime::now(*core).shares_since(&before, 0);
                busy < QUIET_SHARE
            });
            if is_quiet {
                return;
            }
            self.patience_left.set(self.patience_left.get().saturating_sub(step));
        }
    }

    /// Tells the upstream its pace and empties its counts.
    fn pace(&self, chunks: usize, pace_ms: u64, delay_ms: u64) -> Result<()> {
        let target = format!("/__set?chunks={chunks}&pace_ms={pace_ms}&delay_ms={delay_ms}");
        fetch(self.ground.upstream, "PUT", &target).map(drop)
    }

    fn requests(&self, address: SocketAddr, kind: Kind) -> Arc<Requests> {
        Arc::new(Requests::new(address, kind, &self.active_keys))
    }

    fn measure(&self, contestant: Contestant) -> Result<Figures> {
        let mut figures = Figures::default();
        self.pace(200, 0, 0)?;
        if contestant != Contestant::Direct {
            self.memory(&self.ground.start(contestant)?, &mut figures)?;
        }
        self.pace(200, 0, 0)?;
        let running = self.ground.start(contestant)?;
        if running.process.is_some() {
            figures.set("start_ms", running.start_ms);
        }
        self.latencies(&running, &mut figures)?;
        if let Some(process) = &running.process {
            let is_gateway = matches!(contestant, Contestant::Gateway | Contestant::Serve);
            self.costs(&running, process, is_gateway, &mut figures)?;
        }
        Ok(figures)
    }

    fn memory(&self, running: &Running, figures: &mut Figures) -> Result<()> {
        let Some(process) = &running.process else { return Ok(()) };
        self.pace(1_000_000, 1_000, 0)?;
        std::thread::sleep(Duration::from_millis(500));
        let requests = self.requests(running.address, Kind::Stream);
        let length = Duration::from_secs_f64(self.flags.hold_seconds);
        let held =
            self.load.block_on(streams::hold(running.address, process, requests, self.flags.held_streams, length))?;
        figures.set("idle_mb", float(held.idle_bytes) / 1e6);
        figures.set(
            "kb_per_stream",
            float(held.held_bytes.saturating_sub(held.idle_bytes)) / 1024.0 / float(held.streams),
        );
        figures.set("streams_held", float(held.streams));
        Ok(())
    }

    fn latencies(&self, running: &Running, figures: &mut Figures) -> Result<()> {
        let load = latency::OpenLoop {
            per_second: self.flags.rate,
            connections: 32,
            length: Duration::from_secs_f64(self.flags.latency_seconds),
        };
        let plain = latency::run(running.address, &self.requests(running.address, Kind::Plain), load)?;
        figures.set("p50_us", plain.end_p50_us);
        figures.set("p99_us", plain.end_p99_us);
        self.pace(5, 10, 0)?;
        let load = latency::OpenLoop {
            per_second: self.flags.first_chunk_rate,
            connections: 32,
            length: Duration::from_secs_f64(self.flags.first_chunk_seconds),
        };
        let first = latency::run(running.address, &self.requests(running.address, Kind::Stream), load)?;
        figures.set("first_chunk_p50_us", first.first_p50_us);
        figures.set("first_chunk_p99_us", first.first_p99_us);
        figures.set("first_chunk_max_ms", first.first_max_us / 1_000.0);
        figures.set("steps_of_40_ms", float(first.steps));
        figures.add("errors", float(plain.errors + first.errors));
        Ok(())
    }

    fn costs(&self, running: &Running, process: &Process, is_gateway: bool, figures: &mut Figures) -> Result<()> {
        let address = running.address;
        let flags = &self.flags;
        self.pace(200, flags.chunk_pace_ms, 0)?;
        let requests = self.requests(address, Kind::Stream);
        let length = Duration::from_secs_f64(flags.chunk_seconds);
        let chunk = self.load.block_on(streams::chunk_cost(
            address,
            process,
            flags.core,
            requests,
            flags.chunk_streams,
            length,
        ))?;
        figures.set("cpu_us_per_chunk", chunk.cpu_us_per_chunk);
        figures.set("chunks_per_second", chunk.chunks_per_second);
        if is_gateway {
            // The upstream's chunks are the same; the client gets a few events more, which the ratio of requests shows.
            let requests = self.requests(address, Kind::Translated);
            let load = streams::chunk_cost(address, process, flags.core, requests, flags.chunk_streams, length);
            let translated = self.load.block_on(load)?;
            figures.set("translated_cpu_us_per_chunk", translated.cpu_us_per_chunk);
            figures.set("translated_to_passed", translated.cpu_us_per_chunk / chunk.cpu_us_per_chunk);
            figures.add("errors", float(translated.errors));
        }
        self.pace(200, 0, 0)?;
        let requests = self.requests(address, Kind::Plain);
        let length = Duration::from_secs_f64(flags.saturation_seconds);
        let closed =
            self.load.block_on(saturation::run(address, process, flags.core, requests, flags.connections, length))?;
        figures.set("cpu_us_per_request", closed.cpu_us_per_request);
        figures.set("window_cpu_us_per_request", closed.window_cpu_us_per_request);
        figures.set("requests_per_second", closed.requests_per_second);
        figures.set("core_busy_percent", closed.window.busy_share * 100.0);
        let foreign = closed.window.foreign_share.max(chunk.window.foreign_share);
        figures.set("foreign_percent", foreign * 100.0);
        figures.add("errors", float(chunk.errors + closed.errors));
        Ok(())
    }

    /// Bursts far above the limit, on a gateway that was started with a low one.
    fn overload(&mut self, report: &mut Report) -> Result<()> {
        if self.ground.gateway.is_none() {
            return Ok(());
        }
        ensure!(self.flags.overload_burst > self.flags.overload_limit, "the burst must be above the limit");
        crate::note("overload");
        self.ground.max_in_flight = Some(self.flags.overload_limit);
        self.pace(200, 0, 0)?;
        let running = self.ground.start(Contestant::Gateway)?;
        self.pace(200, 0, 1_500)?;
        let requests = self.requests(running.address, Kind::Plain);
        let found = self.load.block_on(overload::run(running.address, requests, self.flags.overload_burst))?;
        report.overload = Some(found);
        Ok(())
    }
}
