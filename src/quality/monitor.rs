//! Recent completeness, and its trend.
//!
//! The counters of a process only grow, so a lifetime completeness forgets nothing: an hour without loss hides the
//! minute in which half of everything was lost. The monitor looks at two windows of time instead, the newest and the
//! one before it.
//!
//! ```text
//!  samples   s0 ····· s1 ·· s2 ····· s3 ··· s4 ······ s5
//!            │                       │                │
//!            └───── window before ───┴─ newest window ┴─ the one that is filling
//! ```
//!
//! * It is fed [samples](QualitySample) of the counters, at any rate. A window ends with the first
//!   sample that is at least `window_ns` younger than its start, and the next begins with the same sample: no event
//!   falls between two windows, and a window that saw no sample for long is simply longer.
//! * Only windows that have ended count, so both have about the same length, and no figure jitters while a window fills. The
//!   price is age: figures are up to one window old.
//! * A window with fewer than `events_min` events recorded or lost has no completeness, and the trend is unknown.
//! * A difference of at most `dead_band` is no trend.
//!
//! Nothing here reads a clock. Counters that decrease (a forked child with a fresh ledger) restart the monitor.

use serde::{Deserialize, Serialize};

use super::error::{InvalidSetting, nonzero, share};
use crate::profile::{Anomalies, CompletenessTrend, LossCounts, LossReason, QualityIndicator};

/// Length of a window, in nanoseconds.
pub const WINDOW_NS: u64 = 1_000_000_000;
/// Events, recorded or lost, that a window needs for its completeness to count.
pub const WINDOW_EVENTS_MIN: u64 = 1_000;
/// Difference of completeness between two windows, as a share, up to which it counts as stable: half a point.
pub const DEAD_BAND: f64 = 0.005;

/// The settings of a monitor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MonitorConfig {
    /// Length of a window, in nanoseconds. Default [`WINDOW_NS`].
    pub window_ns: u64,
    /// Events, recorded or lost, that a window needs for its completeness to count. Default [`WINDOW_EVENTS_MIN`].
    pub events_min: u64,
    /// Difference of completeness, from 0 to 1, up to which two windows count as equal. Default [`DEAD_BAND`].
    pub dead_band: f64,
}

impl MonitorConfig {
    /// The defaults, in a constant context.
    pub const DEFAULT: MonitorConfig =
        MonitorConfig { window_ns: WINDOW_NS, events_min: WINDOW_EVENTS_MIN, dead_band: DEAD_BAND };
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The counters of a process at one moment. All but the time only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QualitySample {
    /// When, in nanoseconds since the start of the ledger.
    pub at_ns: u64,
    /// Events made.
    pub attempted: u64,
    /// Events booked.
    pub recorded: u64,
    /// Events lost, by reason.
    pub lost: LossCounts,
    /// Events that were sampled out.
    pub sampled_out: u64,
    /// Inconsistent pairings.
    pub anomalies: Anomalies,
    /// Times a thread with a full ring had to wait until another thread had booked it.
    pub waits: u64,
}

impl QualitySample {
    /// The counters of an indicator that was read at `at_ns`.
    pub fn of(quality: &QualityIndicator, at_ns: u64) -> QualitySample {
        QualitySample {
            at_ns,
            attempted: quality.attempted,
            recorded: quality.recorded,
            lost: quality.lost,
            sampled_out: quality.sampled_out,
            anomalies: quality.anomalies,
            waits: quality.waits,
        }
    }
}

/// The difference of two samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QualityWindow {
    /// Start, in nanoseconds since the start of the ledger.
    pub start_ns: u64,
    /// End, in nanoseconds since the start of the ledger.
    pub end_ns: u64,
    /// Events made in the window.
    pub attempted: u64,
    /// Events booked in the window; some of them may have been made before it.
    pub recorded: u64,
    /// Events lost in the window, by reason.
    pub lost: LossCounts,
    /// Events that were sampled out in the window.
    pub sampled_out: u64,
    /// Inconsistent pairings of the window.
    pub anomalies: Anomalies,
    /// Waits of threads with a full ring, in the window.
    pub waits: u64,
}

impl QualityWindow {
    /// Events of the window that were recorded or lost.
    pub fn resolved(&self) -> u64 {
        self.recorded.saturating_add(self.lost.total())
    }

