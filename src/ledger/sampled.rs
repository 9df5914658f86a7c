//! The set of sampled addresses. With this set, a thread checks without a latch whether a free is the free of a sampled
//! block.
//!
//! The set is a hash table of buckets of one cache line, eight words each. An address has two buckets, of which the
//! first lies near the start, so that a program with few samples touches few pages. A lookup reads one or two cache
//! lines; an insertion or a removal is one exchange. If both buckets of an address are full, the sampled block is lost,
//! and counted as `table_full`. The table is sized for the samples, not for the heap: with one sample in 512 KiB its
//! 130,808 words cover a heap of 64 GiB.
//!
//! In front of the buckets lie one-byte counts of the addresses in the table: one count for each value of a part of the
//! hash. These 2 KiB stay in the first-level cache beside the program's data, and rule out most addresses that are not
//! in the table. Counts and buckets use the same hash, so at most 88 words can hold the addresses of one count, and one
//! byte is enough for a count. Second buckets are not read until an address has been inserted into a second bucket.

use super::entry::PERIODS;
use super::table::spread;
use crate::sys::pages::{For, PAGE_BYTES, Pages};
use crate::sys::sync::{AtomicU8, AtomicU32, AtomicU64, Ordering, fence};

/// Number of pages of the table; a power of two, as for every run of pages.
const PAGES: u32 = 256;
/// Number of counts in front of the buckets; a power of two.
const COUNTS: usize = 1 << 11;
/// Number of buckets: the pages without the counts, minus one cache line.
const BUCKETS: usize =
    (PAGES as usize * PAGE_BYTES - COUNTS * size_of::<AtomicU8>()) / size_of::<Bucket>() - 1;

/// Number of near buckets, which are tried first. With the counts, they take five pages.
const NEAR: usize = 256;

/// A cache line of addresses.
type Bucket = [AtomicU64; 8];

/// Number of words that can hold the addresses of one count. These addresses have a range of the near buckets and a
/// range of the far buckets. One bucket is added to each range, because the next range may begin within a bucket.
const WORDS_OF_A_COUNT: usize = (NEAR.div_ceil(COUNTS) + 1 + BUCKETS.div_ceil(COUNTS) + 1) * 8;

// The other half of the byte is for threads that are inserting or removing an address: each thread may add 1.
const _: () = assert!(WORDS_OF_A_COUNT <= u8::MAX as usize / 2);
const _: () = assert!(size_of::<SampledTable>() == PAGES as usize * PAGE_BYTES);

/// The set of the addresses of sampled blocks, and of internal blocks that were allocated since sampling began.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct SampledSet {
    /// Page of the table; 0 while there is none. The set is in zeroed pages of a fixed layout, so the field cannot be a
    /// `once_cell::race`.
    page: AtomicU32,
    /// Number of the sampling period, which begins when the set is cleared: 1 to [`PERIODS`]; 0 before the first period
    /// and while the set is being cleared.
    period: AtomicU32,
}

/// The table of addresses. A table whose bytes are all zero is valid and empty.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct SampledTable {
    /// Number of addresses in the buckets, by part of the hash.
    counts: [AtomicU8; COUNTS],
    reach: Reach,
    buckets: [Bucket; BUCKETS],
}

/// The extent to which the table is used. It has a separate cache line, which is read often and rarely written.
#[repr(C, align(64))]
#[derive(Debug)]
struct Reach {
    /// 1 after an address was inserted into a far bucket.
    is_far: AtomicU32,
}

