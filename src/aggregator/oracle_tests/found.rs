//! Tests with programs for which the oracle found errors. Every program is as small as possible.

use super::producer::Producer;
use crate::aggregator::{counters, snapshot};
use crate::fold::batch::Part;
use crate::fold::state::Fold;
use crate::ledger::Ledger;
use crate::profile::{ClockMode, Profile};
use crate::recorder::internal::InternalScope;
use crate::ring::event::Traits;
use crate::sys::sync::Ordering;

pub(super) const PLAIN: Traits = Traits::new(16, false, false);

/// A ledger whose clock advances by 1 ns at every reading, with lanes.
pub(super) struct Room {
    pub(super) ledger: &'static Ledger,
    pub(super) lanes: Vec<Producer>,
}

impl Room {
    pub(super) fn new(lanes: usize) -> Room {
        Room::with_clock(lanes, ClockMode::Batched)
    }

    pub(super) fn with_clock(lanes: usize, clock: ClockMode) -> Room {
        let ledger = Ledger::open(256 << 20, clock).unwrap();
        ledger.clock.set_by_hand(1);
        Room { ledger, lanes: (0..lanes).map(|_| Producer::new(ledger, 4)).collect() }
    }

    /// Sets the clock to `ns`. Returns the producer of a lane, whose next record opens a window with a time stamp of
    /// `ns`.
    pub(super) fn at(&mut self, ns: u64, lane: usize) -> &mut Producer {
        self.ledger.clock.set_by_hand(ns);
        let producer = &mut self.lanes[lane];
        producer.turn_is_due = true;
        producer
    }

    /// Runs `event`, an event of heapledger itself on a lane, at the time `ns`: as the recorder does, in a window of its
    /// own, after which every thread opens a window.
    pub(super) fn internally_at(&mut self, ns: u64, lane: usize, event: impl FnOnce(&mut Producer)) {
        self.internally_while(ns, lane, |_| (), event);
    }

    /// Runs an event like [`Room::internally_at`], and `meanwhile` between the reading of the clock and the end of the
    /// stamp.
    pub(super) fn internally_while(
        &mut self,
        ns: u64,
        lane: usize,
        meanwhile: impl Fn(&Room),
        event: impl FnOnce(&mut Producer),
    ) {
        self.ledger.internal_stamps.take(|| {
            meanwhile(self);
            ns
        });
        let producer = self.at(ns, lane);
        producer.window_words = 1;
        event(producer);
        self.lanes.iter_mut().for_each(|lane| lane.turn_is_due = true);
    }

    /// Books everything of the lanes, one after the other, so that their blocks and frees are in the shared table.
    pub(super) fn book_wholly(&self, lanes: &[usize]) {
        for lane in lanes.iter().map(|lane| self.lanes[*lane].lane) {
            let taken = lane.folder.latch.take();
            let mut fold = Fold::begin(self.ledger, lane, &taken);
            fold.run();
            fold.empty_nursery();
        }
    }

    pub(super) fn profile(&self) -> Profile {
        self.ledger.flush(self.lanes[0].lane);
        snapshot::profile(self.ledger, &InternalScope::enter(), "test")
    }
}

#[test]
fn a_realloc_of_a_block_beyond_four_gib_frees_its_whole_size() {
    let mut room = Room::new(1);
    let lane = room.at(10, 0);
    lane.alloc(64, 5 << 30, PLAIN, 0);
    lane.realloc_begins(64, 5 << 30);
    lane.realloc_ends(64, 64, 100, PLAIN, 0);
    let totals = room.profile().totals;
    assert_eq!((totals.freed_bytes, totals.live_bytes), (5 << 30, 100));
}

#[test]
fn a_block_whose_free_is_on_its_way_to_the_shared_table_is_not_in_the_peak() {
    let mut room = Room::new(1);
    let lane = room.at(10, 0);
    lane.alloc(1 << 52, 1000, PLAIN, 0);
    lane.alloc(64, 5 << 30, PLAIN, 0);
    lane.free(64, 5 << 30);
    lane.alloc(128, 5 << 30, PLAIN, 0);
    let peak = room.profile().peak;
    assert_eq!((peak.bytes, peak.blocks), ((5 << 30) + 1000, 2));
}

