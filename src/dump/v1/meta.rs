//! Records of the metadata sections, version 1. The order of the fields is the order of the bytes.

use serde::{Deserialize, Serialize};

use super::{Cuts, Faults, Text};
use crate::dump::format::{
    ARGUMENT_COST_BYTES, COMMAND_LINE_BYTES_MAX, STACKS_AUTO, STACKS_DWARF, STACKS_FRAME_POINTERS,
    STACKS_OFF, STACKS_SAMPLED, Tag, clock_code, clock_of, fork_code, fork_of, loss_code, loss_of, mode_code,
    mode_of, trend_code, trend_of,
};
use crate::profile::{
    Anomalies, Change, ClockInfo, ClockMode, CompletenessTrend, ConcurrencyConfig, DataQualityMode,
    ForkPolicy, HeapStats, HistoryLimits, LossCounts, Module, Peak, ProcessInfo, Profile, QualityIndicator,
    Settings, StackFigures, Stacks, ThreadRow, TurnTimes,
};

/// Losses on the wire: (code of the reason, events), reasons without events left out.
pub(in crate::dump) type WireLosses = Vec<(u8, u64)>;

fn losses_to_wire(lost: &LossCounts) -> WireLosses {
    lost.iter()
        .filter(|(_, events)| *events > 0)
        .map(|(reason, events)| (loss_code(reason), events))
        .collect()
}

fn losses_of(wire: &WireLosses, faults: &mut Faults) -> LossCounts {
    let mut lost = [0u64; crate::profile::LossReason::COUNT];
    for (code, events) in wire {
        match loss_of(*code) {
            Some(reason) => lost[reason as usize] = lost[reason as usize].saturating_add(*events),
            None => faults.codes += 1,
        }
    }
    LossCounts::from_counts(lost)
}

/// Section `QUAL`.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::dump) struct WireQuality<'a> {
    installed: bool,
    current_completeness: f64,
    target_completeness: f64,
    windowed_completeness: Option<f64>,
    trend: u8,
    #[serde(borrow)]
    recommendation: Text<'a>,
    mode: u8,
    attempted: u64,
    recorded: u64,
    in_flight: u64,
    lost: WireLosses,
    sampled_out: u64,
    retained: u64,
    evicted: u64,
    unmatched_frees: u64,
    double_allocations: u64,
    ambiguous_pairings: u64,
    layout_mismatches: u64,
    own_events: u64,
    lag_ns: u64,
    ring_high_water_words: u64,
    folds_at_home: u64,
    folds_away: u64,
    waits: u64,
    spare_segments: u64,
    own_bytes: u64,
    own_cpu_ns: u64,
}

impl<'a> WireQuality<'a> {
    /// To the wire.
    #[rustfmt::skip]
    pub(in crate::dump) fn new(quality: &'a QualityIndicator, cuts: &mut Cuts) -> Self {
        let QualityIndicator {
            installed, current_completeness, target_completeness, windowed_completeness, trend, ref recommendation,
            mode, attempted, recorded, in_flight, ref lost, sampled_out, retained, evicted, anomalies, own_events,
            lag_ns, ring_high_water_words, folds_at_home, folds_away, waits, spare_segments, own_bytes, own_cpu_ns,
            // Has a section of its own.
            turn_times: _,
        } = *quality;
        let Anomalies { unmatched_frees, double_allocations, ambiguous_pairings, layout_mismatches } = anomalies;
        WireQuality {
            installed, current_completeness, target_completeness, windowed_completeness, trend: trend_code(trend),
            recommendation: Text::cut(recommendation, cuts), mode: mode_code(mode), attempted, recorded, in_flight,
            lost: losses_to_wire(lost), sampled_out, retained, evicted, unmatched_frees, double_allocations,
            ambiguous_pairings, layout_mismatches, own_events, lag_ns, ring_high_water_words, folds_at_home,
            folds_away, waits, spare_segments, own_bytes, own_cpu_ns,
        }
    }

