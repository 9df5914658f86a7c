//! The view of the ledger that queries and dumps take.
//!
//! The figures that are only sums ([`stats`], [`quality`]) are read without stopping anyone. A whole profile must
//! fit together, so [`profile`] freezes the books: it takes the latch of every lane, books what is there, copies, and
//! lets go. Threads go on recording meanwhile; one whose ring fills up takes spare segments. What is copied into
//! was made before, because nothing may be allocated while a latch is held.

use super::{rows, stacks, tuning, watch};
use crate::fold::state::Fold;
use crate::ledger::Ledger;
use crate::ledger::changes::{self, Changed, Subject};
use crate::ledger::entry;
use crate::ledger::estimate::{WeightedSums, mean_bytes};
use crate::ledger::fold_state::{LaneCounters, LaneFigures, fold_state_of, lane_counters_of};
use crate::ledger::history::LaneWords;
use crate::ledger::live::SHARDS;
use crate::ledger::remote_frees::REMOTE_FREE_PAIRS_MAX;
use crate::ledger::sites::SiteFigures;
use crate::ledger::timeline::INTERVALS;
use crate::profile::{self, HeapStats, LossCounts, Peak, Profile, QualityIndicator};
use crate::quality::QualityCounters;
use crate::recorder::internal::{InternalScope, RecordingPaused};
use crate::recorder::{latency, state};
use crate::ring::lane::Lane;
use crate::sys::latch::Taken;
use crate::sys::sync::{AtomicU64, Ordering};

/// Blocks that may come in between counting and freezing.
const SLACK_BLOCKS: usize = 4096;

/// Totals as of the last folds; exact after a flush, while no thread allocates.
pub(crate) fn stats(ledger: &Ledger) -> HeapStats {
    let mut stats = HeapStats { failed: state::failed_without_lane(), ..HeapStats::default() };
    // relaxed: sums for people.
    let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    // First of all: it is in both sums below.
    let restored = restored(ledger);
    for lane in ledger.lanes() {
        let counters = lane_counters_of(lane);
        // Frees first: a block is booked before its end.
        stats.freed_blocks = stats.freed_blocks.wrapping_add(LaneCounters::read(&counters.freed_blocks));
        stats.freed_bytes = stats.freed_bytes.wrapping_add(LaneCounters::read(&counters.freed_bytes));
        let (sampled, sampled_out) = (counters.sampled.read(), &lane.cold.sampled_out);
        stats.freed_blocks += sampled.raw_freed_blocks + read(&sampled_out.frees.events);
        stats.freed_bytes += sampled.raw_freed_bytes + read(&sampled_out.frees.bytes);
    }
    let anomalies = &ledger.live.anomalies;
    stats.freed_blocks += read(&anomalies.sampled_out_frees);
    stats.freed_bytes += read(&anomalies.sampled_out_freed_bytes);
    for lane in ledger.lanes() {
        let counters = lane_counters_of(lane);
        stats.total_blocks = stats.total_blocks.wrapping_add(LaneCounters::read(&counters.total_blocks));
        stats.total_bytes = stats.total_bytes.wrapping_add(LaneCounters::read(&counters.total_bytes));
        let (sampled, sampled_out) = (counters.sampled.read(), &lane.cold.sampled_out);
        stats.total_blocks += sampled.raw_blocks + read(&sampled_out.allocs.events);
        stats.total_bytes += sampled.raw_bytes + read(&sampled_out.allocs.bytes);
        stats.reallocs += LaneCounters::read(&counters.reallocs);
        stats.failed += read(&lane.cold.failed);
    }
    settle_totals(&mut stats, restored);
    (stats.peak_bytes, stats.peak_blocks, _) = ledger.peak.get();
    stats
}

/// Ends the sum of what was allocated and freed: takes off the blocks and bytes that were both in the books alone, and
/// says what is live.
pub(crate) fn settle_totals(stats: &mut HeapStats, (restored_blocks, restored_bytes): (u64, u64)) {
    for (sum, restored) in [
        (&mut stats.total_blocks, restored_blocks),
        (&mut stats.freed_blocks, restored_blocks),
        (&mut stats.total_bytes, restored_bytes),
        (&mut stats.freed_bytes, restored_bytes),
    ] {
        // One that was lost is in neither.
        *sum = sum.saturating_sub(restored);
    }
    // Frees whose allocation was lost can outnumber what is known of; live is never negative.
    stats.freed_blocks = stats.freed_blocks.min(stats.total_blocks);
    stats.freed_bytes = stats.freed_bytes.min(stats.total_bytes);
    stats.live_blocks = stats.total_blocks - stats.freed_blocks;
    stats.live_bytes = stats.total_bytes - stats.freed_bytes;
}

