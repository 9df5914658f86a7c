//! The answers of a system whose right answers are unknown: each answer is compared with the first answer to the same
//! query.

use std::hash::{DefaultHasher, Hasher};
use std::sync::OnceLock;

/// The first answer to each query, as a checksum; empty if answers are not compared.
#[derive(Debug, Default)]
pub struct Answers(Vec<OnceLock<u64>>);

impl Answers {
    /// Creates a comparison that accepts any answer.
    pub const fn unchecked() -> Self {
        Self(Vec::new())
    }

    /// Creates a comparison for this number of queries.
    pub fn checked(queries: usize) -> Self {
        Self((0..queries).map(|_| OnceLock::new()).collect())
    }

    /// Whether an answer to `query` is the first answer to it, or equals the first one.
    ///
    /// # Examples
    /// ```
    /// use heapledger::validation::Answers;
    /// let answers = Answers::checked(2);
    /// assert!(answers.agree(0, 7) && answers.agree(0, 7) && answers.agree(1, 8));
    /// assert!(!answers.agree(0, 8));
    /// assert!(Answers::unchecked().agree(0, 8));
    /// ```
    pub fn agree(&self, query: usize, checksum: u64) -> bool {
        self.0.get(query).is_none_or(|first| *first.get_or_init(|| checksum) == checksum)
    }
}

/// Returns a checksum of an answer that is the same in every process of one build.
pub fn checksum_of(answer: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(answer);
    hasher.finish()
}