    /// From the wire.
    #[rustfmt::skip]
    pub(in crate::dump) fn read(self, faults: &mut Faults) -> QualityIndicator {
        let WireQuality {
            installed, current_completeness, target_completeness, windowed_completeness, trend, recommendation,
            mode, attempted, recorded, in_flight, lost, sampled_out, retained, evicted, unmatched_frees,
            double_allocations, ambiguous_pairings, layout_mismatches, own_events, lag_ns, ring_high_water_words,
            folds_at_home, folds_away, waits, spare_segments, own_bytes, own_cpu_ns,
        } = self;
        let anomalies = Anomalies { unmatched_frees, double_allocations, ambiguous_pairings, layout_mismatches };
        QualityIndicator {
            installed, current_completeness, target_completeness, windowed_completeness,
            trend: faults.code(trend_of(trend), CompletenessTrend::Unknown),
            recommendation: faults.text(recommendation), mode: faults.code(mode_of(mode), DataQualityMode::default()),
            attempted, recorded, in_flight, lost: losses_of(&lost, faults), sampled_out, retained, evicted, anomalies,
            own_events, lag_ns, ring_high_water_words, folds_at_home, folds_away, waits, spare_segments, own_bytes,
            own_cpu_ns, turn_times: TurnTimes::default(),
        }
    }
}

/// Section `CONT`: how many rows each table has in the whole file. Written early, so that a cut file knows its loss.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::dump) struct WireContents {
    rows: Vec<([u8; 4], u64)>,
}

impl WireContents {
    /// To the wire.
    pub(in crate::dump) fn new(profile: &Profile) -> Self {
        let rows = |tag| match tag {
            Tag::CHANGES => profile.changes.len(),
            Tag::MODULES => profile.modules.len(),
            Tag::THREADS => profile.threads.len(),
            Tag::STACKS => profile.stacks.len(),
            Tag::SITES => profile.sites.len(),
            Tag::TIMELINE => profile.timeline.intervals.len(),
            Tag::LIVE => profile.live.len(),
            Tag::HISTORY => profile.history.len(),
            Tag::SYMBOL_TEXTS => profile.symbols.strings.len(),
            Tag::SYMBOL_FRAMES => profile.symbols.frames.len(),
            Tag::SYMBOL_NOTES => profile.symbols.notes.len(),
            _ => 0,
        };
        let listed = Tag::TABLES.map(|tag| (tag, rows(tag) as u64)).into_iter();
        let listed = listed.filter(|(tag, rows)| *rows > 0 || !tag.is_listed_with_rows_only());
        WireContents { rows: listed.map(|(tag, rows)| (tag.0, rows)).collect() }
    }

    /// Rows of a table; 0 for one that is not listed.
    pub(in crate::dump) fn rows(&self, tag: Tag) -> u64 {
        self.rows.iter().find(|(listed, _)| *listed == tag.0).map_or(0, |(_, rows)| *rows)
    }
}

/// Section `PROC`.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::dump) struct WireProcess<'a> {
    pid: u32,
    forked_from: Option<u32>,
    #[serde(borrow)]
    program: Text<'a>,
    command_line: Vec<Text<'a>>,
    platform: Text<'a>,
    heapledger_version: Text<'a>,
    started_unix_ns: u64,
    duration_ns: u64,
    reason: Text<'a>,
}

