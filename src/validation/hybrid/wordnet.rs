//! The conversion of WordNet's `data.*` files to documents and queries.
//!
//! A line is a set of synonyms (manual page `wndb(5)` of WordNet). Its fields are offset, file, type, number of words
//! in hexadecimal, each word with a number, pointers, and frames of verbs. The gloss follows after ` | `: a definition,
//! and examples in quotes. A document consists of the words and the definition. The examples are natural queries whose
//! answer is known.

use std::io;
use std::path::Path;

use super::corpus::Corpus;

const FILES: [&str; 4] = ["data.noun", "data.verb", "data.adj", "data.adv"];
/// Minimum number of words of a query.
const QUERY_WORDS: usize = 4;

impl Corpus {
    /// Reads `documents` sets of synonyms, evenly spread over the four `data.*` files of WordNet in a folder, with
    /// their example sentences as queries.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read or is not text. Lines other than sets of synonyms are ignored.
    pub fn wordnet(folder: &Path, documents: usize) -> io::Result<Self> {
        let read = |name: &str| std::fs::read_to_string(folder.join(name));
        let texts = FILES.iter().map(|name| read(name)).collect::<io::Result<Vec<String>>>()?;
        let all: Vec<(String, Vec<String>)> =
            texts.iter().flat_map(|text| text.lines()).filter_map(parsed).collect();
        let every = (all.len() / documents.max(1)).max(1);
        let mut corpus = Self { name: "WordNet".to_owned(), documents: Vec::new(), queries: Vec::new() };
        for (document, examples) in all.into_iter().step_by(every).take(documents) {
            let number = corpus.documents.len() as u32;
            corpus.documents.push(document);
            let queries = examples.into_iter().filter(|example| example.split(' ').count() >= QUERY_WORDS);
            corpus.queries.extend(queries.map(|query| (query, number)));
        }
        Ok(corpus)
    }
}

/// Returns the document and the examples of a line; `None` for a line that is not a set of synonyms, such as the
/// licence.
fn parsed(line: &str) -> Option<(String, Vec<String>)> {
    if line.starts_with(' ') {
        return None;
    }
    let (head, gloss) = line.split_once(" | ")?;
    let mut fields = head.split(' ').skip(3);
    let words = usize::from_str_radix(fields.next()?, 16).ok()?;
    // An adjective may be followed by its syntactic position in brackets.
    let word = |word: &str| word.split('(').next().unwrap_or(word).replace('_', " ");
    let synonyms: Vec<String> = fields.step_by(2).take(words).map(word).collect();
    let (definition, examples) = parts_of(gloss);
    Some((format!("{}: {definition}", synonyms.join(", ")), examples))
}

/// Returns the definition and the examples of a gloss. A quotation before the semicolon or colon that ends the
/// definition is part of the definition.
fn parts_of(gloss: &str) -> (String, Vec<String>) {
    let mut parts = gloss.split('"');
    let mut definition = parts.next().unwrap_or_default().to_owned();
    let mut examples = Vec::new();
    while let (Some(quoted), Some(after)) = (parts.next(), parts.next()) {
        if examples.is_empty() && !definition.trim_end().ends_with([';', ':']) {
            definition = format!("{definition}\"{quoted}\"{after}");
        } else {
            examples.push(quoted.to_owned());
        }
    }
    (definition.trim_end_matches([' ', ';', ':']).to_owned(), examples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_document_and_its_examples() {
        let line = "02086723 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 002 @ 02085998 n 0000 @ 01320032 n 0000 | a \
                    member of the genus Canis; \"the dog barked all night\"; \"a dog\"  ";
        let (document, examples) = parsed(line).unwrap();
        assert_eq!(document, "dog, domestic dog, Canis familiaris: a member of the genus Canis");
        assert_eq!(examples, ["the dog barked all night", "a dog"]);
        assert_eq!(parsed("  1 This software and database is being provided to you | x"), None);
    }

    #[test]
    fn any_cut_of_a_line_is_a_shorter_one_or_none() {
        let line = "00014377 00 s 02 abounding 0 galore(ip) 0 001 & 00013906 a 0000 | existing; \"abounding confidence\"; \"whiskey\"";
        for end in 0..line.len() {
            let Some((document, examples)) = parsed(&line[..end]) else { continue };
            assert!("abounding, galore: existing".starts_with(&document), "{document}");
            assert!(examples.len() <= 2, "{examples:?}");
        }
        for hostile in [
            " | ",
            "a b c ffffffffffffffff x | y",
            "a b c -1 x | y",
            "a b c 1ffffffffffffffff x | y",
            "| |",
            "\" | \"",
        ] {
            let _ = parsed(hostile);
        }
    }
}
