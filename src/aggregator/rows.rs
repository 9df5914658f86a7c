//! The table of threads in a snapshot.
//!
//! The figures of an ended thread are in its row, and the figures of a running thread are in its lane (its ring with
//! counters). When the thread ends, the figures move from the lane to the row, so lanes and rows are copied while the
//! ledger is frozen. Names are read later, because reading them allocates.

use std::cmp::Reverse;
use std::fs;

use crate::ledger::Ledger;
use crate::ledger::entry::ROW_OF_OTHERS;
use crate::ledger::fold_state::LaneFigures;
use crate::ledger::rows::Row;
use crate::profile::{LossCounts, RemoteFrees, ThreadRow};
use crate::sys::sync::{AtomicU64, Ordering};

/// Copies the rows of a frozen ledger, without names. Returns `false` if there is not enough room. Allocates nothing.
pub(super) fn copy(ledger: &Ledger, into: &mut Vec<ThreadRow>) -> bool {
    let numbers = numbers(ledger);
    if numbers.clone().count() > into.capacity() {
        return false;
    }
    into.extend(numbers.map(|number| copied(number, ledger.rows.get(&ledger.pages, number))));
    true
}

/// Reads the names of running threads again, because many threads get a name after their first event. Reads up to
/// `count` rows, starting at row `first`; after the last row comes row 0. Allocates.
pub(super) fn rename_running(ledger: &Ledger, first: u32, count: u32) {
    if !cfg!(target_os = "linux") {
        return;
    }
    let rows = ledger.rows.count();
    for number in (0..count.min(rows)).map(|step| (first.wrapping_add(step)) % rows) {
        let row = ledger.rows.get(&ledger.pages, number);
        // relaxed: statistics, which need no ordering.
        let id = row.os_id.load(Ordering::Relaxed);
        let is_running = id != 0 && row.ended_ns.load(Ordering::Relaxed) == 0;
        let name = is_running.then(|| fs::read(format!("/proc/self/task/{id}/comm")).ok()).flatten();
        if let Some(name) = name {
            row.set_system_name(name.strip_suffix(b"\n").unwrap_or(&name));
        }
    }
}

/// Returns the table of threads: the copied rows, with the figures of running threads added. A thread whose row was
/// made after the copy is listed with zeros, because an event of the history may refer to that thread.
pub(super) fn threads(
    ledger: &Ledger,
    copied: Vec<ThreadRow>,
    running: &[(u32, LaneFigures)],
) -> Vec<ThreadRow> {
    let known = |number: u32| copied.iter().find(|row| row.index == number).cloned();
    let mut rows: Vec<ThreadRow> = match numbers(ledger).count() == copied.len() {
        true => copied,
        false => numbers(ledger).map(|number| known(number).unwrap_or_else(|| unborn(number))).collect(),
    };
    for row in &mut rows {
        identify(row, ledger.rows.get(&ledger.pages, row.index));
    }
    for (number, share) in running {
        let place = if *number == ROW_OF_OTHERS { rows.len().wrapping_sub(1) } else { *number as usize };
        // The lane of an ended thread has no row until another thread takes over the lane.
        let Some(row) = rows.get_mut(place).filter(|row| row.index == *number) else { continue };
        row.attempted += share.attempted;
        row.recorded = row.recorded.wrapping_add(share.recorded);
        row.total_blocks = row.total_blocks.wrapping_add(share.total_blocks);
        row.total_bytes = row.total_bytes.wrapping_add(share.total_bytes);
        row.freed_blocks = row.freed_blocks.wrapping_add(share.freed_blocks);
        row.freed_bytes = row.freed_bytes.wrapping_add(share.freed_bytes);
        row.cross_thread_frees += share.cross_thread_frees;
        row.lost.merge(&LossCounts::from_counts(share.lost));
    }
    rows
}

/// Returns the remote frees of each pair of threads: blocks that one thread allocated and another thread freed. In a
/// frozen ledger, the table of threads has both threads of every pair, and the sums equal the totals. Allocates
/// nothing.
pub(crate) fn crossings(ledger: &Ledger) -> impl Iterator<Item = RemoteFrees> + '_ {
    ledger.remote_frees.all(ROW_OF_OTHERS).map(|cell| RemoteFrees {
        allocated_by: cell.allocated_by,
        freed_by: cell.freed_by,
        blocks: cell.blocks,
        bytes: cell.bytes,
    })
}

/// Sorts the pairs of threads in descending order of blocks. The sum of the pairs without a separate cell gets the row
/// that threads share, or a new row if no threads share a row.
pub(crate) fn finish_crossings(crossings: &mut [RemoteFrees], threads: &mut Vec<ThreadRow>) {
    crossings.sort_unstable_by_key(|pair| (Reverse(pair.blocks), pair.allocated_by, pair.freed_by));
    let number = threads.len() as u32;
    if number > ROW_OF_OTHERS {
        return;
    }
    let Some(further) = crossings.iter_mut().find(|pair| pair.allocated_by == ROW_OF_OTHERS) else { return };
    (further.allocated_by, further.freed_by) = (number, number);
    threads.push(ThreadRow { name: "(further pairs of threads)".to_owned(), ..unborn(number) });
}

/// Returns the numbers of all rows with a thread.
fn numbers(ledger: &Ledger) -> impl Iterator<Item = u32> + Clone {
    let others = ledger.rows.get(&ledger.pages, ROW_OF_OTHERS);
    // relaxed: a statistic, which needs no ordering.
    let has_others = others.threads.load(Ordering::Relaxed) > 0;
    (0..ledger.rows.count()).chain(has_others.then_some(ROW_OF_OTHERS))
}

fn unborn(number: u32) -> ThreadRow {
    ThreadRow { index: number, ..ThreadRow::default() }
}

/// Returns the figures of a row, without the identity of its thread.
pub(crate) fn copied(number: u32, row: &Row) -> ThreadRow {
    // relaxed: the figures are written under a latch that the caller holds.
    let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    let figures = &row.figures;
    ThreadRow {
        attempted: read(&figures.attempted),
        recorded: read(&figures.recorded),
        lost: LossCounts::from_counts(std::array::from_fn(|reason| read(&figures.lost[reason]))),
        total_blocks: read(&figures.total_blocks),
        total_bytes: read(&figures.total_bytes),
        freed_blocks: read(&figures.freed_blocks),
        freed_bytes: read(&figures.freed_bytes),
        cross_thread_frees: read(&figures.cross_thread_frees),
        ..unborn(number)
    }
}

/// Adds the identity of the thread to `into`.
pub(crate) fn identify(into: &mut ThreadRow, row: &Row) {
    // relaxed: statistics, which need no ordering.
    let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    let name = row.name();
    let length = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    let ended_ns = read(&row.ended_ns);
    into.name = String::from_utf8_lossy(&name[..length]).into_owned();
    into.os_id = read(&row.os_id);
    into.started_ns = read(&row.started_ns);
    into.ended_ns = (ended_ns != 0).then_some(ended_ns);
    into.threads = u64::from(row.threads.load(Ordering::Relaxed));
    into.own = row.own.load(Ordering::Relaxed) != 0;
}
