//! Tests of frees in the outbox (events on their way to the shared table) that end fewer bytes than `outbox_bytes_min`
//! counts for them. No such free may hide a peak that the uncertainty of the peak does not cover.

use super::producer::Producer;
use crate::fold::state::Fold;
use crate::ledger::Ledger;
use crate::ledger::fold_state::{LaneCounters, lane_counters_of};
use crate::profile::{ClockMode, LossReason};
use crate::ring::event::Traits;

const PLAIN: Traits = Traits::new(8, false, false);

fn ledger() -> &'static Ledger {
    let ledger = Ledger::open(64 << 20, ClockMode::Batched).unwrap();
    ledger.clock.set_by_hand(1);
    ledger
}

/// Books a lane, and sends all its blocks to the shared table.
fn send_all(ledger: &Ledger, producer: &Producer) {
    let taken = producer.lane.folder.latch.take();
    let mut fold = Fold::begin(ledger, producer.lane, &taken);
    fold.run();
    fold.empty_nursery();
}

/// Makes an allocation of 2,500 bytes, a free of 3,000 bytes, and an allocation of 1,000 bytes.
fn free_between_allocations(producer: &mut Producer, address: u64) {
    producer.alloc(0x1000, 2_500, PLAIN, 0);
    producer.free(address, 3_000);
    producer.alloc(0x2000, 1_000, PLAIN, 0);
}

#[test]
fn a_free_that_finds_its_block_lowers_what_comes_after_it() {
    let ledger = ledger();
    let mut producer = Producer::new(ledger, 4);
    producer.alloc(0x3000, 3_000, PLAIN, 0);
    send_all(ledger, &producer);
    free_between_allocations(&mut producer, 0x3000);
    ledger.fold(producer.lane);
    assert_eq!(ledger.peak.get().0, 5_500);
    producer.alloc(0x4000, 3_000, PLAIN, 0);
    ledger.fold(producer.lane);
    assert_eq!(ledger.peak.get().0, 6_500);
}

#[test]
fn the_end_of_a_block_of_heapledgers_own_hides_no_peak() {
    let ledger = ledger();
    let mut producer = Producer::new(ledger, 4);
    producer.alloc(0x3000, 3_000, PLAIN.as_own(), 0);
    send_all(ledger, &producer);
    free_between_allocations(&mut producer, 0x3000);
    ledger.fold(producer.lane);
    assert_eq!(ledger.peak.get().0, 3_500);
}

#[test]
fn the_free_of_a_block_that_was_lost_hides_no_peak() {
    let ledger = ledger();
    let mut producer = Producer::new(ledger, 4);
    producer.lane.attempt();
    producer.lane.lose(LossReason::RingFull);
    free_between_allocations(&mut producer, 0x3000);
    ledger.fold(producer.lane);
    assert_eq!(ledger.peak.get().0, 3_500);
}

#[test]
fn what_the_free_of_a_block_that_is_not_booked_yet_hides_is_in_the_uncertainty() {
    let ledger = ledger();
    let (mut maker, mut freer) = (Producer::new(ledger, 4), Producer::new(ledger, 4));
    maker.alloc(0x3000, 3_000, PLAIN, 0);
    free_between_allocations(&mut freer, 0x3000);
    ledger.fold(freer.lane);
    assert_eq!(ledger.live.waiting(), 1);
    assert_eq!(LaneCounters::read(&lane_counters_of(freer.lane).high_water_bytes), 3_500);
    ledger.fold(maker.lane);
}