impl<'a> WireProcess<'a> {
    /// To the wire.
    pub(in crate::dump) fn new(process: &'a ProcessInfo, cuts: &mut Cuts) -> Self {
        let ProcessInfo {
            pid,
            forked_from,
            ref program,
            command_line: ref arguments,
            ref platform,
            ref heapledger_version,
            started_unix_ns,
            duration_ns,
            ref reason,
        } = *process;
        let (mut command_line, mut bytes) = (Vec::new(), 0);
        for argument in arguments {
            let text = Text::cut(argument, cuts);
            bytes += text.0.len() + ARGUMENT_COST_BYTES;
            if bytes > COMMAND_LINE_BYTES_MAX {
                cuts.arguments += (arguments.len() - command_line.len()) as u64;
                break;
            }
            command_line.push(text);
        }
        WireProcess {
            pid,
            forked_from,
            program: Text::cut(program, cuts),
            command_line,
            platform: Text::cut(platform, cuts),
            heapledger_version: Text::cut(heapledger_version, cuts),
            started_unix_ns,
            duration_ns,
            reason: Text::cut(reason, cuts),
        }
    }

    /// From the wire.
    pub(in crate::dump) fn read(self, faults: &mut Faults) -> ProcessInfo {
        ProcessInfo {
            pid: self.pid,
            forked_from: self.forked_from,
            program: faults.text(self.program),
            command_line: self.command_line.into_iter().map(|argument| faults.text(argument)).collect(),
            platform: faults.text(self.platform),
            heapledger_version: faults.text(self.heapledger_version),
            started_unix_ns: self.started_unix_ns,
            duration_ns: self.duration_ns,
            reason: faults.text(self.reason),
        }
    }
}

/// Section `CONF`.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::dump) struct WireSettings {
    mode: u8,
    stacks: u8,
    /// Argument of the way in which stacks are taken; 0 for those that have none.
    stacks_argument: u64,
    clock: u8,
    history_events: u64,
    history_bytes: u64,
    history_age_ns: Option<u64>,
    max_retries: u32,
    base_delay_ns: u64,
    enable_overflow_buffer: bool,
    target_completeness: f64,
    fork: u8,
    memory_limit_bytes: u64,
}

impl WireSettings {
    /// To the wire.
    pub(in crate::dump) fn new(settings: &Settings) -> Self {
        let Settings { mode, stacks, clock, history, concurrency, fork, memory_limit_bytes } = *settings;
        let HistoryLimits { events, bytes, age_ns } = history;
        let ConcurrencyConfig { max_retries, base_delay_ns, enable_overflow_buffer, target_completeness } =
            concurrency;
        let (stacks, stacks_argument) = match stacks {
            Stacks::Off => (STACKS_OFF, 0),
            Stacks::Auto => (STACKS_AUTO, 0),
            Stacks::FramePointers => (STACKS_FRAME_POINTERS, 0),
            Stacks::Dwarf => (STACKS_DWARF, 0),
            Stacks::Sampled { bytes } => (STACKS_SAMPLED, bytes),
        };
        WireSettings {
            mode: mode_code(mode),
            stacks,
            stacks_argument,
            clock: clock_code(clock),
            history_events: events,
            history_bytes: bytes,
            history_age_ns: age_ns,
            max_retries,
            base_delay_ns,
            enable_overflow_buffer,
            target_completeness,
            fork: fork_code(fork),
            memory_limit_bytes,
        }
    }

    /// From the wire.
    pub(in crate::dump) fn read(self, faults: &mut Faults) -> Settings {
        let stacks = match self.stacks {
            STACKS_OFF => Some(Stacks::Off),
            STACKS_AUTO => Some(Stacks::Auto),
            STACKS_FRAME_POINTERS => Some(Stacks::FramePointers),
            STACKS_DWARF => Some(Stacks::Dwarf),
            STACKS_SAMPLED => Some(Stacks::Sampled { bytes: self.stacks_argument }),
            _ => None,
        };
        Settings {
            mode: faults.code(mode_of(self.mode), DataQualityMode::default()),
            stacks: faults.code(stacks, Stacks::Off),
            clock: faults.code(clock_of(self.clock), ClockMode::default()),
            history: HistoryLimits {
                events: self.history_events,
                bytes: self.history_bytes,
                age_ns: self.history_age_ns,
            },
            concurrency: ConcurrencyConfig {
                max_retries: self.max_retries,
                base_delay_ns: self.base_delay_ns,
                enable_overflow_buffer: self.enable_overflow_buffer,
                target_completeness: self.target_completeness,
            },
            fork: faults.code(fork_of(self.fork), ForkPolicy::default()),
            memory_limit_bytes: self.memory_limit_bytes,
        }
    }
}

