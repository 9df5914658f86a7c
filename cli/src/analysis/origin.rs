//! Where a profile came from, as far as it bears on what the profile is worth.

/// What is known of the file that a profile was read from. The default is a whole file without notes, and
/// also what a snapshot of the running process has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// A line for each part of the file that could not be read. Every figure is uncertain when there is one.
    pub damage: Vec<String>,
    /// What the writer or the reader of the file noted, such as texts that were cut. Notes weaken no figure.
    pub notes: Vec<String>,
}

impl Origin {
    /// A file with these damages and notes.
    ///
    /// ```
    /// let origin = heapledger_cli::analysis::Origin::new(vec!["section \"live\": cut".into()], Vec::new());
    /// assert!(!origin.is_whole());
    /// ```
    pub fn new(damage: Vec<String>, notes: Vec<String>) -> Self {
        Origin { damage, notes }
    }

    /// Whether all of the file was there and intact.
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty()
    }
}