/// Blocks and bytes whose realloc was refused while events were left out: freed and allocated in the books alone.
fn restored(ledger: &Ledger) -> (u64, u64) {
    // relaxed, both: counters.
    ledger.lanes().map(|lane| &lane.cold.sampled_out).fold((0, 0), |(blocks, bytes), sampled_out| {
        let more = sampled_out.restored.bytes.load(Ordering::Relaxed);
        (blocks + sampled_out.restored.events.load(Ordering::Relaxed), bytes + more)
    })
}

/// Bytes of the blocks of a lane that the totals have and the peak has not.
pub(crate) fn bytes_in_no_peak(lane: &Lane) -> u64 {
    // relaxed: a counter.
    let left_out = lane.cold.sampled_out.allocs.bytes.load(Ordering::Relaxed);
    lane_counters_of(lane).sampled.read().raw_bytes.saturating_add(left_out)
}

/// Where the peak was, and how far the true one can lie from it.
fn peak(ledger: &Ledger) -> Peak {
    let (bytes, blocks, at_ns) = ledger.peak.get();
    // Each lane's live bytes can have risen by at most this much above what was booked of it. One lane alone is
    // booked in its own order: then the peak is exact. One that only frees is a second one: its frees may be booked late.
    let accounts = ledger.lanes().map(lane_counters_of);
    let took_part = accounts.filter(|counters| {
        LaneCounters::read(&counters.total_blocks) | LaneCounters::read(&counters.freed_blocks) != 0
    });
    let rises = took_part.map(|counters| LaneCounters::read(&counters.high_water_bytes));
    let (lanes, sum) = rises.fold((0, 0u64), |(lanes, sum), rise| (lanes + 1, sum + rise));
    // Samples and blocks that were left out by choice are in no peak; all of them may have been live at one time.
    let left_out: u64 = ledger.lanes().map(bytes_in_no_peak).sum();
    Peak { bytes, blocks, at_ns, uncertainty_bytes: left_out + if lanes > 1 { sum } else { 0 } }
}

/// What the samples so far say of all blocks, together with what was recorded exactly.
pub(crate) fn estimates(ledger: &Ledger) -> profile::Estimates {
    let mut sums = WeightedSums::default();
    let (mut total, mut freed) = ((0u64, 0u64), (0u64, 0u64));
    for lane in ledger.lanes() {
        let counters = lane_counters_of(lane);
        sums.merge(&counters.sampled.read());
        freed.0 = freed.0.wrapping_add(LaneCounters::read(&counters.freed_blocks));
        freed.1 = freed.1.wrapping_add(LaneCounters::read(&counters.freed_bytes));
        total.0 = total.0.wrapping_add(LaneCounters::read(&counters.total_blocks));
        total.1 = total.1.wrapping_add(LaneCounters::read(&counters.total_bytes));
    }
    let of = |value: f64| profile::Estimate { value, standard_error: 0.0 };
    let exact = |value: u64| of(value as f64);
    // Each of them was drawn anew.
    let (restored_blocks, restored_bytes) = restored(ledger);
    let is_sampled = state::level() == state::Level::Sampled;
    profile::Estimates {
        total_blocks: of(total.0 as f64 - restored_blocks as f64) + sums.total_blocks(),
        total_bytes: of(total.1 as f64 - restored_bytes as f64) + sums.total_bytes(),
        live_blocks: exact(total.0.saturating_sub(freed.0)) + sums.live_blocks(),
        live_bytes: exact(total.1.saturating_sub(freed.1)) + sums.live_bytes(),
        mean_bytes_between_samples: if is_sampled { mean_bytes(state::sampling_rate()) } else { 0 },
        sampled_blocks: sums.raw_blocks,
    }
}

