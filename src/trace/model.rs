//! The model that writer and reader share. The model predicts the next record from the previous records, so that few
//! bits are written.
//!
//! Most allocators reuse freed blocks for the next allocations of their size class, the last freed block first, and
//! place new blocks of a class next to each other. Most programs free the block that they have just allocated, or the
//! parts of a structure in the order of their allocation. The model predicts these patterns. The model is empty at the
//! start of every frame, so that a frame can be read separately.
//!
//! After a wrong prediction, the record takes more bytes, but is still exact.

use crate::replay::SizeBits;

/// Number of thread states. Threads beyond this number share states.
const ROWS: usize = 16;
/// Number of size classes. A class spans 16 bytes. All larger sizes are in the last class.
const CLASSES: usize = 66;
/// Number of freed blocks that a class keeps; a power of two.
const DEPTH: usize = 32;
/// Number of freed blocks of a class that a search looks at.
const LOOK: usize = 12;

/// State of one thread.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RowState {
    /// Address of the newest allocation.
    pub(super) newest: u64,
    /// Address directly after the newest allocation, where the next block is expected.
    pub(super) behind: u64,
    /// Number, in this frame, of the block that was freed last.
    pub(super) freed: u32,
    /// Address of the last freed block that was allocated before this frame.
    pub(super) earlier: u64,
    /// Old address of the realloc that began last.
    pub(super) begun: u64,
}

/// The most recently freed blocks of one class.
#[derive(Debug, Clone, Copy)]
struct Freed {
    addresses: [u64; DEPTH],
    top: u32,
    count: u32,
}

impl Freed {
    const EMPTY: Freed = Freed { addresses: [0; DEPTH], top: 0, count: 0 };

    fn push(&mut self, address: u64) {
        self.top = (self.top + 1) % DEPTH as u32;
        self.count = (self.count + 1).min(DEPTH as u32);
        self.addresses[self.top as usize] = address;
    }

    /// Returns the address of the block freed `depth` frees before the last one, if the class still keeps it.
    fn at(&self, depth: usize) -> Option<u64> {
        let place = (self.top as usize + DEPTH - depth % DEPTH) % DEPTH;
        (depth < self.count as usize).then(|| self.addresses[place])
    }

    fn remove(&mut self, depth: usize) {
        for above in (0..depth.min(self.count as usize)).rev() {
            let place = (self.top as usize + DEPTH - above) % DEPTH;
            self.addresses[(place + DEPTH - 1) % DEPTH] = self.addresses[place];
        }
        if self.count > 0 {
            self.top = (self.top + DEPTH as u32 - 1) % DEPTH as u32;
            self.count -= 1;
        }
    }
}

/// The prediction that gives the address of an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// The block of the class that was freed last.
    Reused,
    /// The block of the class that was freed this many frees before the last one.
    ReusedDeep(usize),
    /// The address directly after the newest allocation of the thread.
    Behind,
    /// No prediction gives the address.
    Far,
}

/// The states of all threads and classes.
#[derive(Debug)]
pub(super) struct Model {
    rows: [RowState; ROWS],
    freed: Vec<Freed>,
}

impl Model {
    pub(super) fn new() -> Model {
        Model { rows: [RowState::default(); ROWS], freed: vec![Freed::EMPTY; ROWS * CLASSES] }
    }

    /// Clears the model at the start of a frame.
    pub(super) fn start_over(&mut self) {
        self.rows = [RowState::default(); ROWS];
        for freed in &mut self.freed {
            freed.count = 0;
        }
    }

    #[inline]
    pub(super) fn row(&mut self, row: u32) -> &mut RowState {
        &mut self.rows[row as usize % ROWS]
    }

    fn freed_of(&mut self, row: u32, bits: SizeBits) -> &mut Freed {
        &mut self.freed[row as usize % ROWS * CLASSES + class_of(bits)]
    }

