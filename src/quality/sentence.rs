//! Writes an [`Advice`] as a sentence. All texts of recommendations are in this file.

use std::fmt;

use super::advice::{Advice, Loss};
use super::cause::QualityCause;
use crate::profile::{ClockMode, DataQualityMode, HistoryLimits, LossReason};
use crate::text::units::grouped;

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lately = if self.lately { "the newest " } else { "" };
        let share = share_lost(self.events, self.of);
        write!(f, "{} lost {share} of {lately}{} events", self.reason.name(), grouped(self.of))
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Advice::Nothing => Ok(()),
            Advice::Install => f.write_str(
                "make a HeapLedger the global allocator: \
                 #[global_allocator] static HEAP: heapledger::HeapLedger = heapledger::HeapLedger::system();",
            ),
            Advice::NeverShed { loss, mode, history } => never_shed(f, &loss, mode, history.as_ref()),
            Advice::ChangeProgram { loss, accepted_target } => change_program(f, &loss, accepted_target),
            Advice::RaiseMemoryLimit { loss, limit_bytes } => {
                write!(f, "{loss}: raise HeapLedger::memory_limit to {limit_bytes} bytes")
            }
            Advice::ShrinkRings { loss, history } => shrink_rings(f, &loss, history.as_ref()),
            Advice::RecordChildren { loss } => {
                write!(
                    f,
                    "{loss}: use HeapLedger::fork(ForkPolicy::Fresh), which gives a child its own ledger"
                )
            }
            Advice::FindOrigin { frees } => write!(
                f,
                "{} frees have no allocation: call heapledger::flush() to match those that wait, and look for \
                 memory of another allocator among the rest",
                grouped(frees)
            ),
            Advice::StampEveryEvent { cause, events, clock } => stamp(f, cause, events, clock),
            Advice::FixLayouts { frees } => write!(
                f,
                "{} frees gave another size than the allocation: look for dealloc, from_raw or from_raw_parts with \
                 a wrong size, which no setting can put right",
                grouped(frees)
            ),
            Advice::RecordAll { events } => write!(
                f,
                "sampling left out {} events, so that only totals are exact: use DataQualityMode::PerfectAccuracy \
                 (HEAPLEDGER_MODE=perfect) for every event",
                grouped(events)
            ),
            Advice::WaitLess { waits, of, has_overflow_buffer, history } => {
                write!(f, "threads waited {} times in {} events: ", grouped(waits), grouped(of))?;
                wait_less(f, has_overflow_buffer, history.as_ref())
            }
            Advice::Flush { in_flight, lag_ns } => write!(
                f,
                "{} events are not booked yet, the oldest for {} s: call heapledger::flush() before reading figures, \
                 and keep HeapLedger::background(true)",
                grouped(in_flight),
                grouped(lag_ns / 1_000_000_000)
            ),
        }
    }
}

impl Advice {
    /// Returns the remedy without its reason: the part of the sentence after the first colon.
    ///
    /// ```
    /// use heapledger::quality::Advice;
    /// assert!(Advice::RecordAll { events: 7 }.remedy().starts_with("use DataQualityMode::PerfectAccuracy"));
    /// ```
    pub fn remedy(&self) -> String {
        let sentence = self.to_string();
        match sentence.split_once(": ") {
            Some((_, remedy)) if *self != Advice::Install => remedy.to_owned(),
            _ => sentence,
        }
    }
}

fn never_shed(
    f: &mut fmt::Formatter<'_>,
    loss: &Loss,
    mode: DataQualityMode,
    history: Option<&HistoryLimits>,
) -> fmt::Result {
    if mode == DataQualityMode::PerfectAccuracy {
        return write!(
            f,
            "{loss} before the mode in force was set: use DataQualityMode::PerfectAccuracy \
             (HEAPLEDGER_MODE=perfect) from the start"
        );
    }
    write!(
        f,
        "{loss}: use DataQualityMode::PerfectAccuracy (HEAPLEDGER_MODE=perfect), which waits rather than sheds"
    )?;
    match history {
        Some(limits) => write!(f, ", or larger rings with {}", Limits(limits)),
        None => f.write_str("; the rings are as large as they can be"),
    }
}

fn change_program(f: &mut fmt::Formatter<'_>, loss: &Loss, accepted_target: Option<f64>) -> fmt::Result {
    let what = match loss.reason {
        LossReason::TlsTeardown => "drop what thread-local destructors hold before the thread ends",
        LossReason::AfterShutdown => "drop what is left before main returns",
        _ => "let signal handlers and the inner allocator allocate nothing",
    };
    write!(f, "{loss}: {what}, ")?;
    match accepted_target {
        Some(target) => {
            write!(f, "or accept it with ConcurrencyConfig {{ target_completeness: {target}, .. }}")
        }
        None => f.write_str("or leave it: target_completeness is met"),
    }
}

fn shrink_rings(f: &mut fmt::Formatter<'_>, loss: &Loss, history: Option<&HistoryLimits>) -> fmt::Result {
    match history {
        Some(limits) => write!(f, "{loss}: use smaller rings with {}", Limits(limits)),
        None => write!(
            f,
            "{loss}: raise the system's limit on the memory of the process by 32 KiB a thread; the rings are as \
             small as they can be"
        ),
    }
}

fn stamp(f: &mut fmt::Formatter<'_>, cause: QualityCause, events: u64, clock: ClockMode) -> fmt::Result {
    let events = grouped(events);
    match cause {
        QualityCause::DoubleAllocations => {
            write!(f, "{events} allocations were of an address that was still taken: ")?
        }
        _ => write!(f, "{events} frees could belong to either of two blocks: ")?,
    }
    match clock {
        ClockMode::PerEvent => f.write_str(
            "ClockMode::PerEvent is in force and is the finest there is, so read their lifetimes with care",
        ),
        ClockMode::Batched | ClockMode::Monotonic => f.write_str(
            "use ClockMode::PerEvent (HEAPLEDGER_CLOCK=per-event), which stamps every event with its own time",
        ),
    }
}

fn wait_less(
    f: &mut fmt::Formatter<'_>,
    has_overflow_buffer: bool,
    history: Option<&HistoryLimits>,
) -> fmt::Result {
    match history {
        _ if !has_overflow_buffer => {
            f.write_str("use ConcurrencyConfig { enable_overflow_buffer: true, .. }, which lends spare segments")
        }
        Some(limits) => write!(f, "use larger rings with {}", Limits(limits)),
        None => f.write_str(
            "use DataQualityMode::HighAccuracy (HEAPLEDGER_MODE=high), which bounds the wait; the rings are as \
             large as they can be",
        ),
    }
}

/// History limits, printed as Rust code.
struct Limits<'a>(&'a HistoryLimits);

impl fmt::Display for Limits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HistoryLimits {{ events: {}, bytes: {}, .. }}", self.0.events, self.0.bytes)
    }
}

/// Returns a share of events in percent, rounded up to three decimal places, without trailing zeros. Rounding up never
/// shows a loss as smaller than it is.
fn share_lost(events: u64, of: u64) -> String {
    let thousandths = (u128::from(events) * 100_000).div_ceil(u128::from(of.max(1)));
    let digits = format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
    format!("{}%", digits.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_rounded_up() {
        assert_eq!(share_lost(0, 0), "0%");
        assert_eq!(share_lost(12, 1_000), "1.2%");
        assert_eq!(share_lost(1, u64::MAX), "0.001%");
        assert_eq!(share_lost(1, 3), "33.334%");
        assert_eq!(share_lost(u64::MAX, u64::MAX), "100%");
    }
}
