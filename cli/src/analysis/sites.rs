//! Which call stacks account for the most?

use super::arithmetic::saturating_sum;
use super::{Figure, Standing, standing};
use heapledger::profile::{Profile, Site};

/// What sites are ranked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SiteOrder {
    /// Bytes live at the snapshot.
    Live,
    /// Bytes live when the whole process was at its peak.
    Peak,
    /// Bytes allocated over the whole recording.
    Total,
    /// Blocks allocated over the whole recording.
    Count,
    /// Blocks freed right after they were allocated.
    Temporaries,
    /// Bytes that reallocs copied to new places.
    Copied,
}

impl SiteOrder {
    /// Every order.
    pub const ALL: [SiteOrder; 6] = [
        SiteOrder::Live,
        SiteOrder::Peak,
        SiteOrder::Total,
        SiteOrder::Count,
        SiteOrder::Temporaries,
        SiteOrder::Copied,
    ];

    /// Whether the figure is in bytes; otherwise it is in blocks.
    pub const fn is_in_bytes(self) -> bool {
        !matches!(self, SiteOrder::Count | SiteOrder::Temporaries)
    }

    /// The name that flags take and exports give.
    pub const fn name(self) -> &'static str {
        match self {
            SiteOrder::Live => "live",
            SiteOrder::Peak => "peak",
            SiteOrder::Total => "total",
            SiteOrder::Count => "count",
            SiteOrder::Temporaries => "temporary",
            SiteOrder::Copied => "copied",
        }
    }

    /// The figure that a site is ranked by.
    pub fn value(self, site: &Site) -> u64 {
        match self {
            SiteOrder::Live => site.live_bytes(),
            SiteOrder::Peak => site.at_peak_bytes,
            SiteOrder::Total => site.total_bytes,
            SiteOrder::Count => site.total_blocks,
            SiteOrder::Temporaries => site.temporary_blocks,
            SiteOrder::Copied => site.reallocs.copied_bytes,
        }
    }
}

/// A site in a ranking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SiteRow {
    /// Index into [`Profile::sites`].
    pub site: usize,
    /// The figure it is ranked by.
    pub value: u64,
}

/// The sites that lead a ranking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopSites {
    /// What they are ranked by.
    pub order: SiteOrder,
    /// Largest first; sites with a value of zero are left out.
    pub rows: Vec<SiteRow>,
    /// Sites left out because the list was full.
    pub other_sites: u64,
    /// Their values together.
    pub other_value: u64,
    /// The values of all sites together.
    pub total: u64,
    /// How far the attribution can be trusted.
    pub standing: Standing,
}

/// The `limit` sites with the highest figure.
pub fn top_sites(profile: &Profile, order: SiteOrder, limit: usize) -> TopSites {
    let numbered = profile.sites.iter().enumerate();
    let mut rows: Vec<SiteRow> = numbered
        .map(|(site, account)| SiteRow { site, value: order.value(account) })
        .filter(|row| row.value > 0)
        .collect();
    // The sort is stable, so that equal sites keep the order of the profile.
    rows.sort_by_key(|row| std::cmp::Reverse(row.value));
    let total = saturating_sum(rows.iter().map(|row| row.value));
    let others = rows.split_off(limit.min(rows.len()));
    TopSites {
        order,
        rows,
        other_sites: others.len() as u64,
        other_value: saturating_sum(others.iter().map(|row| row.value)),
        total,
        standing: standing(profile, Figure::Sites),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn each_order_ranks_by_its_own_figure() {
        let profile = sample::complete();
        let first = |order| top_sites(&profile, order, 1).rows[0];
        assert_eq!(first(SiteOrder::Live), SiteRow { site: 0, value: 2_200 });
        assert_eq!(first(SiteOrder::Peak), SiteRow { site: 0, value: 3_300 });
        assert_eq!(first(SiteOrder::Total), SiteRow { site: 0, value: 4_600 });
        assert_eq!(first(SiteOrder::Count), SiteRow { site: 0, value: 6 });
        assert_eq!(first(SiteOrder::Temporaries), SiteRow { site: 1, value: 4 });
    }

    #[test]
    fn sites_without_a_value_are_left_out_and_the_others_are_summed() {
        let profile = sample::complete();
        assert_eq!(top_sites(&profile, SiteOrder::Live, 9).rows.len(), 1);
        let top = top_sites(&profile, SiteOrder::Total, 1);
        assert_eq!((top.other_sites, top.other_value, top.total), (1, 400, 5_000));
    }
}
