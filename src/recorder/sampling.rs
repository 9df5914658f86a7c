//! Events that are left out by choice: sampling, and counting only.
//!
//! A lane that does not record everything keeps its gate closed, and the slot of its thread bears a mark. So the hot path
//! leaves the event aside, and most are passed over at once ([`passes_over_alloc`], [`passes_over_free`]: some ten
//! instructions); all others come to the turn, which brings them here. The default path pays nothing for that.
//!
//! | level | an allocation | a free |
//! | --- | --- | --- |
//! | `Full` | is recorded | is recorded |
//! | `Sampled` | is recorded if the sampler takes it, and its address noted in the sampled set | is recorded if its address is in the set |
//! | `CountersOnly` | is counted | is counted |
//! | `AfterSampling` | is recorded | is recorded with its whole size, as long as blocks live that were left out |
//!
//! RecordKind is left out is counted with its size, so the totals stay exact at every level; what is lost is who and when.
//!
//! Blocks that were recorded before sampling began are not in the set. As long as any of them lives, a free that is
//! not in the set is recorded as well, and the ledger finds out whether it knows the block. A realloc of a sampled
//! block is a free and an allocation of its own: whether the new block is sampled is drawn anew, as its size asks. If the
//! realloc is refused, both were of a block that lives on, and the totals leave them out again ([`restored`]).

use super::gate::is_own;
use super::record::{alloc_record, free_record, whole_free_record};
use super::slot;
use super::stacks::stack_alone;
use super::state::{self, Level};
use super::window::write_open;
use crate::ledger::Ledger;
use crate::ledger::estimate::Sampler;
use crate::profile::LossReason;
use crate::ring::event::Traits;
use crate::ring::lane::{Lane, Skipped};
use crate::sys::sync::{AtomicU64, Ordering};

/// Whether the lane left events out until now.
pub(super) fn left_out(lane: &Lane) -> bool {
    // relaxed, here and below: the lane's own line, written by its thread.
    lane.cold.level.load(Ordering::Relaxed) != Level::Full as u32
}

/// Takes up the level that is in force now; says whether the lane still leaves events out.
pub(super) fn leaves_out(lane: &Lane) -> bool {
    lane.cold.level.store(state::level() as u32, Ordering::Relaxed);
    left_out(lane) && state::current().records()
}

/// Leaves out an allocation of a thread whose slot names no lane that records everything: because nothing is recorded in this
/// process, or because the block is plainly none of the sample. Says whether it did.
#[inline(always)]
pub(super) fn passes_over_alloc(slot: *const (), size: u64) -> bool {
    let Some(lane) = slot::passing_lane(slot) else { return slot == slot::OFF };
    // relaxed, all: the lane's own line.
    let cold = &lane.cold;
    let Some(rest) = Sampler::rest_behind(size, cold.distance.load(Ordering::Relaxed)) else { return false };
    if !state::samples_plainly_at(cold.rate.load(Ordering::Relaxed)) {
        return false;
    }
    cold.distance.store(rest, Ordering::Relaxed);
    count(&cold.skipped, size, true);
    true
}

/// The same for a free.
#[inline(always)]
pub(super) fn passes_over_free(slot: *const (), address: u64, size: u64) -> bool {
    let Some(lane) = slot::passing_lane(slot) else { return slot == slot::OFF };
    let passes = state::sampled().is_some_and(|sampled| !sampled.may_have(address));
    if passes {
        count(&lane.cold.skipped, size, false);
    }
    passes
}

fn sampler(lane: &Lane) -> Sampler {
    let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
    let cold = &lane.cold;
    Sampler { distance: load(&cold.distance), random: load(&cold.random), rate: load(&cold.rate) }
}

/// An allocation on a lane that leaves events out.
pub(super) fn alloc(lane: &Lane, address: u64, size: u64, traits: Traits) {
    let taken = match (state::level(), state::ledger()) {
        (Level::AfterSampling, _) => {
            let stack = stack_alone(lane, size);
            write_open(lane, &alloc_record(address, size, traits, stack));
            return;
        }
        (Level::Sampled, Some(ledger)) => take(lane, ledger, address, size),
        _ => None,
    };
    match taken {
        None => count(&lane.cold.skipped, size, true),
        Some(Err(reason)) => {
            lane.attempt();
            lane.lose(reason);
        }
        Some(Ok(rate)) => {
            let stack = stack_alone(lane, size);
            write_open(lane, &alloc_record(address, size, traits.sampled(rate), stack));
        }
    }
}

/// Draws whether a block is sampled; if so, notes its address and returns the rate.
fn take(lane: &Lane, ledger: &Ledger, address: u64, size: u64) -> Option<Result<u64, LossReason>> {
    let rate = state::sampling_rate();
    let mut sampler = sampler(lane);
    let taken = sampler.takes(size, rate, || state::seed(ledger) ^ address.rotate_left(32));
    lane.cold.distance.store(sampler.distance, Ordering::Relaxed);
    lane.cold.random.store(sampler.random, Ordering::Relaxed);
    lane.cold.rate.store(sampler.rate, Ordering::Relaxed);
    if !taken {
        return None;
    }
    let noted = ledger.sampled.insert(&ledger.pages, address);
    Some(if noted { Ok(rate) } else { Err(LossReason::TableFull) })
}

/// A free on a lane that leaves events out.
pub(super) fn free(lane: &Lane, address: u64, size: u64) {
    let Some(ledger) = state::ledger() else { return };
    if state::level() != Level::AfterSampling && ledger.sampled.remove(&ledger.pages, address) {
        write_open(lane, &free_record(address, size));
    } else if state::may_earlier_blocks_live() || state::level() == Level::AfterSampling {
        write_open(lane, &whole_free_record(address, size));
    } else {
        count(&lane.cold.skipped, size, false);
    }
}

/// Enters a block of heapledger's own in the sampled set: should the program free it, as it does with the answer to a
/// query, that free is recorded too, and not counted as one of a block of its own.
pub(super) fn note_own(lane: &Lane, address: u64) {
    if let Some(ledger) = ledger_of_own(lane) {
        // Where there is no room, its free is counted as the program's.
        ledger.sampled.insert(&ledger.pages, address);
    }
}

/// Takes a block that heapledger itself frees out of the sampled set: its free is recorded in any case.
pub(super) fn forget_own(lane: &Lane, address: u64) {
    if let Some(ledger) = ledger_of_own(lane) {
        ledger.sampled.remove(&ledger.pages, address);
    }
}

/// Whether a free by heapledger itself may be of a block of the program's that was left out, such as one that a callback replaces.
pub(super) fn may_mean_what_was_left_out(lane: &Lane) -> bool {
    is_own(lane) && state::level() != Level::Full
}

/// The ledger, if the thread works for heapledger while frees are recorded by the sampled set.
fn ledger_of_own(lane: &Lane) -> Option<&'static Ledger> {
    let by_the_set = is_own(lane) && matches!(state::level(), Level::Sampled | Level::CountersOnly);
    state::ledger().filter(|_| by_the_set)
}

/// Notes that a block was freed and allocated only in the books: its realloc was refused.
pub(super) fn restored(lane: &Lane, size: u64) {
    lane.cold.skipped.restored.count(size);
}

/// Counts what is left out. The gate is closed all the time, and keeps no handler from doing the same.
#[inline(always)]
fn count(skipped: &Skipped, size: u64, is_alloc: bool) {
    if is_alloc { skipped.allocs.count(size) } else { skipped.frees.count(size) }
}
