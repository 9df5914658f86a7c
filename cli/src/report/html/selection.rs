//! Data for the selections on the page: a period, a thread, a scope.
//!
//! Figures of a site are not recorded by time or by thread; only live blocks have an allocation time and a thread. So
//! selecting a period or a thread selects live blocks. A *cell* is the sum of the live blocks of one site, one step of
//! the timeline and one thread. A step is one column of the timeline, or several joined.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::super::detail::SourceExtract;
use super::super::escape::escaped;
use crate::analysis::course::{Course, courses as courses_of};
use crate::analysis::{Column, SiteBook, lists_all_live_blocks, scopes as scopes_of};
use heapledger::profile::{Profile, Site};

/// Maximum number of cells. With more cells, neighbouring steps of the timeline are joined.
const CELLS: usize = 60_000;
/// Maximum number of scopes on the page.
const SCOPES: usize = 2_000;

/// Cells with live blocks, as one list for each property of a cell.
#[derive(Debug, Default, Serialize)]
pub(super) struct LiveCells {
    site: Vec<u32>,
    /// First column of the timeline in which the blocks of the cell were allocated.
    step: Vec<u32>,
    /// Index of the thread that allocated the blocks.
    thread: Vec<u32>,
    blocks: Vec<u64>,
    bytes: Vec<u64>,
    /// Number of columns of the timeline that are joined in a step.
    steps_each: u32,
    /// Whether the cells contain all live blocks of the process.
    is_complete: bool,
}

/// Sums the live blocks of `sites` by site, step of the timeline and thread.
pub(super) fn live_cells(profile: &Profile, sites: &[&Site], columns: &[Column]) -> LiveCells {
    let site_of: HashMap<u32, u32> = sites.iter().zip(0..).map(|(site, at)| (site.stack, at)).collect();
    let mut sums: BTreeMap<(u32, u32, u32), (u64, u64)> = BTreeMap::new();
    for block in &profile.live {
        let Some(site) = site_of.get(&block.stack) else { continue };
        let after = columns.partition_point(|column| column.start_ns <= block.born_ns);
        let (blocks, bytes) = sums.entry((*site, after.saturating_sub(1) as u32, block.thread)).or_default();
        (*blocks, *bytes) = (*blocks + 1, bytes.saturating_add(block.size));
    }
    let mut steps_each = 1u32;
    while sums.len() > CELLS && (steps_each as usize) < columns.len() {
        steps_each *= 2;
        let mut joined: BTreeMap<(u32, u32, u32), (u64, u64)> = BTreeMap::new();
        for ((site, step, thread), (more, size)) in sums {
            let (blocks, bytes) = joined.entry((site, step / steps_each * steps_each, thread)).or_default();
            (*blocks, *bytes) = (*blocks + more, bytes.saturating_add(size));
        }
        sums = joined;
    }
    let mut cells =
        LiveCells { steps_each, is_complete: lists_all_live_blocks(profile), ..LiveCells::default() };
    for ((site, step, thread), (blocks, bytes)) in sums {
        cells.site.push(site);
        cells.step.push(step);
        cells.thread.push(thread);
        cells.blocks.push(blocks);
        cells.bytes.push(bytes);
    }
    cells
}

/// Maximum number of courses on the page, and maximum number of values of one course.
const COURSES: usize = 300;
const COURSE_VALUES: usize = 96;

/// Live bytes of one place over time. A place is a line of a [`SiteBook`].
#[derive(Debug, Serialize)]
pub(super) struct CourseRow {
    /// Index of the site that represents the place: its site with the most bytes.
    site: usize,
    kind: &'static str,
    first_interval: u32,
    interval_ns: u64,
    live_bytes: Vec<u64>,
    rises: u32,
    falls: u32,
    steps: u32,
}

