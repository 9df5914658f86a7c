//! The newest blocks of a lane that left its nursery.
//!
//! A block is temporary if its thread frees it before it has made more than [`TEMPORARY_ALLOCS`] further allocations.
//! Only the nursery (`nursery`) stores the number of a block's allocation. But a nursery pushes a block out if both
//! places of the block are taken, and a flush empties the nursery. So each of the newest blocks is noted here when it
//! leaves the nursery. A free that finds no block in the nursery of its thread looks for a note.
//!
//! Each number of an allocation has one place, and the place is used again after [`NOTES`] allocations. By then the
//! block is too old to be temporary.

use super::entry::{Entry, Meta};
use super::nursery::number_of_young;
use crate::profile::TEMPORARY_ALLOCS;
use crate::ring::event;

/// Number of notes: a power of two above the number of blocks that can still be temporary.
const NOTES: usize = (TEMPORARY_ALLOCS as usize + 1).next_power_of_two();

/// The notes of a lane. All zero bytes mean that there is no note.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct PushedOut {
    notes: [Note; NOTES],
    /// Number of the newest allocation that was noted. The numbers wrap.
    newest: u32,
}

/// A block that left the nursery. The address is 0 if there is no block.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Note {
    address: u64,
    /// Size in the low 32 bits, number of the allocation in the high 32 bits, as in the nursery.
    size: u64,
    meta: Meta,
}

impl PushedOut {
    /// Notes a block that leaves the nursery, unless the block is too old to be temporary or is in no total. `allocs` is
    /// the number of the thread's last allocation.
    #[inline]
    pub(crate) fn note(&mut self, young: &Entry, allocs: u32) {
        let number = number_of_young(young);
        if allocs.wrapping_sub(number) > TEMPORARY_ALLOCS || young.meta.is_excluded() {
            return;
        }
        self.notes[number as usize % NOTES] =
            Note { address: young.address, size: young.size, meta: young.meta };
        if allocs.wrapping_sub(number) < allocs.wrapping_sub(self.newest) {
            self.newest = number;
        }
    }

    /// Removes the note of a block that `free` ends. Returns the block as it was in the nursery. Returns `None` if the
    /// block was not noted, or is too old to be temporary. `allocs` is the number of the thread's last allocation.
    #[inline]
    pub(crate) fn take(&mut self, free: &Ending, allocs: u32) -> Option<Entry> {
        // Most blocks outside the nursery are old, and no block was noted lately.
        if allocs.wrapping_sub(self.newest) > TEMPORARY_ALLOCS {
            return None;
        }
        self.search(free, allocs)
    }

    #[cold]
    fn search(&mut self, free: &Ending, allocs: u32) -> Option<Entry> {
        let age = |note: &Note| allocs.wrapping_sub((note.size >> 32) as u32);
        let age_min = allocs.wrapping_sub(free.allocs_before);
        let fits = |note: &&mut Note| {
            note.address == free.address
                && note.meta.thread() == free.row
                && (age_min..=TEMPORARY_ALLOCS).contains(&age(note))
                && event::agrees(note.size & u64::from(u32::MAX), free.check)
        };
        let note = self.notes.iter_mut().filter(fits).min_by_key(|note| age(note))?;
        let Note { address, size, meta } = std::mem::take(note);
        Some(Entry { address, size, at_ns: 0, meta })
    }
}

/// A free, or the first half of a realloc, of a block that is not in the nursery.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    pub(crate) address: u64,
    /// Size or size bits of the block.
    pub(crate) check: u64,
    /// Row of the thread.
    pub(crate) row: u32,
    /// Number of the thread's last allocation before this event.
    pub(crate) allocs_before: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: u32 = 3;

    fn young(address: u64, number: u32) -> Entry {
        let meta = Meta::of_block(7, ROW, 3, false, 0);
        Entry { address, size: 100 | u64::from(number) << 32, at_ns: 1, meta }
    }

    fn free(allocs_before: u32) -> Ending {
        Ending { address: 64, check: 100, row: ROW, allocs_before }
    }

    fn none() -> PushedOut {
        PushedOut { notes: [Note::default(); NOTES], newest: 0 }
    }

    #[test]
    fn a_block_is_found_once_and_while_it_can_be_temporary() {
        // The running number wraps.
        for first in [0, 1, 1_000, u32::MAX - 4, u32::MAX] {
            for age in 0..2 * NOTES as u32 {
                let mut notes = none();
                notes.note(&young(64, first), first.wrapping_add(age.min(1)));
                let last = first.wrapping_add(age);
                let found = notes.take(&free(last), last);
                assert_eq!(found.is_some(), age <= TEMPORARY_ALLOCS, "{first} {age}");
                assert!(
                    found.is_none_or(|block| block.meta.stack() == 7 && number_of_young(&block) == first)
                );
                assert!(notes.take(&free(last), last).is_none());
            }
        }
    }

    #[test]
    fn another_thread_another_size_and_an_old_block_are_not_found() {
        let mut notes = none();
        notes.note(&young(64, 20), 20);
        for other in [
            Ending { row: ROW + 1, ..free(20) },
            Ending { check: 101, ..free(20) },
            Ending { address: 80, ..free(20) },
        ] {
            assert!(notes.take(&other, 20).is_none(), "{other:?}");
        }
        assert!(notes.take(&free(20), 20).is_some());
        notes.note(&young(64, 20), 20 + TEMPORARY_ALLOCS + 1);
        assert!(notes.take(&free(20), 20).is_none());
    }

    #[test]
    fn a_realloc_means_the_block_from_before_it_and_a_free_the_newest() {
        // The old address of the realloc is given to a new block before the second half of the realloc.
        let mut notes = none();
        notes.note(&young(64, 20), 21);
        notes.note(&young(64, 22), 23);
        assert_eq!(notes.take(&free(21), 24).map(|block| number_of_young(&block)), Some(20));
        notes.note(&young(64, 20), 23);
        assert_eq!(notes.take(&free(24), 24).map(|block| number_of_young(&block)), Some(22));
    }
}
