//! Damage and notes of the file that holds a profile.

/// Damage and notes of a file. The default applies to an undamaged file without notes, and to a snapshot of the running
/// process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// Damage: one line for each part of the file that could not be read. Any damage makes every figure uncertain.
    pub damage: Vec<String>,
    /// Notes of the writer or the reader, such as texts that were cut. Notes weaken no figure.
    pub notes: Vec<String>,
}

impl Origin {
    /// Returns the origin of a file with the given damage and notes.
    ///
    /// ```
    /// let origin = heapledger_cli::analysis::Origin::new(vec!["section \"live\": cut".into()], Vec::new());
    /// assert!(!origin.is_whole());
    /// ```
    pub fn new(damage: Vec<String>, notes: Vec<String>) -> Self {
        Origin { damage, notes }
    }

    /// Whether the whole file could be read.
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty()
    }
}
