//! Validation of the builder's options.
//!
//! The builder of a `static` cannot return an error, so options are validated when the ledger is opened. An invalid
//! option is replaced with its default, and a diagnostic is printed. `HeapLedger::validate` reports the same as a typed
//! error; a test checks that both functions agree.

use super::diagnostic::warn;
use super::options::{INTERVAL_NS_MAX, INTERVAL_NS_MIN, Options};
use crate::profile::{ConcurrencyConfig, Stacks, Triggers, TuningGoal};

/// Replaces invalid options with defaults, and prints a diagnostic for each on standard error.
pub(super) fn replace_invalid(options: &mut Options) {
    share(
        "target_completeness",
        &mut options.concurrency.target_completeness,
        ConcurrencyConfig::DEFAULT.target_completeness,
    );
    nonzero("memory_limit", &mut options.memory_limit_bytes, Options::DEFAULT.memory_limit_bytes);
    nonzero("sampling_bytes", &mut options.sampling_bytes, Options::DEFAULT.sampling_bytes);
    if !(INTERVAL_NS_MIN..=INTERVAL_NS_MAX).contains(&options.interval_ns) {
        let (value, default) = (options.interval_ns, Options::DEFAULT.interval_ns);
        warn(format_args!(
            "interval in ns is {value}: it takes {INTERVAL_NS_MIN} to {INTERVAL_NS_MAX}; {default} is used"
        ));
        options.interval_ns = default;
    }
    if let Stacks::Sampled { bytes } = &mut options.stacks {
        nonzero("Stacks::Sampled bytes", bytes, Options::DEFAULT.sampling_bytes);
    }
    let mut keep = u64::from(options.triggers.keep);
    nonzero("triggers keep", &mut keep, u64::from(Triggers::DEFAULT.keep));
    options.triggers.keep = keep as u32;
    if let Some(goal) = &mut options.auto_tune {
        share(
            "auto_tune target_completeness",
            &mut goal.target_completeness,
            TuningGoal::DEFAULT.target_completeness,
        );
        nonzero("auto_tune budget_ns", &mut goal.budget_ns, TuningGoal::DEFAULT.budget_ns);
    }
}

/// Replaces a value outside of 0 to 1 with its default.
fn share(setting: &str, value: &mut f64, default: f64) {
    // The condition is also false for NaN.
    if *value >= 0.0 && *value <= 1.0 {
        return;
    }
    warn(format_args!("{setting} is {value}: it takes a share from 0 to 1, such as 0.95; {default} is used"));
    *value = default;
}

/// Replaces 0 with the default.
fn nonzero(setting: &str, value: &mut u64, default: u64) {
    if *value == 0 {
        warn(format_args!("{setting} is 0: it takes 1 or more; {default} is used"));
        *value = default;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::HeapLedger;

    #[test]
    fn exactly_the_options_that_validate_rejects_are_replaced() {
        let concurrency = |target_completeness| {
            let config = ConcurrencyConfig { target_completeness, ..ConcurrencyConfig::DEFAULT };
            HeapLedger::system().concurrency(config)
        };
        let tuned = |target_completeness, budget_ns| {
            let goal = TuningGoal { target_completeness, budget_ns, ..TuningGoal::DEFAULT };
            HeapLedger::system().auto_tune(goal)
        };
        let stacks = |bytes| HeapLedger::system().stacks(Stacks::Sampled { bytes });
        let table = [
            (HeapLedger::system(), true),
            (concurrency(0.0), true),
            (concurrency(1.0), true),
            (concurrency(1.5), false),
            (concurrency(-0.1), false),
            (concurrency(f64::NAN), false),
            (concurrency(f64::INFINITY), false),
            (tuned(1.0, 1), true),
            (tuned(f64::NAN, 1), false),
            (tuned(2.0, 1), false),
            (tuned(0.5, 0), false),
            (stacks(1), true),
            (stacks(0), false),
            (HeapLedger::system().interval(Duration::from_millis(100)), true),
            (HeapLedger::system().interval(Duration::from_micros(249)), false),
            (HeapLedger::system().interval(Duration::MAX), false),
            (HeapLedger::system().memory_limit(1), true),
            (HeapLedger::system().memory_limit(0), false),
            (HeapLedger::system().sampling_bytes(1), true),
            (HeapLedger::system().sampling_bytes(0), false),
            (HeapLedger::system().triggers(Triggers { keep: 0, ..Triggers::DEFAULT }), false),
        ];
        for (mut ledger, is_sound) in table {
            let before = format!("{:?}", ledger.options);
            assert_eq!(ledger.validate().is_ok(), is_sound, "{before}");
            replace_invalid(&mut ledger.options);
            assert_eq!(format!("{:?}", ledger.options) == before, is_sound, "{before}");
            assert_eq!(ledger.validate(), Ok(()), "its default can be used");
        }
    }
}
