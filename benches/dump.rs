//! Times of writing and reading a dump of 100,000 live blocks.
//!
//! With `LARGE_DUMP=PATH` the bench only writes a dump of 1,000,000 live blocks and 100,000 sites to that path, for a
//! measurement of the command: `LARGE_DUMP=/tmp/large.hl cargo bench --bench dump && time heapledger report
//! /tmp/large.hl`. The stacks of this dump go through 40,000 named calls of 8,000 functions, as in a large program.
//! With `UNLIKE_DUMP=PATH` the bench writes a dump in which nearly every frame is a different call without a name:
//! 2,400,000 calls, more than any program has. A reader then gains nothing from keeping results by call.
//!
//! Each profile of the bench obeys the conservation laws.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use heapledger::Profile;
use heapledger::dumps;
use heapledger::profile::{
    Event, EventKind, Interval, LiveBlock, Module, Site, Stack, SymbolFrame, ThreadRow,
};

const LIVE_BLOCKS: u64 = 100_000;
const EVENTS: u64 = 65_536;
const STACKS: u64 = 2_000;
const LARGE: (u64, u64) = (1_000_000, 100_000);
const THREADS: u64 = 16;
const FRAMES: u64 = 25;
/// Number of functions of the program, each with `CALLS` calls and `FUNCTION_BYTES` bytes.
const FUNCTIONS: u64 = 8_000;
const CALLS: u64 = 5;
const FUNCTION_BYTES: u64 = 512;
const TEXT_START: u64 = 0x5555_0000_0000;
const INTERVALS: u64 = 1_000;

/// The calls that the stacks go through.
#[derive(Clone, Copy)]
enum Calls {
    /// The calls of one program: each function makes [`CALLS`] calls, all of them with names.
    Shared,
    /// A different call for each frame.
    Unlike,
}

/// A generator of numbers below a bound, with the same results in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Returns the return address of call `call` of function `function`.
fn address(function: u64, call: u64) -> u64 {
    TEXT_START + function * FUNCTION_BYTES + 16 * (call + 1)
}

/// Returns a stack, innermost frame first. From `main` on, one of the calls of each function leads to the next
/// function.
fn stack(random: &mut Random, calls: Calls) -> Stack {
    let mut function = 0;
    let mut frames: Vec<u64> = (0..FRAMES)
        .map(|_| match calls {
            Calls::Shared => {
                let call = random.below(CALLS);
                let here = address(function, call);
                function = (function * CALLS + call + 1).wrapping_mul(2_654_435_761) % FUNCTIONS;
                here
            }
            Calls::Unlike => TEXT_START + random.below(1 << 24),
        })
        .collect();
    frames.reverse();
    Stack { frames, truncated: false }
}

/// Adds names for all calls of the program.
fn add_names(profile: &mut Profile) {
    let symbols = &mut profile.symbols;
    symbols.strings.push(String::new());
    let files = FUNCTIONS / 20;
    symbols
        .strings
        .extend((0..files).map(|file| format!("/build/service/src/part_{}/file_{file}.rs", file % 40)));
    let first = symbols.strings.len() as u64;
    let named =
        |n| format!("service::part_{}::Worker<core::option::Option<u{}>>::step_{n}", n % 40, 8 << (n % 4));
    symbols.strings.extend((0..FUNCTIONS).map(named));
    for function in 0..FUNCTIONS {
        for call in 0..CALLS {
            let frame = SymbolFrame {
                function: (first + function) as u32,
                file: 1 + (function % files) as u32,
                line: (10 * (call + 1)) as u32,
                inlined: false,
            };
            symbols.frames.insert(address(function, call), vec![frame]);
        }
    }
}

/// Returns a profile like that of a heap: random addresses, births in ascending order.
fn profile(live_blocks: u64, stacks: u64, calls: Calls) -> Profile {
    let mut profile = Profile::default();
    let mut random = Random(0x2545_F491_4F6C_DD1D);
    profile.threads =
        (0..THREADS as u32).map(|index| ThreadRow { index, threads: 1, ..ThreadRow::default() }).collect();
    profile.stacks = vec![Stack::default()];
    profile.stacks.extend((0..stacks).map(|_| stack(&mut random, calls)));
    profile.modules = vec![Module {
        path: "/opt/service/service".into(),
        start: TEXT_START,
        end: TEXT_START + (1 << 24),
        bias: TEXT_START,
        ..Module::default()
    }];
    if matches!(calls, Calls::Shared) {
        add_names(&mut profile);
    }
    profile.sites = (0..=stacks as u32).map(|stack| Site { stack, ..Site::default() }).collect();
    profile.live = (0..live_blocks)
        .map(|n| LiveBlock {
            address: 0x7F00_0000_0000 + 16 * random.below(1 << 26),
            size: 16 + random.below(4096),
            born_ns: n * 1_000 + random.below(900),
            stack: 1 + random.below(stacks) as u32,
            thread: random.below(THREADS) as u32,
            align_log2: 4,
            reallocs: 0,
        })
        .collect();
    profile.history = (0..EVENTS)
        .map(|n| Event {
            at_ns: n * 100,
            thread: random.below(THREADS) as u32,
            stack: 1 + random.below(stacks) as u32,
            kind: EventKind::Alloc {
                address: 0x7F00_0000_0000 + 16 * random.below(1 << 20),
                size: 64,
                zeroed: false,
            },
        })
        .collect();
    book_live(&mut profile);
    profile
}

