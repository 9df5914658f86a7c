//! The figures that are sums over the lanes: totals, peak, estimates and quality counters. They are read while all
//! threads continue.

use super::background;
use crate::ledger::Ledger;
use crate::ledger::entry::Entry;
use crate::ledger::estimate::{WeightedSums, mean_bytes};
use crate::ledger::fold_state::{LaneFigures, fold_state_of, lane_counters_of};
use crate::ledger::live::SHARDS;
use crate::profile::{
    Anomalies, Coverage, Estimate, Estimates, HeapStats, LossCounts, Peak, QualityIndicator,
};
use crate::quality::QualityCounters;
use crate::recorder::state::{Level, Marks};
use crate::recorder::{latency, state};
use crate::ring::lane::Lane;
use crate::sys::sync::{AtomicU64, Ordering};

fn read(figure: &AtomicU64) -> u64 {
    // relaxed: every counter has one writer, and sums of counters are statistics, which need no ordering.
    figure.load(Ordering::Relaxed)
}

/// Returns the totals as of the last folds. The totals are exact after a flush, while no thread allocates.
pub(crate) fn stats(ledger: &Ledger) -> HeapStats {
    let mut stats = HeapStats { failed: state::failed_without_lane(), ..HeapStats::default() };
    // The restored blocks are read first, because they are in the sums of allocations and of frees.
    let restored = restored(ledger);
    for lane in ledger.lanes() {
        let counters = lane_counters_of(lane);
        // Frees are read before allocations, because a block is booked before its free.
        stats.freed_blocks = stats.freed_blocks.wrapping_add(read(&counters.freed_blocks));
        stats.freed_bytes = stats.freed_bytes.wrapping_add(read(&counters.freed_bytes));
        let (sampled, sampled_out) = (counters.sampled.read(), &lane.cold.sampled_out);
        stats.freed_blocks += sampled.raw_freed_blocks + read(&sampled_out.frees.events);
        stats.freed_bytes += sampled.raw_freed_bytes + read(&sampled_out.frees.bytes);
    }
    let anomalies = &ledger.live.anomalies;
    stats.freed_blocks += read(&anomalies.sampled_out_frees);
    stats.freed_bytes += read(&anomalies.sampled_out_freed_bytes);
    for lane in ledger.lanes() {
        let counters = lane_counters_of(lane);
        stats.total_blocks = stats.total_blocks.wrapping_add(read(&counters.total_blocks));
        stats.total_bytes = stats.total_bytes.wrapping_add(read(&counters.total_bytes));
        let (sampled, sampled_out) = (counters.sampled.read(), &lane.cold.sampled_out);
        stats.total_blocks += sampled.raw_blocks + read(&sampled_out.allocs.events);
        stats.total_bytes += sampled.raw_bytes + read(&sampled_out.allocs.bytes);
        stats.reallocs += read(&counters.reallocs);
        stats.failed += read(&lane.cold.failed);
    }
    finish_totals(&mut stats, restored);
    stats.coverage = coverage(ledger);
    (stats.peak_bytes, stats.peak_blocks, _) = ledger.peak.get();
    stats
}

/// Returns the numbers of events that were recorded and lost.
fn coverage(ledger: &Ledger) -> Coverage {
    let lost_events = state::lost_without_lane().total();
    ledger.lanes().map(LaneFigures::read).fold(Coverage { recorded_events: 0, lost_events }, |sum, lane| {
        Coverage {
            recorded_events: sum.recorded_events + lane.recorded,
            lost_events: sum.lost_events + lane.lost.iter().sum::<u64>(),
        }
    })
}