/// Lets threads go back to the short path when no block lives that sampling left out, and lets them look no longer for
/// blocks from before it when none lives. Called after a flush.
pub(crate) fn end_sampling_if_over(ledger: &Ledger) {
    if !ledger.is_sampling_used() {
        return;
    }
    let (mut allocs, mut frees, mut samples) = (0u64, 0u64, 0i64);
    // relaxed: counters.
    for lane in ledger.lanes() {
        frees += lane.cold.sampled_out.frees.events.load(Ordering::Relaxed);
        let sums = lane_counters_of(lane).sampled.read();
        samples += sums.raw_blocks as i64 - sums.raw_freed_blocks as i64;
    }
    frees += ledger.live.anomalies.sampled_out_frees.load(Ordering::Relaxed);
    for lane in ledger.lanes() {
        allocs += lane.cold.sampled_out.allocs.events.load(Ordering::Relaxed);
    }
    match state::level() {
        state::Level::AfterSampling if allocs <= frees => state::clear_sampled_out_blocks(),
        state::Level::Sampled if ledger.booked.blocks() <= 0 && samples <= 0 => state::clear_earlier_blocks(),
        _ => {}
    }
}

/// The counters of quality, read without stopping anyone.
pub(crate) fn quality(ledger: &Ledger) -> QualityCounters {
    let mut quality =
        QualityIndicator { installed: true, mode: state::mode(), ..QualityIndicator::default() };
    quality.target_completeness = state::options().concurrency.target_completeness;
    let mut lost = state::lost_without_lane();
    let mut attempted = lost.total();
    let now_ns = ledger.clock.now_ns();
    for lane in ledger.lanes() {
        let (figures, counters) = (LaneFigures::read(lane), lane_counters_of(lane));
        attempted += figures.attempted;
        quality.recorded += figures.recorded;
        lost.merge(&LossCounts::from_counts(figures.lost));
        let sampled_out = &lane.cold.sampled_out;
        // relaxed: counters.
        quality.sampled_out += sampled_out.allocs.events.load(Ordering::Relaxed)
            + sampled_out.frees.events.load(Ordering::Relaxed);
        quality.own_events += LaneCounters::read(&counters.own_events);
        // relaxed: figures for people.
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        quality.ring_high_water_words = quality.ring_high_water_words.max(read(&lane.folder.high_water));
        quality.folds_at_home += read(&lane.cold.folds_at_home);
        quality.folds_away += read(&lane.folder.folds_away);
        quality.waits += read(&lane.cold.waits);
        quality.spare_segments += read(&lane.cold.overflow_segments);
        let times = latency::of_lane(lane);
        quality.turn_times.turns += times.turns;
        quality.turn_times.timed += times.timed;
        quality.turn_times.timed_ns += times.timed_ns;
        for (sum, turns) in quality.turn_times.durations.iter_mut().zip(times.durations) {
            *sum += turns;
        }
        if lane.head().observe() > lane.folder.tail.observe() {
            let lag = now_ns.saturating_sub(LaneCounters::read(&counters.booked_until_ns));
            quality.lag_ns = quality.lag_ns.max(lag);
        }
    }
    quality.lost = lost;
    quality.attempted = attempted;
    quality.in_flight = attempted.saturating_sub(quality.recorded + lost.total());
    quality.current_completeness = QualityIndicator::completeness_of(quality.recorded, lost.total());
    // relaxed: counts for people.
    let anomalies = &ledger.live.anomalies;
    quality.anomalies = profile::Anomalies {
        unmatched_frees: ledger.live.waiting() + anomalies.unmatched.load(Ordering::Relaxed),
        double_allocations: ledger.live.overlaps(),
        ambiguous_pairings: anomalies.ambiguous.load(Ordering::Relaxed),
        layout_mismatches: anomalies.layout_mismatches.load(Ordering::Relaxed),
    };
    quality.own_bytes = ledger.pages.held_bytes();
    quality.own_cpu_ns = super::worker::cpu_ns();
    QualityCounters::new(quality)
}

/// Threads of the program that run now.
pub(crate) fn program_threads(ledger: &Ledger) -> usize {
    let runs = |number: &u32| {
        let row = ledger.rows.get(&ledger.pages, *number);
        // relaxed: figures for people.
        row.ended_ns.load(Ordering::Relaxed) == 0 && row.own.load(Ordering::Relaxed) == 0
    };
    (0..ledger.rows.count()).filter(runs).count()
}