/// Adds the live blocks to every sum of the profile. No block of the profile was freed.
fn book_live(profile: &mut Profile) {
    let live_blocks = profile.live.len() as u64;
    let duration_ns = 1_000 * live_blocks;
    profile.process.duration_ns = duration_ns;
    profile.timeline.interval_ns = duration_ns.div_ceil(INTERVALS).max(1);
    profile.timeline.intervals = vec![Interval::default(); INTERVALS as usize];
    let (quality, totals) = (&mut profile.quality, &mut profile.totals);
    quality.installed = true;
    quality.current_completeness = 1.0;
    (quality.attempted, quality.recorded) = (live_blocks.max(EVENTS), live_blocks.max(EVENTS));
    (quality.retained, quality.evicted) = (EVENTS, quality.recorded - EVENTS);
    for block in &profile.live {
        let site = &mut profile.sites[block.stack as usize];
        (site.total_blocks, site.total_bytes) = (site.total_blocks + 1, site.total_bytes + block.size);
        (site.own_peak_bytes, site.at_peak_bytes) = (site.total_bytes, site.total_bytes);
        site.at_peak_blocks = site.total_blocks;
        site.sizes.add(block.size, 1);
        let row = &mut profile.threads[block.thread as usize];
        (row.total_blocks, row.total_bytes) = (row.total_blocks + 1, row.total_bytes + block.size);
        (row.attempted, row.recorded) = (row.attempted + 1, row.recorded + 1);
        (totals.total_blocks, totals.total_bytes) =
            (totals.total_blocks + 1, totals.total_bytes + block.size);
        let at = block.born_ns / profile.timeline.interval_ns;
        let interval = &mut profile.timeline.intervals[at as usize];
        interval.allocated_blocks += 1;
        interval.allocated_bytes += block.size;
        interval.peak_bytes = totals.total_bytes;
    }
    (totals.live_blocks, totals.live_bytes) = (totals.total_blocks, totals.total_bytes);
    (totals.peak_blocks, totals.peak_bytes) = (totals.total_blocks, totals.total_bytes);
    (profile.peak.blocks, profile.peak.bytes) = (totals.peak_blocks, totals.peak_bytes);
    profile.peak.at_ns = duration_ns;
    let broken = heapledger::profile::check(profile);
    assert!(broken.is_empty(), "{broken:?}");
}

fn dump(criterion: &mut Criterion) {
    let mut written = false;
    for (variable, calls) in [("LARGE_DUMP", Calls::Shared), ("UNLIKE_DUMP", Calls::Unlike)] {
        if let Some(path) = std::env::var_os(variable) {
            dumps::write(path.as_ref(), &profile(LARGE.0, LARGE.1, calls)).expect("there is room for it");
            written = true;
        }
    }
    if written {
        return;
    }
    let profile = profile(LIVE_BLOCKS, STACKS, Calls::Unlike);
    let mut bytes = Vec::new();
    let encoded = dumps::write_to(&mut bytes, &profile).expect("a vector takes all bytes");
    println!("{} bytes in {} sections", encoded.bytes, encoded.sections);

    let mut group = criterion.benchmark_group("dump of 100,000 live blocks");
    group.throughput(Throughput::Elements(LIVE_BLOCKS)).sample_size(20);
    group.bench_function("write to memory", |bencher| {
        bencher.iter(|| {
            bytes.clear();
            dumps::write_to(&mut bytes, black_box(&profile)).expect("a vector takes all bytes")
        });
    });
    group.bench_function("read from memory", |bencher| {
        bencher.iter(|| dumps::read_bytes(black_box(&bytes)).expect("it was just written"));
    });
    group.finish();
}

criterion_group!(benches, dump);
criterion_main!(benches);