#[test]
fn the_free_of_a_program_s_block_ends_no_later_block_of_heapledger_at_its_address() {
    let own = Traits::new(16, false, true);
    for reallocated in [false, true] {
        let mut room = Room::new(3);
        room.at(10, 0).alloc(64, 8, PLAIN, 0);
        let freeing = room.at(11, 1);
        (0..9).for_each(|number| freeing.alloc(1024 + 16 * number, 16, PLAIN, 0));
        freeing.free(64, 8);
        if reallocated {
            room.internally_at(5, 2, |lane| lane.alloc(512, 8, own, 0));
            room.internally_at(20, 2, |lane| lane.realloc_begins(512, 8));
            room.internally_at(22, 2, |lane| lane.realloc_ends(512, 64, 8, own, 0));
        } else {
            room.internally_at(20, 2, |lane| lane.alloc(64, 8, own, 0));
        }
        // The window of the free ends far behind the block of heapledger.
        room.ledger.clock.set_by_hand(1000);
        room.lanes[1].alloc(2048, 16, PLAIN, 0);
        room.book_wholly(&[1, 2, 0]);
        let totals = room.profile().totals;
        assert_eq!((totals.freed_blocks, totals.live_blocks), (1, 10), "{reallocated}");
    }
}

#[test]
fn the_free_of_a_sampled_out_block_ends_no_later_block_of_heapledger() {
    let mut room = Room::new(3);
    room.ledger.use_sampling(false);
    room.at(11, 1).free_whole(64, 8);
    room.internally_at(20, 2, |lane| lane.alloc(64, 8, Traits::new(16, false, true), 0));
    room.book_wholly(&[1, 2, 0]);
    room.ledger.flush(room.lanes[0].lane);
    // relaxed: there is one thread.
    let freed = room.ledger.live.anomalies.sampled_out_freed_bytes.load(Ordering::Relaxed);
    assert_eq!((freed, room.profile().quality.own_events), (8, 1));
}

#[test]
fn a_free_by_heapledger_leaves_a_block_of_the_program_whose_free_is_late() {
    let own = Traits::new(16, false, true);
    for reused in [false, true] {
        let mut room = Room::new(3);
        room.at(10, 0).alloc(64, 8, PLAIN, 0);
        room.at(11, 1).free(64, 8);
        room.internally_at(20, 2, |lane| lane.alloc(64, 8, own, 0));
        // The nursery of this lane still has the program's block.
        room.internally_at(30, 0, |lane| lane.free_internally(64, 8));
        room.ledger.fold(room.lanes[0].lane);
        if reused {
            room.internally_at(40, 2, |lane| lane.alloc(64, 8, own, 0));
        }
        room.book_wholly(&[1, 2, 0]);
        let totals = room.profile().totals;
        assert_eq!((totals.freed_blocks, totals.live_blocks), (1, 0), "{reused}");
    }
}

#[test]
fn a_free_by_heapledger_ends_the_next_block_whose_own_free_has_ended_heapledger_s() {
    let mut room = Room::new(4);
    room.internally_at(10, 2, |lane| lane.alloc(64, 8, Traits::new(16, false, true), 0));
    room.internally_at(20, 1, |lane| lane.free_internally(64, 8));
    room.at(30, 0).alloc(64, 8, PLAIN, 0);
    room.at(40, 3).free(64, 8);
    room.book_wholly(&[2, 3, 1, 0]);
    let totals = room.profile().totals;
    assert_eq!((totals.freed_blocks, totals.live_blocks), (1, 0));
}

#[test]
fn while_sampling_begins_a_free_by_heapledger_leaves_the_program_s_block_to_its_own_free() {
    let own = Traits::new(16, false, true);
    for order in [[0, 2, 1], [0, 1, 2]] {
        let mut room = Room::new(3);
        room.at(10, 0).alloc(64, 8, PLAIN, 0);
        room.ledger.clock.set_by_hand(20);
        room.ledger.use_sampling(true);
        room.at(30, 1).free_unlisted(64, 8, 2);
        room.internally_at(40, 2, |lane| lane.alloc(64, 8, own.with_period(2), 0));
        room.internally_at(50, 2, |lane| lane.free_internally(64, 8));
        room.book_wholly(&order);
        (0..2).for_each(|_| room.ledger.flush(room.lanes[0].lane));
        // relaxed: there is one thread.
        let dropped = room.ledger.live.anomalies.sampled_out_frees.load(Ordering::Relaxed);
        let totals = room.profile().totals;
        assert_eq!((totals.freed_blocks, totals.live_blocks, dropped), (1, 0, 0), "{order:?}");
    }
}

