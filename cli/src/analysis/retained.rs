//! Places whose live blocks were allocated throughout the run, and therefore keep growing. A place is a line of a
//! [`SiteBook`].
//!
//! The run is divided into [`SPANS`] equal parts, and the blocks that are live at the snapshot are counted by the part
//! in which they were allocated. A table that is filled at the start has all its blocks in the first parts. A cache of
//! bounded size has its blocks in the last parts, because older entries were replaced. Blocks of a leak, or of a cache
//! without a bound, are in most parts. The method needs only the allocation time of each live block. It does not see
//! blocks that were freed before the snapshot.

use super::SiteBook;
use heapledger::profile::Profile;

/// Number of parts into which the run is divided.
pub const SPANS: usize = 16;
/// Minimum number of parts of the run in which live blocks of a growing place were allocated.
const GROWING_SPANS: u32 = SPANS as u32 / 2 + 1;
/// Minimum number of live blocks of a growing place.
const BLOCKS_MIN: u64 = 32;
/// Divisor of the live bytes of a growing place. In each half of the run, at least 1 / HALF_SHARE of these bytes were
/// allocated.
const HALF_SHARE: u64 = 8;

/// Live blocks of one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained {
    /// Place, as an index into [`SiteBook::lines`].
    pub line: usize,
    /// Number of live blocks.
    pub blocks: u64,
    /// Number of bytes in these blocks.
    pub bytes: u64,
    /// Bytes of these blocks, for each part of the run in which the blocks were allocated.
    pub by_span: [u64; SPANS],
}

impl Retained {
    /// Returns the number of parts of the run in which at least one of the live blocks was allocated.
    pub fn spans(&self) -> u32 {
        self.by_span.iter().filter(|bytes| **bytes > 0).count() as u32
    }

    /// Whether the live blocks were allocated throughout most of the run.
    pub fn keeps_growing(&self) -> bool {
        let (first, second) = self.by_span.split_at(SPANS / 2);
        let has_share = |half: &[u64]| {
            half.iter().fold(0u64, |sum, bytes| sum.saturating_add(*bytes)) >= self.bytes / HALF_SHARE
        };
        self.blocks >= BLOCKS_MIN && self.spans() >= GROWING_SPANS && has_share(first) && has_share(second)
    }
}

/// Returns the places of `book` that have live blocks, those with the most bytes first.
pub fn retained(profile: &Profile, book: &SiteBook) -> Vec<Retained> {
    let none = |line| Retained { line, blocks: 0, bytes: 0, by_span: [0; SPANS] };
    let mut all: Vec<Retained> = (0..book.lines.len()).map(none).collect();
    let duration_ns = profile.process.duration_ns.max(1);
    for block in &profile.live {
        let line = book.line_of_stack.get(&block.stack).and_then(|line| all.get_mut(*line));
        let Some(place) = line else { continue };
        let span = u128::from(block.born_ns) * SPANS as u128 / u128::from(duration_ns);
        let span = usize::try_from(span).unwrap_or(SPANS).min(SPANS - 1);
        place.blocks += 1;
        place.bytes = place.bytes.saturating_add(block.size);
        place.by_span[span] = place.by_span[span].saturating_add(block.size);
    }
    all.retain(|place| place.blocks > 0);
    all.sort_by_key(|place| std::cmp::Reverse(place.bytes));
    all
}

#[cfg(test)]
mod tests {
    use super::super::paths::{View, named};
    use super::super::site_book;
    use super::*;
    use heapledger::profile::{LiveBlock, Site};

    #[test]
    fn what_grows_is_told_from_what_is_filled_once_and_from_what_is_replaced() {
        let mut profile = named(&[
            &[("demo::cache", "a.rs", 1)],
            &[("demo::table", "a.rs", 2)],
            &[("demo::bounded", "a.rs", 3)],
            &[("demo::few", "a.rs", 4)],
        ]);
        profile.process.duration_ns = 1_600;
        profile.sites = (1..5).map(|stack| Site { stack, total_blocks: 1, ..Site::default() }).collect();
        let block = |stack, born_ns| LiveBlock { stack, size: 10, born_ns, ..LiveBlock::default() };
        let cache = (0..100).map(|n| block(1, n * 16));
        let table = (0..200).map(|n| block(2, n / 10));
        let bounded = (0..300).map(|n| block(3, 1_300 + n));
        let few = (0..16).map(|n| block(4, n * 100));
        profile.live = cache.chain(table).chain(bounded).chain(few).chain([block(99, 5)]).collect();
        let book = site_book(&profile, &View::default());
        let found = retained(&profile, &book);
        let read: Vec<_> = found
            .iter()
            .map(|place| (place.line, place.blocks, place.spans(), place.keeps_growing()))
            .collect();
        assert_eq!(read, [(2, 300, 3, false), (1, 200, 1, false), (0, 100, 16, true), (3, 16, 16, false)]);
        assert_eq!(found[2].by_span.iter().sum::<u64>(), found[2].bytes);
    }

    #[test]
    fn absurd_times_and_sizes_are_counted_at_the_end() {
        let mut profile = named(&[&[("demo::cache", "a.rs", 1)]]);
        profile.process.duration_ns = 0;
        profile.sites = vec![Site { stack: 1, total_blocks: 1, ..Site::default() }];
        profile.live =
            vec![LiveBlock { stack: 1, size: u64::MAX, born_ns: u64::MAX, ..LiveBlock::default() }; 2];
        let found = retained(&profile, &site_book(&profile, &View::default()));
        assert_eq!((found[0].bytes, found[0].by_span[SPANS - 1]), (u64::MAX, u64::MAX));
    }
}
