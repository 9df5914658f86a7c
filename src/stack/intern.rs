//! The store of all stacks: one tree, in which a stack is the path from its outermost frame to its innermost frame.
//!
//! A node is a return address below the node of its caller. The number of a stack leads to the node of its innermost
//! frame. So common callers are stored once: a program with a million stacks of forty frames has a few million nodes,
//! not forty million.
//!
//! Hash tables map (caller, address) to a node. When the newest table is half full, a table of four times its size is
//! added. Older tables stay unchanged, so no thread waits while a table is rebuilt. A lookup searches all tables,
//! newest first. Only a stack that is new to a thread needs a lookup.
//!
//! Stacks are never removed. At the limit of nodes or stacks, or without memory, a new stack gets no number, and the
//! caller counts it as `table_full`.
//!
//! Invariant **V1**: all fields except the counts are accessed under the store's latch. The store's runs of pages are
//! never given back, and items with indices below the counts are accessible.

use crate::sys::latch::{Latch, Patience};
use crate::sys::pages::{For, PAGE_BYTES, Pages};
use crate::sys::sync::{AtomicU32, Ordering};

/// Maximum number of distinct stacks. Further stacks are counted as `table_full` and belong to no site.
pub(crate) const STACKS_MAX: u32 = (1 << 20) - 1;
/// Maximum number of nodes of the tree.
pub(crate) const STACK_NODES_MAX: u32 = 1 << 23;
/// Divisor for the sizes of the tables. Nodes may occupy one sixteenth of the region's pages; the table of innermost
/// nodes may occupy one sixteenth of that.
const REGION_SHARE: u32 = 16;
/// Slots of the first hash table, which fills one page.
const SLOTS_FIRST: u32 = (PAGE_BYTES / 4) as u32;
/// Maximum number of hash tables, which together have room for all nodes.
const TABLES: usize = 8;
/// Factor from the number of slots of one table to that of the next.
const GROWTH: u32 = 4;
/// Number of the root node of complete stacks. `ROOT_TRUNCATED` is the root of truncated stacks.
const ROOT: u32 = 0;
const ROOT_TRUNCATED: u32 = 1;
const FIRST_NODE: u32 = 2;

/// A node: a frame, with the node of its caller.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// The return address.
    pub(crate) address: u64,
    /// The caller's node.
    pub(crate) parent: u32,
    /// Number of the stack whose innermost frame is this node; 0 if there is no such stack.
    stack: u32,
}

/// The head of the store, at the start of a separate run of pages. Zeroed memory is not a valid store: see
/// [`Store::open`].
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Store {
    latch: Latch,
    nodes: AtomicU32,
    /// Number of distinct stacks, which is also the number of the last stack.
    stacks: AtomicU32,
    nodes_page: AtomicU32,
    nodes_capacity: AtomicU32,
    stacks_page: AtomicU32,
    stacks_capacity: AtomicU32,
    /// Number of nodes in the newest table.
    newest_len: AtomicU32,
    tables: [AtomicU32; TABLES],
}

fn pages_of(count: u32, bytes: usize) -> u32 {
    (count as usize * bytes).div_ceil(PAGE_BYTES) as u32
}

/// Returns how many items of `bytes` bytes may be placed in `pages`: the largest power of two that fits, but at most
/// `most`.
fn fitting(most: u32, bytes: usize, pages: u32) -> u32 {
    let mut count = most.next_power_of_two();
    while count > 1 && pages_of(count, bytes) > pages {
        count /= 2;
    }
    count.min(most)
}

