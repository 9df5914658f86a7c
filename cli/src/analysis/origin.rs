//! Damage and notes of the file that holds a profile.

/// Damage and notes of a file. The default has neither: it is the origin of an undamaged file, and of a snapshot of the
/// running process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// One line for each part of the file that could not be read. Any damage makes every figure uncertain.
    pub damage: Vec<String>,
    /// Notes of the program that wrote or read the file, for example on texts that were cut. Notes do not affect the
    /// certainty of figures.
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
