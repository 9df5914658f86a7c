//! Rows of a trace: its blocks, each with allocation and end, and its events.

use std::io::{self, Read, Seek};

use parquet::data_type::ByteArray;

use super::column::text;
use super::partition::Partition;
use super::profile_rows::Stacks;
use super::schema::{BlockRow, EventRow, LifeRow, Run, block_cells, event_cells};
use heapledger::trace::{BlockLife, Dated, Record, Trace, block_lives, in_order};

/// Writes all blocks and all events of a trace. The trace is read twice, first for the blocks and then for the events.
/// Calls `passed` with the position in the file, which runs from the start to the end each time.
pub(super) fn write<R: Read + Seek>(
    part: &mut Partition,
    run: &Run<'_>,
    stacks: &Stacks<'_>,
    trace: &mut Trace<R>,
    passed: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let (free, realloc) = (text("free"), text("realloc"));
    let mut result = Ok(());
    let mut write_life = |life: &BlockLife| {
        if result.is_ok() {
            let ended_by = life.end.map(|end| if end.by_realloc { realloc.clone() } else { free.clone() });
            let row = LifeRow { run: &run.id, life, facts: stacks.of(life.stack), ended_by };
            result = part.block.push(|cells| block_cells(&BlockRow::from(row), cells));
        }
    };
    block_lives(trace, &mut *passed, &mut write_life)?;
    result?;
    let kinds = Kinds::new();
    let mut result = Ok(());
    let mut write_event = |dated: &Dated| {
        if result.is_ok()
            && let Some(row) = kinds.row(run, stacks, dated)
        {
            result = part.event.push(|cells| event_cells(&row, cells));
        }
    };
    in_order(trace, u64::MAX, passed, &mut write_event)?;
    result
}

/// Names of the kinds of events, as they are written to the tables.
struct Kinds {
    alloc: ByteArray,
    free: ByteArray,
    realloc: ByteArray,
    realloc_failed: ByteArray,
}

impl Kinds {
    fn new() -> Kinds {
        Kinds {
            alloc: text("alloc"),
            free: text("free"),
            realloc: text("realloc"),
            realloc_failed: text("realloc_failed"),
        }
    }

    /// Returns the row of a record; `None` if the record is no event.
    fn row(&self, run: &Run<'_>, stacks: &Stacks<'_>, dated: &Dated) -> Option<EventRow> {
        let bare = |kind: &ByteArray, address| EventRow {
            run: run.id.clone(),
            at_ns: dated.at_ns,
            thread: dated.row,
            kind: kind.clone(),
            address,
            old_address: None,
            size: None,
            site_key: None,
            stack: None,
            align_log2: None,
            is_zeroed: None,
            is_internal: None,
        };
        let (row, shape) = match dated.record {
            Record::Alloc { address, shape } => (bare(&self.alloc, address), shape),
            Record::ReallocEnds { old_address, address, shape } => {
                let row = bare(&self.realloc, address);
                (EventRow { old_address: Some(old_address), ..row }, shape)
            }
            Record::Free { address, .. } => return Some(bare(&self.free, address)),
            Record::ReallocRefused { address } => return Some(bare(&self.realloc_failed, address)),
            _ => return None,
        };
        Some(EventRow {
            size: Some(shape.size),
            site_key: Some(stacks.of(shape.stack).key),
            stack: Some(shape.stack),
            align_log2: Some(shape.align_log2()),
            is_zeroed: Some(shape.is_zeroed()),
            is_internal: Some(shape.is_own()),
            ..row
        })
    }
}
