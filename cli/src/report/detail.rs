//! What a report says of call stacks: which figure leads, how many places, and the sections that are there when asked for.

use crate::analysis::paths::View;
use crate::analysis::{Direction, SiteOrder, Suppression};

/// What is wanted of the sites, beside the sections that are always there. The default is what `heapledger report` shows
/// without flags.
#[derive(Debug, Clone)]
pub struct Detail<'a> {
    /// The figure that places are ranked by.
    pub order: SiteOrder,
    /// Places that are listed, at most.
    pub top: usize,
    /// The section with the call tree, in this direction.
    pub tree: Option<Direction>,
    /// The section with the blocks that were not freed, by place.
    pub leaks: bool,
    /// What that section leaves out.
    pub suppressions: &'a [Suppression],
    /// How stacks are read, and which are looked at.
    pub view: View<'a>,
    /// What the view looks at, in words; empty when it looks at everything.
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
