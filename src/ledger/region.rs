//! The head of the ledger's memory region: a struct with all parts of the ledger, and access to the lanes.

use std::ptr::NonNull;

use super::changes::Changes;
use super::fold_state::{LANE_PAGES, lane_at};
use super::live::LiveTable;
use super::peak::{Booked, PeakCell};
use super::remote_frees::RemoteFreeTable;
use super::rows::Rows;
use super::sampled::SampledSet;
use super::scopes::Scopes;
use super::sites::Sites;
use super::ticks::{Stamps, Ticks};
use super::timeline::Timeline;
use super::trace_buffer::TraceBuffer;
use crate::profile::{ClockMode, LossReason};
use crate::ring::lane::Lane;
use crate::ring::registry::{Claimed, Registry};
use crate::sys::box_file::BoxFile;
use crate::sys::clock::Clock;
use crate::sys::latch::{Latch, wait};
use crate::sys::pages::{For, PAGE_BYTES, Pages};
use crate::sys::sync::{AtomicU32, AtomicU64, Ordering};

/// Maximum number of steps that a new thread waits while a snapshot holds all lanes. The steps take about a second.
const FROZEN_ROUNDS_MAX: u32 = 20_000;

/// Number of stamps of events of heapledger itself that are kept. A window that is booked after more such events than
/// this has no span: all its events are dated at its mark.
pub(crate) const INTERNAL_STAMPS: usize = 8192;

/// The head of the region. All zero bytes after `pages` are a valid, empty ledger.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) pages: Pages,
    pub(crate) clock: Clock,
    pub(crate) facts: Facts,
    /// Latch of the ordered fold.
    pub(crate) order: Latch,
    /// Whether every event carries a time stamp, so that lanes are folded in the order of the stamps.
    ordered: AtomicU32,
    /// Number of snapshots that hold the latches of all lanes. While the number is not 0, no lane is given out.
    frozen: AtomicU32,
    pub(crate) booked: Booked,
    pub(crate) peak: PeakCell,
    pub(crate) sites: Sites,
    pub(crate) rows: Rows,
    pub(crate) scopes: Scopes,
    pub(crate) ticks: Ticks<256>,
    /// Stamps of the events of heapledger itself, by which windows are cut: see `recorder::stamps`.
    pub(crate) internal_stamps: Stamps<INTERNAL_STAMPS>,
    pub(crate) changes: Changes,
    pub(crate) sampled: SampledSet,
    pub(crate) live: LiveTable,
    pub(crate) timeline: Timeline,
    pub(crate) remote_frees: RemoteFreeTable,
    pub(crate) trace_buffer: TraceBuffer,
    pub(crate) lanes: Registry,
}

/// Facts about the process and the start of the ledger, and the description of its black box.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) started_unix_ns: AtomicU64,
    pub(crate) process_id: AtomicU32,
    /// Id of the parent process, if this process was forked while the parent had a ledger; otherwise 0.
    pub(crate) forked_from: AtomicU32,
    /// Page of the store of stacks; 0 while there is none. `rules_page` is the page of the table of unwind rules; 0
    /// while stacks are not walked.
    stacks_page: AtomicU32,
    rules_page: AtomicU32,
    /// Number of events that no lane could record, by reason, since the ledger was opened.
    pub(crate) unlaned: [AtomicU64; LossReason::COUNT],
    /// Whether the recording ended normally.
    pub(crate) ended: AtomicU32,
    /// Page of the black box's metadata in the high half, length of the metadata in bytes in the low half; 0 without
    /// metadata. One word holds both, because two threads may write them, and the process may be killed at any time.
    metadata: AtomicU64,
    /// Page of the live page (figures for other processes); 0 while there is none.
    live_page: AtomicU32,
    /// Number of pages of the program's heap that hold copies of unwind tables.
    copied_pages: AtomicU32,
}

impl Facts {
    /// Returns the pages of the store of stacks and of the table of unwind rules, if there is a store.
    #[inline(always)]
    pub(crate) fn stacks(&self) -> Option<(u32, u32)> {
        // relaxed: a thread that walks stacks has acquired the setting of how stacks are walked. The pages were stored
        // before that setting was published.
        let store = self.stacks_page.load(Ordering::Relaxed);
        (store != 0).then(|| (store, self.rules_page.load(Ordering::Relaxed)))
    }

