//! The profile of one moment, for queries and dumps.
//!
//! All figures of a profile must be from the same moment, so [`profile`] freezes the ledger: it takes the latch of
//! every lane, books the waiting words, copies the figures, and opens the latches. Threads continue to record during
//! this time. A thread whose ring is full takes segments from the overflow pool. The memory for the copy is allocated
//! before, because nothing may be allocated while a latch is held.

use std::borrow::Cow;
use std::cmp::Reverse;

use super::counters::{self, estimates, peak, stats};
use super::description::{changes_of, clock, process, settings};
use super::history::{history, is_of_the_heap};
use super::stacks::Stacks;
use super::{background, memory, monitor, rows, scopes, stacks};
use crate::dump::rows::Rows;
use crate::fold::state::Fold;
use crate::ledger::Ledger;
use crate::ledger::entry::Entry;
use crate::ledger::fold_state::{LaneCounters, LaneFigures, fold_state_of, lane_counters_of};
use crate::ledger::live::SHARDS;
use crate::ledger::remote_frees::REMOTE_FREE_PAIRS_MAX;
use crate::ledger::scopes::ScopeAccount;
use crate::ledger::site_figures::SiteFigures;
use crate::ledger::sites::SitesCopy;
use crate::ledger::timeline::INTERVALS;
use crate::profile::{Event, LiveBlock, Profile, Site, SiteCurve, Stack};
use crate::quality::QualityCounters;
use crate::recorder::internal::{InternalScope, RecordingPaused};
use crate::ring::lane::Lane;
use crate::sys::latch::Taken;
use crate::sys::sync::Ordering;

/// Number of extra places for blocks that are allocated between the counting and the freezing.
const SLACK_BLOCKS: usize = 4096;
/// Number of extra rows for rows of tables that are added between the counting and the freezing.
const SLACK_ROWS: usize = 64;

/// All recorded data at one moment. The rows of the large tables are made one by one from compact copies, so that a
/// dump needs little memory.
pub(crate) struct Snapshot<'a> {
    /// The profile without the large tables (stacks, sites and live blocks).
    pub(crate) profile: Profile,
    sites: SitesCopy,
    live: Vec<Entry>,
    peak_number: u64,
    stacks: Stacks<'a>,
}

impl Snapshot<'_> {
    /// Returns the whole profile.
    pub(crate) fn into_profile(mut self) -> Profile {
        let mut profile = std::mem::take(&mut self.profile);
        profile.stacks = self.stacks.iter().collect();
        profile.sites = self.sites().map(Cow::into_owned).collect();
        profile.live = self.live().collect();
        profile
    }
}

impl Rows for Snapshot<'_> {
    fn stacks(&self) -> Box<dyn Iterator<Item = Cow<'_, Stack>> + '_> {
        Box::new(self.stacks.iter().map(Cow::Owned))
    }

    fn sites(&self) -> Box<dyn Iterator<Item = Cow<'_, Site>> + '_> {
        let site =
            |(stack, figures): (u32, SiteFigures)| Cow::Owned(figures.to_site(stack, self.peak_number));
        Box::new(self.sites.figures().map(site))
    }

    fn live(&self) -> Box<dyn Iterator<Item = LiveBlock> + '_> {
        Box::new(self.live.iter().map(Entry::live_block))
    }
}

/// Returns the profile of the current moment.
pub(crate) fn profile(ledger: &'static Ledger, scope: &InternalScope, reason: &str) -> Profile {
    snapshot(ledger, scope, reason).into_profile()
}

/// Takes a snapshot. A snapshot with the reason `exit` also closes the trace.
pub(crate) fn snapshot<'a>(ledger: &'static Ledger, scope: &'a InternalScope, reason: &str) -> Snapshot<'a> {
    let _paused = background::pause();
    background::rename_threads(ledger, reason == "exit");
    background::flush(ledger, scope);
    let extent = if reason == "exit" { Extent::Last } else { Extent::Whole };
    let frozen = copy_frozen(ledger, scope, extent);
    let history = history(ledger, scope);
    // The stacks are counted last, so that the count includes all stacks to which copied rows refer.
    let mut snapshot = frozen.into_snapshot(ledger, scope, history, reason, Stacks::count(ledger, scope));
    stacks::describe(&snapshot.stacks, &mut snapshot.profile);
    snapshot
}

