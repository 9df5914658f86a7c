//! A source for the rows of a dump's large tables: a profile in memory, or code that makes the rows while they are
//! written.

use std::borrow::Cow;

use crate::profile::{LiveBlock, Profile, RowSums, Site, Stack};

/// The large tables of a dump. All calls of a method return the same rows.
pub(crate) trait Rows {
    /// Returns the stacks. Stack 0 is the empty stack.
    fn stacks(&self) -> Box<dyn Iterator<Item = Cow<'_, Stack>> + '_>;

    /// Returns the sites.
    fn sites(&self) -> Box<dyn Iterator<Item = Cow<'_, Site>> + '_>;

    /// Returns the live blocks.
    fn live(&self) -> Box<dyn Iterator<Item = LiveBlock> + '_>;
}

impl Rows for Profile {
    fn stacks(&self) -> Box<dyn Iterator<Item = Cow<'_, Stack>> + '_> {
        Box::new(self.stacks.iter().map(Cow::Borrowed))
    }

    fn sites(&self) -> Box<dyn Iterator<Item = Cow<'_, Site>> + '_> {
        Box::new(self.sites.iter().map(Cow::Borrowed))
    }

    fn live(&self) -> Box<dyn Iterator<Item = LiveBlock> + '_> {
        Box::new(self.live.iter().copied())
    }
}

/// Numbers of rows of the large tables, and sums over the rows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    pub(super) stacks: u64,
    pub(super) sites: u64,
    pub(super) live: u64,
    pub(super) sums: RowSums,
}

impl Counted {
    pub(super) fn of(rows: &dyn Rows, has_scopes: bool) -> Counted {
        let mut counted = Counted::default();
        // For each stack, whether it is in a scope. Empty if there are no scopes.
        let mut in_scope: Vec<bool> = Vec::new();
        for stack in rows.stacks() {
            counted.stacks += 1;
            if has_scopes {
                in_scope.push(stack.scope() != 0);
            }
        }
        for site in rows.sites() {
            counted.sites += 1;
            counted.sums.add_site(&site, in_scope.get(site.stack as usize).copied().unwrap_or(false));
        }
        for block in rows.live() {
            counted.live += 1;
            counted.sums.add_live(block.size);
        }
        counted
    }
}
