//! The background thread: its main loop, its pauses, and its samples of the quality counters.
//!
//! While events are recorded, the thread makes a round every millisecond, or as often as the tuner sets. Without
//! events, rounds become less and less frequent. At last the thread sleeps until a thread of the program records again,
//! for four seconds at most. It sleeps for a shorter time if something must be checked more often
//! ([`Supervision::polls`]). The thread is detached. It returns when the recording ends or the program has no thread
//! any more, or ends with the process.

use super::alarm::Alarm;
use super::background::{self, BACKGROUND};
use super::description::settings;
use super::history::retained;
use super::live_page::LiveWriter;
use super::memory::Readings;
use super::rounds::Aggregator;
use super::triggers::{ControlGroup, Pressure, Reading, TriggerRules};
use super::tuning::{self, Tuning};
use super::{counters, diagnostic, monitor, rows, trace_thread};
use crate::ledger::Ledger;
use crate::profile::QualityIndicator;
use crate::quality::ThresholdCrossing;
use crate::recorder::internal::{InternalScope, RecordingPaused};
use crate::recorder::state::{self, Marks};
use crate::recorder::{background_thread, black_box, objects, overflow_pool, thread};
use crate::ring::lane::{Lane, add};
use crate::sys::sync::Ordering;
use crate::sys::{own_threads, platform, signals, sleeper};

/// Maximum pause between two rounds while no events are recorded, in nanoseconds, if the thread cannot be woken, or has
/// something to check ([`Supervision::polls`]).
const PAUSE_NS_IDLE: u64 = 64_000_000;
/// Maximum pause between two rounds if the next event wakes the thread, in nanoseconds.
const PAUSE_NS_ASLEEP: u64 = 4_096_000_000;
/// Pause before the next attempt if a snapshot prevents a round, in nanoseconds.
const PAUSE_NS_TAKEN: u64 = 1_000_000;
/// Minimum time between two samples of the quality counters, in nanoseconds.
const SAMPLE_NS: u64 = 100_000_000;
/// Number of threads whose names are read again at each sample, if there is a black box. A black box needs current
/// names at any time.
const NAMES_PER_SAMPLE: u32 = 16;
/// Number of rounds without events before the pauses grow.
const IDLE_ROUNDS: u32 = 32;

/// The main function of the thread. It makes rounds until the recording ends.
pub(crate) fn run() {
    own_threads::name(c"heapledger");
    if !background_thread::wait_for_ledger() {
        return;
    }
    // Because the latch is held, a snapshot waits until the row of this thread is marked as heapledger's.
    let starting = BACKGROUND.work.take();
    let scope = InternalScope::enter();
    let (Some(ledger), Some(lane)) = (state::ledger(), scope.lane()) else {
        return;
    };
    thread::mark_background(lane);
    overflow_pool::fill(ledger);
    // Metadata that was written before `main` may lack the command line.
    black_box::write_metadata();
    trace_thread::start(ledger);
    let mut aggregator = begin(lane);
    let mut supervision = Supervision::begin(&aggregator);
    let mut live = LiveWriter::begin(ledger);
    let (mut idle, mut cpu_before, mut watched_ns) = (0u32, 0, 0);
    // The marks of a part of sampling that may be over (`counters::end_sampling_if_over`).
    let mut ending = None;
    let mut readings = Readings::default();
    drop(starting);
    while state::current().records() {
        state::tick();
        let Some(working) = BACKGROUND.work.try_take() else {
            platform::sleep_ns(PAUSE_NS_TAKEN);
            continue;
        };
        let round = aggregator.round(ledger, ledger.clock.now_ns());
        let (is_flush_due, marks) = (round.flush_due || ending.is_some(), Marks::read());
        if is_flush_due {
            background::flush(ledger, &scope);
        }
        let are_objects_new = objects::refresh(ledger, &mut watched_ns);
        if are_objects_new {
            black_box::write_metadata();
        }
        if let Some(live) = &mut live {
            live.write(ledger, &scope, round.active > 0, are_objects_new);
        }
        readings.read_if_due(ledger, &scope, ledger.clock.now_ns());
        let crossed = supervision.sample(ledger, &scope, &mut aggregator);
        if is_flush_due {
            ending = counters::end_sampling_if_over(ledger, marks, ending);
        }
        // `round.active` does not count the lane of this thread.
        idle = if round.active > 0 { 0 } else { idle.saturating_add(1) };
        let cpu = platform::thread_cpu_ns();
        add(&BACKGROUND.cpu_ns, cpu - cpu_before);
        cpu_before = cpu;
        drop(working);
        if idle > IDLE_ROUNDS && background_thread::is_program_over() {
            return;
        }
        // The latch is not held here, because the program's callback may take a snapshot.
        if let Some((crossing, quality)) = crossed {
            supervision.notify(&crossing, &quality, ledger.clock.now_ns());
        }
        let is_polled = supervision.polls() || is_flush_due || aggregator.may_help || ending.is_some();
        let live_ns = live.as_ref().and_then(LiveWriter::pause_for_reader_ns).unwrap_or(PAUSE_NS_ASLEEP);
        let polled_ns = if is_polled { PAUSE_NS_IDLE } else { PAUSE_NS_ASLEEP };
        let max_ns = longest_pause_ns().min(live_ns).min(polled_ns);
        idle = rest(&mut aggregator, ledger, idle, max_ns);
    }
}

