//! An inverted index with BM25 ranking.
//!
//! ```text
//! score(q, d) = Σ idf(t) · tf·(k1 + 1) / (tf + k1·(1 − b + b·|d|/avg))      k1 = 1.2, b = 0.75
//! idf(t)      = ln(1 + (N − df + ½) / (df + ½))
//! ```
//!
//! The formula is from Robertson and Zaragoza, *The Probabilistic Relevance Framework: BM25 and Beyond*, 2009. The idf
//! is the variant that is never negative.

use std::collections::HashMap;

use super::hit::{Hit, TextSearch, best};

const K1: f32 = 1.2;
const B: f32 = 0.75;

#[derive(Debug, Clone, Copy)]
struct Posting {
    document: u32,
    times: u32,
}

/// An inverted index of documents, ranked by BM25.
///
/// # Examples
/// ```
/// use heapledger::validation::hybrid::{TextIndex, TextSearch};
/// let index = TextIndex::new(&["the cat sat", "the dog ran", "a cat and a dog"]);
/// let hits = index.search("cat", 10, &mut ());
/// // Of two documents with the word, the shorter one is first.
/// assert_eq!(hits.iter().map(|h| h.document).collect::<Vec<_>>(), [0, 2]);
/// ```
#[derive(Debug)]
pub struct TextIndex {
    postings: HashMap<String, Vec<Posting>>,
    lengths: Vec<u32>,
    mean_length: f32,
}

/// Returns the words of a text in lower case; a word consists of letters and digits.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase)
}

impl TextIndex {
    /// Indexes `documents`, which are numbered from 0.
    pub fn new<S: AsRef<str>>(documents: &[S]) -> Self {
        let mut postings: HashMap<String, Vec<Posting>> = HashMap::new();
        let mut lengths = Vec::with_capacity(documents.len());
        for (document, text) in (0u32..).zip(documents) {
            let mut counts: HashMap<String, u32> = HashMap::new();
            words(text.as_ref()).for_each(|word| *counts.entry(word).or_default() += 1);
            lengths.push(counts.values().sum());
            for (word, times) in counts {
                postings.entry(word).or_default().push(Posting { document, times });
            }
        }
        let total: u64 = lengths.iter().map(|l| u64::from(*l)).sum();
        let mean_length = (total as f32 / lengths.len().max(1) as f32).max(1.0);
        Self { postings, lengths, mean_length }
    }

    fn idf(&self, with_word: usize) -> f32 {
        let (n, df) = (self.lengths.len() as f32, with_word as f32);
        (1.0 + (n - df + 0.5) / (df + 0.5)).ln()
    }

    fn weight(&self, p: Posting) -> f32 {
        let times = p.times as f32;
        let length = self.lengths[p.document as usize] as f32 / self.mean_length;
        times * (K1 + 1.0) / (times + K1 * (1.0 - B + B * length))
    }
}

impl TextSearch for TextIndex {
    type Session = ();

    fn session(&self) {}

    /// Returns the `top` best documents, best first. Documents of equal score are in the order of their numbers. A word
    /// that the query repeats counts each time.
    fn search(&self, query: &str, top: usize, (): &mut ()) -> Vec<Hit> {
        let mut scores: HashMap<u32, f32> = HashMap::new();
        for postings in words(query).filter_map(|word| self.postings.get(&word)) {
            let idf = self.idf(postings.len());
            for p in postings {
                *scores.entry(p.document).or_default() += idf * self.weight(*p);
            }
        }
        best(scores, top)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_formula() {
        let index = TextIndex::new(&["apple pear", "apple apple plum fig", "kiwi"]);
        let hits = index.search("apple", 10, &mut ());
        // The formula has N = 3 and df = 2 here; the lengths are 2, 4 and 1, their mean 7/3.
        let idf = (1.0f32 + 1.5 / 2.5).ln();
        let weight = |tf: f32, len: f32| tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * len / (7.0 / 3.0)));
        let expected = [idf * weight(1.0, 2.0), idf * weight(2.0, 4.0)];
        for hit in &hits {
            assert!((hit.score - expected[hit.document as usize]).abs() < 1e-6, "{hit:?} of {expected:?}");
        }
        assert_eq!(hits.len(), 2);
    }

    #[test]
    fn rare_words_weigh_more_and_unknown_ones_nothing() {
        let documents: Vec<String> = (0..50).map(|i| format!("common word{i}")).collect();
        let index = TextIndex::new(&documents);
        let hits = index.search("COMMON Word7, nowhere!", 3, &mut ());
        assert_eq!((hits[0].document, hits.len()), (7, 3));
        assert!(hits[0].score > 10.0 * hits[1].score);
        assert!(
            index.search("nowhere", 3, &mut ()).is_empty()
                && TextIndex::new::<&str>(&[]).search("x", 3, &mut ()).is_empty()
        );
    }
}
