//! Random programs: the steps of their threads, their allocator, and the folds between the steps.

use super::naive::{self, Block, Naive};
use super::producer::Producer;
use crate::fold::batch::Part;
use crate::fold::state::Fold;
use crate::ledger::Ledger;
use crate::ledger::scopes::{ScopeAccount, ScopeKey};
use crate::ring::event::Traits;
use crate::ring::lane::WINDOW_WORDS;
use crate::sys::pages::Pages;
use std::collections::BTreeMap;
use std::ptr::NonNull;

/// One step of a program. A step consists of raw numbers, so that any part of a failing program is also a valid
/// program.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) lane: u8,
    pub(super) kind: u8,
    pub(super) pick: u16,
    pub(super) size: u16,
    pub(super) pause: u8,
}

/// The parameters of a program, and of the folds during the program.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) lanes: usize,
    /// Number of segments of each ring.
    pub(super) segments: u64,
    /// Approximate maximum number of blocks that the program holds.
    pub(super) live_max: usize,
    /// Whether the program has sizes and addresses that need wide records, and sizes that differ although their size
    /// bits are equal.
    pub(super) wide: bool,
    /// Whether some blocks belong to heapledger.
    pub(super) own: bool,
    /// Whether two blocks that the ledger could exchange always differ in the size bits of their frees.
    pub(super) distinct: bool,
    /// Factor for all pauses.
    pub(super) slowness: u64,
}

/// The allocator of the program. It reuses the block that was freed last.
#[derive(Default)]
struct Heap {
    returned: BTreeMap<u64, Vec<u64>>,
    used: u64,
}

/// Number of stacks that a program may have.
const STACKS: u32 = 512;

const BASE: u64 = 0x7f00_0000_0000;

impl Heap {
    fn take(&mut self, size: u64, wide: bool) -> u64 {
        let class = size.next_power_of_two().max(16);
        if let Some(address) = self.returned.entry(class).or_default().pop() {
            return address;
        }
        let room = class.min(1 << 16);
        self.used = self.used.next_multiple_of(room) + room;
        let far = if wide && (self.used / room).is_multiple_of(7) { 1 << 50 } else { 0 };
        (BASE + self.used) | far
    }

    fn give(&mut self, address: u64, size: u64) {
        self.returned.entry(size.next_power_of_two().max(16)).or_default().push(address);
    }
}

/// A realloc in progress in a thread.
struct UnderWay {
    old: u64,
    block: Block,
    new_size: u64,
    stack: u32,
    /// The new address, once the allocator has answered.
    answer: Option<Option<u64>>,
}

pub(super) struct World {
    pub(super) ledger: &'static Ledger,
    shape: Shape,
    pub(super) producers: Vec<Producer>,
    under_way: Vec<Option<UnderWay>>,
    heap: Heap,
    pub(super) naive: Naive,
    /// The outer scope, and the scope in it.
    scopes: [u32; 2],
    /// Addresses of blocks that can be freed.
    live: Vec<u64>,
    now_ns: u64,
    sizes: u64,
}

impl World {
    pub(super) fn new(shape: Shape) -> World {
        let ledger = Ledger::open(512 << 20, crate::profile::ClockMode::Batched).unwrap();
        ledger.clock.set_by_hand(1);
        let producers = (0..shape.lanes).map(|_| Producer::new(ledger, shape.segments)).collect();
        let under_way = (0..shape.lanes).map(|_| None).collect();
        let (heap, naive, scopes) = (Heap::default(), Naive::default(), make_scopes(ledger));
        let (live, now_ns, sizes) = (Vec::new(), 1, 0);
        World { ledger, shape, producers, under_way, heap, naive, scopes, live, now_ns, sizes }
    }

    /// Returns the accounts of the scopes.
    pub(super) fn accounts(&self) -> [ScopeAccount; 2] {
        self.scopes.map(|scope| self.ledger.scopes.read(&self.ledger.pages, scope))
    }

    pub(super) fn run(&mut self, steps: impl IntoIterator<Item = Step>) {
        for step in steps {
            self.step(step);
        }
    }

