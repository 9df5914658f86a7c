//! Sites: the sums of each call stack. All threads share the sites.
//!
//! A site has a cell of 128 bytes, with the sums that every site needs and room for nine counts of its histograms.
//! Rarer figures are in units of 64 bytes (`site_units`), which a site takes when it first needs them.
//!
//! Invariant **S1**: a site is accessed only while its pages are accessible, and only under the latch of its stripe
//! (the sites with the same number modulo 64) or under the latches of all lanes. The latches of all lanes are enough
//! because each commit holds the latch of a lane. The run of sites is never given back.

use super::curves::{CURVE_UNITS, CURVES_PER_STRIPE, Curve, Dated};
use super::site_cell::{Directory, GROUP, GROUPS, SiteCell};
use super::site_delta::{IN_SCOPE, RareSums, SiteDelta, Sums};
use super::site_figures::SiteFigures;
use super::site_units::{Unit, Units};
use crate::sys::latch::Latch;
use crate::sys::pages::{PAGE_BYTES, Pages};
use crate::sys::sync::{AtomicU32, Ordering};

/// Maximum number of sites. All further stacks share the last site. A small region has fewer sites.
pub(crate) const SITES_MAX: u32 = 1 << 20;
/// Divisor of the region's pages: sites may occupy one eighth of the region, and their units another eighth.
const REGION_SHARE: u32 = 8;
/// Number of latches of the sites: one for each residue of the site's number.
const STRIPES: usize = 64;
/// All sites. All zero bytes are a valid start; [`Sites::open`] takes the pages of the sites.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Sites {
    page: AtomicU32,
    /// Number of sites for which the pages have room.
    capacity: AtomicU32,
    /// Number of the highest site in use, plus one.
    count: AtomicU32,
    units: Units,
    stripes: [Latch; STRIPES],
    /// Number of the first unit of each curve, by stripe; 0 in a place without a curve.
    curves: [[AtomicU32; CURVES_PER_STRIPE]; STRIPES],
}

const CELLS_PER_PAGE: u32 = (PAGE_BYTES / size_of::<SiteCell>()) as u32;

impl Sites {
    /// Takes the pages of the sites and of their units, up to their shares of the region. A page is only address space
    /// until a site in it is used. The last site, which further stacks share, gets all its units at once. Returns
    /// `false` if there is no memory.
    pub(crate) fn open(&self, pages: &Pages) -> bool {
        let mut capacity = SITES_MAX;
        // Runs have sizes of powers of two.
        while capacity.div_ceil(CELLS_PER_PAGE).next_power_of_two() > pages.reserved() / REGION_SHARE
            && capacity > 1
        {
            capacity /= 2;
        }
        let Some(page) = pages.take_sparse(capacity.div_ceil(CELLS_PER_PAGE)) else {
            return false;
        };
        // relaxed, both: published with the ledger.
        self.page.store(page, Ordering::Relaxed);
        self.capacity.store(capacity, Ordering::Relaxed);
        if !pages.reach(self.page_of(capacity - 1), 1) || !self.units.open(pages) {
            return false;
        }
        // SAFETY: S1, no other thread can reach the sites yet.
        let cell = unsafe { &mut *self.cell(pages, capacity - 1) };
        self.rare(pages, cell).is_some() && (0..GROUPS).all(|group| self.group(pages, cell, group).is_some())
    }

    /// Returns the page of a site.
    fn page_of(&self, site: u32) -> u32 {
        // relaxed: written before the ledger was published.
        self.page.load(Ordering::Relaxed) + site / CELLS_PER_PAGE
    }

    /// Adds a delta to its site and empties the delta. `high_water_number` is the number of the lane's latest
    /// high-water mark, and `peak_number` is the number of the corresponding peak. `dated` is the date of the delta.
    pub(crate) fn commit(
        &self,
        pages: &Pages,
        delta: &mut SiteDelta,
        (high_water_number, peak_number): (u64, u64),
        dated: Dated,
    ) {
        // relaxed: written before the ledger was published.
        let last = self.capacity.load(Ordering::Relaxed) - 1;
        let own = (delta.stack & !IN_SCOPE).min(last);
        // Without memory for its site, a delta belongs to the last site.
        let site = if pages.reach(self.page_of(own), 1) { own } else { last };
        // relaxed: a bound for readers, who read the sites under their latches.
        if self.count.load(Ordering::Relaxed) <= site {
            self.count.fetch_max(site + 1, Ordering::Relaxed);
        }
        if !self.add(pages, site, |cell| {
            let is_new = cell.total_blocks == 0;
            cell.add(delta, high_water_number, peak_number);
            self.add_to_curve(pages, site, cell, &delta.sums, is_new, dated);
            self.add_rest(pages, cell, delta)
        }) {
            // The units of the last site were taken at the start.
            self.count.fetch_max(last + 1, Ordering::Relaxed);
            self.add(pages, last, |cell| self.add_rest(pages, cell, delta));
        }
        delta.sums = Sums::default();
        delta.high_water_bytes = 0;
        (delta.high_water_number, delta.at_high_water_bytes, delta.at_high_water_blocks) =
            (high_water_number, 0, 0);
    }

