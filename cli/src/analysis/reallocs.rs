//! Reallocs of all sites: their number, and the bytes that they copied.

use super::arithmetic::{saturating_sum, scaled};
use heapledger::profile::{Profile, ReallocStats};

/// Sums of the reallocs of all sites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReallocFinding {
    /// Sums over all sites. Only `longest_chain` is the maximum over all sites.
    pub all: ReallocStats,
    /// Number of reallocs that resized the block in place.
    pub in_place: u64,
    /// Mean number of reallocs of a block, over the freed blocks with at least one realloc; in hundredths. `None` if
    /// there is no such block.
    pub mean_chain_hundredths: Option<u64>,
}

/// Sums the reallocs of all sites.
pub fn reallocs(profile: &Profile) -> ReallocFinding {
    let sum = |field: fn(&ReallocStats) -> u64| {
        saturating_sum(profile.sites.iter().map(|site| field(&site.reallocs)))
    };
    let all = ReallocStats {
        count: sum(|stats| stats.count),
        moved: sum(|stats| stats.moved),
        copied_bytes: sum(|stats| stats.copied_bytes),
        chains: sum(|stats| stats.chains),
        chain_links: sum(|stats| stats.chain_links),
        longest_chain: profile.sites.iter().map(|site| site.reallocs.longest_chain).max().unwrap_or(0),
    };
    ReallocFinding {
        all,
        in_place: all.count.saturating_sub(all.moved),
        mean_chain_hundredths: scaled(all.chain_links, 100, all.chains),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn moves_are_told_from_growth_in_place_and_chains_have_a_mean() {
        let finding = reallocs(&sample::complete());
        assert_eq!((finding.all.count, finding.all.moved, finding.in_place), (5, 3, 2));
        assert_eq!(finding.all.copied_bytes, 600);
        assert_eq!(finding.mean_chain_hundredths, Some(250), "5 reallocs over 2 blocks");
        assert_eq!(reallocs(&sample::empty()).mean_chain_hundredths, None);
    }
}
