//! Completeness lately, and which way it goes.
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
//! * It is fed [samples](QualitySample) of the counters as they stand, at whatever rhythm. A window ends with the first
//!   sample that is at least `window_ns` younger than its start, and the next begins with the same sample: no event
//!   falls between two windows, and a window that saw no sample for long is simply longer.
//! * Only windows that ended are looked at, so both are of about one length, and a figure does not jitter while a
//!   window fills. The price is age: what is said now was true up to one window ago.
//! * A window with fewer than `events_min` settled events says nothing about completeness; then the trend is unknown.
//! * A difference of at most `dead_band` is no trend.
//!
//! Nothing here reads a clock. Counters that fall back (a forked child with a fresh ledger) start the monitor anew.

use serde::{Deserialize, Serialize};

use super::error::{InvalidSetting, nonzero, share};
use crate::profile::{Anomalies, CompletenessTrend, LossCounts, LossReason, QualityIndicator};

/// Length of a window, in nanoseconds.
pub const WINDOW_NS: u64 = 1_000_000_000;
/// Settled events (recorded or lost) that a window needs before its completeness counts.
pub const WINDOW_EVENTS_MIN: u64 = 1_000;
/// Difference of completeness between two windows, as a share, up to which it counts as stable: half a point.
pub const DEAD_BAND: f64 = 0.005;

/// What a monitor takes for a window and for a trend.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MonitorConfig {
    /// Length of a window, in nanoseconds. Default [`WINDOW_NS`].
    pub window_ns: u64,
    /// Settled events that a window needs before it says anything. Default [`WINDOW_EVENTS_MIN`].
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
    /// Events that sampling left out by choice.
    pub sampled_out: u64,
    /// Pairings that do not add up.
    pub anomalies: Anomalies,
    /// Times a thread with a full ring had to wait for its books.
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

/// What happened between two samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
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
    /// Events that sampling left out in the window.
    pub sampled_out: u64,
    /// Pairings of the window that do not add up.
    pub anomalies: Anomalies,
    /// Waits of threads with a full ring, in the window.
    pub waits: u64,
}

impl Window {
    /// Events of the window that were settled: recorded or lost.
    pub fn settled(&self) -> u64 {
        self.recorded.saturating_add(self.lost.total())
    }

    /// Recorded ÷ settled, from 0 to 1; 1 when nothing was settled.
    pub fn completeness(&self) -> f64 {
        QualityIndicator::completeness_of(self.recorded, self.lost.total())
    }

    /// The reason with the most losses in the window, or `None` when nothing was lost in it.
    pub fn cause(&self) -> Option<LossReason> {
        self.lost.dominant()
    }

    fn between(start: &QualitySample, end: &QualitySample) -> Window {
        // Sums over lanes are read without stopping anyone, and frees that wait can be settled: a figure may be a
        // little lower than before without anything being wrong.
        let mut lost = LossCounts::default();
        for reason in LossReason::ALL {
            lost.add(reason, end.lost.get(reason).saturating_sub(start.lost.get(reason)));
        }
        let rise = |of: fn(&Anomalies) -> u64| of(&end.anomalies).saturating_sub(of(&start.anomalies));
        Window {
            start_ns: start.at_ns,
            end_ns: end.at_ns,
            attempted: end.attempted.saturating_sub(start.attempted),
            recorded: end.recorded.saturating_sub(start.recorded),
            lost,
            sampled_out: end.sampled_out.saturating_sub(start.sampled_out),
            anomalies: Anomalies {
                unmatched_frees: rise(|anomalies| anomalies.unmatched_frees),
                double_allocations: rise(|anomalies| anomalies.double_allocations),
                ambiguous_pairings: rise(|anomalies| anomalies.ambiguous_pairings),
                layout_mismatches: rise(|anomalies| anomalies.layout_mismatches),
            },
            waits: end.waits.saturating_sub(start.waits),
        }
    }
}

/// What a monitor sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct QualityView {
    /// Completeness of the newest window, from 0 to 1, or `None` when it holds too few events.
    pub windowed_completeness: Option<f64>,
    /// How the newest window compares with the one before it.
    pub trend: CompletenessTrend,
    /// Why most of what was lost in the newest window was lost, or `None` when nothing was.
    pub cause: Option<LossReason>,
    /// The newest window that has ended.
    pub newest: Option<Window>,
    /// The window before it.
    pub before: Option<Window>,
}

/// Keeps the two newest windows of a process's counters. See the [module](self).
#[derive(Debug, Clone)]
pub struct QualityMonitor {
    config: MonitorConfig,
    /// Where the window that is filling began.
    start: Option<QualitySample>,
    newest: Option<Window>,
    before: Option<Window>,
}

impl Default for QualityMonitor {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl QualityMonitor {
    /// A monitor with the default windows that has seen nothing, in a constant context.
    pub(crate) const EMPTY: QualityMonitor =
        QualityMonitor { config: MonitorConfig::DEFAULT, start: None, newest: None, before: None };

    /// A monitor that has seen nothing.
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

    /// Takes the counters as they stand. Returns whether a window ended with them.
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
        self.newest = Some(Window::between(start, &sample));
        self.start = Some(sample);
        true
    }

    /// What the two windows say.
    pub fn view(&self) -> QualityView {
        let tells = |window: &Option<Window>| {
            window.filter(|window| window.settled() >= self.config.events_min).map(|w| w.completeness())
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
