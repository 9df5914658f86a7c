//! The places where holders were made: a hash table of pairs of pointer and place, with counts of the holders made and
//! ended.
//!
//! A row is claimed by one atomic exchange and never released. A holder stores the number of its row, so its end is
//! counted by one addition. If a search finds no row within [`PROBES`] steps, the holder is only counted.

use std::panic::Location;

use super::statics::{Owner, Pair};
use crate::sys::sync::{AtomicU64, Ordering};

/// Maximum number of rows that a search looks at.
const PROBES: u64 = 16;

/// A row: the holders of one pointer that were made at one place.
#[derive(Debug)]
struct Row {
    owner: Owner,
    made: AtomicU64,
    gone: AtomicU64,
}

impl Row {
    const fn empty() -> Row {
        Row { owner: Owner::none(), made: AtomicU64::new(0), gone: AtomicU64::new(0) }
    }
}

/// The table of places.
#[derive(Debug)]
pub(super) struct Places<const ROWS: usize> {
    rows: [Row; ROWS],
    /// Number of holders without a row.
    unplaced: AtomicU64,
}

impl<const ROWS: usize> Places<ROWS> {
    pub(super) const fn empty() -> Self {
        Places { rows: [const { Row::empty() }; ROWS], unplaced: AtomicU64::new(0) }
    }

    /// Counts a holder that is made at `place`. Returns the row of the holder, or `None` if the table has no room.
    pub(super) fn enter(&self, pointer: u32, place: &'static Location<'static>) -> Option<u32> {
        let row = self.row(pointer, place);
        // relaxed, both: counts, exact once their writers have ended.
        match row {
            Some(row) => self.rows[row as usize].made.fetch_add(1, Ordering::Relaxed),
            None => self.unplaced.fetch_add(1, Ordering::Relaxed),
        };
        row
    }

    /// Counts the end of a holder.
    pub(super) fn leave(&self, row: u32) {
        // relaxed: a count.
        self.rows[row as usize].gone.fetch_add(1, Ordering::Relaxed);
    }

    fn row(&self, pointer: u32, place: &'static Location<'static>) -> Option<u32> {
        let pair = Pair::new(pointer, place)?;
        let first = pair.hash();
        let mut steps = (0..PROBES).map(|step| (first.wrapping_add(step) % ROWS as u64) as u32);
        steps.find(|row| self.rows[*row as usize].owner.is_or_becomes(pair))
    }

    pub(super) fn unplaced(&self) -> u64 {
        // relaxed: a count.
        self.unplaced.load(Ordering::Relaxed)
    }

    /// Returns the content of every row: pointer, place, number of holders made, and number of holders that still
    /// exist.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &'static Location<'static>, u64, u64)> + '_ {
        self.rows.iter().filter_map(|row| {
            let (pointer, place) = row.owner.get()?;
            // relaxed, both: counts. Ends are read first, because each holder that has ended was counted as made
            // before.
            let gone = row.gone.load(Ordering::Relaxed);
            let made = row.made.load(Ordering::Relaxed);
            Some((pointer, place, made, made.saturating_sub(gone)))
        })
    }
}
