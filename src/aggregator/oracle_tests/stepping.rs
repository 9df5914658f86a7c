//! Tests of single rounds of the aggregator, without threads and without waiting.

use super::producer::Producer;
use crate::aggregator::rounds::{Aggregator, ROUNDS_UNTIL_IDLE, Round, WAITING_WORDS_HELPED};
use crate::fold::batch::Part;
use crate::fold::state::Fold;
use crate::ledger::Ledger;
use crate::ledger::fold_state::lane_counters_of;
use crate::ring::event::Traits;
use crate::ring::lane::{COSTLY_WORDS, SEGMENT_WORDS};
use crate::sys::sync::Ordering::SeqCst;

const PLAIN: Traits = Traits::new(16, false, false);

fn ledger() -> &'static Ledger {
    let ledger = Ledger::open(256 << 20, crate::profile::ClockMode::Batched).unwrap();
    ledger.clock.set_by_hand(1);
    ledger
}

fn is_booked(producer: &Producer) -> bool {
    producer.lane.folder.tail.own() == producer.lane.head().own()
}

/// Makes rounds until an unused lane is one round away from being idle.
fn step_until_almost_quiet(aggregator: &mut Aggregator, ledger: &Ledger) {
    for now in 1..u64::from(ROUNDS_UNTIL_IDLE) {
        assert_eq!(aggregator.round(ledger, now), Round::default(), "too early");
    }
}

#[test]
fn a_quiet_lane_is_booked_and_an_active_one_is_left() {
    let ledger = ledger();
    let (mut busy, mut quiet) = (Producer::new(ledger, 4), Producer::new(ledger, 4));
    let mut aggregator = Aggregator::default();
    quiet.alloc(64, 8, PLAIN, 0);
    assert_eq!(aggregator.round(ledger, 1), Round { active: 2, folded: 0, flush_due: false });
    step_until_almost_quiet(&mut aggregator, ledger);
    busy.alloc(128, 8, PLAIN, 0);
    assert_eq!(aggregator.round(ledger, 9), Round { active: 1, folded: 1, flush_due: false });
    assert!(is_booked(&quiet) && !is_booked(&busy));
    step_until_almost_quiet(&mut aggregator, ledger);
    assert_eq!(aggregator.round(ledger, 20), Round { active: 0, folded: 1, flush_due: false });
    assert!(is_booked(&busy));
    assert_eq!(aggregator.round(ledger, 21), Round::default(), "nothing is left to do");
}

#[test]
fn an_active_lane_with_much_waiting_is_booked_all_the_same() {
    let ledger = ledger();
    let mut busy = Producer::new(ledger, 8);
    let mut aggregator = Aggregator::default();
    while busy.lane.head().own() < WAITING_WORDS_HELPED {
        busy.alloc(64, 8, PLAIN, 0);
        busy.free(64, 8);
    }
    assert_eq!(aggregator.round(ledger, 1), Round { active: 1, folded: 1, flush_due: false });
    assert!(is_booked(&busy));
}

#[test]
fn a_lane_that_someone_else_folds_is_not_waited_for() {
    let ledger = ledger();
    let mut quiet = Producer::new(ledger, 4);
    let mut aggregator = Aggregator::default();
    quiet.alloc(64, 8, PLAIN, 0);
    aggregator.round(ledger, 1);
    step_until_almost_quiet(&mut aggregator, ledger);
    let taken = quiet.lane.folder.latch.take();
    assert_eq!(aggregator.round(ledger, 9), Round::default());
    drop(taken);
    assert_eq!(aggregator.round(ledger, 10).folded, 1);
}

