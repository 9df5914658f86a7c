//! A small fleet: dumps of one service on four hosts, of two builds, and of one process at five times.

use heapledger::profile::{
    HeapStats, Interval, LiveBlock, LossReason, Module, Peak, Profile, RemoteFrees, Scope, Site, Stack,
    SymbolFrame, ThreadRow, Timeline, scope_address,
};

const START_NS: u64 = 1_796_040_000_000_000_000;

/// Paths of calls, innermost first: names without arguments, as a report shows them.
const PATHS: [&[&str]; 4] = [
    &["demo::parse::words", "demo::parse::document", "demo::main"],
    &["demo::cache::insert", "demo::serve", "demo::main"],
    &["demo::index::grow", "demo::main"],
    &["demo::cache::insert", "demo::warm_up", "demo::main"],
];

/// What differs between the runs.
#[derive(Clone, Copy)]
pub struct Run {
    pub host: usize,
    pub build: usize,
    pub pid: u32,
    /// Number of the dump among those of its process.
    pub at: u64,
    pub reason: &'static str,
    pub lost: u64,
}

/// Returns the runs of the fleet.
pub fn runs() -> Vec<Run> {
    let mut runs = Vec::new();
    for build in 0..2 {
        for host in 0..4 {
            let pid = (100 * (build + 1) + host) as u32;
            let lost = if (host, build) == (3, 1) { 7 } else { 0 };
            runs.push(Run { host, build, pid, at: 9, reason: "exit", lost });
        }
    }
    runs.extend((1..6).map(|at| Run { host: 2, build: 1, pid: 900, at, reason: "request", lost: 0 }));
    runs
}

/// Returns the profile of a run, in which every law holds. Builds differ in addresses and lines, hosts in the place at
/// which the program is mapped.
pub fn profile(run: Run) -> Profile {
    let base = 0x5500_0000_0000 + 0x1_0000_0000 * run.host as u64;
    let mut profile = Profile::default();
    profile.process.program = "demo".into();
    profile.process.host = format!("host-{}", run.host);
    profile.process.pid = run.pid;
    profile.process.reason = run.reason.into();
    profile.process.heapledger_version = "0.1.0".into();
    profile.process.platform = "linux x86_64".into();
    let process = run.build as u64 * 86_400_000_000_000 + u64::from(run.pid) * 1_000_000_000;
    profile.process.started_unix_ns = START_NS + process;
    profile.process.duration_ns = run.at * 60_000_000_000;
    profile.modules = vec![Module {
        path: "/srv/demo".into(),
        build_id: format!("b0{}", run.build),
        start: base,
        end: base + 0x10_0000,
        bias: base,
    }];
    profile.stack_figures.walker = "frame pointers".into();
    add_stacks(&mut profile, base, run);
    add_sites(&mut profile, run);
    add_sums(&mut profile, run);
    profile
}

fn add_stacks(profile: &mut Profile, base: u64, run: Run) {
    profile.stacks.push(Stack::default());
    profile.symbols.strings = vec![String::new(), "src/demo.rs".into()];
    for (at, path) in PATHS.iter().enumerate() {
        let mut frames = Vec::new();
        for (depth, name) in path.iter().enumerate() {
            let address =
                base + 0x1000 * (at as u64 + 1) + 0x40 * depth as u64 + 8 + 0x200 * run.build as u64;
            profile.symbols.strings.push((*name).into());
            let function = profile.symbols.strings.len() as u32 - 1;
            let line = 10 * at as u32 + depth as u32 + 1 + 3 * run.build as u32;
            let frame = SymbolFrame { function, file: 1, line, inlined: false };
            profile.symbols.frames.insert(address, vec![frame]);
            frames.push(address);
        }
        // The first path runs in a scope, of which a second stack has another line.
        if at == 0 {
            frames.push(scope_address(1));
        }
        profile.stacks.push(Stack { frames, truncated: at == 2 });
    }
}

fn add_sites(profile: &mut Profile, run: Run) {
    for stack in 0..=PATHS.len() as u64 {
        let (host, build) = (run.host as u64, run.build as u64);
        let blocks = 20 + stack * 7 + host;
        let size = 16 * (stack + 1) + 8 * build;
        // The second site grows from dump to dump of one process; and with the build.
        let live = if stack == 2 { 2 + run.at + 3 * build } else { (stack + host) % 3 };
        let freed = blocks - live;
        let mut site = Site {
            stack: stack as u32,
            total_blocks: blocks,
            total_bytes: blocks * size,
            freed_blocks: freed,
            freed_bytes: freed * size,
            own_peak_bytes: (live + 3) * size,
            at_peak_blocks: live + 1 + host % 2,
            at_peak_bytes: (live + 1 + host % 2) * size,
            temporary_blocks: stack,
            temporary_bytes: stack * size,
            cross_thread_frees: if stack % 2 == 1 { 3 + host } else { 0 },
            ..Site::default()
        };
        site.reallocs.count = stack;
        site.reallocs.moved = stack / 2;
        site.reallocs.copied_bytes = stack * 32;
        site.sizes.add(size, blocks);
        // A realloc frees a block whose life goes on.
        for n in 0..freed - site.reallocs.count {
            site.lifetimes.add(1_000 << (n % (3 + stack)), 1);
        }
        for n in 0..live {
            profile.live.push(LiveBlock {
                address: 0x7f00_0000_0000 + 0x1000 * stack + 0x100 * n,
                size,
                born_ns: 10 * n + 1,
                stack: stack as u32,
                thread: (n % 2) as u32,
                align_log2: 3,
                reallocs: (n % 2) as u8,
            });
        }
        profile.sites.push(site);
    }
}

