//! Places where a larger initial capacity would save reallocs.
//!
//! All figures come from the site: the reallocs of its freed blocks, the bytes that these reallocs copied, and the
//! sizes of its blocks. The right capacity is unknown, but the size of the largest block is an upper bound. If the
//! blocks of one place grow very differently, no single capacity fits, so the advice names no capacity. A place is a
//! line of a [`SiteBook`].

use super::arithmetic::scaled;
use super::{SiteBook, SiteOrder};

/// Place whose blocks were reallocated repeatedly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// Place, as an index into [`SiteBook::lines`].
    pub line: usize,
    /// Number of reallocs at the place.
    pub reallocs: u64,
    /// Number of bytes that the reallocs copied.
    pub copied_bytes: u64,
    /// Number of blocks freed after at least one realloc.
    pub blocks: u64,
    /// Mean number of reallocs of a block, over the freed blocks with at least one realloc; in hundredths.
    pub mean_hundredths: u64,
    /// Maximum number of reallocs of one block.
    pub longest: u64,
    /// Range of the sizes of the largest blocks, in bytes: smallest and largest size of the last histogram row with
    /// blocks.
    pub largest_bytes: (u64, u64),
    /// Whether the numbers of reallocs of the blocks are similar, so that one capacity fits all blocks.
    pub is_uniform: bool,
}

/// Returns the `limit` places that copied the most bytes. Omits a place unless its reallocated blocks have more than
/// one realloc on average.
pub fn growth(book: &SiteBook, limit: usize) -> Vec<Growth> {
    let copying = book.ranking(SiteOrder::Copied, usize::MAX).rows.into_iter();
    let of = |line: usize| {
        let account = &book.lines[line].account;
        let reallocs = &account.reallocs;
        let mean_hundredths = scaled(reallocs.chain_links, 100, reallocs.chains)?;
        let (low, high, _) = account.sizes.rows().last()?;
        let is_uniform = reallocs.longest_chain.saturating_mul(100) <= mean_hundredths.saturating_mul(2);
        (mean_hundredths > 100).then_some(Growth {
            line,
            reallocs: reallocs.count,
            copied_bytes: reallocs.copied_bytes,
            blocks: reallocs.chains,
            mean_hundredths,
            longest: reallocs.longest_chain,
            largest_bytes: (low, high),
            is_uniform,
        })
    };
    copying.filter_map(of).take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::super::paths::{View, named};
    use super::super::site_book;
    use super::*;
    use heapledger::profile::{ReallocStats, Site};

    #[test]
    fn only_blocks_that_grow_again_and_again_are_named_and_only_alike_ones_have_a_capacity() {
        let mut profile = named(&[&[("a", "", 0)], &[("b", "", 0)], &[("c", "", 0)], &[("d", "", 0)]]);
        let site = |stack, chains, chain_links, longest_chain, copied_bytes| {
            let count = chain_links;
            let reallocs =
                ReallocStats { count, moved: count, copied_bytes, chains, chain_links, longest_chain };
            let mut site = Site { stack, reallocs, ..Site::default() };
            site.sizes.add(64, chains);
            site.sizes.add(4096, chains);
            site
        };
        profile.sites = vec![
            site(1, 10, 120, 12, 50),
            site(2, 10, 30, 20, 90),
            site(3, 5, 5, 1, 70),
            site(4, 0, 0, 0, 10),
        ];
        let book = site_book(&profile, &View::default());
        let found = growth(&book, 9);
        let read: Vec<_> =
            found.iter().map(|g| (g.line, g.blocks, g.mean_hundredths, g.is_uniform)).collect();
        assert_eq!(read, [(1, 10, 300, false), (0, 10, 1200, true)]);
        assert_eq!(found[0].largest_bytes, (4096, 8191));
        assert_eq!(growth(&book, 1).len(), 1);
    }
}
