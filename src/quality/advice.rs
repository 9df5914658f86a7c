//! The recommendation: turns a cause and its figures into one sentence that names a knob and a value.
//!
//! An [`Advice`] is data; its `Display` is the sentence. Without an advice the sentence is empty, and so is the
//! [`recommendation`](QualityIndicator::recommendation).
//!
//! Two rules hold. The user can follow every sentence: it names a method of the builder or a field, with the value to
//! set, and the environment variable if there is one. No sentence asks the program to do less: a recorder must not ask
//! its host to use fewer threads.

use serde::{Deserialize, Serialize};

use super::cause::{QualityCause, cause, waits_among};
use super::monitor::QualityWindow;
use super::ring_size;
use crate::profile::{ClockMode, DataQualityMode, HistoryLimits, LossReason, QualityIndicator, Settings};

/// Minimum memory limit that an advice names, in bytes: 1 GiB of address space.
const MEMORY_LIMIT_BYTES_MIN: u64 = 1 << 30;

/// The events lost for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// Reason for the loss.
    pub reason: LossReason,
    /// Number of events lost for the reason.
    pub events: u64,
    /// Number of all events recorded or lost in the same time.
    pub of: u64,
    /// Whether both figures are of the newest window; otherwise they are of the whole process.
    pub lately: bool,
}

/// A recommended change of settings. Its `Display` is the sentence without a full stop, or an empty text for
/// [`Advice::Nothing`].
///
/// ```
/// use heapledger::{LossCounts, LossReason, QualityIndicator, quality};
/// # let settings = heapledger::Profile::default().settings;
///
/// let mut lost = LossCounts::default();
/// lost.add(LossReason::TableFull, 12);
/// let quality = QualityIndicator { installed: true, recorded: 988, lost, ..QualityIndicator::default() };
/// let advice = quality::advice(&quality, &settings, None);
/// assert!(advice.to_string().starts_with("table_full lost 1.2% of 1,000 events: raise HeapLedger::memory_limit"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Advice {
    /// No advice. The sentence is empty.
    Nothing,
    /// Install a `HeapLedger`.
    Install,
    /// Use the mode that waits, or larger rings.
    NeverShed {
        /// The loss that the advice prevents.
        loss: Loss,
        /// The mode in force.
        mode: DataQualityMode,
        /// Limits that make the rings larger, or `None` if the rings have their maximum size.
        history: Option<HistoryLimits>,
    },
    /// Change the program, or accept the loss, because no setting prevents it.
    ChangeProgram {
        /// The loss, with reason `reentrant`, `tls_teardown` or `after_shutdown`.
        loss: Loss,
        /// Target completeness, from 0 to 1, that accepts the loss, or `None` if the current target is met.
        accepted_target: Option<f64>,
    },
    /// Raise the limit of heapledger's memory.
    RaiseMemoryLimit {
        /// The loss that the advice prevents.
        loss: Loss,
        /// The limit to set, in bytes.
        limit_bytes: u64,
    },
    /// Make the rings smaller, because the system has no memory for more.
    ShrinkRings {
        /// The loss that the advice prevents.
        loss: Loss,
        /// The limits to set, or `None` if the rings have their minimum size.
        history: Option<HistoryLimits>,
    },
    /// Let each forked child open a fresh ledger.
    RecordChildren {
        /// The loss that the advice prevents.
        loss: Loss,
    },
    /// Flush the rings, and look for the origin of the memory.
    FindOrigin {
        /// Number of frees without an allocation.
        frees: u64,
    },
    /// Give every event a time stamp.
    StampEveryEvent {
        /// [`QualityCause::DoubleAllocations`] or [`QualityCause::AmbiguousPairings`].
        cause: QualityCause,
        /// Number of events with this cause.
        events: u64,
        /// The clock mode in force.
        clock: ClockMode,
    },
    /// Find the frees with a wrong layout.
    FixLayouts {
        /// Number of frees with a wrong layout.
        frees: u64,
    },
    /// Record every event instead of a sample.
    RecordAll {
        /// Number of events that were sampled out.
        events: u64,
    },
    /// Make waits less frequent, or bound them.
    WaitLess {
        /// Number of waits.
        waits: u64,
        /// Number of events recorded in the same time.
        of: u64,
        /// Whether rings may already take segments from the overflow pool.
        has_overflow_buffer: bool,
        /// Limits that make the rings larger, or `None` if the rings have their maximum size.
        history: Option<HistoryLimits>,
    },
    /// Book the events in flight before reading figures.
    Flush {
        /// Number of events in flight.
        in_flight: u64,
        /// Age of the oldest event in flight, in nanoseconds.
        lag_ns: u64,
    },
}