impl Store {
    /// Makes a store. Returns the page of its head, or `None` without memory.
    pub(crate) fn open(pages: &Pages) -> Option<u32> {
        let page = pages.take(1, For::Stacks)?;
        let store = Store::at(pages, page);
        let share = (pages.reserved() / REGION_SHARE).max(1);
        let nodes = fitting(STACK_NODES_MAX, size_of::<Node>(), share);
        let stacks = fitting(STACKS_MAX + 1, 4, (share / REGION_SHARE).max(1));
        // relaxed, all: published with the page.
        let (nodes_page, stacks_page) =
            (pages.take_sparse(pages_of(nodes, size_of::<Node>()))?, pages.take_sparse(pages_of(stacks, 4))?);
        store.nodes_page.store(nodes_page, Ordering::Relaxed);
        store.nodes_capacity.store(nodes, Ordering::Relaxed);
        store.stacks_page.store(stacks_page, Ordering::Relaxed);
        store.stacks_capacity.store(stacks, Ordering::Relaxed);
        store.nodes.store(FIRST_NODE, Ordering::Relaxed);
        (pages.reach(nodes_page, 1) && pages.reach(stacks_page, 1)).then_some(page)
    }

    /// Returns the store whose head lies at `page`.
    pub(crate) fn at(pages: &Pages, page: u32) -> &Store {
        // SAFETY: V1, `open` took this page for a store; all zero bytes are valid for every field.
        unsafe { &*pages.at(page).cast::<Store>() }
    }

    /// Returns the number of a stack; assigns the next number to a new stack. `frames` and `scopes` begin with the
    /// innermost frame, and all of `scopes` are outside of `frames`. Returns `Some(None)` if there is no room, and
    /// `None` if the latch did not open within `patience`.
    pub(crate) fn intern(
        &self,
        pages: &Pages,
        frames: &[u64],
        scopes: &[u64],
        truncated: bool,
        patience: Patience,
    ) -> Option<Option<u32>> {
        let _taken = self.latch.take_within(patience)?;
        Some(self.number(pages, frames, scopes, truncated))
    }

    /// Returns the number of a stack; assigns the next number to a new stack. The caller holds the latch.
    fn number(&self, pages: &Pages, frames: &[u64], scopes: &[u64], truncated: bool) -> Option<u32> {
        let mut node = if truncated { ROOT_TRUNCATED } else { ROOT };
        for address in scopes.iter().rev().chain(frames.iter().rev()) {
            node = self.child(pages, node, *address)?;
        }
        if node < FIRST_NODE {
            return None;
        }
        let leaf = self.node(pages, node);
        // SAFETY: V1, the latch is held.
        let leaf = unsafe { &mut *leaf };
        if leaf.stack == 0 {
            // relaxed, here and below: the latch orders it.
            let number = self.stacks.load(Ordering::Relaxed) + 1;
            if number >= self.stacks_capacity.load(Ordering::Relaxed) {
                return None;
            }
            if !hold_another(pages, &self.stacks_page, number, 4) {
                return None;
            }
            // SAFETY: V1, the number is below the capacity.
            unsafe { self.leaves(pages).add(number as usize).write(node) };
            leaf.stack = number;
            self.stacks.store(number, Ordering::Relaxed);
        }
        Some(leaf.stack)
    }

