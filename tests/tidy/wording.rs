//! Finds words that a reader has to read twice, in names, comments and messages. Use the words of the field instead.

use std::collections::BTreeMap;

use super::Finding;
use super::source::Source;

/// The forbidden words and phrases, in lower case.
const FORBIDDEN: &[&str] = &[
    "deed",
    "deeds",
    "dear",
    "dearer",
    "dearly",
    "tap",
    "taps",
    "a turn",
    "the turn",
    "this turn",
    "its turn",
    "stranger",
    "strangers",
    "settle",
    "settles",
    "settled",
    "settling",
    "standing",
    "standings",
    "occasion",
    "occasions",
    "complaint",
    "complaints",
    "whoever",
    "whomever",
    "at hand",
    "is of use",
    "comes to",
    "came upon",
    "comes upon",
    "amid",
    "amidst",
    "likewise",
    "thereof",
    "whereof",
    "borne",
    "midst",
];

/// Rooms that still have forbidden words, each with their number. The number may only fall, and a room without such a
/// word leaves the list.
const REMAINING: &[(&str, usize)] = &[
    ("cli/src/export", 2),
    ("cli/tests/process", 3),
    ("src/profile", 2),
    ("tests", 2),
    ("tests/process", 42),
];

/// This file, which names the forbidden words.
const THIS_FILE: &str = "tests/tidy/wording.rs";

/// Finds rooms with more forbidden words than are listed, and entries that are no longer needed.
pub fn wording(sources: &[Source]) -> Vec<Finding> {
    beyond(sources, REMAINING)
}

fn beyond(sources: &[Source], listed: &[(&'static str, usize)]) -> Vec<Finding> {
    let mut rooms: BTreeMap<&str, Vec<Finding>> =
        listed.iter().map(|(room, _)| (*room, Vec::new())).collect();
    for source in sources.iter().filter(|source| source.path != THIS_FILE) {
        rooms.entry(place(source)).or_default().extend(forbidden(source));
    }
    let mut findings = Vec::new();
    for (room, mut found) in rooms {
        let allowed = listed.iter().find(|(name, _)| *name == room).map_or(0, |(_, count)| *count);
        if found.is_empty() && allowed > 0 {
            findings.push(Finding::new(
                "wording",
                room,
                1,
                "listed, and has none: delete the entry".to_owned(),
            ));
        } else if found.len() > allowed {
            let text = format!("{} forbidden words, where {allowed} are listed", found.len());
            findings.push(Finding::new("wording", room, 1, text));
            findings.append(&mut found);
        }
    }
    findings
}

/// Returns the room of a file, or the folder of a test, bench or example, which is part of no room.
fn place(source: &Source) -> &str {
    let folder = || source.path.rsplit_once('/').map_or(source.path.as_str(), |(folder, _)| folder);
    source.room().unwrap_or_else(folder)
}

fn forbidden(source: &Source) -> Vec<Finding> {
    let lines = || {
        (1..)
            .zip(source.text.lines())
            .flat_map(|(number, line)| words(line).into_iter().map(move |word| (number, word)))
    };
    let words: Vec<(usize, String)> = lines().collect();
    let mut phrases: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for phrase in FORBIDDEN {
        phrases.entry(phrase.split(' ').next().unwrap_or(phrase)).or_default().push(phrase);
    }
    let mut findings = Vec::new();
    for (at, (line, word)) in words.iter().enumerate() {
        for phrase in phrases.get(word.as_str()).into_iter().flatten() {
            let more = words[at..].iter().map(|(_, word)| word.as_str()).chain(["", ""]);
            if phrase.split(' ').zip(more).all(|(part, word)| part == word) {
                findings.push(Finding::new("wording", &source.path, *line, phrase.to_string()));
            }
        }
    }
    findings
}

/// Returns the words of a line in lower case. A name is split at `_` and at capitals. A punctuation mark counts as a
/// word, so that no phrase extends beyond it.
fn words(line: &str) -> Vec<String> {
    let mut spaced = String::new();
    let mut is_lower = false;
    for letter in line.chars() {
        if is_lower && letter.is_uppercase() {
            spaced.push(' ');
        }
        is_lower = letter.is_lowercase();
        match letter {
            '_' | '/' | '!' => spaced.push(' '),
            letter if letter.is_alphanumeric() || letter.is_whitespace() => {
                spaced.extend(letter.to_lowercase())
            }
            _ => spaced.push_str(" . "),
        }
    }
    spaced.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod planted {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let source = Source::new("src/room/file.rs", text);
        forbidden(&source).into_iter().map(|finding| format!("{}: {}", finding.line, finding.text)).collect()
    }

    #[test]
    fn a_forbidden_word_is_found_in_names_comments_and_messages() {
        assert_eq!(found("fn settle_dear_balance() {}"), ["1: settle", "1: dear"]);
        assert_eq!(found("struct PointerDeed;\nconst TAP_BYTES: u8 = 0;"), ["1: deed", "2: tap"]);
        assert_eq!(found("/// Whoever has the lock.\nfn a() {}"), ["1: whoever"]);
        assert_eq!(found("// Frees what is at\n// hand.\n"), ["1: at hand"]);
        assert_eq!(found("const A: &str = \"a complaint, and the turn\";"), ["1: complaint", "1: the turn"]);
    }

    #[test]
    fn ordinary_english_is_not_found() {
        for text in [
            "// In turn, they turn to the other hand; it comes after that and is used.",
            "fn tape() { outstanding(); occasionally(); handle_at(hand) } // a use; at the hand; unsettled; staples",
        ] {
            assert_eq!(found(text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_listed_number_may_fall_but_not_rise_and_its_entry_goes_with_it() {
        let of = |text: &str, listed: &[(&'static str, usize)]| {
            beyond(&[Source::new("src/room/file.rs", text)], listed).len()
        };
        assert_eq!(of("// amid\n", &[]), 2);
        assert_eq!(of("// amid\n", &[("src/room", 1)]), 0);
        assert_eq!(of("// amid, amid\n", &[("src/room", 1)]), 3);
        assert_eq!(of("// amid\n", &[("src/room", 2)]), 0);
        assert_eq!(of("// among\n", &[("src/room", 2)]), 1);
    }

    #[test]
    fn tests_and_benches_have_no_forbidden_word_either() {
        for path in ["tests/file.rs", "tests/process/file.rs", "benches/file.rs", "cli/tests/file.rs"] {
            assert_eq!(beyond(&[Source::new(path, "// amid\n")], &[]).len(), 2, "{path}");
        }
        assert_eq!(beyond(&[Source::new(THIS_FILE, "// amid\n")], &[]).len(), 0);
    }
}