    /// Runs `work` on a site under the latch of its stripe.
    #[inline(always)]
    fn add<R>(&self, pages: &Pages, site: u32, work: impl FnOnce(&mut SiteCell) -> R) -> R {
        let _taken = self.stripes[site as usize % STRIPES].take();
        // SAFETY: S1, the stripe's latch gives us the cell.
        work(unsafe { &mut *self.cell(pages, site) })
    }

    /// Moves the rare sums and the counts of a delta to a site. Returns `false` if there were not enough units;
    /// figures without a unit are then still in the delta.
    fn add_rest(&self, pages: &Pages, cell: &mut SiteCell, delta: &mut SiteDelta) -> bool {
        let mut is_whole = true;
        let sums = &delta.sums;
        if sums.cross_thread_frees | sums.reallocs | sums.chains | sums.chain_links | sums.moved != 0 {
            match self.rare(pages, cell) {
                // SAFETY: S2, the latch of the site is held.
                Some(rare) => unsafe { &mut *rare }.add(&delta.take_rare()),
                None => is_whole = false,
            }
        }
        let groups = delta.sizes.chunks_exact_mut(GROUP).chain(delta.lifetimes.chunks_exact_mut(GROUP));
        for (group, counts) in groups.enumerate() {
            if counts.iter().fold(0, |any, count| any | *count) == 0 {
                continue;
            }
            for (place, count) in counts.iter_mut().enumerate().filter(|(_, count)| **count != 0) {
                // Sign-extended, because the count is negative if a block was subtracted again.
                let change = i64::from(*count as i32);
                if cell.add_few(group * GROUP + place, change) {
                    *count = 0;
                } else if let Some(unit) = self.group(pages, cell, group) {
                    // SAFETY: S2, as above.
                    let sum = &mut unsafe { &mut *unit }[place];
                    *sum = sum.wrapping_add(change as u64);
                    *count = 0;
                } else {
                    is_whole = false;
                }
            }
        }
        is_whole
    }

    /// Adds a change of a site's live bytes to the site's curve. A large site without a curve gets a curve. The caller
    /// holds the latch of the site's stripe.
    fn add_to_curve(
        &self,
        pages: &Pages,
        site: u32,
        cell: &mut SiteCell,
        sums: &Sums,
        is_new: bool,
        dated: Dated,
    ) {
        let live = cell.live().0;
        if cell.curve == 0 && live >= dated.large_bytes as i64 {
            let (start_bytes, since_ns) =
                if is_new { (0, 0) } else { (live - sums.live_bytes(), dated.at_ns) };
            cell.curve = self.curve_for(pages, site, live).unwrap_or(0);
            if let Some(curve) = self.curve(pages, cell.curve) {
                curve.begin(site, start_bytes, since_ns);
            }
        }
        if let Some(curve) = self.curve(pages, cell.curve) {
            curve.add(dated.at_ns, sums.live_bytes());
        }
    }

    /// Returns the first unit for a new curve of a site with `live` bytes. If the stripe has its maximum number of
    /// curves, the smallest site with a curve loses its units, provided that `site` is at least twice as large.
    #[cold]
    fn curve_for(&self, pages: &Pages, site: u32, live: i64) -> Option<u32> {
        let curves = &self.curves[site as usize % STRIPES];
        // relaxed, all: the latch of the stripe orders the accesses.
        if let Some(place) = curves.iter().find(|curve| curve.load(Ordering::Relaxed) == 0) {
            let units = self.units.take(pages, CURVE_UNITS)?;
            place.store(units, Ordering::Relaxed);
            return Some(units);
        }
        let held = curves.iter().filter_map(|curve| {
            let units = curve.load(Ordering::Relaxed);
            let other = self.cell(pages, self.curve(pages, units)?.site());
            // SAFETY: S1, the site is of the same stripe. It is not the site of the caller, because that site has no
            // curve.
            Some((unsafe { &*other }.live().0, units, other))
        });
        let (bytes, units, other) = held.min_by_key(|(bytes, ..)| *bytes)?;
        if bytes.max(0) > live / 2 {
            return None;
        }
        // SAFETY: as above.
        unsafe { &mut *other }.curve = 0;
        Some(units)
    }

    /// Returns the curve that begins at the unit `units`, or `None` for unit 0. The caller holds the latch of the
    /// curve's stripe.
    #[allow(clippy::mut_from_ref, reason = "the curve lies in the region, and the latch gives it to us")]
    fn curve(&self, pages: &Pages, units: u32) -> Option<&mut Curve> {
        // SAFETY: S2, the units were taken for a curve.
        (units != 0).then(|| unsafe { &mut *self.units.at(pages, units).cast::<Curve>() })
    }

