//! References between the tables of a profile: rows refer to stacks and threads by number. A reader of a damaged file
//! has to redirect the references to lost rows, so this file lists all references in one place.

use super::model::{Profile, ThreadRow};

/// A table that rows of other tables refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// [`Profile::stacks`].
    Stacks,
    /// [`Profile::threads`].
    Threads,
}

/// Calls `visit` for every number in the profile that refers to a row. Passes the table of the row, and the number.
pub(crate) fn references(profile: &mut Profile, mut visit: impl FnMut(Table, &mut u32)) {
    profile.sites.iter_mut().for_each(|site| visit(Table::Stacks, &mut site.stack));
    profile.curves.iter_mut().for_each(|curve| visit(Table::Stacks, &mut curve.stack));
    for block in &mut profile.live {
        visit(Table::Stacks, &mut block.stack);
        visit(Table::Threads, &mut block.thread);
    }
    for crossing in &mut profile.crossings {
        visit(Table::Threads, &mut crossing.allocated_by);
        visit(Table::Threads, &mut crossing.freed_by);
    }
    for event in &mut profile.history {
        visit(Table::Stacks, &mut event.stack);
        visit(Table::Threads, &mut event.thread);
    }
}

/// Returns the row that replaces the lost row of a thread.
pub(crate) fn lost_thread() -> ThreadRow {
    ThreadRow { name: "(row lost)".to_owned(), threads: 1, ..ThreadRow::default() }
}
