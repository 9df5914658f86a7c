//! Units of 64 bytes, in which a site keeps the figures that few sites have.
//!
//! Most sites allocate a few times: blocks of few sizes, with similar lifetimes. The counts of such a site fit into its
//! [`SiteCell`](super::sites::SiteCell). Other sites take units when they first need them:
//!
//! * one for the sums of reallocs and of frees by other threads;
//! * one, the *directory*, for the counts that do not fit into the cell. The directory has the number of a further unit
//!   for each group of eight buckets with such counts;
//! * a run of units for its curve, if the site is large (`curves`).
//!
//! Units are never given back. Number 0 means no unit. Invariant **S2**: a unit belongs to one site, and is accessed
//! under the latch of that site's stripe, or under the latches of all lanes.

use crate::sys::pages::{PAGE_BYTES, Pages};
use crate::sys::sync::{AtomicU32, Ordering};

/// Maximum number of units. A site that gets no more units adds its rare sums and further counts to the last site.
pub(crate) const SITE_UNITS_MAX: u32 = 1 << 22;
/// Divisor of the region's pages: units may occupy one eighth of the region.
const REGION_SHARE: u32 = 8;

/// A unit of 64 bytes.
pub(crate) type Unit = [u64; 8];

const UNITS_PER_PAGE: u32 = (PAGE_BYTES / size_of::<Unit>()) as u32;

/// All units. All zero bytes are a valid start; [`Units::open`] takes their run.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Units {
    page: AtomicU32,
    capacity: AtomicU32,
    /// Number of the last unit taken.
    taken: AtomicU32,
}

impl Units {
    /// Takes the run of the units. The run is address space only until units are taken.
    pub(super) fn open(&self, pages: &Pages) -> bool {
        let mut capacity = SITE_UNITS_MAX;
        while capacity.div_ceil(UNITS_PER_PAGE).next_power_of_two() > pages.reserved() / REGION_SHARE
            && capacity > 1
        {
            capacity /= 2;
        }
        let Some(page) = pages.take_sparse(capacity.div_ceil(UNITS_PER_PAGE)) else {
            return false;
        };
        // relaxed, both: published with the ledger.
        self.page.store(page, Ordering::Relaxed);
        self.capacity.store(capacity, Ordering::Relaxed);
        true
    }

    /// Takes `count` adjacent units, filled with zeros, and returns the number of the first.
    pub(super) fn take(&self, pages: &Pages, count: u32) -> Option<u32> {
        // relaxed, all: the update of the number alone decides which site gets a unit, and the run was published with
        // the ledger.
        let (run, capacity) = (self.page.load(Ordering::Relaxed), self.capacity.load(Ordering::Relaxed));
        let reached = |taken: u32| {
            let last = taken.checked_add(count).filter(|last| *last < capacity)?;
            let (first_page, last_page) = ((taken + 1) / UNITS_PER_PAGE, last / UNITS_PER_PAGE);
            pages.reach(run + first_page, last_page - first_page + 1).then_some(last)
        };
        let taken = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reached);
        taken.ok().map(|taken| taken + 1)
    }

    /// Returns the address of a unit that was taken.
    pub(super) fn at(&self, pages: &Pages, unit: u32) -> *mut Unit {
        // relaxed: written before the ledger was published.
        pages.at(self.page.load(Ordering::Relaxed)).cast::<Unit>().wrapping_add(unit as usize)
    }

    /// Returns the first page of the units, and the number of units in use, including unit 0.
    pub(crate) fn place(&self) -> (u32, u32) {
        // relaxed, both: a bound for readers.
        (self.page.load(Ordering::Relaxed), self.taken.load(Ordering::Relaxed).saturating_add(1))
    }

    /// Returns the bytes of the pages that hold units.
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.place().1.div_ceil(UNITS_PER_PAGE)) * PAGE_BYTES as u64
    }
}