/// Section `CLCK`: the clock, and the length of the timeline's intervals.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::dump) struct WireClock<'a> {
    #[serde(borrow)]
    source: Text<'a>,
    why: Text<'a>,
    longest_span_ns: u64,
    interval_ns: u64,
}

impl<'a> WireClock<'a> {
    /// To the wire.
    pub(in crate::dump) fn new(clock: &'a ClockInfo, interval_ns: u64, cuts: &mut Cuts) -> Self {
        let ClockInfo { source, why, longest_span_ns } = clock;
        WireClock {
            source: Text::cut(source, cuts),
            why: Text::cut(why, cuts),
            longest_span_ns: *longest_span_ns,
            interval_ns,
        }
    }

    /// From the wire: the clock, and the length of an interval in nanoseconds.
    pub(in crate::dump) fn read(self, faults: &mut Faults) -> (ClockInfo, u64) {
        let WireClock { source, why, longest_span_ns, interval_ns } = self;
        (ClockInfo { source: faults.text(source), why: faults.text(why), longest_span_ns }, interval_ns)
    }
}

/// Section `TOTL`: the totals, then the peak.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::dump) struct WireTotals {
    totals: [u64; 10],
    peak: [u64; 4],
}

impl WireTotals {
    /// To the wire.
    #[rustfmt::skip]
    pub(in crate::dump) fn new(totals: &HeapStats, peak: &Peak) -> Self {
        let HeapStats {
            total_blocks, total_bytes, freed_blocks, freed_bytes, live_blocks, live_bytes, peak_blocks, peak_bytes,
            reallocs, failed,
        } = *totals;
        let Peak { bytes, blocks, at_ns, uncertainty_bytes } = *peak;
        WireTotals {
            totals: [
                total_blocks, total_bytes, freed_blocks, freed_bytes, live_blocks, live_bytes, peak_blocks, peak_bytes,
                reallocs, failed,
            ],
            peak: [bytes, blocks, at_ns, uncertainty_bytes],
        }
    }

    /// From the wire.
    #[rustfmt::skip]
    pub(in crate::dump) fn read(self) -> (HeapStats, Peak) {
        let [
            total_blocks, total_bytes, freed_blocks, freed_bytes, live_blocks, live_bytes, peak_blocks, peak_bytes,
            reallocs, failed,
        ] = self.totals;
        let [bytes, blocks, at_ns, uncertainty_bytes] = self.peak;
        let totals = HeapStats {
            total_blocks, total_bytes, freed_blocks, freed_bytes, live_blocks, live_bytes, peak_blocks, peak_bytes,
            reallocs, failed,
        };
        (totals, Peak { bytes, blocks, at_ns, uncertainty_bytes })
    }
}

/// Section `END.`.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::dump) struct WireEnd {
    /// Sections of the file, this one included.
    pub(in crate::dump) sections: u32,
    /// Bytes of the file before this section.
    pub(in crate::dump) bytes: u64,
}

/// A row of `THRD`.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::dump) struct WireThread<'a> {
    index: u32,
    #[serde(borrow)]
    name: Text<'a>,
    os_id: u64,
    started_ns: u64,
    ended_ns: Option<u64>,
    threads: u64,
    own: bool,
    attempted: u64,
    recorded: u64,
    lost: WireLosses,
    total_blocks: u64,
    total_bytes: u64,
    freed_blocks: u64,
    freed_bytes: u64,
    cross_thread_frees: u64,
}

