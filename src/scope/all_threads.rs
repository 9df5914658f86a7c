//! Figures of the whole process in a span of time, for work whose threads cannot take a
//! [`ScopeToken`](super::ScopeToken).

use super::booking::book_all;
use super::measurement::{Ended, Inconclusive, doubt, recording};
use super::usage::{Usage, allocated_and_lost};
use crate::aggregator::counters;
use crate::ledger::Ledger;
use crate::profile::HeapStats;
use crate::recorder::internal::{InternalScope, RecordingPaused};
use crate::recorder::state;
use crate::ring::lane::Lane;

/// A measurement of all threads. Its figures count all events of the process from the beginning to the end of the
/// measurement.
#[derive(Debug)]
pub(super) struct OfAllThreads {
    begun: Result<Begun, Inconclusive>,
}

#[derive(Debug)]
struct Begun {
    ledger: &'static Ledger,
    lane: &'static Lane,
    before: HeapStats,
    lost: u64,
}

/// Books all rings. Returns the totals, the number of lost events, and whether every ring was booked.
fn totals(lane: &Lane, ledger: &Ledger) -> (HeapStats, u64, bool) {
    let internal = InternalScope::enter();
    let _paused = RecordingPaused::enter(&internal);
    let is_booked = book_all(lane, ledger);
    (counters::stats(ledger), allocated_and_lost(ledger).1, is_booked)
}

impl OfAllThreads {
    pub(super) fn begin() -> OfAllThreads {
        let begun = recording().map(|(lane, ledger)| {
            let (before, lost, _) = totals(lane, ledger);
            Begun { ledger, lane, before, lost }
        });
        OfAllThreads { begun }
    }

    pub(super) fn end(self) -> Ended {
        let Begun { ledger, lane, before, lost } = match self.begun {
            Ok(begun) if state::ledger().is_some_and(|now| std::ptr::eq(now, begun.ledger)) => begun,
            Ok(_) => return Ended::without_figures(Inconclusive::NotRecording),
            Err(reason) => return Ended::without_figures(reason),
        };
        let (after, lost_until_now, is_booked) = totals(lane, ledger);
        let usage = Usage { lost: lost_until_now.wrapping_sub(lost), ..Usage::between(&before, &after) };
        Ended { usage, inconclusive: doubt(is_booked, usage.lost), scope: None }
    }
}

impl Usage {
    /// Returns the usage of the process between two readings of its totals. The peak is 0, because the totals have only
    /// the peak since the start of the process.
    fn between(before: &HeapStats, after: &HeapStats) -> Usage {
        let reallocations = after.reallocs.saturating_sub(before.reallocs);
        let blocks = after.total_blocks.saturating_sub(before.total_blocks);
        Usage {
            allocations: blocks.saturating_sub(reallocations),
            reallocations,
            bytes: after.total_bytes.wrapping_sub(before.total_bytes),
            retained_blocks: after.live_blocks.saturating_sub(before.live_blocks),
            retained_bytes: after.live_bytes.saturating_sub(before.live_bytes),
            ..Usage::default()
        }
    }
}
