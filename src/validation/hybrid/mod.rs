//! A real system under load: text and vector search over one corpus, and both combined.
//!
//! Text search is BM25 over an inverted index (module `bm25`), or any other [`TextSearch`]. Each text query tokenizes,
//! collects postings and sorts, with many allocations. Vector search is a graph search (HNSW, the `instant-distance`
//! crate) over embeddings, which is nearly all arithmetic. The hybrid answer fuses the two rankings by reciprocal rank
//! (Cormack, Clarke and Büttcher 2009, k = 60), which needs no common scale of scores.
//!
//! Text search and vector search allocate through Rust's global allocator. A tracker could not observe an engine in
//! C++, and its completeness would look perfect for the wrong reason.

mod bm25;
mod corpus;
mod engine;
mod hit;
mod wordnet;
mod workload;

pub use bm25::TextIndex;
pub use corpus::{Corpus, hashed_embedding};
pub use engine::{SearchMode, SearchSession, UnifiedSearchSystem};
pub use hit::{Hit, TextSearch};
pub use workload::{HybridWorkload, SearchMix};
