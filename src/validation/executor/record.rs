//! Records the start and the end of each request.

use std::sync::atomic::Ordering::Relaxed;

use super::super::sync::lock;
use super::super::workload::Workload;
use super::row::Sample;
use super::run::Run;

impl<W: Workload> Run<W> {
    /// Records the start of a request of `user`.
    pub(super) fn begin(&self, user: usize, intended_ns: u64) {
        let u = &self.users[user];
        lock(&u.row).under_way = intended_ns + 1;
        // The start is measured on the detector's clock, because the detector outlives this run.
        u.actor.request_since.store(self.handles.detector.now_ns().max(1), Relaxed);
    }

    /// Records a finished request. `expected_events` is the workload's count of its allocations and frees.
    pub(super) fn record(&self, user: usize, s: &Sample, expected_events: Option<u64>) {
        let u = &self.users[user];
        u.actor.request_since.store(0, Relaxed);
        let mut row = lock(&u.row);
        // If the run is closed, this request has already been counted as interrupted.
        if self.closed.load(Relaxed) {
            return;
        }
        row.book_end(s, expected_events);
        let mut shard = lock(&self.shards[user % self.shards.len()]);
        // Throughput counts the answers that arrive in the window, whenever their requests started.
        let start_ns = self.phases.measure_start_ns;
        if s.ended_ns > start_ns && s.ended_ns <= self.window_end_ns.load(Relaxed) {
            shard.book_slice(((s.ended_ns - start_ns - 1) / self.slice_ns) as usize, s);
        }
        if self.in_window(s.intended_ns) {
            row.book(s);
            shard.book(s);
        }
    }
}
