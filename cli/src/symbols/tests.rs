//! Tests of symbol lookup on hand-made profiles. `tests/symbols.rs` tests the profiles of compiled programs.

use std::path::Path;

use super::*;
use heapledger::Profile;
use heapledger::profile::{Stack, SymbolFrame};

fn profile(modules: Vec<Module>, frames: Vec<u64>) -> Profile {
    let mut profile = Profile::default();
    profile.modules = modules;
    profile.stacks = vec![Stack::default(), Stack { frames, truncated: false }];
    profile
}

fn module(path: &str, start: u64) -> Module {
    Module { path: path.into(), start, end: start + 0x1000, ..Module::default() }
}

#[test]
fn modules_that_are_no_files_are_passed_over_in_silence() {
    let modules = ["[vdso]", "", "//anon", "linux-vdso.so.1"].iter().zip(1..);
    let modules = modules.map(|(path, at)| module(path, at * 0x1000)).collect();
    let mut profile = profile(modules, vec![0, 1, 0x1001, 0x2001, 0x3001, 0x4001, u64::MAX]);
    let mut last = None;
    resolve(&mut profile, &Options::default(), &mut |progress| last = Some(progress));
    assert_eq!(profile.symbols, Symbols::default());
    assert_eq!(last, Some(Progress { done: 7, total: 7 }));
}

#[test]
fn a_module_that_is_not_here_has_one_note_that_says_what_to_do() {
    let mut profile = profile(vec![module("/nowhere/app", 0x1000)], vec![0x1100, 0x1200, 0x1200]);
    resolve(&mut profile, &Options::default(), &mut |_| {});
    let [note] = &profile.symbols.notes[..] else { panic!("{:?}", profile.symbols.notes) };
    for part in [
        "/nowhere/app is not on this machine",
        "2 addresses have no name",
        "heapledger bundle",
        "--debug-dir",
    ] {
        assert!(note.contains(part), "{note}");
    }
}

#[test]
fn names_that_a_profile_brings_are_kept_and_not_looked_up_again() {
    let mut profile = profile(vec![module("/nowhere/app", 0x1000)], vec![0x1100]);
    profile.symbols.strings = vec![String::new(), "main".into()];
    let main = vec![SymbolFrame { function: 1, ..SymbolFrame::default() }];
    profile.symbols.frames.insert(0x1100, main);
    let before = profile.symbols.clone();
    resolve(&mut profile, &Options::default(), &mut |progress| assert_eq!(progress.total, 0));
    assert_eq!(profile.symbols, before);
}

#[test]
fn many_modules_cost_no_more_than_their_limit() {
    let modules = (0..10_000).map(|at| module("/nowhere/app", at * 0x1000)).collect();
    let mut profile = profile(modules, (0..10_000).map(|at| at * 0x1000 + 8).collect());
    resolve(&mut profile, &Options::default(), &mut |_| {});
    assert_eq!(profile.symbols.notes.len(), MODULES_MAX + 1);
    assert!(profile.symbols.notes.last().unwrap().contains("8976 further modules"));
}

