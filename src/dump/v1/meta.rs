//! Records of the metadata sections, version 1. The order of the fields is the order of the bytes.

use super::{Cuts, Faults, Wire, coded, get_all, put_all, record};
use crate::dump::codec::{CodecError, Cursor, put_record};
use crate::dump::format::{
    ARGUMENT_COST_BYTES, COMMAND_LINE_BYTES_MAX, STACKS_AUTO, STACKS_DWARF, STACKS_FRAME_POINTERS,
    STACKS_OFF, STACKS_SAMPLED, TEXT_BYTES_MAX, Tag, clock_code, clock_of, fork_code, fork_of, loss_code,
    loss_of, mode_code, mode_of, trend_code, trend_of,
};
use crate::dump::rows::Counted;
use crate::profile::{
    Anomalies, Change, ClockInfo, ClockMode, CompletenessTrend, ConcurrencyConfig, DataQualityMode,
    ForkPolicy, HeapStats, HistoryLimits, LossCounts, LossReason, Module, OwnMemory, Peak, ProcessInfo,
    ProcessMemory, Profile, QualityIndicator, Scope, Settings, StackFigures, Stacks, ThreadRow,
};

coded! {
    CompletenessTrend: trend_code, trend_of, CompletenessTrend::Unknown;
    DataQualityMode: mode_code, mode_of, DataQualityMode::default();
    ClockMode: clock_code, clock_of, ClockMode::default();
    ForkPolicy: fork_code, fork_of, ForkPolicy::default();
}

/// Lost events, as pairs of a reason's code and its number of events. Reasons without events are omitted.
impl Wire for LossCounts {
    fn put(&self, out: &mut Vec<u8>, _: &mut Cuts) -> Result<(), CodecError> {
        let lost = self.iter().filter(|(_, events)| *events > 0);
        let pairs: Vec<(u8, u64)> = lost.map(|(reason, events)| (loss_code(reason), events)).collect();
        put_record(out, &pairs)
    }

    fn get(from: &mut Cursor<'_>, faults: &mut Faults) -> Result<Self, CodecError> {
        let pairs: Vec<(u8, u64)> = from.record()?;
        let mut lost = [0u64; LossReason::COUNT];
        for (code, events) in pairs {
            match loss_of(code) {
                Some(reason) => lost[reason as usize] = lost[reason as usize].saturating_add(events),
                None => faults.codes += 1,
            }
        }
        Ok(LossCounts::from_counts(lost))
    }
}

// Section `QUAL`. The recording times are in section `RECT`, and the memory by purpose is in `OWNM`.
record!(QualityIndicator {
    installed, current_completeness, target_completeness, windowed_completeness, trend, recommendation, mode,
    attempted, recorded, in_flight, lost, sampled_out, retained, evicted, anomalies, own_events, lag_ns,
    ring_high_water_words, folds_at_home, folds_away, waits, spare_segments, own_bytes, own_cpu_ns,
} without { turn_times, own_memory });

// Section `MEMO`. The figures by interval are written as their count, then the figures.
record!(ProcessMemory {
    resident_by_interval,
    resident_bytes,
    anonymous_bytes,
    highest_resident_bytes,
    swapped_bytes,
    allocator,
    allocator_used_bytes,
    allocator_free_bytes,
    blocks_at_least_bytes,
    blocks_at_most_bytes,
    large_blocks_bytes,
    large_blocks_resident_bytes,
});

impl Wire for Vec<u64> {
    fn put(&self, out: &mut Vec<u8>, cuts: &mut Cuts) -> Result<(), CodecError> {
        put_all(out, self, cuts)
    }

    fn get(from: &mut Cursor<'_>, faults: &mut Faults) -> Result<Self, CodecError> {
        get_all(from, faults)
    }
}

// Section `OWNM`: the memory in `own_bytes`, by purpose.
record!(OwnMemory { rings, live_blocks, sites, stacks, tables });
record!(Anomalies { unmatched_frees, double_allocations, ambiguous_pairings, layout_mismatches });

/// Section `CONT`: the number of rows of each table in the whole file. The section is written early, so that the reader
/// of a cut file knows how many rows are missing.
#[derive(Debug, Default)]
pub(in crate::dump) struct Contents {
    rows: Vec<([u8; 4], u64)>,
}

record!(Contents { rows });

