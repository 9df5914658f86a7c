//! The lane: one thread's ring with its counters. The thread and the folder write to different cache lines of it.

use std::sync::atomic::compiler_fence;

use super::cursor::{Head, Oldest, Stamping, Tail};
use crate::profile::LossReason;
use crate::sys::latch::Latch;
use crate::sys::pages::{PAGE_BYTES, Pages};
use crate::sys::signal_safe_counter::SignalSafeCounter;
use crate::sys::sync::{AtomicU32, AtomicU64, Ordering};

/// Words in a segment.
pub(crate) const SEGMENT_WORDS: u64 = 1024;
/// Pages of a segment.
pub(crate) const SEGMENT_PAGES: u32 = (SEGMENT_WORDS as usize * 8 / PAGE_BYTES) as u32;
/// Maximum number of segments of a lane, which is the length of its table of segments.
pub(crate) const SEGMENT_SLOTS: u64 = 64;
/// Number of words that a thread books at a time while booking is costly.
pub(crate) const COSTLY_WORDS: u64 = 256;
/// Maximum number of words of a window after its mark. Eight full windows fill a segment.
pub(crate) const WINDOW_WORDS: u64 = 127;

/// Value of [`Lane::stack_needs`] for a thread that walks stacks and is in no scope.
pub(crate) const WALKS_ONLY: u64 = if cfg!(target_endian = "little") { 1 } else { 1 << 32 };

/// Number of buckets for the durations of slow paths. The last bucket holds all durations above a second.
pub(crate) const SLOW_PATH_BUCKETS: usize = 32;

const _: () = assert!(SEGMENT_WORDS.is_power_of_two() && SEGMENT_SLOTS.is_power_of_two());
const _: () =
    assert!(WINDOW_WORDS <= super::event::MARK_OPEN && SEGMENT_WORDS.is_multiple_of(WINDOW_WORDS + 1));
const _: () = assert!(size_of::<Lane>() <= 1024);

/// One thread's ring with its counters. All zero bytes are a valid lane with a closed gate and no segments.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Lane {
    /// The cache line of the hot path; written by the thread only.
    pub(crate) hot: Hot,
    /// State of the slow path; written by the thread only.
    pub(crate) cold: Cold,
    /// State of the folder; written by the holder of the latch only.
    pub(crate) folder: Folder,
    /// Page of each segment, indexed by the segment's number modulo `SEGMENT_SLOTS`. Written by the thread only.
    segments: [AtomicU32; SEGMENT_SLOTS as usize],
}

/// Number of folds during which [`Folder::gives_blocks`] stays true after frees of other lanes have found blocks in the
/// nursery.
const HAND_OVER_FOLDS: u32 = 64;

/// Maximum number of times that a thread reads the level again because it has changed.
const LEVEL_ROUNDS: u32 = 8;

/// The cache line of the hot path.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Hot {
    pub(crate) head: Head,
    /// End of the words that the thread may write; 0 while the gate is closed.
    limit: AtomicU64,
    /// The epoch in which the current window was opened.
    epoch: AtomicU64,
    /// Address that word 0 would have if the current segment reached back to word 0.
    base: AtomicU64,
    /// Number of events that the thread attempted on this lane, including lost events, but without nested events.
    attempted: AtomicU64,
    /// What the thread's allocations need for their stacks. If they need nothing, both words are 0, which one load
    /// tells.
    needs: StackNeeds,
}

/// What a thread's allocations need for their stacks: a walk, the frames of a scope, or both.
#[repr(C, align(8))]
#[derive(Debug)]
struct StackNeeds {
    /// Whether the thread walks stacks: nonzero if it does.
    walks: AtomicU32,
    /// Number of the thread's current scope; 0 outside scopes.
    scope: AtomicU32,
}

