//! The figures that sites can be ranked by.

use heapledger::profile::Site;

/// The figure that a ranking sorts by.
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
    /// Temporary blocks.
    Temporaries,
    /// Bytes that reallocs copied.
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

    /// The name in flags and exports.
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
