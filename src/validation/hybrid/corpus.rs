//! A synthetic corpus, and embeddings without a model.
//!
//! Words follow Zipf's law and documents have topics. So the lengths of posting lists vary as in real text, and
//! distances between embeddings have a meaning. Results on this corpus prove nothing about real text, only that answers
//! under load equal the answers of one thread.

use super::super::random::{Popularity, UserRng};
use super::bm25::words;

const VOCABULARY: usize = 6000;
const TOPICS: usize = 60;
const WORDS_PER_DOCUMENT: usize = 28;
const WORDS_PER_QUERY: usize = 5;
/// Share of the words of a document that belong to its topic.
const TOPICAL: f64 = 0.6;
const QUERIES_MAX: usize = 400;

/// A corpus: documents, and queries with their source documents.
#[derive(Debug, Clone)]
pub struct Corpus {
    /// Name for reports.
    pub name: String,
    /// Texts of the documents.
    pub documents: Vec<String>,
    /// Queries, each with the number of its source document.
    pub queries: Vec<(String, u32)>,
}

impl Corpus {
    /// Generates a corpus of `documents` documents. The same seed gives the same corpus.
    ///
    /// # Examples
    /// ```
    /// use heapledger::validation::hybrid::Corpus;
    /// let corpus = Corpus::synthetic(100, 7);
    /// assert_eq!((corpus.documents.len(), corpus.name.as_str()), (100, "synthetic"));
    /// ```
    pub fn synthetic(documents: usize, seed: u64) -> Self {
        let mut common = UserRng::new(seed, 0, Popularity::Zipf(1.0));
        let mut topical = UserRng::new(seed, 1, Popularity::Zipf(0.8));
        let mut even = UserRng::new(seed, 2, Popularity::Uniform);
        let per_topic = VOCABULARY / TOPICS;
        let texts: Vec<Vec<String>> = (0..documents)
            .map(|d| {
                let topic = d % TOPICS;
                let word = |_| {
                    let number = if even.unit() < TOPICAL {
                        // The words of a topic are spread over all frequencies.
                        topical.pick(per_topic) * TOPICS + topic
                    } else {
                        common.pick(VOCABULARY)
                    };
                    spelled(number)
                };
                (0..WORDS_PER_DOCUMENT).map(word).collect()
            })
            .collect();
        let mut draw = UserRng::new(seed, 3, Popularity::Uniform);
        let queries = (0..documents.min(QUERIES_MAX))
            .map(|_| {
                let answer = draw.pick(documents.max(1));
                let text = &texts[answer];
                let query: Vec<&str> =
                    (0..WORDS_PER_QUERY).map(|_| text[draw.pick(text.len())].as_str()).collect();
                (query.join(" "), answer as u32)
            })
            .collect();
        Self { name: "synthetic".to_owned(), documents: texts.iter().map(|t| t.join(" ")).collect(), queries }
    }
}

/// Returns the word with this number. Words are made of syllables, so that they have realistic lengths.
fn spelled(number: usize) -> String {
    const CONSONANTS: &[u8; 16] = b"bdfghjklmnprstvz";
    const VOWELS: &[u8; 5] = b"aeiou";
    let mut rest = number + 80;
    let mut word = String::new();
    while rest > 0 {
        word.push(char::from(CONSONANTS[rest % 16]));
        word.push(char::from(VOWELS[rest / 16 % 5]));
        rest /= 80;
    }
    word
}

/// Returns the embedding of a text by random indexing (Kanerva and others 2000): each word has a fixed random vector,
/// and the sum of these vectors is scaled to length 1. Texts that share words are near each other. Synonyms are not,
/// because the vectors of different words are unrelated. A text without words has the zero vector.
pub fn hashed_embedding(text: &str, dimensions: usize) -> Vec<f32> {
    let mut sum = vec![0.0f32; dimensions];
    for word in words(text) {
        let hash = word
            .bytes()
            .fold(0xCBF2_9CE4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3));
        let mut rng = UserRng::new(hash, 0, Popularity::Uniform);
        sum.iter_mut().for_each(|s| *s += rng.unit() as f32 - 0.5);
    }
    let length = sum.iter().map(|s| s * s).sum::<f32>().sqrt();
    // A text without words has the zero vector.
    if length > 0.0 {
        sum.iter_mut().for_each(|s| *s /= length);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spelled_apart() {
        let mut all: Vec<String> = (0..VOCABULARY).map(spelled).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), VOCABULARY);
    }

    #[test]
    fn the_seed_makes_the_corpus() {
        let (a, b, c) = (Corpus::synthetic(50, 1), Corpus::synthetic(50, 1), Corpus::synthetic(50, 2));
        assert_eq!((&a.documents, &a.queries), (&b.documents, &b.queries));
        assert_ne!(a.documents, c.documents);
    }

    #[test]
    fn texts_that_share_words_are_nearer() {
        let near = |a: &str, b: &str| {
            hashed_embedding(a, 64).iter().zip(hashed_embedding(b, 64)).map(|(x, y)| x * y).sum::<f32>()
        };
        assert!((near("red apple", "apple RED") - 1.0).abs() < 1e-5);
        assert!(near("red apple tree", "red apple pie") > near("red apple tree", "stormy night sea"));
        assert!(hashed_embedding("", 8).iter().all(|v| *v == 0.0));
    }
}
