//! Options of the export formats, such as the version of `json` or the number of rows of `csv`.

use crate::analysis::SiteOrder;

/// Version of the format `json`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum JsonVersion {
    /// Each site contains its whole stack. For a program with deep recursion, the file is hundreds of times the size of
    /// the dump.
    One,
    /// Calls are in a table, stacks form a tree of calls, and figures of sites that are 0 are left out.
    #[default]
    Two,
}

/// Options of the export formats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExportOptions {
    /// Version of the format `json`.
    pub json: JsonVersion,
    /// Whether `csv`, `collapsed` and `speedscope` keep every frame of a recursion. If not, only one copy of a sequence
    /// of functions that repeats without a gap is written. In `csv`, this option also keeps all callers, all library
    /// functions and all generic arguments.
    pub unfolded: bool,
    /// Names of crates that count as part of the program, for the places in `csv`.
    pub own: Vec<String>,
    /// Figure that orders the rows of `csv`, the largest first; `None` keeps the order of the profile.
    pub by: Option<SiteOrder>,
    /// Maximum number of rows of `csv` and of stacks in `collapsed`. Those with the largest figures are written. `None`
    /// writes all.
    pub top: Option<usize>,
}
