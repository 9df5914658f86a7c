//! Zeroed memory, addressed by page number.
//!
//! All state of the ledger lies in one *region*: a range of address space that is reserved once and committed step by
//! step. Objects in the region refer to each other by page number, not by pointer. So the same bytes are valid at
//! another address, in a file mapping or in a forked child.
//!
//! ```text
//! page 0                page 1 …
//! ┌────────────────────┬───────────┬─────┬────────────┬───────────────┬─────────────────────────┐
//! │ Pages (this file), │ run       │ ... │ committed, │ not committed │ sparse runs, committed  │
//! │ then the owner's   │ (2ⁿ pages)│     │ not taken  │               │ where they are used     │
//! └────────────────────┴───────────┴─────┴────────────┴───────────────┴─────────────────────────┘
//! ```
//!
//! Pages that are not committed are free address space, far from the addresses that the system assigns. They are not
//! memory of the process, so `mlockall` neither counts nor locks them. If the program maps memory there, the region
//! ends before that memory. Where no such addresses are free, inaccessible memory is mapped instead.
//!
//! A *run* is a sequence of 2ⁿ pages. Some of the runs that are given back are kept, filled with zeros: 64 KiB of each
//! small size, and one larger run of up to [`WARM_PAGES_MAX`] pages. Keeping is cheaper for three reasons: a growing
//! table gives back a run of the size that the next table takes; a fresh page costs more than filling a page with
//! zeros; and a return to the system interrupts the other processors.
//!
//! All other runs are returned to the system and *listed*: their numbers are kept in the first page of another run of
//! the same size ([`Trunk`]). Unused pages cost only address space. `held_bytes` counts all pages that are taken or
//! kept, used or not, so it is an upper bound of resident memory. Large tables that are filled from the front count
//! their pages themselves.
//!
//! Invariants: **P1** the head of a region is committed and zeroed before any thread sees it, and stays mapped until
//! `release`. **P2** a run has one owner, or is in one list, or is kept; never two of these.

use std::ptr::NonNull;

use super::address_space::{self, ADDRESS_SPACE_SHARE};
use super::box_file::BoxFile;
use super::latch::Latch;
use super::sparse::{STEP_PAGES, Sparse};
use super::sync::{AtomicU32, AtomicU64, Ordering};

pub(crate) use super::address_space::PAGE_BYTES;

/// Number of pages that are committed at once.
const COMMIT_PAGES: u32 = 64;
/// Number of run sizes: 2⁰ to 2²³ pages (32 GiB).
const RUN_ORDERS: usize = 24;
/// Number of run sizes of which some runs are kept: 1, 2, 4, 8 and 16 pages. Of all larger sizes together, one run is
/// kept.
const WARM_ORDERS: usize = 5;
/// Maximum number of pages that are kept of one small run size.
const WARM_PAGES_EACH: u32 = 16;
/// Maximum number of pages of a run that is kept.
const WARM_PAGES_MAX: u32 = 1024;
/// Minimum number of pages for which one system call costs less than one page fault per page.
const LENT_AT_ONCE_MIN: u32 = 4;
/// Size of the smallest reservation, in bytes.
const RESERVE_BYTES_MIN: usize = 1 << 20;

const _: () = assert!(RESERVE_BYTES_MIN.is_multiple_of(COMMIT_PAGES as usize * PAGE_BYTES));

/// The purpose of memory in a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// Rings of threads with their counters and state, and spare segments.
    Rings,
    /// Live blocks: the shared table and the nurseries.
    LiveBlocks,
    /// Sums that are not yet committed to sites. The sites themselves count their pages.
    Sites,
    /// The store of stacks, and the tables with which threads walk stacks.
    Stacks,
    /// Everything else.
    Tables,
}

impl For {
    pub(crate) const COUNT: usize = 5;
}

