//! The blocks that live, by address, while the reader books what was left: a plain map, in which frees may wait.

use std::collections::HashMap;

use super::image::Image;
use crate::ledger::Ledger;
use crate::ledger::entry::Entry;
use crate::ledger::live::sizes_agree;

/// By how much a free may seem older than its block, in nanoseconds: the length of a window or two.
const DOUBT_NS: u64 = 4_000_000;

/// Blocks, and frees whose block was not found yet.
#[derive(Default)]
pub(super) struct Live {
    blocks: HashMap<u64, Vec<Entry>>,
    waiting: HashMap<u64, Vec<Entry>>,
}

impl Live {
    /// What the shards of the image hold.
    pub(super) fn of(image: Image<'_>, ledger: &Ledger) -> Live {
        let mut live = Live::default();
        for (page, capacity) in ledger.live.places().filter(|(page, _)| *page != 0) {
            let capacity = (capacity as usize).min(image.room::<Entry>(page));
            // Keys first, then the rest of the entries.
            let rest = capacity * size_of::<u64>();
            for place in 0..capacity {
                let key: Option<u64> = image.copy(page, place).filter(|key| *key != 0);
                let Some(address) = key else { continue };
                let Some([size, at_ns, meta]) = image.copy_behind::<[u64; 3]>(page, rest, place) else {
                    continue;
                };
                live.add(Entry { address, size, at_ns, meta: crate::ledger::entry::Meta(meta) });
            }
        }
        live
    }

    /// Adds an entry as it is found in a table; one that is there already came there twice in the midst of a move.
    pub(super) fn add(&mut self, entry: Entry) {
        let list = if entry.meta.is_waiting() { &mut self.waiting } else { &mut self.blocks };
        let list = list.entry(entry.address).or_default();
        if !list.contains(&entry) {
            list.push(entry);
        }
    }

    /// A block is born. Returns the free that was waiting for it, if there was one.
    pub(super) fn place(&mut self, block: Entry) -> Option<Entry> {
        if let Some(frees) = self.waiting.get_mut(&block.address) {
            let fits = |free: &Entry| {
                can_be_anothers(&block, free) && free.at_ns.saturating_add(DOUBT_NS) >= block.at_ns
            };
            if let Some(at) = frees.iter().position(fits) {
                return Some(frees.swap_remove(at));
            }
        }
        self.blocks.entry(block.address).or_default().push(block);
        None
    }

    /// Whether a block is there that is the same as this one but for its dates.
    pub(super) fn knows(&self, block: &Entry) -> bool {
        let same = |known: &&Entry| {
            (known.size, known.meta.stack(), known.meta.thread())
                == (block.size, block.meta.stack(), block.meta.thread())
        };
        self.blocks.get(&block.address).and_then(|blocks| blocks.iter().find(same)).is_some()
    }

    /// The oldest block at an address that a free can mean.
    pub(super) fn take(&mut self, free: &Entry) -> Option<Entry> {
        self.take_where(free.address, |block| sizes_agree(block, free))
    }

    /// The oldest block at an address, whatever its size.
    pub(super) fn take_any(&mut self, address: u64) -> Option<Entry> {
        self.take_where(address, |_| true)
    }

    fn take_where(&mut self, address: u64, fits: impl Fn(&Entry) -> bool) -> Option<Entry> {
        let blocks = self.blocks.get_mut(&address)?;
        let fitting = blocks.iter().enumerate().filter(|(_, block)| fits(block));
        let (at, _) = fitting.min_by_key(|(_, block)| block.at_ns)?;
        Some(blocks.swap_remove(at))
    }

    /// Lets a free wait.
    pub(super) fn wait(&mut self, free: Entry) {
        self.waiting.entry(free.address).or_default().push(free);
    }

    /// Brings together what is left over, once everything is booked: a free that waits and the oldest block at its
    /// address that it can mean were one block's, whatever their dates say.
    pub(super) fn reconcile(&mut self) -> Vec<(Entry, Entry)> {
        let (mut pairs, mut left) = (Vec::new(), HashMap::new());
        for (address, frees) in std::mem::take(&mut self.waiting) {
            for free in frees {
                // Counted together, an address has no more frees than blocks: if the two that are left over cannot
                // belong together, they were exchanged with two that did.
                let block = self.take_where(address, |block| can_be_anothers(block, &free));
                match block.or_else(|| self.take(&free)) {
                    Some(block) => pairs.push((block, free)),
                    None => left.entry(address).or_insert_with(Vec::new).push(free),
                }
            }
        }
        self.waiting = left;
        pairs
    }

    /// Frees that still wait, and blocks beyond the first at their address.
    pub(super) fn leftovers(&self) -> (u64, u64) {
        let waiting = self.waiting.values().map(|frees| frees.len() as u64).sum();
        let beyond = self.blocks.values().map(|blocks| (blocks.len() as u64).saturating_sub(1)).sum();
        (waiting, beyond)
    }

    pub(super) fn into_blocks(self) -> impl Iterator<Item = Entry> {
        self.blocks.into_values().flatten()
    }
}

/// Whether a free that waited can mean a block that came later. Not if one thread made both: what it freed before it
/// allocated was another block.
fn can_be_anothers(block: &Entry, free: &Entry) -> bool {
    sizes_agree(block, free) && free.meta.thread() != block.meta.thread()
}