/// The thread's state off the hot path.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Cold {
    pub(crate) oldest: Oldest,
    pub(crate) stamping: Stamping,
    /// Value of `limit` while the gate is open: the end of the current window.
    pub(crate) window_end: AtomicU64,
    /// Index of the current window's time mark.
    pub(crate) mark_index: AtomicU64,
    /// Time at which the current window was opened, in nanoseconds.
    pub(crate) opened_ns: AtomicU64,
    /// Score of windows that stayed open for long. Each such window raises the score; each other window lowers it by
    /// one. See `recorder::background_thread`.
    pub(crate) slow_windows: AtomicU32,
    /// Nesting depth of internal scopes (`recorder::internal`), in which events are heapledger's.
    pub(crate) own_depth: AtomicU32,
    /// Nesting depth of pauses of recording (`recorder::internal`).
    pub(crate) paused_depth: AtomicU32,
    /// Whether the slow path is writing a record.
    pub(crate) writing: AtomicU32,
    /// Number of segments that the lane holds.
    pub(crate) segments_held: AtomicU32,
    /// Index of the lane in the registry.
    pub(crate) index: AtomicU32,
    /// Number of slow paths taken since the lane was opened.
    pub(crate) slow_paths: AtomicU64,
    /// Number of folds of this lane by its thread.
    pub(crate) folds_at_home: AtomicU64,
    /// Number of nested events: events of signal handlers that found the gate closed. No other counter of the lane
    /// includes them.
    pub(crate) nested: AtomicU64,
    /// Number of failed allocations. They are not counted as events.
    pub(crate) failed: AtomicU64,
    /// The level at which the thread records: a `state::Level`.
    pub(crate) level: AtomicU32,
    /// State of the thread's sampler: bytes until the next sampled block, random state, and rate.
    pub(crate) distance: AtomicU64,
    pub(crate) random: AtomicU64,
    pub(crate) rate: AtomicU64,
    /// Sums of the events that were sampled out.
    pub(crate) sampled_out: SampledOut,
    pub(crate) waits: AtomicU64,
    pub(crate) overflow_segments: AtomicU64,
    lost: [AtomicU64; LossReason::COUNT],
    /// State of the thread's stack walks.
    pub(crate) walker: Walker,
    /// Total duration of timed slow paths in nanoseconds; `slow_path_ns` counts these paths by power of two of
    /// nanoseconds.
    pub(crate) timed_ns: AtomicU64,
    pub(crate) slow_path_ns: [AtomicU32; SLOW_PATH_BUCKETS],
}

/// State of the stack walks of a thread. Written by the thread only.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Walker {
    /// Lowest address that is known to belong to the thread's stack. `high` is the first address above the stack; it is
    /// 0 while the stack is unknown.
    pub(crate) low: AtomicU64,
    pub(crate) high: AtomicU64,
    /// Lowest address to which the stack can grow.
    pub(crate) floor: AtomicU64,
    /// Number of windows that the thread opened while its stack was unknown.
    pub(crate) tries: AtomicU64,
    /// First page of the cache that maps hashes to stacks. `cache_start` is the address of the cache. The cache has
    /// 2^(64 - `cache_shift`) places. All three are 0 while there is no cache.
    cache_page: AtomicU32,
    pub(crate) cache_shift: AtomicU32,
    cache_start: AtomicU64,
    /// Number of entries that were replaced in the cache since it last grew.
    pub(crate) cache_crowded: AtomicU32,
    /// Value of `stack::unwind::reused` at which the cache was last checked.
    pub(crate) reused: AtomicU32,
    /// Address of the memory for the thread's last walk (`stack::replay`); 0 while there is none.
    pub(crate) replay: AtomicU64,
    /// Allocated bytes until the next sampled stack, with `Stacks::Sampled`.
    pub(crate) distance: AtomicU64,
    pub(crate) random: AtomicU64,
    /// Number of stacks walked. This field and the following four are the counts of `StackFigures`.
    pub(crate) taken: AtomicU64,
    pub(crate) truncated: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) full: AtomicU64,
    pub(crate) sampled_out: AtomicU64,
}

impl Walker {
    /// Returns an entry of the cache. `place` is below the number of places, 2^(64 - `cache_shift`).
    #[inline(always)]
    pub(crate) fn cache_entry(&self, place: usize) -> &AtomicU64 {
        // relaxed: only the lane's thread uses the cache.
        let start = self.cache_start.load(Ordering::Relaxed) as usize;
        // SAFETY: I6, the place lies in the cache, which stays mapped.
        unsafe { &*std::ptr::with_exposed_provenance::<AtomicU64>(start + 8 * place) }
    }

    /// Returns all entries of the cache; an empty slice while there is no cache.
    pub(crate) fn cache_entries(&self) -> &[AtomicU64] {
        // relaxed: only the lane's thread uses the cache.
        match self.cache_shift.load(Ordering::Relaxed) {
            0 => &[],
            // SAFETY: I6, a cache has 2^(64 - shift) places, and stays mapped.
            shift => unsafe {
                std::slice::from_raw_parts(self.cache_entry(0), 1usize << (u64::BITS - shift))
            },
        }
    }

