use super::*;
use crate::ledger::entry::Meta;
use std::collections::HashMap;
use std::ptr::NonNull;

struct Room {
    region: NonNull<Pages>,
    table: Box<LiveTable>,
}

impl Room {
    fn new(limit: u64) -> Room {
        let region = Pages::reserve(limit, size_of::<Pages>()).unwrap();
        // SAFETY: all zero bytes are a valid table.
        let table = unsafe { Box::<LiveTable>::new_zeroed().assume_init() };
        Room { region, table }
    }

    fn pages(&self) -> &Pages {
        // SAFETY: P1, until the drop.
        unsafe { self.region.as_ref() }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        Pages::release(self.region);
    }
}

fn block(address: u64, size: u64, at_ns: u64) -> Entry {
    Entry { address, size, at_ns, meta: Meta::of_block(0, 1, 4, false, 0) }
}

fn free(address: u64, size: u64, at_ns: u64) -> Entry {
    Entry { address, size, at_ns, meta: Meta::of_waiting_free(2, 0) }
}

#[test]
fn the_table_agrees_with_a_map_over_a_million_random_steps() {
    let room = Room::new(1 << 30);
    let (mut map, mut state) = (HashMap::new(), 42u64);
    for step in 0..1_000_000u64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let address = ((state >> 33) % 50_000 + 1) * 16;
        if let Some(size) = map.remove(&address) {
            let freed = room.table.free(room.pages(), free(address, size, step));
            assert!(matches!(freed, Freed::Block(block) if block.size == size), "{freed:?}");
        } else {
            let size = state % 4000;
            assert_eq!(room.table.place(room.pages(), block(address, size, step)), Placed::Live);
            map.insert(address, size);
        }
    }
    let mut seen = 0;
    for shard in 0..SHARDS {
        room.table.blocks_of_shard(room.pages(), shard, usize::MAX, |entry| {
            assert_eq!(map.get(&entry.address), Some(&entry.size));
            seen += 1;
        });
    }
    assert_eq!((seen, room.table.waiting(), room.table.overlaps()), (map.len(), 0, 0));
}

#[test]
fn a_free_that_comes_first_waits_for_its_block() {
    let room = Room::new(1 << 24);
    assert_eq!(room.table.free(room.pages(), free(64, 8, 20)), Freed::Waits);
    assert_eq!(room.table.waiting(), 1);
    assert!(
        matches!(room.table.place(room.pages(), block(64, 8, 10)), Placed::FreedBy(by) if by.at_ns == 20)
    );
    assert_eq!(room.table.waiting(), 0);
}

#[test]
fn a_free_never_ends_a_block_that_was_born_after_it() {
    let room = Room::new(1 << 24);
    assert_eq!(room.table.place(room.pages(), block(64, 8, 30)), Placed::Live);
    assert_eq!(room.table.free(room.pages(), free(64, 8, 20)), Freed::Waits);
    assert!(matches!(room.table.place(room.pages(), block(64, 8, 10)), Placed::FreedBy(_)));
    assert!(matches!(room.table.free(room.pages(), free(64, 8, 40)), Freed::Block(by) if by.at_ns == 30));
}