/// Returns the profile of the current moment without its live blocks and history, for readers that ask often. The
/// amount of copied data does not grow with the heap.
#[cfg(feature = "serve")]
pub(crate) fn without_blocks(ledger: &'static Ledger, scope: &InternalScope, reason: &str) -> Profile {
    let _paused = background::pause();
    background::flush(ledger, scope);
    let frozen = copy_frozen(ledger, scope, Extent::WithoutBlocks);
    let mut snapshot = frozen.into_snapshot(ledger, scope, Vec::new(), reason, Stacks::count(ledger, scope));
    stacks::describe(&snapshot.stacks, &mut snapshot.profile);
    snapshot.into_profile()
}

/// The extent of a copy.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Whole,
    #[cfg(feature = "serve")]
    WithoutBlocks,
    /// Everything, for the last time. The copy also closes the trace, so the trace contains the events of the copy and
    /// no later events.
    Last,
}

impl Extent {
    fn has_blocks(self) -> bool {
        matches!(self, Extent::Whole | Extent::Last)
    }
}

/// The data that is copied while the ledger is frozen, into memory that was allocated before.
#[derive(Default)]
struct Frozen {
    /// The profile, so far with totals, peak, estimates, intervals, threads and remote frees only. The other parts are
    /// added later.
    profile: Profile,
    counters: QualityCounters,
    live: Vec<Entry>,
    sites: SitesCopy,
    scopes: Vec<ScopeAccount>,
    /// Figures of the running threads, by the numbers of their rows.
    running: Vec<(u32, LaneFigures)>,
    peak_number: u64,
    longest_span_ns: u64,
    at_ns: u64,
}

/// Copies the ledger. If the reserved memory is too small, reserves more and copies again.
fn copy_frozen(ledger: &'static Ledger, scope: &InternalScope, extent: Extent) -> Frozen {
    let mut blocks = 0;
    loop {
        let lanes = ledger.lanes.count() as usize + SLACK_ROWS;
        let mut frozen = Frozen::with_room(ledger, blocks, lanes);
        let mut held: Vec<Held> = Vec::with_capacity(lanes);
        let _paused = RecordingPaused::enter(scope);
        ledger.freeze();
        let fits = take_all(ledger, &mut held)
            && frozen.copy(ledger, &held, extent, &mut blocks)
            // If a thread got its lane during the freeze, the latch of that lane is not held.
            && ledger.lanes().count() == held.len();
        if fits && extent == Extent::Last {
            ledger.trace_buffer.close(&ledger.pages);
        }
        ledger.thaw();
        // This opens the latches one by one, in the order in which they were taken.
        held.clear();
        if fits {
            return frozen;
        }
    }
}

/// A lane with its latch taken.
type Held = (&'static Lane, Taken<'static>);

/// Takes the latch of every lane and books the waiting words. Returns `false` if there are more lanes than expected.
fn take_all(ledger: &'static Ledger, held: &mut Vec<Held>) -> bool {
    for lane in ledger.lanes() {
        if held.len() == held.capacity() {
            return false;
        }
        held.push((lane, lane.folder.latch.take()));
    }
    if ledger.is_ordered() {
        let now_ns = ledger.clock.now_after_loads_ns();
        crate::sys::sync::fence(Ordering::SeqCst);
        // Events of a lane that is not held could be earlier than events that would be booked now.
        if ledger.lanes().count() != held.len() {
            return false;
        }
        held.iter().for_each(|(lane, _)| lane.folder.in_order(true));
        ledger.merge(now_ns);
        held.iter().for_each(|(lane, _)| lane.folder.in_order(false));
    } else {
        for (lane, taken) in held.iter() {
            Fold::begin(ledger, lane, taken).run();
        }
    }
    for (lane, taken) in held.iter() {
        let mut fold = Fold::begin(ledger, lane, taken);
        fold.empty_nursery();
        fold.commit_deltas();
    }
    true
}

impl Frozen {
    fn with_room(ledger: &Ledger, blocks: usize, lanes: usize) -> Frozen {
        let mut frozen = Frozen::default();
        frozen.live.reserve(blocks + blocks / 8 + SLACK_BLOCKS);
        frozen.sites.reserve(&ledger.sites, SLACK_ROWS);
        frozen.running.reserve(lanes);
        frozen.scopes.reserve(ledger.scopes.count() as usize + SLACK_ROWS);
        frozen.profile.timeline.intervals.reserve(INTERVALS);
        frozen.profile.threads.reserve(ledger.rows.count() as usize + SLACK_ROWS);
        frozen.profile.crossings.reserve(REMOTE_FREE_PAIRS_MAX + 1);
        frozen
    }

