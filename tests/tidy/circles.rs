//! Finds circular uses between the files of a room (a layer or a program): types belong below, functions above.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Finding;
use super::paths::Path;
use super::source::{Source, words};

/// Rooms whose files still form circles, each with the number of files in them. The number may only fall, and a room
/// without a circle leaves the list.
const CIRCLES: &[(&str, usize)] = &[];

/// For each file of a room, the files of the room that it names, each with the place of the first use.
type Graph<'a> = BTreeMap<&'a str, BTreeMap<&'a str, usize>>;

/// Finds circles in rooms that are not listed or of more files than listed, and entries that are no longer needed.
pub fn circles(sources: &[Source]) -> Vec<Finding> {
    beyond(sources, CIRCLES)
}

fn beyond(sources: &[Source], listed: &[(&'static str, usize)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_circles: BTreeMap<&str, usize> = listed.iter().map(|(room, _)| (*room, 0)).collect();
    for (room, graph) in graphs(sources) {
        let circles = circles_of(&graph);
        let count = circles.iter().map(BTreeSet::len).sum::<usize>();
        let allowed = listed.iter().find(|(name, _)| *name == room).map_or(0, |(_, count)| *count);
        if count > allowed {
            findings.extend(circles.iter().map(|circle| told(circle, &graph)));
        }
        in_circles.entry(room).and_modify(|found| *found = count);
    }
    for (room, _) in in_circles.into_iter().filter(|(_, count)| *count == 0) {
        findings.push(Finding::new(
            "circles",
            room,
            1,
            "listed, and has no circle: delete the entry".to_owned(),
        ));
    }
    findings
}

/// Returns the graph of each room. A re-exported name leads to the file that defines it; a re-export is not a use.
fn graphs(sources: &[Source]) -> BTreeMap<&str, Graph<'_>> {
    let in_rooms = sources.iter().filter_map(|source| Some(((source.room()?, source.module()), source)));
    let modules: Modules<'_> = in_rooms.collect();
    let mut rooms: BTreeMap<&str, Graph<'_>> = BTreeMap::new();
    for ((room, _), source) in &modules {
        let graph = rooms.entry(room).or_default();
        for path in source.paths.iter().filter(|path| !is_handed_on_only(path, source)) {
            let file = file_of(room, &path.names, &modules).filter(|file| file.path != source.path);
            let Some(file) = file else { continue };
            let uses = graph.entry(&source.path).or_default();
            uses.entry(&file.path).or_insert_with(|| source.line_of(path.at));
        }
    }
    rooms
}

/// The files by room and module.
type Modules<'a> = BTreeMap<(&'a str, Vec<String>), &'a Source>;

/// Returns the file that defines the item of a path: the longest prefix of the path that is a module, or the file from
/// which that module re-exports the name.
fn file_of<'a>(room: &'a str, names: &[String], modules: &Modules<'a>) -> Option<&'a Source> {
    let lengths = (0..=names.len()).rev();
    let module = |length: usize| Some((modules.get(&(room, names[..length].to_vec()))?, length));
    let (file, length) = lengths.filter_map(module).next()?;
    let item = names.get(length);
    let handed_on = file.paths.iter().find(|path| path.is_reexport && path.names.last() == item);
    match handed_on.filter(|path| item.is_some() && path.names != names) {
        Some(path) => file_of(room, &[&path.names[..], &names[length + 1..]].concat(), modules),
        None => Some(file),
    }
}

/// Whether a path is a `pub use` of a name that the file itself does not use.
fn is_handed_on_only(path: &Path, source: &Source) -> bool {
    let Some(name) = path.names.last().filter(|name| path.is_reexport && *name != "*") else { return false };
    let here = path.names.iter().filter(|other| *other == name).count();
    let declared = source.code.matches(&format!("mod {name};")).count();
    words(&source.code, name).count() <= here + declared
}

/// Returns the sets of files in which each file leads to every other file.
fn circles_of<'a>(graph: &Graph<'a>) -> Vec<BTreeSet<&'a str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        graph.keys().map(|file| (*file, reached_from(file, graph))).collect();
    let circle = |file: &&'a str| -> BTreeSet<&'a str> {
        let leads_back = |other: &&str| reached.get(other).is_some_and(|files| files.contains(*file));
        reached[file].iter().copied().filter(leads_back).collect()
    };
    let circles: BTreeSet<BTreeSet<&str>> = graph.keys().map(circle).collect();
    circles.into_iter().filter(|circle| !circle.is_empty()).collect()
}

fn reached_from<'a>(file: &'a str, graph: &Graph<'a>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut from = vec![file];
    while let Some(file) = from.pop() {
        let next = graph.get(file).into_iter().flat_map(BTreeMap::keys);
        from.extend(next.filter(|other| reached.insert(**other)));
    }
    reached
}

