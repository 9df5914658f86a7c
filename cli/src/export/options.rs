//! Options of the export formats, such as the version of `json` or the number of rows of `csv`.

use crate::analysis::SiteOrder;

/// Version of the format `json`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum JsonVersion {
    /// Each site holds its whole stack. For programs with deep recursion the file has hundreds of times the size of the
    /// dump.
    One,
    /// Calls are in a table, stacks are a tree of calls, and figures of sites that are 0 are left out.
    #[default]
    Two,
}

/// Options of the export formats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportOptions {
    /// Version of the format `json`.
    pub json: JsonVersion,
    /// Whether `csv`, `collapsed` and `speedscope` keep every frame of a recursion; if not, a sequence of functions
    /// that follows itself without a gap is written once. Also whether `csv` keeps every caller, and the arguments of
    /// generics.
    pub unfolded: bool,
    /// Names of crates that count as the program's own, for the places in `csv`.
    pub own: Vec<String>,
    /// Figure that orders the rows of `csv`, the largest first; `None` keeps the order of the profile.
    pub by: Option<SiteOrder>,
    /// Maximum number of rows of `csv` and of stacks in `collapsed`: those with the largest figure. `None` writes all
    /// of them.
    pub top: Option<usize>,
}
