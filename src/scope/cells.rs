//! A table that maps keys (ids of spans, addresses of source locations) to cells, which hold the figures of scopes.
//! Many threads read the table at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::recorder::internal::InternalScope;

/// Number of slots. A key fits only into the slot that its hash selects.
const SLOTS: usize = 4096;
/// Maximum number of keys in `further`.
const KEYS_MAX: usize = 65_536;

pub(super) struct Cells {
    slots: Box<[Slot]>,
    /// Cells of the keys whose slots other keys have taken.
    further: Mutex<HashMap<u64, u32>>,
    /// Number of keys in `further`.
    count: AtomicUsize,
}

#[derive(Default)]
struct Slot {
    /// 0 while the slot is free.
    key: AtomicU64,
    cell: AtomicU32,
}

impl Cells {
    pub(super) fn new() -> Cells {
        let _internal = InternalScope::enter();
        let slots = (0..SLOTS).map(|_| Slot::default()).collect();
        Cells { slots, further: Mutex::default(), count: AtomicUsize::new(0) }
    }

    #[inline]
    fn slot(&self, key: u64) -> &Slot {
        let hash = key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 52;
        &self.slots[hash as usize % SLOTS]
    }

    fn with_further<R>(&self, work: impl FnOnce(&mut HashMap<u64, u32>) -> R) -> R {
        let _internal = InternalScope::enter();
        let mut further = self.further.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut further);
        // relaxed: a thread receives a key only after the key was set.
        self.count.store(further.len(), Ordering::Relaxed);
        result
    }

    /// Returns the cell of a key; 0 for a key without a cell.
    #[inline]
    pub(super) fn get(&self, key: u64) -> u32 {
        let slot = self.slot(key);
        // relaxed, all: the operation by which a thread receives the key, such as sending a span or releasing a lock,
        // orders the entry.
        if slot.key.load(Ordering::Relaxed) == key {
            return slot.cell.load(Ordering::Relaxed);
        }
        match self.count.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.with_further(|further| further.get(&key).copied().unwrap_or(0)),
        }
    }

    /// Sets the cell of a key. Returns `false` if there is no room. `key` must not be 0, which marks an empty slot.
    pub(super) fn set(&self, key: u64, cell: u32) -> bool {
        let slot = self.slot(key);
        // relaxed, all: see `get`.
        let found = slot.key.compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed);
        if found.is_ok() || found == Err(key) {
            slot.cell.store(cell, Ordering::Relaxed);
            return true;
        }
        self.with_further(|further| {
            let has_room = further.len() < KEYS_MAX || further.contains_key(&key);
            if has_room {
                further.insert(key, cell);
            }
            has_room
        })
    }

    /// Removes a key.
    pub(super) fn remove(&self, key: u64) {
        let slot = self.slot(key);
        // relaxed, all: see `get`.
        if slot.key.load(Ordering::Relaxed) == key {
            slot.key.store(0, Ordering::Relaxed);
        } else if self.count.load(Ordering::Relaxed) != 0 {
            self.with_further(|further| further.remove(&key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_keeps_its_cell_however_many_there_are() {
        let cells = Cells::new();
        for key in 1..=20_000u64 {
            assert!(cells.set(key, key as u32 + 7));
        }
        assert!((1..=20_000).all(|key| cells.get(key) == key as u32 + 7));
        assert!(cells.set(5, 1) && cells.get(5) == 1);
        (1..=20_000).for_each(|key| cells.remove(key));
        assert!((1..=20_000).all(|key| cells.get(key) == 0));
        assert!(cells.set(3, 9) && cells.get(3) == 9);
    }

    #[test]
    fn there_is_room_for_a_number_of_keys_only() {
        let cells = Cells::new();
        let taken = (1..=100_000u64).filter(|key| cells.set(*key, 1)).count();
        assert!((KEYS_MAX..=KEYS_MAX + SLOTS).contains(&taken), "{taken}");
    }
}