    /// Recorded ÷ (recorded + lost), from 0 to 1; 1 when both are zero.
    pub fn completeness(&self) -> f64 {
        QualityIndicator::completeness_of(self.recorded, self.lost.total())
    }

    /// The reason with the most losses in the window, or `None` when nothing was lost in it.
    pub fn cause(&self) -> Option<LossReason> {
        self.lost.dominant()
    }

    fn between(start: &QualitySample, end: &QualitySample) -> QualityWindow {
        // Sums over lanes are read while threads record, and waiting frees may be matched meanwhile: a figure may be a
        // little lower than before.
        QualityWindow {
            start_ns: start.at_ns,
            end_ns: end.at_ns,
            attempted: end.attempted.saturating_sub(start.attempted),
            recorded: end.recorded.saturating_sub(start.recorded),
            lost: end.lost.since(&start.lost),
            sampled_out: end.sampled_out.saturating_sub(start.sampled_out),
            anomalies: end.anomalies.since(&start.anomalies),
            waits: end.waits.saturating_sub(start.waits),
        }
    }
}

/// The figures of a monitor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct QualityView {
    /// Completeness of the newest window, from 0 to 1, or `None` when it holds too few events.
    pub windowed_completeness: Option<f64>,
    /// The newest window compared with the one before it.
    pub trend: CompletenessTrend,
    /// The reason for most losses of the newest window, or `None` when it has none.
    pub cause: Option<LossReason>,
    /// The newest window that has ended.
    pub newest: Option<QualityWindow>,
    /// The window before it.
    pub before: Option<QualityWindow>,
}

/// Keeps the two newest windows of a process's counters. See the [module](self).
#[derive(Debug, Clone)]
pub struct QualityMonitor {
    config: MonitorConfig,
    /// The start of the window that is filling.
    start: Option<QualitySample>,
    newest: Option<QualityWindow>,
    before: Option<QualityWindow>,
}

impl Default for QualityMonitor {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl QualityMonitor {
    /// A monitor with the default settings and no samples, in a constant context.
    pub(crate) const EMPTY: QualityMonitor =
        QualityMonitor { config: MonitorConfig::DEFAULT, start: None, newest: None, before: None };

    /// A monitor without samples.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] when the window or the minimum of events is zero, or the dead band is no share.
    pub fn new(config: MonitorConfig) -> Result<Self, InvalidSetting> {
        nonzero("window_ns", config.window_ns)?;
        nonzero("events_min", config.events_min)?;
        share("dead_band", config.dead_band)?;
        Ok(QualityMonitor { config, ..QualityMonitor::default() })
    }

    /// Takes a sample of the counters. Returns whether a window ended with it.
    pub fn push(&mut self, sample: QualitySample) -> bool {
        let Some(start) = &self.start else {
            self.start = Some(sample);
            return false;
        };
        if sample.at_ns < start.at_ns || sample.attempted < start.attempted {
            *self = QualityMonitor { config: self.config, start: Some(sample), newest: None, before: None };
            return false;
        }
        if sample.at_ns - start.at_ns < self.config.window_ns {
            return false;
        }
        self.before = self.newest;
        self.newest = Some(QualityWindow::between(start, &sample));
        self.start = Some(sample);
        true
    }

    /// The figures of the two windows.
    pub fn view(&self) -> QualityView {
        let tells = |window: &Option<QualityWindow>| {
            window.filter(|window| window.resolved() >= self.config.events_min).map(|w| w.completeness())
        };
        let (newest, before) = (tells(&self.newest), tells(&self.before));
        QualityView {
            windowed_completeness: newest,
            trend: trend(before, newest, self.config.dead_band),
            cause: self.newest.and_then(|window| window.cause()),
            newest: self.newest,
            before: self.before,
        }
    }
}

/// The trend from one completeness to the next; unknown when either is.
fn trend(before: Option<f64>, newest: Option<f64>, dead_band: f64) -> CompletenessTrend {
    let (Some(before), Some(newest)) = (before, newest) else {
        return CompletenessTrend::Unknown;
    };
    match newest - before {
        rise if rise > dead_band => CompletenessTrend::Improving,
        rise if rise < -dead_band => CompletenessTrend::Degrading,
        _ => CompletenessTrend::Stable,
    }
}

#[cfg(test)]
mod tests;
