//! The workloads: the work of a measured thread, on any allocator value.

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;

use crate::common::effort::Effort;
use crate::common::memory::available_bytes;
use crate::common::raw::{PAIR_BYTES, Population, tight_pairs};

/// The kind of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Nothing,
    Pairs,
    /// Replaces blocks at random among this number of live blocks.
    Replace(usize),
    /// Threads in a circle: each thread allocates blocks, and frees the blocks of the thread before it.
    HandOver,
}

/// One workload.
pub struct Workload {
    pub name: &'static str,
    pub kind: Kind,
    /// Number of allocations of each measured thread, at full effort.
    calls: u64,
}

/// Number of live blocks of the largest population, which takes 2 GB.
const LARGEST: usize = 1_000_000;
/// Free memory in bytes below which the largest population is omitted.
const MEMORY_FOR_LARGEST: u64 = 4 << 30;

/// All workloads. The first does nothing.
pub const ALL: [Workload; 6] = [
    Workload { name: "nothing", kind: Kind::Nothing, calls: 200_000 },
    Workload { name: "pairs of 64 bytes", kind: Kind::Pairs, calls: 200_000 },
    Workload { name: "replace among 1,000", kind: Kind::Replace(1_000), calls: 150_000 },
    Workload { name: "replace among 100,000", kind: Kind::Replace(100_000), calls: 100_000 },
    Workload { name: "replace among 1,000,000", kind: Kind::Replace(LARGEST), calls: 200_000 },
    Workload { name: "4 threads handing over", kind: Kind::HandOver, calls: 40_000 },
];

impl Workload {
    pub fn is_nothing(&self) -> bool {
        self.kind == Kind::Nothing
    }

    /// Returns the number of threads of the workload, all of which are measured.
    pub fn threads(&self) -> usize {
        if self.kind == Kind::HandOver { CIRCLE } else { 1 }
    }

    /// Returns the number of rounds under each allocator. The largest population has only one round, because growing it
    /// takes seconds. It is omitted if there is little time or memory.
    pub fn rounds(&self, effort: Effort) -> usize {
        match (effort, self.kind) {
            (Effort::Smoke, _) => 1,
            (Effort::Quick, Kind::Replace(LARGEST)) => 0,
            (Effort::Full, Kind::Replace(LARGEST)) => usize::from(available_bytes() >= MEMORY_FOR_LARGEST),
            (Effort::Quick, _) => 1,
            (Effort::Full, _) => 2,
        }
    }

    pub fn calls(&self, effort: Effort) -> u64 {
        effort.scaled(self.calls)
    }

    /// Returns the number of live blocks of a population. The number is small if the effort is `Smoke`.
    pub fn live(&self, effort: Effort) -> usize {
        match self.kind {
            Kind::Replace(live) if effort == Effort::Smoke => live / 1_000 + 1,
            Kind::Replace(live) => live,
            Kind::Nothing | Kind::Pairs | Kind::HandOver => 0,
        }
    }
}

/// Number of threads of a circle.
const CIRCLE: usize = 4;
/// Maximum number of blocks between one thread and the next.
const ON_THE_WAY: usize = 256;

/// The state that threads of a circle share: addresses of blocks, and the number of threads that are done.
pub struct Circle {
    inboxes: Vec<ArrayQueue<usize>>,
    through: AtomicUsize,
}

impl Circle {
    pub fn new() -> Circle {
        let inboxes = (0..CIRCLE).map(|_| ArrayQueue::new(ON_THE_WAY)).collect();
        Circle { inboxes, through: AtomicUsize::new(0) }
    }
}

/// The state of one thread, made before the measurement.
pub enum Hands<'a, A: GlobalAlloc> {
    Pairs(&'a A),
    Replace(Population<'a, A>),
    HandOver { allocator: &'a A, circle: &'a Circle, number: usize },
}

impl<'a, A: GlobalAlloc> Hands<'a, A> {
    /// Makes the state of one thread; grows and mixes a population.
    pub fn new(
        workload: &Workload,
        allocator: &'a A,
        live: usize,
        circle: &'a Circle,
        number: usize,
    ) -> Self {
        match workload.kind {
            Kind::Nothing | Kind::Pairs => Hands::Pairs(allocator),
            Kind::Replace(_) => {
                let mut population = Population::new(allocator, live);
                population.replace(live as u64 / 4);
                Hands::Replace(population)
            }
            Kind::HandOver => Hands::HandOver { allocator, circle, number },
        }
    }

    /// Does the work: `calls` allocations and as many frees.
    pub fn work(&mut self, calls: u64, touches: bool) {
        match self {
            Hands::Pairs(allocator) if touches => tight_pairs(*allocator, calls),
            Hands::Pairs(allocator) => untouched_pairs(*allocator, calls),
            Hands::Replace(population) => population.replace(calls),
            Hands::HandOver { allocator, circle, number } => hand_over(*allocator, circle, *number, calls),
        }
    }
}

fn layout() -> Layout {
    Layout::from_size_align(PAIR_BYTES, 8).expect("a plain layout")
}

/// Makes pairs of blocks that are not written to.
#[inline(never)]
fn untouched_pairs<A: GlobalAlloc>(allocator: &A, pairs: u64) {
    for _ in 0..pairs {
        // SAFETY: the layout has a size, and the block is freed once, with the same layout.
        unsafe { allocator.dealloc(black_box(allocator.alloc(layout())), layout()) };
    }
}

#[inline(never)]
fn hand_over<A: GlobalAlloc>(allocator: &A, circle: &Circle, number: usize, calls: u64) {
    let (inbox, next) = (&circle.inboxes[number], &circle.inboxes[(number + 1) % CIRCLE]);
    let take_one = || {
        let taken = inbox.pop();
        if let Some(address) = taken {
            // SAFETY: the thread before this one allocated the block with this layout and passed it on.
            unsafe { allocator.dealloc(std::ptr::with_exposed_provenance_mut(address), layout()) };
        }
        taken.is_some()
    };
    for _ in 0..calls {
        // SAFETY: the layout has a size, and the block is written within it.
        let mut address = unsafe {
            let block = allocator.alloc(layout());
            assert!(!block.is_null());
            block.write(1);
            block.expose_provenance()
        };
        while let Err(back) = next.push(address) {
            address = back;
            if !take_one() {
                std::thread::yield_now();
            }
        }
        take_one();
    }
    // release: a thread that sees the whole count below also sees all blocks that were pushed before.
    circle.through.fetch_add(1, Ordering::Release);
    // acquire: the partner of the addition above. A later run of the same circle continues the count.
    while !circle.through.load(Ordering::Acquire).is_multiple_of(CIRCLE) || take_one() {
        if !take_one() {
            std::thread::yield_now();
        }
    }
}