#[test]
fn waiting_frees_are_matched_after_some_rounds_and_only_they_ask_for_a_flush() {
    let ledger = ledger();
    let (mut maker, mut freer) = (Producer::new(ledger, 4), Producer::new(ledger, 4));
    let mut aggregator = Aggregator::default();
    let asked = |aggregator: &mut Aggregator| {
        (0..256).filter(|tick| aggregator.round(ledger, 2 + tick).flush_due).count()
    };
    maker.alloc(64, 8, PLAIN, 0);
    assert_eq!(asked(&mut aggregator), 0, "nobody waits");
    freer.free(64, 8);
    assert!(asked(&mut aggregator) > 0, "a free waits for a block in a nursery");
    assert_eq!(ledger.live.waiting(), 1);
    ledger.flush(freer.lane);
    assert_eq!((ledger.live.waiting(), ledger.live.overlaps()), (0, 0));
    assert_eq!(asked(&mut aggregator), 0, "nobody waits any more");
}

#[test]
fn frees_whose_block_was_lost_are_given_up_after_a_while_and_then_nobody_asks() {
    let ledger = ledger();
    let mut freer = Producer::new(ledger, 4);
    let mut aggregator = Aggregator::default();
    freer.free(64, 8);
    freer.free(96, 8);
    let unmatched = || ledger.live.anomalies.unmatched.load(SeqCst);
    let mut flushes = 0;
    while ledger.live.waiting() > 0 || flushes == 0 {
        assert_eq!(unmatched(), 0);
        ledger.flush(freer.lane);
        flushes += 1;
        assert!(flushes < 100);
    }
    assert!(flushes > 50, "{flushes}: a block of theirs may still be on its way");
    assert_eq!(unmatched(), 2);
    assert!((0..256).all(|tick| !aggregator.round(ledger, 2 + tick).flush_due));
    freer.alloc(64, 8, PLAIN, 0);
    freer.free(64, 8);
    ledger.flush(freer.lane);
    assert_eq!((ledger.live.waiting(), unmatched()), (0, 2), "their addresses are as good as any");
}

#[test]
fn lanes_that_appear_between_two_steps_are_seen() {
    let ledger = ledger();
    let mut aggregator = Aggregator::default();
    assert_eq!(aggregator.round(ledger, 1), Round::default());
    let late = Producer::new(ledger, 4);
    assert_eq!(aggregator.round(ledger, 2).active, 1);
    step_until_almost_quiet(&mut aggregator, ledger);
    assert_eq!(aggregator.round(ledger, 9).folded, 1);
    assert!(is_booked(&late));
}

/// Number of blocks that makes booking costly, because a nursery has fewer places.
const COSTLY_BLOCKS: u64 = 2_000;
/// Maximum number of words that a call of `offload` leaves unbooked in a ring.
const LEFT_OVER: u64 = COSTLY_WORDS;

fn words_waiting(producer: &Producer) -> u64 {
    producer.lane.head().own() - producer.lane.folder.tail.own()
}

/// Writes at least `words` words to a lane without booking them. All blocks stay live.
fn write_words(producer: &mut Producer, words: u64, address: &mut u64) {
    let until = producer.lane.head().own() + words;
    while producer.lane.head().own() < until {
        *address += 64;
        producer.alloc(*address, 8, PLAIN, 0);
    }
}

/// Returns a lane that was costly to book and has no waiting words.
fn costly_lane(ledger: &'static Ledger, address: &mut u64) -> Producer {
    let mut producer = Producer::new(ledger, 24);
    write_words(&mut producer, 2 * COSTLY_BLOCKS, address);
    ledger.fold(producer.lane);
    assert!(producer.lane.folder.is_costly());
    producer
}

#[test]
fn a_costly_lane_is_booked_at_every_step_where_there_is_a_processor_for_it() {
    let (ledger, mut address) = (ledger(), 0);
    let mut busy = costly_lane(ledger, &mut address);
    let mut aggregator = Aggregator::new(true);
    aggregator.round(ledger, 1);
    write_words(&mut busy, COSTLY_WORDS - 10, &mut address);
    assert_eq!(
        aggregator.round(ledger, 2),
        Round { active: 1, folded: 0, flush_due: false },
        "not worth the way"
    );
    write_words(&mut busy, 2 * SEGMENT_WORDS, &mut address);
    assert!(aggregator.round(ledger, 3).folded > 1, "by parts");
    assert!(words_waiting(&busy) < LEFT_OVER);
    write_words(&mut busy, 2 * SEGMENT_WORDS, &mut address);
    aggregator.may_offload = false;
    assert_eq!(aggregator.round(ledger, 4).folded, 0);
    assert_eq!(aggregator.offload_ns(), None);
}

