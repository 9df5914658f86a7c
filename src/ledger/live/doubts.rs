//! The last ambiguous pairings of frees with blocks. A pairing has the stacks of the blocks that the free may have
//! meant. A measurement checks whether one of its blocks was among these blocks.

use super::super::entry::Entry;
use crate::sys::sync::{AtomicU32, AtomicU64, Ordering};

/// Number of ambiguous pairings that are remembered.
const REMEMBERED: u64 = 64;
/// Maximum number of blocks that are remembered for a pairing.
const BLOCKS: usize = 3;
/// Stack number in a place without a block.
const NO_BLOCK: u32 = u32::MAX;

/// The stacks of the blocks that a free may mean.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doubt {
    stacks: [u32; BLOCKS],
}

impl Doubt {
    pub(super) const NONE: Doubt = Doubt { stacks: [NO_BLOCK; BLOCKS] };

    /// Returns the doubt between a block and an unknown block. The unknown block counts as outside all scopes.
    pub(super) fn with_unknown(block: &Entry) -> Doubt {
        Doubt { stacks: [block.meta.stack(), 0, NO_BLOCK] }
    }

    /// Adds the stack of a block, if there is room.
    pub(super) fn add(&mut self, block: &Entry) {
        if let Some(place) = self.stacks.iter_mut().find(|stack| **stack == NO_BLOCK) {
            *place = block.meta.stack();
        }
    }

    /// Whether `is_one` holds for the stacks of some of the blocks, but not of all.
    fn is_between(self, is_one: &impl Fn(u32) -> bool) -> bool {
        let blocks = || self.stacks.into_iter().filter(|stack| *stack != NO_BLOCK);
        blocks().any(is_one) && !blocks().all(is_one)
    }
}

/// The last ambiguous pairings. All zero bytes are a valid, empty list.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Doubts {
    count: AtomicU64,
    stacks: [[AtomicU32; BLOCKS]; REMEMBERED as usize],
}

impl Doubts {
    #[cold]
    pub(super) fn add(&self, doubt: Doubt) {
        // relaxed, all: a reader has taken the latch under which they were written.
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        for (place, stack) in self.stacks[(number % REMEMBERED) as usize].iter().zip(doubt.stacks) {
            place.store(stack, Ordering::Relaxed);
        }
    }

    /// Returns the number of ambiguous pairings.
    pub(crate) fn count(&self) -> u64 {
        // relaxed: see `add`.
        self.count.load(Ordering::Relaxed)
    }

    /// Counts the ambiguous pairings after the first `before` in which `is_one` holds for the stack of some block, but
    /// not for the stacks of all blocks. Pairings that are no longer remembered are counted too.
    pub(crate) fn since(&self, before: u64, is_one: impl Fn(u32) -> bool) -> u64 {
        let now = self.count();
        let first = before.max(now.saturating_sub(REMEMBERED));
        let remembered = (first..now).map(|number| {
            // relaxed: see `add`.
            let stacks = self.stacks[(number % REMEMBERED) as usize].each_ref();
            Doubt { stacks: stacks.map(|stack| stack.load(Ordering::Relaxed)) }
        });
        first - before + remembered.filter(|doubt| doubt.is_between(&is_one)).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pairing_between_blocks_of_one_scope_is_in_no_doubt() {
        let doubts = Doubts {
            count: AtomicU64::new(0),
            stacks: [const { [const { AtomicU32::new(0) }; BLOCKS] }; REMEMBERED as usize],
        };
        let add = |stacks: [u32; 3]| doubts.add(Doubt { stacks });
        let is_one = |stack| stack == 7 || stack == 8;
        add([7, 8, NO_BLOCK]);
        add([5, 6, NO_BLOCK]);
        assert_eq!(doubts.since(0, is_one), 0);
        add([7, 0, NO_BLOCK]);
        assert_eq!((doubts.since(0, is_one), doubts.since(3, is_one)), (1, 0));
        (0..100).for_each(|_| add([7, 7, 7]));
        assert_eq!(doubts.since(3, is_one), 36, "those that are forgotten");
        assert_eq!(doubts.since(60, is_one), 0);
    }
}
