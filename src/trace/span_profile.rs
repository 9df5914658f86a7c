//! Turns a replay into a profile, for reports and exports.

use super::replay::Replay;
use crate::profile::{
    Anomalies, Interval, LossCounts, Peak, ProcessMemory, Profile, QualityIndicator, Stack, ThreadRow,
    Timeline, TrackedReport,
};
use crate::replay::BlockKind;

/// Maximum number of empty stacks that are made for a trace without a dump. Sites of further stacks are omitted.
const BARE_STACKS_MAX: u32 = 1 << 20;

/// The profile of a span of time, with notes for the reader.
#[derive(Debug)]
pub struct SpanProfile {
    /// The profile.
    pub profile: Profile,
    /// Reasons why figures of the profile are incomplete.
    pub damage: Vec<String>,
    /// Further notes.
    pub notes: Vec<String>,
}

impl Replay {
    /// Makes the profile of the span. Names, stacks, modules and settings come from `dump`, the dump of the trace, if
    /// there is one.
    pub fn into_profile(mut self, dump: Option<&Profile>) -> SpanProfile {
        let (mut damage, notes) = (self.damage(dump), self.notes());
        let mut profile = dump.cloned().unwrap_or_default();
        let figures = self.figures();
        profile.history.retain(|event| self.span().from_ns <= event.at_ns && event.at_ns < self.span().to_ns);
        profile.quality = quality(&profile, figures.events, figures.own_events);
        profile.quality.anomalies = Anomalies {
            unmatched_frees: figures.unmatched_frees,
            double_allocations: figures.overlapping_blocks,
            ambiguous_pairings: 0,
            layout_mismatches: figures.size_mismatches,
        };
        profile.process.duration_ns = profile.process.duration_ns.max(figures.last_ns).min(self.span().to_ns);
        "trace".clone_into(&mut profile.process.reason);
        let failed = if self.span().is_whole() { profile.totals.failed } else { 0 };
        let peak = self.heap.sums.peak;
        profile.totals = self.heap.sums.totals;
        (profile.totals.peak_bytes, profile.totals.peak_blocks) = (peak.bytes, peak.blocks);
        profile.totals.failed = failed;
        profile.peak = Peak { uncertainty_bytes: 0, ..peak };
        profile.estimates = None;
        profile.tracked = TrackedReport::default();
        // The curves in the dump are of the whole run, and the figures of the system are of the end of the run.
        profile.curves = Vec::new();
        if !self.span().is_whole() {
            profile.memory = ProcessMemory::default();
        }
        profile.sites = self.heap.sums.sites();
        profile.live = self.heap.blocks.live(|block| block.counted && block.kind == BlockKind::Program);
        profile.timeline = self.timeline();
        self.fill_threads(&mut profile);
        bound_stacks(&mut profile, &mut damage);
        profile.sum_scopes();
        for scope in &mut profile.scopes {
            // A replay does not compute the peak of a scope, so all bytes of the scope may have been live at the same
            // time.
            scope.peak_bytes = scope.live_bytes();
            scope.peak_uncertainty_bytes = scope.total_bytes.saturating_sub(scope.peak_bytes);
        }
        SpanProfile { profile, damage, notes }
    }

    fn damage(&self, dump: Option<&Profile>) -> Vec<String> {
        let mut damage = Vec::new();
        match dump {
            None => damage.push(
                "the trace was not ended, so it has no dump: the frames of call stacks, names of threads and settings \
                 are missing"
                    .to_owned(),
            ),
            Some(profile) => {
                let lost = profile.quality.lost.total();
                if lost > 0 {
                    damage.push(format!("{lost} events of the whole run were lost; when is not known"));
                }
            }
        }
        let sampled = self.figures().sampled_events;
        if sampled > 0 {
            damage.push(format!("{sampled} events are of sampled blocks: they are in no figure here"));
        }
        damage
    }

    fn notes(&self) -> Vec<String> {
        let (span, figures) = (self.span(), self.figures());
        let mut notes = Vec::new();
        if !span.is_whole() {
            notes.push(format!(
                "this is a replay of a trace from {} ns to {} ns: it shows what was allocated in that span",
                span.from_ns,
                if span.to_ns == u64::MAX { figures.last_ns } else { span.to_ns }
            ));
        }
        if span.from_ns > 0 {
            notes.push(format!(
                "{} blocks with {} bytes were live before the span; {} of them, with {} bytes, were freed in it",
                figures.live_before, figures.live_before_bytes, figures.earlier_frees, figures.earlier_freed_bytes
            ));
        }
        notes
    }

    fn timeline(&mut self) -> Timeline {
        let intervals: Vec<Interval> = std::mem::take(&mut self.heap.sums.intervals);
        Timeline { interval_ns: self.heap.sums.interval_ns, intervals }
    }

    fn fill_threads(&self, profile: &mut Profile) {
        for row in &mut profile.threads {
            *row = ThreadRow {
                index: row.index,
                name: std::mem::take(&mut row.name),
                os_id: row.os_id,
                started_ns: row.started_ns,
                ended_ns: row.ended_ns,
                threads: row.threads,
                own: row.own,
                ..ThreadRow::default()
            };
        }
        let mut rows: Vec<_> = self.heap.sums.rows.iter().collect();
        rows.sort_by_key(|(row, _)| **row);
        for (index, account) in rows {
            let place = match profile.threads.iter().position(|row| row.index == *index) {
                Some(place) => place,
                None => {
                    profile.threads.push(ThreadRow { index: *index, threads: 1, ..ThreadRow::default() });
                    profile.threads.len() - 1
                }
            };
            let Some(row) = profile.threads.get_mut(place) else { continue };
            (row.attempted, row.recorded) = (account.events, account.events);
            (row.total_blocks, row.total_bytes) = (account.total_blocks, account.total_bytes);
            (row.freed_blocks, row.freed_bytes) = (account.freed_blocks, account.freed_bytes);
            row.cross_thread_frees = account.cross_thread_frees;
        }
    }
}

/// Returns the quality of the span. Every event in the trace counts as recorded; missing events are listed as damage.
fn quality(profile: &Profile, events: u64, own_events: u64) -> QualityIndicator {
    let before = &profile.quality;
    let retained = (profile.history.len() as u64).min(events);
    QualityIndicator {
        installed: true,
        current_completeness: QualityIndicator::completeness_of(events, 0),
        target_completeness: before.target_completeness,
        mode: before.mode,
        attempted: events,
        recorded: events,
        lost: LossCounts::default(),
        retained,
        evicted: events - retained,
        own_events,
        own_bytes: before.own_bytes,
        own_cpu_ns: before.own_cpu_ns,
        ..QualityIndicator::default()
    }
}

/// Adds empty stacks up to the highest stack number in use.
fn bound_stacks(profile: &mut Profile, damage: &mut Vec<String>) {
    let highest = profile.sites.iter().map(|site| site.stack).max().unwrap_or(0);
    let wanted = highest.min(BARE_STACKS_MAX - 1) as usize + 1;
    if profile.stacks.len() < wanted {
        profile.stacks.resize(wanted, Stack { frames: Vec::new(), truncated: true });
    }
    let count = profile.stacks.len() as u32;
    let beyond = profile.sites.iter().filter(|site| site.stack >= count).count();
    if beyond > 0 {
        damage.push(format!("{beyond} call stacks have numbers that cannot be: they are left out"));
        profile.sites.retain(|site| site.stack < count);
        profile.live.retain(|block| block.stack < count);
    }
}
