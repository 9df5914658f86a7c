//! The completeness of the two newest windows of time, and the trend from one to the next.
//!
//! The numbers of recorded and lost events only grow, so the completeness of the whole process hides recent loss. For
//! example, after an hour without loss, a minute in which half of the events are lost hardly shows. So the monitor
//! compares the newest window of time with the window before it.
//!
//! ```text
//!  samples   s0 ····· s1 ·· s2 ····· s3 ··· s4 ······ s5
//!            │                       │                │
//!            └───── window before ───┴─ newest window ┴─ the one that is filling
//! ```
//!
//! * The monitor receives [samples](QualitySample) of the counters, at any rate. A window starts with one sample and
//!   ends with the first later sample that is at least `window_ns` younger. The next window starts with the same
//!   sample, so every event is in one window. If samples are rare, windows are longer.
//! * Only windows that have ended count. So the two windows have about the same length, and the figures are up to one
//!   window old.
//! * A window with fewer than `events_min` events recorded or lost has no completeness. The trend is then unknown.
//! * If the two completenesses differ by at most `dead_band`, the trend is stable.
//!
//! This module reads no clock. If counters decrease, as in a forked child with a fresh ledger, the monitor starts
//! again.

use serde::{Deserialize, Serialize};

use super::error::{InvalidSetting, nonzero, share};
use crate::profile::{Anomalies, CompletenessTrend, LossCounts, LossReason, QualityIndicator};

/// Default length of a window, in nanoseconds.
pub const WINDOW_NS: u64 = 1_000_000_000;
/// Default minimum number of events, recorded or lost, of a window whose completeness counts.
pub const WINDOW_EVENTS_MIN: u64 = 1_000;
/// Default maximum difference of completeness at which two windows count as equal, as a share: half a percentage point.
pub const DEAD_BAND: f64 = 0.005;

/// The settings of a monitor.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MonitorConfig {
    /// Minimum length of a window, in nanoseconds. Default [`WINDOW_NS`].
    pub window_ns: u64,
    /// Minimum number of events, recorded or lost, of a window whose completeness counts. Default
    /// [`WINDOW_EVENTS_MIN`].
    pub events_min: u64,
    /// Maximum difference of completeness, from 0 to 1, at which two windows count as equal. Default [`DEAD_BAND`].
    pub dead_band: f64,
}

impl MonitorConfig {
    /// The default settings, for constant contexts.
    pub const DEFAULT: MonitorConfig =
        MonitorConfig { window_ns: WINDOW_NS, events_min: WINDOW_EVENTS_MIN, dead_band: DEAD_BAND };
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The counters of a process at one moment. Counters only grow, with one exception:
/// `anomalies.unmatched_frees` falls when a waiting free finds its block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QualitySample {
    /// Time of the sample, in nanoseconds since the start of the ledger.
    pub at_ns: u64,
    /// Number of events made.
    pub attempted: u64,
    /// Number of events booked.
    pub recorded: u64,
    /// Numbers of lost events, by reason.
    pub lost: LossCounts,
    /// Number of events that were sampled out.
    pub sampled_out: u64,
    /// Numbers of inconsistent pairings of allocations and frees.
    pub anomalies: Anomalies,
    /// Number of times that a thread with a full ring had to wait until another thread had booked the ring.
    pub waits: u64,
}

impl QualitySample {
    /// Returns the counters of an indicator that was read at `at_ns`.
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

/// The events between two samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QualityWindow {
    /// Start of the window, in nanoseconds since the start of the ledger.
    pub start_ns: u64,
    /// End of the window, in nanoseconds since the start of the ledger.
    pub end_ns: u64,
    /// Number of events made in the window.
    pub attempted: u64,
    /// Number of events booked in the window. Some of these events may have been made before the window.
    pub recorded: u64,
    /// Numbers of events lost in the window, by reason.
    pub lost: LossCounts,
    /// Number of events that were sampled out in the window.
    pub sampled_out: u64,
    /// Numbers of inconsistent pairings of allocations and frees in the window.
    pub anomalies: Anomalies,
    /// Number of waits of threads with a full ring in the window.
    pub waits: u64,
}

impl QualityWindow {
    /// Returns the number of events of the window that were recorded or lost.
    pub fn resolved(&self) -> u64 {
        self.recorded.saturating_add(self.lost.total())
    }

    /// Returns recorded ÷ (recorded + lost), from 0 to 1. Returns 1 if both are zero.
    pub fn completeness(&self) -> f64 {
        QualityIndicator::completeness_of(self.recorded, self.lost.total())
    }

    /// Returns the reason with the most losses in the window, or `None` if the window has no losses.
    pub fn cause(&self) -> Option<LossReason> {
        self.lost.dominant()
    }

    fn between(start: &QualitySample, end: &QualitySample) -> QualityWindow {
        // A counter can be slightly lower than in the sample before, because counters are summed over threads while the
        // threads record. The number of unmatched frees also falls when a waiting free finds its block.
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
    /// Completeness of the newest window, from 0 to 1, or `None` if the window has too few events.
    pub windowed_completeness: Option<f64>,
    /// Trend of completeness from the window `before` to the window `newest`.
    pub trend: CompletenessTrend,
    /// Reason for the most losses of the newest window, or `None` if the window has no losses.
    pub cause: Option<LossReason>,
    /// The newest window that has ended.
    pub newest: Option<QualityWindow>,
    /// The window before `newest`.
    pub before: Option<QualityWindow>,
}

/// Keeps the two newest windows of time of a process. See the [module](self).
#[derive(Debug, Clone)]
pub struct QualityMonitor {
    config: MonitorConfig,
    /// The sample with which the current, unfinished window started.
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
    /// A monitor with the default settings and no samples, for constant contexts.
    pub(crate) const EMPTY: QualityMonitor =
        QualityMonitor { config: MonitorConfig::DEFAULT, start: None, newest: None, before: None };

    /// Returns a monitor without samples.
    ///
    /// # Errors
    ///
    /// Returns an [`InvalidSetting`] if the window or the minimum of events is zero, or the dead band is not a share.
    pub fn new(config: MonitorConfig) -> Result<Self, InvalidSetting> {
        nonzero("window_ns", config.window_ns)?;
        nonzero("events_min", config.events_min)?;
        share("dead_band", config.dead_band)?;
        Ok(QualityMonitor { config, ..QualityMonitor::default() })
    }

    /// Takes a sample of the counters. Returns whether this sample ended a window.
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

    /// Returns the completeness of the newest window, the trend, and both windows.
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

/// Returns the trend from the completeness `before` to the completeness `newest`. The trend is unknown if one of the
/// two is unknown.
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
