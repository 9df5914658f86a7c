//! Zeroed memory, by page number.
//!
//! All state of the ledger lies in one *region*: a range of address space that is reserved once and committed bit by
//! bit. Things in it refer to each other by page number, not by pointer, so the same bytes mean the same at another
//! address (in a file mapping, or in a forked child).
//!
//! ```text
//! page 0                page 1 …
//! ┌───────────────────┬───────────┬───────────┬─────┬──────────────┬─────────────────────────┐
//! │ Pages (this file), │ run       │ run       │ ... │ committed,   │ reserved, not committed │
//! │ then the owner's   │ (2ⁿ pages)│ (2ⁿ pages)│     │ not taken    │                         │
//! └───────────────────┴───────────┴───────────┴─────┴──────────────┴─────────────────────────┘
//! ```
//!
//! A run is a power of two of pages. Of each small size one run that was given back stays with us, filled with zeros, and of all larger
//! ones, up to [`WARM_PAGES_MAX`], the last: a table that grows gives back what the next one takes, a fresh page costs the system more
//! than zeros cost us, and taking one away interrupts the other processors. A further one is returned to the system and kept in a list
//! of its size. Untouched pages cost address space only; `held_bytes` counts the pages
//! that were asked for, touched or not, and those that stay, so it is an upper bound of what the system lends us.
//!
//! Invariants: **P1** the head of a region is committed and zeroed before anyone sees it, and stays mapped until
//! `release`. **P2** a run is in one hand, in one list, or the one that is kept, and never in two of these.

use std::ptr::NonNull;

use super::box_file::BoxFile;
use super::latch::Latch;
use super::sync::{AtomicU32, AtomicU64, Ordering};

/// Bytes of a page of the region. The system's own pages may be larger; commit steps are multiples of both.
pub(crate) const PAGE_BYTES: usize = 4096;
/// Pages committed at once.
const COMMIT_PAGES: u32 = 256;
/// Sizes of runs: 2⁰ to 2²³ pages (32 GiB).
const RUN_ORDERS: usize = 24;
/// Sizes of runs of which one stays, given back: up to 16 pages. Of all larger ones together, one stays.
const WARM_ORDERS: usize = 5;
/// Pages of the largest run that stays.
const WARM_PAGES_MAX: u32 = 1024;
/// Reservation below which we do without.
const RESERVE_BYTES_MIN: usize = 1 << 20;
/// The share of a process's address-space limit that is ours at most: one eighth.
const ADDRESS_SPACE_SHARE: u64 = 8;

const _: () = assert!(RESERVE_BYTES_MIN.is_multiple_of(COMMIT_PAGES as usize * PAGE_BYTES));

/// The directory of a region, at its very start. Its own address is the address of page 0.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Pages {
    seal: Seal,
    /// Whether the region is mapped from a file.
    in_file: AtomicU32,
    reserved_pages: AtomicU32,
    committed_pages: AtomicU32,
    next_page: AtomicU32,
    latch: Latch,
    free_runs: [AtomicU32; RUN_ORDERS],
    /// Runs that are filled with zeros and in no list, one of each small size, and a large one: their first pages, and how
    /// many were written to in the upper half; 0 if there is none.
    warm_runs: [AtomicU64; WARM_ORDERS + 1],
    warm_bytes: AtomicU64,
    held_bytes: AtomicU64,
    refused: AtomicU64,
}

/// What a region in a file says of itself at its very start: whoever reads the file must know how it is laid out.
/// All zero in memory.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Seal {
    pub(crate) magic: AtomicU64,
    /// A number that changes with the layout of anything that lies in a region.
    pub(crate) layout: AtomicU64,
    /// The version of the crate, as text.
    pub(crate) version: [AtomicU64; 2],
}

