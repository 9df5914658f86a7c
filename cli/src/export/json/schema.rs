//! What the JSON object holds: the names, their order and their units. Filled by [`super::write`].

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use heapledger::profile::{Crossing, StackFigures, TrackedReport};

#[derive(Serialize)]
pub(super) struct Document<'a> {
    pub(super) format_version: u32,
    pub(super) quality: Quality<'a>,
    pub(super) damage: &'a [String],
    pub(super) notes: &'a [String],
    pub(super) verdict: VerdictPart,
    pub(super) process: Process<'a>,
    pub(super) settings: Settings,
    pub(super) clock: Clock<'a>,
    pub(super) totals: Totals,
    /// Absent when no block was ever sampled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) estimates: Option<Estimates>,
    pub(super) peak: Peak,
    pub(super) threads: Vec<Thread<'a>>,
    /// Who freed whose blocks; threads by their place in `threads`.
    pub(super) crossings: &'a [Crossing],
    pub(super) timeline: Timeline,
    pub(super) live: Live,
    /// How stacks were taken, and how many could not be.
    pub(super) stacks: &'a StackFigures,
    pub(super) sites: Vec<SitePart<'a>>,
    pub(super) modules: Vec<Module<'a>>,
    pub(super) changes: Vec<Change<'a>>,
    /// Absent when the program has no tracked pointer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tracked: Option<&'a TrackedReport>,
}

/// Figures that samples say, each with one standard error in its own unit.
#[derive(Serialize)]
pub(super) struct Estimates {
    pub(super) total_blocks: Estimated,
    pub(super) total_bytes: Estimated,
    pub(super) live_blocks: Estimated,
    pub(super) live_bytes: Estimated,
    pub(super) mean_bytes_between_samples: u64,
    pub(super) sampled_blocks: u64,
}

#[derive(Serialize)]
pub(super) struct Estimated {
    pub(super) value: Option<f64>,
    pub(super) standard_error: Option<f64>,
}

/// Turns of the recording path: see [`heapledger::profile::TurnTimes`].
#[derive(Serialize)]
pub(super) struct Turns {
    pub(super) made: u64,
    pub(super) timed: u64,
    pub(super) mean_ns: Option<f64>,
    pub(super) p99_ns_at_most: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct Quality<'a> {
    pub(super) installed: bool,
    pub(super) completeness: f64,
    pub(super) target_completeness: Option<f64>,
    pub(super) windowed_completeness: Option<f64>,
    pub(super) trend: &'static str,
    pub(super) recommendation: &'a str,
    pub(super) attempted: u64,
    pub(super) recorded: u64,
    pub(super) lost: u64,
    pub(super) lost_by_reason: BTreeMap<&'static str, u64>,
    pub(super) in_flight: u64,
    pub(super) sampled_out: u64,
    pub(super) retained: u64,
    pub(super) evicted: u64,
    pub(super) anomalies: Anomalies,
    pub(super) own_events: u64,
    pub(super) own_bytes: u64,
    pub(super) own_cpu_ns: u64,
    pub(super) lag_ns: u64,
    pub(super) ring_high_water_words: u64,
    pub(super) folds_at_home: u64,
    pub(super) folds_away: u64,
    pub(super) waits: u64,
    pub(super) spare_segments: u64,
    pub(super) turns: Turns,
    pub(super) damaged_parts: u64,
}

#[derive(Serialize)]
pub(super) struct Anomalies {
    pub(super) unmatched_frees: u64,
    pub(super) double_allocations: u64,
    pub(super) ambiguous_pairings: u64,
    pub(super) layout_mismatches: u64,
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
pub(super) struct Process<'a> {
    pub(super) program: &'a str,
    pub(super) pid: u32,
    pub(super) forked_from: Option<u32>,
    pub(super) command_line: &'a [String],
    pub(super) platform: &'a str,
    pub(super) heapledger_version: &'a str,
    pub(super) started_unix_ns: u64,
    pub(super) duration_ns: u64,
    pub(super) reason: &'a str,
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
pub(super) struct Clock<'a> {
    pub(super) source: &'a str,
    pub(super) why: &'a str,
    pub(super) longest_interpolated_span_ns: u64,
}

#[derive(Serialize)]
pub(super) struct Totals {
    pub(super) total_blocks: u64,
    pub(super) total_bytes: u64,
    pub(super) freed_blocks: u64,
    pub(super) freed_bytes: u64,
    pub(super) live_blocks: u64,
    pub(super) live_bytes: u64,
    pub(super) peak_blocks: u64,
    pub(super) peak_bytes: u64,
    pub(super) reallocs: u64,
    pub(super) failed: u64,
}

#[derive(Serialize)]
pub(super) struct Peak {
    pub(super) bytes: u64,
    pub(super) blocks: u64,
    pub(super) at_ns: u64,
    pub(super) uncertainty_bytes: u64,
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

#[derive(Serialize)]
pub(super) struct Live {
    pub(super) blocks: u64,
    pub(super) bytes: u64,
    pub(super) by_size: Vec<LiveSize>,
    pub(super) other_blocks: u64,
    pub(super) other_bytes: u64,
}

#[derive(Serialize)]
pub(super) struct LiveSize {
    pub(super) size_bytes: u64,
    pub(super) blocks: u64,
    pub(super) bytes: u64,
    pub(super) oldest_born_ns: u64,
}

#[derive(Serialize)]
pub(super) struct SitePart<'a> {
    pub(super) stack: u32,
    pub(super) frames: Vec<String>,
    pub(super) functions: Vec<Cow<'a, str>>,
    /// File and line of each of them, empty where they are not known.
    pub(super) lines: Vec<String>,
    pub(super) frames_truncated: bool,
    pub(super) total_blocks: u64,
    pub(super) total_bytes: u64,
    /// What the site truly allocated, where stacks were taken of a subset; absent where they were not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) estimated_bytes: Option<Estimated>,
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
    pub(super) reallocs: Reallocs,
    pub(super) sizes_bytes: Vec<Range>,
    pub(super) lifetimes_ns: Vec<Range>,
}

#[derive(Serialize)]
pub(super) struct Reallocs {
    pub(super) count: u64,
    pub(super) moved: u64,
    pub(super) copied_bytes: u64,
    pub(super) chains: u64,
    pub(super) chain_links: u64,
    pub(super) longest_chain: u64,
}

/// Blocks with a value from `low` to `high`, both inclusive.
#[derive(Serialize)]
pub(super) struct Range {
    pub(super) low: u64,
    pub(super) high: u64,
    pub(super) blocks: u64,
}

#[derive(Serialize)]
pub(super) struct Module<'a> {
    pub(super) path: &'a str,
    pub(super) build_id: &'a str,
    pub(super) start: String,
    pub(super) end: String,
    pub(super) bias: String,
}

#[derive(Serialize)]
pub(super) struct Change<'a> {
    pub(super) at_ns: u64,
    pub(super) what: &'a str,
}