#[test]
fn a_lane_that_is_costly_no_more_is_left_to_its_thread() {
    let (ledger, mut address) = (ledger(), 0);
    let mut busy = costly_lane(ledger, &mut address);
    let mut aggregator = Aggregator::new(true);
    busy.lane.folder.note_costly(false);
    write_words(&mut busy, 2 * SEGMENT_WORDS, &mut address);
    assert_eq!(aggregator.round(ledger, 1), Round { active: 1, folded: 0, flush_due: false });
    assert_eq!(aggregator.offload_ns(), None);
}

#[test]
fn between_two_steps_costly_lanes_are_booked_by_turns_and_as_often_as_they_fill() {
    let (ledger, mut address) = (ledger(), 0);
    let mut both = [(); 2].map(|()| costly_lane(ledger, &mut address));
    let mut aggregator = Aggregator::new(true);
    both.iter_mut().for_each(|lane| write_words(lane, SEGMENT_WORDS, &mut address));
    aggregator.round(ledger, 1);
    let first_ns = aggregator.offload_ns().expect("there are such lanes");
    aggregator.offload(ledger, first_ns);
    let slower_ns = aggregator.offload_ns().expect("as before");
    assert!(slower_ns > first_ns, "nothing came: {slower_ns}");
    both.iter_mut().for_each(|lane| write_words(lane, 3 * SEGMENT_WORDS, &mut address));
    aggregator.offload(ledger, slower_ns);
    assert!(both.iter().all(|lane| words_waiting(lane) < LEFT_OVER));
    assert!(aggregator.offload_ns() < Some(slower_ns), "much came");
    let away = |lane: &Producer| lane.lane.folder.folds_away.load(SeqCst);
    assert!(both.iter().all(|lane| away(lane) > 4), "one after the other: {:?}", both.each_ref().map(away));
}

/// Returns two costly lanes. The second lane has the older words, and more words than one call of `offload` books.
fn newer_and_older(ledger: &'static Ledger, address: &mut u64) -> [Producer; 2] {
    let [mut newer, mut older] = [(); 2].map(|()| costly_lane(ledger, address));
    ledger.clock.set_by_hand(1_000);
    write_words(&mut older, 20 * SEGMENT_WORDS, address);
    ledger.clock.set_by_hand(2_000_000);
    write_words(&mut newer, 20 * SEGMENT_WORDS, address);
    [newer, older]
}

#[test]
fn of_costly_lanes_the_one_with_the_oldest_words_is_booked_first() {
    let (ledger, mut address) = (ledger(), 0);
    let [newer, older] = newer_and_older(ledger, &mut address);
    let mut aggregator = Aggregator::new(true);
    aggregator.round(ledger, 3_000_000);
    assert!(words_waiting(&older) < 6 * SEGMENT_WORDS, "{}", words_waiting(&older));
    // Both lanes had been booked up to the same time before, so the first booked part may have been a part of the newer
    // lane.
    assert!(words_waiting(&newer) >= 19 * SEGMENT_WORDS, "{}", words_waiting(&newer));
}

#[test]
fn a_costly_lane_whose_thread_books_it_keeps_no_other_waiting() {
    let (ledger, mut address) = (ledger(), 0);
    let [newer, older] = newer_and_older(ledger, &mut address);
    let mut aggregator = Aggregator::new(true);
    let _taken = older.lane.folder.latch.take();
    aggregator.round(ledger, 3_000_000);
    assert_eq!(words_waiting(&older) / SEGMENT_WORDS, 20);
    assert!(words_waiting(&newer) < 6 * SEGMENT_WORDS, "{}", words_waiting(&newer));
}