    /// Ends every realloc in progress.
    pub(super) fn finish_reallocs(&mut self) {
        for lane in 0..self.shape.lanes {
            while self.under_way[lane].is_some() {
                self.tick(1);
                self.go_on_with_realloc(lane, 1);
            }
        }
    }

    fn tick(&mut self, ns: u64) {
        self.now_ns += ns;
        self.ledger.clock.set_by_hand(self.now_ns);
    }

    fn step(&mut self, step: Step) {
        self.tick(1 + u64::from(step.pause) * u64::from(step.pause) / 16 * self.shape.slowness);
        let lane = usize::from(step.lane) % self.shape.lanes;
        if self.under_way[lane].is_some() && step.kind % 64 < 48 {
            return self.go_on_with_realloc(lane, step.pick);
        }
        let crowded = self.live.len() >= self.shape.live_max;
        match step.kind % 64 {
            0..24 if !crowded => self.alloc(lane, step),
            0..42 => self.free(lane, step),
            42..48 => self.begin_realloc(lane, step),
            48..52 => self.ledger.fold(self.producers[lane].lane),
            52..54 => {
                let until_ns = if step.size.is_multiple_of(2) {
                    u64::MAX
                } else {
                    self.now_ns - self.now_ns.min(u64::from(step.size))
                };
                let part = Part { words: u64::from(step.pick % 256), until_ns };
                let others =
                    (0..self.shape.lanes).filter(|other| *other != lane && !step.pick.is_multiple_of(3));
                let others = others.map(|other| self.producers[other].lane);
                let ahead = if step.pick.is_multiple_of(4) { Part::NONE } else { Part::ALL };
                let done = self.ledger.try_fold_with(self.producers[lane].lane, part, others, ahead);
                assert!(done, "nobody else folds");
            }
            54 => self.empty_nursery(lane),
            55 => self.ledger.flush(self.producers[lane].lane),
            56..59 => self.producers[lane].turn_is_due = true,
            59 => self.tick_epoch(),
            _ => self.producers[lane].window_words = u64::from(step.size) % WINDOW_WORDS + 1,
        }
    }

    fn alloc(&mut self, lane: usize, step: Step) {
        let (size, stack) = (self.size_of(step), stack_of(step));
        let own = self.shape.own && step.pick.is_multiple_of(23);
        let address = self.heap.take(size, self.shape.wide);
        let traits = Traits::new(16, step.pick.is_multiple_of(5), own);
        let producer = &mut self.producers[lane];
        producer.turn_is_due |= own;
        producer.alloc(address, size, traits, stack);
        self.naive.alloc(address, producer.row, size, stack, 4, own);
        self.live.push(address);
        self.end_windows(own);
    }

    /// Ends all windows after an event of heapledger, as the recorder does: see `recorder::stamps`. Such an event has
    /// begun a window.
    fn end_windows(&mut self, own: bool) {
        if own {
            self.ledger.internal_stamps.take(|| self.now_ns);
            self.producers.iter_mut().for_each(|producer| producer.turn_is_due = true);
        }
    }

    /// Frees a block: in most cases one of the youngest, in some cases any other.
    fn free(&mut self, lane: usize, step: Step) {
        let Some(address) = self.take_live(step.pick) else { return };
        let size = self.naive.live[&address].size;
        let producer = &mut self.producers[lane];
        producer.free(address, size);
        self.naive.free(address, producer.row);
        self.heap.give(address, size);
    }

    fn begin_realloc(&mut self, lane: usize, step: Step) {
        let Some(old) = self.take_live(step.pick) else { return };
        let Some(block) = self.naive.live.remove(&old) else { return };
        self.producers[lane].turn_is_due |= block.own;
        self.producers[lane].realloc_begins(old, block.size);
        self.end_windows(block.own);
        let (new_size, stack) = (self.size_of(step), stack_of(step));
        self.under_way[lane] = Some(UnderWay { old, block, new_size, stack, answer: None });
    }

