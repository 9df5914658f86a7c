//! A tuner that adjusts heapledger's own knobs, and never the program's.
//!
//! A recorder cannot reduce the concurrency of its host, and a rule that flips a switch at one threshold oscillates. So this
//! tuner sets heapledger's [`Knobs`], within [`KnobBounds`], one step at a time:
//!
//! ```text
//!  stats ─► which pressure?   ─► seen often enough? ─► out of cooldown? ─► one step of one knob ─► log
//!             Losing  completeness < target                  2 ×
//!             Slow    latency > budget                       2 ×      relief: rings, aggregator, mode, detail
//!             Lagging events wait > 1 s                      2 ×
//!             Headroom  clearly above the target,     patience ×      restore: detail, mode, rings, aggregator
//!                       half of the budget unused
//! ```
//!
//! Measures against oscillation:
//!
//! * **Hysteresis.** Between the level that asks for relief and the one that allows restoring lies a gap of a factor of
//!   two in latency, as large as one step of a knob.
//! * **Confirmation.** One bad interval changes nothing.
//! * **Cooldown.** After a change, the next waits [`COOLDOWN_NS`], so that figures from before it are not acted upon.
//! * **Patience.** A step back that had to be undone within [`RELAPSE_NS`] doubles the number of calm intervals before the
//!   next, up to [`PATIENCE_MAX`]. It is reset when all knobs have their original settings.
//!
//! Time is part of the figures. The tuner assumes that its decisions are carried out; otherwise the caller states the real
//! settings with [`AutoTuner::set_knobs`]. A setting chosen by the program is passed to [`AutoTuner::set_home`].

mod adjustment;
mod knobs;
mod rules;
mod stats;

use std::time::Duration;

use super::error::{InvalidSetting, share};
use rules::Goal;

pub use adjustment::{ConfigAdjustment, DECISIONS_MAX, Decision, DecisionLog, Pressure};
pub use knobs::{KnobBounds, Knobs, SAMPLING_SHIFT_MAX, SAMPLING_SHIFT_MIN};

pub use stats::TrackingStats;

/// Time that has to pass after a change before the next, in nanoseconds.
pub const COOLDOWN_NS: u64 = 1_000_000_000;
/// Consecutive intervals under the same pressure before a knob is set.
pub const CONFIRMATIONS: u32 = 2;
/// Consecutive intervals with headroom before the first step back.
pub const PATIENCE: u32 = 8;
/// Consecutive intervals with headroom before a step back, at most.
pub const PATIENCE_MAX: u32 = 512;
/// Time after a step back within which relief counts as a relapse, in nanoseconds.
pub const RELAPSE_NS: u64 = 10_000_000_000;

const _: () = assert!(CONFIRMATIONS <= PATIENCE && PATIENCE <= PATIENCE_MAX && COOLDOWN_NS <= RELAPSE_NS);

/// Sets one knob at a time, towards a completeness and a latency. See the [module](self).
///
/// ```
/// use std::time::Duration;
/// use heapledger::quality::{AutoTuner, ConfigAdjustment, TrackingStats};
///
/// let mut tuner = AutoTuner::new(0.95, Duration::from_nanos(200))?;
/// let slow = |second: u64| TrackingStats {
///     at_ns: second * 1_000_000_000,
///     events: 1_000_000,
///     avg_latency_ns: 900.0,
///     ..TrackingStats::default()
/// };
/// assert_eq!(tuner.optimize(&slow(1)), ConfigAdjustment::Maintain, "one interval is no load");
/// assert_eq!(tuner.optimize(&slow(2)).to_string(), "degradation: full -> no-stacks");
/// assert!(AutoTuner::new(1.5, Duration::from_nanos(200)).is_err());
/// # Ok::<(), heapledger::quality::InvalidSetting>(())
/// ```
#[derive(Debug, Clone)]
pub struct AutoTuner {
    target_completeness: f64,
    performance_budget: Duration,
    knobs: Knobs,
    /// The original settings, to which the knobs return.
    home: Knobs,
    bounds: KnobBounds,
    /// The pressure of the last interval, and the number of consecutive intervals under it.
    pressure: Pressure,
    confirmed: u32,
    patience: u32,
    last_change_ns: Option<u64>,
    last_restore_ns: Option<u64>,
    log: DecisionLog,
}