/// The directory of a region, at its start. The address of the directory is the address of page 0.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Pages {
    seal: Seal,
    /// Whether the region is mapped from a file.
    in_file: AtomicU32,
    /// Whether memory is mapped where the region is not committed.
    is_mapped: AtomicU32,
    /// Whether large tables are taken like other runs, without sparse pages. This is so in a file and in unit tests.
    is_dense: AtomicU32,
    reserved_pages: AtomicU32,
    committed_pages: AtomicU32,
    next_page: AtomicU32,
    latch: Latch,
    /// Listed runs, by size. Lower half: page of the trunk that was listed last. Upper half: number of the trunk's
    /// leaves.
    free_runs: [AtomicU64; RUN_ORDERS],
    /// Kept small runs, by size. Lower half: page of the first run. Upper half: number of runs. The runs are filled
    /// with zeros, except for the page number of the next run.
    warm_runs: [AtomicU64; WARM_ORDERS],
    /// The kept large run, which is filled with zeros. Lower half: its first page. Upper half: its number of pages.
    warm_large: AtomicU64,
    /// Resident bytes of runs that were given back: kept runs, and trunks in the lists.
    warm_bytes: AtomicU64,
    /// Bytes of the runs that are in use, by [`For`].
    held_bytes: [AtomicU64; For::COUNT],
    refused: AtomicU64,
    sparse: Sparse,
}

/// The seal at the start of a region in a file. It tells a reader the region's layout. In a region without a file all
/// bytes of the seal are zero.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Seal {
    pub(crate) magic: AtomicU64,
    /// A number that changes with the layout of any type that lies in a region.
    pub(crate) layout: AtomicU64,
    /// The version of the crate, as text.
    pub(crate) version: [AtomicU64; 2],
}

/// The first page of a listed run, which holds the numbers of other listed runs (*leaves*). So one resident page serves
/// about a thousand runs.
#[repr(C)]
struct Trunk {
    /// The value of the list's word before this run was listed.
    before: u64,
    leaves: [u32; TRUNK_LEAVES],
}

const TRUNK_LEAVES: usize = PAGE_BYTES / size_of::<u32>() - 2;

const _: () = assert!(size_of::<Trunk>() == PAGE_BYTES);

