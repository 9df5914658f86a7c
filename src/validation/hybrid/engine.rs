//! Text and vector search over the same documents.

use std::collections::HashMap;
use std::fmt;

use instant_distance::{Builder, HnswMap, Point, Search};

use super::bm25::TextIndex;
use super::hit::{Hit, TextSearch, best};

/// The kind of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SearchMode {
    /// The search compares words.
    Text,
    /// The search compares embeddings by their distance.
    Vector,
    /// The search fuses the rankings of a text search and a vector search.
    Hybrid,
}

/// Maximum number of results in an answer.
const TOP: usize = 10;
/// Maximum number of results of the text search and of the vector search before their fusion.
const FUSED_DEPTH: usize = 30;
/// The constant k in the score 1/(k + rank) of reciprocal rank fusion.
const RANK_OFFSET: f32 = 60.0;

#[derive(Clone)]
struct Embedding(Vec<f32>);

impl Point for Embedding {
    /// Returns 1 − cosine of two unit vectors. The sixteen sums are independent, so the compiler can vectorize them; a
    /// single sum would have a fixed order.
    fn distance(&self, other: &Self) -> f32 {
        let mut sums = [0.0f32; 16];
        let (a, b) = (self.0.chunks_exact(16), other.0.chunks_exact(16));
        let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum();
        for (x, y) in a.zip(b) {
            for i in 0..16 {
                sums[i] += x[i] * y[i];
            }
        }
        1.0 - sums.iter().sum::<f32>() - rest
    }
}

/// The state of a search, reused from query to query. The sessions are the connections of the benchmark's pool.
#[derive(Default)]
pub struct SearchSession<S = ()> {
    text: S,
    near: Search,
}

impl<S> fmt::Debug for SearchSession<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SearchSession").finish_non_exhaustive()
    }
}

type Embed = Box<dyn Fn(&str) -> Vec<f32> + Send + Sync>;

/// A text search and a vector search over the same documents.
///
/// # Examples
/// ```
/// use heapledger::validation::hybrid::{SearchMode, UnifiedSearchSystem, hashed_embedding};
/// let documents = ["a red apple on a tree", "a green pear", "the tree of life"];
/// let system = UnifiedSearchSystem::new(&documents, 1, |text| hashed_embedding(text, 64));
/// let hits = system.search_hybrid("red apple", SearchMode::Hybrid, &mut system.session());
/// assert_eq!(hits[0].document, 0);
/// ```
pub struct UnifiedSearchSystem<T = TextIndex> {
    text: T,
    vectors: HnswMap<Embedding, u32>,
    embed: Embed,
}

impl<T> fmt::Debug for UnifiedSearchSystem<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnifiedSearchSystem").finish_non_exhaustive()
    }
}

impl UnifiedSearchSystem {
    /// Indexes `documents`. The function `embed` returns unit vectors of one length.
    pub fn new<S: AsRef<str>>(
        documents: &[S],
        seed: u64,
        embed: impl Fn(&str) -> Vec<f32> + Send + Sync + 'static,
    ) -> Self {
        Self::with_text(TextIndex::new(documents), documents, seed, embed)
    }
}

impl<T: TextSearch> UnifiedSearchSystem<T> {
    /// Combines a text search over `documents` with a vector index. The function `embed` returns unit vectors of one
    /// length.
    pub fn with_text<S: AsRef<str>>(
        text: T,
        documents: &[S],
        seed: u64,
        embed: impl Fn(&str) -> Vec<f32> + Send + Sync + 'static,
    ) -> Self {
        let points = documents.iter().map(|d| Embedding(embed(d.as_ref()))).collect();
        let numbers = (0..documents.len() as u32).collect();
        let graph = Builder::default().ef_construction(64).ef_search(48).seed(seed);
        Self { text, vectors: graph.build(points, numbers), embed: Box::new(embed) }
    }

    /// Opens a session.
    pub fn session(&self) -> SearchSession<T::Session> {
        SearchSession { text: self.text.session(), near: Search::default() }
    }

    /// Returns the ten best documents for `query`, or fewer if fewer are found, best first.
    pub fn search_hybrid(
        &self,
        query: &str,
        mode: SearchMode,
        session: &mut SearchSession<T::Session>,
    ) -> Vec<Hit> {
        let SearchSession { text, near } = session;
        let mut nearest = |top| -> Vec<Hit> {
            let found = self.vectors.search(&Embedding((self.embed)(query)), near).take(top);
            found.map(|item| Hit { document: *item.value, score: 1.0 - item.distance }).collect()
        };
        match mode {
            SearchMode::Text => self.text.search(query, TOP, text),
            SearchMode::Vector => nearest(TOP),
            SearchMode::Hybrid => fuse(&[self.text.search(query, FUSED_DEPTH, text), nearest(FUSED_DEPTH)]),
        }
    }
}

/// Fuses rankings by reciprocal rank: a document scores 1/(60 + rank) in each ranking.
fn fuse(rankings: &[Vec<Hit>]) -> Vec<Hit> {
    let mut scores: HashMap<u32, f32> = HashMap::new();
    for (rank, hit) in rankings.iter().flat_map(|ranking| ranking.iter().enumerate()) {
        *scores.entry(hit.document).or_default() += 1.0 / (RANK_OFFSET + rank as f32 + 1.0);
    }
    best(scores, TOP)
}

#[cfg(test)]
mod tests {
    use super::super::corpus::{Corpus, hashed_embedding};
    use super::*;

    #[test]
    fn fusion_prefers_what_both_rankings_have() {
        let hit = |document| Hit { document, score: 0.0 };
        let fused = fuse(&[vec![hit(1), hit(2), hit(3)], vec![hit(4), hit(2)]]);
        assert_eq!(fused.iter().map(|h| h.document).collect::<Vec<_>>(), [2, 1, 4, 3]);
        assert!((fused[0].score - 2.0 / 62.0).abs() < 1e-7);
    }

    #[test]
    fn distance_handles_lengths_that_are_no_multiple_of_sixteen() {
        for n in [3, 16, 37] {
            let v = Embedding(vec![(1.0 / n as f32).sqrt(); n]);
            assert!(v.distance(&v).abs() < 1e-6);
        }
    }

    #[test]
    fn both_together_find_more_than_either_alone() {
        let corpus = Corpus::synthetic(400, 3);
        let system = UnifiedSearchSystem::new(&corpus.documents, 3, |t| hashed_embedding(t, 64));
        let mut session = system.session();
        let mut found = |mode| {
            let hit = |(query, answer): &&(String, u32)| {
                system.search_hybrid(query, mode, &mut session).iter().any(|h| h.document == *answer)
            };
            corpus.queries.iter().filter(hit).count()
        };
        let (text, vector, hybrid) =
            (found(SearchMode::Text), found(SearchMode::Vector), found(SearchMode::Hybrid));
        let all = corpus.queries.len();
        assert!(text * 2 > all && vector * 5 > all, "text {text}, vector {vector}, hybrid {hybrid} of {all}");
        assert!(
            hybrid * 100 >= text.max(vector) * 95,
            "text {text}, vector {vector}, hybrid {hybrid} of {all}"
        );
    }
}
