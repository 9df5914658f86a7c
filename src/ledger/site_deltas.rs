//! The table of a lane's site deltas. A delta has the sums of the lane's events at one site that are not yet added to
//! the site.
//!
//! Invariant **Y1**: the selected delta (`FoldState::delta`) and all deltas of the table are accessed under the latch
//! of their lane only. The table is a run of pages of the lane, and is valid as long as its page is in `SiteDeltas`.

use super::site_delta::SiteDelta;
use crate::sys::pages::{PAGE_BYTES, Pages};

/// Number of deltas of a lane's first table: those that fit into a page, rounded down to a power of two.
pub(crate) const SITE_DELTAS_MIN: u32 = 4;
/// Number of deltas of the largest table.
pub(crate) const SITE_DELTAS_MAX: u32 = 512;

/// Factor of a hash that places neighbouring numbers far from each other: 2³² divided by the golden ratio.
const SPREAD: u32 = 0x9E37_79B9;

/// Page and size of a lane's table, with numbers of the lane's high-water marks. All zero bytes mean that there is no
/// table yet.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SiteDeltas {
    pub(crate) page: u32,
    pub(crate) slots: u32,
    /// Number of times that another stack took the place of a delta, so that the delta was added to its site early.
    /// Counted since the last attempt to enlarge the table. A high number makes the table grow.
    pub(crate) pushed_out: u32,
    /// Number of high-water marks that the lane has reached.
    pub(crate) high_water_number: u64,
    /// Number of the process's peak that corresponds to the latest high-water mark.
    pub(crate) peak_number: u64,
    /// Date of the deltas, in nanoseconds. It is in the same span of the sites' curves as the events of the deltas.
    pub(crate) dated_ns: u64,
    /// End of that span, in nanoseconds. The deltas are added to their sites before a later event is booked.
    pub(crate) dated_until_ns: u64,
}

impl SiteDeltas {
    /// Returns the page of the table and its number of deltas; 0 deltas while there is no table.
    pub(crate) fn place(&self) -> (u32, u32) {
        (self.page, self.slots)
    }

    /// Returns the first delta of the table.
    pub(crate) fn start(&self, pages: &Pages) -> *mut SiteDelta {
        pages.at(self.page).cast::<SiteDelta>()
    }

    /// Returns the place of a stack in the table.
    pub(crate) fn place_of(&self, stack: u32) -> usize {
        (stack.wrapping_mul(SPREAD) >> (u32::BITS - self.slots.trailing_zeros())) as usize
    }
}

/// Access to the table of a lane, for a loop in which the lane reaches no new high-water mark.
#[derive(Clone, Copy)]
pub(crate) struct KnownDeltas {
    start: *mut SiteDelta,
    shift: u32,
    high_water_number: u64,
}

impl SiteDeltas {
    /// Returns access to the table, which must exist.
    #[inline(always)]
    pub(crate) fn known(&self, pages: &Pages) -> KnownDeltas {
        let shift = (u32::BITS - self.slots.trailing_zeros()) % u32::BITS;
        KnownDeltas { start: self.start(pages), shift, high_water_number: self.high_water_number }
    }
}

impl KnownDeltas {
    /// Returns the delta of a stack after a call of [`SiteDelta::follow_mark`]. Returns `None` if the delta is not in
    /// the table or may soon overflow.
    #[inline(always)]
    pub(crate) fn find(&self, stack: u32) -> Option<*mut SiteDelta> {
        let at = self.start.wrapping_add((stack.wrapping_mul(SPREAD) >> self.shift) as usize);
        // SAFETY: Y1, the caller holds the lane's latch, and the table has slots.
        let delta = unsafe { &mut *at };
        // An unused slot has stack 0, so stack 0 itself has no slot.
        if stack == 0 || delta.stack != stack || delta.may_be_heavy() {
            return None;
        }
        delta.follow_mark(self.high_water_number);
        Some(at)
    }
}

pub(crate) fn pages_of(slots: u32) -> u32 {
    (slots as usize * size_of::<SiteDelta>()).div_ceil(PAGE_BYTES) as u32
}
