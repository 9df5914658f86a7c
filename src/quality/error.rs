//! The error for invalid settings. Its message names the setting, repeats the value, and states the allowed values:
//!
//! ```
//! use heapledger::{ConcurrencyConfig, DataQualityMode};
//!
//! let config = ConcurrencyConfig { target_completeness: 1.5, ..ConcurrencyConfig::DEFAULT };
//! let refusal = config.validate().unwrap_err();
//! assert_eq!(refusal.to_string(), "target_completeness is 1.5: it takes a share from 0 to 1, such as 0.95");
//!
//! let refusal = "fast".parse::<DataQualityMode>().unwrap_err();
//! assert_eq!(refusal.to_string(), "mode is \"fast\": it takes perfect, high, throughput or best-effort");
//! ```

use std::fmt;
use std::str::FromStr;

use crate::profile::{ClockMode, ConcurrencyConfig, DataQualityMode, TuningGoal};

/// A setting with an invalid value.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum InvalidSetting {
    /// The value is not a share from 0 to 1.
    NotAShare {
        /// Name of the setting.
        setting: &'static str,
        /// The invalid value.
        value: f64,
    },
    /// A duration, a count or a budget is zero, but must not be.
    Zero {
        /// Name of the setting, with its unit.
        setting: &'static str,
    },
    /// A duration has more nanoseconds than 64 bits hold.
    TooLong {
        /// Name of the setting.
        setting: &'static str,
    },
    /// A number is outside the bounds of the setting.
    OutOfBounds {
        /// Name of the setting, with its unit.
        setting: &'static str,
        /// The invalid value.
        value: u64,
        /// The lower bound.
        least: u64,
        /// The upper bound.
        most: u64,
    },
    /// The setting has no value of this name.
    UnknownName {
        /// Name of the setting.
        setting: &'static str,
        /// The unknown name.
        value: String,
        /// The allowed names, as a list in words.
        allowed: &'static str,
    },
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InvalidSetting::NotAShare { setting, value } => {
                write!(f, "{setting} is {value}: it takes a share from 0 to 1, such as 0.95")
            }
            InvalidSetting::Zero { setting } => write!(f, "{setting} is 0: it takes 1 or more"),
            InvalidSetting::TooLong { setting } => {
                write!(f, "{setting} is too long: it takes at most {} nanoseconds", u64::MAX)
            }
            InvalidSetting::OutOfBounds { setting, value, least, most } => {
                write!(f, "{setting} is {value}: it takes {least} to {most}")
            }
            InvalidSetting::UnknownName { setting, value, allowed } => {
                write!(f, "{setting} is {value:?}: it takes {allowed}")
            }
        }
    }
}

impl std::error::Error for InvalidSetting {}

/// Returns `value` if it is a share from 0 to 1, otherwise an error that names `setting`.
pub(super) const fn share(setting: &'static str, value: f64) -> Result<f64, InvalidSetting> {
    // A comparison with NaN is false, so NaN is refused too.
    if value >= 0.0 && value <= 1.0 { Ok(value) } else { Err(InvalidSetting::NotAShare { setting, value }) }
}

/// Returns `value` if it is not zero, otherwise an error.
pub(super) const fn nonzero(setting: &'static str, value: u64) -> Result<u64, InvalidSetting> {
    if value == 0 { Err(InvalidSetting::Zero { setting }) } else { Ok(value) }
}

/// Returns `value` if it is between two bounds (inclusive), otherwise an error.
pub(super) const fn between(
    setting: &'static str,
    value: u64,
    (least, most): (u64, u64),
) -> Result<u64, InvalidSetting> {
    if value < least || value > most {
        return Err(InvalidSetting::OutOfBounds { setting, value, least, most });
    }
    Ok(value)
}

