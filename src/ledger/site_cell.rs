//! The cell of one site: the sums that every site needs, and the first counts of its histograms.

use super::site_delta::{SiteDelta, Sums};
use super::site_figures::SiteFigures;
use super::site_units::Unit;
use crate::profile::BUCKETS;

/// Number of counts that fit into a cell.
const FEW: usize = 9;
/// Number of bits of a count in a cell. The bits above the count are the number of its bucket, plus one.
const COUNT_BITS: u32 = 25;
const COUNT_MASK: u32 = (1 << COUNT_BITS) - 1;
/// Number of buckets in a group. The counts of a group are in one unit.
pub(super) const GROUP: usize = 8;
/// Number of groups in both histograms together.
pub(super) const GROUPS: usize = 2 * BUCKETS / GROUP;

const _: () = assert!(BUCKETS.is_multiple_of(GROUP) && 2 * BUCKETS < 1 << (u32::BITS - COUNT_BITS));

/// The cell of one site.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SiteCell {
    pub(super) total_blocks: u64,
    total_bytes: u64,
    freed_blocks: u64,
    freed_bytes: u64,
    temporary_blocks: u64,
    temporary_bytes: u64,
    own_peak_bytes: i64,
    /// Number of the peak at which `at_peak_bytes` were live.
    peak_number: u64,
    at_peak_bytes: i64,
    at_peak_blocks: i64,
    /// Number of the unit with the rare sums; `directory` is the number of the unit with the [`Directory`]. 0 while
    /// there is no such unit.
    pub(super) rare: u32,
    pub(super) directory: u32,
    /// Number of the first unit of the site's curve; 0 while there is no curve.
    pub(crate) curve: u32,
    /// Counts of the buckets that the site used first. Buckets of sizes have lower numbers than buckets of lifetimes.
    few: [u32; FEW],
}

const _: () = assert!(size_of::<SiteCell>() == 128);

/// The numbers of the units of a site's groups of buckets; 0 for a group whose counts are all in the cell.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Directory {
    pub(super) groups: [u32; GROUPS],
    unused: [u32; 4],
}

const _: () = assert!(size_of::<Directory>() == size_of::<Unit>());

impl SiteCell {
    pub(super) fn live(&self) -> (i64, i64) {
        let live = |total: u64, freed: u64| total.wrapping_sub(freed) as i64;
        (live(self.total_bytes, self.freed_bytes), live(self.total_blocks, self.freed_blocks))
    }

    /// Returns the sums of the site, without the rare sums.
    pub(super) fn sums(&self) -> Sums {
        Sums {
            total_blocks: self.total_blocks,
            total_bytes: self.total_bytes,
            freed_blocks: self.freed_blocks,
            freed_bytes: self.freed_bytes,
            temporary_blocks: self.temporary_blocks,
            temporary_bytes: self.temporary_bytes,
            ..Sums::default()
        }
    }

    /// Adds the sums of a delta, except for the rare sums.
    pub(super) fn add(&mut self, delta: &SiteDelta, high_water_number: u64, peak_number: u64) {
        let (bytes, blocks) = self.live();
        if self.peak_number != peak_number {
            // The site is unchanged since the peak, so its current figures are also the figures at the peak.
            (self.at_peak_bytes, self.at_peak_blocks) = (bytes, blocks);
            self.peak_number = peak_number;
        }
        // The peak was at the lane's high-water mark. The delta has stored its figures at the mark, unless it is
        // unchanged since the mark: then its present figures are the same.
        let (more_bytes, more_blocks) = if delta.high_water_number == high_water_number {
            (delta.at_high_water_bytes, delta.at_high_water_blocks)
        } else {
            (delta.sums.live_bytes(), delta.sums.live_blocks())
        };
        self.at_peak_bytes += more_bytes;
        self.at_peak_blocks += more_blocks;
        self.own_peak_bytes = self.own_peak_bytes.max(bytes + delta.high_water_bytes);
        // Wrapping, because a subtraction is the addition of a two's complement.
        for (sum, value) in [
            (&mut self.total_blocks, delta.sums.total_blocks),
            (&mut self.total_bytes, delta.sums.total_bytes),
            (&mut self.freed_blocks, delta.sums.freed_blocks),
            (&mut self.freed_bytes, delta.sums.freed_bytes),
            (&mut self.temporary_blocks, delta.sums.temporary_blocks),
            (&mut self.temporary_bytes, delta.sums.temporary_bytes),
        ] {
            *sum = sum.wrapping_add(value);
        }
    }

    /// Adds to the count of a bucket in the cell. Returns `false` if the cell has no room for the bucket or for the
    /// count.
    pub(super) fn add_few(&mut self, bucket: usize, change: i64) -> bool {
        let tag = (bucket as u32 + 1) << COUNT_BITS;
        let found = self.few.iter_mut().find(|word| **word & !COUNT_MASK == tag || **word == 0);
        let Some(word) = found else { return false };
        let sum = i64::from(*word & COUNT_MASK) + change;
        let fits = (0..=i64::from(COUNT_MASK)).contains(&sum);
        if fits {
            *word = tag | sum as u32;
        }
        fits
    }

    /// Returns the figures of the site. `unit` returns the unit with a number; in a corrupt file the number may have
    /// any value.
    pub(crate) fn figures(&self, unit: impl Fn(u32) -> Option<Unit>) -> SiteFigures {
        let unit = |number: u32| if number == 0 { None } else { unit(number) };
        let [cross_thread_frees, reallocs, moved, copied_bytes, chains, chain_links, longest_chain, _] =
            unit(self.rare).unwrap_or_default();
        let mut counts = [0u64; 2 * BUCKETS];
        for word in self.few.iter().filter(|word| **word != 0) {
            let bucket = (word >> COUNT_BITS) as usize;
            if let Some(count) = bucket.checked_sub(1).and_then(|bucket| counts.get_mut(bucket)) {
                *count = u64::from(word & COUNT_MASK);
            }
        }
        let directory = unit(self.directory).unwrap_or_default();
        for (group, counts) in counts.chunks_exact_mut(GROUP).enumerate() {
            // Two numbers of units are in one word.
            let both = directory[group / 2];
            let number = if group % 2 == cfg!(target_endian = "big") as usize {
                both as u32
            } else {
                (both >> 32) as u32
            };
            for (sum, count) in counts.iter_mut().zip(unit(number).unwrap_or_default()) {
                *sum = sum.wrapping_add(count);
            }
        }
        let (mut sizes, mut lifetimes) = ([0; BUCKETS], [0; BUCKETS]);
        sizes.copy_from_slice(&counts[..BUCKETS]);
        lifetimes.copy_from_slice(&counts[BUCKETS..]);
        let rare =
            Sums { cross_thread_frees, reallocs, moved, copied_bytes, chains, chain_links, ..self.sums() };
        SiteFigures {
            sums: rare,
            longest_chain,
            own_peak_bytes: self.own_peak_bytes.max(0) as u64,
            peak_number: self.peak_number,
            at_peak: (self.at_peak_bytes.max(0) as u64, self.at_peak_blocks.max(0) as u64),
            sizes,
            lifetimes,
        }
    }
}
