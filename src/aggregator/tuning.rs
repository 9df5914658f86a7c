//! Carries out the decisions of the tuner, which adapts settings (*knobs*) to the load. A decision changes one knob or
//! none.
//!
//! `quality::tuner` makes the decisions from the counters alone. This file tells the tuner the current settings of the
//! knobs. So a setting that the program has changed becomes the setting to which the tuner returns. The file also
//! applies each decision, and adds two entries to the list of changes: the reason and the new setting. The figures of
//! each decision are in the tuner's log, which queries can read.

use std::time::Duration;

use super::background::BACKGROUND;
use super::rounds::Pace;
use crate::ledger::Ledger;
use crate::ledger::changes::{Changed, Subject};
use crate::ledger::estimate::{mean_bytes, rate_of};
use crate::profile::{Degradation, Stacks, TuningGoal};
use crate::quality::{
    AutoTuner, ConfigAdjustment, Decision, DecisionLog, KnobBounds, Knobs, Pressure, QualityCounters,
    TrackingStats,
};
use crate::recorder::internal::{InternalScope, RecordingPaused};
use crate::recorder::{segments, state};
use crate::sys::sync::Ordering;

/// Minimum time between two decisions of the tuner, in nanoseconds.
const INTERVAL_NS: u64 = 500_000_000;
/// Maximum number of adjustments in the life of a process. Afterwards the knobs stay as they are. Each adjustment makes
/// two entries in the list of changes, so the limit leaves room for other changes.
const ADJUSTMENTS_MAX: u32 = 100;
/// Maximum number of steps that a query waits for the tuner to finish a decision.
const LOG_ROUNDS_MAX: u32 = 200;

/// The state that the background thread keeps for the tuner.
pub(super) struct Tuning {
    /// The counters at the last decision.
    before: QualityCounters,
    /// Time of the last decision, in nanoseconds.
    decided_ns: u64,
    /// Number of adjustments made so far.
    adjustments: u32,
}

impl Tuning {
    /// Sets up the tuner with a goal. An earlier tuner is replaced together with its log.
    pub(super) fn towards(goal: TuningGoal, pace: &Pace) -> Option<Tuning> {
        let bounds = KnobBounds { lowest: goal.lowest.max(knobs(pace).degradation), ..KnobBounds::DEFAULT };
        let budget = Duration::from_nanos(goal.budget_ns);
        let made = AutoTuner::with_knobs(goal.target_completeness, budget, knobs(pace), bounds).ok()?;
        BACKGROUND.tuner.with(1, |tuner| *tuner = Some(made))?;
        Some(Tuning { before: QualityCounters::default(), decided_ns: 0, adjustments: 0 })
    }

    /// Lets the tuner decide, if it is time to do so, and carries out the decision.
    pub(super) fn update(
        &mut self,
        ledger: &Ledger,
        scope: &InternalScope,
        pace: &mut Pace,
        counters: &QualityCounters,
    ) {
        let now_ns = ledger.clock.now_ns();
        if now_ns.saturating_sub(self.decided_ns) < INTERVAL_NS || self.adjustments == ADJUSTMENTS_MAX {
            return;
        }
        let stats = TrackingStats::between(&self.before, counters, now_ns, high_water(ledger, scope));
        (self.before, self.decided_ns) = (counters.clone(), now_ns);
        let decide = |tuner: &mut Option<AutoTuner>| decide(tuner.as_mut()?, &knobs(pace), &stats);
        let decided = BACKGROUND.tuner.with(1, decide).flatten();
        if let Some(decision) = decided.filter(|decision| decision.adjustment.is_change()) {
            let _paused = RecordingPaused::enter(scope);
            record(ledger, now_ns, Subject::Tuner, decision.pressure as u32, figure(&decision));
            carry_out(&decision.adjustment, ledger, now_ns, pace);
            self.adjustments += 1;
        }
    }
}

/// Asks the tuner for a decision, after telling it the current settings of the knobs. Returns `None` if the tuner
/// decides on no change, or if a knob is outside its bounds.
fn decide(tuner: &mut AutoTuner, knobs: &Knobs, stats: &TrackingStats) -> Option<Decision> {
    if tuner.knobs() != knobs {
        tuner.set_home(*knobs).ok()?;
    }
    let adjustment = tuner.optimize(stats);
    tuner.log().iter().next_back().filter(|last| last.adjustment == adjustment).copied()
}

/// Returns the current settings of the knobs.
fn knobs(pace: &Pace) -> Knobs {
    let degradation = match state::asked_level() {
        // Without stacks the first two levels are the same, so the tuner starts at the second level.
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

/// Returns the recorder's level for a degradation.
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

/// Sets the minimum pause between two rounds, as the program asked.
pub(super) fn set_interval(ledger: &Ledger, now_ns: u64, to_ns: u64, pace: &mut Pace) {
    let from_ns = std::mem::replace(&mut pace.floor_interval_ns, to_ns);
    if from_ns != to_ns {
        record(ledger, now_ns, Subject::FloorIntervalNs, narrow(from_ns), narrow(to_ns));
    }
}

fn record(ledger: &Ledger, at_ns: u64, subject: Subject, from: u32, to: u32) {
    ledger.changes.push(Changed { at_ns, subject, from, to });
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Returns the figure that led to a decision: completeness in millionths, latency in nanoseconds, or lag in
/// milliseconds.
fn figure(decision: &Decision) -> u32 {
    let stats = &decision.stats;
    match decision.pressure {
        Pressure::Losing => (stats.completeness * 1e6) as u32,
        Pressure::Slow | Pressure::Headroom => stats.avg_latency_ns as u32,
        Pressure::Lagging => narrow(stats.lag_ns / 1_000_000),
        Pressure::None => 0,
    }
}

/// Returns the reason for the change that follows, in words.
pub(super) fn why(pressure: u32, figure: u32) -> String {
    let is = |known: Pressure| known as u32 == pressure;
    if is(Pressure::Losing) {
        format!("tuner: losing events, completeness {:.2} %", f64::from(figure) / 1e4)
    } else if is(Pressure::Slow) {
        format!("tuner: slow, {figure} ns an event on the slow path")
    } else if is(Pressure::Lagging) {
        format!("tuner: lagging, events not booked for {figure} ms")
    } else {
        format!("tuner: headroom, {figure} ns an event on the slow path")
    }
}

/// Returns the maximum number of words that waited in one ring since the last call. A lane whose latch is taken is
/// skipped, and keeps its high-water mark for the next call.
fn high_water(ledger: &Ledger, scope: &InternalScope) -> u64 {
    let _paused = RecordingPaused::enter(scope);
    let mut most = 0;
    for lane in ledger.lanes() {
        if let Some(_taken) = lane.folder.latch.try_take() {
            // relaxed: under the latch.
            most = most.max(lane.folder.recent_high_water.swap(0, Ordering::Relaxed));
        }
    }
    most
}

/// Returns the tuner's log. The log is empty if there is no tuner.
pub(crate) fn log() -> DecisionLog {
    let log = |tuner: &mut Option<AutoTuner>| tuner.as_ref().map(|tuner| tuner.log().clone());
    BACKGROUND.tuner.with(LOG_ROUNDS_MAX, log).flatten().unwrap_or_default()
}
