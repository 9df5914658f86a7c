//! The workload of searches under load, which compares every answer to the answer of one thread.

use std::convert::Infallible;
use std::hash::Hasher;

use super::super::error::BenchError;
use super::super::random::UserRng;
use super::super::workload::{Outcome, UserId, Workload};
use super::bm25::TextIndex;
use super::corpus::{Corpus, hashed_embedding};
use super::engine::{SearchMode, SearchSession, UnifiedSearchSystem};
use super::hit::{Hit, TextSearch};

const DIMENSIONS: usize = 64;
const MODES: [SearchMode; 3] = [SearchMode::Text, SearchMode::Vector, SearchMode::Hybrid];

/// Weights of the three kinds of searches. The weights need not sum to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchMix {
    /// Weight of text searches.
    pub text: f64,
    /// Weight of vector searches.
    pub vector: f64,
    /// Weight of hybrid searches.
    pub hybrid: f64,
}

impl SearchMix {
    /// A realistic mix: 70 % hybrid, 20 % text, 10 % vector.
    pub const REALISTIC: Self = Self { text: 0.2, vector: 0.1, hybrid: 0.7 };
    /// A mix of text searches only. Text searches make the most allocations.
    pub const TEXT: Self = Self { text: 1.0, vector: 0.0, hybrid: 0.0 };
}

/// A workload that searches a [`UnifiedSearchSystem`]. Every answer under load must equal the answer that one thread
/// gave before the load.
#[derive(Debug)]
pub struct HybridWorkload<T = TextIndex> {
    name: String,
    system: UnifiedSearchSystem<T>,
    queries: Vec<String>,
    /// Checksums of the answers: for each query, one per mode.
    answers: Vec<[u64; 3]>,
    mix: SearchMix,
}

impl<T: TextSearch> HybridWorkload<T> {
    /// Creates a workload that sends `queries` to `system`.
    ///
    /// # Errors
    /// Returns [`BenchError::EmptyQueries`] if there are no queries, and [`BenchError::NonFinite`] if the weights of
    /// the mix are not usable or all zero.
    pub fn new(
        name: &str,
        system: UnifiedSearchSystem<T>,
        queries: Vec<String>,
        mix: SearchMix,
    ) -> Result<Self, BenchError> {
        if queries.is_empty() {
            return Err(BenchError::EmptyQueries);
        }
        let weights = [mix.text, mix.vector, mix.hybrid];
        let usable = weights.iter().all(|w| w.is_finite() && *w >= 0.0) && weights.iter().any(|w| *w > 0.0);
        if !usable {
            return Err(BenchError::NonFinite("search mix"));
        }
        let mut session = system.session();
        let answers = queries
            .iter()
            .map(|q| MODES.map(|mode| checksum(&system.search_hybrid(q, mode, &mut session))))
            .collect();
        Ok(Self { name: name.to_owned(), system, queries, answers, mix })
    }
}

impl HybridWorkload {
    /// Creates a workload over a synthetic corpus of `documents` documents.
    ///
    /// # Errors
    /// Returns the same errors as [`new`](Self::new).
    pub fn synthetic(documents: usize, seed: u64, mix: SearchMix) -> Result<Self, BenchError> {
        let corpus = Corpus::synthetic(documents, seed);
        let system =
            UnifiedSearchSystem::new(&corpus.documents, seed, |text| hashed_embedding(text, DIMENSIONS));
        let name = if mix == SearchMix::TEXT { "text" } else { "hybrid-lite" };
        let queries = corpus.queries.into_iter().map(|(query, _)| query).collect();
        Self::new(&format!("{name} (corpus: {}, {documents} documents)", corpus.name), system, queries, mix)
    }
}

/// Returns a checksum of the documents of an answer, in their order.
fn checksum(hits: &[Hit]) -> u64 {
    // The default hasher of maps has random keys, and checksums must agree between runs.
    let mut hasher = std::hash::DefaultHasher::new();
    hits.iter().for_each(|h| hasher.write_u32(h.document));
    hasher.finish()
}

impl<T: TextSearch> Workload for HybridWorkload<T> {
    type Session = ();
    /// The number of the query and the number of the mode.
    type Request = (usize, usize);
    type Conn = SearchSession<T::Session>;
    type Error = Infallible;

    fn name(&self) -> &str {
        &self.name
    }

    async fn open_session(&self, _: UserId) -> Result<(), Infallible> {
        Ok(())
    }

    fn connect(&self, _: usize) -> Result<Self::Conn, Infallible> {
        Ok(self.system.session())
    }

    fn next_request(&self, (): &mut (), rng: &mut UserRng, _: u64) -> (usize, usize) {
        let query = rng.pick(self.queries.len());
        let draw = rng.unit() * (self.mix.text + self.mix.vector + self.mix.hybrid);
        let mode = if draw < self.mix.text {
            0
        } else if draw < self.mix.text + self.mix.vector {
            1
        } else {
            2
        };
        (query, mode)
    }

    async fn execute(
        &self,
        (): &mut (),
        session: Option<&mut Self::Conn>,
        &(query, mode): &(usize, usize),
    ) -> Result<Outcome, Infallible> {
        let mut own = None;
        // Without a pool each search opens a session.
        let session = session.unwrap_or_else(|| own.insert(self.system.session()));
        let hits = self.system.search_hybrid(&self.queries[query], MODES[mode], session);
        Ok(Outcome { items: hits.len() as u64, checksum: checksum(&hits) })
    }

    fn check(&self, &(query, mode): &(usize, usize), outcome: &Outcome) -> bool {
        outcome.checksum == self.answers[query][mode]
    }
}