impl Pages {
    /// Makes a region of a file of at least 1 MiB, with a seal. `head_bytes` as in [`Pages::reserve`].
    pub(crate) fn in_file(
        file: &BoxFile,
        head_bytes: usize,
        layout: u64,
        version: [u8; 16],
    ) -> Option<NonNull<Pages>> {
        let head_pages = head_bytes.div_ceil(PAGE_BYTES) as u32;
        let all = u32::try_from(file.bytes / PAGE_BYTES).ok().filter(|all| *all > head_pages)?;
        let pages = file.map()?.cast::<Pages>();
        // SAFETY: P1, the head is mapped, zeroed (a valid `Pages`) and not shared yet.
        let this = unsafe { pages.as_ref() };
        this.begin(all, all, head_pages);
        // relaxed, all of these: as in `begin`.
        this.in_file.store(1, Ordering::Relaxed);
        for (cell, bytes) in this.seal.version.iter().zip(version.chunks_exact(8)) {
            cell.store(u64::from_le_bytes(bytes.try_into().unwrap_or_default()), Ordering::Relaxed);
        }
        this.seal.magic.store(u64::from_le_bytes(super::box_file::MAGIC), Ordering::Relaxed);
        // Last: without it the box is one that was not finished.
        this.seal.layout.store(layout, Ordering::Relaxed);
        Some(pages)
    }

    /// Reserves a region of at most `limit_bytes`, and commits its start for `head_bytes` of the owner's own data,
    /// in which `Pages` is the first field.
    pub(crate) fn reserve(limit_bytes: u64, head_bytes: usize) -> Option<NonNull<Pages>> {
        let share = os::address_space_limit().map_or(u64::MAX, |limit| limit / ADDRESS_SPACE_SHARE);
        let mut bytes =
            usize::try_from(limit_bytes.min(share)).unwrap_or(usize::MAX) & !(RESERVE_BYTES_MIN - 1);
        let head_pages = head_bytes.div_ceil(PAGE_BYTES) as u32;
        let committed = head_pages.next_multiple_of(COMMIT_PAGES);
        bytes = bytes.min(u32::MAX as usize / 2 * PAGE_BYTES);
        while bytes >= RESERVE_BYTES_MIN.max(committed as usize * PAGE_BYTES) {
            if let Some(base) = os::reserve(bytes) {
                if !os::commit(base, committed as usize * PAGE_BYTES) {
                    os::release(base, bytes);
                    return None;
                }
                let pages = base.cast::<Pages>();
                // SAFETY: P1, the head is committed, zeroed (a valid `Pages`) and not shared yet.
                let this = unsafe { pages.as_ref() };
                this.begin((bytes / PAGE_BYTES) as u32, committed, head_pages);
                return Some(pages);
            }
            bytes /= 2;
        }
        None
    }

    /// Sets up the directory of a region of so many pages, of which the head is taken.
    fn begin(&self, reserved: u32, committed: u32, head: u32) {
        // relaxed, all of these: the region is published later, by a release store of its address.
        self.reserved_pages.store(reserved, Ordering::Relaxed);
        self.committed_pages.store(committed, Ordering::Relaxed);
        self.next_page.store(head, Ordering::Relaxed);
        self.held_bytes.store(u64::from(head) * PAGE_BYTES as u64, Ordering::Relaxed);
    }

    /// Takes a run of at least `pages` zeroed pages and returns the number of the first; `None` when the region or
    /// the system has no more.
    pub(crate) fn take(&self, pages: u32) -> Option<u32> {
        let page = self.take_unheld(pages)?;
        self.hold(pages);
        Some(page)
    }

    /// Counts pages of an unheld run that are now in use.
    pub(crate) fn hold(&self, pages: u32) {
        // relaxed: a figure for people.
        self.held_bytes.fetch_add(bytes_of(pages), Ordering::Relaxed);
    }

    /// Takes a run without counting it: for large tables that are filled from the front, of which the caller says
    /// with [`Pages::hold`] how much it uses.
    pub(crate) fn take_unheld(&self, pages: u32) -> Option<u32> {
        let order = order_of(pages);
        if order >= RUN_ORDERS {
            return self.refuse();
        }
        let _taken = self.latch.take();
        if let Some(page) = self.take_warm(order) {
            return Some(page);
        }
        let head = &self.free_runs[order];
        // relaxed, all of this function: the latch orders it.
        let first = head.load(Ordering::Relaxed);
        let page = if first != 0 {
            let link = self.at(first).cast::<u32>();
            // SAFETY: P2, a run in a list is ours and its first word is the number of the next run, written by
            // `give_back` under the same latch.
            unsafe {
                head.store(link.read(), Ordering::Relaxed);
                link.write(0);
            }
            first
        } else {
            match self.extend(1 << order) {
                Some(page) => page,
                None => return self.refuse(),
            }
        };
        Some(page)
    }