/// Subtracts the [`restored`] blocks and bytes from the totals, and then computes the live blocks and bytes.
pub(crate) fn finish_totals(stats: &mut HeapStats, (restored_blocks, restored_bytes): (u64, u64)) {
    for (sum, restored) in [
        (&mut stats.total_blocks, restored_blocks),
        (&mut stats.freed_blocks, restored_blocks),
        (&mut stats.total_bytes, restored_bytes),
        (&mut stats.freed_bytes, restored_bytes),
    ] {
        // Saturating, because a lost block is in neither sum.
        *sum = sum.saturating_sub(restored);
    }
    // Frees of blocks whose allocation was lost can outnumber the allocations. The live figures are never negative.
    stats.freed_blocks = stats.freed_blocks.min(stats.total_blocks);
    stats.freed_bytes = stats.freed_bytes.min(stats.total_bytes);
    stats.live_blocks = stats.total_blocks - stats.freed_blocks;
    stats.live_bytes = stats.total_bytes - stats.freed_bytes;
}

/// Returns the number and the bytes of the restored blocks, whose realloc failed while events were sampled out. The
/// totals contain a free and an allocation of each restored block, although the program neither freed nor allocated it.
fn restored(ledger: &Ledger) -> (u64, u64) {
    ledger.lanes().map(|lane| &lane.cold.sampled_out.restored).fold((0, 0), |(blocks, bytes), restored| {
        (blocks + read(&restored.events), bytes + read(&restored.bytes))
    })
}

/// Returns the bytes allocated on a lane that are in the totals but in no peak: bytes of sampled and of sampled-out
/// blocks.
pub(crate) fn bytes_in_no_peak(lane: &Lane) -> u64 {
    lane_counters_of(lane).sampled.read().raw_bytes.saturating_add(read(&lane.cold.sampled_out.allocs.bytes))
}

/// Returns the peak, and the bytes by which the true peak can exceed the peak.
pub(super) fn peak(ledger: &Ledger) -> Peak {
    let (bytes, blocks, at_ns) = ledger.peak.get();
    // While other lanes were booked, the live bytes of a lane can have been higher than booked by up to
    // `high_water_bytes`. If only one lane has events, the peak is exact, because the events are booked in their order.
    // A lane that has only frees counts as well, because its frees may be booked late.
    let counters = ledger.lanes().map(lane_counters_of);
    let took_part =
        counters.filter(|counters| read(&counters.total_blocks) | read(&counters.freed_blocks) != 0);
    let rises = took_part.map(|counters| read(&counters.high_water_bytes));
    let (lanes, sum) = rises.fold((0, 0u64), |(lanes, sum), rise| (lanes + 1, sum + rise));
    // All blocks that are in no peak may have been live at the same time.
    let in_no_peak: u64 = ledger.lanes().map(bytes_in_no_peak).sum();
    Peak { bytes, blocks, at_ns, uncertainty_bytes: in_no_peak + if lanes > 1 { sum } else { 0 } }
}

/// Returns estimates for all blocks, from the samples so far and the blocks that were recorded exactly.
pub(crate) fn estimates(ledger: &Ledger) -> Estimates {
    let mut sums = WeightedSums::default();
    let (mut total, mut freed) = ((0u64, 0u64), (0u64, 0u64));
    for lane in ledger.lanes() {
        let counters = lane_counters_of(lane);
        sums.merge(&counters.sampled.read());
        freed.0 = freed.0.wrapping_add(read(&counters.freed_blocks));
        freed.1 = freed.1.wrapping_add(read(&counters.freed_bytes));
        total.0 = total.0.wrapping_add(read(&counters.total_blocks));
        total.1 = total.1.wrapping_add(read(&counters.total_bytes));
    }
    let of = |value: f64| Estimate { value, standard_error: 0.0 };
    let exact = |value: u64| of(value as f64);
    // For the estimates, each restored block was sampled again.
    let (restored_blocks, restored_bytes) = restored(ledger);
    let is_sampled = state::level() == Level::Sampled;
    Estimates {
        total_blocks: of(total.0 as f64 - restored_blocks as f64) + sums.total_blocks(),
        total_bytes: of(total.1 as f64 - restored_bytes as f64) + sums.total_bytes(),
        live_blocks: exact(total.0.saturating_sub(freed.0)) + sums.live_blocks(),
        live_bytes: exact(total.1.saturating_sub(freed.1)) + sums.live_bytes(),
        mean_bytes_between_samples: if is_sampled { mean_bytes(state::sampling_rate()) } else { 0 },
        sampled_blocks: sums.raw_blocks,
        coverage: coverage(ledger),
    }
}