#[test]
fn a_free_by_heapledger_can_end_a_block_of_the_program() {
    let mut room = Room::new(2);
    room.at(10, 0).alloc(64, 8, PLAIN, 0);
    room.internally_at(20, 1, |lane| lane.free_internally(64, 8));
    let profile = room.profile();
    assert_eq!((profile.totals.freed_blocks, profile.quality.anomalies.ambiguous_pairings), (1, 0));
}

#[test]
fn a_free_by_heapledger_ends_no_later_block_of_the_program_at_its_address() {
    let mut room = Room::new(3);
    room.internally_at(10, 0, |lane| lane.alloc(64, 8, Traits::new(16, false, true), 0));
    let allocating = room.at(11, 1);
    (0..9).for_each(|number| allocating.alloc(1024 + 16 * number, 16, PLAIN, 0));
    room.internally_at(20, 2, |lane| lane.free_internally(64, 8));
    room.ledger.clock.set_by_hand(22);
    room.lanes[1].alloc(64, 8, PLAIN, 0);
    room.ledger.clock.set_by_hand(1000);
    room.lanes[1].alloc(2048, 16, PLAIN, 0);
    room.book_wholly(&[2, 1, 0]);
    let totals = room.profile().totals;
    assert_eq!((totals.freed_blocks, totals.live_blocks), (0, 11));
}

#[test]
fn a_realloc_is_one_event_and_no_cross_thread_free_however_late_its_old_half_is_paired() {
    for own in [false, true] {
        let mut room = Room::new(2);
        let traits = Traits::new(16, false, own);
        room.at(10, 1).alloc(64, 8, traits, 0);
        let lane = room.at(20, 0);
        lane.realloc_begins(64, 8);
        lane.realloc_ends(64, 128, 9, traits, 0);
        room.ledger.fold(room.lanes[0].lane);
        assert_eq!(room.ledger.live.waiting(), 1);
        let profile = room.profile();
        assert_eq!(profile.quality.own_events, if own { 2 } else { 0 });
        assert!(profile.sites.iter().all(|site| site.cross_thread_frees == 0));
    }
}

#[test]
fn a_free_does_not_end_the_next_block_at_its_address() {
    let mut room = Room::new(3);
    // The events of a thread are in one window, so the clock cannot order the events of different threads.
    room.lanes[1].alloc(64, 8, PLAIN, 0);
    room.lanes[2].free(64, 8);
    room.lanes[0].alloc(64, 9, PLAIN, 0);
    room.ledger.clock.set_by_hand(1000);
    room.ledger.fold(room.lanes[2].lane);
    let profile = room.profile();
    assert_eq!(profile.live.iter().map(|block| block.size).collect::<Vec<_>>(), [9]);
    assert_eq!(profile.quality.anomalies.total(), 0);
}

#[test]
fn a_flush_resolves_a_mix_up_just_before_it() {
    let mut room = Room::new(3);
    room.at(10, 0).alloc(64, 8, PLAIN, 0);
    room.at(20, 1).free(64, 8);
    room.at(30, 2).alloc(64, 8, PLAIN, 0);
    // The first thread still has its old block of the same size at that address.
    room.at(40, 0).free(64, 8);
    room.ledger.fold(room.lanes[0].lane);
    let anomalies = room.profile().quality.anomalies;
    assert_eq!((anomalies.unmatched_frees, anomalies.double_allocations), (0, 0));
    assert_eq!(anomalies.ambiguous_pairings, 1);
}

#[test]
fn a_thread_that_only_frees_makes_the_peak_uncertain() {
    let mut room = Room::new(2);
    for n in 1..=100 {
        room.at(20 * n, 0).alloc(n << 21, 1 << 20, PLAIN, 0);
        room.at(20 * n + 10, 1).free(n << 21, 1 << 20);
    }
    room.ledger.fold(room.lanes[0].lane);
    let peak = room.profile().peak;
    assert!(peak.bytes - (1 << 20) <= peak.uncertainty_bytes, "{peak:?}");
}

