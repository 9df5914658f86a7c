//! Random programs with four threads: their own logs against heapledger's figures.
//!
//! The allocator is used as a value, not as the global one. So it sees only the calls of the programs, and every figure
//! must be equal. There is no test harness, because its threads would be recorded as well.
//!
//! Every thread writes its log into memory that was reserved before. It takes a ticket from a shared counter for each
//! half of an event: before the call for a free, after the call for an allocation, both for a realloc. Sorted by
//! ticket, the log is a possible order of the events, in which no address has two owners.
//!
//! The threads also enter and leave scopes. A block belongs to the scopes in which its thread was when it allocated, or
//! last reallocated, the block.
//!
//! A free carries twelve bits of its block's size. With batched dates it can be paired with another block that had the
//! address a moment before or after, if that block has the same bits. The sums of the two threads are then off by the
//! difference of the sizes (docs/LIMITS.md). So the 4,095 sizes here all have different bits.
#![allow(unsafe_code, reason = "calls an allocator as the language would")]

use std::alloc::{GlobalAlloc, Layout};
use std::collections::HashMap;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Barrier, Mutex};

use heapledger::scope::Entered;
use heapledger::{DumpTarget, HeapLedger, Scope};
use runner::Test;

#[path = "process/runner.rs"]
mod runner;

static HEAP: HeapLedger = HeapLedger::system().dump(DumpTarget::Off);
static TICKET: AtomicU64 = AtomicU64::new(0);

const THREADS: usize = 4;
const STEPS: usize = 40_000;
const SEEDS: u64 = 8;
/// Names of scopes. Every path of them is nested less deep, and has fewer scopes of one name, than the limits.
const SCOPES: [&str; 3] = ["search", "index", "parse"];
/// Maximum number of blocks that a thread holds.
const HELD_MAX: usize = 400;
/// A size that no allocator can give.
const TOO_LARGE: usize = isize::MAX as usize / 2;

#[derive(Clone, Copy)]
struct Block {
    address: usize,
    layout: Layout,
}

#[derive(Clone, Copy)]
enum What {
    Alloc {
        address: usize,
        size: usize,
    },
    Free {
        address: usize,
    },
    /// The old half of a successful realloc.
    Left {
        address: usize,
    },
    /// The new half of a successful realloc.
    Came {
        address: usize,
        size: usize,
    },
    /// An allocation that the system refused, which is no event.
    Refused,
    /// A realloc that the system refused, which is an event without effect.
    ReallocRefused,
}

#[derive(Clone, Copy)]
struct Entry {
    ticket: u64,
    thread: usize,
    /// The scopes in which the thread was, as bits by their places in [`SCOPES`].
    scopes: u8,
    what: What,
}

/// The scopes in which a thread is: what it entered, with the bits of before.
type Inside = Vec<(Entered, u8)>;

struct Worker<'a> {
    thread: usize,
    random: u64,
    scopes: u8,
    held: Vec<Block>,
    log: Vec<Entry>,
    mailboxes: &'a [Mutex<Vec<Block>>; THREADS],
}

fn ticket() -> u64 {
    TICKET.fetch_add(1, Ordering::SeqCst)
}