/// Returns the advice for a process, from its counters, its settings and, if there is one, its newest window.
pub fn advice(quality: &QualityIndicator, settings: &Settings, newest: Option<&QualityWindow>) -> Advice {
    advice_for(cause(quality, newest), quality, settings, newest)
}

/// Returns the advice on `cause`, with figures from the counters. The counters need not show that cause.
pub fn advice_for(
    cause: QualityCause,
    quality: &QualityIndicator,
    settings: &Settings,
    newest: Option<&QualityWindow>,
) -> Advice {
    let anomalies = &quality.anomalies;
    let stamp = |events| Advice::StampEveryEvent { cause, events, clock: settings.clock };
    match cause {
        QualityCause::None => Advice::Nothing,
        QualityCause::NotInstalled => Advice::Install,
        QualityCause::Lost(reason) => loss_advice(loss(reason, quality, newest), quality, settings),
        QualityCause::UnmatchedFrees => Advice::FindOrigin { frees: anomalies.unmatched_frees },
        QualityCause::DoubleAllocations => stamp(anomalies.double_allocations),
        QualityCause::AmbiguousPairings => stamp(anomalies.ambiguous_pairings),
        QualityCause::LayoutMismatches => Advice::FixLayouts { frees: anomalies.layout_mismatches },
        QualityCause::SampledOut => Advice::RecordAll { events: quality.sampled_out },
        QualityCause::Waits => {
            let (waits, of) = waits_among(quality, newest);
            let has_overflow_buffer = settings.concurrency.enable_overflow_buffer;
            Advice::WaitLess { waits, of, has_overflow_buffer, history: ring_size::larger(&settings.history) }
        }
        QualityCause::Lag => Advice::Flush { in_flight: quality.in_flight, lag_ns: quality.lag_ns },
    }
}

/// Returns the figures of a loss: of the newest window if the window lost events for this reason, else of the lifetime.
fn loss(reason: LossReason, quality: &QualityIndicator, newest: Option<&QualityWindow>) -> Loss {
    match newest.filter(|window| window.lost.get(reason) > 0) {
        Some(window) => Loss { reason, events: window.lost.get(reason), of: window.resolved(), lately: true },
        None => {
            let of = quality.recorded.saturating_add(quality.lost.total());
            Loss { reason, events: quality.lost.get(reason), of, lately: false }
        }
    }
}

fn loss_advice(loss: Loss, quality: &QualityIndicator, settings: &Settings) -> Advice {
    let limit_bytes = settings.memory_limit_bytes.saturating_mul(2).max(MEMORY_LIMIT_BYTES_MIN);
    match loss.reason {
        LossReason::RingFull => {
            Advice::NeverShed { loss, mode: settings.mode, history: ring_size::larger(&settings.history) }
        }
        LossReason::Reentrant | LossReason::TlsTeardown | LossReason::AfterShutdown => {
            Advice::ChangeProgram { loss, accepted_target: accepted_target(quality) }
        }
        // More than half of the limit is in use, so the limit caused the loss.
        LossReason::NoMemory if quality.own_bytes > settings.memory_limit_bytes / 2 => {
            Advice::RaiseMemoryLimit { loss, limit_bytes }
        }
        LossReason::NoMemory => Advice::ShrinkRings { loss, history: ring_size::smallest(&settings.history) },
        LossReason::TableFull => Advice::RaiseMemoryLimit { loss, limit_bytes },
        LossReason::ForkedChild => Advice::RecordChildren { loss },
    }
}

/// Returns the completeness of the lifetime, rounded down to four decimal places, if it is below the target.
fn accepted_target(quality: &QualityIndicator) -> Option<f64> {
    let completeness = QualityIndicator::completeness_of(quality.recorded, quality.lost.total());
    (completeness < quality.target_completeness).then(|| (completeness * 10_000.0).floor() / 10_000.0)
}

#[cfg(test)]
mod tests;
