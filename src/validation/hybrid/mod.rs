//! A real system to load: text and vector search over one corpus, and both together.
//!
//! Text search is BM25 over an inverted index of our own (module `bm25`): each query tokenises, gathers postings and
//! sorts, an allocation storm. Vector search is a graph search (HNSW, the `instant-distance` crate) over embeddings,
//! nearly all arithmetic. The hybrid answer fuses the two rankings by reciprocal rank (Cormack, Clarke and Büttcher
//! 2009, k = 60), which needs no common scale of scores.
//!
//! Both halves allocate through Rust's global allocator. An engine in C++ would be invisible to a tracker and make its
//! completeness look perfect for the wrong reason.

mod bm25;
mod corpus;
mod wordnet;
mod workload;

pub use bm25::TextIndex;
pub use corpus::{Corpus, hashed_embedding};
pub use workload::{HybridWorkload, SearchMix};

use std::collections::HashMap;
use std::fmt;

use instant_distance::{Builder, HnswMap, Point, Search};

/// How a query is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SearchMode {
    /// By words.
    Text,
    /// By nearness of meaning.
    Vector,
    /// By both, fused.
    Hybrid,
}

/// One answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// The document's number.
    pub document: u32,
    /// Higher is better; comparable within one answer only.
    pub score: f32,
}

/// Hits of one answer.
const TOP: usize = 10;
/// Hits that each half hands to the fusion.
const FUSED_DEPTH: usize = 30;
/// The constant of reciprocal rank fusion.
const RANK_OFFSET: f32 = 60.0;

#[derive(Clone)]
struct Embedding(Vec<f32>);

impl Point for Embedding {
    /// 1 − cosine of unit vectors. Sixteen sums side by side, or the compiler must keep their order and cannot use wide
    /// registers.
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

/// What one search needs besides the index; reused from query to query, one per holder. It is what the connection
/// pool of the benchmark hands out.
#[derive(Default)]
pub struct SearchSession {
    search: Search,
}

impl fmt::Debug for SearchSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SearchSession").finish_non_exhaustive()
    }
}

/// Documents by the nearness of their vectors.
///
/// # Examples
/// ```
/// use heapledger::validation::hybrid::{SearchSession, VectorIndex};
/// let index = VectorIndex::new(vec![vec![1.0, 0.0], vec![0.6, 0.8], vec![0.0, 1.0]], 1);
/// let hits = index.nearest(vec![0.1, 0.99], 2, &mut SearchSession::default());
/// assert_eq!(hits.iter().map(|h| h.document).collect::<Vec<_>>(), [2, 1]);
/// ```
pub struct VectorIndex(HnswMap<Embedding, u32>);

impl fmt::Debug for VectorIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VectorIndex").finish_non_exhaustive()
    }
}

impl VectorIndex {
    /// An index of unit vectors of one length, one for each document from 0 on.
    pub fn new(vectors: Vec<Vec<f32>>, seed: u64) -> Self {
        let numbers = (0..vectors.len() as u32).collect();
        let points = vectors.into_iter().map(Embedding).collect();
        Self(Builder::default().ef_construction(64).ef_search(48).seed(seed).build(points, numbers))
    }

    /// The `top` documents nearest to `vector`, nearest first.
    pub fn nearest(&self, vector: Vec<f32>, top: usize, session: &mut SearchSession) -> Vec<Hit> {
        let found = self.0.search(&Embedding(vector), &mut session.search).take(top);
        found.map(|item| Hit { document: *item.value, score: 1.0 - item.distance }).collect()
    }
}

/// A system that answers queries; what [`HybridWorkload`] puts under load.
pub trait SearchEngine: Send + Sync + 'static {
    /// What a search needs besides the index.
    type Session: Send + 'static;

    /// A new session.
    fn session(&self) -> Self::Session;

    /// The best documents for `query`, best first. The same query must always have the same answer.
    fn search_hybrid(&self, query: &str, mode: SearchMode, session: &mut Self::Session) -> Vec<Hit>;
}

type Embed = Box<dyn Fn(&str) -> Vec<f32> + Send + Sync>;

/// Text and vector search over the same documents.
///
/// # Examples
/// ```
/// use heapledger::validation::hybrid::{SearchMode, SearchSession, UnifiedSearchSystem, hashed_embedding};
/// let documents = ["a red apple on a tree", "a green pear", "the tree of life"];
/// let system = UnifiedSearchSystem::new(&documents, 1, |text| hashed_embedding(text, 64));
/// let mut session = SearchSession::default();
/// let hits = system.search_hybrid("red apple", SearchMode::Hybrid, &mut session);
/// assert_eq!(hits[0].document, 0);
/// ```
pub struct UnifiedSearchSystem {
    text: TextIndex,
    vectors: VectorIndex,
    embed: Embed,
}

impl fmt::Debug for UnifiedSearchSystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnifiedSearchSystem")
            .field("documents", &self.text.documents())
            .finish_non_exhaustive()
    }
}

impl UnifiedSearchSystem {
    /// Indexes `documents`; `embed` gives a unit vector of always the same length for a text.
    pub fn new<S: AsRef<str>>(
        documents: &[S],
        seed: u64,
        embed: impl Fn(&str) -> Vec<f32> + Send + Sync + 'static,
    ) -> Self {
        let text = TextIndex::new(documents);
        let vectors = VectorIndex::new(documents.iter().map(|d| embed(d.as_ref())).collect(), seed);
        Self { text, vectors, embed: Box::new(embed) }
    }

    /// The number of documents.
    pub const fn documents(&self) -> usize {
        self.text.documents()
    }

    /// The best documents for `query`, at most ten, best first; equal scores by document number.
    pub fn search_hybrid(&self, query: &str, mode: SearchMode, session: &mut SearchSession) -> Vec<Hit> {
        answer(
            mode,
            |top| self.text.search(query, top),
            |top| self.vectors.nearest((self.embed)(query), top, session),
        )
    }
}

impl SearchEngine for UnifiedSearchSystem {
    type Session = SearchSession;

    fn session(&self) -> SearchSession {
        SearchSession::default()
    }

    fn search_hybrid(&self, query: &str, mode: SearchMode, session: &mut SearchSession) -> Vec<Hit> {
        self.search_hybrid(query, mode, session)
    }
}

/// An answer of at most ten hits from the two halves, each asked for its best: one of them alone, or both, fused.
pub fn answer(
    mode: SearchMode,
    text: impl FnOnce(usize) -> Vec<Hit>,
    near: impl FnOnce(usize) -> Vec<Hit>,
) -> Vec<Hit> {
    match mode {
        SearchMode::Text => text(TOP),
        SearchMode::Vector => near(TOP),
        SearchMode::Hybrid => fuse(&[text(FUSED_DEPTH), near(FUSED_DEPTH)]),
    }
}

/// Reciprocal rank fusion: a document scores 1/(60 + rank) in each ranking that has it.
fn fuse(rankings: &[Vec<Hit>]) -> Vec<Hit> {
    let mut scores: HashMap<u32, f32> = HashMap::new();
    for ranking in rankings {
        for (rank, hit) in ranking.iter().enumerate() {
            *scores.entry(hit.document).or_default() += 1.0 / (RANK_OFFSET + rank as f32 + 1.0);
        }
    }
    let mut hits: Vec<Hit> = scores.into_iter().map(|(document, score)| Hit { document, score }).collect();
    sort_hits(&mut hits);
    hits.truncate(TOP);
    hits
}

fn sort_hits(hits: &mut [Hit]) {
    hits.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.document.cmp(&b.document)));
}

#[cfg(test)]
mod tests {
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
        let mut session = SearchSession::default();
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
