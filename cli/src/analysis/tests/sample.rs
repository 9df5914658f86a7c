//! Profiles with known answers, for the tests of the analysis, the reports and the exports.
//!
//! [`complete`] is the profile of a small imaginary program. Two threads allocate ten blocks: four of 1,050 to 1,150
//! bytes and six of 100 bytes. Seven blocks are freed; three (1,050, 1,050 and 100 bytes) are live at the end. Every
//! law holds.

use heapledger::profile::{
    ClockInfo, ClockMode, ConcurrencyConfig, DataQualityMode, ForkPolicy, HeapStats, Histogram,
    HistoryLimits, Interval, LiveBlock, LossReason, Module, Peak, ProcessInfo, Profile, QualityIndicator,
    ReallocStats, Settings, Site, Stack, StackFigures, Stacks, SymbolFrame, Symbols, ThreadRow, Timeline,
};

/// Returns the profile of a process without events.
pub(crate) fn empty() -> Profile {
    Profile {
        quality: QualityIndicator {
            installed: true,
            current_completeness: 1.0,
            target_completeness: 0.95,
            ..QualityIndicator::default()
        },
        process: ProcessInfo::default(),
        settings: Settings {
            mode: DataQualityMode::PerfectAccuracy,
            stacks: Stacks::Off,
            clock: ClockMode::Batched,
            history: HistoryLimits::DEFAULT,
            concurrency: ConcurrencyConfig::DEFAULT,
            fork: ForkPolicy::Fresh,
            memory_limit_bytes: 1 << 30,
        },
        clock: ClockInfo::default(),
        totals: HeapStats::default(),
        estimates: None,
        peak: Peak::default(),
        sites: Vec::new(),
        curves: Vec::new(),
        memory: Default::default(),
        scopes: Vec::new(),
        scope_counts: Default::default(),
        stacks: vec![Stack::default()],
        stack_figures: StackFigures::default(),
        modules: Vec::new(),
        symbols: Symbols::default(),
        live: Vec::new(),
        threads: Vec::new(),
        crossings: Vec::new(),
        timeline: Timeline::default(),
        history: Vec::new(),
        changes: Vec::new(),
        tracked: Default::default(),
    }
}

/// Returns the profile of the program in the [module](self) comment, recorded without loss.
pub(crate) fn complete() -> Profile {
    let mut profile = empty();
    profile.quality.attempted = 14;
    profile.quality.recorded = 14;
    profile.quality.retained = 10;
    profile.quality.evicted = 4;
    profile.quality.own_events = 2;
    profile.quality.own_bytes = 1 << 20;
    profile.process = ProcessInfo {
        pid: 4711,
        program: "demo".into(),
        command_line: vec!["./demo".into(), "--fast".into()],
        platform: "linux x86_64".into(),
        heapledger_version: "0.1.0".into(),
        duration_ns: 2_000_000_000,
        reason: "exit".into(),
        ..ProcessInfo::default()
    };
    profile.clock =
        ClockInfo { source: "tsc".into(), why: "invariant and trusted".into(), longest_span_ns: 1_000 };
    profile.totals = HeapStats {
        total_blocks: 10,
        total_bytes: 5_000,
        freed_blocks: 7,
        freed_bytes: 2_800,
        live_blocks: 3,
        live_bytes: 2_200,
        peak_blocks: 5,
        peak_bytes: 3_500,
        reallocs: 5,
        failed: 0,
        ..HeapStats::default()
    };
    profile.peak = Peak { bytes: 3_500, blocks: 5, at_ns: 750_000_000, uncertainty_bytes: 0 };
    profile.sites = sites();
    profile.stacks.push(Stack { frames: vec![0x1000, 0x2000], truncated: false });
    profile.live = [(1_050, 10), (1_050, 20), (100, 30)]
        .into_iter()
        .enumerate()
        .map(|(at, (size, born_ns))| LiveBlock {
            address: 4096 * (at as u64 + 1),
            size,
            born_ns,
            ..LiveBlock::default()
        })
        .collect();
    profile.threads = threads();
    profile.timeline = Timeline {
        interval_ns: 500_000_000,
        intervals: [(2_000, 0, 2_000), (2_000, 1_000, 3_500), (300, 1_800, 0), (700, 0, 0)]
            .map(|(allocated_bytes, freed_bytes, peak_bytes)| Interval {
                allocated_bytes,
                freed_bytes,
                peak_bytes,
                ..Interval::default()
            })
            .to_vec(),
    };
    profile
}

/// Returns [`complete`] with `events` additional events of the first thread, all lost for the same reason.
pub(crate) fn with_loss(reason: LossReason, events: u64) -> Profile {
    let mut profile = complete();
    profile.quality.attempted += events;
    profile.quality.lost.add(reason, events);
    profile.quality.current_completeness =
        QualityIndicator::completeness_of(profile.quality.recorded, events);
    profile.threads[0].attempted += events;
    profile.threads[0].lost.add(reason, events);
    profile.timeline.intervals[1].lost += events;
    profile
}

fn histogram(rows: &[(u64, u64)]) -> Histogram {
    let mut histogram = Histogram::default();
    rows.iter().for_each(|(value, count)| histogram.add(*value, *count));
    histogram
}