impl AutoTuner {
    /// A tuner that aims at a completeness from 0 to 1 and a mean latency of recording an event of at most `budget`,
    /// starting from [`Knobs::DEFAULT`].
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] when the target is not from 0 to 1, or the budget is zero or longer than 64 bits of
    /// nanoseconds.
    pub fn new(target: f64, budget: Duration) -> Result<Self, InvalidSetting> {
        Self::with_knobs(target, budget, Knobs::DEFAULT, KnobBounds::DEFAULT)
    }

    /// A tuner that starts from these knobs, goes back to them when it can, and never leaves the bounds.
    ///
    /// # Errors
    ///
    /// As [`AutoTuner::new`], and when a knob lies outside its bounds.
    pub fn with_knobs(
        target: f64,
        budget: Duration,
        knobs: Knobs,
        bounds: KnobBounds,
    ) -> Result<Self, InvalidSetting> {
        share("target_completeness", target)?;
        if budget.is_zero() {
            return Err(InvalidSetting::Zero { setting: "performance_budget" });
        }
        if u64::try_from(budget.as_nanos()).is_err() {
            return Err(InvalidSetting::TooLong { setting: "performance_budget" });
        }
        bounds.validate(&knobs)?;
        Ok(AutoTuner {
            target_completeness: target,
            performance_budget: budget,
            knobs,
            home: knobs,
            bounds,
            pressure: Pressure::None,
            confirmed: 0,
            patience: PATIENCE,
            last_change_ns: None,
            last_restore_ns: None,
            log: DecisionLog::default(),
        })
    }

    /// Takes the figures of an interval and decides. Sets at most one knob, and none in cooldown.
    pub fn optimize(&mut self, stats: &TrackingStats) -> ConfigAdjustment {
        let goal = Goal {
            completeness: self.target_completeness,
            budget_ns: self.performance_budget.as_nanos() as f64,
        };
        let pressure = rules::assess(stats, &goal);
        self.confirmed = if pressure == self.pressure { self.confirmed.saturating_add(1) } else { 1 };
        self.pressure = pressure;
        let needed = if pressure == Pressure::Headroom { self.patience } else { CONFIRMATIONS };
        if pressure == Pressure::None || self.confirmed < needed || self.is_in_cooldown(stats.at_ns) {
            return ConfigAdjustment::Maintain;
        }
        let adjustment = if pressure == Pressure::Headroom {
            let step = rules::restore(stats, &self.knobs, &self.home, &self.bounds);
            step.unwrap_or(self.at_rest())
        } else {
            rules::relieve(pressure, stats, &goal, &self.knobs, &self.bounds)
        };
        self.decide(adjustment, stats);
        adjustment
    }

    /// The decision when no step back is possible: either every knob is at home, or one waits for its own condition.
    fn at_rest(&self) -> ConfigAdjustment {
        if self.knobs == self.home {
            ConfigAdjustment::IncreaseThroughput
        } else {
            ConfigAdjustment::Maintain
        }
    }

    fn is_in_cooldown(&mut self, at_ns: u64) -> bool {
        let Some(last_ns) = self.last_change_ns else { return false };
        if at_ns < last_ns {
            // Another clock, as in a forked child: the cooldown begins anew.
            self.last_change_ns = Some(at_ns);
            return true;
        }
        at_ns - last_ns < COOLDOWN_NS
    }

    fn decide(&mut self, adjustment: ConfigAdjustment, stats: &TrackingStats) {
        let (at_ns, pressure) = (stats.at_ns, self.pressure);
        if adjustment == ConfigAdjustment::Maintain {
            return;
        }
        self.log.push(Decision { at_ns, adjustment, pressure, stats: *stats });
        if !adjustment.is_change() {
            if adjustment == ConfigAdjustment::IncreaseThroughput {
                self.patience = PATIENCE;
            }
            return;
        }
        if pressure == Pressure::Headroom {
            self.last_restore_ns = Some(at_ns);
        } else if let Some(restored_ns) = self.last_restore_ns.take()
            && at_ns.saturating_sub(restored_ns) <= RELAPSE_NS
        {
            self.patience = self.patience.saturating_mul(2).min(PATIENCE_MAX);
        }
        adjustment.apply_to(&mut self.knobs);
        self.last_change_ns = Some(at_ns);
        self.confirmed = 0;
    }

    /// The target completeness, from 0 to 1.
    pub fn target_completeness(&self) -> f64 {
        self.target_completeness
    }

    /// The mean time that recording an event may take.
    pub fn performance_budget(&self) -> Duration {
        self.performance_budget
    }

    /// The settings of the knobs, as decided.
    pub fn knobs(&self) -> &Knobs {
        &self.knobs
    }

    /// States the real settings of the knobs, when a decision could not be carried out.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] when a knob lies outside its bounds; then nothing changes.
    pub fn set_knobs(&mut self, knobs: Knobs) -> Result<(), InvalidSetting> {
        self.bounds.validate(&knobs)?;
        self.knobs = knobs;
        Ok(())
    }

    /// States that the program chose other settings: the knobs have them now, and return to them.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] when a knob lies outside its bounds; then nothing changes.
    pub fn set_home(&mut self, knobs: Knobs) -> Result<(), InvalidSetting> {
        self.set_knobs(knobs)?;
        self.home = knobs;
        Ok(())
    }

    /// The decisions, with their figures. Intervals without a decision are not in the log.
    pub fn log(&self) -> &DecisionLog {
        &self.log
    }
}

#[cfg(test)]
mod tests;
