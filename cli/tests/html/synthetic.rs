//! A profile like that of a server: some threads, thousands of call stacks, a timeline with a peak and a loss window,
//! names with generic arguments. It is generated from numbers, with the same result every time.

use std::collections::HashMap;

use heapledger::profile::{
    Estimate, Estimates, Histogram, Interval, LiveBlock, Module, Peak, ProcessInfo, ReallocStats, Site,
    Stack, StackFigures, SymbolFrame, Symbols, ThreadRow,
};
use heapledger::{DataQualityMode, HeapStats, LossReason, Profile, QualityIndicator, Stacks};

/// Functions by distance from the start of the thread. The last row allocates.
const LAYERS: [&[&str]; 9] = [
    &["std::rt::lang_start_internal", "std::sys::thread::unix::Thread::new::thread_start"],
    &["std::sys::backtrace::__rust_begin_short_backtrace"],
    &["shop::main", "shop::worker::run", "tokio::runtime::scheduler::multi_thread::worker::run"],
    &[
        "shop::http::serve::{{closure}}",
        "shop::queue::Consumer<M>::drain",
        "shop::catalogue::Catalogue::load",
        "shop::jobs::reindex",
    ],
    &[
        "shop::http::router::Router::dispatch",
        "shop::session::SessionStore::refresh",
        "shop::search::Index::insert",
        "shop::cart::Cart::recalculate",
        "<shop::price::Rules as core::str::traits::FromStr>::from_str",
    ],
    &[
        "serde_json::de::from_slice",
        "shop::search::tokenize",
        "shop::template::Template::render",
        "shop::db::Pool::query::{{closure}}",
        "regex_automata::meta::strategy::new",
    ],
    &[
        "<serde_json::de::MapAccess<R> as serde::de::MapAccess>::next_value_seed",
        "shop::db::row::Row::decode",
        "shop::template::escape_into",
        "hashbrown::raw::RawTable<T,A>::reserve_rehash",
        "shop::search::Posting::push",
    ],
    &[
        "<alloc::vec::Vec<T,A> as core::iter::traits::collect::Extend<T>>::extend",
        "alloc::vec::Vec<T,A>::push",
        "<alloc::string::String as core::clone::Clone>::clone",
        "alloc::sync::Arc<T>::new",
        "alloc::fmt::format::format_inner",
    ],
    &[
        "alloc::raw_vec::RawVec<T,A>::grow_one",
        "alloc::raw_vec::RawVecInner<A>::try_allocate_in",
        "alloc::boxed::Box<T>::new",
    ],
];

/// A generator of random numbers (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

/// Returns a profile without events.
pub fn empty() -> Profile {
    let mut profile = heapledger::Profile::default();
    profile.quality.installed = true;
    profile.quality.current_completeness = 1.0;
    profile.quality.target_completeness = 0.95;
    profile.settings.memory_limit_bytes = 1 << 30;
    profile.stacks.push(Stack::default());
    profile
}

/// Returns the profile of a server with `sites` call stacks, each with `depth` frames or more.
pub fn server(sites: usize, depth: usize) -> Profile {
    let mut profile = empty();
    let mut numbers = Numbers(sites as u64);
    profile.settings.stacks = Stacks::Auto;
    profile.process = ProcessInfo {
        pid: 20_417,
        program: "shop".into(),
        command_line: vec!["./shop".into(), "--listen".into(), "127.0.0.1:8080".into()],
        platform: "linux x86_64".into(),
        heapledger_version: "0.1.0".into(),
        duration_ns: 48_000_000_000,
        reason: "exit".into(),
        ..ProcessInfo::default()
    };
    profile.clock.source = "tsc".into();
    profile.clock.longest_span_ns = 1_204_000;
    profile.modules.push(Module {
        path: "/srv/shop/bin/shop".into(),
        start: 0x40_0000,
        end: 0x4000_0000,
        ..Module::default()
    });
    let mut names = Names::default();
    for number in 0..sites {
        let frames = names.stack(&mut profile.symbols, &mut numbers, depth, number % 97 == 3);
        profile.stacks.push(Stack { frames, truncated: false });
        profile.sites.push(site(number as u32 + 1, &mut numbers));
    }
    close(&mut profile, &mut numbers);
    profile
}