impl Contents {
    pub(in crate::dump) fn of(profile: &Profile, counted: &Counted) -> Self {
        let rows = |tag| match tag {
            Tag::CHANGES => profile.changes.len(),
            Tag::MODULES => profile.modules.len(),
            Tag::THREADS => profile.threads.len(),
            Tag::STACKS => counted.stacks as usize,
            Tag::SITES => counted.sites as usize,
            Tag::TIMELINE => profile.timeline.intervals.len(),
            Tag::LIVE => counted.live as usize,
            Tag::HISTORY => profile.history.len(),
            Tag::SYMBOL_TEXTS => profile.symbols.strings.len(),
            Tag::SYMBOL_FRAMES => profile.symbols.frames.len(),
            Tag::SYMBOL_NOTES => profile.symbols.notes.len(),
            Tag::SCOPES => profile.scopes.len(),
            Tag::CURVES => profile.curves.len(),
            _ => 0,
        };
        let listed = Tag::TABLES.map(|tag| (tag, rows(tag) as u64)).into_iter();
        let listed = listed.filter(|(tag, rows)| *rows > 0 || !tag.is_listed_with_rows_only());
        Contents { rows: listed.map(|(tag, rows)| (tag.0, rows)).collect() }
    }

    /// Returns the number of rows of a table, or 0 for a table that is not listed.
    pub(in crate::dump) fn rows(&self, tag: Tag) -> u64 {
        self.rows.iter().find(|(listed, _)| *listed == tag.0).map_or(0, |(_, rows)| *rows)
    }
}

// Section `PROC`.
record!(ProcessInfo {
    pid,
    forked_from,
    program,
    command_line,
    platform,
    heapledger_version,
    started_unix_ns,
    duration_ns,
    reason,
} without { directory, unread, host });

/// A command line: the first arguments, as many as fit into the maximum length.
impl Wire for Vec<String> {
    fn put(&self, out: &mut Vec<u8>, cuts: &mut Cuts) -> Result<(), CodecError> {
        let mut bytes = 0;
        let fits = |argument: &&String| {
            bytes += argument.len().min(TEXT_BYTES_MAX) + ARGUMENT_COST_BYTES;
            bytes <= COMMAND_LINE_BYTES_MAX
        };
        let kept = self.iter().take_while(fits).count();
        cuts.arguments += (self.len() - kept) as u64;
        put_all(out, &self[..kept], cuts)
    }

    fn get(from: &mut Cursor<'_>, faults: &mut Faults) -> Result<Self, CodecError> {
        get_all(from, faults)
    }
}

// Section `CONF`.
record!(Settings { mode, stacks, clock, history, concurrency, fork, memory_limit_bytes });
record!(HistoryLimits { events, bytes, age_ns });
record!(ConcurrencyConfig { max_retries, base_delay_ns, enable_overflow_buffer, target_completeness });

/// Method by which stacks are taken: a code and an argument. The argument is 0 for codes that need none.
impl Wire for Stacks {
    fn put(&self, out: &mut Vec<u8>, _: &mut Cuts) -> Result<(), CodecError> {
        let coded = match *self {
            Stacks::Off => (STACKS_OFF, 0),
            Stacks::Auto => (STACKS_AUTO, 0),
            Stacks::FramePointers => (STACKS_FRAME_POINTERS, 0),
            Stacks::Dwarf => (STACKS_DWARF, 0),
            Stacks::Sampled { bytes } => (STACKS_SAMPLED, bytes),
        };
        put_record(out, &coded)
    }

    fn get(from: &mut Cursor<'_>, faults: &mut Faults) -> Result<Self, CodecError> {
        let (code, bytes): (u8, u64) = from.record()?;
        Ok(match code {
            STACKS_OFF => Stacks::Off,
            STACKS_AUTO => Stacks::Auto,
            STACKS_FRAME_POINTERS => Stacks::FramePointers,
            STACKS_DWARF => Stacks::Dwarf,
            STACKS_SAMPLED => Stacks::Sampled { bytes },
            _ => {
                faults.codes += 1;
                Stacks::Off
            }
        })
    }
}

// Section `CLCK`: this record, then the length of an interval of the timeline.
record!(ClockInfo { source, why, longest_span_ns });

// Section `TOTL`: the totals, then the peak.
record!(HeapStats {
    total_blocks,
    total_bytes,
    freed_blocks,
    freed_bytes,
    live_blocks,
    live_bytes,
    peak_blocks,
    peak_bytes,
    reallocs,
    failed,
} without { coverage });
record!(Peak { bytes, blocks, at_ns, uncertainty_bytes });

// Section `STKQ`. The section is absent if no stacks were taken.
record!(StackFigures { walker, why, taken, truncated, failed, table_full, left_out, checked, check_failed });

// Rows of `THRD`, `MODS` and `CHNG`.
record!(ThreadRow {
    index,
    name,
    os_id,
    started_ns,
    ended_ns,
    threads,
    own,
    attempted,
    recorded,
    lost,
    total_blocks,
    total_bytes,
    freed_blocks,
    freed_bytes,
    cross_thread_frees,
});
record!(Module { path, build_id, start, end, bias });
record!(Change { at_ns, what });
record!(Scope {
    name,
    parent,
    total_blocks,
    total_bytes,
    freed_blocks,
    freed_bytes,
    reallocs,
    peak_bytes,
    peak_uncertainty_bytes,
    threads,
});
