//! Figures that can rank sites.

use heapledger::profile::Site;

/// Figure that a ranking sorts by.
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
    /// Temporary blocks: those freed soon after their allocation.
    Temporaries,
    /// Bytes that reallocs copied.
    Copied,
}

impl SiteOrder {
    /// All orders.
    pub const ALL: [SiteOrder; 6] = [
        SiteOrder::Live,
        SiteOrder::Peak,
        SiteOrder::Total,
        SiteOrder::Count,
        SiteOrder::Temporaries,
        SiteOrder::Copied,
    ];

    /// Whether the figure is in bytes; if not, the figure is in blocks.
    pub const fn is_in_bytes(self) -> bool {
        !matches!(self, SiteOrder::Count | SiteOrder::Temporaries)
    }

    /// Returns the name used in flags and exports.
    pub const fn name(self) -> &'static str {
        match self {
            SiteOrder::Live => "live",
            SiteOrder::Peak => "peak",
            SiteOrder::Total => "total",
            SiteOrder::Count => "count",
            SiteOrder::Temporaries => "temporary",
            SiteOrder::Copied => "realloc",
        }
    }

    /// Returns the figure of `site` that this order ranks by.
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
