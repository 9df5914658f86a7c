//! The addresses of sampled blocks, so that a thread can tell without a latch whether a free is of interest.
//!
//! A table of one-line buckets: an address has one bucket of eight words, and may stand in any of them. Looking an
//! address up reads one cache line; entering or removing it is one exchange. A bucket that is full refuses, which
//! costs a sample and is counted. The table is as large as the blocks that can sensibly be sampled at one time, not
//! as the heap: with one sample in 512 KiB its 131,072 places are a heap of 64 GiB.

use crate::sys::pages::{PAGE_BYTES, Pages};
use crate::sys::sync::{AtomicU32, AtomicU64, Ordering};

const BUCKET_WORDS: usize = 8;
/// Buckets of the table. A power of two.
const BUCKETS: usize = 1 << 14;
const PAGES: u32 = (BUCKETS * BUCKET_WORDS * 8 / PAGE_BYTES) as u32;

/// The table. All zero bytes are a valid one without memory, in which nothing is found.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct SampledSet {
    page: AtomicU32,
}

impl SampledSet {
    /// Takes the memory of the table, if it has none yet. Says whether there is one.
    pub(crate) fn open(&self, pages: &Pages) -> bool {
        // Acquire: pairs with the exchange below.
        if self.page.load(Ordering::Acquire) != 0 {
            return true;
        }
        let Some(page) = pages.take(PAGES) else {
            return false;
        };
        // Acquire and release: of two that open it at one time, one wins.
        if self.page.compare_exchange(0, page, Ordering::AcqRel, Ordering::Acquire).is_err() {
            pages.give_back(page, PAGES);
        }
        true
    }

    /// Forgets all addresses. While no thread samples.
    pub(crate) fn clear(&self, pages: &Pages) {
        // Acquire: pairs with `open`.
        let page = self.page.load(Ordering::Acquire);
        if page == 0 {
            return;
        }
        let words = pages.at(page).cast::<AtomicU64>();
        for place in 0..BUCKETS * BUCKET_WORDS {
            // SAFETY: as in `exchange`; relaxed: published with the level.
            unsafe { &*words.add(place) }.store(0, Ordering::Relaxed);
        }
    }

    /// Enters an address; `false` when there is no room for it.
    pub(crate) fn insert(&self, pages: &Pages, address: u64) -> bool {
        // Release: the entry comes before the block is handed to the program.
        self.exchange(pages, address, 0, address)
    }

    /// Removes an address; `false` when it is not there.
    #[inline]
    pub(crate) fn remove(&self, pages: &Pages, address: u64) -> bool {
        self.exchange(pages, address, address, 0)
    }

    fn exchange(&self, pages: &Pages, address: u64, from: u64, to: u64) -> bool {
        // Acquire: pairs with `open`.
        let page = self.page.load(Ordering::Acquire);
        if page == 0 {
            return false;
        }
        let bucket =
            (address.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - BUCKETS.trailing_zeros())) as usize;
        let words = pages.at(page).cast::<AtomicU64>();
        for place in 0..BUCKET_WORDS {
            // SAFETY: the run has a word for every place of every bucket, and is never given back.
            let word = unsafe { &*words.add(bucket * BUCKET_WORDS + place) };
            // relaxed: an address that is looked for was entered by whoever allocated the block, and the program's
            // own hand-over of the block orders the two.
            if word.load(Ordering::Relaxed) == from
                && word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_entered_is_found_once() {
        let region = Pages::reserve(8 << 20, size_of::<Pages>()).unwrap();
        // SAFETY: P1, until the end of the test.
        let pages = unsafe { region.as_ref() };
        let set = SampledSet { page: AtomicU32::new(0) };
        assert!(!set.insert(pages, 16) && !set.remove(pages, 16), "no table yet");
        assert!(set.open(pages) && set.open(pages));
        let entered = (1..20_000u64).map(|n| n * 48).filter(|address| set.insert(pages, *address));
        let entered: Vec<u64> = entered.collect();
        assert!(entered.len() > 19_900, "{}", entered.len());
        for address in entered {
            assert!(set.remove(pages, address) && !set.remove(pages, address));
        }
        Pages::release(region);
    }
}