/// Returns an object file with these sections, each given by its name, type, flags, link and content. A symbol table
/// must link to section 2, which has the names of its symbols.
fn object(sections: &[(&str, u32, u64, u32, Vec<u8>)]) -> Vec<u8> {
    let mut names = vec![0u8];
    let mut bytes = vec![0u8; 64];
    let mut headers = vec![0u8; 64];
    let header = |name: u32, kind: u32, flags: u64, at: u64, size: u64, link: u32| {
        let mut header = Vec::new();
        header.extend([name, kind].map(u32::to_le_bytes).concat());
        header.extend([flags, 0, at, size].map(u64::to_le_bytes).concat());
        header.extend([link, 0].map(u32::to_le_bytes).concat());
        header.extend([1, if kind == 2 { 24u64 } else { 0 }].map(u64::to_le_bytes).concat());
        header
    };
    for (name, kind, flags, link, content) in sections {
        headers.extend(header(
            names.len() as u32,
            *kind,
            *flags,
            bytes.len() as u64,
            content.len() as u64,
            *link,
        ));
        names.extend(name.as_bytes());
        names.push(0);
        bytes.extend(content);
    }
    headers.extend(header(names.len() as u32, 3, 0, bytes.len() as u64, names.len() as u64 + 10, 0));
    names.extend(b".shstrtab\0");
    bytes.extend(&names);
    let table = bytes.len() as u64;
    bytes.extend(headers);
    bytes[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    bytes[16..24].copy_from_slice(&[2, 0, 62, 0, 1, 0, 0, 0]);
    bytes[40..48].copy_from_slice(&table.to_le_bytes());
    let count = sections.len() as u8 + 2;
    bytes[52..64].copy_from_slice(&[64, 0, 56, 0, 0, 0, 64, 0, count, 0, count - 1, 0]);
    bytes
}

/// Returns two sections: a symbol table with one function that covers the first 4 KiB, and the table with its name.
fn symbols_of(name: &str) -> [(&'static str, u32, u64, u32, Vec<u8>); 2] {
    let mut table = vec![0u8; 24];
    table.extend(1u32.to_le_bytes());
    table.extend([0x12, 0, 1, 0]);
    table.extend([0, 0x1000u64].map(u64::to_le_bytes).concat());
    [(".symtab", 2, 0, 2, table), (".strtab", 3, 0, 0, [b"\0", name.as_bytes(), b"\0"].concat())]
}

/// Returns the names and notes for the address 0x1100, in a module at 0x1000 whose file has this content.
fn resolved(content: &[u8]) -> (Vec<String>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app");
    std::fs::write(&path, content).unwrap();
    let module = Module { bias: 0x1000, ..module(path.to_str().unwrap(), 0x1000) };
    let mut profile = profile(vec![module], vec![0x1100]);
    resolve(&mut profile, &Options::default(), &mut |_| {});
    (profile.symbols.strings, profile.symbols.notes)
}

#[test]
fn a_library_that_may_have_followed_another_at_its_addresses_has_names_with_a_mark() {
    let directory = tempfile::tempdir().unwrap();
    let library = |name: &str, number: u64| {
        let path = directory.path().join(name);
        std::fs::write(&path, object(&symbols_of(name))).unwrap();
        let module = module(path.to_str().unwrap(), 0x1000 + (number << NUMBER_SHIFT));
        Module { bias: module.start, build_id: String::new(), ..module }
    };
    let names = |modules: Vec<Module>, addresses: &[u64]| {
        let mut profile = profile(modules, addresses.to_vec());
        resolve(&mut profile, &Options::default(), &mut |_| {});
        let symbols = &profile.symbols;
        let name =
            |address| symbols.frames.get(address).map(|at| symbols.strings[at[0].function as usize].clone());
        let found: Vec<String> = addresses.iter().filter_map(name).collect();
        (found.join(" "), symbols.notes.iter().filter(|note| note.contains("end in ?")).count())
    };
    let (plain, first, second) = (0x1100, 0x1100 + (1 << NUMBER_SHIFT), 0x1100 + (2 << NUMBER_SHIFT));
    assert_eq!(names(vec![library("a", 0)], &[plain]), ("a".to_owned(), 0), "there from the start");
    let late = || vec![library("a", 1), library("a", 0)];
    assert_eq!(names(late(), &[plain, first]), ("a? a".to_owned(), 1), "found after some stacks");
    let replaced = || vec![library("b", 2), library("a", 1), library("a", 0)];
    assert_eq!(names(replaced(), &[first, second]), ("a? b".to_owned(), 1), "replaced later");
}

/// Returns the content of a compressed section whose header states `claim` as the unpacked length.
fn packed(claim: u64) -> Vec<u8> {
    let mut content = 1u64.to_le_bytes().to_vec();
    content.extend([claim, 1].map(u64::to_le_bytes).concat());
    let mut packer = flate2::write::ZlibEncoder::new(content, flate2::Compression::fast());
    std::io::Write::write_all(&mut packer, &[0; 100]).unwrap();
    packer.finish().unwrap()
}

#[test]
fn a_section_that_claims_eight_gibibytes_is_refused_and_the_symbols_are_still_read() {
    let [table, names] = symbols_of("honest");
    let (found, notes) = resolved(&object(&[table, names, (".debug_info", 1, 0x800, 0, packed(8 << 30))]));
    assert!(found.iter().any(|name| name == "honest"), "{found:?} {notes:?}");
    let [note] = &notes[..] else { panic!("{notes:?}") };
    assert!(note.contains(".debug_info claims 8589934592 bytes") && note.contains("/app"), "{note}");
}

#[test]
fn a_name_of_twenty_megabytes_is_refused_with_a_note() {
    let (found, notes) = resolved(&object(&symbols_of(&"x".repeat(20_000_000))));
    assert_eq!(found, [""; 0]);
    let [note] = &notes[..] else { panic!("{notes:?}") };
    assert!(note.contains("names longer than 65536 bytes") && note.contains("1 address"), "{note}");
    let (found, _) = resolved(&object(&symbols_of(&"x".repeat(60_000))));
    assert!(found[1].starts_with("xxx") && found[1].ends_with(".."), "a long one is cut");
}

#[test]
fn a_module_that_is_a_pipe_a_device_or_a_directory_is_not_opened_and_named() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [&pipe, Path::new("/dev/zero"), directory.path()] {
        let path = path.to_str().unwrap();
        let mut profile = profile(vec![module(path, 0x1000)], vec![0x1100]);
        resolve(&mut profile, &Options::default(), &mut |_| {});
        let [note] = &profile.symbols.notes[..] else { panic!("{:?}", profile.symbols.notes) };
        assert!(note.contains(path) && note.contains("was not opened"), "{note}");
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn freed_memory_goes_back_to_the_system() {
    let anonymous_kib = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let blocks: Vec<Vec<u8>> = (0..256 << 10).map(|_| vec![1; 512]).collect();
    // Keeps the last block live, so that the allocator cannot return the memory before it by shrinking the heap.
    let last = std::hint::black_box(vec![1u8; 512]);
    let before = anonymous_kib();
    drop(blocks);
    return_freed_memory();
    let after = anonymous_kib();
    assert!(after + (64 << 10) < before, "{before} KiB, then {after} KiB");
    drop(last);
}