/// Returns the courses of the places of `book`, at most [`COURSES`].
pub(super) fn courses(profile: &Profile, book: &SiteBook, sites: &[&Site]) -> Vec<CourseRow> {
    let row = |course: Course| {
        let stack = book.lines[course.line].account.stack;
        let each = course.live_bytes.len().div_ceil(COURSE_VALUES).max(1);
        Some(CourseRow {
            site: sites.iter().position(|site| site.stack == stack)?,
            kind: course.kind.name(),
            first_interval: course.first_interval,
            interval_ns: course.interval_ns,
            live_bytes: course.live_bytes.chunks(each).filter_map(|part| part.last().copied()).collect(),
            rises: course.rises,
            falls: course.falls,
            steps: course.steps(),
        })
    };
    courses_of(profile, book).into_iter().take(COURSES).filter_map(row).collect()
}

/// Scope on the page.
#[derive(Debug, Serialize)]
pub(super) struct ScopeRow {
    number: u32,
    parent: u32,
    name: String,
    depth: usize,
    total_blocks: u64,
    total_bytes: u64,
    live_blocks: u64,
    live_bytes: u64,
    peak_bytes: u64,
    peak_uncertainty_bytes: u64,
    threads: u32,
}

/// Returns the scopes as a tree in depth-first order: a scope is followed by the scopes nested in it.
pub(super) fn scopes(profile: &Profile) -> Vec<ScopeRow> {
    let row = |line: crate::analysis::ScopeLine| ScopeRow {
        number: line.number,
        parent: line.scope.parent,
        name: escaped(&line.scope.name),
        depth: line.depth,
        total_blocks: line.scope.total_blocks,
        total_bytes: line.scope.total_bytes,
        live_blocks: line.scope.live_blocks(),
        live_bytes: line.scope.live_bytes(),
        peak_bytes: line.scope.peak_bytes,
        peak_uncertainty_bytes: line.scope.peak_uncertainty_bytes,
        threads: line.scope.threads,
    };
    scopes_of(profile, SCOPES).lines.into_iter().map(row).collect()
}

/// Extract of a source file.
#[derive(Debug, Serialize)]
pub(super) struct Source {
    file: String,
    first: u32,
    lines: Vec<String>,
    newer: bool,
}

/// Returns the extracts of source files, with their texts escaped for the page.
pub(super) fn sources(extracts: &[SourceExtract]) -> Vec<Source> {
    let source = |extract: &SourceExtract| Source {
        file: escaped(&extract.file),
        first: extract.first_line,
        lines: extract.lines.iter().map(|line| escaped(line)).collect(),
        newer: extract.is_newer,
    };
    extracts.iter().map(source).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use heapledger::profile::{LiveBlock, Stack};

    #[test]
    fn live_blocks_are_summed_by_site_step_and_thread_and_steps_are_joined_when_there_are_many() {
        let mut profile = Profile { stacks: vec![Stack::default(); 3], ..Profile::default() };
        let block =
            |stack, thread, born_ns| LiveBlock { stack, thread, born_ns, size: 10, ..LiveBlock::default() };
        profile.live = vec![block(1, 0, 5), block(1, 0, 9), block(1, 1, 9), block(2, 0, 25), block(9, 0, 1)];
        profile.sites = vec![Site { stack: 2, ..Site::default() }, Site { stack: 1, ..Site::default() }];
        let column = |start_ns| Column { start_ns, length_ns: 10, ..Column::default() };
        let columns: Vec<Column> = (0..4).map(|at| column(at * 10)).collect();
        let sites: Vec<&Site> = profile.sites.iter().collect();
        let cells = live_cells(&profile, &sites, &columns);
        assert_eq!(
            (&cells.site[..], &cells.step[..], &cells.thread[..]),
            (&[0, 1, 1][..], &[2, 0, 0][..], &[0, 0, 1][..])
        );
        assert_eq!((&cells.blocks[..], &cells.bytes[..]), (&[1, 2, 1][..], &[10, 20, 10][..]));
        assert_eq!((cells.steps_each, cells.is_complete), (1, false));
        profile.live = (0..CELLS as u64 + 2).map(|at| block(1, at as u32 / 4, at % 4 * 10)).collect();
        let cells = live_cells(&profile, &[&Site { stack: 1, ..Site::default() }], &columns);
        assert_eq!(cells.steps_each, 2);
        assert_eq!(cells.blocks.iter().sum::<u64>(), CELLS as u64 + 2);
    }
}
