//! The thread around the aggregator.
//!
//! It wakes every millisecond while events come in, and ever more rarely while none do. It is detached: at the end
//! of the process it notices the state and returns, or is simply gone.

use super::{Aggregator, snapshot, watch};
use crate::recorder::gate::{Own, Quiet};
use crate::recorder::lifecycle::{self, EPOCH};
use crate::recorder::{spare, stacks, thread, turn};
use crate::ring::lane::add;
use crate::sys::latch::{Latch, Taken, wait};
use crate::sys::platform;
use crate::sys::sync::{AtomicU64, Ordering};

/// The tick, in nanoseconds.
const TICK_NS: u64 = 1_000_000;
/// The longest pause between two ticks while nothing happens, in nanoseconds.
const TICK_NS_IDLE: u64 = 64_000_000;
/// Ticks between two samples of the quality counters.
const TICKS_PER_SAMPLE: u64 = 100;
/// Ticks without an event before the pauses grow.
const IDLE_TICKS: u32 = 32;

/// Steps that a snapshot waits for the aggregator to come to an end of its own.
const PAUSE_ROUNDS_MAX: u32 = 2_000;

/// Held by the aggregator while it is at work, and by whoever wants it not to be.
static WORK: Latch = Latch::new();
/// Processor time of the aggregator's thread, in nanoseconds.
static CPU_NS: AtomicU64 = AtomicU64::new(0);

/// Processor time that heapledger's own thread has used, in nanoseconds.
pub(crate) fn cpu_ns() -> u64 {
    // relaxed: a figure for people.
    CPU_NS.load(Ordering::Relaxed)
}

/// Keeps the aggregator from work for as long as the result lives, so that no event of its own is under way. `None` if
/// it does not come to an end in time: then such events may be in flight, and are counted so.
pub(crate) fn pause() -> Option<Taken<'static>> {
    (0..PAUSE_ROUNDS_MAX).find_map(|round| {
        let taken = WORK.try_take();
        if taken.is_none() {
            wait(round);
        }
        taken
    })
}

/// Forgets the aggregator's work, in a forked child: its thread does not exist there.
pub(crate) fn forget() {
    WORK.open();
}

/// The body of the thread: ticks until the recording ends.
pub(crate) fn run() {
    let own = Own::enter();
    let (Some(ledger), Some(lane)) = (lifecycle::ledger(), own.lane()) else {
        return;
    };
    thread::mark_own(lane);
    spare::fill(ledger);
    turn::aggregator_runs();
    let mut aggregator = Aggregator::default();
    let (mut idle, mut cpu_before, mut ticks) = (0u32, 0, 0u64);
    while lifecycle::state().records() {
        EPOCH.tick();
        let Some(working) = WORK.try_take() else {
            platform::sleep_ns(TICK_NS);
            continue;
        };
        let step = aggregator.step(ledger, ledger.clock.now_ns());
        if step.settle {
            let _quiet = Quiet::enter(&own);
            ledger.flush(lane);
        }
        stacks::refresh(ledger);
        ticks += 1;
        if ticks % TICKS_PER_SAMPLE == 0 {
            watch::feed(&snapshot::quality(ledger), ledger.clock.now_ns());
        }
        if step.settle {
            snapshot::end_sampling_if_over(ledger);
        }
        // The aggregator's own lane does not count as activity.
        idle = if step.active > 0 { 0 } else { idle.saturating_add(1) };
        let cpu = platform::thread_cpu_ns();
        add(&CPU_NS, cpu - cpu_before);
        cpu_before = cpu;
        drop(working);
        platform::sleep_ns(pause_ns(idle));
    }
}

/// How long to sleep after so many ticks without an event.
fn pause_ns(idle: u32) -> u64 {
    let doublings = idle.saturating_sub(IDLE_TICKS).min(16);
    (TICK_NS << doublings).min(TICK_NS_IDLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_only_when_nothing_happens_and_only_so_far() {
        assert_eq!(pause_ns(0), TICK_NS);
        assert_eq!(pause_ns(IDLE_TICKS), TICK_NS);
        assert_eq!(pause_ns(IDLE_TICKS + 1), 2 * TICK_NS);
        assert_eq!(pause_ns(u32::MAX), TICK_NS_IDLE);
    }
}
