//! What a run found: medians, ratios, and the targets met or missed.
//!
//! Rule: a ratio is of medians, and beside every median stands its spread over the rounds, so that noise can be seen. It
//! deliberately rounds only when it prints.

use crate::contestant::Contestant;
use crate::phase::overload::Overload;
use crate::run::Flags;
use crate::stats::median;
use anyhow::Result;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The figures of one contestant in one round, by name.
#[derive(Debug, Default, Clone)]
pub(crate) struct Figures(BTreeMap<&'static str, f64>);

impl Figures {
    /// Records a figure.
    pub(crate) fn set(&mut self, name: &'static str, value: f64) {
        self.0.insert(name, value);
    }

    /// Adds to a figure that several phases contribute to.
    pub(crate) fn add(&mut self, name: &'static str, value: f64) {
        *self.0.entry(name).or_default() += value;
    }
}

/// The rows of the table: name, title, digits after the point.
const ROWS: &[(&str, &str, usize)] = &[
    ("cpu_us_per_request", "CPU per request, deferred work included (µs)", 1),
    ("window_cpu_us_per_request", "CPU per request inside the window (µs)", 1),
    ("requests_per_second", "requests per second at saturation", 0),
    ("cpu_us_per_chunk", "CPU per streamed chunk (µs)", 2),
    ("translated_cpu_us_per_chunk", "CPU per chunk of a translated stream (µs)", 2),
    ("translated_to_passed", "the same, to the chunk that passes", 2),
    ("chunks_per_second", "streamed chunks per second in that phase", 0),
    ("added_p50_us", "added p50, open loop (µs)", 0),
    ("added_p99_us", "added p99, open loop (µs)", 0),
    ("p50_us", "p50, open loop (µs)", 0),
    ("p99_us", "p99, open loop (µs)", 0),
    ("added_first_chunk_p50_us", "added time to first chunk, p50 (µs)", 0),
    ("first_chunk_p99_us", "time to first chunk, p99 (µs)", 0),
    ("first_chunk_max_ms", "time to first chunk, worst (ms)", 2),
    ("steps_of_40_ms", "first chunks that came after 35 ms or more", 0),
    ("kb_per_stream", "memory per held stream (KiB)", 1),
    ("streams_held", "streams held", 0),
    ("idle_mb", "idle memory (MB)", 1),
    ("start_ms", "start to first 200 (ms)", 0),
    ("errors", "failed requests", 0),
    ("core_busy_percent", "core busy at saturation (%)", 0),
    ("foreign_percent", "core taken by others, noise (%)", 1),
];

/// Above this, a run says nothing about latency and little about ratios.
const NOISY_PERCENT: f64 = 10.0;

/// A figure that must not exceed its limit.
struct Target {
    name: &'static str,
    unit: &'static str,
    limit: f64,
    value: f64,
}

/// All rounds of all contestants.
pub(crate) struct Report {
    contestants: Vec<Contestant>,
    rounds: BTreeMap<Contestant, Vec<Figures>>,
    flags: Flags,
    pub(crate) overload: Option<Overload>,
    pub(crate) seconds: f64,
}

impl Report {
    /// Starts an empty report.
    pub(crate) fn new(flags: &Flags, contestants: Vec<Contestant>) -> Self {
        Self { contestants, rounds: BTreeMap::new(), flags: flags.clone(), overload: None, seconds: 0.0 }
    }

    /// Adds one contestant's round; what it adds to the direct figures of the same round is worked out here.
    pub(crate) fn add(&mut self, contestant: Contestant, mut figures: Figures) {
        let direct = self.rounds.get(&Contestant::Direct).and_then(|rounds| rounds.last());
        if let (Some(direct), true) = (direct, contestant != Contestant::Direct) {
            for (added, whole) in [
                ("added_p50_us", "p50_us"),
                ("added_p99_us", "p99_us"),
                ("added_first_chunk_p50_us", "first_chunk_p50_us"),
            ] {
                if let (Some(ours), Some(base)) = (figures.0.get(whole).copied(), direct.0.get(whole)) {
                    figures.set(added, ours - base);
                }
            }
        }
        self.rounds.entry(contestant).or_default().push(figures);
    }

    fn values(&self, contestant: Contestant, name: &str) -> Vec<f64> {
        let rounds = self.rounds.get(&contestant).map(Vec::as_slice).unwrap_or_default();
        rounds.iter().filter_map(|figures| figures.0.get(name).copied()).collect()
    }

    fn median(&self, contestant: Contestant, name: &str) -> Option<f64> {
        let values = self.values(contestant, name);
        (!values.is_empty()).then(|| median(&values))
    }

    fn worst(&self, contestant: Contestant, name: &str) -> f64 {
        self.values(contestant, name).into_iter().fold(0.0, f64::max)
    }

    fn ratio(&self, name: &str, base: Contestant) -> f64 {
        let ours = self.median(Contestant::Gateway, name).unwrap_or(f64::NAN);
        ours / self.median(base, name).unwrap_or(f64::NAN)
    }

    fn targets(&self) -> Vec<Target> {
        if !self.contestants.contains(&Contestant::Gateway) {
            return Vec::new();
        }
        let (nginx, hyper, ours) = (Contestant::Nginx, Contestant::Hyper, Contestant::Gateway);
        let middle = |name| self.median(ours, name).unwrap_or(f64::NAN);
        let target = |name, unit, limit, value| Target { name, unit, limit, value };
        vec![
            target("CPU per request, to nginx", "x", 2.3, self.ratio("cpu_us_per_request", nginx)),
            target("CPU per request, to bare hyper", "x", 2.5, self.ratio("cpu_us_per_request", hyper)),
            target("CPU per streamed chunk, to nginx", "x", 1.8, self.ratio("cpu_us_per_chunk", nginx)),
            target("CPU per translated chunk, to one that passes", "x", 2.0, middle("translated_to_passed")),
            target("added p50, to nginx", "x", 2.0, self.ratio("added_p50_us", nginx)),
            target("first chunks later by 40 ms, any round", "", 0.0, self.worst(ours, "steps_of_40_ms")),
            target("memory per held stream", " KiB", 64.0, middle("kb_per_stream")),
            target("idle memory", " MB", 40.0, middle("idle_mb")),
            target("start to first 200", " ms", 300.0, middle("start_ms")),
        ]
    }

    /// Returns the largest median share of the core, in percent, that others took from a contestant.
    fn noise(&self) -> f64 {
        let medians = self.contestants.iter().filter_map(|contestant| self.median(*contestant, "foreign_percent"));
        medians.fold(0.0, f64::max)
    }

    /// Reports whether overload was shed: nothing above the limit waited, every refusal said when to come back.
    fn sheds(&self) -> Option<bool> {
        let found = self.overload?;
        let limit = u64::try_from(self.flags.overload_limit).unwrap_or(u64::MAX);
        Some(
            found.served <= limit
                && found.shed + found.served == found.sent
                && found.shed_without_retry_after == 0
                && found.served_max_ms < 3_000.0,
        )
    }

    /// Returns the report as Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = self.head();
        let mut header = String::from("| figure (median of rounds, spread) |");
        for contestant in &self.contestants {
            header += &format!(" {} |", contestant.name());
        }
        header += " to nginx | to bare hyper |";
        line(&mut text, &header);
        line(&mut text, &format!("|---|{}", "---:|".repeat(self.contestants.len() + 2)));
        for row in ROWS {
            line(&mut text, &self.row(row));
        }
        line(&mut text, "");
        let noise = self.noise();
        if noise > NOISY_PERCENT {
            let advice = "do not record it, run again on a quiet machine";
            line(
                &mut text,
                &format!("**This run is noisy** (others took {noise:.0} % of the contestant's core): {advice}.\n"),
            );
        }
        let targets = self.targets();
        if !targets.is_empty() {
            line(&mut text, "| target | at most | measured | |\n|---|---:|---:|---|");
        }
        for Target { name, unit, limit, value } in targets {
            let verdict = if value <= limit { "met" } else { "**missed**" };
            line(&mut text, &format!("| {name} | {limit}{unit} | {value:.2}{unit} | {verdict} |"));
        }
        if let (Some(found), Some(sheds)) = (self.overload, self.sheds()) {
            let verdict = if sheds { "met" } else { "**missed**" };
            line(
                &mut text,
                &format!(
                    "| overload sheds: {} at once, limit {} | 503 + Retry-After | {} served, {} shed (p99 {:.0} ms), {} of them without Retry-After, {} otherwise; slowest served {:.0} ms | {verdict} |",
                    found.sent,
                    self.flags.overload_limit,
                    found.served,
                    found.shed,
                    found.shed_p99_ms,
                    found.shed_without_retry_after,
                    found.other,
                    found.served_max_ms
                ),
            );
        }
        text
    }

    fn head(&self) -> String {
        let flags = &self.flags;
        format!(
            "{}; Linux {}; {} rounds, {:.0} s. Contestant on core {}, load and upstream on core {}; {} connections at saturation, {} requests/s open loop, {} streams of {} ms pace, {} streams held, {} keys.\n\n",
            processor(),
            std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
            flags.rounds,
            self.seconds,
            flags.core,
            flags.load_core,
            flags.connections,
            flags.rate,
            flags.chunk_streams,
            flags.chunk_pace_ms,
            flags.held_streams,
            flags.keys,
        )
    }

    fn row(&self, (name, title, digits): &(&str, &str, usize)) -> String {
        let mut row = format!("| {title} |");
        for contestant in &self.contestants {
            let values = self.values(*contestant, name);
            if values.is_empty() {
                row += " |";
                continue;
            }
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let middle = median(&values);
            row += &if values.len() > 1 {
                format!(" {middle:.digits$} ({low:.digits$}–{high:.digits$}) |")
            } else {
                format!(" {middle:.digits$} |")
            };
        }
        for base in [Contestant::Nginx, Contestant::Hyper] {
            let ratio = self.ratio(name, base);
            row += &if ratio.is_finite() { format!(" {ratio:.2} |") } else { " |".into() };
        }
        row
    }

    /// Returns the report as JSON, every round included.
    pub(crate) fn json(&self) -> Result<String> {
        let contestants: BTreeMap<&str, Value> = self
            .contestants
            .iter()
            .map(|contestant| {
                let medians: BTreeMap<&str, Option<f64>> =
                    ROWS.iter().map(|(name, _, _)| (*name, self.median(*contestant, name))).collect();
                let rounds: Vec<_> =
                    self.rounds.get(contestant).into_iter().flatten().map(|figures| figures.0.clone()).collect();
                (contestant.name(), json!({ "medians": medians, "rounds": rounds }))
            })
            .collect();
        let targets: Vec<Value> = self
            .targets()
            .into_iter()
            .map(|target| {
                json!({ "name": target.name, "limit": target.limit, "value": target.value, "met": target.value <= target.limit })
            })
            .collect();
        let overload = self.overload.map(|found| {
            json!({ "sent": found.sent, "served": found.served, "shed": found.shed, "shedShare": found.shed_share(),
                "shedWithoutRetryAfter": found.shed_without_retry_after, "other": found.other,
                "shedP99Ms": found.shed_p99_ms, "servedMaxMs": found.served_max_ms, "met": self.sheds() })
        });
        let report = json!({ "processor": processor(), "rounds": self.flags.rounds, "seconds": self.seconds,
            "contestants": contestants, "noisy": self.noise() > NOISY_PERCENT, "targets": targets, "overload": overload });
        Ok(serde_json::to_string_pretty(&report)?)
    }
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")).and_then(|rest| rest.split_once(':'));
    name.map_or_else(|| "unknown processor".into(), |(_, name)| name.trim().to_owned())
}
