//! The rules that select the knob to adjust under a [`Pressure`].
//!
//! Relief begins with the cheapest remedy: memory (larger rings), then processor time of the background thread, then a
//! stricter mode, then less detail. Restoring begins with detail, then the mode, the rings, and the background thread.
//! Each step changes one knob by a factor of two or by one level, so that the next figures show the effect.

use super::adjustment::{ConfigAdjustment, Pressure};
use super::knobs::{KnobBounds, Knobs};
use super::stats::TrackingStats;
use crate::profile::{DataQualityMode, Degradation, LossReason};
use crate::quality::cause::EVENTS_PER_WAIT_MIN;
use crate::quality::ring_size::RING_SEGMENT_WORDS;

/// Minimum number of events of an interval whose loss and latency are judged.
pub(super) const EVENTS_MIN: u64 = 1_000;
/// Minimum distance of completeness above the target, as a share, at which the tuner may restore. A completeness of 1
/// is always sufficient.
const HYSTERESIS: f64 = 0.005;
/// Maximum 99th percentile of the latency, as a multiple of the budget. The multiple is high because about one event in
/// a hundred takes the slow path, so the 99th percentile is a duration of the slow path.
const P99_BUDGETS: f64 = 20.0;
/// Maximum age of the oldest event in flight, in nanoseconds: one second.
const LAG_NS_MAX: u64 = 1_000_000_000;

/// The goal of a tuner.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goal {
    pub(super) completeness: f64,
    pub(super) budget_ns: f64,
}

/// Returns the pressure that the figures show. Returns `Pressure::None` if a figure is not a number.
pub(super) fn assess(stats: &TrackingStats, goal: &Goal) -> Pressure {
    let latency = latency_in_budgets(stats, goal);
    if !stats.completeness.is_finite() || !latency.is_finite() {
        return Pressure::None;
    }
    if stats.events >= EVENTS_MIN && stats.completeness < goal.completeness {
        return Pressure::Losing;
    }
    if stats.events >= EVENTS_MIN && latency > 1.0 {
        return Pressure::Slow;
    }
    if stats.lag_ns > LAG_NS_MAX {
        return Pressure::Lagging;
    }
    let clearly = stats.completeness >= (goal.completeness + HYSTERESIS).min(1.0);
    if clearly && latency <= 0.5 && stats.lag_ns <= LAG_NS_MAX / 2 {
        return Pressure::Headroom;
    }
    Pressure::None
}

/// Returns the latency as a multiple of the budget. The latency is the mean, or the 99th percentile divided by
/// [`P99_BUDGETS`], whichever is larger.
fn latency_in_budgets(stats: &TrackingStats, goal: &Goal) -> f64 {
    // A NaN must not be lost: `f64::max` would return the other value instead.
    let (mean, p99) = (stats.avg_latency_ns, stats.p99_latency_ns as f64 / P99_BUDGETS);
    (if mean < p99 { p99 } else { mean }) / goal.budget_ns
}

/// Returns one step against a pressure. Returns `Maintain` if no knob affects the pressure. If every knob that affects
/// the pressure is at its bound, returns `Maintain` for `Lagging`, and `ReduceConcurrency` for the other pressures.
pub(super) fn relieve(
    pressure: Pressure,
    stats: &TrackingStats,
    goal: &Goal,
    knobs: &Knobs,
    bounds: &KnobBounds,
) -> ConfigAdjustment {
    let step = match pressure {
        Pressure::None | Pressure::Headroom => return ConfigAdjustment::Maintain,
        Pressure::Lagging => return drain_sooner(knobs, bounds).unwrap_or_default(),
        Pressure::Losing => match stats.lost.dominant() {
            // Losses without reasons are treated like a full ring, the only reason in which the modes differ.
            Some(LossReason::RingFull) | None => shed_less(stats, goal, knobs, bounds),
            Some(LossReason::NoMemory) => smaller_rings(knobs, bounds.ring_segments.0),
            Some(LossReason::TableFull) => degrade(knobs, bounds),
            Some(
                LossReason::Reentrant
                | LossReason::TlsTeardown
                | LossReason::AfterShutdown
                | LossReason::ForkedChild,
            ) => return ConfigAdjustment::Maintain,
        },
        Pressure::Slow => {
            let waits = stats.waits.saturating_mul(EVENTS_PER_WAIT_MIN) > stats.events;
            let wait_less = || {
                let bounded = may_shed(goal) && knobs.mode == DataQualityMode::PerfectAccuracy;
                larger_rings(knobs, bounds.ring_segments.1)
                    .or_else(|| bounded.then(|| set_mode(knobs, DataQualityMode::HighAccuracy)))
            };
            waits.then(wait_less).flatten().or_else(|| degrade(knobs, bounds))
        }
    };
    step.unwrap_or(ConfigAdjustment::ReduceConcurrency)
}

/// Whether the target completeness allows any loss.
fn may_shed(goal: &Goal) -> bool {
    goal.completeness < 1.0
}

fn shed_less(
    stats: &TrackingStats,
    goal: &Goal,
    knobs: &Knobs,
    bounds: &KnobBounds,
) -> Option<ConfigAdjustment> {
    let larger = larger_rings(knobs, bounds.ring_segments.1);
    let step = match knobs.mode {
        // Only these two modes depend on the rounds of the background thread.
        DataQualityMode::HighThroughput | DataQualityMode::BestEffort => {
            larger.or_else(|| drain_sooner(knobs, bounds))
        }
        DataQualityMode::HighAccuracy | DataQualityMode::PerfectAccuracy => larger,
    };
    let is_slow = latency_in_budgets(stats, goal) > 1.0;
    let stricter = match knobs.mode {
        _ if is_slow => None,
        DataQualityMode::BestEffort => Some(DataQualityMode::HighAccuracy),
        DataQualityMode::HighAccuracy => Some(DataQualityMode::PerfectAccuracy),
        DataQualityMode::HighThroughput | DataQualityMode::PerfectAccuracy => None,
    };
    step.or_else(|| stricter.map(|mode| set_mode(knobs, mode))).or_else(|| degrade(knobs, bounds))
}