    /// Returns the node of an address below its caller's node `parent`; makes the node if there is none.
    fn child(&self, pages: &Pages, parent: u32, address: u64) -> Option<u32> {
        let hash = hash_of(parent, address);
        // relaxed, all: the latch orders them.
        let tables = self.tables.iter().take_while(|page| page.load(Ordering::Relaxed) != 0).count();
        for table in (0..tables).rev() {
            let mut slot = hash;
            loop {
                let found = self.slot(pages, table, slot);
                // SAFETY: V1, the latch is held, and the slot lies in the table.
                let node = unsafe { *found };
                if node == 0 {
                    break;
                }
                // SAFETY: V1, a slot holds the number of a node.
                let known = unsafe { &*self.node(pages, node) };
                if known.address == address && known.parent == parent {
                    return Some(node);
                }
                slot += 1;
            }
        }
        let table = self.table_with_room(pages, tables)?;
        let number = self.nodes.load(Ordering::Relaxed);
        if number >= self.nodes_capacity.load(Ordering::Relaxed) {
            return None;
        }
        if !hold_another(pages, &self.nodes_page, number, size_of::<Node>()) {
            return None;
        }
        // SAFETY: V1, the number is below the capacity.
        unsafe { self.node(pages, number).write(Node { address, parent, stack: 0 }) };
        let mut slot = hash;
        // SAFETY: V1, the latch is held. The loop ends, because at most half of the slots are taken.
        while unsafe { *self.slot(pages, table, slot) } != 0 {
            slot += 1;
        }
        // SAFETY: V1, the latch is held, and the slot lies in the table.
        unsafe { *self.slot(pages, table, slot) = number };
        self.newest_len.store(self.newest_len.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.nodes.store(number + 1, Ordering::Relaxed);
        Some(number)
    }

    /// Returns the index of the newest table if it has room, otherwise the index of a new table.
    fn table_with_room(&self, pages: &Pages, tables: usize) -> Option<usize> {
        // relaxed: the latch orders it.
        if tables > 0 && self.newest_len.load(Ordering::Relaxed) < slots_of(tables - 1) / 2 {
            return Some(tables - 1);
        }
        let place = self.tables.get(tables)?;
        place.store(pages.take(pages_of(slots_of(tables), 4), For::Stacks)?, Ordering::Relaxed);
        self.newest_len.store(0, Ordering::Relaxed);
        Some(tables)
    }

    fn slot(&self, pages: &Pages, table: usize, slot: usize) -> *mut u32 {
        // relaxed: the latch orders it.
        let start = pages.at(self.tables[table].load(Ordering::Relaxed)).cast::<u32>();
        start.wrapping_add(slot & (slots_of(table) as usize - 1))
    }

    fn node(&self, pages: &Pages, node: u32) -> *mut Node {
        // relaxed: written before the store was published.
        pages.at(self.nodes_page.load(Ordering::Relaxed)).cast::<Node>().wrapping_add(node as usize)
    }

    fn leaves(&self, pages: &Pages) -> *mut u32 {
        // relaxed: written before the store was published.
        pages.at(self.stacks_page.load(Ordering::Relaxed)).cast::<u32>()
    }

    /// Returns the page of the nodes, and the page of the stacks' innermost nodes.
    pub(crate) fn places(&self) -> (u32, u32) {
        // relaxed: written before the store was published.
        (self.nodes_page.load(Ordering::Relaxed), self.stacks_page.load(Ordering::Relaxed))
    }

    /// Returns the number of distinct stacks and the number of nodes.
    pub(crate) fn counts(&self) -> (u32, u32) {
        // relaxed: the counts are bounds for readers.
        (self.stacks.load(Ordering::Relaxed), self.nodes.load(Ordering::Relaxed))
    }

    /// Copies the frames of a stack to `into`, innermost first, up to the length of `into`. Returns the number of
    /// copied frames, and whether outer frames are missing. Allocates nothing.
    pub(crate) fn frames(&self, pages: &Pages, number: u32, into: &mut [u64]) -> (usize, bool) {
        let _taken = self.latch.take();
        if number == 0 || number > self.counts().0 {
            return (0, false);
        }
        // SAFETY: V1, the stack's number is not above the count.
        let (mut count, mut at) = (0, unsafe { *self.leaves(pages).add(number as usize) });
        while at >= FIRST_NODE {
            let Some(place) = into.get_mut(count) else { return (count, true) };
            // SAFETY: V1, every node to which a stack leads is written.
            let node = unsafe { *self.node(pages, at) };
            *place = node.address;
            (count, at) = (count + 1, node.parent);
        }
        (count, at == ROOT_TRUNCATED)
    }
}

/// Returns the frames of a stack, innermost first, and whether the stack was truncated. `nodes` comes from a black box,
/// and `leaf` is the stack's innermost node there.
pub(crate) fn frames_of(nodes: &[Node], leaf: u32) -> (Vec<u64>, bool) {
    let (mut frames, mut at) = (Vec::new(), leaf);
    while at >= FIRST_NODE {
        // A caller's node is older than its callee's node, except in a damaged file.
        let Some(node) = nodes.get(at as usize).filter(|node| node.parent < at) else { break };
        frames.push(node.address);
        at = node.parent;
    }
    (frames, at == ROOT_TRUNCATED)
}

fn slots_of(table: usize) -> u32 {
    SLOTS_FIRST * GROWTH.pow(table as u32)
}

fn hash_of(parent: u32, address: u64) -> usize {
    let mixed = (address ^ u64::from(parent).rotate_left(40)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) as usize >> 24
}

/// Prepares item `number` of a growing table. If the item is the first on its page, makes the page accessible and
/// counts it as in use. Returns whether the item is accessible.
fn hold_another(pages: &Pages, start: &AtomicU32, number: u32, bytes: usize) -> bool {
    let per_page = (PAGE_BYTES / bytes) as u32;
    if number.is_multiple_of(per_page) || number == 1 || number == FIRST_NODE {
        // relaxed: written before the store was published.
        if !pages.reach(start.load(Ordering::Relaxed) + number / per_page, 1) {
            return false;
        }
        pages.hold(1, For::Stacks);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::ptr::NonNull;

    fn with_store(limit: u64, work: impl FnOnce(&Pages, &Store)) {
        let region: NonNull<Pages> = Pages::reserve(limit, size_of::<Pages>()).unwrap();
        // SAFETY: the region is released at the end of this function.
        let pages = unsafe { region.as_ref() };
        let page = Store::open(pages).unwrap();
        work(pages, Store::at(pages, page));
        Pages::release(region);
    }

    /// Returns stacks with common callers; nearly every step gives a new stack.
    fn stack_of(n: u64) -> (Vec<u64>, bool) {
        let mixed = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let depth = 2 + mixed % 12;
        let mut frames: Vec<u64> = (0..depth).map(|frame| 0x1000 + (n >> (2 * frame)) * 16 + frame).collect();
        frames.reverse();
        (frames, n.is_multiple_of(7))
    }

    #[test]
    fn equal_stacks_have_one_number_and_different_ones_two() {
        with_store(1 << 28, |pages, store| {
            let mut known: HashMap<(Vec<u64>, bool), u32> = HashMap::new();
            for n in (0..30_000u64).chain(0..30_000) {
                let stack = stack_of(n);
                let number = store.intern(pages, &stack.0, &[], stack.1, Patience::None).unwrap().unwrap();
                let next = known.len() as u32 + 1;
                let expected = *known.entry(stack).or_insert(next);
                assert_eq!(number, expected);
            }
            let (stacks, _) = store.counts();
            assert_eq!(stacks as usize, known.len());
            let mut frames = [0; 16];
            for (stack, number) in known {
                let (count, truncated) = store.frames(pages, number, &mut frames);
                assert_eq!((&frames[..count], truncated), (&stack.0[..], stack.1));
            }
        });
    }

    #[test]
    fn without_room_a_new_stack_gets_no_number_and_old_ones_keep_theirs() {
        with_store(1 << 22, |pages, store| {
            let mut last = 0;
            let full = (0..).find(|n| {
                let (frames, truncated) = stack_of(*n);
                match store.intern(pages, &frames, &[], truncated, Patience::None).unwrap() {
                    Some(number) => last = last.max(number),
                    None => return true,
                }
                false
            });
            assert!(full.is_some_and(|full| full > 100) && last > 100, "{full:?} {last}");
            let (frames, truncated) = stack_of(5);
            let number = store.intern(pages, &frames, &[], truncated, Patience::None).unwrap();
            assert!(number.is_some_and(|number| number <= last));
            assert_eq!(store.intern(pages, &[], &[], false, Patience::None), Some(None));
            let _taken = store.latch.take();
            assert_eq!(store.intern(pages, &frames, &[], truncated, Patience::None), None);
        });
    }
}
