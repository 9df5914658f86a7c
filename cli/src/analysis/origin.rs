//! Damage and notes of the file that a profile was read from.

/// Damage and notes of a file. The default is an undamaged file without notes; snapshots of the running process have
/// it as well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// One line for each part of the file that could not be read. With one or more, every figure is uncertain.
    pub damage: Vec<String>,
    /// Notes of the writer or the reader, such as texts that were cut. Notes weaken no figure.
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

    /// Whether the whole file could be read.
    pub fn is_whole(&self) -> bool {
        self.damage.is_empty()
    }
}
