//! The table of a lane's site deltas.
//!
//! Invariant **Y1**: the selected delta and all deltas of the table are touched under the latch of their lane only; the
//! table is a run of this lane's, and lives as long as it is in `SiteDeltas`.

use super::sites::SiteDelta;
use crate::sys::pages::{PAGE_BYTES, Pages};

/// Deltas of a lane's first table: as many as fit into a page, rounded down to a power of two.
pub(crate) const SITE_DELTAS_MIN: u32 = 4;
/// Deltas of the largest table.
pub(crate) const SITE_DELTAS_MAX: u32 = 512;

/// Page and size of a lane's table, and its high-water marks. All zero bytes mean that there is no table yet.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SiteDeltas {
    pub(crate) page: u32,
    pub(crate) slots: u32,
    /// Deltas committed since the last growth because another stack needed their place.
    pub(crate) pushed_out: u32,
    /// High-water marks that the lane has reached.
    pub(crate) high_water_number: u64,
    /// Number of the process's peak that the latest mark stands for.
    pub(crate) peak_number: u64,
}

impl SiteDeltas {
    /// The page and the number of deltas of the table.
    pub(crate) fn place(&self) -> (u32, u32) {
        (self.page, self.slots)
    }

    /// The first delta of the table.
    pub(crate) fn start(&self, pages: &Pages) -> *mut SiteDelta {
        pages.at(self.page).cast::<SiteDelta>()
    }

    /// The place of a stack in the table.
    pub(crate) fn place_of(&self, stack: u32) -> usize {
        (stack.wrapping_mul(0x9E37_79B9) >> (u32::BITS - self.slots.trailing_zeros())) as usize
    }
}

pub(crate) fn pages_of(slots: u32) -> u32 {
    (slots as usize * size_of::<SiteDelta>()).div_ceil(PAGE_BYTES) as u32
}
