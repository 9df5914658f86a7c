//! Options of a report: length, ranking, filters and optional sections.

use crate::analysis::paths::View;
use crate::analysis::{Direction, SiteOrder, Suppression};

/// Options of a report. The default is a report with all sections, as `heapledger report --all` writes it.
#[derive(Debug, Clone)]
pub struct Detail<'a> {
    /// Whether the report is short: only the findings, the totals, the timeline and the places.
    pub overview: bool,
    /// Figure that ranks the places.
    pub order: SiteOrder,
    /// Maximum number of listed places.
    pub top: usize,
    /// Direction of the call tree; `None` omits the section with the tree.
    pub tree: Option<Direction>,
    /// Whether the report lists the blocks that were not freed, by place.
    pub leaks: bool,
    /// Suppressions of expected leaks, for the section on blocks that were not freed.
    pub suppressions: &'a [Suppression],
    /// Simplification and filters of call stacks.
    pub view: View<'a>,
    /// Description of the filters of the view, which the report shows; empty without filters.
    pub looked_at: String,
    /// Extracts of source files. Only the page shows them, beside the figures of their lines.
    pub sources: Vec<SourceExtract>,
}

/// Extract of a source file: consecutive lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceExtract {
    /// Path of the file, as the debug information names it.
    pub file: String,
    /// Number of the first line, from 1.
    pub first_line: u32,
    /// Lines without line breaks.
    pub lines: Vec<String>,
    /// Whether the file was changed after the program started, so that the lines may not be those of the program.
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
