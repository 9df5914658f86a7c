//! Options of a report on call stacks: ranking, filters, optional sections.

use crate::analysis::paths::View;
use crate::analysis::{Direction, SiteOrder, Suppression};

/// Options of a report: its length, and the ranking, filters and optional sections on call stacks. The default is every
/// section, as with `heapledger report --all`.
#[derive(Debug, Clone)]
pub struct Detail<'a> {
    /// Whether the report is short: the findings, the totals, the timeline and the places.
    pub overview: bool,
    /// Figure that ranks the places.
    pub order: SiteOrder,
    /// Maximum number of listed places.
    pub top: usize,
    /// Direction of the call tree; `None` omits the section with the tree.
    pub tree: Option<Direction>,
    /// Whether the report lists the blocks that were not freed, by place.
    pub leaks: bool,
    /// Suppressions that the section on unfreed blocks applies.
    pub suppressions: &'a [Suppression],
    /// Simplification and filters of call stacks.
    pub view: View<'a>,
    /// Text that names the filters of the view; empty without filters.
    pub looked_at: String,
    /// Parts of source files, which a page shows beside the figures of their lines.
    pub sources: Vec<SourceExtract>,
}

/// Consecutive lines of a source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceExtract {
    /// Path of the file, as the debug information names it.
    pub file: String,
    /// Number of the first line, from 1.
    pub first_line: u32,
    /// Lines, without their ends.
    pub lines: Vec<String>,
    /// Whether the file was changed after the program had started, so that lines may have moved.
    pub is_newer: bool,
}

impl Default for Detail<'_> {
    fn default() -> Self {
        Detail {
            overview: false,
            order: SiteOrder::Total,
            top: 10,
            tree: None,
            leaks: false,
            suppressions: &[],
            view: View::default(),
            looked_at: String::new(),
            sources: Vec::new(),
        }
    }
}