/// The last events, newest last, and how many of them were heapledger's own and left out.
pub(crate) fn history(ledger: &Ledger, own: &InternalScope) -> (Vec<profile::Event>, u64) {
    let limits = state::options().history;
    let (mut events, mut own_events) = (Vec::new(), 0);
    for lane in ledger.lanes() {
        own_events += copy_of(ledger, lane, own).events(|event| events.push(event));
    }
    events.sort_by_key(|event| event.at_ns);
    let oldest_ns = limits.age_ns.map_or(0, |age_ns| ledger.clock.now_ns().saturating_sub(age_ns));
    let too_old = events.partition_point(|event| event.at_ns < oldest_ns);
    let too_many = events.len().saturating_sub(usize::try_from(limits.events).unwrap_or(usize::MAX));
    events.drain(..too_old.max(too_many));
    (events, own_events)
}

/// What happened to tracked pointers and was booked.
pub(crate) fn deeds(ledger: &Ledger) -> u64 {
    ledger.lanes().map(|lane| LaneCounters::read(&lane_counters_of(lane).pointer_events)).sum()
}

/// Whether an event is one that `recorded` counts.
pub(crate) fn is_of_the_heap(event: &profile::Event) -> bool {
    !matches!(event.kind, profile::EventKind::Tracked { .. })
}

/// How many events of the heap [`history`] would return. Looks at no more lanes than that takes, and puts nothing in order.
pub(crate) fn retained(ledger: &Ledger, own: &InternalScope) -> u64 {
    let limits = state::options().history;
    // What happened to tracked pointers has its place in the history as well.
    if limits.age_ns.is_some() || deeds(ledger) > 0 {
        return history(ledger, own).0.iter().filter(|event| is_of_the_heap(event)).count() as u64;
    }
    let mut found = 0;
    for lane in ledger.lanes() {
        if found >= limits.events {
            break;
        }
        copy_of(ledger, lane, own).events(|_| found += 1);
    }
    found.min(limits.events)
}

/// The folded words of a lane.
fn copy_of(ledger: &Ledger, lane: &Lane, own: &InternalScope) -> LaneWords {
    let words = {
        let _quiet = RecordingPaused::enter(own);
        LaneWords::folded(lane)
    };
    let mut copy = LaneWords::with_room(words.min(crate::ledger::history::LANE_WORDS_MAX));
    {
        let _quiet = RecordingPaused::enter(own);
        copy.copy(ledger, lane);
    }
    copy
}

/// Everything, as of one moment.
pub(crate) fn profile(ledger: &'static Ledger, own: &InternalScope, reason: &str) -> Profile {
    let _paused = (super::worker::pause(), super::tracing::pause());
    if let Some(lane) = own.lane() {
        let _quiet = RecordingPaused::enter(own);
        ledger.flush(lane);
    }
    let frozen = copy_frozen(ledger, own, reason == "exit");
    let (history, _) = history(ledger, own);
    let mut profile = frozen.into_profile(ledger, history, reason);
    // Last: whatever refers to a stack was copied before.
    stacks::fill(ledger, own, &mut profile);
    profile
}

/// What is copied while the books are frozen; all of it made before.
#[derive(Default)]
struct Frozen {
    live: Vec<entry::Entry>,
    sites: Vec<(u32, SiteFigures)>,
    threads: Vec<profile::ThreadRow>,
    rows: Vec<(u32, LaneFigures)>,
    crossings: Vec<profile::Crossing>,
    intervals: Vec<profile::Interval>,
    interval_ns: u64,
    quality: QualityCounters,
    totals: HeapStats,
    estimates: Option<profile::Estimates>,
    peak: Peak,
    peak_number: u64,
    longest_span_ns: u64,
    at_ns: u64,
}