    fn go_on_with_realloc(&mut self, lane: usize, pick: u16) {
        let Some(mut under_way) = self.under_way[lane].take() else { return };
        let (old, block, size) = (under_way.old, under_way.block, under_way.new_size);
        let Some(answer) = under_way.answer else {
            under_way.answer = Some(match pick % 8 {
                0 => None,
                1 | 2 if size.next_power_of_two().max(16) == block.size.next_power_of_two().max(16) => {
                    Some(old)
                }
                _ => {
                    let new = self.heap.take(size, self.shape.wide);
                    self.heap.give(old, block.size);
                    Some(new)
                }
            });
            self.under_way[lane] = Some(under_way);
            return;
        };
        let own = block.own;
        let producer = &mut self.producers[lane];
        producer.turn_is_due |= own;
        match answer {
            Some(new) => {
                let traits = Traits::new(16, false, block.own);
                producer.realloc_ends(old, new, size, traits, under_way.stack);
                self.naive.realloc((old, block), new, producer.row, size, under_way.stack);
                self.live.push(new);
            }
            None => {
                producer.realloc_refused(old);
                self.naive.refused((old, block));
                self.live.push(old);
            }
        }
        self.end_windows(own);
    }

    fn take_live(&mut self, pick: u16) -> Option<u64> {
        let count = self.live.len();
        let back = match pick % 4 {
            0 => usize::from(pick / 4),
            _ => usize::from(pick / 4) % 6,
        };
        (count > 0).then(|| self.live.swap_remove(count - 1 - back % count))
    }

    fn size_of(&mut self, step: Step) -> u64 {
        if self.shape.distinct {
            self.sizes += 1;
            let wide = self.shape.wide && step.size.is_multiple_of(64);
            return (self.sizes % 4096) | if wide { 1 << 32 } else { 0 };
        }
        match step.size % 64 {
            0 if self.shape.wide => (1 << 32) + u64::from(step.size),
            1 if self.shape.wide => u64::from(step.size) << 4,
            1 => u64::from(step.size) % 4096,
            2 => 0,
            _ => u64::from(step.size % 200) + 1,
        }
    }

    fn empty_nursery(&mut self, lane: usize) {
        let lane = self.producers[lane].lane;
        let taken = lane.folder.latch.take();
        let mut fold = Fold::begin(self.ledger, lane, &taken);
        fold.run();
        fold.empty_nursery();
    }

    /// Does the part of the aggregator's tick that affects the threads: their next records open new windows.
    fn tick_epoch(&mut self) {
        self.ledger.ticks.push(self.now_ns);
        for producer in &mut self.producers {
            producer.turn_is_due = true;
        }
    }
}

/// Makes a scope and a scope in it, and notes the scopes of all stacks.
fn make_scopes(ledger: &Ledger) -> [u32; 2] {
    let make = |parent, name: &[u8]| {
        let key = ScopeKey { parent, name: name.len() as u64, instance: 0 };
        ledger.scopes.find_or_make(&ledger.pages, key, name).unwrap()
    };
    let outer = make(0, b"outer");
    let scopes = [outer, make(outer, b"nested")];
    for stack in 0..STACKS {
        if let Some(innermost) = naive::scopes_of(stack).checked_sub(1) {
            ledger.scopes.note_stack(&ledger.pages, stack, scopes[innermost]);
        }
    }
    scopes
}

fn stack_of(step: Step) -> u32 {
    match step.size / 64 % 8 {
        // There are so many of these sites that their deltas displace each other in all tables of deltas except the
        // largest.
        rare @ 6..8 => u32::from(rare) + u32::from(step.pick % 9) * u32::from(step.pick % 61),
        _ => u32::from(step.pick % 2),
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The ledger is at the start of its region, and no lane of it is used after this call.
        Pages::release(NonNull::from(self.ledger).cast());
    }
}

/// A generator of pseudo-random numbers with the same results on every machine (SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn step(&mut self) -> Step {
        let bits = self.next();
        Step {
            lane: bits as u8,
            kind: (bits >> 8) as u8,
            pick: (bits >> 16) as u16,
            size: (bits >> 32) as u16,
            pause: (bits >> 48) as u8,
        }
    }
}