    /// Copies all data of the ledger. Returns `false` if there is not enough room, and sets `blocks` to the number of
    /// live blocks.
    fn copy(&mut self, ledger: &Ledger, held: &[Held], extent: Extent, blocks: &mut usize) -> bool {
        *blocks = 0;
        // The accounts of scopes are read under the latches of all lanes, so that their sums agree with the sums of the
        // sites.
        let scopes = ledger.scopes.count();
        if scopes as usize > self.scopes.capacity() {
            return false;
        }
        self.scopes.extend((1..=scopes).map(|number| ledger.scopes.read(&ledger.pages, number)));
        for shard in (0..SHARDS).filter(|_| extent.has_blocks()) {
            let room = self.live.capacity() - self.live.len();
            *blocks += ledger.live.blocks_of_shard(&ledger.pages, shard, room, |entry| self.live.push(entry));
        }
        if *blocks > self.live.capacity() || !ledger.sites.copy(&ledger.pages, &mut self.sites) {
            return false;
        }
        self.counters = counters::quality(ledger);
        self.peak_number = ledger.peak.number();
        self.at_ns = ledger.clock.now_ns();
        for (lane, _) in held {
            self.copy_running(lane);
        }
        let profile = &mut self.profile;
        profile.totals = stats(ledger);
        profile.estimates = ledger.is_sampling_used().then(|| estimates(ledger));
        profile.peak = peak(ledger);
        profile.timeline.interval_ns = ledger.timeline.copy(self.at_ns, &mut profile.timeline.intervals);
        profile.crossings.extend(rows::crossings(ledger));
        rows::copy(ledger, &mut profile.threads)
    }

    /// Copies the figures that the current thread of a lane has added to the lane's counters.
    fn copy_running(&mut self, lane: &Lane) {
        let span_ns = LaneCounters::read(&lane_counters_of(lane).longest_span_ns);
        self.longest_span_ns = self.longest_span_ns.max(span_ns);
        // SAFETY: B3, `take_all` has taken the latch of every lane.
        let state = unsafe { fold_state_of(lane).as_ref() };
        let share = LaneFigures::read(lane).since(&state.inherited);
        self.running.push((state.row, share));
    }

    /// Adds the parts that need allocations to the copied parts.
    fn into_snapshot<'a>(
        self,
        ledger: &Ledger,
        scope: &InternalScope,
        history: Vec<Event>,
        reason: &str,
        stacks: Stacks<'a>,
    ) -> Snapshot<'a> {
        let Frozen {
            mut profile,
            counters,
            mut live,
            sites,
            scopes,
            running,
            peak_number,
            longest_span_ns,
            at_ns,
        } = self;
        let retained = history.iter().filter(|event| is_of_the_heap(event)).count() as u64;
        profile.quality = monitor::indicator(counters, retained, at_ns);
        profile.set_coverage();
        profile.process = process(ledger, at_ns, reason);
        profile.settings = settings();
        profile.clock = clock(ledger, longest_span_ns);
        let interval_ns = profile.timeline.interval_ns;
        profile.curves = sites.curves().map(|curve| curve.to_profile(interval_ns, at_ns)).collect();
        sort_curves(&mut profile.curves);
        profile.scopes = scopes::rows(ledger, &scopes);
        profile.scope_counts = scopes::counts(&ledger.scopes);
        memory::note_resident(ledger, scope);
        // Without the live blocks, the program's part of the allocator's figures is not known.
        profile.memory = memory::figures(ledger, scope, (!live.is_empty()).then_some(&live[..]));
        live.retain(|entry| !entry.meta.is_own());
        live.sort_unstable_by_key(|block| (block.at_ns, block.address));
        profile.threads = rows::threads(ledger, profile.threads, &running);
        rows::finish_crossings(&mut profile.crossings, &mut profile.threads);
        profile.history = history;
        profile.changes = changes_of(&ledger.changes);
        Snapshot { profile, sites, live, peak_number, stacks }
    }
}

/// Sorts the curves of sites in descending order of their highest live bytes.
pub(crate) fn sort_curves(curves: &mut [SiteCurve]) {
    let highest = |curve: &SiteCurve| curve.live_bytes.iter().copied().max().unwrap_or(0);
    curves.sort_unstable_by_key(|curve| (Reverse(highest(curve)), curve.stack));
}

/// Returns the metadata of a black box: the process, its settings and its loaded objects, without figures.
pub(crate) fn metadata(ledger: &'static Ledger) -> Profile {
    Profile {
        process: process(ledger, 0, "killed"),
        settings: settings(),
        clock: clock(ledger, 0),
        stacks: vec![Stack::default()],
        stack_figures: stacks::figures(ledger),
        modules: stacks::modules(),
        ..Profile::default()
    }
}

/// Whether object files were loaded or unloaded since the metadata was made.
pub(crate) fn is_metadata_old(metadata: &Profile) -> bool {
    metadata.modules != stacks::modules()
}
