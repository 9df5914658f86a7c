//! Remote frees: frees of blocks that another thread allocated. They are collected before they are added to shared
//! figures.
//!
//! All lanes share these figures: the count of a pair of threads, the row of the other thread, and an interval of the
//! timeline. Blocks that one thread passes to another come in long runs of the same two threads. So a fold collects a
//! run, and writes to shared memory once for the whole run.

use super::batch::{Amount, INTERVALS_HELD, PastInterval, RemoteFreeRun};
use super::state::Fold;
use crate::ledger::entry::Entry;
use crate::ledger::timeline::{Flow, Timeline};
use crate::sys::sync::Ordering;

impl Fold<'_> {
    /// Counts a paired free if another thread allocated the block, or if the free belongs to another lane's thread.
    pub(super) fn count_remote_free(&mut self, block: &Entry, free: &Entry) {
        let (allocated_by, freed_by) = (block.meta.thread(), free.meta.thread());
        // A realloc does not end its block, so its first half is no remote free.
        let crosses = freed_by != allocated_by && !free.meta.is_by_realloc();
        let is_ours = freed_by == self.state.row;
        if !crosses && is_ours {
            return;
        }
        let run = &self.batch.remote_frees;
        if (run.allocated_by, run.freed_by) != (allocated_by, freed_by) {
            self.publish_remote_frees();
            (self.batch.remote_frees.allocated_by, self.batch.remote_frees.freed_by) =
                (allocated_by, freed_by);
        }
        if crosses {
            self.batch.has_remote_frees |= is_ours;
            self.delta().sums.cross_thread_frees += 1;
            self.batch.remote_frees.remote_frees.add(block.size);
            self.batch.cross_thread_frees += u64::from(is_ours);
        }
        if !is_ours {
            self.batch.remote_frees.for_other.add(block.size);
            self.batch.for_others.0 += 1;
            self.batch.for_others.1 += block.size;
            self.date_remote_free(free.at_ns, block.size);
        }
    }

    /// Adds a free of another lane's thread to the interval of the timeline that contains the free's time.
    fn date_remote_free(&mut self, at_ns: u64, bytes: u64) {
        let (number, interval) = self.ledger.timeline.around(at_ns);
        let earlier = &mut self.batch.remote_frees.earlier[number as usize % INTERVALS_HELD];
        if at_ns < earlier.from_ns || at_ns >= earlier.until_ns {
            earlier.publish(&self.ledger.timeline);
            (earlier.from_ns, earlier.until_ns) = (interval.start, interval.end);
        }
        earlier.freed.add(bytes);
        self.batch.published.sums.freed_blocks += 1;
        self.batch.published.sums.freed_bytes += bytes;
    }

    /// Adds the run to the shared figures, and begins a new run.
    pub(super) fn publish_remote_frees(&mut self) {
        if self.batch.remote_frees.is_empty() {
            return;
        }
        let RemoteFreeRun { allocated_by, freed_by, remote_frees, for_other, .. } = self.batch.remote_frees;
        if remote_frees.blocks > 0 {
            self.ledger.remote_frees.count(allocated_by, freed_by, remote_frees.blocks, remote_frees.bytes);
        }
        if for_other.blocks > 0 {
            let figures = &self.ledger.rows.get(&self.ledger.pages, freed_by).figures;
            // relaxed: sums for reports.
            figures.freed_blocks.fetch_add(for_other.blocks, Ordering::Relaxed);
            figures.freed_bytes.fetch_add(for_other.bytes, Ordering::Relaxed);
            figures.cross_thread_frees.fetch_add(remote_frees.blocks, Ordering::Relaxed);
            for earlier in &mut self.batch.remote_frees.earlier {
                earlier.publish(&self.ledger.timeline);
            }
        }
        self.batch.remote_frees = RemoteFreeRun::default();
    }
}

impl PastInterval {
    /// Adds the frees of the interval to the timeline.
    fn publish(&mut self, timeline: &Timeline) {
        let Amount { blocks, bytes } = std::mem::take(&mut self.freed);
        if blocks > 0 {
            let flow = Flow { freed_blocks: blocks, freed_bytes: bytes, ..Flow::default() };
            timeline.add(self.from_ns, &flow);
        }
    }
}