    /// Returns the page of the metadata and its length in bytes.
    pub(crate) fn metadata(&self) -> (u32, u32) {
        // relaxed: read from a file that nobody writes.
        let metadata = self.metadata.load(Ordering::Relaxed);
        ((metadata >> 32) as u32, metadata as u32)
    }

    /// Returns the page of the live page, if there is one.
    pub(crate) fn live_page(&self) -> Option<u32> {
        // Acquire: pairs with the release in `publish_live_page`.
        Some(self.live_page.load(Ordering::Acquire)).filter(|page| *page != 0)
    }

    /// Publishes the live page.
    pub(crate) fn publish_live_page(&self, page: u32) {
        // Release: pairs with the acquire in `live_page`; a reader that sees the page's number sees its initial
        // contents.
        self.live_page.store(page, Ordering::Release);
    }

    /// Sets the bytes of the program's heap that hold copies of unwind tables.
    pub(crate) fn set_copied_bytes(&self, bytes: u64) {
        let pages = bytes.div_ceil(PAGE_BYTES as u64);
        // relaxed: a statistic, which needs no ordering.
        self.copied_pages.store(u32::try_from(pages).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Returns the bytes of the program's heap that hold copies of unwind tables, in whole pages.
    pub(crate) fn copied_bytes(&self) -> u64 {
        // relaxed: a statistic, which needs no ordering.
        u64::from(self.copied_pages.load(Ordering::Relaxed)) * PAGE_BYTES as u64
    }

    /// Returns the offsets, in bytes, of the fields that a reader of a running process reads: id of the process,
    /// metadata and live page.
    #[cfg(any(test, feature = "read"))]
    pub(crate) const fn offsets() -> [u64; 3] {
        use std::mem::offset_of;
        let facts = offset_of!(Ledger, facts) as u64;
        [
            facts + offset_of!(Facts, process_id) as u64,
            facts + offset_of!(Facts, metadata) as u64,
            facts + offset_of!(Facts, live_page) as u64,
        ]
    }

    /// Returns the page of the store of stacks, if there is one. Unlike [`Facts::stacks`], the function may also be
    /// called by a thread that may not walk stacks.
    pub(crate) fn store_of_stacks(&self) -> Option<u32> {
        // Acquire: pairs with the release in `offer_store`.
        Some(self.stacks_page.load(Ordering::Acquire)).filter(|page| *page != 0)
    }

    /// Publishes a store of stacks, unless one is published already. Returns the page of the published store.
    pub(crate) fn offer_store(&self, store: u32) -> u32 {
        // Release, and acquire of another thread's store: see `store_of_stacks`.
        let published = self.stacks_page.compare_exchange(0, store, Ordering::AcqRel, Ordering::Acquire);
        published.map_or_else(|other| other, |_| store)
    }

    /// Publishes the store of stacks and the table of unwind rules to other threads.
    pub(crate) fn publish_stacks(&self, store: u32, rules: u32) {
        // relaxed, both: published with the setting of how stacks are walked.
        self.rules_page.store(rules, Ordering::Relaxed);
        self.stacks_page.store(store, Ordering::Relaxed);
    }
}

impl Ledger {
    /// Opens a ledger in a fresh region of no more than `limit_bytes`. The ledger is never closed: a reference to it is
    /// valid for the rest of the process.
    pub(crate) fn open(limit_bytes: u64, clock: ClockMode) -> Option<&'static Ledger> {
        Ledger::begin(Pages::reserve(limit_bytes, size_of::<Ledger>())?, clock)
    }

    /// Opens a ledger in a file, which outlives the process.
    pub(crate) fn open_in_file(
        file: &BoxFile,
        layout: u64,
        version: [u8; 16],
        clock: ClockMode,
    ) -> Option<&'static Ledger> {
        Ledger::begin(Pages::in_file(file, size_of::<Ledger>(), layout, version)?, clock)
    }