    /// Takes the run of this size that was kept. Runs under the latch.
    fn take_warm(&self, order: usize) -> Option<u32> {
        let warm = &self.warm_runs[order.min(WARM_ORDERS)];
        // relaxed, all: the latch orders it.
        let (page, pages) = halves(warm.load(Ordering::Relaxed));
        if page == 0 || order_of(pages) != order {
            return None;
        }
        warm.store(0, Ordering::Relaxed);
        self.warm_bytes.fetch_sub(bytes_of(pages), Ordering::Relaxed);
        Some(page)
    }

    /// Gives a run back; `pages` is what it was taken with, and no page behind these was written to.
    pub(crate) fn give_back(&self, page: u32, pages: u32) {
        // relaxed: a figure for people.
        self.held_bytes.fetch_sub(bytes_of(pages), Ordering::Relaxed);
        match self.keep_warm(page, pages) {
            (0, _) => {}
            (cold, pages) => self.list(cold, pages),
        }
    }

    /// Keeps a run, filled with zeros, unless there is one of its size; a large one takes the place of another large one: tables
    /// grow together, so the next that is asked for is like the last that came back. Returns the run that is not kept; page 0 if
    /// there is none.
    fn keep_warm(&self, page: u32, pages: u32) -> (u32, u32) {
        let order = order_of(pages);
        let warm = &self.warm_runs[order.min(WARM_ORDERS)];
        let is_new = |kept| halves(kept).0 == 0 || order != order_of(halves(kept).1);
        // relaxed, both here: a guess; the latch orders what follows.
        if pages > WARM_PAGES_MAX || !is_new(warm.load(Ordering::Relaxed)) {
            return (page, pages);
        }
        // SAFETY: P2, the run is in no one's hands.
        unsafe { self.at(page).write_bytes(0, pages as usize * PAGE_BYTES) };
        let _taken = self.latch.take();
        // relaxed, all: the latch orders it.
        let kept = warm.load(Ordering::Relaxed);
        if !is_new(kept) {
            return (page, pages);
        }
        warm.store(u64::from(page) | u64::from(pages) << u32::BITS, Ordering::Relaxed);
        self.warm_bytes.fetch_add(bytes_of(pages), Ordering::Relaxed);
        self.warm_bytes.fetch_sub(bytes_of(halves(kept).1), Ordering::Relaxed);
        halves(kept)
    }

    /// Puts a run into the list of its size.
    fn list(&self, page: u32, pages: u32) {
        let (order, start) = (order_of(pages), self.at(page));
        // relaxed: written before the region was published.
        if self.in_file.load(Ordering::Relaxed) == 0 {
            os::discard(start, PAGE_BYTES << order);
        } else {
            // The blocks of the file stay allocated, so that no write can fail later.
            // SAFETY: P2, the run is in no one's hands.
            unsafe { start.write_bytes(0, PAGE_BYTES << order) };
        }
        let _taken = self.latch.take();
        let head = &self.free_runs[order];
        // SAFETY: P2, the run is in no one's hands between the discard and the store of its number.
        unsafe { start.cast::<u32>().write(head.load(Ordering::Relaxed)) };
        // relaxed: the latch orders it.
        head.store(page, Ordering::Relaxed);
    }

    /// The address of a page. Constant for the life of the region.
    #[inline(always)]
    pub(crate) fn at(&self, page: u32) -> *mut u8 {
        let base = std::ptr::from_ref(self).cast::<u8>().cast_mut();
        // A page number that was taken lies inside the reservation, so this cannot leave it.
        base.wrapping_add(page as usize * PAGE_BYTES)
    }

    /// Pages of the region, the head included.
    pub(crate) fn reserved(&self) -> u32 {
        // relaxed: written before the region was published.
        self.reserved_pages.load(Ordering::Relaxed)
    }

    /// Bytes taken and not given back, or kept, the head included.
    pub(crate) fn held_bytes(&self) -> u64 {
        let (held, warm) = (&self.held_bytes, &self.warm_bytes);
        // relaxed, both: a figure for people. Of a killed process's region it may be anything.
        held.load(Ordering::Relaxed).saturating_add(warm.load(Ordering::Relaxed))
    }

    /// Returns a whole region to the system. No one may refer to it any more.
    pub(crate) fn release(this: NonNull<Pages>) {
        // SAFETY: P1; relaxed: only the caller has the region now.
        let reserved = unsafe { this.as_ref() }.reserved_pages.load(Ordering::Relaxed);
        os::release(this.cast(), reserved as usize * PAGE_BYTES);
    }

