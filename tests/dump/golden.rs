//! The golden file of version 1, and the profile that it holds. Neither ever changes: a reader that returns anything
//! else is wrong.

use heapledger::profile::{
    Anomalies, Change, ClockInfo, Event, EventKind, Histogram, Interval, LiveBlock, Module, Peak,
    ProcessInfo, QualityIndicator, ReallocStats, Settings, Site, Stack, ThreadRow, Timeline,
};
use heapledger::{
    ClockMode, CompletenessTrend, ConcurrencyConfig, Coverage, DataQualityMode, ForkPolicy, HeapStats,
    HistoryLimits, LossCounts, Profile, Stacks,
};

/// The bytes of the file, as the first writer of version 1 wrote them.
pub const FILE: &[u8] = include_bytes!("../data/dump-v1.hl");

/// Writes a golden file. It never overwrites one, because a later version gets a separate file.
#[test]
#[ignore = "the golden file is made once and kept"]
fn make_the_golden_file() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/dump-v1.hl");
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(path).unwrap();
    heapledger::dumps::write_to(file, &profile()).unwrap();
}

/// Returns the profile in the file. Every field differs from its default, except where rows show both values.
pub fn profile() -> Profile {
    Profile {
        quality: quality(),
        process: process(),
        settings: settings(),
        clock: ClockInfo {
            source: "tsc".into(),
            why: "invariant and trusted".into(),
            longest_span_ns: 1_000_003,
        },
        totals: HeapStats {
            total_blocks: 600,
            total_bytes: 70_000,
            freed_blocks: 597,
            freed_bytes: 4_256,
            live_blocks: 3,
            live_bytes: 65_744,
            peak_blocks: 12,
            peak_bytes: 66_000,
            reallocs: 9,
            failed: 2,
            coverage: Coverage { recorded_events: 1015, lost_events: 28 },
        },
        estimates: None,
        peak: Peak { bytes: 66_000, blocks: 12, at_ns: 30_000_000_000, uncertainty_bytes: 128 },
        sites: sites(),
        stacks: vec![
            Stack::default(),
            Stack { frames: vec![0x5555_0000_1234, 0x5555_0000_2000, 0x7FFF_F7A0_0123], truncated: false },
            Stack { frames: vec![0x5555_0000_1234, u64::MAX, 1], truncated: true },
        ],
        curves: Vec::new(),
        memory: Default::default(),
        scopes: Vec::new(),
        scope_counts: Default::default(),
        stack_figures: Default::default(),
        modules: modules(),
        symbols: Default::default(),
        live: live(),
        threads: threads(),
        crossings: Vec::new(),
        timeline: timeline(),
        history: history(),
        changes: vec![
            Change { at_ns: 1_000, what: "mode: perfect -> high".into() },
            Change { at_ns: 2_000_000, what: "clock: tsc -> monotonic".into() },
        ],
        tracked: Default::default(),
    }
}

fn quality() -> QualityIndicator {
    QualityIndicator {
        installed: true,
        current_completeness: 0.972_5,
        target_completeness: 0.975,
        windowed_completeness: Some(0.5),
        trend: CompletenessTrend::Degrading,
        recommendation: "set mode to perfect".into(),
        mode: DataQualityMode::HighAccuracy,
        attempted: 1050,
        recorded: 1015,
        in_flight: 7,
        lost: LossCounts::from_counts([1, 2, 3, 4, 5, 6, 7]),
        sampled_out: 11,
        retained: 14,
        evicted: 1000,
        anomalies: Anomalies {
            unmatched_frees: 1,
            double_allocations: 2,
            ambiguous_pairings: 3,
            layout_mismatches: 4,
        },
        own_events: 21,
        lag_ns: 1_500,
        ring_high_water_words: 4_000,
        folds_at_home: 31,
        folds_away: 32,
        waits: 33,
        spare_segments: 34,
        own_bytes: 1_048_576,
        own_cpu_ns: 77_000,
        turn_times: Default::default(),
        own_memory: Default::default(),
    }
}

fn sites() -> Vec<Site> {
    let mut sizes = Histogram::default();
    [(0, 1), (24, 500), (65_536, 1), (u64::MAX, 2)].iter().for_each(|(size, count)| sizes.add(*size, *count));
    let lifetimes = Histogram::from_counts(&[0, 0, 300, 0, 1 << 40]);
    vec![
        Site { stack: 0, total_blocks: 96, total_bytes: 464, ..Site::default() },
        Site {
            stack: 1,
            total_blocks: 504,
            total_bytes: 69_536,
            freed_blocks: 501,
            freed_bytes: 3_792,
            own_peak_bytes: 65_800,
            at_peak_bytes: 65_600,
            at_peak_blocks: 10,
            temporary_blocks: 301,
            temporary_bytes: 3_000,
            cross_thread_frees: 17,
            reallocs: ReallocStats {
                count: 9,
                moved: 4,
                copied_bytes: 8_192,
                chains: 2,
                chain_links: 8,
                longest_chain: 63,
            },
            sizes,
            lifetimes,
        },
    ]
}