#[test]
fn what_a_lane_is_behind_by_is_in_the_uncertainty_however_small_the_parts_it_is_booked_in() {
    let mut room = Room::new(2);
    for n in 1..=64 {
        room.at(10 + n, 1).alloc(n << 40, 64 << 20, PLAIN, 0);
        room.ledger.fold(room.lanes[1].lane);
    }
    for n in 1..=512 {
        room.at(100 + n, 0).alloc(n << 24, 8 << 20, PLAIN, 0);
    }
    // 8 GiB are live now, of which 4 GiB are booked.
    for n in 1..=64 {
        room.at(1_000 + n, 1).free(n << 40, 64 << 20);
    }
    room.ledger.fold(room.lanes[1].lane);
    let own = room.lanes[0].lane;
    while own.folder.tail.own() < own.head().own() {
        let taken = own.folder.latch.take();
        Fold::begin(room.ledger, own, &taken).run_some(Part::of_words(64));
    }
    let peak = room.profile().peak;
    assert!((8u64 << 30).abs_diff(peak.bytes) <= peak.uncertainty_bytes, "{peak:?}");
}

#[test]
fn each_interval_has_its_own_height_though_one_fold_books_them_all() {
    let mut room = Room::new(1);
    let lane = room.at(10, 0);
    lane.alloc(64, 100 << 20, PLAIN, 0);
    lane.free(64, 100 << 20);
    for n in 1..=10u64 {
        room.at(n * 10_000_000, 0).alloc(4096 * n, 8, PLAIN, 0);
    }
    let profile = room.profile();
    let heights: Vec<u64> = profile.timeline.intervals.iter().map(|interval| interval.peak_bytes).collect();
    assert_eq!(profile.peak.bytes, 100 << 20);
    assert_eq!(heights[0], 100 << 20, "{heights:?}");
    assert!(heights[1..].iter().all(|height| *height <= 80), "{heights:?}");
}

#[test]
fn a_block_of_heapledgers_own_that_the_program_reallocates_breaks_no_law() {
    for (old_is_own, new_is_own) in [(true, false), (false, true)] {
        let mut room = Room::new(2);
        room.at(10, 1).alloc(64, 8, Traits::new(16, false, old_is_own), 0);
        let lane = room.at(20, 0);
        lane.realloc_begins(64, 8);
        lane.realloc_ends(64, 128, 9, Traits::new(16, false, new_is_own), 0);
        // When this lane is folded, the old block is still in the ring of the other lane.
        room.ledger.fold(room.lanes[0].lane);
        assert_eq!(crate::profile::check(&room.profile()), [], "{old_is_own}");
    }
}

#[test]
fn a_realloc_whose_second_half_was_lost_does_not_stand_in_for_the_next_of_its_address() {
    let mut room = Room::new(1);
    let lane = room.at(10, 0);
    lane.alloc(64, 100, PLAIN, 0);
    lane.realloc_begins(64, 100);
    let lane = room.at(20, 0);
    lane.alloc(64, 200, PLAIN, 0);
    lane.realloc_begins(64, 200);
    lane.realloc_ends(64, 128, 300, PLAIN, 0);
    let live: Vec<_> = room.profile().live.iter().map(|block| (block.address, block.size)).collect();
    // The old block of 100 bytes is wrong, because one event was lost.
    assert_eq!(live, [(64, 100), (128, 300)]);
}

#[test]
fn in_order_a_free_of_what_was_left_out_is_counted_as_such() {
    let ledger = Ledger::open(256 << 20, ClockMode::PerEvent).unwrap();
    ledger.clock.set_by_hand(1);
    let mut lane = Producer::new(ledger, 4);
    ledger.use_sampling(true);
    lane.free_whole(64, 1000);
    ledger.flush(lane.lane);
    assert_eq!(ledger.live.waiting(), 0);
    // relaxed: there is one thread.
    assert_eq!(ledger.live.anomalies.sampled_out_freed_bytes.load(Ordering::Relaxed), 1000);
}

