//! The thread around the aggregator.
//!
//! It wakes every millisecond, or as often as the tuner says, while events come in, and ever more rarely while none do. It is detached: at the end
//! of the process it notices the state and returns, or is simply gone.

use super::alarm::Alarm;
use super::tuning::Tuning;
use super::{Aggregator, snapshot, watch};
use crate::ledger::Ledger;
use crate::recorder::gate::{Own, Quiet};
use crate::recorder::lifecycle::{self, EPOCH};
use crate::recorder::{spare, thread, turn};
use crate::ring::lane::add;
use crate::sys::platform;
use crate::sys::sync::{AtomicU64, Ordering};

/// The longest pause between two ticks while nothing happens, in nanoseconds.
const TICK_NS_IDLE: u64 = 64_000_000;
/// Time between two samples of the quality counters, in nanoseconds.
const SAMPLE_NS: u64 = 100_000_000;
/// Ticks without an event before the pauses grow.
const IDLE_TICKS: u32 = 32;

/// Processor time of the aggregator's thread, in nanoseconds.
static CPU_NS: AtomicU64 = AtomicU64::new(0);

/// Processor time that heapledger's own thread has used, in nanoseconds.
pub(crate) fn cpu_ns() -> u64 {
    // relaxed: a figure for people.
    CPU_NS.load(Ordering::Relaxed)
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
    let mut supervision = Supervision::begin(&aggregator);
    let (mut idle, mut cpu_before) = (0u32, 0);
    while lifecycle::state().records() {
        EPOCH.tick();
        let step = aggregator.step(ledger, ledger.clock.now_ns());
        if step.settle {
            let _quiet = Quiet::enter(&own);
            ledger.flush(lane);
        }
        supervision.look(ledger, &own, &mut aggregator);
        if step.settle {
            snapshot::end_sampling_if_over(ledger);
        }
        // The aggregator's own lane does not count as activity.
        idle = if step.active > 0 { 0 } else { idle.saturating_add(1) };
        let cpu = platform::thread_cpu_ns();
        add(&CPU_NS, cpu - cpu_before);
        cpu_before = cpu;
        platform::sleep_ns(pause_ns(idle, aggregator.pace.floor_interval_ns));
    }
}

/// What looks at the quality counters now and then.
struct Supervision {
    sampled_ns: u64,
    alarm: Option<Alarm>,
    tuning: Option<Tuning>,
}

impl Supervision {
    fn begin(aggregator: &Aggregator) -> Supervision {
        let tuning = Tuning::of_settings(&aggregator.pace);
        Supervision { sampled_ns: 0, alarm: Alarm::of_settings(), tuning }
    }

    /// Feeds the monitor, and has alarm and tuner look, if it is time to.
    fn look(&mut self, ledger: &Ledger, own: &Own, aggregator: &mut Aggregator) {
        let now_ns = ledger.clock.now_ns();
        if now_ns.saturating_sub(self.sampled_ns) < SAMPLE_NS {
            return;
        }
        self.sampled_ns = now_ns;
        let mut quality = snapshot::quality(ledger);
        if let Some(view) = watch::feed(&quality, now_ns)
            && let Some(alarm) = &mut self.alarm
            && let Some(crossing) = alarm.look(&view)
        {
            view.complete(&mut quality, &snapshot::settings());
            alarm.tell(&crossing, &quality, now_ns);
        }
        if let Some(tuning) = &mut self.tuning {
            tuning.look(ledger, own, &mut aggregator.pace, &quality);
        }
    }
}

/// How long to sleep after so many ticks without an event.
fn pause_ns(idle: u32, floor_ns: u64) -> u64 {
    let doublings = idle.saturating_sub(IDLE_TICKS).min(16);
    floor_ns.saturating_mul(1 << doublings).min(TICK_NS_IDLE.max(floor_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_only_when_nothing_happens_and_only_so_far() {
        assert_eq!(pause_ns(0, 1_000), 1_000);
        assert_eq!(pause_ns(IDLE_TICKS, 1_000), 1_000);
        assert_eq!(pause_ns(IDLE_TICKS + 1, 1_000), 2_000);
        assert_eq!(pause_ns(u32::MAX, 1_000_000), TICK_NS_IDLE);
        assert_eq!(pause_ns(u32::MAX, 2 * TICK_NS_IDLE), 2 * TICK_NS_IDLE);
    }
}
