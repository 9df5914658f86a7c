//! The memory of the ledger, by purpose.

use super::Ledger;
use crate::profile::OwnMemory;
use crate::sys::pages::For;

impl Ledger {
    /// Returns the bytes of memory that the ledger uses or keeps for later use, by purpose. The bytes include the
    /// copies of unwind tables, which are on the program's heap.
    pub(crate) fn own_memory(&self) -> OwnMemory {
        let held = self.pages.held_bytes_by_use();
        let of = |what: For| held[what as usize];
        OwnMemory {
            rings: of(For::Rings),
            live_blocks: of(For::LiveBlocks),
            sites: of(For::Sites).saturating_add(self.sites.bytes()),
            stacks: of(For::Stacks).saturating_add(self.facts.copied_bytes()),
            tables: of(For::Tables).saturating_add(self.scopes.bytes(self.sites.count())),
        }
    }
}
