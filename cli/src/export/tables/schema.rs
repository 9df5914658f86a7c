//! Tables: the name, type and value of each column.
//!
//! The macro `tables!` defines the columns of a table and the function that fills them in one place, so that a value
//! cannot get into the wrong column. `columns.txt` lists every column. Users' queries depend on the names, so a test
//! compares the list with the tables.

use parquet::data_type::ByteArray;

use super::column::{Cell, Column, Kind, address, int, text};
use super::identity::instant;
use super::stack_facts::{FrameFacts, StackFacts};
use crate::analysis::{FigureGroup, Origin, Verification};
use heapledger::profile::{Estimate, Interval, LiveBlock, Profile, RemoteFrees, Scope, Site, ThreadRow};
use heapledger::trace::BlockLife;

/// Version of the tables, in the column `run.format_version`. A change of meaning or the removal of a column raises the
/// version; a new column does not.
pub const FORMAT_VERSION: u32 = 1;

/// Table: its name and its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Name of the table, and of its directory.
    pub name: &'static str,
    /// Columns, in their order in the file.
    pub columns: &'static [Column],
}

/// Defines tables. For each table: a constant with the columns, and a function that appends the cells of a row.
macro_rules! tables {
    ($($constant:ident = $name:literal, $cells:ident($row:ident: $type:ty) {
        $($column:ident: $kind:ident = $value:expr;)+
    })+) => {
        $(
            pub(super) const $constant: Table = Table {
                name: $name,
                columns: &[$(Column { name: stringify!($column), kind: Kind::$kind }),+],
            };

            pub(super) fn $cells($row: &$type, cells: &mut Vec<Cell>) {
                cells.extend([$(Cell::$kind($value)),+]);
            }
        )+

        /// All tables.
        pub const TABLES: &[Table] = &[$($constant),+];
    };
}

/// Values that all rows of a run share.
pub(super) struct Run<'a> {
    pub(super) id: ByteArray,
    pub(super) profile: &'a Profile,
    pub(super) origin: &'a Origin,
    pub(super) verdict: Verification,
    pub(super) host: &'a str,
    pub(super) build_id: &'a str,
    pub(super) file: &'a str,
    pub(super) has_events: bool,
}

impl Run<'_> {
    fn grade(&self, group: FigureGroup) -> ByteArray {
        text(self.verdict.certainty(group).grade.name())
    }
}

pub(super) struct SiteRow<'a> {
    pub(super) run: &'a ByteArray,
    pub(super) site: &'a Site,
    pub(super) facts: &'a StackFacts,
    pub(super) scope: ByteArray,
    pub(super) is_truncated: bool,
    pub(super) estimate: Option<Estimate>,
}

pub(super) struct HistogramRow<'a> {
    pub(super) run: &'a ByteArray,
    pub(super) site: &'a Site,
    pub(super) facts: &'a StackFacts,
    pub(super) figure: &'a ByteArray,
    pub(super) bucket: (u64, u64, u64),
}

pub(super) struct FrameRow<'a> {
    pub(super) build_id: &'a ByteArray,
    pub(super) key: i64,
    pub(super) depth: usize,
    pub(super) frame: &'a FrameFacts,
}

pub(super) struct LiveRow<'a> {
    pub(super) run: &'a ByteArray,
    pub(super) block: &'a LiveBlock,
    pub(super) facts: &'a StackFacts,
}

pub(super) struct LifeRow<'a> {
    pub(super) run: &'a ByteArray,
    pub(super) life: &'a BlockLife,
    pub(super) facts: &'a StackFacts,
    /// How the block ended: `free` or `realloc`; `None` if it is live.
    pub(super) ended_by: Option<ByteArray>,
}

/// Row of the table of blocks, for a block of a dump or of a trace.
pub(super) struct BlockRow {
    pub(super) run: ByteArray,
    pub(super) address: u64,
    pub(super) size: u64,
    pub(super) site_key: i64,
    pub(super) stack: u32,
    pub(super) thread: u32,
    pub(super) align_log2: u8,
    pub(super) reallocs: u8,
    pub(super) born_ns: u64,
    pub(super) started_ns: Option<u64>,
    pub(super) ended_ns: Option<u64>,
    pub(super) ended_by: Option<ByteArray>,
    pub(super) ended_by_thread: Option<u32>,
}