#[test]
fn of_two_blocks_at_one_address_each_free_takes_its_own() {
    for first in [20, 40] {
        let room = Room::new(1 << 24);
        room.table.place(room.pages(), block(64, 8, 30));
        room.table.place(room.pages(), block(64, 8, 10));
        assert_eq!(room.table.overlaps(), 1);
        let expected = if first == 20 { 10 } else { 30 };
        let freed = room.table.free(room.pages(), free(64, 8, first));
        assert!(matches!(freed, Freed::Block(block) if block.at_ns == expected), "{freed:?}");
        assert_eq!(room.table.overlaps(), 0, "one block is left, whichever it is");
        assert_eq!(room.table.anomalies.ambiguous.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn size_bits_decide_and_a_choice_that_they_leave_open_is_counted() {
    for (other_size, doubts) in [(16, 0), (8, 1)] {
        let room = Room::new(1 << 24);
        let doubtful =
            |size, at_ns| Entry { meta: Meta::of_block(0, 1, 4, false, 1000), ..block(64, size, at_ns) };
        room.table.place(room.pages(), doubtful(8, 100));
        room.table.place(room.pages(), doubtful(other_size, 110));
        let freed = room.table.free(room.pages(), free(64, 8, 115));
        assert!(matches!(freed, Freed::Block(block) if block.size == 8), "{freed:?}");
        assert_eq!(room.table.anomalies.ambiguous.load(Ordering::Relaxed), doubts);
        assert_eq!(room.table.anomalies.layout_mismatches.load(Ordering::Relaxed), 0);
    }
}

/// If the clock does not decide, the record of a realloc tells whether the block is heapledger's or the program's.
#[test]
fn a_realloc_by_heapledger_means_its_own_block_and_one_by_the_program_means_the_programs() {
    let of = |own, at_ns| Entry { meta: Meta::of_block(0, 1, 4, own, 1000), ..block(64, 8, at_ns) };
    let realloc =
        |internal| Entry { meta: Meta::of_waiting_free(2, 1000).by_realloc(internal), ..free(64, 8, 115) };
    for (internal, younger_is_own) in [(true, true), (true, false), (false, true), (false, false)] {
        let blocks = [of(!younger_is_own, 100), of(younger_is_own, 110)];
        let room = Room::new(1 << 24);
        for block in blocks {
            room.table.place(room.pages(), block);
        }
        let taken = room.table.free(room.pages(), realloc(internal));
        assert!(matches!(taken, Freed::Block(block) if block.meta.is_own() == internal), "{taken:?}");
        // Here the frees are booked before the blocks.
        let room = Room::new(1 << 24);
        for internal in [internal, !internal] {
            assert_eq!(room.table.free(room.pages(), realloc(internal)), Freed::Waits);
        }
        for block in blocks {
            let by = room.table.place(room.pages(), block);
            assert!(
                matches!(by, Placed::FreedBy(free) if !free.meta.is_by_other_side(block.meta)),
                "{by:?} of {block:?}"
            );
        }
        // A program may reallocate a block that a query returned to it.
        let room = Room::new(1 << 24);
        room.table.place(room.pages(), of(!internal, 100));
        assert!(matches!(room.table.free(room.pages(), realloc(internal)), Freed::Block(_)));
    }
}

/// Returns the entry of a block or a free as an event of thread `thread`, with an inexact time. The number of its stack
/// is the number of the thread.
fn by_thread(thread: u32, entry: Entry) -> Entry {
    let meta = match entry.meta.is_waiting() {
        true => Meta::of_waiting_free(thread, 1000),
        false => Meta::of_block(thread, thread, 4, false, 1000),
    };
    Entry { meta, ..entry }
}

#[test]
fn a_doubt_is_about_the_blocks_that_the_free_may_mean() {
    let room = Room::new(1 << 24);
    // A doubt does not include a block of another size, whose free is not booked yet.
    room.table.place(room.pages(), by_thread(2, block(64, 16, 90)));
    assert_eq!(room.table.free(room.pages(), by_thread(3, free(64, 8, 100))), Freed::Waits);
    let placed = room.table.place(room.pages(), by_thread(1, block(64, 8, 110)));
    assert!(matches!(placed, Placed::FreedBy(free) if free.at_ns == 100), "{placed:?}");
    let since = |stack| room.table.anomalies.doubts.since(0, |one| one == stack);
    assert_eq!((since(1), since(2)), (1, 0), "the free may mean a block that is not booked");
}

#[test]
fn a_free_with_another_layout_is_counted_once_nothing_else_can_explain_it() {
    let room = Room::new(1 << 24);
    room.table.place(room.pages(), block(64, 8, 1));
    assert_eq!(room.table.free(room.pages(), free(64, 9, 2)), Freed::Waits);
    let mut found = [None; 4];
    for shard in 0..SHARDS {
        room.table.take_left_over(room.pages(), shard, 0, |_, _| true, &mut found);
    }
    assert_eq!(found, [None; 4], "it came in this round: its block may still be on its way");
    let round = room.table.begin_round();
    for shard in 0..SHARDS {
        room.table.take_left_over(room.pages(), shard, round, agrees, &mut found);
    }
    assert_eq!(found, [None; 4], "a block of its own size may still turn up");
    for shard in 0..SHARDS {
        room.table.take_left_over(room.pages(), shard, round, |_, _| true, &mut found);
    }
    assert!(matches!(found[0], Some((block, free)) if block.size == 8 && free.size == 9));
    assert_eq!(room.table.anomalies.layout_mismatches.load(Ordering::Relaxed), 1);
    assert_eq!(room.table.anomalies.ambiguous.load(Ordering::Relaxed), 0);
    assert_eq!(room.table.waiting(), 0);
}

#[test]
fn a_free_of_another_size_waits_for_the_block_that_is_not_booked_yet() {
    let room = Room::new(1 << 24);
    // One thread allocates a block of 6 bytes and frees it at 20, then allocates a block of 24 bytes at 30. Another
    // thread frees the second block at 40.
    room.table.place(room.pages(), block(64, 6, 10));
    assert_eq!(room.table.free(room.pages(), free(64, 24, 40)), Freed::Waits);
    let first = room.table.free(room.pages(), free(64, 6, 20));
    assert!(matches!(first, Freed::Block(block) if block.size == 6), "{first:?}");
    let second = room.table.place(room.pages(), block(64, 24, 30));
    assert!(matches!(second, Placed::FreedBy(free) if free.at_ns == 40), "{second:?}");
    assert_eq!((room.table.waiting(), room.table.overlaps()), (0, 0));
}

/// The entries are adjacent in the table, so each removal moves other entries, even to places before the entry that is
/// being read.
#[test]
fn at_one_look_every_waiting_free_gets_the_block_that_is_left_over_for_it() {
    let (mut state, mut paired) = (7u64, 0);
    for round in 0..300 {
        let room = Room::new(1 << 24);
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for step in 0..100 {
            let (address, size) = ((draw(60) + 1) * 64, 8 + draw(2) * 8);
            // These frees have old times, so they cannot be the frees of blocks in the table.
            match draw(3) {
                0 => drop(room.table.free(room.pages(), free(address, size, step))),
                _ => drop(room.table.place(room.pages(), block(address, size, 1_000 + step))),
            }
        }
        for shard in 0..SHARDS {
            loop {
                let mut found = [None; 16];
                room.table.take_left_over(room.pages(), shard, 1, |_, _| true, &mut found);
                paired += found.iter().flatten().count();
                if found[15].is_none() {
                    break;
                }
            }
        }
        let mut blocks: Vec<u64> = Vec::new();
        let mut waiting = Vec::new();
        for shard in &room.table.shards {
            let table = shard.table(room.pages());
            let entries =
                (0..table.capacity).map(|place| table.read(place)).filter(|entry| entry.address != 0);
            for entry in entries {
                let count = if entry.meta.is_waiting() { 1 + entry.meta.more() } else { 1 } as usize;
                let list = if entry.meta.is_waiting() { &mut waiting } else { &mut blocks };
                list.extend(std::iter::repeat_n(entry.address, count));
            }
        }
        assert!(waiting.iter().all(|address| !blocks.contains(address)), "round {round}: {waiting:?}");
        assert_eq!(room.table.waiting(), waiting.len() as u64);
        blocks.sort_unstable();
        let twice = blocks.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert_eq!(room.table.overlaps(), twice as u64, "round {round}");
    }
    assert!(paired > 5_000, "{paired}");
}

#[test]
fn within_one_thread_no_doubt_of_the_clock_turns_a_free_around() {
    let room = Room::new(1 << 24);
    let with_doubt = |entry: Entry, thread, waiting| {
        let meta = match waiting {
            true => Meta::of_waiting_free(thread, 1000),
            false => Meta::of_block(0, thread, 4, false, 1000),
        };
        Entry { meta, ..entry }
    };
    // Thread 2 frees a block of thread 1, then gets the same address. Thread 1's block is booked last.
    room.table.place(room.pages(), with_doubt(block(64, 8, 30), 2, false));
    assert_eq!(room.table.free(room.pages(), with_doubt(free(64, 8, 20), 2, true)), Freed::Waits);
    let placed = room.table.place(room.pages(), with_doubt(block(64, 8, 10), 1, false));
    assert!(matches!(placed, Placed::FreedBy(free) if free.at_ns == 20), "{placed:?}");
}

#[test]
fn at_the_limit_the_table_says_full_and_goes_on_working() {
    let room = Room::new(1 << 20);
    let mut placed = Vec::new();
    for address in (1..).map(|n| n * 4096) {
        match room.table.place(room.pages(), block(address, 8, 1)) {
            Placed::Live => placed.push(address),
            other => {
                assert_eq!(other, Placed::Full);
                break;
            }
        }
    }
    assert!(placed.len() > 1000, "{}", placed.len());
    for address in placed {
        assert!(matches!(room.table.free(room.pages(), free(address, 8, 2)), Freed::Block(_)));
    }
}

#[test]
#[cfg_attr(heapledger_portable, ignore = "what is given back stays there")]
fn a_million_blocks_take_less_than_48_bytes_each() {
    let room = Room::new(1 << 30);
    let before = room.pages().held_bytes();
    for n in 1..=1_000_000u64 {
        room.table.place(room.pages(), block(n * 48, 8, n));
        if n % 100_000 == 0 {
            let bytes = room.pages().held_bytes() - before;
            assert!(bytes <= 50 * n, "{bytes} bytes for {n} blocks");
        }
    }
    let bytes = room.pages().held_bytes() - before;
    assert!(bytes <= 48_000_000, "{bytes} bytes for a million blocks");
}

#[test]
fn frees_of_one_address_wait_in_one_entry_and_each_finds_its_block() {
    let room = Room::new(1 << 24);
    for at_ns in 0..5_000 {
        assert_eq!(room.table.free(room.pages(), free(64, 8, at_ns)), Freed::Waits);
    }
    room.table.free(room.pages(), free(64, 9, 1));
    assert_eq!(room.table.waiting(), 5_001);
    let mut entries = 0;
    let table = room.table.shard(64).table(room.pages());
    table.each_at(64, |_, _| entries += 1);
    assert_eq!(entries, 6, "each search passes all of them");
    for _ in 0..4_000 {
        assert!(matches!(room.table.place(room.pages(), block(64, 8, 0)), Placed::FreedBy(_)));
    }
    assert_eq!(room.table.waiting(), 1_001);
    let round = room.table.begin_round();
    room.table.give_up_waiting(room.pages(), round);
    assert_eq!((room.table.waiting(), room.table.anomalies.unmatched.load(Ordering::Relaxed)), (0, 1_001));
    assert_eq!(room.table.place(room.pages(), block(64, 8, 0)), Placed::Live);
}

#[test]
fn a_free_with_its_whole_size_that_is_dropped_counts_its_bytes_however_many_wait() {
    let room = Room::new(1 << 26);
    room.table.begin_sampling(None);
    let whole =
        |address: u64| Entry { size: crate::ledger::entry::with_whole_size(5_000), ..free(address, 0, 1) };
    let frees = u64::from(WAITING_MAX) + 100;
    (0..frees).for_each(|_| assert_eq!(room.table.free(room.pages(), whole(64)), Freed::Waits));
    let round = room.table.begin_round();
    room.table.drop_sampled_out(room.pages(), round);
    let anomalies = &room.table.anomalies;
    let counted = (&anomalies.sampled_out_frees, &anomalies.sampled_out_freed_bytes);
    let counted = (counted.0.load(Ordering::Relaxed), counted.1.load(Ordering::Relaxed));
    assert_eq!(counted, (frees, frees * 5_000));
    assert_eq!((room.table.waiting(), anomalies.unmatched.load(Ordering::Relaxed)), (0, 0));
}
