//! A tuner that adjusts heapledger's settings (*knobs*) while the process runs. It changes no setting of the program.
//!
//! The tuner reads the figures of one interval after another, and derives a [`Pressure`] from them. If the pressure is
//! a problem, the tuner *relieves*: it moves a knob so that the problem becomes smaller. If there is headroom, the
//! tuner *restores*: it moves a knob towards its original setting. A decision moves one knob by one step, within
//! [`KnobBounds`]:
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
//! A rule with a single threshold would make the knobs swing back and forth. Four measures prevent this oscillation:
//!
//! * **Hysteresis.** The tuner relieves if latency is above the budget, and restores if latency is below half of the
//!   budget. The factor of two between these limits is as large as one step of a knob.
//! * **Confirmation.** One bad interval changes nothing.
//! * **Cooldown.** After a change, the next change waits for [`COOLDOWN_NS`], so that no decision uses figures from
//!   before the change.
//! * **Patience.** A step of restoring is a failure if relief follows within [`RELAPSE_NS`]. Each failure doubles the
//!   number of intervals with headroom that the tuner awaits before the next step of restoring, up to [`PATIENCE_MAX`].
//!   The number is reset when all knobs have their original settings.
//!
//! The tuner reads no clock, because the figures contain the time. The tuner assumes that the caller carries out its
//! decisions. If the caller cannot carry out a decision, it passes the real settings to [`AutoTuner::set_knobs`]. If
//! the program itself chooses a setting, the caller passes this setting to [`AutoTuner::set_home`].

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

/// Minimum time between two changes of knobs, in nanoseconds.
pub const COOLDOWN_NS: u64 = 1_000_000_000;
/// Number of consecutive intervals under the same pressure before a knob is set.
pub const CONFIRMATIONS: u32 = 2;
/// Number of consecutive intervals with headroom before the first step of restoring.
pub const PATIENCE: u32 = 8;
/// Maximum number of consecutive intervals with headroom before a step of restoring.
pub const PATIENCE_MAX: u32 = 512;
/// Time after a step of restoring in which relief counts as a failure of that step, in nanoseconds.
pub const RELAPSE_NS: u64 = 10_000_000_000;

const _: () = assert!(CONFIRMATIONS <= PATIENCE && PATIENCE <= PATIENCE_MAX && COOLDOWN_NS <= RELAPSE_NS);

/// A tuner that sets one knob at a time, towards a target completeness and a latency budget. See the [module](self).
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
    /// The pressure of the last interval. `confirmed` is the number of consecutive intervals with this pressure.
    pressure: Pressure,
    confirmed: u32,
    patience: u32,
    last_change_ns: Option<u64>,
    last_restore_ns: Option<u64>,
    log: DecisionLog,
}

impl AutoTuner {
    /// Returns a tuner that starts from [`Knobs::DEFAULT`]. The tuner aims at a completeness of at least `target`, from
    /// 0 to 1, and at a mean latency per event of no more than `budget`.
    ///
    /// # Errors
    ///
    /// Returns an [`InvalidSetting`] if the target is not from 0 to 1, or if the budget is zero or exceeds 64 bits of
    /// nanoseconds.
    pub fn new(target: f64, budget: Duration) -> Result<Self, InvalidSetting> {
        Self::with_knobs(target, budget, Knobs::DEFAULT, KnobBounds::DEFAULT)
    }

    /// Returns a tuner that starts from `knobs` and keeps every knob within `bounds`. The tuner restores `knobs` when
    /// there is headroom.
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

    /// Decides on the figures of an interval, and returns the decision. Sets at most one knob. Sets none if the last
    /// change was less than [`COOLDOWN_NS`] ago.
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

    /// Returns the decision if there is headroom but no step of restoring is possible. If every knob has its original
    /// setting, returns `IncreaseThroughput`, otherwise `Maintain`.
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
            // The time comes from another clock, as in a forked child, so the cooldown starts again.
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

    /// Returns the target completeness, from 0 to 1.
    pub fn target_completeness(&self) -> f64 {
        self.target_completeness
    }

    /// Returns the maximum mean time that the recording of an event may take.
    pub fn performance_budget(&self) -> Duration {
        self.performance_budget
    }

    /// Returns the settings of the knobs, as the tuner has decided.
    pub fn knobs(&self) -> &Knobs {
        &self.knobs
    }

    /// Sets the knobs to their real settings, after a decision that could not be carried out.
    ///
    /// # Errors
    ///
    /// Returns an [`InvalidSetting`] if a knob is outside its bounds. In that case no setting changes.
    pub fn set_knobs(&mut self, knobs: Knobs) -> Result<(), InvalidSetting> {
        self.bounds.validate(&knobs)?;
        self.knobs = knobs;
        Ok(())
    }

    /// Sets the knobs to settings that the program has chosen. The tuner later restores these settings. Returns the
    /// same errors as [`AutoTuner::set_knobs`].
    pub fn set_home(&mut self, knobs: Knobs) -> Result<(), InvalidSetting> {
        self.set_knobs(knobs)?;
        self.home = knobs;
        Ok(())
    }

    /// Returns the log of decisions, with the figures that led to them. The decision `Maintain` is not logged.
    pub fn log(&self) -> &DecisionLog {
        &self.log
    }
}

#[cfg(test)]
mod tests;
