//! Thresholds of completeness. A [`ThresholdWatch`] detects when completeness falls below a threshold, and when it
//! recovers.
//!
//! ```text
//!  completeness   ──╲            ╱──────   recovers at completeness + hysteresis, 1 at most
//!                    ╲      ╱╲  ╱
//!  threshold   ╌╌╌╌╌╌╌╲╌╌╌╌╱╌╌╲╱╌╌╌╌╌╌╌   is below at anything less
//!                   Below        Recovered
//! ```
//!
//! A value that varies around a threshold by less than the hysteresis makes one crossing, not one crossing per sample.
//! An unknown completeness, or one that is not a number, changes nothing. Printed warnings go through a [`LineLimit`],
//! which admits one line in ten seconds and counts the others. Callbacks are not limited.
//!
//! ```
//! use heapledger::quality::{ThresholdCrossing, Threshold, ThresholdWatch};
//!
//! let mut watch = ThresholdWatch::new(Threshold { completeness: 0.95, hysteresis: 0.01 })?;
//! assert_eq!(watch.observe(Some(0.97)), None);
//! assert_eq!(watch.observe(Some(0.94)), Some(ThresholdCrossing::Below { completeness: 0.94, threshold: 0.95 }));
//! assert_eq!(watch.observe(Some(0.955)), None, "not clearly above");
//! assert_eq!(watch.observe(Some(0.97)), Some(ThresholdCrossing::Recovered { completeness: 0.97, threshold: 0.95 }));
//! # Ok::<(), heapledger::quality::InvalidSetting>(())
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use super::display::share_percent;
use super::error::{InvalidSetting, share};
use crate::profile::DataQualityMode;

/// Minimum time between two printed warnings, in nanoseconds.
pub const LINE_INTERVAL_NS: u64 = 10_000_000_000;
/// Default distance above a threshold at which completeness counts as recovered, as a share.
pub const HYSTERESIS: f64 = 0.005;

/// A completeness below which heapledger warns the program or its user.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Threshold {
    /// Completeness, from 0 to 1. Lower values are below the threshold.
    pub completeness: f64,
    /// Distance above the threshold, from 0 to 1, at which completeness counts as recovered. A completeness of 1 always
    /// counts as recovered.
    pub hysteresis: f64,
}

impl Threshold {
    /// Returns a threshold with the default hysteresis.
    pub const fn at(completeness: f64) -> Threshold {
        Threshold { completeness, hysteresis: HYSTERESIS }
    }

    /// Returns a threshold at the completeness that is usual for a mode: 100 % for `PerfectAccuracy`, 95 % for
    /// `HighAccuracy`, 80 % for `HighThroughput`, 0 for `BestEffort`. The mode does not guarantee this completeness.
    pub const fn of_mode(mode: DataQualityMode) -> Threshold {
        Threshold::at(match mode {
            DataQualityMode::PerfectAccuracy => 1.0,
            DataQualityMode::HighAccuracy => 0.95,
            DataQualityMode::HighThroughput => 0.8,
            DataQualityMode::BestEffort => 0.0,
        })
    }
}

/// A crossing of a threshold. Its `Display` is one line of text for users.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum ThresholdCrossing {
    /// Completeness fell below the threshold.
    Below {
        /// The observed completeness, from 0 to 1.
        completeness: f64,
        /// The threshold, from 0 to 1.
        threshold: f64,
    },
    /// Completeness rose above the threshold again, by at least the hysteresis.
    Recovered {
        /// The observed completeness, from 0 to 1.
        completeness: f64,
        /// The threshold, from 0 to 1.
        threshold: f64,
    },
}

impl fmt::Display for ThresholdCrossing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, completeness, threshold) = match self {
            ThresholdCrossing::Below { completeness, threshold } => ("fell below", completeness, threshold),
            ThresholdCrossing::Recovered { completeness, threshold } => {
                ("is back above", completeness, threshold)
            }
        };
        let [completeness, threshold] = [*completeness, *threshold].map(share_percent);
        write!(f, "data quality {what} {threshold}: completeness {completeness}")
    }
}

/// Detects crossings of one threshold. See the [module](self).
#[derive(Debug, Clone)]
pub struct ThresholdWatch {
    threshold: Threshold,
    is_below: bool,
}

impl ThresholdWatch {
    /// Returns a watch whose initial state is above the threshold.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidSetting::NotAShare`] if the threshold or its hysteresis is not from 0 to 1.
    pub fn new(threshold: Threshold) -> Result<Self, InvalidSetting> {
        share("threshold completeness", threshold.completeness)?;
        share("threshold hysteresis", threshold.hysteresis)?;
        Ok(ThresholdWatch { threshold, is_below: false })
    }