impl SampledSet {
    /// Returns the table, if it exists.
    pub(crate) fn table<'a>(&self, pages: &'a Pages) -> Option<&'a SampledTable> {
        // Acquire: pairs with `open`.
        let page = self.page.load(Ordering::Acquire);
        // SAFETY: the run is as long as the table, and is never given back; all its fields are atomics.
        (page != 0).then(|| unsafe { &*pages.at(page).cast::<SampledTable>().cast_const() })
    }

    /// Makes the table if there is none. Returns `false` if there is no memory for it.
    pub(crate) fn open(&self, pages: &Pages) -> bool {
        // Acquire: pairs with the exchange below.
        if self.page.load(Ordering::Acquire) != 0 {
            return true;
        }
        let Some(page) = pages.take(PAGES, For::LiveBlocks) else {
            return false;
        };
        // Acquire and release: pairs with the loads above and in `table`. If several threads make a table, the first
        // table is kept.
        if self.page.compare_exchange(0, page, Ordering::AcqRel, Ordering::Acquire).is_err() {
            pages.give_back(page, PAGES, For::LiveBlocks);
        }
        true
    }

    /// Removes all addresses and begins a period. A thread that acts on an old level may insert or remove an address
    /// during the call, so each address is removed with its count.
    pub(crate) fn clear(&self, pages: &Pages) {
        let Some(table) = self.table(pages) else { return };
        // Acquire and release: pairs with the fence in `remove_or_period`. The period ends before the first removal.
        let period = self.period.swap(0, Ordering::AcqRel);
        // relaxed, both loads: an address that is inserted meanwhile belongs to no period.
        let used = if table.reach.is_far.load(Ordering::Relaxed) == 0 { NEAR } else { BUCKETS };
        for word in table.buckets[..used].iter().flatten() {
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            // Acquire and release, both: as in `exchange`; the removal also pairs with the fence in `remove_or_period`.
            let address = word.swap(0, Ordering::AcqRel);
            if address != 0 {
                table.count_of(address).fetch_sub(1, Ordering::AcqRel);
            }
        }
        // relaxed: published with the recorder's change of the level.
        table.reach.is_far.store(0, Ordering::Relaxed);
        // Release: pairs with the acquire in `insert_in_period`.
        self.period.store((u64::from(period) % PERIODS) as u32 + 1, Ordering::Release);
    }

    /// Returns the number of the current period; 0 if the set is being cleared.
    pub(crate) fn period(&self) -> u64 {
        // Acquire: pairs with the release at the end of `clear`.
        u64::from(self.period.load(Ordering::Acquire))
    }

    /// Inserts an address; returns `false` if there is no room for it.
    pub(crate) fn insert(&self, pages: &Pages, address: u64) -> bool {
        self.table(pages).is_some_and(|table| table.insert(address))
    }

    /// Inserts the address of an internal block. Returns the period in which the address was inserted, or an earlier
    /// period. Returns 0 if the address may be missing from the set.
    pub(crate) fn insert_in_period(&self, pages: &Pages, address: u64) -> u64 {
        // Acquire: pairs with the release at the end of `clear`, and is read before the insertion. So the removals of
        // that `clear` come before the insertion.
        let period = self.period.load(Ordering::Acquire);
        if self.insert(pages, address) { u64::from(period) } else { 0 }
    }

    /// Removes an address. If the address is not in the set, returns the period of the search as an error, or 0 if the
    /// set is being cleared.
    #[inline]
    pub(crate) fn remove_or_period(&self, pages: &Pages, address: u64) -> Result<(), u64> {
        if self.remove(pages, address) {
            return Ok(());
        }
        // Acquire: a thread that sees that `clear` has removed the address sees that `clear` has ended the period.
        fence(Ordering::Acquire);
        Err(u64::from(self.period.load(Ordering::Relaxed)))
    }

    /// Removes an address; returns `false` if it is not in the set.
    #[inline]
    pub(crate) fn remove(&self, pages: &Pages, address: u64) -> bool {
        self.table(pages).is_some_and(|table| table.remove(address))
    }
}

impl SampledTable {
    /// Whether an address may be in the table; `false` is certain.
    #[inline(always)]
    pub(crate) fn may_have(&self, address: u64) -> bool {
        // relaxed: the program passes the block to the thread that frees it, which orders the insertion before the
        // free.
        self.count_of(address).load(Ordering::Relaxed) != 0
    }

    fn insert(&self, address: u64) -> bool {
        // relaxed, here and below: as in `may_have`. The count is raised before the insertion, so a count is never too
        // low.
        self.count_of(address).fetch_add(1, Ordering::Relaxed);
        // Release: the insertion comes before the block is given to the program.
        let is_entered = self.exchange(address, 0, address);
        if !is_entered {
            self.count_of(address).fetch_sub(1, Ordering::Relaxed);
        }
        is_entered
    }

    fn remove(&self, address: u64) -> bool {
        // relaxed: as in `insert`.
        let count = self.count_of(address);
        if count.load(Ordering::Relaxed) == 0 || !self.exchange(address, address, 0) {
            return false;
        }
        count.fetch_sub(1, Ordering::Relaxed);
        true
    }