/// Returns the aggregator of the thread with this lane, and tells the program's threads that the background thread
/// runs.
fn begin(lane: &Lane) -> Aggregator {
    let may_offload = platform::processors() > 1;
    background_thread::mark_running(may_offload);
    let mut aggregator = Aggregator::new(may_offload);
    aggregator.pace.floor_interval_ns = state::options().interval_ns;
    // relaxed: written when the lane was claimed.
    aggregator.own_lane = Some(lane.cold.index.load(Ordering::Relaxed));
    aggregator
}

/// Returns the longest pause between two rounds, in nanoseconds. The pause is shorter while the thread watches for
/// unloaded object files, or on a system where a sleeping thread cannot be woken.
fn longest_pause_ns() -> u64 {
    match (objects::watches_objects(), sleeper::CAN_BE_WOKEN) {
        (true, _) => objects::WATCH_NS,
        (false, true) => PAUSE_NS_ASLEEP,
        (false, false) => PAUSE_NS_IDLE,
    }
}

/// Sleeps after `idle` rounds without events, for `max_ns` nanoseconds at most. Returns the new value of `idle`, from
/// which the next round counts.
fn rest(aggregator: &mut Aggregator, ledger: &Ledger, idle: u32, max_ns: u64) -> u32 {
    let floor_ns = aggregator.pace.floor_interval_ns;
    let rest_ns = pause_ns(idle, floor_ns, max_ns);
    if rest_ns <= floor_ns {
        sleep_and_offload(aggregator, ledger, rest_ns);
        return idle;
    }
    // The first thread that records again opens a window and wakes this thread, whose ticks end the window.
    let is_woken = background_thread::sleep_until_woken(rest_ns, || {
        state::tick();
        ledger.ticks.push(ledger.clock.now_ns());
        aggregator.has_new_events(ledger)
    });
    // After a wake-up, the next rounds have short pauses, because a thread that wakes this thread at its end still
    // exists for some microseconds.
    if is_woken { IDLE_ROUNDS } else { idle }
}

/// Sleeps for `rest_ns` nanoseconds. Between parts of the sleep, books the lanes whose threads leave their words to the
/// background thread.
fn sleep_and_offload(aggregator: &mut Aggregator, ledger: &Ledger, rest_ns: u64) {
    let mut began_ns = ledger.clock.now_ns();
    let until_ns = began_ns.saturating_add(rest_ns);
    while let Some(offload_ns) = aggregator.offload_ns()
        && began_ns.saturating_add(offload_ns) < until_ns
    {
        platform::sleep_ns(offload_ns);
        let Some(_working) = BACKGROUND.work.try_take().filter(|_| state::current().records()) else {
            return;
        };
        aggregator.offload(ledger, ledger.clock.now_ns().saturating_sub(began_ns));
        began_ns = ledger.clock.now_ns();
    }
    platform::sleep_ns(until_ns.saturating_sub(began_ns));
}

/// Takes samples of the quality counters ten times a second, for alarm, tuner and triggers.
struct Supervision {
    sampled_ns: u64,
    /// Row from which names are read again at the next sample.
    next_name: u32,
    alarm: Option<Alarm>,
    tuning: Option<Tuning>,
    triggers: Option<TriggerRules>,
    control_group: Option<ControlGroup>,
}

impl Supervision {
    fn begin(aggregator: &Aggregator) -> Supervision {
        let goal = state::options().auto_tune;
        let tuning = goal.and_then(|goal| Tuning::towards(goal, &aggregator.pace));
        let wanted = state::options().triggers;
        let control_group = wanted.memory_pressure.then(ControlGroup::of_this_process).flatten();
        if wanted.memory_pressure && control_group.is_none() {
            diagnostic::print("memory pressure cannot be watched here: no control group");
        }
        let triggers = wanted.is_any().then(|| TriggerRules::new(wanted));
        Supervision {
            sampled_ns: 0,
            next_name: 0,
            alarm: Alarm::of_settings(),
            tuning,
            triggers,
            control_group,
        }
    }

