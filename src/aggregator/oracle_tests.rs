//! Tests of the ledger against a simple, slow model of the heap (the oracle). Random programs run on several lanes
//! (rings of threads), which are booked in random interleavings. Every figure of the ledger is compared with the same
//! figure of the oracle, which keeps its blocks in a map.
//!
//! One thread acts for the threads of all lanes, and the test sets the clock, so a failing program fails again.
//!
//! | figure | one lane | several lanes |
//! | --- | --- | --- |
//! | totals, freed, live set by address and size, recorded, internal events | equal | equal |
//! | sums and size histogram of every site, sums of every thread | equal | equal when sizes tell |
//! | stack, thread and alignment of every live block | equal | equal when sizes tell |
//! | peak in bytes and blocks, peak of each site, live figures of each site at the peak | equal | within the bound |
//! | sums, reallocs and peak of every scope | equal | not compared |
//! | realloc chains and moves | equal | not compared |
//! | temporaries | never more | not compared |
//! | history | the end of each thread's log | the same |
//!
//! "When sizes tell": the record of a free has a hash of the block's size (the size bits). If two threads got the same
//! address within one window of the clock, only the size bits distinguish the two blocks. If the size bits are equal
//! too, the ledger may exchange the two blocks. No sum over all blocks shows an exchange, unless the sizes differ.

mod cuts;
mod found;
mod naive;
mod pledges;
pub(crate) mod producer;
mod program;
mod sampled_out;
mod stepping;
mod temporaries;

use crate::aggregator::snapshot;
use crate::fold::usual;
use crate::ledger::scopes::ScopeAccount;
use crate::profile::{self, EventKind, Profile};
use crate::recorder::internal::InternalScope;
use naive::{Naive, Sums};
use program::{Random, Shape, Step, World};
use proptest::prelude::*;
use std::collections::BTreeMap;

const ONE_LANE: Shape =
    Shape { lanes: 1, segments: 4, live_max: 300, wide: true, own: true, distinct: false, slowness: 1 };
const FOUR_LANES: Shape = Shape { lanes: 4, distinct: true, ..ONE_LANE };
/// A program that is so slow that the events of one fold extend over many intervals of the timeline.
const TWO_LANES_SLOWLY: Shape = Shape { lanes: 2, slowness: 600, ..FOUR_LANES };
/// A program with equal sizes at one address, where only the times decide which of two blocks a free means. The size
/// bits of a free identify the size, so blocks that can be exchanged have the same size, and no sum shows an exchange.
const FOUR_LANES_IN_DOUBT: Shape = Shape { lanes: 4, own: false, wide: false, ..ONE_LANE };

/// Runs a program. Returns the state after a flush, and a profile of that state.
fn play(shape: Shape, steps: impl IntoIterator<Item = Step>) -> (World, Profile) {
    let mut world = World::new(shape);
    world.run(steps);
    world.finish_reallocs();
    world.ledger.flush(world.producers[0].lane);
    let mut profile = snapshot::profile(world.ledger, &InternalScope::enter(), "test");
    // A profile finds scopes by the frames of stacks, and these stacks have no frames. See `World::accounts` instead.
    profile.scopes.clear();
    compare_always(&world, &profile);
    (world, profile)
}

fn random_steps(seed: u64, count: usize) -> impl Iterator<Item = Step> {
    let mut random = Random(seed);
    std::iter::repeat_with(move || random.step()).take(count)
}

/// Checks the figures that must be equal for every interleaving.
fn compare_always(world: &World, profile: &Profile) {
    let (naive, totals, quality) = (&world.naive, &profile.totals, &profile.quality);
    assert_eq!(quality.lost.total(), 0);
    assert_eq!(quality.anomalies.unmatched_frees, 0, "a free found no block");
    assert_eq!(quality.anomalies.double_allocations, 0, "two blocks at one address");
    let counted = (quality.attempted, quality.recorded, quality.in_flight, quality.own_events);
    assert_eq!(counted, (naive.events, naive.events, 0, naive.own_events));
    assert_eq!((totals.total_blocks, totals.total_bytes), (naive.sums.total_blocks, naive.sums.total_bytes));
    assert_eq!((totals.freed_blocks, totals.freed_bytes), (naive.sums.freed_blocks, naive.sums.freed_bytes));
    assert_eq!((totals.live_blocks, totals.live_bytes), (naive.sums.live_blocks(), naive.sums.live_bytes()));
    assert_eq!(totals.reallocs, naive.reallocs);
    let live: BTreeMap<u64, u64> = profile.live.iter().map(|block| (block.address, block.size)).collect();
    let expected = naive.live.iter().filter(|(_, block)| !block.own);
    assert_eq!(live, expected.map(|(address, block)| (*address, block.size)).collect(), "the live set");
    compare_history(world, profile);
    if quality.anomalies.ambiguous_pairings == 0 {
        assert_eq!(profile::check(profile), []);
    }
}

