//! Lines of WordNet (`tests/data/wordnet`), whose documents and queries were first read by eye.

use std::path::{Path, PathBuf};

use heapledger::validation::hybrid::{Corpus, TextIndex, TextSearch};

const FILES: [&str; 4] = ["data.noun", "data.verb", "data.adj", "data.adv"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/wordnet")
}

fn excerpt() -> Corpus {
    Corpus::wordnet(&folder(), 1000).unwrap()
}

/// Returns the queries of one document.
fn queries(corpus: &Corpus, document: usize) -> Vec<&str> {
    let of = corpus.queries.iter().filter(|(_, number)| *number as usize == document);
    of.map(|(query, _)| query.as_str()).collect()
}

/// First word of each set, in the order of the files.
const FIRST_WORDS: [&str; 32] = [
    "entity",
    "abstraction",
    "permutation",
    "supererogation",
    "duty",
    "carrot",
    "dog",
    "cow",
    "doodad",
    "Medal of Honor",
    "indirect discourse",
    "call",
    "breathe",
    "respire",
    "focus",
    "come",
    "strew",
    "hitch",
    "able",
    "abounding",
    "outback",
    "dead-on",
    "guardant",
    "fixed",
    "dirty",
    "standard",
    "wilted",
    "a cappella",
    "AD",
    "just",
    "approximately",
    "enough",
];

#[test]
fn every_set_is_a_document_and_no_line_of_the_licence_is() {
    let corpus = excerpt();
    let first = |text: &String| text.split([',', ':']).next().unwrap().to_owned();
    assert_eq!(corpus.documents.iter().map(first).collect::<Vec<_>>(), FIRST_WORDS);
    assert!(corpus.documents.iter().all(|text| !text.contains("Princeton") && !text.contains("LICENSEE")));
    for name in FILES {
        let text = std::fs::read_to_string(folder().join(name)).unwrap();
        assert!(
            text.contains("WordNet 3.1 Copyright 2011 by Princeton University.  All rights reserved."),
            "{name}"
        );
    }
}

/// The lines have joined words, hexadecimal numbers of words, positions of adjectives, and frames of verbs.
#[test]
fn words_are_all_of_the_set_and_nothing_else() {
    let corpus = excerpt();
    let document = |word: &str| {
        let number = FIRST_WORDS.iter().position(|first| *first == word).unwrap();
        corpus.documents[number].as_str()
    };
    for (word, whole) in [
        (
            "duty",
            "duty, responsibility, obligation: the social force that binds you to the courses of action demanded by that force",
        ),
        ("breathe", "breathe, take a breath, respire, suspire: draw air into, and expel out of, the lungs"),
        ("come", "come: be found or available"),
        ("abounding", "abounding, galore: existing in abundance"),
        ("outback", "outback, remote: inaccessible and sparsely populated"),
        ("guardant", "guardant, gardant, full-face: looking forward"),
        ("hitch", "hitch: connect to a vehicle"),
        (
            "AD",
            "AD, A.D., anno Domini: in the Christian era; used before dates after the supposed year Christ was born",
        ),
        ("cow", "cow, moo-cow: female of domestic cattle"),
    ] {
        assert_eq!(document(word), whole);
    }
    // 18 of them: the number in the line is 12.
    let words = document("doodad").split(": ").next().unwrap().split(", ");
    assert_eq!((words.clone().count(), words.last()), (18, Some("widget")));
}

/// Some dozen lines of WordNet have a quotation in the middle of their definition.
#[test]
fn a_quotation_within_a_definition_is_part_of_it() {
    let corpus = excerpt();
    for (number, whole, examples) in [
        (
            16,
            "strew, straw: spread by scattering (\"straw\" is archaic)",
            vec!["strew toys all over the carpet"],
        ),
        (
            5,
            "carrot: promise of reward as in \"carrot and stick\"",
            vec!["used the carrot of subsidized housing for the workers to get their vote"],
        ),
        (11, "call, claim: a demand especially in the phrase \"the call of duty\"", vec![]),
        (
            23,
            "fixed, frozen: incapable of being changed or moved or undone; e.g. \"frozen prices\"",
            vec!["living on fixed incomes"],
        ),
        (
            10,
            "indirect discourse: a report of a discourse in which deictic terms are modified appropriately (e.g., \"he said \
             `I am a fool'\" would be modified to \"he said he is a fool\")",
            vec![],
        ),
    ] {
        assert_eq!(corpus.documents[number], whole);
        assert_eq!(queries(&corpus, number), examples);
    }
}

#[test]
fn examples_are_queries_without_their_authors_and_short_ones_are_none() {
    let corpus = excerpt();
    assert_eq!(queries(&corpus, 6), ["the dog barked all night"]);
    assert_eq!(
        queries(&corpus, 4),
        [
            "we must instill a sense of duty in our children",
            "every right implies a responsibility; every opportunity, an obligation; every possession, a duty"
        ]
    );
    assert_eq!(
        queries(&corpus, 2),
        ["the permutations...taking place in the physical world"],
        "by Henry Miller"
    );
    assert_eq!(queries(&corpus, 7), ["`moo-cow' is a child's term"]);
    assert_eq!(queries(&corpus, 19), [""; 0], "two words each");
    assert_eq!(
        queries(&corpus, 18),
        [
            "she was able to program her computer",
            "we were at last able to buy a car",
            "able to get a grant for the project"
        ]
    );
    assert_eq!(
        queries(&corpus, 31),
        ["Have I eaten enough?", "I've had plenty, thanks"],
        "what stands between the two is neither"
    );
    assert_eq!(corpus.queries.len(), 39, "of four words and more");
}

#[test]
fn fewer_documents_are_taken_evenly() {
    let corpus = Corpus::wordnet(&folder(), 8).unwrap();
    let first: Vec<&str> = corpus.documents.iter().map(|d| d.split([',', ':']).next().unwrap()).collect();
    assert_eq!(first, ["entity", "duty", "doodad", "breathe", "strew", "outback", "dirty", "AD"]);
    assert!(corpus.queries.iter().all(|(_, number)| *number < 8));
    assert!(Corpus::wordnet(&folder(), 0).unwrap().documents.is_empty());
}

/// The right answer to an example is the set that the example was written for.
#[test]
fn a_search_finds_the_document_that_a_query_was_written_for() {
    let corpus = excerpt();
    let index = TextIndex::new(&corpus.documents);
    for (query, word) in [
        ("the dog barked all night", "dog"),
        ("hitch the trailer to the car", "hitch"),
        ("strew toys all over the carpet", "strew"),
        ("they performed a cappella", "a cappella"),
    ] {
        assert!(
            corpus.queries.iter().any(|(q, n)| q == query && FIRST_WORDS[*n as usize] == word),
            "{query}"
        );
        assert_eq!(FIRST_WORDS[index.search(query, 1, &mut ())[0].document as usize], word, "{query}");
    }
}

#[test]
fn a_folder_without_wordnet_is_an_error_and_not_an_empty_corpus() {
    let directory = tempfile::tempdir().unwrap();
    assert!(Corpus::wordnet(directory.path(), 10).is_err());
    for name in FILES {
        std::fs::write(directory.path().join(name), b"\xff\xfe").unwrap();
    }
    assert!(Corpus::wordnet(directory.path(), 10).is_err(), "no text");
    for name in FILES {
        std::fs::write(directory.path().join(name), "\n | \nno synset\n00001740 03 n zz entity 0 000 | x\n")
            .unwrap();
    }
    assert!(Corpus::wordnet(directory.path(), 10).unwrap().documents.is_empty());
}