fn threads() -> Vec<ThreadRow> {
    let main = ThreadRow {
        index: 0,
        name: "main".into(),
        os_id: 4711,
        started_ns: 10,
        ended_ns: None,
        threads: 1,
        own: false,
        attempted: 800,
        recorded: 790,
        lost: LossCounts::from_counts([1, 0, 0, 0, 0, 0, 2]),
        total_blocks: 500,
        total_bytes: 68_000,
        freed_blocks: 497,
        freed_bytes: 3_000,
        cross_thread_frees: 17,
    };
    let worker = ThreadRow {
        index: 1,
        name: "wörker-1".into(),
        os_id: 4712,
        started_ns: 5_000_000,
        ended_ns: Some(6_000_000_000),
        total_blocks: 100,
        total_bytes: 2_000,
        ..main.clone()
    };
    let others = ThreadRow {
        index: 2,
        name: String::new(),
        os_id: 0,
        threads: 1_000,
        own: true,
        ..ThreadRow::default()
    };
    vec![main, worker, others]
}

fn history() -> Vec<Event> {
    let address = 0x7F00_0000_0010;
    [
        (1, 0, 1, EventKind::Alloc { address, size: 24, zeroed: false }),
        (2, 1, 2, EventKind::Alloc { address: address + 64, size: 0, zeroed: true }),
        (9, 1, 2, EventKind::Realloc { old_address: address + 64, new_address: address, new_size: 1 << 33 }),
        (9, 2, 0, EventKind::ReallocFailed { address: 0 }),
        (7, 0, 0, EventKind::Free { address: u64::MAX }),
    ]
    .map(|(at_ns, thread, stack, kind)| Event { at_ns, thread, stack, kind })
    .to_vec()
}

fn process() -> ProcessInfo {
    ProcessInfo {
        pid: 4711,
        forked_from: Some(4700),
        program: "sérvice".into(),
        command_line: vec!["./sérvice".into(), "--port".into(), "80".into(), String::new()],
        platform: "linux x86_64".into(),
        heapledger_version: "0.1.0".into(),
        started_unix_ns: 1_790_000_000_123_456_789,
        duration_ns: 61_000_000_007,
        reason: "request".into(),
        // Version 1.0 has no section for these.
        directory: String::new(),
        unread: Vec::new(),
        host: String::new(),
    }
}

fn settings() -> Settings {
    Settings {
        mode: DataQualityMode::HighAccuracy,
        stacks: Stacks::Off,
        clock: ClockMode::PerEvent,
        history: HistoryLimits { events: 4096, bytes: 32_768, age_ns: Some(5_000_000_000) },
        concurrency: ConcurrencyConfig {
            max_retries: 5,
            base_delay_ns: 250,
            enable_overflow_buffer: true,
            target_completeness: 0.975,
        },
        fork: ForkPolicy::Off,
        memory_limit_bytes: 268_435_456,
    }
}

fn modules() -> Vec<Module> {
    vec![
        Module {
            path: "/opt/sérvice/bin".into(),
            build_id: "9f86d081884c7d65".into(),
            start: 0x5555_0000_0000,
            end: 0x5555_0010_0000,
            bias: 0x5554_FFFF_F000,
        },
        Module {
            path: "libc.so.6".into(),
            build_id: String::new(),
            start: 1 << 46,
            end: 3 << 45,
            bias: u64::MAX,
        },
    ]
}

fn live() -> Vec<LiveBlock> {
    vec![
        LiveBlock {
            address: 0x7F00_0000_1000,
            size: 65_536,
            born_ns: 12_000_000,
            stack: 1,
            thread: 0,
            align_log2: 12,
            reallocs: 63,
        },
        LiveBlock {
            address: 0x7F00_0000_0010,
            size: 200,
            born_ns: 5,
            stack: 2,
            thread: 1,
            align_log2: 3,
            reallocs: 0,
        },
        LiveBlock {
            address: u64::MAX - 7,
            size: 8,
            born_ns: u64::MAX,
            stack: 0,
            thread: 2,
            align_log2: 0,
            reallocs: 1,
        },
    ]
}

fn timeline() -> Timeline {
    Timeline {
        interval_ns: 250_000_000,
        intervals: vec![
            Interval {
                allocated_blocks: 400,
                allocated_bytes: 60_000,
                freed_blocks: 300,
                freed_bytes: 2_000,
                peak_bytes: 59_000,
                lost: 4,
            },
            Interval::default(),
            Interval {
                allocated_blocks: 200,
                allocated_bytes: 10_000,
                freed_blocks: 297,
                freed_bytes: 2_256,
                peak_bytes: 66_000,
                lost: 24,
            },
        ],
    }
}