    /// Sets a run of zeroed pages as the cache. Returns the page of the previous cache.
    pub(crate) fn set_cache(&self, pages: &Pages, page: u32, shift: u32) -> u32 {
        let start = pages.at(page).expose_provenance() as u64;
        // relaxed, all: only the lane's thread uses these words. Its gate is closed, so no signal handler walks a stack
        // during this call.
        let before = self.cache_page.load(Ordering::Relaxed);
        self.cache_page.store(page, Ordering::Relaxed);
        self.cache_start.store(start, Ordering::Relaxed);
        self.cache_shift.store(shift, Ordering::Relaxed);
        before
    }
}

/// Counts of sampled-out events and their bytes. Written by the thread only.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct SampledOut {
    pub(crate) allocs: SignalSafeCounter,
    pub(crate) frees: SignalSafeCounter,
    /// Blocks whose realloc failed. Each was counted as a free and as an allocation, and the totals subtract both.
    pub(crate) restored: SignalSafeCounter,
}

/// The folder's cache line.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) latch: Latch,
    pub(crate) tail: Tail,
    /// Whether an ordered fold holds the latch.
    in_order: AtomicU32,
    /// Whether the last fold was costly in proportion to its length.
    costly: AtomicU32,
    /// Lowest bit: whether frees of the last fold did not find their blocks in the lane's nursery. Other bits: the
    /// number of further folds during which [`Folder::gives_blocks`] stays true.
    hand_over: AtomicU32,
    /// Number of costly folds minus the number of other folds, with 0 as the lower limit.
    costly_balance: AtomicU32,
    /// Maximum number of words that were waiting at the start of a fold.
    pub(crate) high_water: AtomicU64,
    /// Maximum number of words that were waiting at the start of a fold, since the last step of the tuner.
    pub(crate) recent_high_water: AtomicU64,
    pub(crate) folds_away: AtomicU64,
    /// Time of the last event that was booked, in nanoseconds.
    reached_ns: AtomicU64,
}

impl Folder {
    /// Stores the time up to which the lane is booked. Called by the holder of the latch.
    pub(crate) fn note_reached(&self, at_ns: u64) {
        // relaxed: a hint for the choice of the lane that is booked next.
        self.reached_ns.store(at_ns, Ordering::Relaxed);
    }

    /// Returns the time up to which the lane is booked, in nanoseconds.
    pub(crate) fn reached_ns(&self) -> u64 {
        // relaxed: a hint.
        self.reached_ns.load(Ordering::Relaxed)
    }

    /// Stores whether an ordered fold holds the latch. Called by the holder of the latch.
    pub(crate) fn in_order(&self, held: bool) {
        // relaxed: only the same ordered fold reads it, and there is one ordered fold at a time.
        self.in_order.store(u32::from(held), Ordering::Relaxed);
    }

    /// Stores whether the last fold was costly in proportion to its length. Called by the holder of the latch.
    pub(crate) fn note_costly(&self, is_costly: bool) {
        let balance = self.costly_balance();
        let now = if is_costly { balance.saturating_add(1) } else { balance.saturating_sub(1) };
        // relaxed, both: hints to the lane's thread.
        self.costly.store(u32::from(is_costly), Ordering::Relaxed);
        self.costly_balance.store(now, Ordering::Relaxed);
    }

    /// Stores two findings of a fold: whether its frees did not find their blocks in the lane's nursery, and whether
    /// frees of other lanes found their blocks there. Called by the holder of the latch.
    pub(crate) fn note_hand_over(&self, has_remote_frees: bool, gives_blocks: bool) {
        // relaxed, both: a hint to the threads.
        let folds = self.hand_over.load(Ordering::Relaxed) >> 1;
        let folds = if gives_blocks { HAND_OVER_FOLDS } else { folds.saturating_sub(1) };
        self.hand_over.store(folds << 1 | u32::from(has_remote_frees), Ordering::Relaxed);
    }

    /// Returns whether frees of the last fold did not find their blocks in the lane's nursery.
    pub(crate) fn has_remote_frees(&self) -> bool {
        // relaxed: a hint.
        self.hand_over.load(Ordering::Relaxed) & 1 != 0
    }

    /// Returns whether the lane's nursery is likely to have blocks that other lanes free: recent frees of other lanes
    /// found blocks there, or folding the lane is costly.
    pub(crate) fn gives_blocks(&self) -> bool {
        // relaxed: a hint.
        self.hand_over.load(Ordering::Relaxed) > 1 || self.is_costly()
    }

    /// Returns the number of costly folds minus the number of other folds, with 0 as the lower limit.
    pub(crate) fn costly_balance(&self) -> u32 {
        // relaxed: a hint.
        self.costly_balance.load(Ordering::Relaxed)
    }

    /// Resets the balance of costly folds. A concurrent fold may undo the reset, or its result may be lost.
    pub(crate) fn reset_costly_balance(&self) {
        // relaxed: a hint.
        self.costly_balance.store(0, Ordering::Relaxed);
    }

