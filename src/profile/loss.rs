//! The closed list of reasons for the loss of an event, and a count for each reason.

use serde::{Deserialize, Serialize};

use super::names::names;

/// Reason why an event did not reach the ledger.
///
/// The list is closed: an attempted event is recorded, in flight, or lost for exactly one of these reasons. Events that
/// are sampled out are not lost; `QualityIndicator::sampled_out` counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
#[non_exhaustive]
pub enum LossReason {
    /// The thread's ring was full, and the mode sheds events instead of waiting.
    RingFull = 0,
    /// The recorder was already running in the same thread: the event came from a signal handler that had interrupted
    /// the recorder, or from an inner allocator that called the recorder.
    Reentrant = 1,
    /// The thread's local storage was already destroyed: the event came after the thread's last destructor.
    TlsTeardown = 2,
    /// There was no memory for the thread's ring.
    NoMemory = 3,
    /// The table of live blocks had reached its memory limit.
    TableFull = 4,
    /// The event came after the ledger was closed at the end of the process.
    AfterShutdown = 5,
    /// The event came from a forked child that does not record, by its [`ForkPolicy`](super::ForkPolicy).
    ForkedChild = 6,
}

names!(LossReason: "The name in every report and export, in snake case." {
    RingFull = "ring_full",
    Reentrant = "reentrant",
    TlsTeardown = "tls_teardown",
    NoMemory = "no_memory",
    TableFull = "table_full",
    AfterShutdown = "after_shutdown",
    ForkedChild = "forked_child",
});

impl LossReason {
    /// Number of reasons.
    pub const COUNT: usize = Self::ALL.len();
}

/// Numbers of lost events, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossCounts {
    counts: [u64; LossReason::COUNT],
}

impl LossCounts {
    /// Makes the counts from numbers in the order of [`LossReason::ALL`].
    pub const fn from_counts(counts: [u64; LossReason::COUNT]) -> Self {
        LossCounts { counts }
    }

    /// Returns the number of events lost for one reason.
    pub const fn get(&self, reason: LossReason) -> u64 {
        self.counts[reason as usize]
    }

    /// Adds `events` to the count of one reason.
    pub const fn add(&mut self, reason: LossReason, events: u64) {
        self.counts[reason as usize] += events;
    }

    /// Adds all counts of another value to this one.
    pub fn merge(&mut self, other: &LossCounts) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine = mine.saturating_add(theirs);
        }
    }

    /// Returns the difference to an earlier count. A reason whose count decreased has the difference 0.
    pub fn since(&self, before: &LossCounts) -> LossCounts {
        LossCounts { counts: std::array::from_fn(|at| self.counts[at].saturating_sub(before.counts[at])) }
    }

    /// Returns the number of events lost for any reason. The sum saturates, because counts can come from a file.
    pub fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, events| sum.saturating_add(*events))
    }

    /// Returns the reason with the most events, or `None` if no event was lost.
    pub fn dominant(&self) -> Option<LossReason> {
        LossReason::ALL
            .into_iter()
            .filter(|reason| self.get(*reason) > 0)
            .max_by_key(|reason| self.get(*reason))
    }

    /// Returns every reason with its count, including reasons with count 0.
    pub fn iter(&self) -> impl Iterator<Item = (LossReason, u64)> + '_ {
        LossReason::ALL.into_iter().map(|reason| (reason, self.get(reason)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_a_reason_is_its_place_in_the_list() {
        for (index, reason) in LossReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }

    #[test]
    fn counts_add_up_and_name_the_dominant_cause() {
        let mut counts = LossCounts::default();
        assert_eq!(counts.dominant(), None);
        counts.add(LossReason::Reentrant, 2);
        counts.add(LossReason::RingFull, 5);
        let mut sum = counts;
        sum.merge(&counts);
        assert_eq!((sum.total(), sum.get(LossReason::RingFull)), (14, 10));
        assert_eq!(sum.dominant(), Some(LossReason::RingFull));
    }
}