/// Ends each part of sampling that no live block needs any more. When no sampled-out block is live, threads return to
/// the short path. When no block from before sampling is live, threads no longer search for such blocks.
///
/// Must be called after a flush, with the marks from before the flush and the marks that the previous call returned. If
/// a part may be over, returns the marks, and the part ends at the next call. The delay is needed because a thread that
/// was inside an event at the first call may not have counted the event yet, or may have searched the sampled set before
/// the first call entered blocks there.
pub(super) fn end_sampling_if_over(ledger: &Ledger, marks: Marks, previous: Option<Marks>) -> Option<Marks> {
    if !ledger.is_sampling_used() {
        return None;
    }
    let are_left_out_freed = || blocks_left_out(ledger) <= 0;
    let are_earlier_freed =
        || ledger.booked.blocks() <= 0 && live_samples(ledger) <= 0 && !ledger.live.is_in_transition();
    let is_over = match marks.level {
        Level::AfterSampling => are_left_out_freed(),
        Level::Sampled if state::has_earlier_blocks() => are_earlier_freed(),
        _ => false,
    };
    if !is_over {
        return None;
    }
    if previous != Some(marks) {
        if marks.level == Level::Sampled {
            list_internal_blocks(ledger);
        }
        return Some(marks);
    }
    match marks.level {
        Level::AfterSampling => marks.clear_sampled_out_blocks(are_left_out_freed),
        _ => marks.clear_earlier_blocks(are_earlier_freed),
    }
    None
}

/// Enters live internal blocks in the sampled set that are not in it, because they were recorded before the current
/// period of sampling. The program may keep such a block, for example a query's result, for longer than its own blocks
/// of that time. The free of the block is then recorded, and does not count as the free of a sampled-out block.
pub(super) fn list_internal_blocks(ledger: &Ledger) {
    let period = ledger.sampled.period();
    let list = |block: Entry| {
        if block.meta.is_own() && block.meta.listed_in() != period {
            // Without room in the set, the free counts as the program's. If heapledger is freeing the block, the
            // address stays in the set, and at most one free is recorded that could be sampled out.
            let _ = ledger.sampled.insert(&ledger.pages, block.address);
        }
    };
    for lane in ledger.lanes() {
        let _taken = lane.folder.latch.take();
        // SAFETY: B3, the latch is held.
        let state = unsafe { &mut *fold_state_of(lane).as_ptr() };
        let places = state.nursery.places(&ledger.pages, &raw mut state.youngest);
        (0..places.len()).map(|place| places.at(place)).filter(|block| block.address != 0).for_each(list);
    }
    for shard in 0..SHARDS {
        ledger.live.blocks_of_shard(&ledger.pages, shard, usize::MAX, list);
    }
}

/// Returns the number of live sampled-out blocks.
fn blocks_left_out(ledger: &Ledger) -> i64 {
    // Frees are read before allocations, as in `stats`.
    let of_lanes: u64 = ledger.lanes().map(|lane| read(&lane.cold.sampled_out.frees.events)).sum();
    let frees = read(&ledger.live.anomalies.sampled_out_frees) + of_lanes;
    let allocs: u64 = ledger.lanes().map(|lane| read(&lane.cold.sampled_out.allocs.events)).sum();
    allocs.wrapping_sub(frees) as i64
}

