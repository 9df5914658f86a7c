//! Rows of a profile, for all tables except `event`.

use std::io;
use std::rc::Rc;

use parquet::data_type::ByteArray;

use super::column::text;
use super::partition::Partition;
use super::schema::{
    BlockRow, FrameRow, HistogramRow, IntervalRow, LiveRow, QualityRow, RemoteFreeRow, Run, ScopeRow,
    SiteRow, ThreadCells, block_cells, frame_cells, histogram_cells, interval_cells, quality_cells,
    remote_free_cells, run_cells, scope_cells, site_cells, thread_cells,
};
use super::stack_facts::{StackFacts, StackMemory};
use crate::analysis::estimated_bytes;

/// Values of the stacks of one profile, by number of the stack.
pub(super) struct Stacks<'a> {
    pub(super) facts: &'a [Rc<StackFacts>],
    pub(super) memory: &'a StackMemory,
    /// Values for a stack number without a stack, which occurs in a damaged file.
    pub(super) none: Rc<StackFacts>,
}

impl Stacks<'_> {
    pub(super) fn of(&self, stack: u32) -> &StackFacts {
        self.facts.get(stack as usize).unwrap_or(&self.none)
    }
}

/// Writes the rows of a run. If the run has a trace, the blocks are left out here, because the trace has them. Events
/// are never written here.
pub(super) fn write(part: &mut Partition, run: &Run<'_>, stacks: &Stacks<'_>) -> io::Result<()> {
    part.run.push(|cells| run_cells(run, cells))?;
    write_sites(part, run, stacks)?;
    if !run.has_events {
        for block in &run.profile.live {
            let row = LiveRow { run: &run.id, block, facts: stacks.of(block.stack) };
            part.block.push(|cells| block_cells(&BlockRow::from(row), cells))?;
        }
    }
    let timeline = &run.profile.timeline;
    let resident = run.profile.memory.resident_by_interval.iter().copied().chain(std::iter::repeat(0));
    let intervals = timeline.intervals.iter().zip(timeline.live_bytes()).zip(resident);
    for (number, ((interval, live_bytes), resident_bytes)) in (0u64..).zip(intervals) {
        let interval_ns = timeline.interval_ns;
        let row = IntervalRow { run: &run.id, number, interval_ns, interval, live_bytes, resident_bytes };
        part.timeline.push(|cells| interval_cells(&row, cells))?;
    }
    for thread in &run.profile.threads {
        part.thread.push(|cells| thread_cells(&ThreadCells { run: &run.id, thread }, cells))?;
    }
    for (number, scope) in (1u32..).zip(&run.profile.scopes) {
        part.scope.push(|cells| scope_cells(&ScopeRow { run: &run.id, number, scope }, cells))?;
    }
    for pair in &run.profile.crossings {
        let row = RemoteFreeRow { run: &run.id, pair: *pair };
        part.remote_free.push(|cells| remote_free_cells(&row, cells))?;
    }
    write_quality(part, run)
}

fn write_sites(part: &mut Partition, run: &Run<'_>, stacks: &Stacks<'_>) -> io::Result<()> {
    let profile = run.profile;
    let build_id = text(run.build_id);
    let scopes: Vec<ByteArray> = profile.scopes.iter().map(|scope| text(&scope.name)).collect();
    let no_scope = text("");
    let (sizes, lifetimes) = (text("size_bytes"), text("lifetime_ns"));
    for site in &profile.sites {
        let facts = stacks.of(site.stack);
        let scope = (profile.scope_of_stack(site.stack) as usize).checked_sub(1);
        let row = SiteRow {
            run: &run.id,
            site,
            facts,
            scope: scope.and_then(|at| scopes.get(at)).unwrap_or(&no_scope).clone(),
            is_truncated: profile.stacks.get(site.stack as usize).is_some_and(|stack| stack.truncated),
            estimate: estimated_bytes(profile, site),
        };
        part.site.push(|cells| site_cells(&row, cells))?;
        let sizes = site.sizes.rows().map(|bucket| (&sizes, bucket));
        for (figure, bucket) in sizes.chain(site.lifetimes.rows().map(|bucket| (&lifetimes, bucket))) {
            let row = HistogramRow { run: &run.id, site, facts, figure, bucket };
            part.histogram.push(|cells| histogram_cells(&row, cells))?;
        }
        if part.framed.insert((run.build_id.to_owned(), facts.key)) {
            for (depth, number) in facts.frames.iter().enumerate() {
                let Some(frame) = stacks.memory.frame(*number) else { continue };
                let row = FrameRow { build_id: &build_id, key: facts.key, depth, frame };
                part.frame.push(|cells| frame_cells(&row, cells))?;
            }
        }
    }
    Ok(())
}

fn write_quality(part: &mut Partition, run: &Run<'_>) -> io::Result<()> {
    let (quality, stacks) = (&run.profile.quality, &run.profile.stack_figures);
    let anomalies = &quality.anomalies;
    let mut figures: Vec<(String, u64)> = vec![
        ("attempted".to_owned(), quality.attempted),
        ("recorded".to_owned(), quality.recorded),
        ("lost".to_owned(), quality.lost.total()),
    ];
    figures.extend(quality.lost.iter().map(|(reason, events)| (format!("lost_{}", reason.name()), events)));
    let others = [
        ("in_flight", quality.in_flight),
        ("sampled_out", quality.sampled_out),
        ("unmatched_frees", anomalies.unmatched_frees),
        ("double_allocations", anomalies.double_allocations),
        ("ambiguous_pairings", anomalies.ambiguous_pairings),
        ("layout_mismatches", anomalies.layout_mismatches),
        ("peak_uncertainty_bytes", run.profile.peak.uncertainty_bytes),
        ("own_events", quality.own_events),
        ("own_bytes", quality.own_bytes),
        ("own_cpu_ns", quality.own_cpu_ns),
        ("stacks_taken", stacks.taken),
        ("stacks_truncated", stacks.truncated),
        ("stacks_failed", stacks.failed),
        ("stacks_table_full", stacks.table_full),
        ("stacks_left_out", stacks.left_out),
        ("damaged_parts", run.origin.damage.len() as u64),
    ];
    figures.extend(others.map(|(figure, value)| (figure.to_owned(), value)));
    for (figure, value) in &figures {
        let row = QualityRow { run: &run.id, figure, value: Some(*value), text: None };
        part.quality.push(|cells| quality_cells(&row, cells))?;
    }
    for conclusion in &run.verdict.conclusions {
        let figure = format!("certainty_{}", conclusion.figure.name());
        let grade = conclusion.certainty.grade;
        let value = match grade {
            crate::analysis::certainty::Grade::Within(amount) => Some(amount),
            _ => None,
        };
        let row = QualityRow { run: &run.id, figure: &figure, value, text: Some(grade.name()) };
        part.quality.push(|cells| quality_cells(&row, cells))?;
    }
    let texts = [
        ("stack_walker", std::slice::from_ref(&stacks.walker)),
        ("damage", &run.origin.damage[..]),
        ("note", &run.origin.notes[..]),
        ("recommendation", std::slice::from_ref(&quality.recommendation)),
    ];
    for (figure, texts) in texts {
        for said in texts.iter().filter(|said| !said.is_empty()) {
            let row = QualityRow { run: &run.id, figure, value: None, text: Some(said) };
            part.quality.push(|cells| quality_cells(&row, cells))?;
        }
    }
    Ok(())
}
