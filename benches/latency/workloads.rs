//! The workloads: what a measured thread does, on any allocator value.

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;

use crate::common::effort::Effort;
use crate::common::memory::available_bytes;
use crate::common::raw::{PAIR_BYTES, Population, tight_pairs};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Nothing,
    Pairs,
    /// Replaces blocks at random among so many live ones.
    Replace(usize),
    /// Threads in a circle: each allocates blocks and frees those of the one before it.
    HandOver,
}

/// One workload.
pub struct Workload {
    pub name: &'static str,
    pub kind: Kind,
    /// Allocations of each measured thread, in full.
    calls: u64,
}

/// Live blocks of the largest population: 2 GB.
const LARGEST: usize = 1_000_000;
/// Bytes of memory to be had, below which it is left out.
const MEMORY_FOR_LARGEST: u64 = 4 << 30;

/// All workloads. The first is no work.
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

    /// Threads that do it, all of them measured.
    pub fn threads(&self) -> usize {
        if self.kind == Kind::HandOver { CIRCLE } else { 1 }
    }

    /// How often it is done under each allocator. The largest population takes seconds to grow, so it is grown once, and
    /// not at all where there is little time or memory.
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

    /// Live blocks of a population: fewer where it is only to be seen that it runs.
    pub fn live(&self, effort: Effort) -> usize {
        match self.kind {
            Kind::Replace(live) if effort == Effort::Smoke => live / 1_000 + 1,
            Kind::Replace(live) => live,
            Kind::Nothing | Kind::Pairs | Kind::HandOver => 0,
        }
    }
}

/// Threads of a circle.
const CIRCLE: usize = 4;
/// Blocks on their way from one thread to the next, at most.
const ON_THE_WAY: usize = 256;

/// What threads hand over to each other: block addresses, and how many threads are through.
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

/// What one thread works with; made before anything is measured.
pub enum Hands<'a, A: GlobalAlloc> {
    Pairs(&'a A),
    Replace(Population<'a, A>),
    HandOver { allocator: &'a A, circle: &'a Circle, number: usize },
}

impl<'a, A: GlobalAlloc> Hands<'a, A> {
    /// Those of one thread; a population is grown and mixed.
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

    /// Does the work; `calls` allocations and as many frees.
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

/// Pairs of blocks that nobody writes to.
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
            // SAFETY: the thread before allocated it with this layout and forgot it.
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
    // release: who sees that all are through sees all that they pushed.
    circle.through.fetch_add(1, Ordering::Release);
    // acquire: as above. A later run of the same circle counts on.
    while !circle.through.load(Ordering::Acquire).is_multiple_of(CIRCLE) || take_one() {
        if !take_one() {
            std::thread::yield_now();
        }
    }
}
