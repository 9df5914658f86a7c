//! Kinds of work that only allocate and free, on any value that implements `GlobalAlloc`.

use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;

use super::figures::Random;

/// Size of the block of a pair (an allocation and its free), in bytes.
pub const PAIR_BYTES: usize = 64;
/// Sizes of the blocks that are replaced at random, in bytes.
const SIZES: std::ops::RangeInclusive<u64> = 16..=4096;

/// An allocator whose calls are not inlined, like the calls of a program's global allocator.
pub struct Called<'a, A>(pub &'a A);

// SAFETY: each method passes its arguments to the same method and returns its result.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Called<'_, A> {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.alloc(layout) }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.dealloc(block, layout) };
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.0.realloc(block, layout, new_size) }
    }
}

/// Allocates and frees one block of 64 bytes, repeatedly.
#[inline(never)]
pub fn tight_pairs<A: GlobalAlloc>(allocator: &A, pairs: u64) {
    let layout = Layout::from_size_align(PAIR_BYTES, 8).expect("a plain layout");
    for _ in 0..pairs {
        // SAFETY: the layout has a size; the block is written within it and freed once, with the same layout.
        unsafe {
            let block = black_box(allocator.alloc(layout));
            assert!(!block.is_null());
            block.write(1);
            allocator.dealloc(black_box(block), layout);
        }
    }
}

/// Number of pairs that one innermost call of [`deep_pairs`] makes.
const PAIRS_AT_ONCE: u64 = 4;

/// Allocates and frees blocks at a call depth of `calls`, alternately at four places that are up to three calls deeper.
#[inline(never)]
pub fn deep_pairs<A: GlobalAlloc>(allocator: &A, pairs: u64, calls: u32) {
    if black_box(calls) > 0 {
        deep_pairs(allocator, pairs, calls - 1);
    } else {
        for round in 0..pairs / PAIRS_AT_ONCE {
            deeper_pairs(allocator, (round % 4) as u32);
        }
    }
    black_box(calls);
}

#[inline(never)]
fn deeper_pairs<A: GlobalAlloc>(allocator: &A, calls: u32) {
    if black_box(calls) > 0 {
        deeper_pairs(allocator, calls - 1);
    } else {
        tight_pairs(allocator, PAIRS_AT_ONCE);
    }
    black_box(calls);
}

/// Allocates and frees blocks in several threads at once, `pairs` pairs in each thread.
pub fn tight_pairs_in_threads<A: GlobalAlloc + Sync>(allocator: &A, threads: usize, pairs: u64) {
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| tight_pairs(allocator, pairs));
        }
    });
}

/// Allocates 16 blocks, then frees them, the oldest first; does this `handfuls` times.
#[inline(never)]
pub fn handfuls<A: GlobalAlloc>(allocator: &A, handfuls: u64) {
    const BLOCKS: usize = 16;
    let layout = Layout::from_size_align(PAIR_BYTES, 8).expect("a plain layout");
    let mut blocks = [std::ptr::null_mut(); BLOCKS];
    for _ in 0..handfuls {
        // SAFETY: as in `tight_pairs`.
        unsafe {
            for block in &mut blocks {
                *block = black_box(allocator.alloc(layout));
                assert!(!block.is_null());
            }
            for block in blocks {
                allocator.dealloc(black_box(block), layout);
            }
        }
    }
}

/// Allocates a block, doubles it eight times and frees it, as a growing vector does.
#[inline(never)]
pub fn growing<A: GlobalAlloc>(allocator: &A, blocks: u64) {
    const SMALLEST: usize = 16;
    for _ in 0..blocks {
        let mut layout = Layout::from_size_align(SMALLEST, 8).expect("a plain layout");
        // SAFETY: as in `tight_pairs`; the layout follows the block's size.
        unsafe {
            let mut block = black_box(allocator.alloc(layout));
            for doublings in 1..=8 {
                assert!(!block.is_null());
                block.write(1);
                let size = SMALLEST << doublings;
                block = black_box(allocator.realloc(block, layout, size));
                layout = Layout::from_size_align_unchecked(size, 8);
            }
            allocator.dealloc(block, layout);
        }
    }
}

/// Live blocks of 16 to 4,096 bytes, which are replaced at random.
pub struct Population<'a, A: GlobalAlloc> {
    allocator: &'a A,
    blocks: Vec<(*mut u8, u32)>,
    random: Random,
}

impl<'a, A: GlobalAlloc> Population<'a, A> {
    pub fn new(allocator: &'a A, live: usize) -> Self {
        let mut population =
            Population { allocator, blocks: Vec::with_capacity(live), random: Random(Random::SEED) };
        population.grow(live);
        population
    }

    /// Adds `blocks` blocks.
    pub fn grow(&mut self, blocks: usize) {
        for _ in 0..blocks {
            let block = self.give_birth();
            self.blocks.push(block);
        }
    }

    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Frees a block chosen at random and allocates another block in its place, `times` times.
    #[inline(never)]
    pub fn replace(&mut self, times: u64) {
        for _ in 0..times {
            let index = self.random.below(self.blocks.len() as u64) as usize;
            let (block, size) = self.blocks[index];
            // SAFETY: the block was allocated with this size and is replaced right below.
            unsafe { self.allocator.dealloc(block, layout(size)) };
            self.blocks[index] = self.give_birth();
        }
    }

    #[inline(always)]
    fn give_birth(&mut self) -> (*mut u8, u32) {
        let size = (SIZES.start() + self.random.below(SIZES.end() - SIZES.start() + 1)) as u32;
        // SAFETY: the size is not zero, and the block is written within it.
        unsafe {
            let block = self.allocator.alloc(layout(size));
            assert!(!block.is_null());
            block.write(1);
            (block, size)
        }
    }
}

impl<A: GlobalAlloc> Drop for Population<'_, A> {
    fn drop(&mut self) {
        for (block, size) in self.blocks.drain(..) {
            // SAFETY: every block in the list is live and has this size.
            unsafe { self.allocator.dealloc(block, layout(size)) };
        }
    }
}

#[inline(always)]
fn layout(size: u32) -> Layout {
    // SAFETY: 8 is a power of two and sizes are small.
    unsafe { Layout::from_size_align_unchecked(size as usize, 8) }
}
