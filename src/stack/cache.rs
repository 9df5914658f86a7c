//! A thread's cache, which maps the hash of a stack to the stack's number.
//!
//! An entry is one word. So a lookup never combines a hash with the number of a different stack, even if a signal
//! handler of the same thread changes the entry during the lookup. A stack has two places, which are neighbours. A new
//! stack takes the first place, and the entry that was there moves to the second. So two stacks with the same first
//! place do not keep replacing each other.
//!
//! ```text
//!  hash    63      52 51                    44 43            0
//!         │ not used │ pair in the first table │ in the entry │
//!  entry   63                        20 19                   0
//!         │ 44 bits of the hash        │ number of the stack  │
//! ```
//!
//! The table grows while stacks are removed by newer stacks. The place of a stack in a larger table is its place in the
//! smaller table, followed by further bits of the hash, which the entry contains. So all entries move to the larger
//! table, and no stack has to be looked up in the store again.
//!
//! An entry and its pair of places determine 52 bits of the hash. The probability that any two of a million stacks
//! agree in 52 bits is 1 in 9,000 over the life of a process. Two such stacks would be shown as one.

use crate::ring::lane::Walker;
use crate::sys::pages::{For, PAGE_BYTES, Pages};
use crate::sys::sync::{AtomicU64, Ordering};

/// Bits of the number of a stack.
pub(crate) const NUMBER_BITS: u32 = 20;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;
/// Number of entries of a thread's first table, which fills one page.
const ENTRIES_MIN: u32 = (PAGE_BYTES / 8) as u32;
/// Number of entries of the largest table.
const CACHE_ENTRIES_MAX: u32 = 1 << 15;
/// The bit in which the two places of a stack differ.
const SECOND: usize = 1;
/// The factor by which a table grows.
const GROWTH: u32 = 8;
/// Divisor of the number of entries: a table grows when more stacks were removed by newer stacks than the quotient.
/// Each removed stack costs a full walk, thousands of instructions.
const ENTRIES_PER_PUSHED_OUT: u32 = 8;
/// Bits at the top of a hash that are not used.
const NOT_USED_BITS: u32 = 12;
/// Number of bits of a place that the entry does not contain: the bits that select the pair in the smallest table.
const PAIR_BITS: u32 = ENTRIES_MIN.trailing_zeros() - 1;

const _: () = assert!(NOT_USED_BITS + PAIR_BITS == NUMBER_BITS);

/// The cache of a thread, which only that thread uses.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cache<'a> {
    walker: &'a Walker,
}

impl<'a> Cache<'a> {
    pub(crate) fn of(walker: &'a Walker) -> Cache<'a> {
        Cache { walker }
    }

    /// Returns the number of the stack with this hash, or 0 if the hash is not in the cache.
    #[inline(always)]
    pub(crate) fn get(&self, hash: u64) -> u32 {
        // relaxed, everywhere in this file: only this thread reads or writes its cache.
        let shift = self.walker.cache_shift.load(Ordering::Relaxed);
        if shift == 0 {
            return 0;
        }
        match self.at(place_of(hash, shift), hash) {
            0 => self.get_second(shift, hash),
            number => number,
        }
    }

    #[cold]
    #[inline(never)]
    fn get_second(&self, shift: u32, hash: u64) -> u32 {
        self.at(place_of(hash, shift) ^ SECOND, hash)
    }

    /// Returns the number that is stored at a place if the entry there belongs to this hash; otherwise 0.
    #[inline(always)]
    fn at(&self, place: usize, hash: u64) -> u32 {
        let entry = self.walker.cache_entry(place).load(Ordering::Relaxed);
        if (entry ^ hash << NUMBER_BITS) >> NUMBER_BITS == 0 { (entry & NUMBER_MASK) as u32 } else { 0 }
    }

    /// Stores the number of the stack with this hash.
    pub(crate) fn put(&self, pages: &Pages, hash: u64, number: u32) {
        self.grow_if_crowded(pages);
        let shift = self.walker.cache_shift.load(Ordering::Relaxed);
        if shift == 0 {
            return;
        }
        let place = place_of(hash, shift);
        let first: &AtomicU64 = self.walker.cache_entry(place);
        let before = first.load(Ordering::Relaxed);
        // An entry of the same hash is overwritten in place, because the stack was compared with the unwind tables
        // again.
        let moves = before != 0 && (before ^ hash << NUMBER_BITS) >> NUMBER_BITS != 0;
        let mut pushes_out = 0;
        if moves {
            let second = self.walker.cache_entry(place ^ SECOND);
            pushes_out = u32::from(second.load(Ordering::Relaxed) != 0);
            second.store(before, Ordering::Relaxed);
        }
        let crowded = &self.walker.cache_crowded;
        crowded.store(crowded.load(Ordering::Relaxed) + pushes_out, Ordering::Relaxed);
        first.store(hash << NUMBER_BITS | u64::from(number) & NUMBER_MASK, Ordering::Relaxed);
    }

    /// Removes all stacks.
    pub(crate) fn clear(&self) {
        self.walker.cache_entries().iter().for_each(|entry| entry.store(0, Ordering::Relaxed));
    }

    fn grow_if_crowded(&self, pages: &Pages) {
        let shift = self.walker.cache_shift.load(Ordering::Relaxed);
        let entries = self.walker.cache_entries().len() as u32;
        let crowded = self.walker.cache_crowded.load(Ordering::Relaxed);
        let is_crowded = entries == 0 || crowded > entries / ENTRIES_PER_PUSHED_OUT;
        if !is_crowded || entries >= CACHE_ENTRIES_MAX {
            return;
        }
        self.walker.cache_crowded.store(0, Ordering::Relaxed);
        let wanted = (entries * GROWTH).clamp(ENTRIES_MIN, CACHE_ENTRIES_MAX);
        let Some(page) = pages.take(pages_of(wanted), For::Stacks) else { return };
        let before = self.walker.cache_entries();
        let page_before = self.walker.set_cache(pages, page, u64::BITS - wanted.trailing_zeros());
        if entries > 0 {
            self.take_over(before, shift);
            pages.give_back(page_before, pages_of(entries), For::Stacks);
        }
    }

    /// Copies the entries of the previous table, whose places were computed with `shift`.
    fn take_over(&self, before: &[AtomicU64], shift: u32) {
        let shift_now = self.walker.cache_shift.load(Ordering::Relaxed);
        for (place, entry) in before.iter().enumerate() {
            let entry = entry.load(Ordering::Relaxed);
            if entry == 0 {
                continue;
            }
            let pair = (place as u64) << shift >> (u64::BITS - PAIR_BITS);
            let hash = pair << (u64::BITS - NUMBER_BITS) | entry >> NUMBER_BITS;
            let first = place_of(hash, shift_now);
            let is_free = self.walker.cache_entry(first).load(Ordering::Relaxed) == 0;
            let taken = if is_free { first } else { first ^ SECOND };
            self.walker.cache_entry(taken).store(entry, Ordering::Relaxed);
        }
    }
}

/// Returns the first place of a stack in a table with this shift.
#[inline(always)]
fn place_of(hash: u64, shift: u32) -> usize {
    (hash << NOT_USED_BITS >> shift) as usize
}

fn pages_of(entries: u32) -> u32 {
    (entries as usize * 8).div_ceil(PAGE_BYTES) as u32
}

#[cfg(test)]
mod tests {
    use std::ptr::NonNull;