impl Worker<'_> {
    fn next(&mut self, below: u64) -> usize {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.random >> 33) % below) as usize
    }

    fn note(&mut self, ticket: u64, what: What) {
        assert!(self.log.len() < self.log.capacity(), "the log is too short");
        self.log.push(Entry { ticket, thread: self.thread, scopes: self.scopes, what });
    }

    fn step(&mut self) {
        let crowded = self.held.len() >= HELD_MAX;
        match self.next(16) {
            0..6 if !crowded => self.alloc(),
            6..8 => self.realloc(),
            8..10 => self.send(),
            10..12 => self.receive(),
            _ => self.free(),
        }
    }

    /// Enters a scope, perhaps one in which the thread is, or leaves the last one.
    fn change_scope(&mut self, inside: &mut Inside) {
        match self.next(20) {
            0 if inside.len() < 5 => {
                let scope = self.next(SCOPES.len() as u64);
                inside.push((Scope::named(SCOPES[scope]).enter(), self.scopes));
                self.scopes |= 1 << scope;
            }
            1 => self.scopes = inside.pop().map_or(0, |(_, before)| before),
            _ => {}
        }
    }

    fn layout(&mut self) -> Layout {
        let size = match self.next(32) {
            0 => self.large_size(),
            1 => self.next(4_000) + 1,
            _ => self.next(200) + 1,
        };
        let align = 1 << if self.next(20) == 0 { self.next(13) } else { self.next(5) };
        Layout::from_size_align(size, align).unwrap()
    }

    /// Returns one of 95 sizes from 4 to 200 kB. No smaller size has the same size bits.
    fn large_size(&mut self) -> usize {
        let kind = self.next(95);
        let (size_bits, upper) = (4_001 + kind, 1 + kind / 2);
        upper << 12 | (size_bits ^ upper)
    }

    fn alloc(&mut self) {
        let layout = self.layout();
        if self.next(500) == 0 {
            let layout = Layout::from_size_align(TOO_LARGE, 8).unwrap();
            // SAFETY: the size is not zero.
            let block = unsafe { HEAP.alloc(layout) };
            assert!(block.is_null());
            return self.note(ticket(), What::Refused);
        }
        // SAFETY: the size is not zero.
        let block = unsafe { if self.next(4) == 0 { HEAP.alloc_zeroed(layout) } else { HEAP.alloc(layout) } };
        let address = block.expose_provenance();
        self.note(ticket(), What::Alloc { address, size: layout.size() });
        self.held.push(Block { address, layout });
    }

    fn take(&mut self) -> Option<Block> {
        let (count, back) = (self.held.len(), self.next(3));
        let place = if back == 0 { self.next(count.max(1) as u64) } else { count.saturating_sub(back) };
        (count > 0).then(|| self.held.swap_remove(place))
    }

    fn free(&mut self) {
        let Some(block) = self.take() else { return };
        self.note(ticket(), What::Free { address: block.address });
        // SAFETY: the block came from this allocator with this layout, and only this thread has it.
        unsafe { HEAP.dealloc(std::ptr::with_exposed_provenance_mut(block.address), block.layout) };
    }

    fn realloc(&mut self) {
        let Some(mut block) = self.take() else { return };
        let refused = self.next(100) == 0;
        let size = if refused { TOO_LARGE } else { self.layout().size() };
        let before = ticket();
        // SAFETY: as in `free`; the size is not zero and does not overflow when it is rounded up.
        let new =
            unsafe { HEAP.realloc(std::ptr::with_exposed_provenance_mut(block.address), block.layout, size) };
        if refused {
            assert!(new.is_null());
            self.note(before, What::ReallocRefused);
        } else {
            self.note(before, What::Left { address: block.address });
            block.address = new.expose_provenance();
            self.note(ticket(), What::Came { address: block.address, size });
            block.layout = Layout::from_size_align(size, block.layout.align()).unwrap();
        }
        self.held.push(block);
    }

    fn send(&mut self) {
        let to = self.next(THREADS as u64);
        let mut mailbox = self.mailboxes[to].lock().unwrap();
        while mailbox.len() < mailbox.capacity() {
            let Some(block) = self.held.pop() else { return };
            mailbox.push(block);
            if !block.address.is_multiple_of(64) {
                return;
            }
        }
    }

    fn receive(&mut self) {
        let mut mailbox = self.mailboxes[self.thread].lock().unwrap();
        let room = HELD_MAX.saturating_sub(self.held.len()).min(mailbox.len());
        self.held.extend(mailbox.drain(..room));
    }
}