impl From<LiveRow<'_>> for BlockRow {
    fn from(LiveRow { run, block, facts }: LiveRow<'_>) -> BlockRow {
        BlockRow {
            run: run.clone(),
            address: block.address,
            size: block.size,
            site_key: facts.key,
            stack: block.stack,
            thread: block.thread,
            align_log2: block.align_log2,
            reallocs: block.reallocs,
            born_ns: block.born_ns,
            // A dump has no times of reallocs, so the start of a reallocated block is unknown.
            started_ns: (block.reallocs == 0).then_some(block.born_ns),
            ended_ns: None,
            ended_by: None,
            ended_by_thread: None,
        }
    }
}

impl From<LifeRow<'_>> for BlockRow {
    fn from(LifeRow { run, life, facts, ended_by }: LifeRow<'_>) -> BlockRow {
        BlockRow {
            run: run.clone(),
            address: life.address,
            size: life.size,
            site_key: facts.key,
            stack: life.stack,
            thread: life.thread,
            align_log2: life.align_log2,
            reallocs: life.reallocs,
            born_ns: life.born_ns,
            started_ns: Some(life.started_ns),
            ended_ns: life.end.map(|end| end.at_ns),
            ended_by,
            ended_by_thread: life.end.map(|end| end.thread),
        }
    }
}

pub(super) struct EventRow {
    pub(super) run: ByteArray,
    pub(super) at_ns: u64,
    pub(super) thread: u32,
    pub(super) kind: ByteArray,
    pub(super) address: u64,
    pub(super) old_address: Option<u64>,
    pub(super) size: Option<u64>,
    pub(super) site_key: Option<i64>,
    pub(super) stack: Option<u32>,
    pub(super) align_log2: Option<u8>,
    pub(super) is_zeroed: Option<bool>,
    pub(super) is_internal: Option<bool>,
}

pub(super) struct IntervalRow<'a> {
    pub(super) run: &'a ByteArray,
    pub(super) number: u64,
    pub(super) interval_ns: u64,
    pub(super) interval: &'a Interval,
    pub(super) live_bytes: u64,
    /// Resident memory that was read in the interval, in bytes; 0 without a reading.
    pub(super) resident_bytes: u64,
}

pub(super) struct ThreadCells<'a> {
    pub(super) run: &'a ByteArray,
    pub(super) thread: &'a ThreadRow,
}

pub(super) struct ScopeRow<'a> {
    pub(super) run: &'a ByteArray,
    pub(super) number: u32,
    pub(super) scope: &'a Scope,
}

pub(super) struct RemoteFreeRow<'a> {
    pub(super) run: &'a ByteArray,
    pub(super) pair: RemoteFrees,
}

pub(super) struct QualityRow<'a> {
    pub(super) run: &'a ByteArray,
    pub(super) figure: &'a str,
    pub(super) value: Option<u64>,
    pub(super) text: Option<&'a str>,
}