    /// Moves the end of the taken pages by `count`, committing more when needed. Runs under the latch.
    fn extend(&self, count: u32) -> Option<u32> {
        // relaxed, all of it: the latch orders it.
        let page = self.next_page.load(Ordering::Relaxed);
        let end = page.checked_add(count)?;
        let reserved = self.reserved_pages.load(Ordering::Relaxed);
        if end > reserved {
            return None;
        }
        let committed = self.committed_pages.load(Ordering::Relaxed);
        if end > committed {
            let wanted = end.next_multiple_of(COMMIT_PAGES).min(reserved);
            let start = NonNull::new(self.at(committed))?;
            if !os::commit(start, (wanted - committed) as usize * PAGE_BYTES) {
                return None;
            }
            self.committed_pages.store(wanted, Ordering::Relaxed);
        }
        self.next_page.store(end, Ordering::Relaxed);
        Some(page)
    }

    #[cold]
    fn refuse(&self) -> Option<u32> {
        // relaxed: a count for people.
        self.refused.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// A page and a number of pages in one word.
fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> u32::BITS) as u32)
}

fn bytes_of(pages: u32) -> u64 {
    u64::from(pages) * PAGE_BYTES as u64
}

fn order_of(pages: u32) -> usize {
    pages.max(1).next_power_of_two().trailing_zeros() as usize
}

/// Address space from the system, committed in steps.
#[cfg(all(unix, not(heapledger_portable)))]
mod os {
    use std::ptr::{NonNull, null_mut};

    pub(super) fn address_space_limit() -> Option<u64> {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is valid for writes.
        let failed = unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) } != 0;
        (!failed && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
    }

    pub(super) fn reserve(bytes: usize) -> Option<NonNull<u8>> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh anonymous mapping touches no memory of anyone.
        let address = unsafe { libc::mmap(null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
        if address == libc::MAP_FAILED { None } else { NonNull::new(address.cast()) }
    }

    pub(super) fn commit(start: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the range lies inside our own reservation.
        unsafe {
            let failed =
                libc::mprotect(start.as_ptr().cast(), bytes, libc::PROT_READ | libc::PROT_WRITE) != 0;
            #[cfg(target_os = "linux")]
            if !failed {
                // Lanes are touched here and there: a huge page for each would be memory that nobody asked for.
                libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_NOHUGEPAGE);
            }
            !failed
        }
    }

    pub(super) fn discard(start: *mut u8, bytes: usize) {
        // SAFETY: the range is a run of our own region, in no one's hands; it reads as zero afterwards.
        let failed = unsafe { libc::madvise(start.cast(), bytes, libc::MADV_DONTNEED) } != 0;
        if failed || !cfg!(target_os = "linux") {
            // SAFETY: as above; elsewhere the advice does not promise zeros.
            unsafe { start.write_bytes(0, bytes) };
        }
    }

    pub(super) fn release(start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller owns the reservation and no one refers to it any more.
        unsafe { libc::munmap(start.as_ptr().cast(), bytes) };
    }
}

/// Without virtual memory calls: one zeroed block from the system's allocator, of bounded size.
#[cfg(not(all(unix, not(heapledger_portable))))]
mod os {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::ptr::NonNull;

    /// Bytes of the region: it is one block here, and some systems commit it whole.
    const REGION_BYTES: usize = 256 << 20;

    pub(super) fn address_space_limit() -> Option<u64> {
        Some(REGION_BYTES as u64 * super::ADDRESS_SPACE_SHARE)
    }

    /// Bytes in front of the region, for its own alignment: asking the allocator for a page's alignment would make it
    /// write zeros to all of it.
    const FRONT_BYTES: usize = 2 * super::PAGE_BYTES;

    fn layout(bytes: usize) -> Option<Layout> {
        Layout::from_size_align(bytes.checked_add(FRONT_BYTES)?, align_of::<usize>()).ok()
    }

    pub(super) fn reserve(bytes: usize) -> Option<NonNull<u8>> {
        // SAFETY: the size is not zero. `System` is called directly: the global allocator is what we are below of.
        let block = unsafe { System.alloc_zeroed(layout(bytes)?) };
        if block.is_null() {
            return None;
        }
        let front =
            block.wrapping_add(size_of::<usize>()).align_offset(super::PAGE_BYTES) + size_of::<usize>();
        // SAFETY: the offset is at most a page and a word, which the block has in front; there is room for a word
        // before it, in which the way back is kept.
        unsafe {
            let start = block.add(front);
            start.cast::<usize>().sub(1).write(front);
            NonNull::new(start)
        }
    }

