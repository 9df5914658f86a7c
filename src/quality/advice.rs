//! The recommendation: from a cause and its figures to one sentence that names a knob and a value.
//!
//! An [`Advice`] is data; its `Display` is the sentence. Nothing to advise is an empty sentence, which is what an
//! empty [`recommendation`](QualityIndicator::recommendation) means.
//!
//! Two rules. Every sentence can be acted on: it names a method of the builder or a field, with the value to set, and
//! the environment variable where there is one. And none asks the program to be less than it is: a recorder has no
//! business telling its host to use fewer threads.

use serde::{Deserialize, Serialize};

use super::cause::{QualityCause, cause, waits_among};
use super::monitor::QualityWindow;
use super::ring_size;
use crate::profile::{ClockMode, DataQualityMode, HistoryLimits, LossReason, QualityIndicator, Settings};

/// The least memory limit that an advice names, in bytes: 1 GiB of address space.
const MEMORY_LIMIT_BYTES_MIN: u64 = 1 << 30;

/// Events lost for one reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The reason.
    pub reason: LossReason,
    /// Events lost for that reason.
    pub events: u64,
    /// All events recorded or lost in the same time.
    pub of: u64,
    /// Whether both figures are of the newest window rather than of the lifetime.
    pub lately: bool,
}

/// A recommended change of settings. Its `Display` is the sentence, without a full stop; empty for [`Advice::Nothing`].
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
    /// Nothing; the sentence is empty.
    Nothing,
    /// Install a `HeapLedger`.
    Install,
    /// Use the mode that waits, or larger rings.
    NeverShed {
        /// The loss.
        loss: Loss,
        /// The mode in force.
        mode: DataQualityMode,
        /// Limits that make the rings larger, or `None` when they are as large as they can be.
        history: Option<HistoryLimits>,
    },
    /// Change the program, or accept the loss: no setting prevents it.
    ChangeProgram {
        /// The loss: `reentrant`, `tls_teardown` or `after_shutdown`.
        loss: Loss,
        /// The target that accepts it, from 0 to 1, or `None` when the one in force is met.
        accepted_target: Option<f64>,
    },
    /// Raise the limit on heapledger's own memory.
    RaiseMemoryLimit {
        /// The loss.
        loss: Loss,
        /// The limit to set, in bytes.
        limit_bytes: u64,
    },
    /// Make the rings smaller, because the system has no memory for more.
    ShrinkRings {
        /// The loss.
        loss: Loss,
        /// The limits to set, or `None` when the rings are as small as they can be.
        history: Option<HistoryLimits>,
    },
    /// Let a forked child have a ledger of its own.
    RecordChildren {
        /// The loss.
        loss: Loss,
    },
    /// Flush, and look for the origin of the memory.
    FindOrigin {
        /// Frees without an allocation.
        frees: u64,
    },
    /// Stamp every event.
    StampEveryEvent {
        /// [`QualityCause::DoubleAllocations`] or [`QualityCause::AmbiguousPairings`].
        cause: QualityCause,
        /// Their number.
        events: u64,
        /// The clock mode in force.
        clock: ClockMode,
    },
    /// Find the frees with a wrong layout.
    FixLayouts {
        /// Their number.
        frees: u64,
    },
    /// Record every event rather than a sample.
    RecordAll {
        /// Events left out.
        events: u64,
    },
    /// Make waits rarer, or bound them.
    WaitLess {
        /// Waits.
        waits: u64,
        /// Events recorded meanwhile.
        of: u64,
        /// Whether rings may already take segments from the overflow pool.
        has_overflow_buffer: bool,
        /// Limits that make the rings larger, or `None` when they are as large as they can be.
        history: Option<HistoryLimits>,
    },
    /// Book what is in flight before reading figures.
    Flush {
        /// Events in flight.
        in_flight: u64,
        /// Age of the oldest, in nanoseconds.
        lag_ns: u64,
    },
}

/// The advice for a process, from its counters, its settings and, if there is one, its newest window.
pub fn advice(quality: &QualityIndicator, settings: &Settings, newest: Option<&QualityWindow>) -> Advice {
    advice_for(cause(quality, newest), quality, settings, newest)
}

/// The advice for a given cause. Total: a cause that the counters do not show is taken with the figures that are there.
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

/// The figures of a loss: of the newest window if it lost for this reason, else of the lifetime.
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
        // More than half of the limit is in use: then the limit is what stood in the way.
        LossReason::NoMemory if quality.own_bytes > settings.memory_limit_bytes / 2 => {
            Advice::RaiseMemoryLimit { loss, limit_bytes }
        }
        LossReason::NoMemory => Advice::ShrinkRings { loss, history: ring_size::smallest(&settings.history) },
        LossReason::TableFull => Advice::RaiseMemoryLimit { loss, limit_bytes },
        LossReason::ForkedChild => Advice::RecordChildren { loss },
    }
}

/// The completeness of the lifetime, rounded down to four places, if it is below the target.
fn accepted_target(quality: &QualityIndicator) -> Option<f64> {
    let completeness = QualityIndicator::completeness_of(quality.recorded, quality.lost.total());
    (completeness < quality.target_completeness).then(|| (completeness * 10_000.0).floor() / 10_000.0)
}

#[cfg(test)]
mod tests;