/// `is_last` ends the trace here: it holds what the copy holds, and nothing that came later.
fn copy_frozen(ledger: &'static Ledger, own: &InternalScope, is_last: bool) -> Frozen {
    let mut frozen = Frozen { intervals: Vec::with_capacity(INTERVALS), ..Frozen::default() };
    let mut blocks = 0;
    loop {
        let lanes = ledger.lanes.count() as usize + 64;
        let mut held: Vec<Held> = Vec::with_capacity(lanes);
        frozen.live.reserve(blocks + blocks / 8 + SLACK_BLOCKS);
        frozen.rows.reserve(lanes);
        frozen.crossings.reserve(REMOTE_FREE_PAIRS_MAX + 1);
        frozen.threads.reserve(rows::room(ledger));
        frozen.sites.reserve(ledger.sites.count() as usize + 64);
        let _quiet = RecordingPaused::enter(own);
        ledger.freeze();
        let fits = take_all(ledger, &mut held)
            && frozen.copy(ledger, &held, &mut blocks)
            // A thread that was about to get its lane when the books were frozen has one that is not held.
            && ledger.lanes().count() == held.len();
        if fits && is_last {
            ledger.trace_buffer.close(&ledger.pages);
        }
        ledger.thaw();
        // Opened one by one, in the order in which they were taken.
        held.clear();
        if fits {
            drop(_quiet);
            return frozen;
        }
        drop(_quiet);
        frozen.live.clear();
        frozen.rows.clear();
        frozen.crossings.clear();
        frozen.threads.clear();
        frozen.sites.clear();
    }
}

/// A lane and its latch, taken.
type Held = (&'static Lane, Taken<'static>);

/// Takes the latch of every lane and books what is there; `false` when there are more than expected.
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
    /// Copies everything; `false`, with the number of blocks, when there is not enough room.
    fn copy(&mut self, ledger: &Ledger, held: &[Held], blocks: &mut usize) -> bool {
        *blocks = 0;
        for shard in 0..SHARDS {
            let room = self.live.capacity() - self.live.len();
            *blocks += ledger.live.blocks_of_shard(&ledger.pages, shard, room, |entry| self.live.push(entry));
        }
        if *blocks > self.live.capacity() || ledger.sites.count() as usize > self.sites.capacity() {
            return false;
        }
        self.live.retain(|entry| !entry.meta.is_own());
        self.totals = stats(ledger);
        self.estimates = ledger.is_sampling_used().then(|| estimates(ledger));
        self.peak = peak(ledger);
        self.peak_number = ledger.peak.number();
        self.quality = quality(ledger);
        self.at_ns = ledger.clock.now_ns();
        for site in 0..ledger.sites.count() {
            self.sites.push((site, SiteFigures::EMPTY));
            if let Some((_, figures)) = self.sites.last_mut() {
                ledger.sites.read(&ledger.pages, site, figures);
            }
        }
        self.interval_ns = ledger.timeline.copy(self.at_ns, &mut self.intervals);
        for (lane, _) in held {
            self.copy_row(lane);
        }
        self.crossings.extend(rows::crossings(ledger));
        rows::copy(ledger, &mut self.threads)
    }

    /// The share of a lane's figures that its present thread made.
    fn copy_row(&mut self, lane: &Lane) {
        let counters = lane_counters_of(lane);
        self.longest_span_ns = self.longest_span_ns.max(LaneCounters::read(&counters.longest_span_ns));
        // SAFETY: B3, `take_all` has taken the latch of every lane.
        let state = unsafe { fold_state_of(lane).as_ref() };
        let share = LaneFigures::read(lane).since(&state.inherited);
        self.rows.push((state.row, share));
    }

    fn into_profile(mut self, ledger: &Ledger, history: Vec<profile::Event>, reason: &str) -> Profile {
        let of_the_heap = history.iter().filter(|event| is_of_the_heap(event)).count() as u64;
        let sites = self.sites.iter().filter(|(_, figures)| !figures.is_empty());
        let sites = sites.map(|(stack, figures)| figures.to_site(*stack, self.peak_number)).collect();
        let mut live: Vec<profile::LiveBlock> = self.live.iter().map(entry::Entry::live_block).collect();
        live.sort_by_key(|block| (block.born_ns, block.address));
        let mut threads = rows::threads(ledger, self.threads, &self.rows);
        rows::settle_crossings(&mut self.crossings, &mut threads);
        Profile {
            process: process(ledger, self.at_ns, reason),
            settings: settings(),
            clock: profile::ClockInfo {
                source: ledger.clock.choice().source().to_owned(),
                why: ledger.clock.choice().why().to_owned(),
                longest_span_ns: self.longest_span_ns,
            },
            totals: self.totals,
            estimates: self.estimates,
            peak: self.peak,
            sites,
            stacks: vec![profile::Stack::default()],
            stack_figures: Default::default(),
            modules: Vec::new(),
            symbols: Default::default(),
            live,
            threads,
            crossings: self.crossings,
            timeline: profile::Timeline {
                interval_ns: self.interval_ns,
                intervals: std::mem::take(&mut self.intervals),
            },
            history,
            changes: changes_of(&ledger.changes),
            // They are known to an upper layer.
            tracked: profile::TrackedReport::default(),
            quality: watch::indicator(self.quality, of_the_heap, self.at_ns),
        }
    }
}