impl Pages {
    /// Makes a region in a file of 1 MiB or more, with a seal. `head_bytes` has the same meaning as in
    /// [`Pages::reserve`].
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
        // relaxed, all: the region is published later.
        this.in_file.store(1, Ordering::Relaxed);
        this.is_dense.store(1, Ordering::Relaxed);
        for (cell, bytes) in this.seal.version.iter().zip(version.chunks_exact(8)) {
            cell.store(u64::from_le_bytes(bytes.try_into().unwrap_or_default()), Ordering::Relaxed);
        }
        this.seal.magic.store(u64::from_le_bytes(super::box_file::MAGIC), Ordering::Relaxed);
        // Written last: a reader treats a black box without the layout number as unfinished.
        this.seal.layout.store(layout, Ordering::Relaxed);
        Some(pages)
    }

    /// Reserves a region of at most `limit_bytes`, and commits the first `head_bytes` for the caller's type, whose
    /// first field is `Pages`.
    pub(crate) fn reserve(limit_bytes: u64, head_bytes: usize) -> Option<NonNull<Pages>> {
        // Not sparse in unit tests, which have many regions in one process, and copy their pages.
        Pages::reserve_as(limit_bytes, head_bytes, !cfg!(test))
    }

    /// Reserves a region like [`Pages::reserve`]. A sparse region lies at far addresses, and can have sparse runs.
    fn reserve_as(limit_bytes: u64, head_bytes: usize, is_sparse: bool) -> Option<NonNull<Pages>> {
        let share = address_space::limit().map_or(u64::MAX, |limit| limit / ADDRESS_SPACE_SHARE);
        let mut bytes =
            usize::try_from(limit_bytes.min(share)).unwrap_or(usize::MAX) & !(RESERVE_BYTES_MIN - 1);
        let head_pages = head_bytes.div_ceil(PAGE_BYTES) as u32;
        let committed = head_pages.next_multiple_of(COMMIT_PAGES);
        bytes = bytes.min((u32::MAX as usize / 2).saturating_mul(PAGE_BYTES));
        while bytes >= RESERVE_BYTES_MIN.max(committed as usize * PAGE_BYTES) {
            if let Some((base, is_mapped)) = address_space::reserve(bytes, is_sparse) {
                if !address_space::commit(base, committed as usize * PAGE_BYTES, is_mapped) {
                    if is_mapped {
                        address_space::release(base, bytes);
                    }
                    return None;
                }
                let pages = base.cast::<Pages>();
                // SAFETY: P1, the head is committed, zeroed (a valid `Pages`) and not shared yet.
                let this = unsafe { pages.as_ref() };
                this.begin((bytes / PAGE_BYTES) as u32, committed, head_pages);
                // relaxed, both: the region is published later.
                this.is_mapped.store(u32::from(is_mapped), Ordering::Relaxed);
                this.is_dense.store(u32::from(!is_sparse || !address_space::COMMITS), Ordering::Relaxed);
                return Some(pages);
            }
            bytes /= 2;
        }
        None
    }

    /// Sets up the directory of a region of `reserved` pages, of which the first `head` pages are taken and `committed`
    /// are committed.
    fn begin(&self, reserved: u32, committed: u32, head: u32) {
        // relaxed, all: the region is published later, by a release store of its address.
        self.reserved_pages.store(reserved, Ordering::Relaxed);
        self.committed_pages.store(committed, Ordering::Relaxed);
        self.next_page.store(head, Ordering::Relaxed);
        self.held_bytes[For::Tables as usize].store(bytes_of(head), Ordering::Relaxed);
    }

    /// Takes a run of at least `pages` zeroed pages. Returns the number of its first page, or `None` if the region or
    /// the system has no more pages.
    pub(crate) fn take(&self, pages: u32, for_what: For) -> Option<u32> {
        let page = self.take_unheld(pages)?;
        self.hold(pages, for_what);
        Some(page)
    }

    /// Counts pages of a run that was taken by [`Pages::take_unheld`] as in use.
    pub(crate) fn hold(&self, pages: u32, for_what: For) {
        // relaxed: a figure for reports.
        self.held_bytes[for_what as usize].fetch_add(bytes_of(pages), Ordering::Relaxed);
    }

    /// Takes a run without counting it, for a large table that is filled from the front. The caller counts the used
    /// pages with [`Pages::hold`].
    pub(crate) fn take_unheld(&self, pages: u32) -> Option<u32> {
        let order = order_of(pages);
        if order >= RUN_ORDERS {
            return self.refuse();
        }
        let _taken = self.latch.take();
        if let Some(page) = self.take_warm(order) {
            return Some(page);
        }
        self.unlist(order).or_else(|| self.extend(1 << order)).or_else(|| self.refuse())
    }

    /// Takes a run for a large table without counting it. A page of the run is accessible after [`Pages::reach`] has
    /// returned true for it. The run is never given back.
    pub(crate) fn take_sparse(&self, pages: u32) -> Option<u32> {
        // relaxed: written before the region was published.
        if self.is_dense.load(Ordering::Relaxed) != 0 {
            return self.take_unheld(pages);
        }
        let taken = self.latch.take();
        // relaxed: the latch orders it.
        let free = self.ceiling().saturating_sub(self.committed_pages.load(Ordering::Relaxed));
        if pages.next_multiple_of(STEP_PAGES) <= free && self.sparse.extend(pages) {
            return Some(self.ceiling());
        }
        drop(taken);
        self.take_unheld(pages)
    }

    /// Makes pages of a run accessible if the run is sparse. Returns whether the pages are accessible.
    pub(crate) fn reach(&self, page: u32, pages: u32) -> bool {
        self.steps(page, pages).all(|step| self.sparse.is_committed(step) || self.commit_step(step))
    }

    /// Returns whether pages of a run are accessible. Pages of a run that is not sparse always are.
    pub(crate) fn is_reached(&self, page: u32, pages: u32) -> bool {
        self.steps(page, pages).all(|step| self.sparse.is_committed(step))
    }

    /// Returns the commit steps of the sparse part that contain these pages.
    fn steps(&self, page: u32, pages: u32) -> std::ops::Range<u32> {
        if page < self.ceiling() {
            return 0..0;
        }
        let from_end = |page: u32| self.reserved().saturating_sub(page + 1) / STEP_PAGES;
        from_end(page + pages.max(1) - 1)..from_end(page) + 1
    }

    #[cold]
    fn commit_step(&self, step: u32) -> bool {
        let _taken = self.latch.take();
        if self.sparse.is_committed(step) {
            return true;
        }
        let is_done = self.commit(self.reserved() - (step + 1) * STEP_PAGES, STEP_PAGES);
        if is_done {
            self.sparse.mark(step);
        }
        is_done
    }

    /// Commits pages. The caller holds the latch.
    fn commit(&self, page: u32, pages: u32) -> bool {
        // relaxed: written before the region was published.
        let is_mapped = self.is_mapped.load(Ordering::Relaxed) != 0;
        NonNull::new(self.at(page))
            .is_some_and(|start| address_space::commit(start, pages as usize * PAGE_BYTES, is_mapped))
    }

    /// Returns the first page of the sparse part, or the end of the region if there is no sparse part.
    fn ceiling(&self) -> u32 {
        self.reserved().saturating_sub(self.sparse.pages())
    }

    /// Takes a run that will be filled in random order, and populates its pages at once. Without this, a page that is
    /// read before its first write maps the shared zero page, which the write then replaces. That costs two faults, and
    /// an interruption of the other processors.
    pub(crate) fn take_to_scatter(&self, pages: u32, for_what: For) -> Option<u32> {
        let page = self.take(pages, for_what)?;
        if pages < LENT_AT_ONCE_MIN || !address_space::lend(self.at(page), pages as usize * PAGE_BYTES) {
            for page in page..page + pages {
                // SAFETY: P2, this thread has just taken the run, it is zeroed, and no other thread knows of it yet.
                unsafe { self.at(page).write_volatile(0) };
            }
        }
        Some(page)
    }

    /// Takes a kept run of this size, or returns `None`. The caller holds the latch.
    fn take_warm(&self, order: usize) -> Option<u32> {
        let warm = self.warm_runs.get(order).unwrap_or(&self.warm_large);
        // relaxed, all: the latch orders it.
        let (page, count) = halves(warm.load(Ordering::Relaxed));
        let is_small = order < WARM_ORDERS;
        if page == 0 || !is_small && order_of(count) != order {
            return None;
        }
        let (rest, pages) =
            if is_small { (both(self.unlink(page), count - 1), 1 << order) } else { (0, count) };
        warm.store(rest, Ordering::Relaxed);
        self.warm_bytes.fetch_sub(bytes_of(pages), Ordering::Relaxed);
        Some(page)
    }

    /// Gives a run back. `pages` is the number of pages with which it was taken; no page behind them was written.
    pub(crate) fn give_back(&self, page: u32, pages: u32, for_what: For) {
        // relaxed: a figure for reports.
        self.held_bytes[for_what as usize].fetch_sub(bytes_of(pages), Ordering::Relaxed);
        let order = order_of(pages);
        let (cold, pages) = match self.warm_runs.get(order) {
            Some(_) if self.keep_small(page, pages, order) => return,
            Some(_) => (page, pages),
            None => self.keep_large(page, pages),
        };
        if cold != 0 {
            self.list(cold, pages);
        }
    }

    /// Keeps a small run, filled with zeros, unless enough runs of its size are kept already. Returns whether the run
    /// is kept.
    fn keep_small(&self, page: u32, pages: u32, order: usize) -> bool {
        let warm = &self.warm_runs[order];
        let is_room = |kept| halves(kept).1 < WARM_PAGES_EACH >> order;
        // relaxed: a guess; it is repeated under the latch.
        if !is_room(warm.load(Ordering::Relaxed)) {
            return false;
        }
        self.fill_with_zeros(page, pages);
        let _taken = self.latch.take();
        // relaxed, all: the latch orders it.
        let kept = warm.load(Ordering::Relaxed);
        if !is_room(kept) {
            return false;
        }
        let (next, count) = halves(kept);
        self.link(page, next);
        warm.store(both(page, count + 1), Ordering::Relaxed);
        self.warm_bytes.fetch_add(bytes_of(1 << order), Ordering::Relaxed);
        true
    }

    /// Keeps a large run, filled with zeros, unless a run of the same size is kept already. Another size is replaced:
    /// the tables of several lanes grow alike, so the next run that is taken often has the size of the last run that
    /// was given back. Returns the run that is not kept, with its number of pages; page 0 if there is none.
    fn keep_large(&self, page: u32, pages: u32) -> (u32, u32) {
        let is_new = |kept| halves(kept).0 == 0 || order_of(pages) != order_of(halves(kept).1);
        // relaxed: a guess; it is repeated under the latch.
        if pages > WARM_PAGES_MAX || !is_new(self.warm_large.load(Ordering::Relaxed)) {
            return (page, pages);
        }
        self.fill_with_zeros(page, pages);
        let _taken = self.latch.take();
        // relaxed, all: the latch orders it.
        let kept = self.warm_large.load(Ordering::Relaxed);
        if !is_new(kept) {
            return (page, pages);
        }
        self.warm_large.store(both(page, pages), Ordering::Relaxed);
        self.warm_bytes.fetch_add(bytes_of(pages), Ordering::Relaxed);
        self.warm_bytes.fetch_sub(bytes_of(halves(kept).1), Ordering::Relaxed);
        halves(kept)
    }

    /// Lists a run by its size, and returns its pages to the system. If the run becomes a trunk, its first page is not
    /// returned.
    fn list(&self, page: u32, pages: u32) {
        let order = order_of(pages);
        let list = &self.free_runs[order];
        let has_room = |word| halves(word).0 != 0 && (halves(word).1 as usize) < TRUNK_LEAVES;
        // relaxed, both: the flag was written before the region was published; the list is a guess, repeated under the
        // latch.
        let is_in_file = self.in_file.load(Ordering::Relaxed) != 0;
        let stays = u32::from(!has_room(list.load(Ordering::Relaxed)));
        if is_in_file {
            // The file's blocks stay allocated, so that no later write can fail.
            self.fill_with_zeros(page, pages);
        } else {
            self.fill_with_zeros(page, stays);
            // Extends to the end of the run, so that more of the system's pages, which may be larger, are whole.
            address_space::discard(self.at(page + stays), bytes_of((1 << order) - stays) as usize);
        }
        let _taken = self.latch.take();
        // relaxed, all: the latch orders it.
        let word = list.load(Ordering::Relaxed);
        let is_trunk = stays > 0 || !has_room(word);
        let (trunk, leaves) = halves(word);
        if is_trunk {
            // SAFETY: P2, this thread gives the run back, and the run is filled with zeros.
            unsafe { &mut *self.trunk(page) }.before = word;
            list.store(both(page, 0), Ordering::Relaxed);
        } else {
            // SAFETY: P2, the trunk is in a list, and the latch is held.
            unsafe { &mut *self.trunk(trunk) }.leaves[leaves as usize] = page;
            list.store(both(trunk, leaves + 1), Ordering::Relaxed);
        }
        self.warm_bytes.fetch_add(self.listed_bytes(page, order, is_trunk), Ordering::Relaxed);
    }

    /// Takes a run of this size, filled with zeros, out of its list. Returns `None` if the list is empty. The caller
    /// holds the latch.
    fn unlist(&self, order: usize) -> Option<u32> {
        let list = &self.free_runs[order];
        // relaxed, all: the latch orders it.
        let (trunk, leaves) = halves(list.load(Ordering::Relaxed));
        if trunk == 0 {
            return None;
        }
        // SAFETY: P2, the trunk is in a list, and the latch is held.
        let page = unsafe { &mut *self.trunk(trunk) };
        let last = (leaves as usize).checked_sub(1).and_then(|last| page.leaves.get_mut(last));
        let (run, rest) = match last {
            Some(leaf) => (std::mem::take(leaf), both(trunk, leaves - 1)),
            None => (trunk, std::mem::take(&mut page.before)),
        };
        list.store(rest, Ordering::Relaxed);
        self.warm_bytes.fetch_sub(self.listed_bytes(run, order, run == trunk), Ordering::Relaxed);
        Some(run)
    }

    fn trunk(&self, page: u32) -> *mut Trunk {
        self.at(page).cast()
    }

    /// Returns the number of bytes of a listed run that stay resident.
    fn listed_bytes(&self, page: u32, order: usize, is_trunk: bool) -> u64 {
        let stays = u32::from(is_trunk);
        // relaxed: written before the region was published.
        let is_in_file = self.in_file.load(Ordering::Relaxed) != 0;
        let cold = if is_in_file { 0 } else { bytes_of((1 << order) - stays) };
        bytes_of(1 << order) - address_space::discardable(self.at(page + stays), cold as usize) as u64
    }

    fn fill_with_zeros(&self, page: u32, pages: u32) {
        // SAFETY: P2, the caller owns the run, which it gives back.
        unsafe { self.at(page).write_bytes(0, bytes_of(pages) as usize) };
    }

    /// Writes the page number of the next kept run into the run at `page`. The caller holds the latch.
    fn link(&self, page: u32, next: u32) {
        // SAFETY: P2, the run is given back and not yet in a list.
        unsafe { self.at(page).cast::<u32>().write(next) };
    }

    /// Takes the page number of the next kept run out of the run at `page`. The caller holds the latch.
    fn unlink(&self, page: u32) -> u32 {
        // SAFETY: P2, the run is kept, and `link` wrote its first word under the same latch.
        unsafe { self.at(page).cast::<u32>().replace(0) }
    }

    /// Returns the address of a page. The address is constant for the life of the region.
    #[inline(always)]
    pub(crate) fn at(&self, page: u32) -> *mut u8 {
        let base = std::ptr::from_ref(self).cast::<u8>().cast_mut();
        // A page number that was taken lies inside the reservation, and so does its address.
        base.wrapping_add(page as usize * PAGE_BYTES)
    }

    /// Returns the number of pages of the region, including the head.
    pub(crate) fn reserved(&self) -> u32 {
        // relaxed: written before the region was published.
        self.reserved_pages.load(Ordering::Relaxed)
    }

    /// Returns the number of pages of the region that were ever taken, including the head.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> u32 {
        // relaxed: a figure.
        self.next_page.load(Ordering::Relaxed)
    }

    /// Returns the bytes that are taken, by [`For`]. Kept runs and the head are counted as tables.
    pub(crate) fn held_bytes_by_use(&self) -> [u64; For::COUNT] {
        // relaxed, both: figures for reports. In the region of a killed process they may have any value.
        let mut held = self.held_bytes.each_ref().map(|held| held.load(Ordering::Relaxed));
        let tables = &mut held[For::Tables as usize];
        *tables = tables.saturating_add(self.warm_bytes.load(Ordering::Relaxed));
        held
    }

    /// Returns the bytes that are taken or kept, including the head.
    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held_bytes_by_use().iter().sum()
    }

    /// Returns a whole region to the system. The caller has the only reference to it.
    pub(crate) fn release(this: NonNull<Pages>) {
        // SAFETY: P1, the head is mapped until the last call of `address_space::release` below.
        let pages = unsafe { this.as_ref() };
        // relaxed, both: only the caller has a reference to the region now.
        if pages.is_mapped.load(Ordering::Relaxed) != 0 || pages.in_file.load(Ordering::Relaxed) != 0 {
            return address_space::release(this.cast(), bytes_of(pages.reserved()) as usize);
        }
        for step in (0..pages.sparse.pages() / STEP_PAGES).filter(|step| pages.sparse.is_committed(*step)) {
            if let Some(start) = NonNull::new(pages.at(pages.reserved() - (step + 1) * STEP_PAGES)) {
                address_space::release(start, bytes_of(STEP_PAGES) as usize);
            }
        }
        let committed = pages.committed_pages.load(Ordering::Relaxed);
        address_space::release(this.cast(), bytes_of(committed) as usize);
    }

    /// Moves the end of the taken pages up by `count`, and commits more pages if necessary. Returns the first new page.
    /// The caller holds the latch.
    fn extend(&self, count: u32) -> Option<u32> {
        // relaxed, all: the latch orders them.
        let page = self.next_page.load(Ordering::Relaxed);
        let end = page.checked_add(count)?;
        let ceiling = self.ceiling();
        if end > ceiling {
            return None;
        }
        let committed = self.committed_pages.load(Ordering::Relaxed);
        if end > committed {
            let wanted = end.next_multiple_of(COMMIT_PAGES).min(ceiling);
            if !self.commit(committed, wanted - committed) {
                return None;
            }
            self.committed_pages.store(wanted, Ordering::Relaxed);
        }
        self.next_page.store(end, Ordering::Relaxed);
        Some(page)
    }

    #[cold]
    fn refuse(&self) -> Option<u32> {
        // relaxed: a figure for reports.
        self.refused.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// Returns the page and the number of a word that [`both`] made.
#[inline(always)]
pub(crate) fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> u32::BITS) as u32)
}

/// Packs a page and a number into one word, so that both are written at once. A reader of a killed process's memory
/// then never sees one without the other.
#[inline(always)]
pub(crate) fn both(page: u32, number: u32) -> u64 {
    u64::from(page) | u64::from(number) << u32::BITS
}

fn bytes_of(pages: u32) -> u64 {
    u64::from(pages) * PAGE_BYTES as u64
}

fn order_of(pages: u32) -> usize {
    pages.max(1).next_power_of_two().trailing_zeros() as usize
}

#[cfg(test)]
mod tests;