tables! {
    RUN = "run", run_cells(run: Run<'_>) {
        run_id: Text = run.id.clone();
        format_version: Int = i64::from(FORMAT_VERSION);
        program: Text = text(&run.profile.process.program);
        host: Text = text(run.host);
        pid: Int = i64::from(run.profile.process.pid);
        build_id: Text = text(run.build_id);
        platform: Text = text(&run.profile.process.platform);
        heapledger_version: Text = text(&run.profile.process.heapledger_version);
        file: Text = text(run.file);
        started: Instant = instant(run.profile.process.started_unix_ns);
        started_unix_ns: Int = int(run.profile.process.started_unix_ns);
        duration_ns: Int = int(run.profile.process.duration_ns);
        reason: Text = text(&run.profile.process.reason);
        mode: Text = text(run.profile.settings.mode.name());
        stacks: Text = text(&run.profile.settings.stacks.to_string());
        clock: Text = text(run.profile.settings.clock.name());
        has_events: Flag = run.has_events;
        installed: Flag = run.profile.quality.installed;
        completeness_ppm: Int = int(super::super::quality::completeness_ppm(&run.profile.quality));
        attempted: Int = int(run.profile.quality.attempted);
        recorded: Int = int(run.profile.quality.recorded);
        lost: Int = int(run.profile.quality.lost.total());
        in_flight: Int = int(run.profile.quality.in_flight);
        sampled_out: Int = int(run.profile.quality.sampled_out);
        anomalies: Int = int(run.profile.quality.anomalies.total());
        damaged_parts: Int = run.origin.damage.len() as i64;
        laws_broken: Int = run.verdict.broken() as i64;
        certainty_totals: Text = run.grade(FigureGroup::Totals);
        certainty_live_bytes: Text = run.grade(FigureGroup::LiveBytes);
        certainty_peak: Text = run.grade(FigureGroup::Peak);
        certainty_sites: Text = run.grade(FigureGroup::Sites);
        total_blocks: Int = int(run.profile.totals.total_blocks);
        total_bytes: Int = int(run.profile.totals.total_bytes);
        freed_blocks: Int = int(run.profile.totals.freed_blocks);
        freed_bytes: Int = int(run.profile.totals.freed_bytes);
        live_blocks: Int = int(run.profile.totals.live_blocks);
        live_bytes: Int = int(run.profile.totals.live_bytes);
        peak_blocks: Int = int(run.profile.totals.peak_blocks);
        peak_bytes: Int = int(run.profile.totals.peak_bytes);
        peak_at_ns: Int = int(run.profile.peak.at_ns);
        peak_uncertainty_bytes: Int = int(run.profile.peak.uncertainty_bytes);
        reallocs: Int = int(run.profile.totals.reallocs);
        failed: Int = int(run.profile.totals.failed);
        resident_bytes: MaybeInt = run.profile.memory.resident_bytes.map(int);
        highest_resident_bytes: MaybeInt = run.profile.memory.highest_resident_bytes.map(int);
        own_bytes: Int = int(run.profile.quality.own_bytes);
        own_cpu_ns: Int = int(run.profile.quality.own_cpu_ns);
    }

    SITE = "site", site_cells(row: SiteRow<'_>) {
        run_id: Text = row.run.clone();
        site_key: Int = row.facts.key;
        stack: Int = i64::from(row.site.stack);
        scope: Text = row.scope.clone();
        place: Text = row.facts.place.clone();
        place_file: Text = row.facts.place_file.clone();
        place_line: Int = row.facts.place_line;
        is_named: Flag = row.facts.is_named;
        frames_truncated: Flag = row.is_truncated;
        total_blocks: Int = int(row.site.total_blocks);
        total_bytes: Int = int(row.site.total_bytes);
        estimated_bytes: MaybeReal = row.estimate.map(|estimate| estimate.value);
        estimated_bytes_error: MaybeReal = row.estimate.map(|estimate| estimate.standard_error);
        freed_blocks: Int = int(row.site.freed_blocks);
        freed_bytes: Int = int(row.site.freed_bytes);
        live_blocks: Int = int(row.site.live_blocks());
        live_bytes: Int = int(row.site.live_bytes());
        own_peak_bytes: Int = int(row.site.own_peak_bytes);
        at_peak_blocks: Int = int(row.site.at_peak_blocks);
        at_peak_bytes: Int = int(row.site.at_peak_bytes);
        temporary_blocks: Int = int(row.site.temporary_blocks);
        temporary_bytes: Int = int(row.site.temporary_bytes);
        cross_thread_frees: Int = int(row.site.cross_thread_frees);
        reallocs: Int = int(row.site.reallocs.count);
        reallocs_moved: Int = int(row.site.reallocs.moved);
        realloc_copied_bytes: Int = int(row.site.reallocs.copied_bytes);
        realloc_chains: Int = int(row.site.reallocs.chains);
        realloc_chain_links: Int = int(row.site.reallocs.chain_links);
        longest_realloc_chain: Int = int(row.site.reallocs.longest_chain);
    }

    FRAME = "frame", frame_cells(row: FrameRow<'_>) {
        build_id: Text = row.build_id.clone();
        site_key: Int = row.key;
        depth: Int = row.depth as i64;
        function: Text = row.frame.function.clone();
        source_file: Text = row.frame.file.clone();
        source_line: Int = row.frame.line;
        inlined: Flag = row.frame.is_inlined;
        module: Text = row.frame.module.clone();
        module_build_id: Text = row.frame.module_build_id.clone();
        module_offset: Int = row.frame.offset;
    }

    HISTOGRAM = "histogram", histogram_cells(row: HistogramRow<'_>) {
        run_id: Text = row.run.clone();
        site_key: Int = row.facts.key;
        stack: Int = i64::from(row.site.stack);
        figure: Text = row.figure.clone();
        at_least: Int = int(row.bucket.0);
        at_most: Int = int(row.bucket.1);
        blocks: Int = int(row.bucket.2);
    }

    BLOCK = "block", block_cells(row: BlockRow) {
        run_id: Text = row.run.clone();
        address: Int = address(row.address);
        size_bytes: Int = int(row.size);
        site_key: Int = row.site_key;
        stack: Int = i64::from(row.stack);
        thread: Int = i64::from(row.thread);
        alignment_bytes: Int = int(1 << row.align_log2.min(62));
        reallocs: Int = i64::from(row.reallocs);
        born_ns: Int = int(row.born_ns);
        started_ns: MaybeInt = row.started_ns.map(int);
        ended_ns: MaybeInt = row.ended_ns.map(int);
        ended_by: MaybeText = row.ended_by.clone();
        ended_by_thread: MaybeInt = row.ended_by_thread.map(i64::from);
    }

    EVENT = "event", event_cells(row: EventRow) {
        run_id: Text = row.run.clone();
        at_ns: Int = int(row.at_ns);
        thread: Int = i64::from(row.thread);
        kind: Text = row.kind.clone();
        address: Int = address(row.address);
        old_address: MaybeInt = row.old_address.map(address);
        size_bytes: MaybeInt = row.size.map(int);
        site_key: MaybeInt = row.site_key;
        stack: MaybeInt = row.stack.map(i64::from);
        alignment_bytes: MaybeInt = row.align_log2.map(|log2| int(1 << log2.min(62)));
        zeroed: MaybeFlag = row.is_zeroed;
        internal: MaybeFlag = row.is_internal;
    }

    TIMELINE = "timeline", interval_cells(row: IntervalRow<'_>) {
        run_id: Text = row.run.clone();
        number: Int = int(row.number);
        start_ns: Int = int(row.number.saturating_mul(row.interval_ns));
        end_ns: Int = int(row.number.saturating_add(1).saturating_mul(row.interval_ns));
        allocated_blocks: Int = int(row.interval.allocated_blocks);
        allocated_bytes: Int = int(row.interval.allocated_bytes);
        freed_blocks: Int = int(row.interval.freed_blocks);
        freed_bytes: Int = int(row.interval.freed_bytes);
        live_bytes_at_end: Int = int(row.live_bytes);
        peak_bytes: Int = int(row.interval.peak_bytes);
        resident_bytes: MaybeInt = Some(row.resident_bytes).filter(|bytes| *bytes > 0).map(int);
        lost: Int = int(row.interval.lost);
    }

    THREAD = "thread", thread_cells(row: ThreadCells<'_>) {
        run_id: Text = row.run.clone();
        thread: Int = i64::from(row.thread.index);
        name: Text = text(&row.thread.name);
        os_id: Int = int(row.thread.os_id);
        threads: Int = int(row.thread.threads);
        internal: Flag = row.thread.own;
        started_ns: Int = int(row.thread.started_ns);
        ended_ns: MaybeInt = row.thread.ended_ns.map(int);
        attempted: Int = int(row.thread.attempted);
        recorded: Int = int(row.thread.recorded);
        lost: Int = int(row.thread.lost.total());
        total_blocks: Int = int(row.thread.total_blocks);
        total_bytes: Int = int(row.thread.total_bytes);
        freed_blocks: Int = int(row.thread.freed_blocks);
        freed_bytes: Int = int(row.thread.freed_bytes);
        cross_thread_frees: Int = int(row.thread.cross_thread_frees);
    }

    SCOPE = "scope", scope_cells(row: ScopeRow<'_>) {
        run_id: Text = row.run.clone();
        scope: Int = i64::from(row.number);
        name: Text = text(&row.scope.name);
        parent: Int = i64::from(row.scope.parent);
        total_blocks: Int = int(row.scope.total_blocks);
        total_bytes: Int = int(row.scope.total_bytes);
        freed_blocks: Int = int(row.scope.freed_blocks);
        freed_bytes: Int = int(row.scope.freed_bytes);
        live_blocks: Int = int(row.scope.live_blocks());
        live_bytes: Int = int(row.scope.live_bytes());
        reallocs: Int = int(row.scope.reallocs);
        peak_bytes: Int = int(row.scope.peak_bytes);
        peak_uncertainty_bytes: Int = int(row.scope.peak_uncertainty_bytes);
        threads: Int = i64::from(row.scope.threads);
    }

    REMOTE_FREE = "remote_free", remote_free_cells(row: RemoteFreeRow<'_>) {
        run_id: Text = row.run.clone();
        allocated_by: Int = i64::from(row.pair.allocated_by);
        freed_by: Int = i64::from(row.pair.freed_by);
        blocks: Int = int(row.pair.blocks);
        bytes: Int = int(row.pair.bytes);
    }

    QUALITY = "quality", quality_cells(row: QualityRow<'_>) {
        run_id: Text = row.run.clone();
        figure: Text = text(row.figure);
        value: MaybeInt = row.value.map(int);
        text: MaybeText = row.text.map(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If a line changes, so do the names on which users' queries depend.
    #[test]
    fn columns_keep_their_names_types_and_order() {
        let mut list = String::new();
        for table in TABLES {
            for Column { name, kind } in table.columns {
                list.push_str(&format!("{}.{name} {kind:?}\n", table.name));
            }
        }
        assert_eq!(list, include_str!("columns.txt"), "{list}");
    }
}
