//! Equations (laws) between a trace and its dump. The ledger booked every event in the process, and the replay applies
//! every event from the file, so both must have the same figures.

use std::collections::HashMap;

use super::frame::Counts;
use super::replay::Replay;
use crate::profile::{Law, LossReason, Profile};
use crate::replay::BlockKind;

/// Returns the laws between a complete trace and its dump.
pub fn laws(replay: &mut Replay, counts: Counts, dump: &Profile) -> Vec<Law> {
    let figures = replay.figures();
    let (quality, booked) = (&dump.quality, &dump.totals);
    let is_complete = counts.lost == 0 && dump.events_in_no_table() == 0;
    let table_full = quality.lost.get(LossReason::TableFull);
    let mut laws = Vec::new();
    let mut equal = |law, left: u64, right: u64, applies| {
        laws.push(Law { law, left: u128::from(left), right: u128::from(right), applies });
    };
    equal("events in the frames = events that the index names", figures.events, counts.events, true);
    equal(
        "events traced + left out of the trace = events recorded + lost for a full table",
        counts.events.saturating_add(counts.lost),
        quality.recorded.saturating_add(table_full),
        true,
    );
    let applies = is_complete && table_full == 0;
    let totals = replay.heap.sums.totals;
    equal("every free finds its block", figures.unmatched_frees, quality.anomalies.unmatched_frees, applies);
    equal("no block lies where another lives", figures.overlapping_blocks, 0, applies);
    equal("total_blocks: replay = ledger", totals.total_blocks, booked.total_blocks, applies);
    equal("total_bytes: replay = ledger", totals.total_bytes, booked.total_bytes, applies);
    equal("freed_blocks: replay = ledger", totals.freed_blocks, booked.freed_blocks, applies);
    equal("freed_bytes: replay = ledger", totals.freed_bytes, booked.freed_bytes, applies);
    equal("reallocs: replay = ledger", totals.reallocs, booked.reallocs, applies);
    equal("own events: replay = ledger", figures.own_events, quality.own_events, applies);
    let (same, blocks) = same_blocks(replay, dump);
    equal("live blocks at the same address with the same size = live blocks", same, blocks, applies);
    let (same, sites) = same_sites(replay, dump);
    // Ambiguous pairings can exchange the sites of two blocks with the same size and address.
    let is_clear = quality.anomalies.total() == 0;
    equal("sites with the same sums = sites", same, sites, applies && is_clear);
    laws
}

/// Returns the number of live blocks that the replay and the dump have in common, and the number of live blocks in the
/// replay or in the dump, whichever is larger.
fn same_blocks(replay: &Replay, dump: &Profile) -> (u64, u64) {
    let mut ours: HashMap<(u64, u64), u64> = HashMap::new();
    let mut count = 0;
    for (address, block) in replay.heap.blocks.iter().filter(|(_, block)| block.kind == BlockKind::Program) {
        *ours.entry((address, block.size)).or_default() += 1;
        count += 1;
    }
    let mut same = 0;
    for block in &dump.live {
        if let Some(left) = ours.get_mut(&(block.address, block.size)).filter(|left| **left > 0) {
            *left -= 1;
            same += 1;
        }
    }
    (same, count.max(dump.live.len() as u64))
}

/// Returns the number of sites with equal sums in the replay and the dump, and the number of sites in the replay or in
/// the dump, whichever is larger.
fn same_sites(replay: &mut Replay, dump: &Profile) -> (u64, u64) {
    let sums = |site: &crate::profile::Site| {
        (site.total_blocks, site.total_bytes, site.freed_blocks, site.freed_bytes, site.reallocs.count)
    };
    let booked: HashMap<u32, _> = dump.sites.iter().map(|site| (site.stack, sums(site))).collect();
    let ours = replay.heap.sums.sites();
    let same = ours.iter().filter(|site| booked.get(&site.stack) == Some(&sums(site))).count();
    (same as u64, (ours.len().max(booked.len())) as u64)
}
