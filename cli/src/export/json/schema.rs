//! Schema of the JSON object: keys, their order and their units. [`super::write`] fills in the values.
//!
//! If a type of the profile has the right fields, it is serialized directly. `keys.txt` lists every key, so a test
//! fails if a change of the profile changes the format.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use super::sites::{Call, CallsPart};
use crate::analysis::{Bucket, LiveFinding};
use heapledger::profile::{
    Anomalies, Change, ClockInfo, CompletenessTrend, Estimate, Estimates, HeapStats, LossCounts, OwnMemory,
    Peak, ProcessInfo, ProcessMemory, QualityIndicator, ReallocStats, RemoteFrees, Scope, ScopeCounts,
    SiteCurve, StackFigures, TrackedReport,
};

#[derive(Serialize)]
pub(super) struct Document<'a, S: Serialize> {
    pub(super) format_version: u32,
    pub(super) quality: QualityPart<'a>,
    pub(super) damage: &'a [String],
    pub(super) notes: &'a [String],
    pub(super) verdict: VerdictPart,
    #[serde(with = "Process")]
    pub(super) process: &'a ProcessInfo,
    pub(super) settings: Settings,
    #[serde(with = "Clock")]
    pub(super) clock: &'a ClockInfo,
    pub(super) totals: HeapStats,
    /// Estimates from samples; absent if the profile has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) estimates: Option<Estimates>,
    pub(super) peak: Peak,
    pub(super) threads: Vec<Thread<'a>>,
    /// Blocks that one thread allocated and another thread freed, by pair of threads. Threads are indices into
    /// `threads`.
    pub(super) crossings: &'a [RemoteFrees],
    pub(super) timeline: Timeline,
    pub(super) live: LiveFinding,
    /// How stacks were walked, and counters of the walks.
    pub(super) stacks: &'a StackFigures,
    /// Scopes; absent if the program has no named scopes.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) scopes: &'a [Scope],
    /// Counts of blocks that belong to a scope but are counted elsewhere; absent if all counts are 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope_counts: Option<ScopeCounts>,
    pub(super) memory: &'a ProcessMemory,
    pub(super) curves: &'a [SiteCurve],
    /// Table of calls for the tree `calls`; absent in version 1, whose sites contain their stacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) frames: Option<Vec<Call<'a>>>,
    /// Tree of calls with all stacks; absent in version 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) calls: Option<CallsPart>,
    pub(super) sites: Vec<S>,
    pub(super) modules: Vec<Module<'a>>,
    pub(super) changes: &'a [Change],
    /// Report on tracked pointers; absent if the program has no tracked pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tracked: Option<&'a TrackedReport>,
}

/// Durations of the slow path of recording; see [`heapledger::profile::TurnTimes`].
#[derive(Serialize)]
struct Turns {
    made: u64,
    timed: u64,
    mean_ns: Option<f64>,
    p99_ns_at_most: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct QualityPart<'a> {
    #[serde(flatten, with = "Quality")]
    pub(super) quality: &'a QualityIndicator,
    pub(super) damaged_parts: u64,
}

#[derive(Serialize)]
#[serde(remote = "QualityIndicator")]
struct Quality {
    installed: bool,
    #[serde(getter = "completeness")]
    completeness: f64,
    target_completeness: f64,
    windowed_completeness: Option<f64>,
    #[serde(getter = "trend")]
    trend: &'static str,
    recommendation: String,
    attempted: u64,
    recorded: u64,
    #[serde(getter = "lost")]
    lost: u64,
    #[serde(getter = "losses")]
    lost_by_reason: BTreeMap<&'static str, u64>,
    in_flight: u64,
    sampled_out: u64,
    retained: u64,
    evicted: u64,
    anomalies: Anomalies,
    own_events: u64,
    own_bytes: u64,
    own_memory: OwnMemory,
    own_cpu_ns: u64,
    lag_ns: u64,
    ring_high_water_words: u64,
    folds_at_home: u64,
    folds_away: u64,
    waits: u64,
    spare_segments: u64,
    #[serde(getter = "turns")]
    turns: Turns,
}

/// Returns recorded / (recorded + lost). The result is below 1 if any event was lost, even where rounding would give 1.
pub(super) fn completeness(quality: &QualityIndicator) -> f64 {
    let share = QualityIndicator::completeness_of(quality.recorded, lost(quality));
    if lost(quality) > 0 { share.min(1.0 - f64::EPSILON) } else { share }
}

fn trend(quality: &QualityIndicator) -> &'static str {
    match quality.trend {
        CompletenessTrend::Improving => "improving",
        CompletenessTrend::Stable => "stable",
        CompletenessTrend::Degrading => "degrading",
        CompletenessTrend::Unknown => "unknown",
    }
}

fn lost(quality: &QualityIndicator) -> u64 {
    quality.lost.total()
}