/// Checks that each thread's part of the history is the end of the thread's log. Events at addresses of heapledger's
/// blocks are skipped. The history omits the allocations of such blocks, and omits their frees only if it still has the
/// words of the allocation.
fn compare_history(world: &World, profile: &Profile) {
    let is_program = |kind: &EventKind| {
        let address = match *kind {
            EventKind::Alloc { address, .. } | EventKind::Free { address } => address,
            EventKind::Realloc { old_address, .. } => old_address,
            EventKind::ReallocFailed { address } => address,
            EventKind::Tracked { .. } => return false,
        };
        !world.naive.own_addresses.contains(&address)
    };
    for producer in &world.producers {
        let events = profile.history.iter().filter(|event| event.thread == producer.row);
        let events: Vec<_> = events.map(|event| event.kind).filter(is_program).collect();
        let log: Vec<_> = producer.log.iter().copied().filter(is_program).collect();
        assert!(log.ends_with(&events), "the history of thread {}", producer.row);
        assert!(events.len() >= log.len().min(250), "a history of {} events", events.len());
    }
}

/// Checks the figures that must be equal unless a free was paired with the wrong block.
fn compare_identities(naive: &Naive, profile: &Profile) {
    for block in &profile.live {
        let expected = &naive.live[&block.address];
        let known = (block.stack, block.thread, block.align_log2);
        assert_eq!(known, (expected.stack, expected.row, expected.align_log2));
    }
    let row = |row: &profile::ThreadRow| Sums {
        total_blocks: row.total_blocks,
        total_bytes: row.total_bytes,
        freed_blocks: row.freed_blocks,
        freed_bytes: row.freed_bytes,
        cross_thread_frees: row.cross_thread_frees,
    };
    for thread in &profile.threads {
        let expected = naive.rows.get(&thread.index).cloned().unwrap_or_default();
        assert_eq!(row(thread), expected, "thread {}", thread.index);
    }
    for site in &profile.sites {
        let expected = &naive.sites[&site.stack];
        let sums = Sums {
            total_blocks: site.total_blocks,
            total_bytes: site.total_bytes,
            freed_blocks: site.freed_blocks,
            freed_bytes: site.freed_bytes,
            cross_thread_frees: site.cross_thread_frees,
        };
        assert_eq!(sums, expected.sums, "site {}", site.stack);
        assert_eq!(site.sizes, expected.sizes, "sizes of site {}", site.stack);
        assert_eq!(site.reallocs.count, expected.reallocs, "reallocs of site {}", site.stack);
    }
}

/// Checks the figures that are exact for a single lane.
fn compare_exactly(world: &World, profile: &Profile) {
    let naive = &world.naive;
    compare_identities(naive, profile);
    for (account, expected) in world.accounts().iter().zip(&naive.scopes) {
        let ScopeAccount { sums, peak_bytes, .. } = account;
        let figures =
            [sums.total_blocks, sums.total_bytes, sums.freed_blocks, sums.freed_bytes, sums.reallocs];
        let naive::Scope { sums, reallocs, peak_bytes: peak } = expected;
        let naive = [sums.total_blocks, sums.total_bytes, sums.freed_blocks, sums.freed_bytes, *reallocs];
        assert_eq!((figures, *peak_bytes as u64), (naive, *peak), "a scope");
    }
    assert_eq!((profile.peak.bytes, profile.peak.blocks), (naive.peak_bytes, naive.peak_blocks), "the peak");
    assert_eq!(profile.peak.uncertainty_bytes, 0);
    for site in &profile.sites {
        let (expected, reallocs) = (&naive.sites[&site.stack], &site.reallocs);
        assert_eq!(
            (site.at_peak_bytes, site.at_peak_blocks),
            expected.at_peak,
            "site {} at peak",
            site.stack
        );
        assert_eq!(site.own_peak_bytes, expected.own_peak_bytes, "own peak of site {}", site.stack);
        let moves = (reallocs.moved, reallocs.copied_bytes);
        assert_eq!(moves, (expected.moved, expected.copied_bytes), "moves of site {}", site.stack);
        let chains = (reallocs.chains, reallocs.chain_links, reallocs.longest_chain);
        let expected_chains = (expected.chains, expected.chain_links, expected.longest_chain);
        assert_eq!(chains, expected_chains, "chains of site {}", site.stack);
        let temporary = (site.temporary_blocks, site.temporary_bytes);
        let expected = (expected.temporary_blocks, expected.temporary_bytes);
        assert_eq!(temporary, expected, "temporaries of site {}", site.stack);
    }
}

