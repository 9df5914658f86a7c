//! The aggregator: ticks the epoch, books rings that have gone quiet, and makes snapshots.
//!
//! It is an optimisation, not a condition for correctness: a thread whose ring is full helps itself, and a flush books
//! everything. So before `main`, after `exit`, in a forked child, and where no thread can be had, the books still
//! close. What the aggregator adds: a tick about every millisecond, which bounds how far an interpolated time can be
//! off; rings of threads that went to sleep are booked; frees that wait for another thread's nursery are settled.
//!
//! [`Aggregator::step`] does all of it once, without sleeping, spawning or reading a clock, so that a test can drive
//! it. `worker` is the thread around it; `snapshot` is the view that queries and dumps take.

pub(crate) mod snapshot;
pub(crate) mod worker;

use crate::ledger::Ledger;
use crate::ring::lane::{Lane, SEGMENT_WORDS, bump};

/// Steps between two looks for frees that wait for another thread's nursery.
const STEPS_PER_SETTLING: u64 = 64;
/// Words that may wait in a ring before it is booked although its thread is still writing.
const WAITING_WORDS: u64 = 2 * SEGMENT_WORDS;

/// What the aggregator remembers from one step to the next.
#[derive(Debug, Default)]
pub(crate) struct Aggregator {
    steps: u64,
    /// Where each lane's head stood at the last step.
    heads: Vec<u64>,
}

/// What a step found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// Lanes that were written to since the last step.
    pub(crate) active: usize,
    /// Lanes that this step booked.
    pub(crate) folded: usize,
    /// Whether waiting frees are due to be settled with [`Ledger::flush`].
    pub(crate) settle: bool,
}

impl Aggregator {
    /// Goes round once. `now_ns` is the time of the tick. The caller's thread must be in an own section; whether
    /// `settle` is followed is the caller's, because it needs the caller's lane.
    pub(crate) fn step(&mut self, ledger: &Ledger, now_ns: u64) -> Step {
        ledger.ticks.push(now_ns);
        self.steps += 1;
        let count = ledger.lanes.count() as usize;
        if self.heads.len() < count {
            self.heads.resize(count, 0);
        }
        let mut step = Step::default();
        for (index, last) in self.heads.iter_mut().enumerate() {
            let Some(lane) = ledger.lane(index as u32) else { continue };
            let head = lane.head().observe();
            let moved = std::mem::replace(last, head) != head;
            step.active += usize::from(moved);
            step.folded += usize::from(fold_if_due(ledger, lane, head, moved));
        }
        step.settle = self.steps.is_multiple_of(STEPS_PER_SETTLING) && ledger.live.waiting() > 0;
        step
    }
}

/// Books a ring that is quiet or has much waiting, unless someone else is at it.
fn fold_if_due(ledger: &Ledger, lane: &Lane, head: u64, moved: bool) -> bool {
    let waiting = head - lane.folder.tail.observe().min(head);
    let due = waiting > 0 && (!moved || waiting >= WAITING_WORDS);
    if due && ledger.try_fold(lane) {
        bump(&lane.folder.folds_away);
        return true;
    }
    false
}