/// Who the process is, how it records, and what is loaded: no figures.
pub(crate) fn label(ledger: &'static Ledger) -> Profile {
    let mut label = Frozen::default().into_profile(ledger, Vec::new(), "killed");
    label.threads.clear();
    label.changes.clear();
    label.stack_figures = stacks::figures(ledger);
    label.modules = stacks::modules();
    label
}

/// Whether objects have come or gone since a label was made.
pub(crate) fn is_label_old(label: &Profile) -> bool {
    label.modules != stacks::modules()
}

/// The changes of state, in words.
pub(crate) fn changes_of(list: &changes::Changes) -> Vec<profile::Change> {
    let mut kept: Vec<Changed> = changes::room();
    list.copy(&mut kept);
    let dropped = list.count().saturating_sub(kept.len() as u64);
    let note = (dropped > 0)
        .then(|| profile::Change { at_ns: 0, what: format!("{dropped} earlier changes are not listed") });
    note.into_iter().chain(kept.into_iter().map(|change| in_words(&change))).collect()
}

fn in_words(change: &Changed) -> profile::Change {
    let mode = |raw: u32| profile::DataQualityMode::ALL.get(raw as usize).map_or("?", |mode| mode.name());
    let level = |raw: u32| {
        ["full", "no stacks", "sampled", "counters only"].get(raw as usize).copied().unwrap_or("?")
    };
    let (from, to) = (change.from, change.to);
    let what = match change.subject {
        Subject::Mode => format!("mode: {} -> {}", mode(from), mode(to)),
        Subject::Level => format!("level: {} -> {}", level(from), level(to)),
        Subject::SamplingBytes => {
            let bytes = |rate: u32| mean_bytes(u64::from(rate));
            format!("bytes between samples: {} -> {}", bytes(from), bytes(to))
        }
        Subject::RingSegments => format!("ring segments: {from} -> {to}"),
        Subject::FloorIntervalNs => format!("floor interval in ns: {from} -> {to}"),
        Subject::DrainThresholdWords => format!("drain threshold in words: {from} -> {to}"),
        Subject::Tuner => tuning::why(from, to),
    };
    profile::Change { at_ns: change.at_ns, what }
}

fn process(ledger: &Ledger, at_ns: u64, reason: &str) -> profile::ProcessInfo {
    // relaxed: written before the ledger was published.
    let forked_from = ledger.facts.forked_from.load(Ordering::Relaxed);
    let command_line: Vec<String> =
        std::env::args_os().map(|part| part.to_string_lossy().into_owned()).collect();
    profile::ProcessInfo {
        pid: ledger.facts.process_id.load(Ordering::Relaxed),
        forked_from: (forked_from != 0).then_some(forked_from),
        program: program_name(&command_line),
        command_line,
        platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        heapledger_version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix_ns: ledger.facts.started_unix_ns.load(Ordering::Relaxed),
        duration_ns: at_ns,
        reason: reason.to_owned(),
    }
}

pub(crate) fn settings() -> profile::Settings {
    let options = state::options();
    profile::Settings {
        mode: state::mode(),
        stacks: options.stacks,
        clock: options.clock,
        history: options.history,
        concurrency: options.concurrency,
        fork: options.fork,
        memory_limit_bytes: options.memory_limit_bytes,
    }
}

/// Name of the program, for the report and for the dump's file name.
pub(crate) fn program_name(command_line: &[String]) -> String {
    let path = std::env::current_exe().ok();
    let name =
        path.as_ref().and_then(|path| path.file_stem()).map(|name| name.to_string_lossy().into_owned());
    let from_command = || {
        let first = std::path::Path::new(command_line.first()?);
        Some(first.file_stem()?.to_string_lossy().into_owned())
    };
    name.or_else(from_command).unwrap_or_else(|| "unknown".to_owned())
}
