//! A replay as a profile, so that every report and export can show it.

use super::replay::Replay;
use crate::dump::empty_profile;
use crate::profile::{
    Anomalies, Interval, LiveBlock, LossCounts, Peak, Profile, QualityIndicator, Stack, ThreadRow, Timeline,
    TrackedReport,
};

/// Stacks that are made up, without frames, for a trace without its dump; a stack beyond them counts as none.
const BARE_STACKS_MAX: u32 = 1 << 20;

/// A profile of a span, and what there is to say about it.
#[derive(Debug)]
pub struct SpanProfile {
    /// The profile.
    pub profile: Profile,
    /// What limits its figures.
    pub damage: Vec<String>,
    /// What else is to be known.
    pub notes: Vec<String>,
}

impl Replay {
    /// The profile of the span. Names, stacks, modules and settings come from the dump of the trace, if it has one.
    pub fn into_profile(mut self, dump: Option<&Profile>) -> SpanProfile {
        let (mut damage, notes) = (self.damage(dump), self.notes());
        let mut profile = dump.cloned().unwrap_or_else(empty_profile);
        let found = self.found();
        profile.history.retain(|event| self.span().from_ns <= event.at_ns && event.at_ns < self.span().to_ns);
        profile.quality = quality(&profile, found.events, found.own_events);
        profile.quality.anomalies = Anomalies {
            unmatched_frees: found.unmatched_frees,
            double_allocations: found.overlapping_blocks,
            ambiguous_pairings: 0,
            layout_mismatches: found.other_sizes,
        };
        profile.process.duration_ns = profile.process.duration_ns.max(found.last_ns).min(self.span().to_ns);
        "trace".clone_into(&mut profile.process.reason);
        let failed = if self.span().is_whole() { profile.totals.failed } else { 0 };
        let peak = self.account.peak;
        profile.totals = self.account.totals;
        (profile.totals.peak_bytes, profile.totals.peak_blocks) = (peak.bytes, peak.blocks);
        profile.totals.failed = failed;
        profile.peak = Peak { uncertainty_bytes: 0, ..peak };
        profile.estimates = None;
        profile.tracked = TrackedReport::default();
        profile.sites = self.account.sites();
        profile.live = self.live();
        profile.timeline = self.timeline();
        self.fill_threads(&mut profile);
        bound_stacks(&mut profile, &mut damage);
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
        let sampled = self.found().sampled_events;
        if sampled > 0 {
            damage.push(format!("{sampled} events are of sampled blocks: they are in no figure here"));
        }
        damage
    }

    fn notes(&self) -> Vec<String> {
        let (span, found) = (self.span(), self.found());
        let mut notes = Vec::new();
        if !span.is_whole() {
            notes.push(format!(
                "this is a replay of a trace from {} ns to {} ns: it shows what was allocated in that span",
                span.from_ns,
                if span.to_ns == u64::MAX { found.last_ns } else { span.to_ns }
            ));
        }
        if span.from_ns > 0 {
            notes.push(format!(
                "{} blocks with {} bytes were live before the span; {} of them, with {} bytes, were freed in it",
                found.live_before, found.live_before_bytes, found.earlier_frees, found.earlier_freed_bytes
            ));
        }
        notes
    }

    fn live(&self) -> Vec<LiveBlock> {
        let counted = self.blocks.iter().filter(|(_, block)| block.counted && !block.apart);
        let mut live: Vec<LiveBlock> = counted
            .map(|(address, block)| LiveBlock {
                address,
                size: block.size,
                born_ns: block.born_ns,
                stack: block.stack,
                thread: block.row,
                align_log2: block.align_log2,
                reallocs: block.reallocs,
            })
            .collect();
        live.sort_by_key(|block| (block.born_ns, block.address));
        live
    }

    fn timeline(&mut self) -> Timeline {
        let intervals: Vec<Interval> = std::mem::take(&mut self.account.intervals);
        Timeline { interval_ns: self.account.interval_ns, intervals }
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
        let mut rows: Vec<_> = self.account.rows.iter().collect();
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

/// The quality of what a trace holds of a span: everything in it was recorded. What it lacks is told as damage.
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

/// Every stack that something refers to is there, if only as an empty one.
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