/// Runs an unlisted free of period 3, and an internal block at its address that was listed in period `listed`. The free
/// may be booked before or after the block, and the block may be on the same lane or on another lane. Returns the freed
/// bytes of sampled-out blocks, and the number of internal events before and after the free of the internal block.
fn freed_of_sampled_out(listed: u64, is_same_lane: bool, is_booked_late: bool) -> (u64, u64, u64) {
    let mut room = Room::new(3);
    let own = Traits::new(16, false, true).with_period(listed);
    room.ledger.use_sampling(false);
    let of_block = if is_same_lane { 0 } else { 1 };
    room.at(10, 0).free_unlisted(64, 1000, 3);
    if !is_booked_late {
        room.ledger.fold(room.lanes[0].lane);
    }
    // The clock does not decide, because both events are in one window.
    room.lanes[of_block].alloc(64, 1000, own, 0);
    room.ledger.fold(room.lanes[of_block].lane);
    room.ledger.clock.set_by_hand(20);
    let flush = |room: &Room| room.ledger.flush(room.lanes[2].lane);
    flush(&room);
    let internal = |room: &Room| room.profile().quality.own_events;
    // relaxed: there is one thread.
    let freed = room.ledger.live.anomalies.sampled_out_freed_bytes.load(Ordering::Relaxed);
    let before = internal(&room);
    // This is the free of the internal block.
    room.at(30, 2).free_whole(64, 1000);
    flush(&room);
    (freed, before, internal(&room))
}

#[test]
fn an_unlisted_free_is_counted_with_its_size_and_ends_no_internal_block_that_was_listed() {
    for (is_same_lane, is_booked_late) in [(false, false), (false, true), (true, false), (true, true)] {
        let found = |listed| freed_of_sampled_out(listed, is_same_lane, is_booked_late);
        for listed in [3, 4] {
            assert_eq!(found(listed), (1000, 1, 2), "{listed} {is_same_lane} {is_booked_late}");
        }
        // The free may mean a block that is not in the set, or was listed in an earlier period.
        for listed in [0, 2] {
            assert_eq!(found(listed), (0, 2, 2), "{listed} {is_same_lane} {is_booked_late}");
        }
    }
}

#[test]
fn the_free_of_a_query_s_result_ends_its_block_in_its_period_and_later() {
    // Three frees: listed in the period of the block, not listed in a later period, and without the whole size at the
    // full level.
    for free in [0, 4, 17] {
        let mut room = Room::new(2);
        room.ledger.use_sampling(false);
        room.at(10, 0).alloc(64, 1000, Traits::new(16, false, true).with_period(3), 0);
        room.ledger.fold(room.lanes[0].lane);
        let lane = room.at(20, 1);
        match free {
            17 => lane.free(64, 1000),
            period => lane.free_unlisted(64, 1000, period),
        }
        let quality = room.profile().quality;
        assert_eq!(
            (quality.own_events, quality.anomalies.total(), room.ledger.live.waiting()),
            (2, 0, 0),
            "{free}"
        );
    }
}

#[test]
fn an_internal_block_is_listed_anew_by_its_realloc() {
    for is_late in [false, true] {
        let mut room = Room::new(2);
        room.ledger.use_sampling(false);
        let own = Traits::new(16, false, true);
        room.at(10, if is_late { 1 } else { 0 }).alloc(64, 8, own.with_period(2), 0);
        let lane = room.at(20, 0);
        lane.realloc_begins(64, 8);
        lane.realloc_ends(64, 128, 1000, own.with_period(3), 0);
        room.ledger.fold(room.lanes[0].lane);
        room.at(30, 1).free_unlisted(128, 1000, 3);
        room.ledger.flush(room.lanes[1].lane);
        // relaxed: there is one thread.
        let freed = room.ledger.live.anomalies.sampled_out_freed_bytes.load(Ordering::Relaxed);
        assert_eq!((freed, room.profile().quality.own_events), (1000, 2), "{is_late}");
    }
}