    /// Returns whether the last fold was costly in proportion to its length.
    pub(crate) fn is_costly(&self) -> bool {
        // relaxed: a hint.
        self.costly.load(Ordering::Relaxed) != 0
    }

    /// Returns the number of waiting words at which the thread books its ring. It is smaller while booking is costly,
    /// so that no single event takes long.
    pub(crate) fn words_before_help(&self) -> u64 {
        if self.is_costly() { COSTLY_WORDS } else { SEGMENT_WORDS }
    }

    /// Returns whether the lane is part of the current ordered fold. A lane that was published during the fold is not
    /// part of it.
    pub(crate) fn is_in_order(&self) -> bool {
        // relaxed: only the ordered fold that wrote it reads it.
        self.in_order.load(Ordering::Relaxed) != 0
    }
}

impl Lane {
    #[inline(always)]
    pub(crate) fn head(&self) -> &Head {
        &self.hot.head
    }

    pub(crate) fn stamping(&self) -> &Stamping {
        &self.cold.stamping
    }

    /// Closes the gate and returns its previous limit; 0 if the gate was already closed.
    #[inline(always)]
    pub(crate) fn close_gate(&self) -> u64 {
        // relaxed, as every access here: the cache line belongs to one thread. A signal handler of the thread sees
        // program order, which the compiler fences of the caller preserve.
        let limit = self.hot.limit.load(Ordering::Relaxed);
        self.hot.limit.store(0, Ordering::Relaxed);
        limit
    }

    #[inline(always)]
    pub(crate) fn open_gate(&self, limit: u64) {
        // relaxed: see `close_gate`.
        self.hot.limit.store(limit, Ordering::Relaxed);
    }

    /// Returns whether the lane's thread is outside every record that it began at level 0, the full level. Another
    /// thread can rely on the result only some time after a change of the level: see `fold::flush`.
    pub(crate) fn is_outside_plain_records(&self) -> bool {
        let cold = &self.cold;
        // relaxed, all: a thread that changes these words later has seen the change of the level.
        self.hot.limit.load(Ordering::Relaxed) != 0
            || cold.level.load(Ordering::Relaxed) != 0
            || cold.own_depth.load(Ordering::Relaxed) != 0
    }

    /// Stores the level at which the lane's thread records. Stores it again if the level has changed meanwhile, so that
    /// other threads never find an old level stored after a change.
    pub(crate) fn store_level(&self, now: impl Fn() -> u32) {
        // A change of the level takes longer than a round, so there are at most two rounds.
        for _ in 0..LEVEL_ROUNDS {
            let level = now();
            // relaxed: only the lane's thread writes the level.
            self.cold.level.store(level, Ordering::Relaxed);
            compiler_fence(Ordering::SeqCst);
            if now() == level {
                return;
            }
        }
    }

    #[inline(always)]
    pub(crate) fn epoch(&self) -> u64 {
        // relaxed: read by its only writer.
        self.hot.epoch.load(Ordering::Relaxed)
    }

    pub(crate) fn set_epoch(&self, epoch: u64) {
        // relaxed: read by its only writer.
        self.hot.epoch.store(epoch, Ordering::Relaxed);
    }

    /// Returns what the thread's allocations need for their stacks: 0 for nothing, [`WALKS_ONLY`] for a walk outside
    /// scopes, any other value in a scope.
    #[inline(always)]
    pub(crate) fn stack_needs(&self) -> u64 {
        let both = (&raw const self.hot.needs).cast::<AtomicU64>();
        // SAFETY: I7, both words lie in one aligned word, and only this thread accesses them.
        // relaxed, here and below: written by the thread itself.
        unsafe { &*both }.load(Ordering::Relaxed)
    }

    /// Returns whether the thread walks stacks.
    #[inline(always)]
    pub(crate) fn walks(&self) -> bool {
        self.hot.needs.walks.load(Ordering::Relaxed) != 0
    }

    /// Sets whether the thread walks stacks.
    pub(crate) fn set_walks(&self, walks: bool) {
        self.hot.needs.walks.store(u32::from(walks), Ordering::Relaxed);
    }

    /// Returns the number of the thread's current scope; 0 outside scopes.
    #[inline(always)]
    pub(crate) fn scope(&self) -> u32 {
        self.hot.needs.scope.load(Ordering::Relaxed)
    }

    /// Returns the address of the number of the thread's current scope.
    pub(crate) fn scope_word(&self) -> *const u32 {
        (&raw const self.hot.needs.scope).cast()
    }