/// Changes a server to a mode that samples blocks, with stacks for a subset of the recorded blocks.
pub fn sampled(mut profile: Profile) -> Profile {
    profile.settings.mode = DataQualityMode::HighThroughput;
    profile.quality.mode = DataQualityMode::HighThroughput;
    profile.settings.stacks = Stacks::Sampled { bytes: 1 << 20 };
    profile.quality.sampled_out = 7_000_000;
    profile.quality.attempted += profile.quality.sampled_out;
    profile.quality.recorded += profile.quality.sampled_out;
    profile.quality.evicted += profile.quality.sampled_out;
    let around = |value: u64, share: f64| Estimate {
        value: value as f64 * (1.0 + share),
        standard_error: value as f64 * share.abs(),
    };
    let totals = &profile.totals;
    profile.estimates = Some(Estimates {
        total_blocks: around(totals.total_blocks, 0.02),
        total_bytes: around(totals.total_bytes, -0.01),
        live_blocks: around(totals.live_blocks, 0.04),
        live_bytes: around(totals.live_bytes, 0.03),
        mean_bytes_between_samples: 65_536,
        sampled_blocks: 12_345,
        ..Estimates::default()
    });
    profile
}

/// Changes a server to one with lost events in the middle of the recording.
pub fn with_loss(mut profile: Profile) -> Profile {
    let events = 8_413;
    profile.quality.lost.add(LossReason::RingFull, events);
    profile.quality.attempted += events;
    profile.quality.current_completeness =
        QualityIndicator::completeness_of(profile.quality.recorded, events);
    let middle = profile.timeline.intervals.len() / 2;
    profile.timeline.intervals[middle].lost = events - 13;
    profile.timeline.intervals[middle + 1].lost = 10;
    profile.timeline.intervals[middle + 40].lost = 3;
    profile.threads[1].attempted += events;
    profile.threads[1].lost.add(LossReason::RingFull, events);
    profile
}

/// Addresses by name: one for each function and line.
#[derive(Default)]
struct Names {
    addresses: HashMap<(String, u64), u64>,
    strings: HashMap<String, u32>,
}

impl Names {
    fn stack(
        &mut self,
        symbols: &mut Symbols,
        numbers: &mut Numbers,
        depth: usize,
        unnamed: bool,
    ) -> Vec<u64> {
        let mut names: Vec<String> = Vec::new();
        for (at, layer) in LAYERS.iter().enumerate() {
            // Each function calls few others, and mostly the first of them.
            let caller = names.last().map_or(0, |name| name.len() as u64 * 7);
            let next = numbers.below(6).saturating_sub(3) + caller;
            names.push(layer[(next % layer.len() as u64) as usize].to_owned());
            if at == 5 {
                let deeper = depth.saturating_sub(LAYERS.len());
                names.extend(
                    (0..deeper).map(|step| {
                        format!("shop::plan::Step{}::visit", (step as u64 + numbers.below(2)) % 40)
                    }),
                );
            }
        }
        names.reverse();
        let mut frames: Vec<u64> =
            names.iter().map(|name| self.address(symbols, name, numbers.below(3))).collect();
        if unnamed {
            frames[0] = 0x3f00_0000 + numbers.below(6) * 16;
        }
        frames
    }

    fn address(&mut self, symbols: &mut Symbols, name: &str, line: u64) -> u64 {
        let next = 0x40_1000 + self.addresses.len() as u64 * 32;
        let known = self.addresses.entry((name.to_owned(), line)).or_insert(next);
        if *known == next {
            let file = name.trim_start_matches('<').split("::").take(2).collect::<Vec<_>>().join("/");
            let root = file.split('/').next().unwrap_or_default();
            let file = match root {
                "std" | "core" | "alloc" => format!("/rustc/5980761/library/{file}.rs"),
                "hashbrown" => format!("/rust/deps/{file}.rs"),
                "shop" => format!("src/{}.rs", file.trim_start_matches("shop/")),
                _ => format!("/home/dev/.cargo/registry/src/{file}.rs"),
            };
            let frame = SymbolFrame {
                function: text(&mut self.strings, symbols, name),
                file: text(&mut self.strings, symbols, &file),
                line: 40 + line as u32 * 17,
                inlined: false,
            };
            symbols.frames.insert(next, vec![frame]);
        }
        *known
    }
}

