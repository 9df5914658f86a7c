//! The search system: tantivy for text, and the library's vector index over the same documents.
//!
//! tantivy keeps its index in its RAM directory, without memory maps and without compression in C. The tracker could
//! not observe memory outside Rust's global allocator, and its completeness would look perfect for the wrong reason.

use heapledger::validation::hybrid::{Hit, TextSearch, UnifiedSearchSystem};
use tantivy::collector::TopDocs;
use tantivy::query::{BooleanQuery, Occur, Query, TermQuery};
use tantivy::schema::{
    FAST, Field, IndexRecordOption, NumericOptions, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::{Index, IndexReader, Searcher, TantivyDocument, Term};

/// Memory limit of the writer in bytes, which is enough for a single segment.
const WRITER_BYTES: usize = 200 << 20;

/// A tantivy index over numbered documents.
pub struct Tantivy {
    index: Index,
    reader: IndexReader,
    text: Field,
}

/// Indexes `documents` with tantivy and by vectors; `embed` returns unit vectors of one length.
pub fn unified(
    documents: &[String],
    seed: u64,
    embed: impl Fn(&str) -> Vec<f32> + Send + Sync + 'static,
) -> tantivy::Result<UnifiedSearchSystem<Tantivy>> {
    Ok(UnifiedSearchSystem::with_text(Tantivy::new(documents)?, documents, seed, embed))
}

impl Tantivy {
    fn new(documents: &[String]) -> tantivy::Result<Self> {
        let mut schema = Schema::builder();
        let words = TextFieldIndexing::default().set_tokenizer("default");
        let words = words.set_index_option(IndexRecordOption::WithFreqs);
        let text = schema.add_text_field("text", TextOptions::default().set_indexing_options(words));
        let number = schema.add_u64_field("number", NumericOptions::from(FAST));
        let index = Index::create_in_ram(schema.build());
        // One thread, so that the same documents give the same segment.
        let mut writer = index.writer_with_num_threads(1, WRITER_BYTES)?;
        for (document, i) in documents.iter().zip(0u64..) {
            let mut entry = TantivyDocument::default();
            entry.add_text(text, document);
            entry.add_u64(number, i);
            writer.add_document(entry)?;
        }
        writer.commit()?;
        writer.wait_merging_threads()?;
        Ok(Self { reader: index.reader()?, index, text })
    }

    fn try_search(&self, query: &str, top: usize, searcher: &Searcher) -> tantivy::Result<Vec<Hit>> {
        let mut words = self.index.tokenizer_for_field(self.text)?;
        let mut stream = words.token_stream(query);
        let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
        while let Some(token) = stream.next() {
            let term = Term::from_field_text(self.text, &token.text);
            clauses.push((Occur::Should, Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs))));
        }
        let segments = searcher.segment_readers().iter();
        let numbers = segments.map(|segment| segment.fast_fields().u64("number"));
        let numbers: Vec<_> = numbers.collect::<tantivy::Result<_>>()?;
        let found =
            searcher.search(&BooleanQuery::new(clauses), &TopDocs::with_limit(top).order_by_score())?;
        let hit = |(score, at): (f32, tantivy::DocAddress)| {
            let number = numbers.get(at.segment_ord as usize)?.first(at.doc_id)?;
            Some(Hit { document: number as u32, score })
        };
        Ok(found.into_iter().filter_map(hit).collect())
    }
}

impl TextSearch for Tantivy {
    type Session = Searcher;

    fn session(&self) -> Searcher {
        self.reader.searcher()
    }

    fn search(&self, query: &str, top: usize, searcher: &mut Searcher) -> Vec<Hit> {
        // A search in memory cannot fail; an empty answer would count as wrong.
        self.try_search(query, top, searcher).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heapledger::validation::hybrid::{Corpus, SearchMode, TextIndex, hashed_embedding};

    /// The BM25 of the library and of tantivy give the same scores to four digits.
    #[test]
    fn two_implementations_of_bm25_agree() {
        let corpus = match crate::corpus_folder() {
            Some(folder) => Corpus::wordnet(&folder, 4000).unwrap(),
            None => {
                eprintln!("no WordNet here (run fetch-corpus.sh): the corpus is synthetic");
                Corpus::synthetic(4000, 3)
            }
        };
        let theirs = Tantivy::new(&corpus.documents).unwrap();
        let ours = TextIndex::new(&corpus.documents);
        let mut searcher = theirs.session();
        let mut compared = 0;
        let step = (corpus.queries.len() / 200).max(1);
        let queries: Vec<&String> =
            corpus.queries.iter().map(|(query, _)| query).step_by(step).take(200).collect();
        assert_eq!(queries.len(), 200, "{} queries in all", corpus.queries.len());
        for query in queries {
            let found = theirs.search(query, 10, &mut searcher);
            let expected = ours.search(query, 200, &mut ());
            for (rank, hit) in found.iter().enumerate() {
                let own = expected.iter().find(|own| own.document == hit.document);
                let Some(own) = own else { panic!("{query}: document {} is not in ours", hit.document) };
                let difference = (own.score / hit.score - 1.0).abs();
                // tantivy rounds lengths above 40 words.
                let words = corpus.documents[hit.document as usize].split_whitespace().count();
                assert!(difference < if words < 40 { 1e-4 } else { 0.03 }, "{query} {hit:?} {own:?}");
                assert!((expected[rank].score / hit.score - 1.0).abs() < 0.03, "{query}, rank {rank}");
                compared += 1;
            }
        }
        assert!(compared > 1500, "{compared}");
    }

    #[test]
    fn both_halves_are_searched() {
        let documents = ["a red apple on a tree", "a green pear", "the tree of life"].map(str::to_owned);
        let system = unified(&documents, 1, |text| hashed_embedding(text, 64)).unwrap();
        let mut session = system.session();
        for mode in [SearchMode::Text, SearchMode::Vector, SearchMode::Hybrid] {
            let hits = system.search_hybrid("red apple", mode, &mut session);
            assert_eq!(hits[0].document, 0, "{mode:?}");
        }
        assert!(system.search_hybrid("nowhere", SearchMode::Text, &mut session).is_empty());
    }
}
