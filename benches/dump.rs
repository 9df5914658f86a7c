//! What it takes to write and to read a dump of 100,000 live blocks.
//!
//! With `LARGE_DUMP=PATH` it only writes a dump of 1,000,000 live blocks and 100,000 sites there, for the command to be
//! measured with: `LARGE_DUMP=/tmp/large.hl cargo bench --bench dump && time heapledger report /tmp/large.hl`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use heapledger::Profile;
use heapledger::dumps;
use heapledger::profile::{Event, EventKind, LiveBlock, Site, Stack, ThreadRow};

const LIVE_BLOCKS: u64 = 100_000;
const EVENTS: u64 = 65_536;
const STACKS: u64 = 2_000;
const LARGE: (u64, u64) = (1_000_000, 100_000);
const THREADS: u64 = 16;

/// Steps as a heap makes them: addresses scattered by size, births in rising order.
fn profile(live_blocks: u64, stacks: u64) -> Profile {
    let mut profile = dumps::empty_profile();
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    let mut random = move |bound: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % bound
    };
    profile.threads = (0..THREADS as u32).map(|index| ThreadRow { index, ..ThreadRow::default() }).collect();
    profile.stacks = (0..stacks)
        .map(|_| Stack {
            frames: (0..25).map(|_| 0x5555_0000_0000 + random(1 << 24)).collect(),
            truncated: false,
        })
        .collect();
    profile.sites = (0..stacks as u32).map(|stack| Site { stack, ..Site::default() }).collect();
    profile.live = (0..live_blocks)
        .map(|n| LiveBlock {
            address: 0x7F00_0000_0000 + 16 * random(1 << 26),
            size: 16 + random(4096),
            born_ns: n * 1_000 + random(900),
            stack: random(stacks) as u32,
            thread: random(THREADS) as u32,
            align_log2: 4,
            reallocs: 0,
        })
        .collect();
    profile.history = (0..EVENTS)
        .map(|n| Event {
            at_ns: n * 100,
            thread: random(THREADS) as u32,
            stack: random(stacks) as u32,
            kind: EventKind::Alloc {
                address: 0x7F00_0000_0000 + 16 * random(1 << 20),
                size: 64,
                zeroed: false,
            },
        })
        .collect();
    // Every block that there is lives, so the books balance.
    for block in &profile.live {
        let site = &mut profile.sites[block.stack as usize];
        (site.total_blocks, site.total_bytes) = (site.total_blocks + 1, site.total_bytes + block.size);
        site.sizes.add(block.size, 1);
        let totals = &mut profile.totals;
        (totals.total_blocks, totals.total_bytes) =
            (totals.total_blocks + 1, totals.total_bytes + block.size);
    }
    let totals = &mut profile.totals;
    (totals.live_blocks, totals.live_bytes) = (totals.total_blocks, totals.total_bytes);
    profile
}

fn dump(criterion: &mut Criterion) {
    if let Some(path) = std::env::var_os("LARGE_DUMP") {
        dumps::write(path.as_ref(), &profile(LARGE.0, LARGE.1)).expect("there is room for it");
        return;
    }
    let profile = profile(LIVE_BLOCKS, STACKS);
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