/// Runs one program to its end. The remaining blocks stay live.
fn run(seed: u64) -> Vec<Entry> {
    let mailboxes: [Mutex<Vec<Block>>; THREADS] = std::array::from_fn(|_| Mutex::new(Vec::with_capacity(64)));
    let barrier = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        let workers = [0, 1, 2, 3].map(|thread| {
            let mut worker = Worker {
                thread,
                random: seed * 1000 + thread as u64,
                scopes: 0,
                held: Vec::with_capacity(2 * HELD_MAX),
                log: Vec::with_capacity(2 * STEPS),
                mailboxes: &mailboxes,
            };
            let barrier = &barrier;
            let name = name_of(seed, thread);
            let body = move || {
                barrier.wait();
                let mut inside = Inside::with_capacity(8);
                for _ in 0..STEPS {
                    worker.change_scope(&mut inside);
                    worker.step();
                }
                // In the reverse order of entering.
                while inside.pop().is_some() {}
                worker.log
            };
            std::thread::Builder::new().name(name).spawn_scoped(scope, body).unwrap()
        });
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

fn name_of(seed: u64, thread: usize) -> String {
    format!("seed{seed}-{thread}")
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Sums {
    total_blocks: u64,
    total_bytes: u64,
    freed_blocks: u64,
    freed_bytes: u64,
    events: u64,
}

impl Sums {
    fn allocated(&mut self, size: usize) {
        self.total_blocks += 1;
        self.total_bytes += size as u64;
    }

    fn freed(&mut self, size: usize) {
        self.freed_blocks += 1;
        self.freed_bytes += size as u64;
    }
}

/// The naive replay of all programs so far.
#[derive(Default)]
struct Replay {
    /// Size and scopes of each block.
    live: HashMap<usize, (usize, u8)>,
    sums: Sums,
    by_scope: [Sums; SCOPES.len()],
    by_thread: HashMap<String, Sums>,
    reallocs: u64,
    refused: u64,
}

impl Replay {
    /// Makes the first two events of the process. Scopes that a thread enters before them count nothing, because only
    /// the first event opens the ledger. With a global allocator it happens before `main`.
    fn open_ledger(&mut self) {
        let layout = Layout::new::<u64>();
        // SAFETY: the size is not zero, and the block is freed with its layout.
        unsafe { HEAP.dealloc(HEAP.alloc(layout), layout) };
        self.sums.allocated(layout.size());
        self.sums.freed(layout.size());
        self.sums.events += 2;
    }

    fn go_on(&mut self, seed: u64, mut log: Vec<Entry>) {
        log.sort_by_key(|entry| entry.ticket);
        for entry in log {
            match entry.what {
                What::Alloc { address, size } | What::Came { address, size } => {
                    let before = self.live.insert(address, (size, entry.scopes));
                    assert_eq!(before, None, "the log is out of order");
                    self.in_scopes(entry.scopes, |sums| sums.allocated(size));
                    let thread = self.by_thread.entry(name_of(seed, entry.thread)).or_default();
                    self.sums.allocated(size);
                    thread.allocated(size);
                    self.reallocs += u64::from(matches!(entry.what, What::Came { .. }));
                }
                What::Free { address } | What::Left { address } => {
                    let (size, scopes) = self.live.remove(&address).expect("the log is out of order");
                    self.in_scopes(scopes, |sums| sums.freed(size));
                    let thread = self.by_thread.entry(name_of(seed, entry.thread)).or_default();
                    self.sums.freed(size);
                    thread.freed(size);
                }
                What::Refused | What::ReallocRefused => self.refused += 1,
            }
            let is_event = !matches!(entry.what, What::Left { .. } | What::Refused);
            let thread = self.by_thread.entry(name_of(seed, entry.thread)).or_default();
            thread.events += u64::from(is_event);
            self.sums.events += u64::from(is_event);
        }
    }

    fn in_scopes(&mut self, scopes: u8, add: impl Fn(&mut Sums)) {
        let inside = self.by_scope.iter_mut().enumerate().filter(|(scope, _)| scopes & 1 << scope != 0);
        inside.for_each(|(_, sums)| add(sums));
    }

    fn compare_scopes(&self, seed: u64) {
        heapledger::flush();
        // A free that could belong to either of two blocks may have been booked in the other one's scope.
        let doubts = heapledger::quality().anomalies.ambiguous_pairings;
        for (name, expected) in SCOPES.into_iter().zip(&self.by_scope) {
            let usage = Scope::named(name).usage();
            let Sums { total_blocks, total_bytes, freed_blocks, freed_bytes, .. } = *expected;
            assert!(total_blocks > 1000, "seed {seed}: {name} is hardly used");
            let allocated = (usage.allocations + usage.reallocations, usage.bytes);
            assert_eq!(allocated, (total_blocks, total_bytes), "seed {seed}: {name}");
            let (blocks, bytes) = (total_blocks - freed_blocks, total_bytes - freed_bytes);
            assert!(
                usage.retained_blocks.abs_diff(blocks) <= doubts,
                "seed {seed}: {name}: {usage:?}, not {blocks}"
            );
            assert!(
                doubts > 0 || usage.retained_bytes == bytes,
                "seed {seed}: {name}: {usage:?}, not {bytes}"
            );
        }
    }

    fn compare(&self, seed: u64) {
        heapledger::flush();
        let stats = heapledger::stats();
        let sums = Sums {
            total_blocks: stats.total_blocks,
            total_bytes: stats.total_bytes,
            freed_blocks: stats.freed_blocks,
            freed_bytes: stats.freed_bytes,
            events: self.sums.events,
        };
        assert_eq!(sums, self.sums, "seed {seed}");
        assert_eq!((stats.reallocs, stats.failed), (self.reallocs, self.refused), "seed {seed}");
        let profile = heapledger::snapshot().expect("it is recording");
        assert_eq!(profile.totals, stats, "seed {seed}");
        assert_eq!(profile.scope_counts, Default::default(), "seed {seed}");
        self.compare_scopes(seed);
        assert_eq!(heapledger::profile::check(&profile), [], "seed {seed}");
        let live: HashMap<usize, usize> =
            profile.live.iter().map(|block| (block.address as usize, block.size as usize)).collect();
        assert_eq!(live.len(), self.live.len(), "seed {seed}");
        let is_live = |(address, (size, _)): (&usize, &(usize, u8))| live.get(address) == Some(size);
        assert!(self.live.iter().all(is_live), "seed {seed}: the live sets differ");
        for (name, expected) in &self.by_thread {
            let row = profile.threads.iter().find(|row| row.name == *name).expect("a row for every thread");
            let sums = Sums {
                total_blocks: row.total_blocks,
                total_bytes: row.total_bytes,
                freed_blocks: row.freed_blocks,
                freed_bytes: row.freed_bytes,
                events: row.recorded,
            };
            assert_eq!(sums, *expected, "{name}");
            assert_eq!(row.attempted, row.recorded, "{name}");
        }
        let (quality, anomalies) = (&profile.quality, &profile.quality.anomalies);
        assert_eq!((quality.lost.total(), quality.in_flight), (0, 0), "seed {seed}");
        assert_eq!((anomalies.unmatched_frees, anomalies.double_allocations), (0, 0), "seed {seed}");
        println!(
            "seed {seed}: {} events, {} live, {} ambiguous, ok",
            quality.recorded,
            live.len(),
            anomalies.ambiguous_pairings
        );
    }
}

/// The tests, each with a clock mode and a separate process, because the first event of a process fixes the mode.
const CLOCKS: [(&str, &str); 2] = [
    ("random_programs_agree_with_their_logs_with_batched_dates", "batched"),
    ("random_programs_agree_with_their_logs_with_a_date_for_each_event", "per-event"),
];
/// The variable that chooses the clock.
const CLOCK: &str = "HEAPLEDGER_CLOCK";
/// Environment variable of the processes that replay; the first process only starts them.
const CHILD: &str = "REPLAY_CHILD";

fn main() -> ExitCode {
    if std::env::var_os(CHILD).is_none() {
        let start = |(name, clock)| Test { name, ignored: None, run: Box::new(move || replay_with(clock)) };
        return runner::run(&CLOCKS.map(start));
    }
    let mut replay = Replay::default();
    replay.open_ledger();
    for seed in 0..SEEDS {
        let log = run(seed);
        replay.go_on(seed, log);
        replay.compare(seed);
    }
    ExitCode::SUCCESS
}

fn replay_with(clock: &str) {
    let program = std::env::current_exe().expect("the path of this program");
    let status = Command::new(program).env(CLOCK, clock).env(CHILD, "1").status();
    assert!(status.expect("the child has run").success(), "{clock}");
}