    pub(super) fn commit(_start: NonNull<u8>, _bytes: usize) -> bool {
        true
    }

    pub(super) fn discard(start: *mut u8, bytes: usize) {
        // SAFETY: the range is a run of our own region, in no one's hands.
        unsafe { start.write_bytes(0, bytes) };
    }

    pub(super) fn release(start: NonNull<u8>, bytes: usize) {
        if let Some(layout) = layout(bytes) {
            // SAFETY: the region came from `reserve`, which left the way back to the block in front of it.
            unsafe {
                let front = start.as_ptr().cast::<usize>().sub(1).read();
                System.dealloc(start.as_ptr().sub(front), layout);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_zeroed_distinct_and_come_back() {
        let region = Pages::reserve(8 << 20, size_of::<Pages>()).unwrap();
        // SAFETY: P1, the region lives until the end of the test.
        let pages = unsafe { region.as_ref() };
        let held = pages.held_bytes();
        let (a, b) = (pages.take(3).unwrap(), pages.take(1).unwrap());
        assert!(b >= a + 4, "a run of 3 pages occupies 4");
        // SAFETY: the run is ours.
        unsafe {
            assert!((0..4 * PAGE_BYTES).all(|i| pages.at(a).add(i).read() == 0));
            pages.at(a).write_bytes(7, 3 * PAGE_BYTES);
        }
        pages.give_back(a, 3);
        assert_eq!(pages.take(4), Some(a));
        // SAFETY: the run is ours again.
        assert!((0..4 * PAGE_BYTES).all(|i| unsafe { pages.at(a).add(i).read() } == 0));
        pages.give_back(a, 4);
        pages.give_back(b, 1);
        assert_eq!(pages.held_bytes(), held + 5 * PAGE_BYTES as u64, "one of each size is kept");
        assert_eq!((pages.take(4), pages.take(1)), (Some(a), Some(b)));
        Pages::release(region);
    }

    /// Takes two runs of a size, writes to them and gives them back; twice, and they are full of zeros the second time.
    fn take_and_give_back(pages: &Pages, size: u32) {
        for _ in 0..2 {
            let runs = [(); 2].map(|()| pages.take(size).unwrap());
            for run in runs {
                let bytes = size as usize * PAGE_BYTES;
                // SAFETY: the run is ours.
                unsafe {
                    assert!((0..bytes).all(|i| pages.at(run).add(i).read() == 0), "{size} pages");
                    pages.at(run).write_bytes(7, bytes);
                }
            }
            runs.into_iter().for_each(|run| pages.give_back(run, size));
        }
    }

    #[test]
    fn one_run_of_each_small_size_is_kept_one_large_one_and_none_that_is_huge() {
        let region = Pages::reserve(64 << 20, size_of::<Pages>()).unwrap();
        // SAFETY: P1, the region lives until the end of the test.
        let pages = unsafe { region.as_ref() };
        let held = pages.held_bytes();
        let kept_pages = || (pages.held_bytes() - held) / PAGE_BYTES as u64;
        let mut kept = 0;
        for (size, is_added, takes_the_place_of) in [
            (1, 1, 0),
            (16, 16, 0),
            (40, 40, 0),
            (WARM_PAGES_MAX, 1024, 40),
            (2 * WARM_PAGES_MAX, 0, 0),
            (100, 100, 1024),
        ] {
            take_and_give_back(pages, size);
            kept = kept + is_added - takes_the_place_of;
            assert_eq!(kept_pages(), kept, "{size} pages");
        }
        Pages::release(region);
    }

    #[test]
    fn the_limit_is_a_refusal_not_a_crash() {
        let region = Pages::reserve(1 << 20, size_of::<Pages>()).unwrap();
        // SAFETY: P1.
        let pages = unsafe { region.as_ref() };
        assert_eq!(pages.take(1 << 20), None);
        let mut taken = 0;
        while pages.take(16).is_some() {
            taken += 1;
        }
        assert!(taken >= 15, "{taken}");
        assert!(pages.held_bytes() <= 1 << 20);
        Pages::release(region);
    }

    #[test]
    fn a_limit_that_is_too_small_gives_no_region() {
        assert!(Pages::reserve(1000, size_of::<Pages>()).is_none());
    }
}