    /// Returns the count for an address.
    #[inline(always)]
    fn count_of(&self, address: u64) -> &AtomicU8 {
        &self.counts[(spread(address) >> (u64::BITS - COUNTS.trailing_zeros())) as usize]
    }

    /// Returns the two buckets of an address.
    fn buckets_of(&self, address: u64) -> [&Bucket; 2] {
        let hash = spread(address) >> 32;
        let (near, far) = self.buckets.split_at(NEAR);
        [near, far].map(|buckets| &buckets[((hash * buckets.len() as u64) >> 32) as usize])
    }

    fn exchange(&self, address: u64, from: u64, to: u64) -> bool {
        // relaxed, all: the thread that allocated the block inserted the address, and the program's synchronisation
        // orders the insertion before the free.
        let in_bucket = |bucket: &Bucket| {
            bucket.iter().any(|word| {
                word.load(Ordering::Relaxed) == from
                    && word.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            })
        };
        let [near, far] = self.buckets_of(address);
        if in_bucket(near) {
            return true;
        }
        let is_far = &self.reach.is_far;
        if is_far.load(Ordering::Relaxed) == 0 {
            if to == 0 {
                return false;
            }
            // Stored before the insertion. The program's synchronisation orders this store before the free as well.
            is_far.store(1, Ordering::Relaxed);
        }
        in_bucket(far)
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
        let set = SampledSet { page: AtomicU32::new(0), period: AtomicU32::new(0) };
        assert!(!set.insert(pages, 16) && !set.remove(pages, 16), "no table yet");
        assert!(set.open(pages) && set.open(pages));
        let entered = (1..20_000u64).map(|n| n * 48).filter(|address| set.insert(pages, *address));
        let entered: Vec<u64> = entered.collect();
        assert!(entered.len() > 19_900, "{}", entered.len());
        for address in entered {
            assert!(set.table(pages).unwrap().may_have(address));
            assert!(set.remove(pages, address) && !set.remove(pages, address));
        }
        let table = set.table(pages).unwrap();
        let counts = table.counts.iter().map(|count| count.load(Ordering::Relaxed));
        assert_eq!(counts.map(u32::from).sum::<u32>(), 0, "what was refused leaves no count behind");
        assert!((1..20_000).all(|n| !table.may_have(n * 48)));
        assert!((1..1_000).all(|n| set.insert(pages, n * 48)));
        let is_empty = |bucket: &Bucket| bucket.iter().all(|word| word.load(Ordering::Relaxed) == 0);
        assert!(table.buckets[NEAR..].iter().all(is_empty), "few addresses lie near the start");
        let entered = (1_000..20_000u64).filter(|n| set.insert(pages, n * 48)).count();
        assert!(entered > 18_900 && !table.buckets[NEAR..].iter().all(is_empty), "{entered}");
        set.clear(pages);
        assert!(table.buckets.iter().all(is_empty), "near and far");
        assert!((1..20_000).all(|n| !table.may_have(n * 48)));
        assert!((1..1_000).all(|n| set.insert(pages, n * 48)));
        assert_eq!(table.reach.is_far.load(Ordering::Relaxed), 0, "and then nobody looks behind it");
        Pages::release(region);
    }

    #[test]
    fn an_address_is_in_the_set_in_its_period_and_not_in_the_next() {
        let region = Pages::reserve(8 << 20, size_of::<Pages>()).unwrap();
        // SAFETY: P1, until the end of the test.
        let pages = unsafe { region.as_ref() };
        let set = SampledSet { page: AtomicU32::new(0), period: AtomicU32::new(0) };
        assert_eq!(
            (set.insert_in_period(pages, 16), set.remove_or_period(pages, 16)),
            (0, Err(0)),
            "no table yet"
        );
        set.open(pages);
        for number in 0..2 * PERIODS {
            let period = number % PERIODS + 1;
            set.clear(pages);
            assert_eq!(set.remove_or_period(pages, 16), Err(period), "cleared");
            assert_eq!(set.insert_in_period(pages, 16), period);
            assert_eq!(
                (set.remove_or_period(pages, 16), set.remove_or_period(pages, 16)),
                (Ok(()), Err(period))
            );
            assert_eq!(set.insert_in_period(pages, 16), period);
        }
        Pages::release(region);
    }
}