    /// Returns the prediction that gives `address`.
    #[inline]
    pub(super) fn find(&mut self, row: u32, bits: SizeBits, address: u64) -> Placed {
        let freed = self.freed_of(row, bits);
        if freed.at(0) == Some(address) {
            return Placed::Reused;
        }
        if self.row(row).behind == address {
            return Placed::Behind;
        }
        let freed = self.freed_of(row, bits);
        match (1..LOOK).find(|depth| freed.at(*depth) == Some(address)) {
            Some(depth) => Placed::ReusedDeep(depth),
            None => Placed::Far,
        }
    }

    /// Returns the address that a prediction gives, or `None` if the prediction gives no address.
    #[inline]
    pub(super) fn address(&mut self, row: u32, bits: SizeBits, placed: Placed) -> Option<u64> {
        match placed {
            Placed::Reused => self.freed_of(row, bits).at(0),
            Placed::ReusedDeep(depth) => self.freed_of(row, bits).at(depth),
            Placed::Behind => Some(self.row(row).behind),
            Placed::Far => None,
        }
    }

    /// Updates the model with an allocation.
    #[inline]
    pub(super) fn allocated(&mut self, row: u32, bits: SizeBits, size: u64, address: u64, placed: Placed) {
        let freed = self.freed_of(row, bits);
        match placed {
            Placed::Reused => freed.remove(0),
            Placed::ReusedDeep(depth) => freed.remove(depth),
            Placed::Behind => {}
            // The prediction `Reused` was wrong, so its block is dropped.
            Placed::Far => freed.remove(0),
        }
        let state = self.row(row);
        state.newest = address;
        state.behind = address.wrapping_add(chunk_of(size));
    }

    /// Updates the model with a free.
    #[inline]
    pub(super) fn released(&mut self, row: u32, bits: SizeBits, address: u64) {
        self.freed_of(row, bits).push(address);
    }
}

/// Returns the number of bytes that a block of this size takes in common allocators.
fn chunk_of(size: u64) -> u64 {
    (size.saturating_add(8 + 15) & !15).max(32)
}

/// Returns the class of a size, from the size bits that a free carries.
fn class_of(bits: SizeBits) -> usize {
    ((chunk_of(bits.0 & 0xfff) / 16) as usize).min(CLASSES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freed_blocks_come_back_newest_first_and_from_any_depth() {
        let mut model = Model::new();
        let bits = SizeBits::of(40);
        for address in [100, 200, 300, 400] {
            model.released(5, bits, address);
        }
        assert_eq!(model.find(5, bits, 400), Placed::Reused);
        let deep = model.find(5, bits, 200);
        assert_eq!((deep, model.address(5, bits, deep)), (Placed::ReusedDeep(2), Some(200)));
        model.allocated(5, bits, 40, 200, deep);
        let left = [0, 1, 2, 3].map(|depth| model.freed_of(5, bits).at(depth));
        assert_eq!(left, [Some(400), Some(300), Some(100), None]);
        assert_eq!(model.find(5, SizeBits::of(400), 400), Placed::Far);
        assert_eq!(model.find(6, bits, 400), Placed::Far);
    }

    #[test]
    fn more_blocks_than_are_remembered_push_out_the_oldest() {
        let mut model = Model::new();
        let bits = SizeBits::of(8);
        for address in 1..=DEPTH as u64 + 3 {
            model.released(0, bits, address);
        }
        let freed = model.freed_of(0, bits);
        assert_eq!((freed.at(0), freed.at(DEPTH - 1), freed.at(DEPTH)), (Some(35), Some(4), None));
        for _ in 0..2 * DEPTH {
            freed.remove(0);
        }
        assert_eq!(freed.at(0), None);
    }

    #[test]
    fn a_block_behind_the_newest_is_found_by_its_size_class() {
        let mut model = Model::new();
        model.allocated(0, SizeBits::of(40), 40, 4096, Placed::Far);
        assert_eq!(model.find(0, SizeBits::of(7), 4096 + 48), Placed::Behind);
        model.start_over();
        assert_eq!(model.find(0, SizeBits::of(7), 4096 + 48), Placed::Far);
    }
}