    fn begin(region: NonNull<Pages>, clock: ClockMode) -> Option<&'static Ledger> {
        // SAFETY: P1, the head was reserved with the size of a ledger, is zeroed, and is never released once this
        // function has returned it.
        let ledger: &'static Ledger = unsafe { region.cast::<Ledger>().as_ref() };
        if !ledger.sites.open(&ledger.pages) || !ledger.rows.open(&ledger.pages) {
            Pages::release(region);
            return None;
        }
        ledger.clock.start(clock == ClockMode::Monotonic);
        // relaxed, all of these: published with the ledger.
        ledger.ordered.store(u32::from(clock == ClockMode::PerEvent), Ordering::Relaxed);
        if clock == ClockMode::PerEvent {
            ledger.live.set_in_order();
        }
        ledger.facts.started_unix_ns.store(crate::sys::platform::unix_time_ns(), Ordering::Relaxed);
        ledger.facts.process_id.store(crate::sys::platform::process_id(), Ordering::Relaxed);
        Some(ledger)
    }

    /// Returns a lane for a new thread, with `true` if an ended thread has used the lane before. Returns `None` if
    /// there are too many threads or no memory.
    pub(crate) fn claim_lane(&self) -> Option<(&'static Lane, bool)> {
        for round in 0..FROZEN_ROUNDS_MAX {
            // relaxed: a thread that misses the freeze may make a lane that the snapshot does not hold. The snapshot
            // counts the lanes again at its end, and is then repeated.
            if self.frozen.load(Ordering::Relaxed) == 0 {
                break;
            }
            wait(round);
        }
        match self.lanes.claim() {
            Claimed::Reused(index) => Some((self.lane(index)?, true)),
            Claimed::Full => None,
            Claimed::Fresh(index) => {
                let page = self.pages.take(LANE_PAGES, For::Rings)?;
                // SAFETY: B1, the run was taken for this lane.
                let lane = unsafe { lane_at(&self.pages, page) };
                // relaxed: published with the lane.
                lane.cold.index.store(index, Ordering::Relaxed);
                self.lanes.publish(index, page);
                Some((lane, false))
            }
        }
    }

    /// Writes the metadata of a black box to a new run of pages, and gives the old run back. The metadata contains
    /// facts about the process that are nowhere else in the region.
    pub(crate) fn set_metadata(&self, metadata: &[u8]) {
        let pages = (metadata.len().div_ceil(PAGE_BYTES)).max(1) as u32;
        let Some(page) = self.pages.take(pages, For::Tables) else { return };
        // SAFETY: P2, the run is ours, and as long as the metadata.
        unsafe { self.pages.at(page).copy_from_nonoverlapping(metadata.as_ptr(), metadata.len()) };
        let now = u64::from(page) << 32 | metadata.len() as u64;
        // relaxed: read from a file, when the process is gone.
        let before = self.facts.metadata.swap(now, Ordering::Relaxed);
        if before != 0 {
            let bytes = before as u32 as usize;
            self.pages.give_back(
                (before >> 32) as u32,
                bytes.div_ceil(PAGE_BYTES).max(1) as u32,
                For::Tables,
            );
        }
    }

    /// Stops giving out lanes, so that a snapshot can hold all of them.
    pub(crate) fn freeze(&self) {
        // relaxed: see `claim_lane`.
        self.frozen.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends a freeze.
    pub(crate) fn thaw(&self) {
        // relaxed: see `claim_lane`.
        self.frozen.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns the lane with this number, if it has been published.
    pub(crate) fn lane(&self, index: u32) -> Option<&'static Lane> {
        let page = self.lanes.page(index)?;
        // SAFETY: B1, the registry holds pages of lanes only, and the ledger is never released.
        Some(unsafe { lane_at(&self.pages, page) })
    }

    /// Returns all lanes that have been published.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = &'static Lane> + '_ {
        (0..self.lanes.count()).filter_map(|index| self.lane(index))
    }

    /// Notes that blocks may be sampled out (not recorded) from now on. `begins` is true if frees were recorded without
    /// their whole size until now.
    pub(crate) fn use_sampling(&self, begins: bool) {
        // An ordered fold books all lanes in the order of their stamps, so it needs no transition (W3 of
        // `fold::flush`).
        let begins = begins && !self.is_ordered();
        self.live.begin_sampling(begins.then(|| self.clock.now_ns().max(1)));
    }

    pub(crate) fn is_sampling_used(&self) -> bool {
        self.live.is_sampling_used()
    }

    pub(crate) fn is_ordered(&self) -> bool {
        // relaxed: written before the ledger was published.
        self.ordered.load(Ordering::Relaxed) != 0
    }
}