fn text(known: &mut HashMap<String, u32>, symbols: &mut Symbols, text: &str) -> u32 {
    if symbols.strings.is_empty() {
        symbols.strings.push(String::new());
    }
    *known.entry(text.to_owned()).or_insert_with(|| {
        symbols.strings.push(text.to_owned());
        symbols.strings.len() as u32 - 1
    })
}

fn site(stack: u32, numbers: &mut Numbers) -> Site {
    let size = 16 << numbers.below(9);
    let blocks = 1 + (1_000_000 >> numbers.below(18)) + numbers.below(50);
    let live = if numbers.below(5) == 0 { numbers.below(blocks / 900 + 2) } else { 0 };
    let freed = blocks - live;
    let temporary = if numbers.below(3) == 0 { freed / 2 } else { 0 };
    // A realloc ends a block without a lifetime.
    let grown = if numbers.below(4) == 0 { freed / 3 } else { 0 };
    let mut found = Site {
        stack,
        total_blocks: blocks,
        total_bytes: blocks * size,
        freed_blocks: freed,
        freed_bytes: freed * size,
        own_peak_bytes: (live + blocks / 300 + 1) * size,
        at_peak_bytes: (live + blocks / 400) * size,
        at_peak_blocks: live + blocks / 400,
        temporary_blocks: temporary,
        temporary_bytes: temporary * size,
        cross_thread_frees: blocks / 40,
        reallocs: ReallocStats {
            count: grown,
            moved: grown / 2,
            copied_bytes: grown / 2 * size,
            chains: grown / 5,
            chain_links: grown / 5 * 4,
            longest_chain: grown.min(7 + stack as u64 % 2 * 4),
        },
        sizes: Histogram::default(),
        lifetimes: Histogram::default(),
    };
    found.sizes.add(size, blocks);
    let shortest = 400 << numbers.below(14);
    found.lifetimes.add(shortest, temporary);
    found.lifetimes.add(shortest << 8, freed - grown - temporary);
    found
}

/// Makes all other tables agree with the sites.
fn close(profile: &mut Profile, numbers: &mut Numbers) {
    let sum = |value: fn(&Site) -> u64| profile.sites.iter().map(value).sum::<u64>();
    let (total_blocks, total_bytes) = (sum(|s| s.total_blocks), sum(|s| s.total_bytes));
    let (freed_blocks, freed_bytes) = (sum(|s| s.freed_blocks), sum(|s| s.freed_bytes));
    let (peak_blocks, peak_bytes) = (sum(|s| s.at_peak_blocks), sum(|s| s.at_peak_bytes));
    let reallocs = sum(|s| s.reallocs.count);
    profile.totals = HeapStats {
        total_blocks,
        total_bytes,
        freed_blocks,
        freed_bytes,
        live_blocks: total_blocks - freed_blocks,
        live_bytes: total_bytes - freed_bytes,
        peak_blocks,
        peak_bytes,
        reallocs,
        failed: 0,
        ..HeapStats::default()
    };
    profile.peak =
        Peak { bytes: peak_bytes, blocks: peak_blocks, at_ns: 31_040_000_000, uncertainty_bytes: 0 };
    let events = total_blocks + freed_blocks;
    profile.quality.attempted = events;
    profile.quality.recorded = events;
    profile.quality.evicted = events;
    profile.quality.own_bytes = 23 << 20;
    profile.quality.own_cpu_ns = 410_000_000;
    profile.stack_figures = StackFigures {
        walker: "frame pointers".into(),
        why: "proved sound at the start".into(),
        taken: total_blocks,
        checked: 512,
        ..StackFigures::default()
    };
    live_blocks(profile, numbers);
    threads(profile, events);
    timeline(profile, numbers);
}

