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
//! What is left out is counted with its size, so the totals stay exact at every level; what is lost is who and when.
//!
//! Blocks that were recorded before sampling began are not in the set. As long as any of them lives, a free that is
//! not in the set is recorded as well, and the ledger finds out whether it knows the block. A realloc of a sampled
//! block is a free and an allocation of its own: whether the new block is sampled is drawn anew, as its size asks. If the
//! realloc is refused, both were of a block that lives on, and the totals leave them out again ([`restored`]).

use super::lifecycle::{self, Level};
use super::thread;
use super::turn;
use crate::ledger::Ledger;
use crate::ledger::estimate::Sampler;
use crate::profile::LossReason;
use crate::ring::event::Traits;
use crate::ring::lane::{Lane, Skipped};
use crate::sys::errno::KeptErrno;
use crate::sys::sync::{AtomicU32, AtomicU64, Ordering};

/// Whether blocks may live that were recorded before sampling began.
static EARLIER_BLOCKS: AtomicU32 = AtomicU32::new(0);

/// Whether blocks may live that were left out.
static BLOCKS_LEFT: AtomicU32 = AtomicU32::new(0);

/// From now on, blocks may live that were left out.
pub(super) fn expect_blocks_left() {
    // relaxed: as below.
    BLOCKS_LEFT.store(1, Ordering::Relaxed);
}

/// Whether blocks may live that were left out.
pub(super) fn may_blocks_be_left() -> bool {
    // relaxed: as below.
    BLOCKS_LEFT.load(Ordering::Relaxed) != 0
}

/// All blocks that were left out have ended, and everything is recorded: threads may go back to the short path.
pub(crate) fn no_blocks_left() {
    // relaxed: each thread follows at its next event.
    BLOCKS_LEFT.store(0, Ordering::Relaxed);
}

/// From now on, blocks may live that are not in the sampled set.
pub(super) fn expect_earlier_blocks() {
    // relaxed: a thread samples only after it has seen the new level, which is published later.
    EARLIER_BLOCKS.store(1, Ordering::Relaxed);
}

/// All blocks that were recorded before sampling began have ended.
pub(crate) fn no_earlier_blocks() {
    // relaxed: a free that is recorded for nothing is only a free too many.
    EARLIER_BLOCKS.store(0, Ordering::Relaxed);
    lifecycle::note_sampling();
}

/// Whether blocks may live that were recorded before sampling began.
pub(super) fn may_earlier_blocks_live() -> bool {
    // relaxed: as above.
    EARLIER_BLOCKS.load(Ordering::Relaxed) != 0
}

/// Whether the lane left events out until now.
pub(super) fn left_out(lane: &Lane) -> bool {
    // relaxed, here and below: the lane's own line, written by its thread.
    lane.cold.level.load(Ordering::Relaxed) != Level::Full as u32
}

/// Takes up the level that is in force now; says whether the lane still leaves events out.
pub(super) fn leaves_out(lane: &Lane) -> bool {
    lane.cold.level.store(lifecycle::level() as u32, Ordering::Relaxed);
    left_out(lane) && lifecycle::state().records()
}

/// Leaves out an allocation of a thread whose slot names no lane that records everything: because nothing is recorded in this
/// process, or because the block is plainly none of the sample. Says whether it did.
#[inline(always)]
pub(super) fn passes_over_alloc(slot: *const (), size: u64) -> bool {
    let Some(lane) = thread::passing_lane(slot) else { return slot == thread::OFF };
    // relaxed, all: the lane's own line.
    let cold = &lane.cold;
    let Some(rest) = Sampler::rest_behind(size, cold.distance.load(Ordering::Relaxed)) else { return false };
    if !lifecycle::samples_plainly_at(cold.rate.load(Ordering::Relaxed)) {
        return false;
    }
    cold.distance.store(rest, Ordering::Relaxed);
    count(&cold.skipped, size, true);
    true
}

/// The same for a free.
#[inline(always)]
pub(super) fn passes_over_free(slot: *const (), address: u64, size: u64) -> bool {
    let Some(lane) = thread::passing_lane(slot) else { return slot == thread::OFF };
    let passes = lifecycle::sampled().is_some_and(|sampled| !sampled.may_have(address));
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
    let taken = match (lifecycle::level(), lifecycle::ledger()) {
        (Level::AfterSampling, _) => {
            let stack = turn::stack_alone(lane, size);
            turn::write_open(lane, &turn::alloc_record(address, size, traits, stack));
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
            let stack = turn::stack_alone(lane, size);
            turn::write_open(lane, &turn::alloc_record(address, size, traits.sampled(rate), stack));
        }
    }
}

/// What a thread's first draw begins with.
#[cold]
pub(super) fn seed(ledger: &Ledger) -> u64 {
    let _errno = KeptErrno::keep();
    ledger.clock.now_ns()
}

/// Draws whether a block is sampled; if so, notes its address and returns the rate.
fn take(lane: &Lane, ledger: &Ledger, address: u64, size: u64) -> Option<Result<u64, LossReason>> {
    let rate = lifecycle::sampling_rate();
    let mut sampler = sampler(lane);
    let taken = sampler.takes(size, rate, || seed(ledger) ^ address.rotate_left(32));
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
    let Some(ledger) = lifecycle::ledger() else { return };
    if lifecycle::level() != Level::AfterSampling && ledger.sampled.remove(&ledger.pages, address) {
        turn::write_open(lane, &turn::free_record(address, size));
    } else if may_earlier_blocks_live() || lifecycle::level() == Level::AfterSampling {
        turn::write_open(lane, &turn::whole_free_record(address, size));
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
    turn::is_own(lane) && lifecycle::level() != Level::Full
}

/// The ledger, if the thread works for heapledger while frees are recorded by the sampled set.
fn ledger_of_own(lane: &Lane) -> Option<&'static Ledger> {
    let by_the_set = turn::is_own(lane) && matches!(lifecycle::level(), Level::Sampled | Level::CountersOnly);
    lifecycle::ledger().filter(|_| by_the_set)
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