#[test]
fn costly_folds_and_others_make_up_for_each_other() {
    let folder = &Producer::new(ledger(), 4).lane.folder;
    [true, true, false, true].into_iter().for_each(|is_costly| folder.note_costly(is_costly));
    assert_eq!((folder.costly_balance(), folder.is_costly()), (2, true));
    (0..5).for_each(|_| folder.note_costly(false));
    assert_eq!((folder.costly_balance(), folder.is_costly()), (0, false));
    folder.note_costly(true);
    folder.reset_costly_balance();
    assert_eq!((folder.costly_balance(), folder.is_costly()), (0, true));
}

#[test]
fn of_the_other_costly_lanes_only_what_is_not_newer_is_booked_with_it() {
    let (ledger, mut address) = (ledger(), 0);
    let [mut dense, mut sparse] = [(); 2].map(|()| costly_lane(ledger, &mut address));
    ledger.clock.set_by_hand(500);
    write_words(&mut sparse, 100, &mut address);
    ledger.clock.set_by_hand(1_000);
    write_words(&mut dense, 20 * SEGMENT_WORDS, &mut address);
    ledger.clock.set_by_hand(2_000_000);
    write_words(&mut sparse, 20 * SEGMENT_WORDS, &mut address);
    let before = words_waiting(&sparse);
    Aggregator::new(true).round(ledger, 3_000_000);
    assert!(words_waiting(&dense) < 6 * SEGMENT_WORDS, "{}", words_waiting(&dense));
    // The booked words are the words of the window that was open at that time, and a mark.
    let booked = before - words_waiting(&sparse);
    assert!((100..300).contains(&booked), "{booked}");
}

/// Lets one lane allocate blocks and another free them.
fn handed_over(ledger: &'static Ledger, blocks: u64) -> [Producer; 2] {
    let [mut maker, mut freer] = [(); 2].map(|()| Producer::new(ledger, 4));
    (1..=blocks).for_each(|number| maker.alloc(64 * number, 48, PLAIN, 0));
    ledger.clock.set_by_hand(1_000);
    (1..=blocks).for_each(|number| freer.free(64 * number, 48));
    ledger.clock.set_by_hand(2_000);
    [maker, freer]
}

#[test]
fn a_block_that_another_lane_frees_is_found_in_the_nursery_of_its_lane() {
    let ledger = ledger();
    let [maker, freer] = handed_over(ledger, 40);
    assert!(ledger.try_fold_with(freer.lane, Part::ALL, std::iter::once(maker.lane), Part::ALL));
    let counters = lane_counters_of(freer.lane);
    let freed = [&counters.freed_blocks, &counters.cross_thread_frees].map(|count| count.load(SeqCst));
    assert_eq!(freed, [40, 40]);
    assert_eq!((ledger.live.waiting(), ledger.booked.blocks(), is_booked(&maker)), (0, 0, true));
    assert!(maker.lane.folder.gives_blocks() || !maker.lane.folder.has_remote_frees());
    assert!(freer.lane.folder.has_remote_frees());
}

#[test]
fn a_fold_does_not_wait_for_a_partner() {
    let ledger = ledger();
    let [maker, freer] = handed_over(ledger, 40);
    let taken = maker.lane.folder.latch.take();
    assert!(ledger.try_fold_with(freer.lane, Part::ALL, std::iter::once(maker.lane), Part::ALL));
    assert_eq!(ledger.live.waiting(), 40);
    drop(taken);
    ledger.flush(freer.lane);
    assert_eq!((ledger.live.waiting(), ledger.booked.blocks()), (0, 0));
    assert_eq!(ledger.live.anomalies.ambiguous.load(SeqCst), 0);
}

/// Address of the last of the blocks that `handed_over_but_last` hands over.
const LAST: u64 = 64 * 40;

