//! WordNet's `data.*` files as documents and queries.
//!
//! A line is a set of synonyms: offset, file, type, number of words in hexadecimal, each word with a number, pointers,
//! and behind ` | ` the gloss: a definition, and examples in quotes. A document is the words and the definition; the
//! examples are queries that people wrote, each with its known answer.

use std::path::Path;

use heapledger::validation::hybrid::Corpus;

const FILES: [&str; 4] = ["data.noun", "data.verb", "data.adj", "data.adv"];
/// Examples shorter than this are a word or two, and no query.
const QUERY_WORDS: usize = 4;

/// The first `documents` sets of synonyms, evenly from all files.
pub fn corpus(folder: &Path, documents: usize) -> std::io::Result<Corpus> {
    let texts = FILES.map(|name| std::fs::read_to_string(folder.join(name)));
    let texts = texts.into_iter().collect::<std::io::Result<Vec<String>>>()?;
    let all: Vec<(String, Vec<String>)> =
        texts.iter().flat_map(|text| text.lines()).filter_map(parsed).collect();
    let every = (all.len() / documents.max(1)).max(1);
    let mut corpus = Corpus { name: "WordNet".to_owned(), documents: Vec::new(), queries: Vec::new() };
    for (document, examples) in all.into_iter().step_by(every).take(documents) {
        let number = corpus.documents.len() as u32;
        corpus.documents.push(document);
        let queries = examples.into_iter().filter(|example| example.split(' ').count() >= QUERY_WORDS);
        corpus.queries.extend(queries.map(|query| (query, number)));
    }
    Ok(corpus)
}

/// The document of a line and its examples; `None` for the lines of the licence.
fn parsed(line: &str) -> Option<(String, Vec<String>)> {
    if line.starts_with(' ') {
        return None;
    }
    let (head, gloss) = line.split_once(" | ")?;
    let mut fields = head.split(' ').skip(3);
    let words = usize::from_str_radix(fields.next()?, 16).ok()?;
    // An adjective may carry its position in brackets.
    let word = |word: &str| word.split('(').next().unwrap_or(word).replace('_', " ");
    let synonyms: Vec<String> = fields.step_by(2).take(words).map(word).collect();
    let mut parts = gloss.split('"');
    let definition = parts.next()?.trim().trim_end_matches(';');
    let examples = parts.step_by(2).map(str::to_owned).collect();
    Some((format!("{}: {definition}", synonyms.join(", ")), examples))
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
        assert_eq!(
            parsed("00001740 00 a 01 able(p) 0 000 | having the means").unwrap().0,
            "able: having the means"
        );
    }
}