impl<'a> WireThread<'a> {
    /// To the wire.
    #[rustfmt::skip]
    pub(in crate::dump) fn new(row: &'a ThreadRow, cuts: &mut Cuts) -> Self {
        let ThreadRow {
            index, ref name, os_id, started_ns, ended_ns, threads, own, attempted, recorded, ref lost, total_blocks,
            total_bytes, freed_blocks, freed_bytes, cross_thread_frees,
        } = *row;
        WireThread {
            index, name: Text::cut(name, cuts), os_id, started_ns, ended_ns, threads, own, attempted, recorded,
            lost: losses_to_wire(lost), total_blocks, total_bytes, freed_blocks, freed_bytes, cross_thread_frees,
        }
    }

    /// From the wire.
    #[rustfmt::skip]
    pub(in crate::dump) fn read(self, faults: &mut Faults) -> ThreadRow {
        let WireThread {
            index, name, os_id, started_ns, ended_ns, threads, own, attempted, recorded, lost, total_blocks,
            total_bytes, freed_blocks, freed_bytes, cross_thread_frees,
        } = self;
        ThreadRow {
            index, name: faults.text(name), os_id, started_ns, ended_ns, threads, own, attempted, recorded,
            lost: losses_of(&lost, faults), total_blocks, total_bytes, freed_blocks, freed_bytes, cross_thread_frees,
        }
    }
}

/// Section `STKQ`: how the stacks were taken. Absent when no stacks were taken.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::dump) struct WireStackFigures<'a> {
    #[serde(borrow)]
    walker: Text<'a>,
    why: Text<'a>,
    counts: [u64; 7],
}

impl<'a> WireStackFigures<'a> {
    /// To the wire.
    pub(in crate::dump) fn new(figures: &'a StackFigures, cuts: &mut Cuts) -> Self {
        let StackFigures {
            ref walker,
            ref why,
            taken,
            truncated,
            failed,
            table_full,
            left_out,
            checked,
            check_failed,
        } = *figures;
        WireStackFigures {
            walker: Text::cut(walker, cuts),
            why: Text::cut(why, cuts),
            counts: [taken, truncated, failed, table_full, left_out, checked, check_failed],
        }
    }

    /// From the wire.
    pub(in crate::dump) fn read(self, faults: &mut Faults) -> StackFigures {
        let [taken, truncated, failed, table_full, left_out, checked, check_failed] = self.counts;
        StackFigures {
            walker: faults.text(self.walker),
            why: faults.text(self.why),
            taken,
            truncated,
            failed,
            table_full,
            left_out,
            checked,
            check_failed,
        }
    }
}

/// A row of `MODS`.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::dump) struct WireModule<'a> {
    #[serde(borrow)]
    path: Text<'a>,
    build_id: Text<'a>,
    start: u64,
    end: u64,
    bias: u64,
}

impl<'a> WireModule<'a> {
    /// To the wire.
    pub(in crate::dump) fn new(module: &'a Module, cuts: &mut Cuts) -> Self {
        let Module { ref path, ref build_id, start, end, bias } = *module;
        WireModule { path: Text::cut(path, cuts), build_id: Text::cut(build_id, cuts), start, end, bias }
    }

    /// From the wire.
    pub(in crate::dump) fn read(self, faults: &mut Faults) -> Module {
        let WireModule { path, build_id, start, end, bias } = self;
        Module { path: faults.text(path), build_id: faults.text(build_id), start, end, bias }
    }
}

/// A row of `CHNG`.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::dump) struct WireChange<'a> {
    at_ns: u64,
    #[serde(borrow)]
    what: Text<'a>,
}

impl<'a> WireChange<'a> {
    /// To the wire.
    pub(in crate::dump) fn new(change: &'a Change, cuts: &mut Cuts) -> Self {
        let Change { at_ns, what } = change;
        WireChange { at_ns: *at_ns, what: Text::cut(what, cuts) }
    }

    /// From the wire.
    pub(in crate::dump) fn read(self, faults: &mut Faults) -> Change {
        Change { at_ns: self.at_ns, what: faults.text(self.what) }
    }
}