/// Returns one step back towards `home`, or `None` if no step is possible. Rings shrink only if the smaller rings would
/// be at most half full.
pub(super) fn restore(
    stats: &TrackingStats,
    knobs: &Knobs,
    home: &Knobs,
    bounds: &KnobBounds,
) -> Option<ConfigAdjustment> {
    let smaller = || {
        let step = smaller_rings(knobs, home.ring_segments.max(bounds.ring_segments.0))?;
        let ConfigAdjustment::SetRingSegments { to, .. } = step else { return None };
        (stats.ring_high_water_words <= u64::from(to) * RING_SEGMENT_WORDS / 2).then_some(step)
    };
    upgrade(knobs, home)
        .or_else(|| (knobs.mode != home.mode).then(|| set_mode(knobs, home.mode)))
        .or_else(smaller)
        .or_else(|| larger_rings(knobs, home.ring_segments))
        .or_else(|| {
            let (from_ns, to_ns) = doubled(knobs.floor_interval_ns, home.floor_interval_ns)?;
            Some(ConfigAdjustment::SetFloorInterval { from_ns, to_ns })
        })
        .or_else(|| {
            let (from_words, to_words) = doubled(knobs.drain_threshold_words, home.drain_threshold_words)?;
            Some(ConfigAdjustment::SetDrainThreshold { from_words, to_words })
        })
}

fn set_mode(knobs: &Knobs, to: DataQualityMode) -> ConfigAdjustment {
    ConfigAdjustment::SetMode { from: knobs.mode, to }
}

/// Returns the step to one level less detail. If blocks are sampled, returns the step to twice as many bytes between
/// samples instead, as long as the bounds allow it. Returns `None` at the lowest level.
fn degrade(knobs: &Knobs, bounds: &KnobBounds) -> Option<ConfigAdjustment> {
    let from = knobs.degradation;
    let next = match from {
        Degradation::Full => Degradation::NoStacks,
        _ if knobs.samples() && from < Degradation::CountersOnly => {
            let from_shift = knobs.sampling_shift;
            if from_shift < bounds.sampling_shift.1 {
                return Some(ConfigAdjustment::SetSampling { from_shift, to_shift: from_shift + 1 });
            }
            Degradation::CountersOnly
        }
        Degradation::NoStacks => Degradation::Sampled,
        Degradation::Sampled | Degradation::CountersOnly => Degradation::CountersOnly,
    };
    (next > from && next <= bounds.lowest).then_some(ConfigAdjustment::SetDegradation { from, to: next })
}

/// Returns the step to one level more detail, or to half as many bytes between samples. Returns `None` if
/// there is no such step towards `home`.
fn upgrade(knobs: &Knobs, home: &Knobs) -> Option<ConfigAdjustment> {
    let from = knobs.degradation;
    let from_shift = knobs.sampling_shift;
    if from < Degradation::CountersOnly && from_shift > home.sampling_shift {
        return Some(ConfigAdjustment::SetSampling { from_shift, to_shift: from_shift - 1 });
    }
    let next = match from {
        Degradation::CountersOnly if knobs.mode == DataQualityMode::HighThroughput => Degradation::NoStacks,
        Degradation::CountersOnly => Degradation::Sampled,
        Degradation::Sampled => Degradation::NoStacks,
        Degradation::NoStacks | Degradation::Full => Degradation::Full,
    };
    let to = next.max(home.degradation);
    (to < from).then_some(ConfigAdjustment::SetDegradation { from, to })
}

fn larger_rings(knobs: &Knobs, most: u32) -> Option<ConfigAdjustment> {
    let from = knobs.ring_segments;
    (from < most).then(|| ConfigAdjustment::SetRingSegments { from, to: from.saturating_mul(2).min(most) })
}

fn smaller_rings(knobs: &Knobs, least: u32) -> Option<ConfigAdjustment> {
    let from = knobs.ring_segments;
    (from > least).then(|| ConfigAdjustment::SetRingSegments { from, to: (from / 2).max(least) })
}

/// Returns a step after which rings are booked earlier: at a lower fill, or more often if the fill is at its bound.
/// Returns `None` if both knobs are at their bounds.
fn drain_sooner(knobs: &Knobs, bounds: &KnobBounds) -> Option<ConfigAdjustment> {
    let from_words = knobs.drain_threshold_words;
    if from_words > bounds.drain_threshold_words.0 {
        let to_words = (from_words / 2).max(bounds.drain_threshold_words.0);
        return Some(ConfigAdjustment::SetDrainThreshold { from_words, to_words });
    }
    let from_ns = knobs.floor_interval_ns;
    (from_ns > bounds.floor_interval_ns.0).then(|| ConfigAdjustment::SetFloorInterval {
        from_ns,
        to_ns: (from_ns / 2).max(bounds.floor_interval_ns.0),
    })
}

/// Returns `now` and its double, limited to `home`. Returns `None` if `now` has reached `home`.
fn doubled(now: u64, home: u64) -> Option<(u64, u64)> {
    (now < home).then(|| (now, now.saturating_mul(2).min(home)))
}
