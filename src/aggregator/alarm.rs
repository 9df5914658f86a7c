//! Telling the program, or its user, that completeness crossed the target.
//!
//! The alarm belongs to heapledger's own thread, which is the only one that calls the program's function; what that
//! allocates is recorded as heapledger's own, because the thread's whole life is an own section. A panic must not
//! leave the thread, which has no Rust frame below it: it is caught, and the function is not called again.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::shared::Shared;
use crate::profile::QualityIndicator;
use crate::quality::{Crossing, LineLimit, QualityView, Threshold, ThresholdWatch};
use crate::recorder::state;
use crate::sys::platform;

/// Common to the alarm and to the end of the process.
static LINES: Shared<LineLimit> = Shared::empty();

/// Watches the windows of one process.
pub(super) struct Alarm {
    watch: ThresholdWatch,
    callback: Option<fn(&QualityIndicator)>,
    warns: bool,
    /// End of the last window that was looked at.
    seen_ns: u64,
}

impl Alarm {
    /// The alarm that the settings ask for, if they do.
    pub(super) fn of_settings() -> Option<Alarm> {
        let options = state::options();
        let is_asked_for = options.on_quality.is_some() || options.warn;
        let threshold = Threshold::at(options.concurrency.target_completeness);
        let watch = is_asked_for.then(|| ThresholdWatch::new(threshold).ok()).flatten()?;
        Some(Alarm { watch, callback: options.on_quality, warns: options.warn, seen_ns: 0 })
    }

    /// Looks at the newest window, once; says whether it crossed the threshold.
    pub(super) fn look(&mut self, view: &QualityView) -> Option<Crossing> {
        let newest = view.newest.filter(|window| window.end_ns > self.seen_ns)?;
        self.seen_ns = newest.end_ns;
        self.watch.observe(view.windowed_completeness)
    }

    /// Tells of a crossing, with the indicator of the moment.
    pub(super) fn tell(&mut self, crossing: &Crossing, quality: &QualityIndicator, now_ns: u64) {
        if self.warns {
            print(&format!("{crossing}{}", advice(quality)), now_ns);
        }
        if let Some(callback) = self.callback
            && catch_unwind(AssertUnwindSafe(|| callback(quality))).is_err()
        {
            self.callback = None;
        }
    }
}

/// Tells, at the end of the process, that the completeness of its whole life is below the target.
pub(crate) fn tell_at_exit(quality: &QualityIndicator, now_ns: u64) {
    let (completeness, threshold) = (quality.current_completeness, quality.target_completeness);
    if state::options().warn && completeness < threshold {
        let whole = Crossing::Below { completeness, threshold };
        print(&format!("over the whole run, {whole}{}", advice(quality)), now_ns);
    }
}

fn advice(quality: &QualityIndicator) -> String {
    if quality.recommendation.is_empty() { String::new() } else { format!("; {}", quality.recommendation) }
}

/// A line on standard error, unless there was one in the last ten seconds.
fn print(line: &str, now_ns: u64) {
    let admitted = LINES.with(|| Some(LineLimit::default()), |limit| limit.admit(now_ns)).flatten();
    let more = match admitted {
        None => return,
        Some(0) => String::new(),
        Some(held_back) => format!(" (lines held back since the last one: {held_back})"),
    };
    platform::write_stderr(format!("heapledger: {line}{more}\n").as_bytes());
}

/// Starts afresh, in a forked child.
pub(super) fn forget() {
    LINES.forget();
}
