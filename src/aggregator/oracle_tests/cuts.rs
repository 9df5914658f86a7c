//! Tests of windows that events of heapledger itself cut.

use super::found::{PLAIN, Room};
use crate::ledger::INTERNAL_STAMPS;
use crate::ring::event::Traits;

const OWN: Traits = Traits::new(16, false, true);

/// Returns a room in which lane 0 has allocated a block at 64, and lane 1 has begun a long window.
fn room_with_long_window() -> Room {
    let mut room = Room::new(3);
    room.at(10, 0).alloc(64, 8, PLAIN, 0);
    let freeing = room.at(11, 1);
    freeing.window_words = 100;
    (0..9).for_each(|number| freeing.alloc(1024 + 16 * number, 16, PLAIN, 0));
    room
}

/// Asserts that the free of the block at 64 has ended this block, and not the block of heapledger at its address.
fn assert_free_is_before_internal_block(room: &Room) {
    room.ledger.clock.set_by_hand(2_000);
    room.book_wholly(&[1, 2, 0]);
    let totals = room.profile().totals;
    assert_eq!((totals.freed_blocks, totals.live_blocks), (1, 9));
}

#[test]
fn all_parts_of_a_window_are_before_the_first_internal_event_after_its_mark() {
    let mut room = room_with_long_window();
    room.internally_at(13, 2, |lane| lane.alloc(64, 8, OWN, 0));
    room.ledger.clock.set_by_hand(15);
    room.ledger.fold(room.lanes[1].lane);
    // The folder has observed the head before this free was published, which was before the internal event.
    room.lanes[1].turn_is_due = false;
    room.lanes[1].free(64, 8);
    assert_free_is_before_internal_block(&room);
}

#[test]
fn a_part_of_a_window_that_was_dated_up_to_an_internal_event_is_cut_there() {
    let mut room = room_with_long_window();
    // The clock is so coarse that this fold and the internal event have the same time.
    room.ledger.clock.set_by_hand(13);
    room.ledger.fold(room.lanes[1].lane);
    // The first of the two is dated at the end of the part before in any case.
    [128, 256].iter().for_each(|address| room.lanes[1].alloc(*address, 8, PLAIN, 0));
    room.internally_at(13, 2, |lane| lane.alloc(512, 8, OWN, 0));
    room.ledger.clock.set_by_hand(2_000);
    let live = room.profile().live;
    assert_eq!(live.len(), 12);
    assert!(live.iter().all(|block| block.born_ns <= 13), "{live:?}");
}

#[test]
fn a_window_that_is_dated_while_a_thread_has_a_stamp_is_before_the_internal_event() {
    let mut room = room_with_long_window();
    room.lanes[1].free(64, 8);
    let date = |room: &Room| {
        room.ledger.clock.set_by_hand(1_000);
        room.book_wholly(&[1]);
    };
    room.internally_while(20, 2, date, |lane| lane.alloc(64, 8, OWN, 0));
    assert_free_is_before_internal_block(&room);
}

#[test]
fn a_window_is_before_an_internal_event_that_is_long_ago() {
    for later in [0, 1, INTERNAL_STAMPS as u64 - 1, INTERNAL_STAMPS as u64, 3 * INTERNAL_STAMPS as u64] {
        let mut room = room_with_long_window();
        room.lanes[1].free(64, 8);
        room.internally_at(20, 2, |lane| lane.alloc(64, 8, OWN, 0));
        (0..later).for_each(|number| _ = room.ledger.internal_stamps.take(|| 21 + number / 100));
        assert_free_is_before_internal_block(&room);
    }
}

#[test]
fn the_time_error_of_a_window_that_is_cut_reaches_to_its_end() {
    // The cut is long before the true time of the free.
    let mut room = room_with_long_window();
    room.internally_at(13, 2, |lane| lane.alloc(128, 8, OWN, 0));
    room.at(40, 0).alloc(256, 8, PLAIN, 0);
    room.lanes[1].turn_is_due = false;
    room.lanes[1].free(256, 8);
    room.ledger.clock.set_by_hand(60);
    room.book_wholly(&[0, 1]);
    assert_eq!(room.ledger.live.waiting(), 0);
    assert_eq!(room.profile().quality.anomalies.total(), 0);
}
