//! What the oracle found, each as small as it can be.

use super::producer::Producer;
use crate::aggregator::snapshot;
use crate::ledger::Ledger;
use crate::profile::{ClockMode, Profile};
use crate::recorder::gate::Own;
use crate::ring::event::Traits;

const PLAIN: Traits = Traits::new(16, false, false);

/// A clock that goes on by one with every look, and lanes.
struct Room {
    ledger: &'static Ledger,
    lanes: Vec<Producer>,
}

impl Room {
    fn new(lanes: usize) -> Room {
        let ledger = Ledger::open(256 << 20, ClockMode::Batched).unwrap();
        ledger.clock.set_by_hand(1);
        Room { ledger, lanes: (0..lanes).map(|_| Producer::new(ledger, 4)).collect() }
    }

    /// The next thing happens now, as the thread's own mark says.
    fn at(&mut self, ns: u64, lane: usize) -> &mut Producer {
        self.ledger.clock.set_by_hand(ns);
        let producer = &mut self.lanes[lane];
        producer.turn_is_due = true;
        producer
    }

    fn profile(&self) -> Profile {
        self.ledger.flush(self.lanes[0].lane);
        snapshot::profile(self.ledger, &Own::enter(), "test")
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
    // All in one window of every thread, so that the clock cannot tell.
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
fn a_mix_up_just_before_a_flush_is_settled_by_it() {
    let mut room = Room::new(3);
    room.at(10, 0).alloc(64, 8, PLAIN, 0);
    room.at(20, 1).free(64, 8);
    room.at(30, 2).alloc(64, 8, PLAIN, 0);
    // The first thread still has its old block there, of the same size.
    room.at(40, 0).free(64, 8);
    room.ledger.fold(room.lanes[0].lane);
    let anomalies = room.profile().quality.anomalies;
    assert_eq!((anomalies.unmatched_frees, anomalies.double_allocations), (0, 0));
    assert_eq!(anomalies.ambiguous_pairings, 1);
}
