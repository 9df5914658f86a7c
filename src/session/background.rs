//! Functions by which the program controls the background thread while it runs: start, interval, tuner and callback.

use std::time::Duration;

use super::access::with_ledger;
use crate::aggregator::background;
use crate::aggregator::requests::Requests;
use crate::profile::{QualityIndicator, TuningGoal};
use crate::quality::InvalidSetting;
use crate::recorder::background_thread;
use crate::recorder::internal::InternalScope;
use crate::recorder::options::{INTERVAL_NS_MAX, INTERVAL_NS_MIN};

/// The background thread of heapledger. It books the rings of idle threads, advances the clock's epoch, and runs tuner,
/// triggers and callback.
///
/// heapledger starts the thread when it is needed ([`HeapLedger::background`](crate::HeapLedger::background)), so a
/// program need not spawn it. No event is lost without the thread.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// use heapledger::BackgroundAggregator;
///
/// let aggregator = BackgroundAggregator::spawn(Duration::from_millis(100))?;
/// // This program has no HeapLedger, so there is nothing to aggregate.
/// assert!(aggregator.is_none());
/// assert!(BackgroundAggregator::spawn(Duration::ZERO).is_err());
/// # Ok::<(), heapledger::InvalidSetting>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackgroundAggregator(());

impl BackgroundAggregator {
    /// Sets the interval of the background thread, and starts the thread if it does not run. Returns `None` if no
    /// [`HeapLedger`](crate::HeapLedger) records, if the builder forbids the thread, or if no thread can be started.
    /// Must not be called in a signal handler.
    ///
    /// # Errors
    /// Returns an [`InvalidSetting`] for an interval below 250 µs or above one second.
    pub fn spawn(interval: Duration) -> Result<Option<Self>, InvalidSetting> {
        set_interval(interval)?;
        let runs = with_ledger(|_, _| ()).is_some() && background_thread::start_on_request();
        Ok(runs.then_some(Self(())))
    }
}

/// Changes the interval of the background thread: the minimum pause between two of its rounds, from 250 µs to 1 s. The
/// thread takes over the new interval within a tenth of a second, or within the old interval if that is longer. Every
/// later dump lists the change, with its time. [`HeapLedger::interval`](crate::HeapLedger::interval) explains the
/// effects of the interval.
///
/// # Errors
/// Returns an [`InvalidSetting`] for an interval outside these bounds.
///
/// ```
/// heapledger::set_interval(std::time::Duration::from_millis(100))?;
/// # Ok::<(), heapledger::InvalidSetting>(())
/// ```
pub fn set_interval(interval: Duration) -> Result<(), InvalidSetting> {
    let interval_ns = checked_interval_ns(u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX))?;
    leave(|requests| requests.interval_ns = Some(interval_ns));
    Ok(())
}

/// Returns `value` if the background thread can have this interval, otherwise an error.
pub(super) fn checked_interval_ns(value: u64) -> Result<u64, InvalidSetting> {
    let (setting, least, most) = ("interval in ns", INTERVAL_NS_MIN, INTERVAL_NS_MAX);
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(InvalidSetting::OutOfBounds { setting, value, least, most })
    }
}

/// Switches the tuner on with a goal, or off with `None`, while the program runs: see
/// [`HeapLedger::auto_tune`](crate::HeapLedger::auto_tune). After the tuner is switched off, the settings keep their
/// last values. Each new tuner clears [`tuner_log`](crate::tuner_log).
///
/// # Errors
/// Returns an [`InvalidSetting`] if the goal is invalid.
///
/// ```
/// use heapledger::TuningGoal;
///
/// heapledger::set_auto_tune(Some(TuningGoal { budget_ns: 50, ..TuningGoal::DEFAULT }))?;
/// heapledger::set_auto_tune(None)?;
/// # Ok::<(), heapledger::InvalidSetting>(())
/// ```
pub fn set_auto_tune(goal: Option<TuningGoal>) -> Result<(), InvalidSetting> {
    goal.map_or(Ok(()), |goal| goal.validate())?;
    leave(|requests| requests.tuner = Some(goal));
    background_thread::start_on_request();
    Ok(())
}

/// Sets a closure that is called when the completeness of the last second crosses the target. The closure replaces the
/// function of [`HeapLedger::on_quality`](crate::HeapLedger::on_quality), whose documentation describes the calls and
/// their thread. A `static` can hold a function but no closure, so this function is called at run time, for example in
/// `main`.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// let crossings = Arc::new(AtomicU64::new(0));
/// let counted = Arc::clone(&crossings);
/// heapledger::on_quality(move |_quality| {
///     counted.fetch_add(1, Ordering::Relaxed);
/// });
/// ```
pub fn on_quality(callback: impl FnMut(&QualityIndicator) + Send + 'static) {
    let callback = {
        // The box lives as long as the program, and counts as heapledger's block.
        let _scope = InternalScope::enter();
        Box::new(callback)
    };
    leave(|requests| requests.callback = Some(callback));
    background_thread::start_on_request();
}

/// Leaves a request for the background thread. Does nothing if there is no ledger.
fn leave(request: impl FnOnce(&mut Requests)) {
    with_ledger(|_, _| background::leave_request(request));
}
