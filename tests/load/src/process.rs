//! A contestant's process: started on one core, measured from outside, stopped with its children.
//!
//! Rule: CPU time is the kernel's own account of all threads of the tree, in nanoseconds where it keeps them, and only
//! processes started here are ever signalled. It deliberately measures nothing from inside the contestant.

use anyhow::{Context, Result, ensure};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The kernel's clock tick of `/proc/PID/stat`, 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: u64 = 100;
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// A child process with its tree.
pub(crate) struct Process {
    child: Child,
}

/// The CPU time of a tree at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct CpuTime {
    thread_ns: HashMap<u64, u64>,
    tree_ticks: u64,
}

impl CpuTime {
    /// Returns the nanoseconds spent since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> u64 {
        let fine: u64 = self
            .thread_ns
            .iter()
            .map(|(thread, ns)| ns.saturating_sub(earlier.thread_ns.get(thread).copied().unwrap_or(0)))
            .sum();
        // a thread that ended in between is missing from the fine account but not from the coarse one
        let coarse = self.tree_ticks.saturating_sub(earlier.tree_ticks) * (1_000_000_000 / TICKS_PER_SECOND);
        if coarse > fine + fine / 10 + 30_000_000 { coarse } else { fine }
    }
}

impl Process {
    /// Starts `program` on one core, in `folder`, with nothing of our environment but the path.
    pub(crate) fn start(core: usize, program: &Path, arguments: &[&OsStr], folder: &Path, log: &Path) -> Result<Self> {
        let output = fs::File::create(log).with_context(|| format!("create {}", log.display()))?;
        let child = Command::new("taskset")
            .args(["-c", &core.to_string()])
            .arg(program)
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stderr(output.try_clone()?)
            .stdout(output)
            .spawn()
            .with_context(|| format!("start {} (with taskset, of util-linux)", program.display()))?;
        Ok(Self { child })
    }

    /// Returns an error when the process has ended by itself.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            anyhow::bail!("the process ended with {status}");
        }
        Ok(())
    }

    /// Returns the CPU time of the tree so far.
    pub(crate) fn cpu_time(&self) -> CpuTime {
        let mut time = CpuTime::default();
        for pid in tree(self.child.id()) {
            let fields = stat(pid);
            time.tree_ticks += fields.get(11).copied().unwrap_or(0) + fields.get(12).copied().unwrap_or(0);
            let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for thread in threads.flatten() {
                let id = thread.file_name().to_string_lossy().parse().unwrap_or(0);
                let ns = fs::read_to_string(thread.path().join("schedstat"))
                    .ok()
                    .and_then(|text| text.split_whitespace().next().and_then(|ns| ns.parse().ok()));
                time.thread_ns.insert(id, ns.unwrap_or(0));
            }
        }
        time
    }

    /// Returns the resident memory of the tree in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        tree(self.child.id())
            .into_iter()
            .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/status")).ok())
            .filter_map(|status| {
                let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
                line.split_whitespace().next()?.parse::<u64>().ok()
            })
            .map(|kib| kib * 1024)
            .sum()
    }
}

impl Drop for Process {
    /// Asks the tree to end, waits, and ends by force what is left of it.
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let members = tree(self.child.id());
        signal("TERM", &members[..1]);
        let deadline = Instant::now() + STOP_PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.child.kill());
            drop(self.child.wait());
            signal("KILL", &members[1..]);
        }
    }
}

fn signal(name: &str, pids: &[u32]) {
    for pid in pids {
        drop(Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).stderr(Stdio::null()).status());
    }
}

/// Returns the numeric fields of `/proc/PID/stat` after the name: state (as 0), parent, and so on.
fn stat(pid: u32) -> Vec<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, rest)) = text.rsplit_once(')') else { return Vec::new() };
    rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect()
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid).get(1).and_then(|parent| u32::try_from(*parent).ok())
}

/// Returns a process and its descendants, the root first.
fn tree(root: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let Ok(entries) = fs::read_dir("/proc") else { return vec![root] };
    for entry in entries.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        if let Some(parent) = parent(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut members = vec![root];
    let mut next = 0;
    while let Some(pid) = members.get(next) {
        members.extend(children.remove(pid).unwrap_or_default());
        next += 1;
    }
    members
}

/// Puts this process on one core and lifts its limit of open files as far as it may.
pub(crate) fn settle_on(core: usize) -> Result<()> {
    let own = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-cp", &core.to_string(), &own]).stdout(Stdio::null()).status();
    ensure!(pinned.context("run taskset (of util-linux)")?.success(), "taskset could not use core {core}");
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let hard =
        limits.lines().find(|line| line.starts_with("Max open files")).and_then(|line| line.split_whitespace().nth(4));
    if let Some(hard) = hard {
        let files = format!("--nofile={hard}:{hard}");
        drop(Command::new("prlimit").args(["--pid", &own, &files]).status());
    }
    Ok(())
}

/// How one core spent a phase.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CoreTime {
    busy_ticks: u64,
    steal_ticks: u64,
    total_ticks: u64,
}

impl CoreTime {
    /// Reads the account of one core.
    pub(crate) fn now(core: usize) -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let name = format!("cpu{core}");
        let Some(line) = text.lines().find(|line| line.split_whitespace().next() == Some(&name)) else {
            return Self::default();
        };
        let ticks: Vec<u64> = line.split_whitespace().skip(1).take(8).map(|field| field.parse().unwrap_or(0)).collect();
        let idle = ticks.get(3).copied().unwrap_or(0) + ticks.get(4).copied().unwrap_or(0);
        let total: u64 = ticks.iter().sum();
        Self { busy_ticks: total - idle, steal_ticks: ticks.get(7).copied().unwrap_or(0), total_ticks: total }
    }

    /// Returns the shares (0 to 1) of the time since `earlier`: busy, and not ours given what the contestant used.
    pub(crate) fn shares_since(&self, earlier: &Self, contestant_ns: u64) -> (f64, f64) {
        let total = crate::stats::float((self.total_ticks - earlier.total_ticks).max(1));
        let busy = crate::stats::float(self.busy_ticks - earlier.busy_ticks);
        let steal = crate::stats::float(self.steal_ticks - earlier.steal_ticks);
        let ours = crate::stats::float(contestant_ns * TICKS_PER_SECOND / 1_000_000) / 1_000.0;
        (busy / total, ((busy - ours).max(steal) / total).max(0.0))
    }
}