/// Lets a first lane allocate 40 blocks and end the last block by `end`. Then a second lane allocates a block at the
/// address of the last block, and a third lane frees all 40 addresses. The ledger has booked the first lane up to
/// `end`, and the second lane.
fn handed_over_but_last(ledger: &'static Ledger, end: impl FnOnce(&mut Producer)) -> [Producer; 2] {
    let [mut maker, mut other, mut freer] = [(); 3].map(|()| Producer::new(ledger, 4));
    (1..=40).for_each(|number| maker.alloc(64 * number, 48, PLAIN, 0));
    ledger.clock.set_by_hand(1_000);
    // A new window begins, so that the times of the blocks are known well enough.
    maker.turn_is_due = true;
    maker.alloc(64 * 42, 48, PLAIN, 0);
    maker.free(64 * 42, 48);
    ledger.fold(maker.lane);
    end(&mut maker);
    other.alloc(LAST, 48, PLAIN, 0);
    ledger.fold(other.lane);
    {
        let taken = other.lane.folder.latch.take();
        Fold::begin(ledger, other.lane, &taken).empty_nursery();
    }
    assert!(ledger.live.has_any_at(&ledger.pages, LAST));
    ledger.clock.set_by_hand(10_000);
    // The loop of usual events needs windows of many words.
    freer.window_words = 127;
    (1..=40).for_each(|number| freer.free(64 * number, 48));
    ledger.clock.set_by_hand(11_000);
    [maker, freer]
}

#[test]
fn a_free_does_not_take_a_block_that_its_own_lane_is_reallocating() {
    let ledger = ledger();
    let [mut maker, freer] = handed_over_but_last(ledger, |maker| maker.realloc_begins(LAST, 48));
    assert!(ledger.try_fold_with(freer.lane, Part::ALL, std::iter::once(maker.lane), Part::ALL));
    assert!(!ledger.live.has_any_at(&ledger.pages, LAST), "the block of the other thread is not freed");
    maker.realloc_ends(LAST, 64 * 41, 96, PLAIN, 0);
    ledger.flush(freer.lane);
    assert_eq!((ledger.live.waiting(), ledger.booked.blocks(), ledger.booked.bytes()), (0, 1, 96));
}

#[test]
fn a_free_does_not_take_a_block_whose_own_free_is_not_booked_yet() {
    for ahead in [Part::NONE, Part::of_words(1)] {
        let ledger = ledger();
        let [maker, freer] = handed_over_but_last(ledger, |maker| {
            maker.turn_is_due = true;
            (42..50).for_each(|number| maker.alloc(64 * number, 48, PLAIN, 0));
            (42..50).for_each(|number| maker.free(64 * number, 48));
            maker.free(LAST, 48);
        });
        assert!(ledger.try_fold_with(freer.lane, Part::ALL, std::iter::once(maker.lane), ahead));
        assert!(!ledger.live.has_any_at(&ledger.pages, LAST), "the block of the other thread is not freed");
        ledger.flush(freer.lane);
        assert_eq!((ledger.live.waiting(), ledger.booked.blocks()), (0, 0));
        assert_eq!(ledger.live.anomalies.unmatched.load(SeqCst), 0);
    }
}

#[test]
fn a_free_means_the_own_block_that_the_nursery_has_just_pushed_out() {
    // For some of these numbers of blocks, the block waits in the outbox when its free is booked.
    for others in 20..100 {
        let ledger = ledger();
        let [mut own, mut partner] = [(); 2].map(|()| Producer::new(ledger, 8));
        own.alloc(64, 48, PLAIN, 0);
        (0..others).for_each(|number| own.alloc(128 + 64 * number, 48, PLAIN, 0));
        own.free(64, 48);
        [64, 1 << 20].into_iter().for_each(|address| partner.alloc(address, 48, PLAIN, 0));
        ledger.clock.set_by_hand(1_000);
        assert!(ledger.try_fold_with(own.lane, Part::ALL, std::iter::once(partner.lane), Part::ALL));
        let counters = lane_counters_of(own.lane);
        let freed = [&counters.freed_blocks, &counters.cross_thread_frees].map(|count| count.load(SeqCst));
        assert_eq!(freed, [1, 0], "{others} other blocks");
    }
}