    /// Whether samples are needed even while no events are recorded. The memory pressure of the system, the time since
    /// the last dump, and the figures of the last second change without events.
    fn polls(&self) -> bool {
        self.alarm.is_some() || self.tuning.is_some() || self.triggers.is_some()
    }

    /// Carries out what the program asked for since the last sample.
    fn carry_out_requests(&mut self, ledger: &Ledger, scope: &InternalScope, aggregator: &mut Aggregator) {
        let requests = background::take_requests();
        if let Some(interval_ns) = requests.interval_ns {
            let _paused = RecordingPaused::enter(scope);
            tuning::set_interval(ledger, ledger.clock.now_ns(), interval_ns, &mut aggregator.pace);
        }
        if let Some(goal) = requests.tuner {
            self.tuning = goal.and_then(|goal| Tuning::towards(goal, &aggregator.pace));
        }
        if let Some(callback) = requests.callback {
            match &mut self.alarm {
                Some(alarm) => alarm.call(callback),
                None => self.alarm = Alarm::with(Some(callback)),
            }
        }
    }

    /// Asks for a dump if a trigger fires.
    fn check_triggers(&mut self, ledger: &Ledger, lost: u64, at_ns: u64) {
        let Some(rules) = &mut self.triggers else { return };
        let stats = counters::stats(ledger);
        let pressure = self.control_group.as_ref().map_or(Pressure::default(), ControlGroup::read);
        let (live_bytes, peak_bytes) = (stats.live_bytes, stats.peak_bytes);
        if let Some(trigger) = rules.check(Reading { at_ns, live_bytes, peak_bytes, lost, pressure }) {
            signals::ask(trigger.bit());
        }
    }

    /// Takes the next sample, if it is time to do so. If the completeness rose above its target or fell below it,
    /// returns this crossing and the quality indicator at that moment.
    fn sample(
        &mut self,
        ledger: &Ledger,
        scope: &InternalScope,
        aggregator: &mut Aggregator,
    ) -> Option<(ThresholdCrossing, QualityIndicator)> {
        let now_ns = ledger.clock.now_ns();
        if now_ns.saturating_sub(self.sampled_ns) < SAMPLE_NS {
            return None;
        }
        self.sampled_ns = now_ns;
        self.carry_out_requests(ledger, scope, aggregator);
        if state::options().black_box_pattern().is_some() {
            rows::rename_running(ledger, self.next_name, NAMES_PER_SAMPLE);
            self.next_name = self.next_name.wrapping_add(NAMES_PER_SAMPLE);
        }
        let counters = counters::quality(ledger);
        if let Some(tuning) = &mut self.tuning {
            tuning.update(ledger, scope, &mut aggregator.pace, &counters);
        }
        self.check_triggers(ledger, counters.lost.total(), now_ns);
        let view = monitor::feed(&counters, now_ns)?;
        let crossing = self.alarm.as_mut()?.observe(&view)?;
        Some((crossing, counters.assemble(retained(ledger, scope), Some(&view), &settings())))
    }

    fn notify(&mut self, crossing: &ThresholdCrossing, quality: &QualityIndicator, now_ns: u64) {
        if let Some(alarm) = &mut self.alarm {
            alarm.notify(crossing, quality, now_ns);
        }
    }
}

/// Returns the pause after `idle` rounds without events, in nanoseconds. The pause grows from `floor_ns` to `max_ns`.
fn pause_ns(idle: u32, floor_ns: u64, max_ns: u64) -> u64 {
    let doublings = idle.saturating_sub(IDLE_ROUNDS).min(16);
    floor_ns.saturating_mul(1 << doublings).min(max_ns.max(floor_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_while_no_events_come_and_up_to_a_bound() {
        let most_ns = PAUSE_NS_ASLEEP;
        assert_eq!(pause_ns(0, 1_000, most_ns), 1_000);
        assert_eq!(pause_ns(IDLE_ROUNDS, 1_000, most_ns), 1_000);
        assert_eq!(pause_ns(IDLE_ROUNDS + 1, 1_000, most_ns), 2_000);
        for most_ns in [PAUSE_NS_IDLE, PAUSE_NS_ASLEEP] {
            assert_eq!(pause_ns(u32::MAX, 1_000_000, most_ns), most_ns);
            assert_eq!(pause_ns(u32::MAX, 2 * most_ns, most_ns), 2 * most_ns);
        }
    }
}
