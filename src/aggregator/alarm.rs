//! Notifies the program, or its user, when the completeness crosses its target.
//!
//! Only the background thread calls the program's callback. Allocations of the callback are recorded as heapledger's,
//! because the background thread always works for heapledger. A panic of the callback is caught, because it must not
//! unwind out of the thread, whose caller is not Rust code. After a panic, the callback is not called again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::background::BACKGROUND;
use super::diagnostic;
use super::requests::Callback;
use crate::profile::QualityIndicator;
use crate::quality::{QualityView, Threshold, ThresholdCrossing, ThresholdWatch};
use crate::recorder::state;

/// Observes the completeness in the monitor's spans of time (windows).
pub(super) struct Alarm {
    watch: ThresholdWatch,
    callback: Option<Callback>,
    warns: bool,
    /// End of the last observed window, in nanoseconds.
    seen_ns: u64,
}

impl Alarm {
    /// Returns the alarm, if the settings ask for a callback or for warnings.
    pub(super) fn of_settings() -> Option<Alarm> {
        let options = state::options();
        let is_asked_for = options.on_quality.is_some() || options.warn;
        let callback = options.on_quality.map(|function| Box::new(function) as Callback);
        if is_asked_for { Alarm::with(callback) } else { None }
    }

    /// Returns an alarm that calls `callback`.
    pub(super) fn with(callback: Option<Callback>) -> Option<Alarm> {
        let options = state::options();
        let watch = ThresholdWatch::new(Threshold::at(options.concurrency.target_completeness)).ok()?;
        Some(Alarm { watch, callback, warns: options.warn, seen_ns: 0 })
    }

    /// Replaces the callback.
    pub(super) fn call(&mut self, callback: Callback) {
        self.callback = Some(callback);
    }

    /// Observes the newest window, unless it was observed before. Returns the crossing of the threshold that the window
    /// makes, if any.
    pub(super) fn observe(&mut self, view: &QualityView) -> Option<ThresholdCrossing> {
        let newest = view.newest.filter(|window| window.end_ns > self.seen_ns)?;
        self.seen_ns = newest.end_ns;
        self.watch.observe(view.windowed_completeness)
    }

    /// Prints a warning and calls the callback, both with `quality`.
    pub(super) fn notify(&mut self, crossing: &ThresholdCrossing, quality: &QualityIndicator, now_ns: u64) {
        if self.warns {
            print(&format!("{crossing}{}", advice(quality)), now_ns);
        }
        if let Some(callback) = &mut self.callback
            && catch_unwind(AssertUnwindSafe(|| callback(quality))).is_err()
        {
            self.callback = None;
        }
    }
}

/// Prints a warning at the end of the process if the completeness of the whole run is below the target.
pub(crate) fn warn_at_exit(quality: &QualityIndicator, now_ns: u64) {
    let (completeness, threshold) = (quality.current_completeness, quality.target_completeness);
    if state::options().warn && completeness < threshold {
        let whole = ThresholdCrossing::Below { completeness, threshold };
        print(&format!("over the whole run, {whole}{}", advice(quality)), now_ns);
    }
}

fn advice(quality: &QualityIndicator) -> String {
    if quality.recommendation.is_empty() { String::new() } else { format!("; {}", quality.recommendation) }
}

/// Prints a line on standard error, unless a line was printed within the last ten seconds.
fn print(line: &str, now_ns: u64) {
    let Some(held_back) = BACKGROUND.lines.with(1, |limit| limit.admit(now_ns)).flatten() else { return };
    let more = match held_back {
        0 => String::new(),
        lines => format!(" (lines held back since the last one: {lines})"),
    };
    diagnostic::print(format_args!("{line}{more}"));
}
