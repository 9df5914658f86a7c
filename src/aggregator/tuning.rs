//! The tuner at work: counters in, one turn of one knob out, and done at once.
//!
//! The deciding is `quality`'s, which is pure. Here the knobs are read as they stand, so that what someone set
//! meanwhile is where the tuner goes back to; and what was decided is carried out, with two records of change: why, and
//! what. The figures of each decision are in the tuner's log, which queries can read.

use std::time::Duration;

use super::Pace;
use super::shared::Shared;
use crate::ledger::Ledger;
use crate::ledger::changes::{Changed, Subject};
use crate::ledger::estimate::{mean_bytes, rate_of};
use crate::profile::{Degradation, QualityIndicator, Stacks};
use crate::quality::{
    AutoTuner, ConfigAdjustment, Decision, DecisionLog, KnobBounds, Knobs, Pressure, TrackingStats,
};
use crate::recorder::internal::{InternalScope, RecordingPaused};
use crate::recorder::{segments, state};
use crate::sys::latch::wait;
use crate::sys::sync::Ordering;

/// Time between two looks of the tuner, in nanoseconds.
const INTERVAL_NS: u64 = 500_000_000;
/// Knobs turned in the life of a process; then they stay. Two records each, so that they leave room in the list of
/// changes for those of others.
const TURNS_OF_KNOBS_MAX: u32 = 100;
/// Steps that a query waits for the tuner to have decided.
const LOG_ROUNDS_MAX: u32 = 200;

static TUNER: Shared<AutoTuner> = Shared::empty();

/// What heapledger's own thread remembers for the tuner.
pub(super) struct Tuning {
    before: QualityIndicator,
    looked_ns: u64,
    turned: u32,
}

impl Tuning {
    /// The tuner that the settings ask for, if they do.
    pub(super) fn of_settings(pace: &Pace) -> Option<Tuning> {
        let goal = state::options().auto_tune?;
        let bounds = KnobBounds { lowest: goal.lowest.max(knobs(pace).degradation), ..KnobBounds::DEFAULT };
        let budget = Duration::from_nanos(goal.budget_ns);
        let make = || AutoTuner::with_knobs(goal.target_completeness, budget, knobs(pace), bounds).ok();
        TUNER.with(make, |_| ())?;
        Some(Tuning { before: QualityIndicator::default(), looked_ns: 0, turned: 0 })
    }

    /// Decides and turns a knob, if it is time to.
    pub(super) fn look(
        &mut self,
        ledger: &Ledger,
        own: &InternalScope,
        pace: &mut Pace,
        quality: &QualityIndicator,
    ) {
        let now_ns = ledger.clock.now_ns();
        if now_ns.saturating_sub(self.looked_ns) < INTERVAL_NS || self.turned == TURNS_OF_KNOBS_MAX {
            return;
        }
        let stats = TrackingStats::between(&self.before, quality, now_ns, high_water(ledger, own));
        (self.before, self.looked_ns) = (quality.clone(), now_ns);
        let decided = TUNER.with(|| None, |tuner| decide(tuner, &knobs(pace), &stats)).flatten();
        if let Some(decision) = decided.filter(|decision| decision.adjustment.is_change()) {
            let _quiet = RecordingPaused::enter(own);
            record(ledger, now_ns, Subject::Tuner, decision.pressure as u32, figure(&decision));
            carry_out(&decision.adjustment, ledger, now_ns, pace);
            self.turned += 1;
        }
    }
}

/// Asks the tuner, after telling it where the knobs are. `None` when it decided nothing, or they are out of its reach.
fn decide(tuner: &mut AutoTuner, knobs: &Knobs, stats: &TrackingStats) -> Option<Decision> {
    if tuner.knobs() != knobs {
        tuner.set_home(*knobs).ok()?;
    }
    let adjustment = tuner.optimize(stats);
    tuner.log().iter().next_back().filter(|last| last.adjustment == adjustment).copied()
}

/// Where the knobs are.
fn knobs(pace: &Pace) -> Knobs {
    let degradation = match state::asked_level() {
        // Without stacks the first two rungs are the same, and the second is where the ladder begins.
        state::Level::Full if state::options().stacks == Stacks::Off => Degradation::NoStacks,
        state::Level::Full | state::Level::AfterSampling => Degradation::Full,
        state::Level::NoStacks => Degradation::NoStacks,
        state::Level::Sampled => Degradation::Sampled,
        state::Level::CountersOnly => Degradation::CountersOnly,
    };
    Knobs {
        mode: state::mode(),
        degradation,
        sampling_shift: mean_bytes(state::sampling_rate()).trailing_zeros(),
        ring_segments: segments::segments_home(),
        floor_interval_ns: pace.floor_interval_ns,
        drain_threshold_words: pace.drain_threshold_words,
    }
}