#[test]
fn one_lane_agrees_with_the_oracle_in_every_figure() {
    for seed in 0..10 {
        let (world, profile) = play(ONE_LANE, random_steps(seed, 20_000));
        assert_eq!(profile.quality.anomalies.total(), 0, "seed {seed}");
        compare_exactly(&world, &profile);
    }
}

#[test]
fn four_lanes_agree_with_the_oracle_in_every_identity_when_sizes_tell() {
    for seed in 0..10 {
        let (world, profile) = play(FOUR_LANES, random_steps(seed, 30_000));
        compare_identities(&world.naive, &profile);
        let bound = profile.peak.bytes + profile.peak.uncertainty_bytes;
        assert!(bound >= world.naive.peak_bytes, "the peak was {}, not {bound}", world.naive.peak_bytes);
    }
}

#[test]
fn what_is_freed_late_and_for_others_is_in_the_timeline() {
    for seed in 0..10 {
        let (_, profile) = play(TWO_LANES_SLOWLY, random_steps(seed, 3_000));
        let freed = profile.timeline.intervals.iter().map(|interval| interval.freed_blocks).sum::<u64>();
        assert_eq!(freed, profile.totals.freed_blocks, "seed {seed}");
    }
}

#[test]
fn four_lanes_agree_with_the_oracle_in_every_sum_when_sizes_are_equal() {
    let mut ambiguous = 0;
    for seed in 0..10 {
        let (_, profile) = play(FOUR_LANES_IN_DOUBT, random_steps(seed, 30_000));
        ambiguous += profile.quality.anomalies.ambiguous_pairings;
    }
    println!("{ambiguous} ambiguous pairings");
}

/// Returns the figures of a program that must be the same, whether or not the loop of usual events has booked the
/// program.
fn figures((world, profile): (World, Profile)) -> String {
    let Profile { totals, peak, sites, live, threads, timeline, history, crossings, quality, .. } = &profile;
    let counts = (quality.attempted, quality.recorded, quality.own_events, &quality.anomalies);
    let scopes = world.accounts();
    format!("{:#?}", (totals, peak, sites, live, threads, timeline, history, crossings, counts, scopes))
}

/// Checks that a program has the same figures with the loop of usual events (`fold::usual`) and with the general code
/// alone.
fn compare_codes(shape: Shape, steps: &[Step]) {
    let with = figures(play(shape, steps.iter().copied()));
    let without = figures(usual::without(|| play(shape, steps.iter().copied())));
    let first = with.lines().zip(without.lines()).find(|(with, without)| with != without);
    assert_eq!(first, None, "the loop, and the general code");
}

#[test]
fn the_loop_of_usual_events_books_what_the_general_code_books() {
    for seed in 0..4 {
        let steps: Vec<Step> = random_steps(seed, 20_000).collect();
        for shape in [ONE_LANE, FOUR_LANES, FOUR_LANES_IN_DOUBT, TWO_LANES_SLOWLY] {
            compare_codes(shape, &steps);
        }
    }
}

/// Returns small programs, so that a failing program can be reduced further.
fn small_programs() -> impl Strategy<Value = Vec<Step>> {
    let step = any::<(u8, u8, u16, u16, u8)>();
    let step = step.prop_map(|(lane, kind, pick, size, pause)| Step { lane, kind, pick, size, pause });
    prop::collection::vec(step, 0..400)
}

fn small_program_settings() -> ProptestConfig {
    ProptestConfig {
        cases: 200,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(small_program_settings())]

    #[test]
    fn every_small_program_of_one_lane_agrees_with_the_oracle(steps in small_programs()) {
        let (world, profile) = play(ONE_LANE, steps);
        compare_exactly(&world, &profile);
    }

    #[test]
    fn every_small_program_is_booked_in_one_way(steps in small_programs()) {
        compare_codes(ONE_LANE, &steps);
        compare_codes(FOUR_LANES_IN_DOUBT, &steps);
    }

    #[test]
    fn every_small_program_in_doubt_agrees_with_the_oracle_in_every_sum(steps in small_programs()) {
        play(FOUR_LANES_IN_DOUBT, steps);
    }

    #[test]
    fn every_small_program_of_four_lanes_agrees_with_the_oracle(steps in small_programs()) {
        let (world, profile) = play(FOUR_LANES, steps);
        compare_identities(&world.naive, &profile);
    }
}