    /// Sets the thread's current scope.
    #[inline(always)]
    pub(crate) fn set_scope(&self, scope: u32) {
        self.hot.needs.scope.store(scope, Ordering::Relaxed);
    }

    /// Counts an event of the thread.
    #[inline(always)]
    pub(crate) fn attempt(&self) {
        // relaxed: one writer; plain load and store, no shared read-modify-write.
        let attempted = self.hot.attempted.load(Ordering::Relaxed);
        self.hot.attempted.store(attempted + 1, Ordering::Relaxed);
    }

    /// Returns the number of events of the thread, including nested ones.
    pub(crate) fn attempted(&self) -> u64 {
        // relaxed: the counters only grow, and a fold has read the booked events before. Wrapping: the lane of a killed
        // process may contain any values.
        self.hot.attempted.load(Ordering::Relaxed).wrapping_add(self.cold.nested.load(Ordering::Relaxed))
    }

    /// Counts an event of the thread as lost.
    pub(crate) fn lose(&self, reason: LossReason) {
        bump(&self.cold.lost[reason as usize]);
    }

    pub(crate) fn lost(&self, reason: LossReason) -> u64 {
        // relaxed: a monotone counter.
        let counted = self.cold.lost[reason as usize].load(Ordering::Relaxed);
        match reason {
            LossReason::Reentrant => counted.wrapping_add(self.cold.nested.load(Ordering::Relaxed)),
            _ => counted,
        }
    }

    /// Returns the number of events that were lost on this lane for any reason, except events for which the live table
    /// was full.
    pub(crate) fn lost_in_all(&self) -> u64 {
        LossReason::ALL.into_iter().map(|reason| self.lost(reason)).fold(0, u64::wrapping_add)
    }

    /// Returns the word with this index, for the thread. The word lies in the current segment.
    ///
    /// # Safety
    /// The current segment was entered by [`Lane::enter_segment`] and holds `index`.
    #[inline(always)]
    pub(crate) unsafe fn own_word(&self, index: u64) -> &AtomicU64 {
        // SAFETY: I2, the caller upholds the contract.
        let [word] = unsafe { self.own_words(index) };
        word
    }

    /// Returns the words from this index on, for the thread. The words lie in the current segment.
    ///
    /// # Safety
    /// The contract of [`Lane::own_word`] holds for each of the words.
    #[inline(always)]
    pub(crate) unsafe fn own_words<const WORDS: usize>(&self, index: u64) -> &[AtomicU64; WORDS] {
        // relaxed: read by its only writer.
        let base = self.hot.base.load(Ordering::Relaxed);
        let address = base.wrapping_add(index.wrapping_mul(8)) as usize;
        // SAFETY: I2, the caller guarantees that the words lie in the lane's current segment, which stays mapped.
        unsafe { &*std::ptr::with_exposed_provenance::<[AtomicU64; WORDS]>(address) }
    }

    /// Returns the words of a segment.
    ///
    /// # Safety
    /// The lane has had a segment with this number, and the segment has not been given back to `pages`.
    pub(crate) unsafe fn segment(&self, pages: &Pages, number: u64) -> *const AtomicU64 {
        // relaxed: the number comes from a cursor, whose ordering also covers the slot.
        let page = self.segments[(number % SEGMENT_SLOTS) as usize].load(Ordering::Relaxed);
        pages.at(page).cast::<AtomicU64>().cast_const()
    }

    /// Returns the page of the segment with this number.
    pub(crate) fn segment_page(&self, number: u64) -> u32 {
        // relaxed: read by its only writer.
        self.segments[(number % SEGMENT_SLOTS) as usize].load(Ordering::Relaxed)
    }

    /// Stores `page` as the page of the segment with this number, and makes that segment the current one.
    pub(crate) fn enter_segment(&self, pages: &Pages, number: u64, page: u32) {
        Oldest::enter_after_others();
        // relaxed, both: the slot is published with the head, and only the thread reads the base.
        self.segments[(number % SEGMENT_SLOTS) as usize].store(page, Ordering::Relaxed);
        let start = pages.at(page).expose_provenance() as u64;
        let base = start.wrapping_sub(number.wrapping_mul(SEGMENT_WORDS * 8));
        self.hot.base.store(base, Ordering::Relaxed);
    }
}

/// Adds one to a counter that one thread writes.
#[inline(always)]
pub(crate) fn bump(counter: &AtomicU64) {
    add(counter, 1);
}

/// Adds to a counter that has one writer at a time: one thread, or the holder of a latch.
#[inline(always)]
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    // relaxed: one writer at a time; plain load and store, no shared read-modify-write.
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
}