impl ConcurrencyConfig {
    /// Checks every field. Only `target_completeness` can be invalid. Large values of `max_retries` and `base_delay_ns`
    /// are valid, because a single wait is limited to 100 µs.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidSetting::NotAShare`] if `target_completeness` is not from 0 to 1.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        share("target_completeness", self.target_completeness).map(|_| ())
    }
}

impl TuningGoal {
    /// Checks every field.
    ///
    /// # Errors
    ///
    /// Returns an [`InvalidSetting`] if the target is not from 0 to 1, or the budget is zero.
    pub fn validate(&self) -> Result<(), InvalidSetting> {
        share("auto_tune target_completeness", self.target_completeness)?;
        nonzero("auto_tune budget_ns", self.budget_ns)?;
        Ok(())
    }
}

impl FromStr for DataQualityMode {
    type Err = InvalidSetting;

    /// Reads the name that `HEAPLEDGER_MODE` takes: `perfect`, `high`, `throughput` or `best-effort`.
    fn from_str(name: &str) -> Result<Self, InvalidSetting> {
        const ALLOWED: &str = "perfect, high, throughput or best-effort";
        let found = DataQualityMode::ALL.into_iter().find(|mode| mode.name() == name);
        found.ok_or_else(|| unknown("mode", name, ALLOWED))
    }
}

impl FromStr for ClockMode {
    type Err = InvalidSetting;

    /// Reads the name that `HEAPLEDGER_CLOCK` takes: `batched`, `per-event` or `monotonic`.
    fn from_str(name: &str) -> Result<Self, InvalidSetting> {
        let found = ClockMode::ALL.into_iter().find(|mode| mode.name() == name);
        found.ok_or_else(|| unknown("clock", name, "batched, per-event or monotonic"))
    }
}

pub(super) fn unknown(setting: &'static str, value: &str, allowed: &'static str) -> InvalidSetting {
    InvalidSetting::UnknownName { setting, value: value.to_owned(), allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(outcome: Result<impl fmt::Debug, InvalidSetting>) -> String {
        outcome.unwrap_err().to_string()
    }

    #[test]
    fn a_target_must_be_a_share() {
        for target in [0.0, 0.95, 1.0] {
            let config = ConcurrencyConfig { target_completeness: target, ..ConcurrencyConfig::DEFAULT };
            assert_eq!(config.validate(), Ok(()));
        }
        for (target, shown) in
            [(1.5, "1.5"), (-0.1, "-0.1"), (f64::NAN, "NaN"), (f64::INFINITY, "inf"), (95.0, "95")]
        {
            let config = ConcurrencyConfig { target_completeness: target, ..ConcurrencyConfig::DEFAULT };
            let expected =
                format!("target_completeness is {shown}: it takes a share from 0 to 1, such as 0.95");
            assert_eq!(message(config.validate()), expected);
        }
    }

    #[test]
    fn every_mode_and_clock_is_read_by_its_own_name_and_by_no_other() {
        for mode in DataQualityMode::ALL {
            assert_eq!(mode.name().parse(), Ok(mode));
            let all = message("".parse::<DataQualityMode>());
            assert!(all.contains(mode.name()), "{all}");
        }
        for clock in ClockMode::ALL {
            assert_eq!(clock.name().parse(), Ok(clock));
            assert!(message("".parse::<ClockMode>()).contains(clock.name()));
        }
        for name in ["Perfect", "perfect ", "best effort", "100"] {
            assert!(message(name.parse::<DataQualityMode>()).starts_with(&format!("mode is {name:?}: ")));
        }
    }

    #[test]
    fn zeros_and_numbers_out_of_bounds_are_told_what_is_allowed() {
        assert_eq!(message(nonzero("window_ns", 0)), "window_ns is 0: it takes 1 or more");
        assert_eq!(nonzero("window_ns", 1), Ok(1));
        assert_eq!(message(between("segments", 3, (4, 48))), "segments is 3: it takes 4 to 48");
        assert_eq!((between("segments", 4, (4, 48)), between("segments", 48, (4, 48))), (Ok(4), Ok(48)));
    }
}