fn sites() -> Vec<Site> {
    vec![
        Site {
            stack: 0,
            total_blocks: 6,
            total_bytes: 4_600,
            freed_blocks: 3,
            freed_bytes: 2_400,
            own_peak_bytes: 3_400,
            at_peak_bytes: 3_300,
            at_peak_blocks: 3,
            cross_thread_frees: 2,
            reallocs: ReallocStats {
                count: 5,
                moved: 3,
                copied_bytes: 600,
                chains: 2,
                chain_links: 5,
                longest_chain: 3,
            },
            sizes: histogram(&[(100, 2), (1_050, 2), (1_150, 2)]),
            lifetimes: histogram(&[(1_000_000, 1)]),
            ..Site::default()
        },
        Site {
            stack: 1,
            total_blocks: 4,
            total_bytes: 400,
            freed_blocks: 4,
            freed_bytes: 400,
            own_peak_bytes: 200,
            at_peak_bytes: 200,
            at_peak_blocks: 2,
            temporary_blocks: 4,
            temporary_bytes: 400,
            sizes: histogram(&[(100, 4)]),
            lifetimes: histogram(&[(1_000, 1)]),
            ..Site::default()
        },
    ]
}

fn threads() -> Vec<ThreadRow> {
    let row = |index, name: &str, events, own| ThreadRow {
        index,
        name: name.into(),
        os_id: 4711 + u64::from(index),
        threads: 1,
        own,
        attempted: events,
        recorded: events,
        ..ThreadRow::default()
    };
    vec![
        ThreadRow { total_blocks: 7, total_bytes: 4_000, freed_blocks: 5, ..row(0, "main", 9, false) },
        ThreadRow {
            total_blocks: 3,
            total_bytes: 1_000,
            freed_blocks: 2,
            cross_thread_frees: 2,
            ended_ns: Some(1_500_000_000),
            ..row(1, "worker", 3, false)
        },
        row(2, "heapledger", 2, true),
    ]
}

/// Returns the profile of a program with names and six sites: one without a stack, two whose stacks have the same
/// names, one without a name, one in a loaded object, and one whose stack ends early. Every law of the sites holds.
pub(crate) fn named() -> Profile {
    let mut profile = complete();
    let texts =
        ["", "Vec<T>::push", "src/vec.rs", "parse", "src/parse.rs", "main", "src/main.rs", "__rust_alloc"];
    profile.symbols.strings = texts.map(str::to_owned).to_vec();
    let symbol = |function, file, line, inlined| SymbolFrame { function, file, line, inlined };
    let push = symbol(1, 2, 20, true);
    profile.symbols.frames.extend([
        (0x1010, vec![push, symbol(3, 4, 10, false)]),
        (0x1020, vec![push, symbol(3, 4, 11, false)]),
        (0x1100, vec![symbol(5, 6, 5, false)]),
        (0x1001, vec![symbol(7, 0, 0, false)]),
    ]);
    profile.modules = vec![
        Module { path: "/opt/demo".into(), build_id: "ab01".into(), start: 0x1000, end: 0x3000, bias: 0 },
        Module {
            path: "/lib/libx.so".into(),
            build_id: String::new(),
            start: 0x8000,
            end: 0x9000,
            bias: 0x8000,
        },
    ];
    let stack = |frames: &[u64], truncated| Stack { frames: frames.to_vec(), truncated };
    profile.stacks = vec![
        Stack::default(),
        stack(&[0x1001, 0x1010, 0x1100], false),
        stack(&[0x1001, 0x1020, 0x1100], false),
        stack(&[0x8124, 0x1100], false),
        stack(&[0xf000], true),
        stack(&[0x1010, 0x1010, 0x1100], false),
    ];
    profile.sites = named_sites();
    profile.live = Vec::new();
    for account in &profile.sites {
        let bytes = account.live_bytes().checked_div(account.live_blocks()).unwrap_or(0);
        let block = LiveBlock { size: bytes, stack: account.stack, ..LiveBlock::default() };
        profile.live.extend((0..account.live_blocks()).map(|_| block));
    }
    let sum = |figure: fn(&Site) -> u64| profile.sites.iter().map(figure).sum();
    profile.totals = HeapStats {
        total_blocks: sum(|site| site.total_blocks),
        total_bytes: sum(|site| site.total_bytes),
        freed_blocks: sum(|site| site.freed_blocks),
        freed_bytes: sum(|site| site.freed_bytes),
        live_blocks: sum(Site::live_blocks),
        live_bytes: sum(Site::live_bytes),
        peak_blocks: sum(|site| site.at_peak_blocks),
        peak_bytes: sum(|site| site.at_peak_bytes),
        ..HeapStats::default()
    };
    profile.peak = Peak {
        bytes: profile.totals.peak_bytes,
        blocks: profile.totals.peak_blocks,
        at_ns: 750_000_000,
        uncertainty_bytes: 0,
    };
    profile.threads[0].total_bytes = profile.totals.total_bytes - 1_000;
    profile.timeline.intervals[3].allocated_bytes += profile.totals.total_bytes - 5_000;
    profile.settings.stacks = Stacks::FramePointers;
    profile
}

fn named_sites() -> Vec<Site> {
    let site = |stack, blocks, bytes, freed: (u64, u64), peak: (u64, u64), temporary| Site {
        stack,
        total_blocks: blocks,
        total_bytes: bytes,
        freed_blocks: freed.0,
        freed_bytes: freed.1,
        at_peak_blocks: peak.0,
        at_peak_bytes: peak.1,
        own_peak_bytes: peak.1.max(bytes - freed.1).max(bytes / blocks),
        temporary_blocks: temporary,
        temporary_bytes: temporary * (bytes / blocks),
        sizes: histogram(&[(bytes / blocks, blocks)]),
        lifetimes: histogram(&[(1_000, freed.0)]),
        ..Site::default()
    };
    vec![
        site(0, 2, 20, (2, 20), (0, 0), 2),
        site(1, 5, 1_000, (4, 800), (2, 400), 0),
        site(2, 3, 300, (0, 0), (3, 300), 0),
        site(3, 10, 10_001, (9, 9_001), (1, 1_000), 3),
        site(4, 1, 64, (1, 64), (1, 64), 0),
        site(5, 7, 77, (6, 66), (1, 11), 0),
    ]
}