#[test]
fn many_flushes_give_up_no_free_while_the_lane_of_its_block_is_held() {
    for clock in [ClockMode::Batched, ClockMode::PerEvent] {
        let mut room = Room::with_clock(3, clock);
        room.at(10, 0).alloc(64, 100, PLAIN, 0);
        room.at(20, 1).free(64, 100);
        room.ledger.clock.set_by_hand(30);
        if clock == ClockMode::Batched {
            room.book_wholly(&[1]);
        }
        std::thread::scope(|threads| {
            let taken = room.lanes[0].lane.folder.latch.take();
            for _ in 0..80 {
                threads.spawn(|| (0..20).for_each(|_| room.ledger.flush(room.lanes[2].lane)));
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            drop(taken);
        });
        assert_eq!(
            (room.profile().quality.anomalies.total(), room.profile().live.len()),
            (0, 0),
            "{clock:?}"
        );
    }
}

#[test]
fn in_order_no_free_is_given_up_while_an_unfinished_event_keeps_its_block_from_being_booked() {
    for is_whole in [false, true] {
        let mut room = Room::with_clock(3, ClockMode::PerEvent);
        room.ledger.use_sampling(false);
        room.at(10, 0).alloc(64, 100, PLAIN, 0);
        let freeing = room.at(20, 1);
        if is_whole {
            freeing.free_whole(64, 100)
        } else {
            freeing.free(64, 100)
        }
        room.ledger.clock.set_by_hand(30);
        room.lanes[2].lane.stamping().begin();
        // A thread that ends books its lane in any case.
        room.book_wholly(&[1]);
        (0..100).for_each(|_| room.ledger.flush(room.lanes[0].lane));
        assert_eq!(room.ledger.live.waiting(), 1);
        room.lanes[2].lane.stamping().end();
        let profile = room.profile();
        assert_eq!((profile.quality.anomalies.total(), profile.live.len()), (0, 0), "{is_whole}");
        // relaxed: there is one thread.
        assert_eq!(room.ledger.live.anomalies.sampled_out_frees.load(Ordering::Relaxed), 0, "{is_whole}");
    }
}

#[test]
fn in_order_a_block_that_is_being_reallocated_has_left_its_address() {
    // The program's allocator may give the old address to another thread between the two halves.
    for (freeing, is_old_in_table) in [(3, false), (0, false), (2, false), (3, true)] {
        let mut room = Room::with_clock(4, ClockMode::PerEvent);
        room.at(10, 0).alloc(64, 100, PLAIN, 0);
        if is_old_in_table {
            room.at(11, 0).alloc(64 + (1 << 30), 8, PLAIN, 0);
            room.book_wholly(&[0]);
        }
        room.at(20, 1).realloc_begins(64, 100);
        room.at(30, 2).alloc(64, 100, PLAIN, 0);
        room.at(40, freeing).free(64, 100);
        room.at(50, 1).realloc_ends(64, 128, 200, PLAIN, 0);
        room.ledger.clock.set_by_hand(60);
        let profile = room.profile();
        assert_eq!(profile.quality.anomalies.total(), 0, "{freeing} {is_old_in_table}");
        let live: Vec<_> =
            profile.live.iter().map(|block| block.address).filter(|at| *at < 1 << 30).collect();
        assert_eq!(live, [128], "{freeing} {is_old_in_table}");
    }
}

#[test]
fn the_free_of_a_query_s_result_from_before_sampling_is_recorded_for_as_long_as_the_program_keeps_it() {
    let mut room = Room::new(2);
    let (ledger, own) = (room.ledger, Traits::new(16, false, true));
    ledger.sampled.open(&ledger.pages);
    (0..3).for_each(|_| ledger.sampled.clear(&ledger.pages));
    let listed = own.with_period(ledger.sampled.period());
    room.at(10, 0).alloc(64, 8, own, 0);
    room.lanes[0].alloc(128, 8, listed, 0);
    room.lanes[0].alloc(192, 8, PLAIN, 0);
    room.at(20, 1).alloc(256, 8, own.with_period(1), 0);
    room.lanes[1].alloc(320, 8, listed, 0);
    room.lanes[1].alloc(384, 8, PLAIN, 0);
    ledger.fold(room.lanes[0].lane);
    room.book_wholly(&[1]);
    counters::list_internal_blocks(ledger);
    let found = [64, 128, 192, 256, 320, 384].map(|address| ledger.sampled.remove(&ledger.pages, address));
    assert_eq!(found, [true, false, false, true, false, false]);
}

#[test]
fn results_of_queries_at_one_address_that_the_program_frees_as_sampling_begins_all_end() {
    // The frees wait until the flush, in an order that is not the order of their times.
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut room = Room::new(4);
        room.ledger.use_sampling(true);
        let own = Traits::new(16, false, true);
        for (lane, at) in [(0, 10), (1, 30), (2, 50)] {
            room.at(at, lane).alloc(64, 1000, own, 0);
            room.at(at + 10, lane).free_whole(64, 1000);
        }
        room.ledger.clock.set_by_hand(60);
        room.book_wholly(&order);
        room.ledger.flush(room.lanes[3].lane);
        // relaxed: there is one thread.
        let freed = room.ledger.live.anomalies.sampled_out_freed_bytes.load(Ordering::Relaxed);
        let profile = room.profile();
        assert_eq!((freed, profile.quality.own_events, profile.live.len()), (0, 6, 0), "{order:?}");
    }
}
