//! The thread around the aggregator.
//!
//! It wakes every millisecond, or as often as the tuner says, while events come in, and ever more rarely while none do.
//! It is detached: at the end of the process it notices the state and returns, or is simply gone.

use super::alarm::Alarm;
use super::triggers::{ControlGroup, Pressure, Reading, Watch};
use super::tuning::Tuning;
use super::{Aggregator, snapshot, tracing, watch};
use crate::ledger::Ledger;
use crate::profile::QualityIndicator;
use crate::quality::{Crossing, Knobs};
use crate::recorder::internal::{InternalScope, RecordingPaused};
use crate::recorder::state;
use crate::recorder::{background_thread, black_box, overflow_pool, stacks, thread};
use crate::ring::lane::add;
use crate::sys::latch::{Latch, Taken, wait};
use crate::sys::sync::{AtomicU64, Ordering};
use crate::sys::{platform, signals};

/// The longest pause between two ticks while nothing happens, in nanoseconds.
const TICK_NS_IDLE: u64 = 64_000_000;
/// Time between two samples of the quality counters, in nanoseconds.
const SAMPLE_NS: u64 = 100_000_000;
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
    // relaxed: there is one thread.
    CPU_NS.store(0, Ordering::Relaxed);
}

/// The body of the thread: ticks until the recording ends.
pub(crate) fn run() {
    platform::name_thread(c"heapledger");
    // A snapshot waits until its row says whose this thread is.
    let starting = WORK.take();
    let own = InternalScope::enter();
    let (Some(ledger), Some(lane)) = (state::ledger(), own.lane()) else {
        return;
    };
    thread::mark_background(lane);
    overflow_pool::fill(ledger);
    let may_relieve = platform::processors() > 1;
    background_thread::mark_running(may_relieve);
    // Told before `main`, it may have lacked the command line.
    black_box::write_metadata();
    tracing::start(ledger);
    let mut aggregator = Aggregator::new(may_relieve);
    let mut supervision = Supervision::begin(&aggregator);
    let (mut idle, mut cpu_before) = (0u32, 0);
    drop(starting);
    while state::current().records() {
        state::tick();
        let Some(working) = WORK.try_take() else {
            platform::sleep_ns(Knobs::DEFAULT.floor_interval_ns);
            continue;
        };
        let step = aggregator.step(ledger, ledger.clock.now_ns());
        if step.settle {
            let _quiet = RecordingPaused::enter(&own);
            ledger.flush(lane);
        }
        if stacks::refresh(ledger) {
            black_box::write_metadata();
        }
        let crossed = supervision.look(ledger, &own, &mut aggregator);
        if step.settle {
            snapshot::end_sampling_if_over(ledger);
        }
        // The aggregator's own lane does not count as activity.
        idle = if step.active > 0 { 0 } else { idle.saturating_add(1) };
        let cpu = platform::thread_cpu_ns();
        add(&CPU_NS, cpu - cpu_before);
        cpu_before = cpu;
        drop(working);
        // The program's own function may ask for a snapshot.
        if let Some(crossed) = crossed {
            supervision.tell(&crossed, ledger.clock.now_ns());
        }
        let rest_ns = pause_ns(idle, aggregator.pace.floor_interval_ns);
        sleep_and_relieve(&mut aggregator, ledger, rest_ns);
    }
}

/// Sleeps, and in between books what the program's threads leave to this one.
fn sleep_and_relieve(aggregator: &mut Aggregator, ledger: &Ledger, rest_ns: u64) {
    let mut began_ns = ledger.clock.now_ns();
    let until_ns = began_ns.saturating_add(rest_ns);
    while let Some(relief_ns) = aggregator.relief_ns()
        && began_ns.saturating_add(relief_ns) < until_ns
    {
        platform::sleep_ns(relief_ns);
        let Some(_working) = WORK.try_take().filter(|_| state::current().records()) else {
            return;
        };
        aggregator.relieve(ledger, ledger.clock.now_ns().saturating_sub(began_ns));
        began_ns = ledger.clock.now_ns();
    }
    platform::sleep_ns(until_ns.saturating_sub(began_ns));
}

/// A crossing of the target, and the indicator of that moment.
type Crossed = (Crossing, QualityIndicator);

/// What looks at the quality counters now and then.
struct Supervision {
    sampled_ns: u64,
    alarm: Option<Alarm>,
    tuning: Option<Tuning>,
    triggers: Option<Watch>,
    control_group: Option<ControlGroup>,
}

impl Supervision {
    fn begin(aggregator: &Aggregator) -> Supervision {
        let tuning = Tuning::of_settings(&aggregator.pace);
        let wanted = state::options().triggers;
        let control_group = wanted.memory_pressure.then(ControlGroup::own).flatten();
        if wanted.memory_pressure && control_group.is_none() {
            platform::write_stderr(b"heapledger: memory pressure cannot be watched here: no control group\n");
        }
        let triggers = wanted.is_any().then(|| Watch::new(wanted));
        Supervision { sampled_ns: 0, alarm: Alarm::of_settings(), tuning, triggers, control_group }
    }

    /// Asks for a dump if there is an occasion.
    fn look_for_occasions(&mut self, ledger: &Ledger, lost: u64, at_ns: u64) {
        let Some(watch) = &mut self.triggers else { return };
        let stats = snapshot::stats(ledger);
        let pressure = self.control_group.as_ref().map_or(Pressure::default(), ControlGroup::read);
        let (live_bytes, peak_bytes) = (stats.live_bytes, stats.peak_bytes);
        if let Some(occasion) = watch.look(Reading { at_ns, live_bytes, peak_bytes, lost, pressure }) {
            signals::ask(occasion.bit());
        }
    }

    /// Feeds the monitor, and has alarm and tuner look, if it is time to. Returns a crossing that is to be told.
    fn look(&mut self, ledger: &Ledger, own: &InternalScope, aggregator: &mut Aggregator) -> Option<Crossed> {
        let now_ns = ledger.clock.now_ns();
        if now_ns.saturating_sub(self.sampled_ns) < SAMPLE_NS {
            return None;
        }
        self.sampled_ns = now_ns;
        let counters = snapshot::quality(ledger);
        if let Some(tuning) = &mut self.tuning {
            tuning.look(ledger, own, &mut aggregator.pace, &counters);
        }
        self.look_for_occasions(ledger, counters.lost.total(), now_ns);
        let view = watch::feed(&counters, now_ns)?;
        let crossing = self.alarm.as_mut()?.look(&view)?;
        let retained = snapshot::retained(ledger, own);
        Some((crossing, counters.assemble(retained, Some(&view), &snapshot::settings())))
    }

    /// Tells of a crossing.
    fn tell(&mut self, (crossing, quality): &Crossed, now_ns: u64) {
        if let Some(alarm) = &mut self.alarm {
            alarm.tell(crossing, quality, now_ns);
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
