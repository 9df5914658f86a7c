//! Options of a report on call stacks: ranking, filters, optional sections.

use crate::analysis::paths::View;
use crate::analysis::{Direction, SiteOrder, Suppression};

/// Ranking, filters and optional sections on call stacks. The default is that of `heapledger report` without flags.
#[derive(Debug, Clone)]
pub struct Detail<'a> {
    /// The figure that places are ranked by.
    pub order: SiteOrder,
    /// Listed places, at most.
    pub top: usize,
    /// Adds the section with the call tree, in this direction.
    pub tree: Option<Direction>,
    /// Adds the section with the blocks that were not freed, by place.
    pub leaks: bool,
    /// The suppressions that this section applies.
    pub suppressions: &'a [Suppression],
    /// Simplification and filters of stacks.
    pub view: View<'a>,
    /// The filters of the view as text; empty without filters.
    pub looked_at: String,
}

impl Default for Detail<'_> {
    fn default() -> Self {
        Detail {
            order: SiteOrder::Total,
            top: 10,
            tree: None,
            leaks: false,
            suppressions: &[],
            view: View::default(),
            looked_at: String::new(),
        }
    }
}