    /// Returns the unit of a site's rare sums. Takes a unit if the site has none for them.
    fn rare(&self, pages: &Pages, cell: &mut SiteCell) -> Option<*mut RareSums> {
        if cell.rare == 0 {
            cell.rare = self.units.take(pages, 1)?;
        }
        Some(self.units.at(pages, cell.rare).cast())
    }

    /// Returns the unit of a group of a site's buckets. Takes a unit if the group has none.
    fn group(&self, pages: &Pages, cell: &mut SiteCell, group: usize) -> Option<*mut Unit> {
        if cell.directory == 0 {
            cell.directory = self.units.take(pages, 1)?;
        }
        let directory = self.units.at(pages, cell.directory).cast::<Directory>();
        // SAFETY: S2, the caller holds the latch of the site's stripe.
        let unit = &mut unsafe { &mut *directory }.groups[group];
        if *unit == 0 {
            *unit = self.units.take(pages, 1)?;
        }
        Some(self.units.at(pages, *unit))
    }

    /// Returns the number of sites in use.
    pub(crate) fn count(&self) -> u32 {
        // relaxed: a bound.
        self.count.load(Ordering::Relaxed)
    }

    /// Returns the sums of a site without the rare sums, or `None` if the site's page is not accessible.
    pub(crate) fn sums(&self, pages: &Pages, site: u32) -> Option<Sums> {
        pages.is_reached(self.page_of(site), 1).then(|| self.add(pages, site, |cell| cell.sums()))
    }

    /// Copies all sites and their units, if the vectors have room for them. The caller holds the latches of all lanes.
    /// Allocates nothing.
    pub(crate) fn copy(&self, pages: &Pages, into: &mut SitesCopy) -> bool {
        let (count, units) = (self.count(), self.units.place().1);
        if count as usize > into.cells.capacity() || units as usize > into.units.capacity() {
            return false;
        }
        into.cells.extend((0..count).map(|site| {
            // A site that is not accessible had no event.
            if !pages.is_reached(self.page_of(site), 1) {
                return SiteCell::default();
            }
            // SAFETY: S1, the latches of all lanes are held.
            unsafe { *self.cell(pages, site) }
        }));
        into.units.push(Unit::default());
        // SAFETY: S2, as above; the units that were taken are accessible.
        into.units.extend((1..units).map(|unit| unsafe { *self.units.at(pages, unit) }));
        true
    }

    /// Returns the page of the sites, the number of sites that fit, and the number of sites in use.
    pub(crate) fn place(&self) -> (u32, u32, u32) {
        // relaxed, both: written before the ledger was published.
        (self.page.load(Ordering::Relaxed), self.capacity.load(Ordering::Relaxed), self.count())
    }

    /// Returns the number of the first unit of each curve.
    pub(crate) fn curve_units(&self) -> impl Iterator<Item = u32> + '_ {
        // relaxed: read from a file that no process writes.
        let units = self.curves.iter().flatten().map(|curve| curve.load(Ordering::Relaxed));
        units.filter(|units| *units != 0)
    }

    /// Returns the units of the sites.
    pub(crate) fn units(&self) -> &Units {
        &self.units
    }

    /// Returns the bytes of the pages that hold sites or their units.
    pub(crate) fn bytes(&self) -> u64 {
        // The last site has a page from the start.
        let pages = self.count().div_ceil(CELLS_PER_PAGE) + 1;
        u64::from(pages) * PAGE_BYTES as u64 + self.units.bytes()
    }

    fn cell(&self, pages: &Pages, site: u32) -> *mut SiteCell {
        // relaxed: written before the ledger was published.
        pages.at(self.page.load(Ordering::Relaxed)).cast::<SiteCell>().wrapping_add(site as usize)
    }
}

/// A copy of all sites with their units.
#[derive(Debug, Default)]
pub(crate) struct SitesCopy {
    cells: Vec<SiteCell>,
    units: Vec<Unit>,
}

impl SitesCopy {
    /// Makes room for the present sites and for `more` further sites.
    pub(crate) fn reserve(&mut self, sites: &Sites, more: usize) {
        self.cells.reserve(sites.count() as usize + more);
        self.units.reserve(sites.units.place().1 as usize + 2 * more);
    }

    /// Returns the curves of the sites that have one.
    pub(crate) fn curves(&self) -> impl Iterator<Item = Curve> + '_ {
        self.cells.iter().filter(|cell| cell.curve != 0).filter_map(|cell| {
            let first = cell.curve as usize;
            Curve::of_units(self.units.get(first..first + CURVE_UNITS as usize)?)
        })
    }

    /// Returns the figures of all sites that had an event, with their numbers.
    pub(crate) fn figures(&self) -> impl Iterator<Item = (u32, SiteFigures)> + '_ {
        let unit = |number: u32| self.units.get(number as usize).copied();
        let figures = self.cells.iter().map(move |cell| cell.figures(unit));
        (0..).zip(figures).filter(|(_, figures)| !figures.is_empty())
    }
}
