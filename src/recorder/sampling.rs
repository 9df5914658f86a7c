//! Sampling and counting: the treatment of events that are *sampled out*, which are counted but not recorded.
//!
//! Below the full level, the gate of a lane stays closed (see `gate`): its thread may write no words into the ring, so
//! no event takes the fast path of recording. Instead, a mark bit in the thread's slot (see `slot`) tells the hot path
//! to try sampling out first ([`samples_out_alloc`], [`samples_out_free`]). Most events are sampled out there, in some
//! ten instructions. The others, such as drawn allocations, reach this module through the slow path. At the full level
//! the bit is not set, so sampling costs nothing.
//!
//! | level | an allocation | a free |
//! | --- | --- | --- |
//! | `Full` | is recorded | is recorded |
//! | `Sampled` | is recorded if drawn; its address enters the set | is recorded, with its size, if in the set |
//! | `CountersOnly` | is counted | is counted |
//! | `AfterSampling` | is recorded | is recorded, with its size while sampled-out blocks are live |
//!
//! Internal blocks enter the sampled set at all three lower levels. A free whose address is not in the set may be
//! recorded too. Such a free carries the number of the sampling period, because it cannot be the free of an internal
//! block in the set (W5 of `fold::flush`).
//!
//! A sampled-out event is counted with its size, so the totals stay exact at every level; the event's stack and time
//! are lost. Every free that is recorded below the full level carries its whole size. The level is a part of the epoch.
//! `fold::flush` states the invariant (W) under which every sum is right, even where a free ends another block of the
//! same size at its address.
//!
//! A thread reads the level before it acts, so it may act on a level that is no longer in force. So the thread first
//! counts a block as sampled out, and then reads the level again. Either the thread that ends the level finds the block
//! in the sums, or the counting thread finds the new level and treats the block accordingly.
//!
//! Blocks recorded before sampling began are not in the sampled set. While such a block is live, a free whose address
//! is not in the set is recorded too, and the ledger looks the block up. A realloc of a sampled block is a free and an
//! allocation: the new block is drawn anew by its size. If the realloc is refused, the block stays live, and
//! [`count_restored`] subtracts the free and the allocation from the totals.

use std::sync::atomic::compiler_fence;

use super::gate::is_internal;
use super::record::{alloc_record, whole_free_record};
use super::slot;
use super::stacks::stack_on_sampling_lane;
use super::state::{self, Level};
use super::window::write_open;
use crate::ledger::Ledger;
use crate::ledger::estimate::Sampler;
use crate::profile::LossReason;
use crate::ring::event::Traits;
use crate::ring::lane::{Lane, SampledOut};
use crate::sys::sync::{AtomicU64, Ordering};

/// Returns whether events of the lane are sampled out at the level that its thread has read last.
pub(super) fn samples_out(lane: &Lane) -> bool {
    // relaxed, here and below: only the lane's thread writes these words.
    lane.cold.level.load(Ordering::Relaxed) != Level::Full as u32
}

/// Stores the level in force in the lane. Returns whether events of the lane are still sampled out.
pub(super) fn update_level(lane: &Lane) -> bool {
    lane.store_level(|| state::level() as u32);
    samples_out(lane) && state::current().records()
}

/// Returns the level that the lane's thread has read last.
fn level_of(lane: &Lane) -> Level {
    match lane.cold.level.load(Ordering::Relaxed) {
        level if level == Level::AfterSampling as u32 => Level::AfterSampling,
        level if level == Level::Sampled as u32 => Level::Sampled,
        _ => Level::CountersOnly,
    }
}

/// Samples out an allocation if its block is not drawn, or if nothing is recorded in this process. Returns whether the
/// allocation was sampled out. Called for a thread whose slot is not the plain address of a lane.
#[inline(always)]
pub(super) fn samples_out_alloc(slot: *const (), size: u64) -> bool {
    let Some(lane) = slot::sampling_lane(slot) else { return slot == slot::OFF };
    // relaxed, all: only the lane's thread writes them.
    let cold = &lane.cold;
    if interrupts_a_record(lane) {
        return false;
    }
    let Some(rest) = Sampler::rest_behind(size, cold.distance.load(Ordering::Relaxed)) else { return false };
    count(&cold.sampled_out, size, true);
    compiler_fence(Ordering::SeqCst);
    if !state::only_samples_at(cold.rate.load(Ordering::Relaxed)) {
        cold.sampled_out.allocs.take_back(size);
        return false;
    }
    cold.distance.store(rest, Ordering::Relaxed);
    true
}