fn add_sums(profile: &mut Profile, run: Run) {
    let sum = |figure: fn(&Site) -> u64| profile.sites.iter().map(figure).sum::<u64>();
    let totals = HeapStats {
        total_blocks: sum(|site| site.total_blocks),
        total_bytes: sum(|site| site.total_bytes),
        freed_blocks: sum(|site| site.freed_blocks),
        freed_bytes: sum(|site| site.freed_bytes),
        live_blocks: sum(Site::live_blocks),
        live_bytes: sum(Site::live_bytes),
        peak_blocks: sum(|site| site.at_peak_blocks),
        peak_bytes: sum(|site| site.at_peak_bytes),
        reallocs: sum(|site| site.reallocs.count),
        ..HeapStats::default()
    };
    let remote = sum(|site| site.cross_thread_frees);
    profile.totals = totals;
    profile.peak =
        Peak { bytes: totals.peak_bytes, blocks: totals.peak_blocks, at_ns: 7, uncertainty_bytes: 0 };
    let events = totals.total_blocks + totals.freed_blocks - totals.reallocs;
    profile.quality.installed = true;
    (profile.quality.recorded, profile.quality.attempted) = (events, events + run.lost);
    profile.quality.evicted = events;
    profile.quality.own_bytes = 1 << 20;
    profile.quality.lost.add(LossReason::RingFull, run.lost);
    profile.quality.current_completeness = events as f64 / (events + run.lost) as f64;
    let row = |index, blocks: u64, bytes, freed_blocks, freed_bytes, events, cross_thread_frees| ThreadRow {
        index,
        name: format!("worker-{index}"),
        os_id: 5000 + u64::from(index),
        ended_ns: (index == 1).then_some(99),
        threads: 1,
        attempted: events,
        recorded: events,
        total_blocks: blocks,
        total_bytes: bytes,
        freed_blocks,
        freed_bytes,
        cross_thread_frees,
        ..ThreadRow::default()
    };
    let part = |whole: u64| whole / 3;
    let rest = |whole: u64| whole - whole / 3;
    let figures = [totals.total_blocks, totals.total_bytes, totals.freed_blocks, totals.freed_bytes, events];
    let [a, b, c, d, e] = figures.map(part);
    profile.threads.push(row(0, a, b, c, d, e, remote));
    let [a, b, c, d, e] = figures.map(rest);
    profile.threads.push(row(1, a, b, c, d, e, 0));
    profile.threads[1].attempted += run.lost;
    profile.threads[1].lost.add(LossReason::RingFull, run.lost);
    profile.crossings = vec![RemoteFrees { allocated_by: 1, freed_by: 0, blocks: remote, bytes: 5 * remote }];
    add_times(profile, run);
}

fn add_times(profile: &mut Profile, run: Run) {
    let totals = profile.totals;
    let interval = |part: fn(u64) -> u64| Interval {
        allocated_blocks: part(totals.total_blocks),
        allocated_bytes: part(totals.total_bytes),
        freed_blocks: part(totals.freed_blocks),
        freed_bytes: part(totals.freed_bytes),
        peak_bytes: totals.peak_bytes,
        lost: 0,
    };
    let (first, second) = (interval(|whole| whole / 3), interval(|whole| whole - whole / 3));
    profile.timeline =
        Timeline { interval_ns: 1_000, intervals: vec![first, Interval { lost: run.lost, ..second }] };
    // In the second interval none was read.
    profile.memory.resident_by_interval = vec![totals.peak_bytes + 4_096, 0];
    let scoped = &profile.sites[1];
    profile.scopes = vec![Scope {
        name: "GET /search".into(),
        parent: 0,
        total_blocks: scoped.total_blocks,
        total_bytes: scoped.total_bytes,
        freed_blocks: scoped.freed_blocks,
        freed_bytes: scoped.freed_bytes,
        reallocs: scoped.reallocs.count,
        peak_bytes: scoped.total_bytes,
        peak_uncertainty_bytes: 3,
        threads: 2,
    }];
}
