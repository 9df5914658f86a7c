//! Rows of a profile refer to its stacks and threads by number. Here is the one list of where such numbers stand: a
//! reader that lost rows leads them elsewhere, and must miss none.

use super::model::{Profile, ThreadRow};

/// A table that rows of other tables refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// [`Profile::stacks`].
    Stacks,
    /// [`Profile::threads`].
    Threads,
}

/// Shows `visit` the place of every number that refers to a row, with the table that it points into.
pub(crate) fn references(profile: &mut Profile, mut visit: impl FnMut(Table, &mut u32)) {
    profile.sites.iter_mut().for_each(|site| visit(Table::Stacks, &mut site.stack));
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

/// The row that a reference to a thread leads to when its own is gone.
pub(crate) fn lost_thread() -> ThreadRow {
    ThreadRow { name: "(row lost)".to_owned(), threads: 1, ..ThreadRow::default() }
}