    use super::super::intern::STACKS_MAX;
    use super::*;

    #[test]
    fn every_number_of_a_stack_fits_an_entry() {
        assert!(u64::from(STACKS_MAX) <= NUMBER_MASK);
    }

    #[allow(unsafe_code, reason = "a lane's walker begins as zeroed memory")]
    fn with_cache(work: impl FnOnce(&Pages, &Cache<'_>)) {
        let region: NonNull<Pages> = Pages::reserve(1 << 24, size_of::<Pages>()).unwrap();
        // SAFETY: freshly reserved, released last.
        let pages = unsafe { region.as_ref() };
        // SAFETY: all fields are integers.
        let walker: Walker = unsafe { std::mem::zeroed() };
        work(pages, &Cache::of(&walker));
        Pages::release(region);
    }

    #[test]
    fn two_stacks_of_one_place_are_both_kept() {
        with_cache(|pages, cache| {
            let (one, other, third) = (0x5 << 48 | 1, 0x5 << 48 | 2, 0x5 << 48 | 3);
            cache.put(pages, one, 11);
            cache.put(pages, other, 12);
            for _ in 0..3 {
                assert_eq!([cache.get(one), cache.get(other), cache.get(third)], [11, 12, 0]);
            }
            assert_eq!(cache.walker.cache_crowded.load(Ordering::Relaxed), 0);
            cache.put(pages, third, 13);
            assert_eq!([cache.get(one), cache.get(other), cache.get(third)], [0, 12, 13]);
            assert_eq!(cache.walker.cache_crowded.load(Ordering::Relaxed), 1);
        });
    }

    /// Checks that a stack is unknown at its first lookup, and later only after a newer stack has removed it, whatever
    /// their places are.
    #[test]
    fn a_table_that_grows_keeps_what_it_has() {
        for seed in 0..50u64 {
            with_cache(|pages, cache| {
                let stacks = 300;
                let hash = |stack: u64| crate::stack::Hash::new(seed).add(stack).finish();
                let mut learned = 0;
                for round in 0..10 {
                    for stack in 0..stacks {
                        let expected = stack as u32 + 1;
                        match cache.get(hash(stack)) {
                            0 => (learned, ()) = (learned + 1, cache.put(pages, hash(stack), expected)),
                            known => assert_eq!(known, expected, "round {round}"),
                        }
                    }
                }
                assert!(cache.walker.cache_entries().len() > ENTRIES_MIN as usize);
                assert!(learned < 2 * stacks, "{learned} of {stacks}, seed {seed}");
            });
        }
    }
}
