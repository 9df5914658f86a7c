//! The table of a lane's site deltas.
//!
//! Invariant **Y1**: the selected delta and all deltas of the table are accessed under the latch of their lane only;
//! the table is a run of this lane, and lives as long as it is in `SiteDeltas`.

use super::site_delta::SiteDelta;
use crate::sys::pages::{PAGE_BYTES, Pages};

/// Number of deltas of a lane's first table: those that fit into a page, rounded down to a power of two.
pub(crate) const SITE_DELTAS_MIN: u32 = 4;
/// Number of deltas of the largest table.
pub(crate) const SITE_DELTAS_MAX: u32 = 512;

/// Page and size of a lane's table, and its high-water marks. All zero bytes mean that there is no table yet.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SiteDeltas {
    pub(crate) page: u32,
    pub(crate) slots: u32,
    /// Number of deltas committed since the last growth because another stack needed their place.
    pub(crate) pushed_out: u32,
    /// Number of high-water marks that the lane has reached.
    pub(crate) high_water_number: u64,
    /// Number of the process's peak for which the latest mark stands.
    pub(crate) peak_number: u64,
    /// Date of the deltas: a time in the span of the sites' curves in which their events lie.
    pub(crate) dated_ns: u64,
    /// End of that span. The deltas are committed before an event that is later.
    pub(crate) dated_until_ns: u64,
}

impl SiteDeltas {
    /// Returns the page and the number of deltas of the table.
    pub(crate) fn place(&self) -> (u32, u32) {
        (self.page, self.slots)
    }

    /// Returns the first delta of the table.
    pub(crate) fn start(&self, pages: &Pages) -> *mut SiteDelta {
        pages.at(self.page).cast::<SiteDelta>()
    }

    /// Returns the place of a stack in the table.
    pub(crate) fn place_of(&self, stack: u32) -> usize {
        (stack.wrapping_mul(0x9E37_79B9) >> (u32::BITS - self.slots.trailing_zeros())) as usize
    }
}

pub(crate) fn pages_of(slots: u32) -> u32 {
    (slots as usize * size_of::<SiteDelta>()).div_ceil(PAGE_BYTES) as u32
}
