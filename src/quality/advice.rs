//! The advice for a cause: one sentence that names a setting and a value.
//!
//! An [`Advice`] is data; its `Display` writes the sentence. For [`Advice::Nothing`] the sentence is empty, and so is
//! the [`recommendation`](QualityIndicator::recommendation).
//!
//! Every sentence says what the user can do. If a setting helps, the sentence names the method of the builder or the
//! field, the value to set, and the environment variable if there is one. No sentence asks the program to do less, for
//! example to use fewer threads.

use serde::{Deserialize, Serialize};

use super::cause::{QualityCause, cause, waits_among};
use super::monitor::QualityWindow;
use super::ring_size;
use crate::profile::{ClockMode, DataQualityMode, HistoryLimits, LossReason, QualityIndicator, Settings};

/// Lowest memory limit that an advice recommends, in bytes: 1 GiB of address space.
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
    /// Whether `events` and `of` cover only the newest window of time. If `false`, they cover the whole process.
    pub lately: bool,
}

/// A recommended change of settings. Its `Display` is one sentence without a full stop, or an empty text for
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
    /// Use the mode that waits instead of shedding, or larger rings.
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
        /// The loss, for the reason `reentrant`, `tls_teardown` or `after_shutdown`.
        loss: Loss,
        /// Target completeness, from 0 to 1, that the process reaches in spite of the loss. `None` if it reaches the
        /// current target.
        accepted_target: Option<f64>,
    },
    /// Raise the limit of heapledger's memory.
    RaiseMemoryLimit {
        /// The loss that the advice prevents.
        loss: Loss,
        /// The limit to set, in bytes.
        limit_bytes: u64,
    },
    /// Make the rings smaller, because the system has no memory for further rings.
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
    /// Book the events in flight, and look for the origin of memory that was freed but never allocated through
    /// heapledger.
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
    /// Make waits less frequent, or limit their length.
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

/// Returns the advice for a process, from its counters, its settings and its newest window of time, if there is one.
pub fn advice(quality: &QualityIndicator, settings: &Settings, newest: Option<&QualityWindow>) -> Advice {
    advice_for(cause(quality, newest), quality, settings, newest)
}

/// Returns the advice for `cause`, with figures from `quality`. The cause need not apply to `quality`; figures of the
/// advice can then be 0.
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

/// Returns the figures of a loss. The figures cover the newest window if the window has losses for this reason,
/// otherwise the whole process.
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
        // More than half of the limit is in use, so the limit probably caused the loss.
        LossReason::NoMemory if quality.own_bytes > settings.memory_limit_bytes / 2 => {
            Advice::RaiseMemoryLimit { loss, limit_bytes }
        }
        LossReason::NoMemory => Advice::ShrinkRings { loss, history: ring_size::smallest(&settings.history) },
        LossReason::TableFull => Advice::RaiseMemoryLimit { loss, limit_bytes },
        LossReason::ForkedChild => Advice::RecordChildren { loss },
    }
}

/// Returns the completeness of the whole process, rounded down to four decimal places. Returns `None` if the
/// completeness is not below the target.
fn accepted_target(quality: &QualityIndicator) -> Option<f64> {
    let completeness = QualityIndicator::completeness_of(quality.recorded, quality.lost.total());
    (completeness < quality.target_completeness).then(|| (completeness * 10_000.0).floor() / 10_000.0)
}

#[cfg(test)]
mod tests;