fn live_blocks(profile: &mut Profile, numbers: &mut Numbers) {
    for site in &profile.sites {
        for _ in 0..site.live_blocks() {
            profile.live.push(LiveBlock {
                address: 0x7f00_0000_0000 + profile.live.len() as u64 * 4096,
                size: site.live_bytes() / site.live_blocks(),
                born_ns: numbers.below(47_000_000_000),
                stack: site.stack,
                thread: 1,
                ..LiveBlock::default()
            });
        }
    }
}

fn threads(profile: &mut Profile, events: u64) {
    let names = ["main", "tokio-runtime-w", "tokio-runtime-w", "tokio-runtime-w", "queue-drain", "reindex"];
    let totals = profile.totals;
    let mut left = (events, totals);
    for (at, name) in names.iter().enumerate() {
        let last = at + 1 == names.len();
        let part = |all: u64, left: &mut u64| {
            let mine = if last { *left } else { all * (at as u64 + 1) / 24 };
            *left -= mine;
            mine
        };
        profile.threads.push(ThreadRow {
            index: at as u32,
            name: (*name).into(),
            os_id: 20_417 + at as u64,
            threads: 1,
            ended_ns: (at > 3).then_some(47_000_000_000),
            attempted: 0,
            total_blocks: part(totals.total_blocks, &mut left.1.total_blocks),
            total_bytes: part(totals.total_bytes, &mut left.1.total_bytes),
            freed_blocks: part(totals.freed_blocks, &mut left.1.freed_blocks),
            freed_bytes: part(totals.freed_bytes, &mut left.1.freed_bytes),
            cross_thread_frees: at as u64 * 12_345,
            recorded: part(events, &mut left.0),
            ..ThreadRow::default()
        });
    }
    profile.threads.iter_mut().for_each(|row| row.attempted = row.recorded);
}

/// Fills the timeline with 400 steps, with the peak at two thirds.
fn timeline(profile: &mut Profile, numbers: &mut Numbers) {
    let (steps, totals) = (400u64, profile.totals);
    let wanted = |step: u64| -> u64 {
        let peak = totals.peak_bytes as f64;
        let end = totals.live_bytes as f64;
        let at = step as f64 / steps as f64;
        let rise = (at / 0.645).min(1.0).powf(1.4);
        let fall = ((at - 0.65).max(0.0) / 0.35).powf(0.8);
        let wave = 0.93 + 0.06 * (at * 60.0).sin();
        if step + 1 == steps {
            totals.live_bytes
        } else {
            ((peak * rise * (1.0 - fall) + end * fall) * wave) as u64
        }
    };
    profile.timeline.interval_ns = profile.process.duration_ns / steps;
    let (mut allocated, mut blocks, mut freed_blocks, mut live, mut more) = (0u64, 0u64, 0u64, 0u64, 0u64);
    for step in 0..steps {
        let last = step + 1 == steps;
        // More in one step is less in the next, so that nothing is left over at the end.
        if step % 2 == 0 {
            more = numbers.below(30);
        }
        let percent = if step % 2 == 0 { 100 + more } else { 100 - more };
        let share = |all: u64, done: u64| if last { all - done } else { all / steps * percent / 100 };
        let next = wanted(step);
        let bytes = share(totals.total_bytes, allocated).max(next.saturating_sub(live));
        let interval = Interval {
            allocated_blocks: share(totals.total_blocks, blocks),
            allocated_bytes: bytes,
            freed_blocks: share(totals.freed_blocks, freed_blocks),
            freed_bytes: live + bytes - next,
            peak_bytes: if step == steps * 31 / 48 + 1 { totals.peak_bytes } else { 0 },
            lost: 0,
        };
        allocated += bytes;
        blocks += interval.allocated_blocks;
        freed_blocks += interval.freed_blocks;
        live = next;
        profile.timeline.intervals.push(interval);
    }
}