/// Returns the finding for a circle, with its files and the shortest way around.
fn told(circle: &BTreeSet<&str>, graph: &Graph<'_>) -> Finding {
    let ways = circle.iter().map(|file| way_around(file, graph));
    let way = ways.min_by_key(Vec::len).unwrap_or_default();
    let line = |pair: &[&str]| graph[pair[0]][pair[1]];
    let steps = way.windows(2).map(|pair| format!("{}:{} uses {}", pair[0], line(pair), pair[1]));
    let (steps, files) = (steps.collect::<Vec<_>>(), circle.iter().copied().collect::<Vec<_>>());
    let text =
        format!("{} files in a circle: {}; shortest: {}", files.len(), files.join(", "), steps.join(", "));
    Finding::new("circles", way[0], line(&way), text)
}

/// Returns the shortest way from a file back to itself, with the file at both ends.
fn way_around<'a>(file: &'a str, graph: &Graph<'a>) -> Vec<&'a str> {
    let mut ways = VecDeque::from([vec![file]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        let last = way[way.len() - 1];
        for other in graph.get(last).into_iter().flat_map(BTreeMap::keys) {
            let longer = [&way[..], &[*other]].concat();
            if *other == file {
                return longer;
            }
            if seen.insert(*other) {
                ways.push_back(longer);
            }
        }
    }
    Vec::new()
}

#[cfg(test)]
mod planted {
    use super::*;

    fn found(files: &[(&str, &str)], listed: &[(&'static str, usize)]) -> Vec<String> {
        let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
        beyond(&sources, listed).into_iter().map(|finding| finding.text).collect()
    }

    const OF_THREE: &[(&str, &str)] = &[
        ("src/room/mod.rs", "mod a;\nfn new() { a::A }"),
        ("src/room/a.rs", "\nuse crate::room::b::B;"),
        ("src/room/b.rs", "fn b() { super::new() }"),
        ("src/room/leaf.rs", "pub struct Leaf;"),
    ];

    #[test]
    fn a_circle_of_files_is_found_with_its_shortest_way() {
        assert_eq!(
            found(OF_THREE, &[]),
            [
                "3 files in a circle: src/room/a.rs, src/room/b.rs, src/room/mod.rs; shortest: src/room/a.rs:2 uses \
              src/room/b.rs, src/room/b.rs:1 uses src/room/mod.rs, src/room/mod.rs:2 uses src/room/a.rs"
            ]
        );
        let in_a_program = [
            ("src/bin/heapledger/main.rs", "mod exit;\nconst A: u8 = exit::B;"),
            ("src/bin/heapledger/exit.rs", "use crate::A;"),
        ];
        assert_eq!(found(&in_a_program, &[]).len(), 1);
        let through_the_parent = [
            ("src/room/mod.rs", "mod a;\nmod b;\npub use a::A;"),
            ("src/room/a.rs", "use super::b::B;"),
            ("src/room/b.rs", "use super::A;"),
        ];
        assert_eq!(found(&through_the_parent, &[]).len(), 1);
    }

    #[test]
    fn files_without_a_circle_are_not_found() {
        for files in [
            &[("src/room/a.rs", "use super::b::B;"), ("src/room/b.rs", "use std::fmt;")][..],
            &[("src/room/a.rs", "use super::b::B;"), ("src/other/b.rs", "use crate::room::a::A;")],
            &[
                ("src/room/a.rs", "use super::b::B;"),
                ("src/room/b.rs", "#[cfg(test)]\nmod tests { use super::super::a::A; }"),
            ],
            &[
                ("src/room/mod.rs", "mod a;\nmod b;\npub use a::A;"),
                ("src/room/b.rs", "use super::A;"),
                ("src/room/a.rs", "use super::Item;"),
            ],
            &[("src/room/mod.rs", "mod a;"), ("src/room/a.rs", "use super::Item; fn a() { Self::b() }")],
        ] {
            assert_eq!(found(files, &[]), [""; 0], "{files:?}");
        }
    }

    #[test]
    fn a_listed_circle_may_shrink_but_not_grow_and_its_entry_goes_with_it() {
        assert_eq!(found(OF_THREE, &[("src/room", 3)]), [""; 0]);
        assert_eq!(found(OF_THREE, &[("src/room", 4)]), [""; 0]);
        assert_eq!(found(OF_THREE, &[("src/room", 2)]).len(), 1);
        assert_eq!(
            found(&OF_THREE[3..], &[("src/room", 2)]),
            ["listed, and has no circle: delete the entry"]
        );
    }
}
