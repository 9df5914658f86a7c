//! The end of a batch: updates of the timeline, the totals, the lane counters, and the size of the nursery.

use super::batch::{Batch, Published};
use super::state::Fold;
use crate::ledger::entry::Entry;
use crate::ledger::estimate::WeightedSums;
use crate::ledger::fold_state::LaneCounters;
use crate::ledger::timeline::Flow;
use crate::ring::lane::add;
use crate::sys::sync::Ordering;

impl Fold<'_> {
    /// Adds the sums of the batch to the timeline, and begins the interval that contains `at_ns`.
    pub(super) fn enter_interval(&mut self, at_ns: u64) {
        if self.has_flow() {
            // Frees in the outbox belong to the interval that ends.
            self.deliver();
            self.end_interval();
            self.publish_flow(at_ns);
        }
        let interval = self.ledger.timeline.around(at_ns).1;
        if at_ns >= self.state.deltas.dated_until_ns {
            self.date_deltas(at_ns, interval.end - interval.start);
        }
        self.batch.interval_end_ns = interval.end;
    }

    /// Ends the current interval for the high-water mark. The mark of the next interval begins at the current live
    /// bytes.
    fn end_interval(&mut self) {
        self.raise_peak();
        self.note_interval_peak();
        self.batch.high_water_at_most = self.batch.high_water_at_most.max(self.batch.high_water);
        self.batch.high_water = self.batch.sums.live_bytes();
    }

    fn note_interval_peak(&mut self) {
        let highest = self.ledger.booked.bytes() + self.batch.high_water.max(self.batch.sums.live_bytes());
        self.batch.interval_peak = self.batch.interval_peak.max(highest);
    }

    /// Returns whether the batch has figures that are not in the timeline yet.
    fn has_flow(&self) -> bool {
        let Batch { sums, lost, published, interval_peak, .. } = &self.batch;
        *interval_peak != i64::MIN || *published != Published { sums: *sums, lost: *lost }
    }

    /// Adds the changes of the batch since the last call to the timeline: to the current interval or, if no interval
    /// was begun, to the interval that contains `at_ns`. Takes the timeline's latch once.
    fn publish_flow(&mut self, at_ns: u64) {
        let now = Published { sums: self.batch.sums, lost: self.batch.lost };
        let then = std::mem::replace(&mut self.batch.published, now);
        let flow = Flow {
            allocated_blocks: now.sums.total_blocks.wrapping_sub(then.sums.total_blocks),
            allocated_bytes: now.sums.total_bytes.wrapping_sub(then.sums.total_bytes),
            freed_blocks: now.sums.freed_blocks.wrapping_sub(then.sums.freed_blocks),
            freed_bytes: now.sums.freed_bytes.wrapping_sub(then.sums.freed_bytes),
            peak_bytes: self.batch.interval_peak.max(0) as u64,
            lost: now.lost - then.lost + self.newly_lost(),
        };
        let at_ns = if self.batch.interval_end_ns == 0 { at_ns } else { self.batch.interval_end_ns - 1 };
        self.ledger.timeline.add(at_ns, &flow);
        self.batch.interval_peak = i64::MIN;
    }

    /// Returns the number of events that were lost on the lane since the last call. Lost events have no time stamp, so
    /// they are counted at the time of this call.
    fn newly_lost(&mut self) -> u64 {
        let lost = self.lane.lost_in_all();
        lost - std::mem::replace(&mut self.state.lost_told, lost)
    }

    /// Ends a batch: all its events are booked and visible to all threads. The fold may continue with another batch.
    pub(super) fn finish(&mut self) {
        self.fit_nursery();
        self.deliver();
        self.publish_remote_frees();
        self.finish_deltas();
        self.note_interval_peak();
        self.publish_flow(self.state.span_ns);
        self.ledger.booked.add(self.batch.sums.live_bytes(), self.batch.sums.live_blocks());
        let counters = self.counters;
        let changes = [
            (&counters.total_blocks, self.batch.sums.total_blocks),
            (&counters.total_bytes, self.batch.sums.total_bytes),
            (&counters.freed_blocks, self.batch.sums.freed_blocks),
            (&counters.freed_bytes, self.batch.sums.freed_bytes),
            (&counters.own_events, self.batch.own_events),
            (&counters.pointer_events, self.batch.pointer_events),
            (&counters.reallocs, self.batch.reallocs),
            (&counters.cross_thread_frees, self.batch.cross_thread_frees),
            (&counters.freed_for_others_blocks, self.batch.for_others.0),
            (&counters.freed_for_others_bytes, self.batch.for_others.1),
            (&counters.table_full, self.batch.lost),
            (&counters.recorded, self.batch.recorded),
        ];
        for (figure, change) in changes {
            add(figure, change);
        }
        if self.batch.sampled != WeightedSums::default() {
            counters.sampled.add(&self.batch.sampled);
        }
        let high_water = self.batch.high_water.max(self.batch.high_water_at_most).max(0);
        LaneCounters::raise(
            &counters.high_water_bytes,
            high_water.saturating_add(self.state.behind_bytes) as u64,
        );
        // While the words of a lane are booked in parts, the lane is more than one batch behind.
        let behind = self.state.behind_bytes.saturating_add(self.batch.sums.live_bytes());
        self.state.caught_up = self.state.caught_up.wrapping_add(u32::from(!self.is_behind));
        self.state.behind_bytes = if self.is_behind { behind.max(0) } else { 0 };
        // relaxed: a figure for reports.
        counters.booked_until_ns.store(self.now_ns, Ordering::Relaxed);
        self.start_over();
    }

    /// Changes the size of the nursery if it is too small or too large.
    fn fit_nursery(&mut self) {
        let Some(wanted) = self.state.nursery.look(self.state.allocs) else { return };
        let (before, first) = (self.state.nursery, &raw mut self.state.youngest);
        let pages = &self.ledger.pages;
        if let Some(nursery) = before.resized(pages, first, wanted, |entry| self.send_survivor(entry)) {
            self.state.nursery.replace_by(nursery);
            self.places = nursery.places(pages, first);
            before.give_up(pages, first);
        }
    }

    /// Sends every block of the nursery to the shared table, where remote frees of these blocks may wait.
    pub(crate) fn empty_nursery(&mut self) {
        for place in 0..self.places.len() {
            let entry = self.places.at(place);
            if entry.address != 0 {
                self.send_survivor(entry);
                self.places.put(place, Entry::default());
            }
        }
        self.finish();
    }
}
