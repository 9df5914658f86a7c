//! State of the whole process: every static that can change is listed with its reset in a forked child.

use super::source::{Source, identifier, words};
use super::{Finding, finding};

/// Room, name, and who resets it in a forked child, or why it needs no reset. A name that occurs twice in a room is
/// listed twice.
const STATICS: &[(&str, &str, &str)] = &[
    ("src/aggregator", "BACKGROUND", "reset by its file, which the hook of the fork calls"),
    ("src/quality", "SHOWS", "kept: the child has the same standard output"),
    ("src/recorder", "AT_LOAD", "made once, never changed"),
    ("src/recorder", "PROCESS", "reset by its file, which the hook of the fork calls"),
    ("src/session", "ENDPOINT", "reset by its file, which the hook of the fork calls"),
    ("src/scope", "ENTERED", "kept: the thread that forked goes on in its scopes"),
    ("src/session", "WORK", "reset by its file, which the hook of the fork calls"),
    ("src/stack", "STATE", "reset by its file, which the hook of the fork calls"),
    ("src/stack", "NOTED", "reset by its file, which the hook of the fork calls"),
    ("src/sys", "AT_END", "kept: the thread that forked goes on"),
    ("src/sys", "SCOPE", "set with the slot"),
    ("src/sys", "SLOT", "the hook of the fork, for the one thread that there is"),
    ("src/sys", "program_invocation_name", "the C library's, set before any code of the program runs"),
    ("src/sys", "STATICS", "reset by its file, which the hook of the fork calls"),
    ("src/tracked", "TABLE", "kept: the child has copies of the pointers that it counts"),
    // Programs under validation, and the command, do not continue to record in a forked child.
    ("src/validation", "CURRENT", "who acts on this thread"),
    ("src/validation", "NEXT", "the next number of a thread"),
    ("src/validation", "RUN_DELAY", "an open file of this thread"),
    ("src/validation", "RUNS", "the next number of a run"),
    ("src/validation", "THREAD_ID", "the number of this thread"),
    ("cli/src/bin/heapledger", "ALL", "made once, never changed"),
    ("cli/src/bin/heapledger", "HEAP", "the command's allocator"),
];

/// Types without state that can change after initialisation.
const CONSTANT: &[&str] = &[
    "bool", "char", "str", "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128",
    "isize", "f32", "f64", "fn", "static", "CStr",
];

/// Finds statics with state that are not listed, and entries without a static.
pub fn statics(sources: &[Source]) -> Vec<Finding> {
    beyond(sources, STATICS)
}

fn beyond(sources: &[Source], listed: &[(&'static str, &'static str, &str)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut entries: Vec<(&str, &str)> = listed.iter().map(|(room, name, _)| (*room, *name)).collect();
    for source in sources {
        let Some(room) = source.room() else { continue };
        for (at, name) in with_state(&source.code) {
            match entries.iter().position(|entry| *entry == (room, &name)) {
                Some(entry) => drop(entries.swap_remove(entry)),
                None => {
                    findings.push(finding("statics", source, at, format!("{name} of {room} is not listed")))
                }
            }
        }
    }
    let spare =
        |(room, name)| Finding::new("statics", room, 1, format!("{name} is listed and does not exist"));
    findings.extend(entries.into_iter().map(spare));
    findings
}

/// Returns place and name of every static whose type has a part that can change.
fn with_state(code: &str) -> impl Iterator<Item = (usize, String)> {
    let items = words(code, "static").filter(|at| !code[..*at].ends_with('\''));
    items.filter_map(|at| {
        let (name, end) = match identifier(code, at + "static".len()) {
            (word, end) if word == "mut" => identifier(code, end),
            found => found,
        };
        let type_end = end + code[end..].find('=')?;
        let is_mutable = code[at..end].contains(" mut ");
        let letters = |letter: char| !letter.is_alphanumeric() && letter != '_';
        let parts = code[end..type_end].split(letters).filter(|part| part.starts_with(char::is_alphabetic));
        let is_constant = parts.into_iter().all(|part| CONSTANT.contains(&part));
        (is_mutable || !is_constant).then_some((at, name))
    })
}

#[cfg(test)]
mod planted {
    use super::*;

    fn found(text: &str, listed: &[(&'static str, &'static str, &str)]) -> Vec<String> {
        let source = Source::new("src/room/file.rs", text);
        beyond(&[source], listed).into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn a_static_with_state_that_is_not_listed_is_found() {
        for text in [
            "static A: AtomicU32 = AtomicU32::new(0);",
            "pub(crate) static A: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];",
            "fn a() { static A: std::sync::OnceLock<u32> = OnceLock::new(); }",
            "thread_local! {\n    static A: Cell<u32> = const { Cell::new(0) };\n}",
            "static A: Latch = Latch::new();",
            "static mut A: u32 = 0;",
        ] {
            assert_eq!(found(text, &[]), ["A of src/room is not listed"], "{text}");
            assert_eq!(found(text, &[("src/room", "A", "")]), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_second_static_of_the_same_name_needs_an_entry_too() {
        let text = "static A: Latch = Latch::new(); mod b { static A: Latch = Latch::new(); }";
        assert_eq!(found(text, &[("src/room", "A", "")]).len(), 1);
    }

    #[test]
    fn constants_and_statics_of_tests_are_not_found() {
        for text in [
            "static A: [&'static str; 2] = [\"b\", \"c\"];",
            "static A: &[(u32, fn(u8) -> bool)] = &[];",
            "fn a(b: &'static Latch) -> u8 { let c = 0; c }",
            "#[cfg(test)]\nmod tests { static A: Latch = Latch::new(); }",
        ] {
            assert_eq!(found(text, &[]), [""; 0], "{text}");
        }
    }

    #[test]
    fn an_entry_without_a_static_is_found() {
        assert_eq!(found("", &[("src/room", "A", "")]), ["A is listed and does not exist"]);
    }
}
