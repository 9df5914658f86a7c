//! Settings of the builder that cannot mean anything.
//!
//! A `static` cannot fail to be made, so they are found when the ledger is opened: each is told once on standard
//! error, with what is allowed, and its default is used. `HeapLedger::validate` finds the same beforehand, as a typed
//! error; a test holds the two together.

use super::allocator::Options;
use super::complaint::complain;
use crate::profile::{ConcurrencyConfig, Stacks, TuningGoal};

/// Puts defaults in the place of settings that mean nothing, and says so.
pub(super) fn settle(options: &mut Options) {
    share(
        "target_completeness",
        &mut options.concurrency.target_completeness,
        ConcurrencyConfig::DEFAULT.target_completeness,
    );
    nonzero("memory_limit", &mut options.memory_limit_bytes, Options::DEFAULT.memory_limit_bytes);
    nonzero("sampling_bytes", &mut options.sampling_bytes, Options::DEFAULT.sampling_bytes);
    if let Stacks::Sampled { bytes } = &mut options.stacks {
        nonzero("Stacks::Sampled bytes", bytes, Options::DEFAULT.sampling_bytes);
    }
    if let Some(goal) = &mut options.auto_tune {
        share(
            "auto_tune target_completeness",
            &mut goal.target_completeness,
            TuningGoal::DEFAULT.target_completeness,
        );
        nonzero("auto_tune budget_ns", &mut goal.budget_ns, TuningGoal::DEFAULT.budget_ns);
    }
}

fn share(setting: &str, value: &mut f64, default: f64) {
    // A comparison with NaN is false, so that this refuses it, too.
    if *value >= 0.0 && *value <= 1.0 {
        return;
    }
    complain(format_args!(
        "{setting} is {value}: it takes a share from 0 to 1, such as 0.95; {default} is used"
    ));
    *value = default;
}

fn nonzero(setting: &str, value: &mut u64, default: u64) {
    if *value == 0 {
        complain(format_args!("{setting} is 0: it takes 1 or more; {default} is used"));
        *value = default;
    }
}
