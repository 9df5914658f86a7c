//! Temporary blocks: each is counted, wherever its addresses lie and whenever the nursery is emptied.

use super::found::{PLAIN, Room};
use crate::profile::TEMPORARY_ALLOCS;

/// A thread that allocates at random addresses, most of which share their places in the first nursery, and frees its
/// newest blocks.
#[test]
fn every_temporary_block_is_counted_also_if_the_nursery_pushed_it_out() {
    for (distance, steps_to_flush) in [(16u64, 37), (1 << 16, 7), (1 << 20, 1_000)] {
        let mut room = Room::new(1);
        let mut random = distance;
        let mut draw = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        // Blocks by address: number of the allocation, size.
        let mut live: Vec<(u64, u32, u64)> = Vec::new();
        let (mut allocs, mut temporary, mut temporary_bytes, mut freed) = (0, 0, 0, 0);
        for step in 0..20_000u64 {
            let (address, size) = ((1 + draw(400)) * distance, 8 + draw(200));
            if draw(100) < 55 && live.iter().all(|block| block.0 != address) {
                allocs += 1;
                room.lanes[0].alloc(address, size, PLAIN, 0);
                live.push((address, allocs, size));
            } else if !live.is_empty() {
                let newest = live.len() as u64 - 1;
                let (address, number, size) = live.remove((newest - draw(12).min(newest)) as usize);
                room.lanes[0].free(address, size);
                freed += 1;
                if allocs - number <= TEMPORARY_ALLOCS {
                    (temporary, temporary_bytes) = (temporary + 1, temporary_bytes + size);
                }
            }
            if step % 50 == 0 {
                room.ledger.fold(room.lanes[0].lane);
            }
            if step % steps_to_flush == 0 {
                room.ledger.flush(room.lanes[0].lane);
            }
        }
        let profile = room.profile();
        let sites = profile.sites.iter();
        let found =
            sites.fold((0, 0), |sum, site| (sum.0 + site.temporary_blocks, sum.1 + site.temporary_bytes));
        assert_eq!(found, (temporary, temporary_bytes), "{distance}");
        assert_eq!(
            (profile.totals.freed_blocks, profile.quality.anomalies.total()),
            (freed, 0),
            "{distance}"
        );
        assert!(temporary > 3_000 && temporary < freed, "{temporary} of {freed}");
    }
}

/// A realloc does not make a block younger, also if the block has left the nursery.
#[test]
fn a_block_that_was_pushed_out_keeps_its_number_through_a_realloc() {
    for further in [0, TEMPORARY_ALLOCS, TEMPORARY_ALLOCS + 1] {
        let mut room = Room::new(1);
        let lane = &mut room.lanes[0];
        lane.alloc(64, 100, PLAIN, 0);
        room.ledger.flush(lane.lane);
        lane.realloc_begins(64, 100);
        lane.realloc_ends(64, 128, 200, PLAIN, 0);
        (0..u64::from(further)).for_each(|number| lane.alloc(1 << 20 | number << 8, 8, PLAIN, 0));
        lane.free(128, 200);
        let temporary: u64 = room.profile().sites.iter().map(|site| site.temporary_blocks).sum();
        assert_eq!(temporary, u64::from(further <= TEMPORARY_ALLOCS), "{further}");
    }
}