    /// Takes a completeness from 0 to 1, or `None` if the completeness is unknown. Returns the crossing that this value
    /// makes, or `None` if it makes none.
    pub fn observe(&mut self, completeness: Option<f64>) -> Option<ThresholdCrossing> {
        let completeness = completeness.filter(|share| !share.is_nan())?;
        let threshold = self.threshold.completeness;
        let recovered = completeness >= (threshold + self.threshold.hysteresis).min(1.0);
        if !self.is_below && completeness < threshold {
            self.is_below = true;
            Some(ThresholdCrossing::Below { completeness, threshold })
        } else if self.is_below && recovered {
            self.is_below = false;
            Some(ThresholdCrossing::Recovered { completeness, threshold })
        } else {
            None
        }
    }

    /// Whether completeness fell below the threshold and has not recovered since.
    pub fn is_below(&self) -> bool {
        self.is_below
    }
}

/// Admits one line in [`LINE_INTERVAL_NS`], and counts the other lines.
#[derive(Debug, Clone, Default)]
pub struct LineLimit {
    last_ns: Option<u64>,
    held_back: u64,
}

impl LineLimit {
    /// A limit that has admitted no line yet, for constant contexts.
    pub(crate) const NEW: LineLimit = LineLimit { last_ns: None, held_back: 0 };

    /// Returns `None` if no line may be printed at `now_ns` (in nanoseconds). Otherwise returns the number of lines
    /// that were held back since the last printed line. If the clock goes back, no time counts as passed.
    pub fn admit(&mut self, now_ns: u64) -> Option<u64> {
        let passed = self.last_ns.is_none_or(|last_ns| now_ns.saturating_sub(last_ns) >= LINE_INTERVAL_NS);
        if !passed {
            self.held_back = self.held_back.saturating_add(1);
            return None;
        }
        self.last_ns = Some(now_ns);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_hovers_crosses_once() {
        let mut watch = ThresholdWatch::new(Threshold { completeness: 0.9, hysteresis: 0.05 }).unwrap();
        let seen =
            [0.91, 0.89, 0.91, 0.89, 0.94, 0.89, 0.96, 0.91, 0.89].map(|share| watch.observe(Some(share)));
        let below = Some(ThresholdCrossing::Below { completeness: 0.89, threshold: 0.9 });
        let recovered = Some(ThresholdCrossing::Recovered { completeness: 0.96, threshold: 0.9 });
        assert_eq!(seen, [None, below, None, None, None, None, recovered, None, below]);
        assert!(watch.is_below());
    }

    #[test]
    fn an_unknown_completeness_changes_nothing() {
        let mut watch = ThresholdWatch::new(Threshold::at(0.9)).unwrap();
        assert_eq!([None, Some(f64::NAN)].map(|share| watch.observe(share)), [None, None]);
        assert!(watch.observe(Some(0.5)).is_some());
        assert_eq!([None, Some(f64::NAN)].map(|share| watch.observe(share)), [None, None]);
        assert!(watch.is_below());
    }

    #[test]
    fn a_threshold_of_everything_recovers_when_nothing_is_lost_and_one_of_nothing_is_never_crossed() {
        let mut all = ThresholdWatch::new(Threshold::of_mode(DataQualityMode::PerfectAccuracy)).unwrap();
        assert!(all.observe(Some(0.999_999)).is_some());
        assert!(matches!(all.observe(Some(1.0)), Some(ThresholdCrossing::Recovered { .. })));
        let mut none = ThresholdWatch::new(Threshold::of_mode(DataQualityMode::BestEffort)).unwrap();
        assert_eq!(none.observe(Some(0.0)), None);
    }

    #[test]
    fn crossings_read_as_lines_and_round_down() {
        let below = ThresholdCrossing::Below { completeness: 0.949_999_9, threshold: 0.95 };
        assert_eq!(below.to_string(), "data quality fell below 95%: completeness 94.999%");
        let back = ThresholdCrossing::Recovered { completeness: 1.0, threshold: 0.95 };
        assert_eq!(back.to_string(), "data quality is back above 95%: completeness 100%");
    }

    #[test]
    fn thresholds_that_are_no_shares_are_refused() {
        for threshold in [Threshold::at(1.5), Threshold::at(f64::NAN)] {
            assert!(ThresholdWatch::new(threshold).unwrap_err().to_string().contains("from 0 to 1"));
        }
        let hysteresis = Threshold { completeness: 0.9, hysteresis: -0.1 };
        assert!(ThresholdWatch::new(hysteresis).is_err());
    }

    #[test]
    fn one_line_goes_through_in_ten_seconds_and_the_others_are_counted() {
        let mut limit = LineLimit::default();
        let second = 1_000_000_000;
        assert_eq!(limit.admit(5 * second), Some(0));
        assert_eq!([6, 3, 14].map(|at| limit.admit(at * second)), [None; 3]);
        assert_eq!(limit.admit(15 * second), Some(3));
        assert_eq!((limit.admit(24 * second), limit.admit(25 * second)), (None, Some(1)));
    }
}