/// Returns the number of live sampled blocks.
fn live_samples(ledger: &Ledger) -> i64 {
    let of_lane = |lane: &Lane| {
        let sums = lane_counters_of(lane).sampled.read();
        sums.raw_blocks as i64 - sums.raw_freed_blocks as i64
    };
    ledger.lanes().map(of_lane).sum()
}

/// Returns the quality counters of the process.
pub(crate) fn quality(ledger: &Ledger) -> QualityCounters {
    let anomalies = &ledger.live.anomalies;
    let without_lane = state::lost_without_lane();
    let mut quality = QualityIndicator {
        installed: true,
        mode: state::mode(),
        target_completeness: state::options().concurrency.target_completeness,
        attempted: without_lane.total(),
        lost: without_lane,
        ..QualityIndicator::default()
    };
    let now_ns = ledger.clock.now_ns();
    for lane in ledger.lanes() {
        add_lane(&mut quality, lane, now_ns);
    }
    let lost = quality.lost.total();
    quality.in_flight = quality.attempted.saturating_sub(quality.recorded + lost);
    quality.current_completeness = QualityIndicator::completeness_of(quality.recorded, lost);
    quality.anomalies = Anomalies {
        unmatched_frees: ledger.live.waiting() + read(&anomalies.unmatched),
        double_allocations: ledger.live.overlaps(),
        ambiguous_pairings: read(&anomalies.ambiguous),
        layout_mismatches: read(&anomalies.layout_mismatches),
    };
    quality.own_memory = ledger.own_memory();
    quality.own_bytes = quality.own_memory.total();
    quality.own_cpu_ns = background::cpu_ns();
    QualityCounters::new(quality)
}

fn add_lane(quality: &mut QualityIndicator, lane: &Lane, now_ns: u64) {
    let (figures, counters) = (LaneFigures::read(lane), lane_counters_of(lane));
    quality.attempted += figures.attempted;
    quality.recorded += figures.recorded;
    quality.lost.merge(&LossCounts::from_counts(figures.lost));
    let sampled_out = &lane.cold.sampled_out;
    quality.sampled_out += read(&sampled_out.allocs.events) + read(&sampled_out.frees.events);
    quality.own_events += read(&counters.own_events);
    quality.ring_high_water_words = quality.ring_high_water_words.max(read(&lane.folder.high_water));
    quality.folds_at_home += read(&lane.cold.folds_at_home);
    quality.folds_away += read(&lane.folder.folds_away);
    quality.waits += read(&lane.cold.waits);
    quality.spare_segments += read(&lane.cold.overflow_segments);
    quality.turn_times.add(&latency::of_lane(lane));
    if lane.head().observe() > lane.folder.tail.observe() {
        quality.lag_ns = quality.lag_ns.max(now_ns.saturating_sub(read(&counters.booked_until_ns)));
    }
}

/// Returns the number of events of a lane that were lost or sampled out.
pub(crate) fn lost_on_lane(lane: &Lane) -> u64 {
    let sampled_out = &lane.cold.sampled_out;
    let lost = LaneFigures::read(lane).lost;
    let all = [lost.iter().copied().fold(0, u64::wrapping_add), read(&sampled_out.allocs.events)];
    all.into_iter().fold(read(&sampled_out.frees.events), u64::wrapping_add)
}

/// Returns the number of threads of the program that run now.
pub(crate) fn program_threads(ledger: &Ledger) -> usize {
    let runs = |number: &u32| {
        let row = ledger.rows.get(&ledger.pages, *number);
        // relaxed: statistics, which need no ordering.
        read(&row.ended_ns) == 0 && row.own.load(Ordering::Relaxed) == 0
    };
    (0..ledger.rows.count()).filter(runs).count()
}

/// Returns the number of booked events of tracked pointers.
pub(crate) fn pointer_events(ledger: &Ledger) -> u64 {
    ledger.lanes().map(|lane| read(&lane_counters_of(lane).pointer_events)).sum()
}