/// The level of a rung.
pub(crate) fn level_of(degradation: Degradation) -> state::Level {
    match degradation {
        Degradation::Full => state::Level::Full,
        Degradation::NoStacks => state::Level::NoStacks,
        Degradation::Sampled => state::Level::Sampled,
        Degradation::CountersOnly => state::Level::CountersOnly,
    }
}

fn carry_out(adjustment: &ConfigAdjustment, ledger: &Ledger, now_ns: u64, pace: &mut Pace) {
    match *adjustment {
        ConfigAdjustment::SetMode { to, .. } => state::set_mode(to),
        ConfigAdjustment::SetDegradation { to, .. } => state::set_level(level_of(to)),
        ConfigAdjustment::SetSampling { to_shift, .. } => {
            state::set_sampling_rate(rate_of(1u64.checked_shl(to_shift).unwrap_or(u64::MAX)));
        }
        ConfigAdjustment::SetRingSegments { from, to } => {
            segments::ask_for_segments(to);
            record(ledger, now_ns, Subject::RingSegments, from, to);
        }
        ConfigAdjustment::SetFloorInterval { from_ns, to_ns } => {
            pace.floor_interval_ns = to_ns;
            record(ledger, now_ns, Subject::FloorIntervalNs, narrow(from_ns), narrow(to_ns));
        }
        ConfigAdjustment::SetDrainThreshold { from_words, to_words } => {
            pace.drain_threshold_words = to_words;
            record(ledger, now_ns, Subject::DrainThresholdWords, narrow(from_words), narrow(to_words));
        }
        ConfigAdjustment::Maintain
        | ConfigAdjustment::IncreaseThroughput
        | ConfigAdjustment::ReduceConcurrency => {}
    }
}

fn record(ledger: &Ledger, at_ns: u64, subject: Subject, from: u32, to: u32) {
    ledger.changes.push(Changed { at_ns, subject, from, to });
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// The figure that shows the pressure of a decision: completeness in millionths, or nanoseconds, or milliseconds.
fn figure(decision: &Decision) -> u32 {
    let stats = &decision.stats;
    match decision.pressure {
        Pressure::Losing => (stats.completeness * 1e6) as u32,
        Pressure::Slow | Pressure::Headroom => stats.avg_latency_ns as u32,
        Pressure::Lagging => narrow(stats.lag_ns / 1_000_000),
        Pressure::None => 0,
    }
}

/// Why the tuner makes the next change, in words.
pub(super) fn why(pressure: u32, figure: u32) -> String {
    let is = |known: Pressure| known as u32 == pressure;
    if is(Pressure::Losing) {
        format!("tuner: losing events, completeness {:.2} %", f64::from(figure) / 1e4)
    } else if is(Pressure::Slow) {
        format!("tuner: slow, {figure} ns an event in turns")
    } else if is(Pressure::Lagging) {
        format!("tuner: lagging, events not booked for {figure} ms")
    } else {
        format!("tuner: headroom, {figure} ns an event in turns")
    }
}

/// The most words that waited in one ring since the last call. A lane that is just being booked keeps its mark.
fn high_water(ledger: &Ledger, own: &InternalScope) -> u64 {
    let _quiet = RecordingPaused::enter(own);
    let mut most = 0;
    for lane in ledger.lanes() {
        if let Some(_taken) = lane.folder.latch.try_take() {
            // relaxed: under the latch.
            most = most.max(lane.folder.recent_high_water.swap(0, Ordering::Relaxed));
        }
    }
    most
}

/// What the tuner decided so far, and on which figures. Empty where there is none.
pub(crate) fn log() -> DecisionLog {
    for round in 0..LOG_ROUNDS_MAX {
        let mut is_free = false;
        let log = TUNER.with(
            || {
                is_free = true;
                None
            },
            |tuner| tuner.log().clone(),
        );
        match log {
            Some(log) => return log,
            None if is_free => break,
            None => wait(round),
        }
    }
    DecisionLog::default()
}

/// Starts afresh, in a forked child.
pub(super) fn forget() {
    TUNER.forget();
}
