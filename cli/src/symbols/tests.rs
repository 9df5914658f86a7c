//! Tests of symbol lookup on hand-made profiles. `tests/symbols.rs` tests the profiles of compiled programs.

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
