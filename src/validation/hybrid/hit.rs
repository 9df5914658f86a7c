//! Search results, and the interface of a text search.

use std::collections::HashMap;

/// One search result.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Number of the document.
    pub document: u32,
    /// Score of the document; a higher score is better. Scores are comparable only within one answer.
    pub score: f32,
}

/// A text search over numbered documents.
pub trait TextSearch: Send + Sync + 'static {
    /// The state of a search, reused from query to query.
    type Session: Send + 'static;

    /// Opens a session.
    fn session(&self) -> Self::Session;

    /// Returns the `top` best documents, best first. The same query must always have the same answer.
    fn search(&self, query: &str, top: usize, session: &mut Self::Session) -> Vec<Hit>;
}

/// Returns the `top` best documents, best first. Documents of equal score are in the order of their numbers.
pub(super) fn best(scores: HashMap<u32, f32>, top: usize) -> Vec<Hit> {
    let mut hits: Vec<Hit> = scores.into_iter().map(|(document, score)| Hit { document, score }).collect();
    hits.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.document.cmp(&b.document)));
    hits.truncate(top);
    hits
}
