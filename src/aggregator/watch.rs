//! Watching quality over time: the monitor's windows, fed by the aggregator and by every query.
//!
//! The monitor is small plain data behind a latch. Whoever finds the latch taken goes without a trend: a query never
//! waits for another one, and a forked child, where the holder may not exist, starts afresh.

use std::cell::UnsafeCell;

use crate::profile::{QualityIndicator, Settings};
use crate::quality::{MonitorConfig, QualityMonitor, QualitySample};
use crate::sys::latch::Latch;

static WATCH: Watch = Watch { latch: Latch::new(), monitor: UnsafeCell::new(None) };

struct Watch {
    latch: Latch,
    monitor: UnsafeCell<Option<QualityMonitor>>,
}

// SAFETY: W1, the monitor is touched under the latch only.
unsafe impl Sync for Watch {}

/// Feeds the counters of `quality` to the monitor and fills in what follows from its windows: trend, windowed
/// completeness, recommendation. Allocates for the recommendation: called in an own section.
pub(crate) fn complete(quality: &mut QualityIndicator, settings: &Settings, at_ns: u64) {
    let view = with_monitor(|monitor| {
        monitor.push(QualitySample::of(quality, at_ns));
        monitor.view()
    });
    if let Some(view) = view {
        view.complete(quality, settings);
    }
}

/// Feeds the counters of `quality` to the monitor.
pub(crate) fn feed(quality: &QualityIndicator, at_ns: u64) {
    with_monitor(|monitor| monitor.push(QualitySample::of(quality, at_ns)));
}

fn with_monitor<T>(work: impl FnOnce(&mut QualityMonitor) -> T) -> Option<T> {
    let _taken = WATCH.latch.try_take()?;
    // SAFETY: W1.
    let slot = unsafe { &mut *WATCH.monitor.get() };
    if slot.is_none() {
        *slot = QualityMonitor::new(MonitorConfig::default()).ok();
    }
    slot.as_mut().map(work)
}

/// Starts afresh, in a forked child.
pub(crate) fn forget() {
    WATCH.latch.open();
    if let Some(_taken) = WATCH.latch.try_take() {
        // SAFETY: W1. What it held is plain data; nothing is freed.
        unsafe { *WATCH.monitor.get() = None };
    }
}