fn losses(quality: &QualityIndicator) -> BTreeMap<&'static str, u64> {
    by_reason(&quality.lost)
}

pub(super) fn by_reason(lost: &LossCounts) -> BTreeMap<&'static str, u64> {
    lost.iter().map(|(reason, events)| (reason.name(), events)).collect()
}

fn turns(quality: &QualityIndicator) -> Turns {
    let times = &quality.turn_times;
    Turns { made: times.turns, timed: times.timed, mean_ns: times.mean_ns(), p99_ns_at_most: times.p99_ns() }
}

#[derive(Serialize)]
pub(super) struct VerdictPart {
    pub(super) laws_broken: u64,
    pub(super) laws: Vec<Law>,
    pub(super) conclusions: BTreeMap<&'static str, Trust>,
}

#[derive(Serialize)]
pub(super) struct Law {
    pub(super) law: &'static str,
    pub(super) left: String,
    pub(super) right: String,
    pub(super) state: &'static str,
}

#[derive(Serialize)]
pub(super) struct Trust {
    pub(super) grade: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) within: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) causes: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
#[serde(remote = "ProcessInfo")]
struct Process {
    program: String,
    pid: u32,
    forked_from: Option<u32>,
    command_line: Vec<String>,
    platform: String,
    heapledger_version: String,
    started_unix_ns: u64,
    duration_ns: u64,
    reason: String,
    host: String,
}

#[derive(Serialize)]
pub(super) struct Settings {
    pub(super) mode: &'static str,
    pub(super) stacks: String,
    pub(super) clock: &'static str,
    pub(super) history_events: u64,
    pub(super) history_bytes: u64,
    pub(super) history_age_ns: Option<u64>,
    pub(super) max_retries: u32,
    pub(super) base_delay_ns: u64,
    pub(super) enable_overflow_buffer: bool,
    pub(super) memory_limit_bytes: u64,
}

#[derive(Serialize)]
#[serde(remote = "ClockInfo")]
struct Clock {
    source: String,
    why: String,
    #[serde(rename = "longest_interpolated_span_ns")]
    longest_span_ns: u64,
}

#[derive(Serialize)]
pub(super) struct Thread<'a> {
    pub(super) index: u32,
    pub(super) name: &'a str,
    pub(super) os_id: u64,
    pub(super) threads: u64,
    pub(super) own: bool,
    pub(super) started_ns: u64,
    pub(super) ended_ns: Option<u64>,
    pub(super) attempted: u64,
    pub(super) recorded: u64,
    pub(super) lost: u64,
    pub(super) lost_by_reason: BTreeMap<&'static str, u64>,
    pub(super) total_blocks: u64,
    pub(super) total_bytes: u64,
    pub(super) freed_blocks: u64,
    pub(super) freed_bytes: u64,
    pub(super) cross_thread_frees: u64,
}

#[derive(Serialize)]
pub(super) struct Timeline {
    pub(super) interval_ns: u64,
    pub(super) intervals: Vec<Interval>,
}

#[derive(Serialize)]
pub(super) struct Interval {
    pub(super) allocated_blocks: u64,
    pub(super) allocated_bytes: u64,
    pub(super) freed_blocks: u64,
    pub(super) freed_bytes: u64,
    pub(super) live_bytes_at_end: u64,
    pub(super) peak_bytes: u64,
    pub(super) lost: u64,
}

/// Site in version 1, with its whole stack.
#[derive(Serialize)]
pub(super) struct SitePart<'a> {
    pub(super) stack: u32,
    pub(super) frames: Vec<String>,
    pub(super) functions: Vec<Cow<'a, str>>,
    /// File and line of each function, as in `src/parse.rs:10`; empty if the file is unknown.
    pub(super) lines: Vec<String>,
    pub(super) frames_truncated: bool,
    pub(super) total_blocks: u64,
    pub(super) total_bytes: u64,
    /// Estimated bytes of the site; absent if there is no estimate, mostly because stacks were not sampled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) estimated_bytes: Option<Estimate>,
    pub(super) freed_blocks: u64,
    pub(super) freed_bytes: u64,
    pub(super) live_blocks: u64,
    pub(super) live_bytes: u64,
    pub(super) own_peak_bytes: u64,
    pub(super) at_peak_blocks: u64,
    pub(super) at_peak_bytes: u64,
    pub(super) temporary_blocks: u64,
    pub(super) temporary_bytes: u64,
    pub(super) cross_thread_frees: u64,
    pub(super) reallocs: ReallocStats,
    pub(super) sizes_bytes: Vec<Bucket>,
    pub(super) lifetimes_ns: Vec<Bucket>,
}

#[derive(Serialize)]
pub(super) struct Module<'a> {
    pub(super) path: &'a str,
    pub(super) build_id: &'a str,
    pub(super) start: String,
    pub(super) end: String,
    pub(super) bias: String,
}