/// Samples out a free if its block is not in the sampled set, or if nothing is recorded in this process. Returns
/// whether the free was sampled out.
#[inline(always)]
pub(super) fn samples_out_free(slot: *const (), address: u64, size: u64) -> bool {
    let Some(lane) = slot::sampling_lane(slot) else { return slot == slot::OFF };
    let passes = !interrupts_a_record(lane)
        && state::sampled_table().is_some_and(|sampled| !sampled.may_have(address));
    if passes {
        count(&lane.cold.sampled_out, size, false);
    }
    passes
}

/// Returns whether the event belongs to a signal handler that interrupted a record. The slow path counts such an event
/// as lost. If the event were sampled out instead, the other event of its block could be lost, and the totals would be
/// wrong by that block.
#[inline(always)]
fn interrupts_a_record(lane: &Lane) -> bool {
    // relaxed: only the lane's thread writes it.
    lane.cold.writing.load(Ordering::Relaxed) != 0
}

/// Returns the lane's sampler.
fn sampler(lane: &Lane) -> Sampler {
    let load = |word: &AtomicU64| word.load(Ordering::Relaxed);
    let cold = &lane.cold;
    Sampler { distance: load(&cold.distance), random: load(&cold.random), rate: load(&cold.rate) }
}

/// Handles an allocation of a thread whose events are sampled out: records it if its block is drawn, otherwise counts
/// it.
pub(super) fn alloc(lane: &Lane, address: u64, size: u64, traits: Traits) {
    let taken = match (level_of(lane), state::ledger()) {
        (Level::AfterSampling, _) => {
            let stack = stack_on_sampling_lane(lane, size);
            write_open(lane, &alloc_record(address, size, traits, stack));
            return state::mark_late_earlier_block();
        }
        (Level::Sampled, Some(ledger)) => take(lane, ledger, address, size),
        _ => None,
    };
    match taken {
        None => {
            count(&lane.cold.sampled_out, size, true);
            state::mark_late_sampled_out_block();
        }
        Some(Err(reason)) => {
            lane.attempt();
            lane.lose(reason);
        }
        Some(Ok(rate)) => {
            let stack = stack_on_sampling_lane(lane, size);
            write_open(lane, &alloc_record(address, size, traits.sampled(rate), stack));
        }
    }
}

/// Draws whether a block is sampled. If it is, enters its address in the sampled set and returns the sampling rate, or
/// an error if the set is full.
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

/// Handles a free of a thread whose events are sampled out: records it if its block was sampled or may have been
/// recorded before sampling began, otherwise counts it.
pub(super) fn free(lane: &Lane, address: u64, size: u64) {
    let Some(ledger) = state::ledger() else { return };
    let unlisted = ledger.sampled.remove_or_period(&ledger.pages, address).err();
    if unlisted.is_none() || level_of(lane) == Level::AfterSampling || state::has_earlier_blocks() {
        let traits = Traits::default().with_period(unlisted.unwrap_or(0));
        write_open(lane, &whole_free_record(address, size, traits));
    } else {
        count(&lane.cold.sampled_out, size, false);
    }
}

/// Enters an internal block in the sampled set. If the program later frees the block, for example a query's result, the
/// free is then recorded, and is not counted as the free of a program's block. Returns the sampling period in which the
/// block is in the set, or 0.
pub(super) fn note_internal_alloc(lane: &Lane, address: u64) -> u64 {
    // Without room in the set, the free of the block counts as the program's.
    ledger_for_internal(lane).map_or(0, |ledger| ledger.sampled.insert_in_period(&ledger.pages, address))
}

/// Removes a block that heapledger frees from the sampled set. Internal frees are recorded in any case.
pub(super) fn note_internal_free(lane: &Lane, address: u64) {
    if let Some(ledger) = ledger_for_internal(lane) {
        ledger.sampled.remove(&ledger.pages, address);
    }
}

/// Returns the ledger if the thread is in an internal scope and the level is one at which frees are looked up in the
/// sampled set.
fn ledger_for_internal(lane: &Lane) -> Option<&'static Ledger> {
    let is_by_set = is_internal(lane)
        && matches!(state::level(), Level::Sampled | Level::CountersOnly | Level::AfterSampling);
    state::ledger().filter(|_| is_by_set)
}

/// Counts the block of a refused realloc. The counters of sampled-out events contain a free and an allocation of this
/// block; the totals subtract both.
pub(super) fn count_restored(lane: &Lane, size: u64) {
    lane.cold.sampled_out.restored.count(size);
}

/// Counts a sampled-out event. A signal handler may interrupt the call and count too, because each count is one
/// instruction.
#[inline(always)]
fn count(sampled_out: &SampledOut, size: u64, is_alloc: bool) {
    if is_alloc { sampled_out.allocs.count(size) } else { sampled_out.frees.count(size) }
}
