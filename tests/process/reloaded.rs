//! A library that is unloaded, and another one at its addresses: each stack leads to the one that was there, or the
//! dump says that it may not.

use std::ffi::{CString, c_void};
use std::path::Path;
use std::process::Command;

use heapledger::profile::Profile;

use super::case::{Case, Ended};
use super::laws::complete;
use super::tools::{block, lossless_point};

pub const CASES: &[Case] = &[
    Case::new(
        "a_library_at_the_addresses_of_another_gets_its_own_blocks",
        known_libraries,
        each_has_its_blocks,
    )
    .variables(&[("HEAPLEDGER_STACKS", "auto")])
    .prepare(build),
    Case::new(
        "stacks_from_before_a_library_was_known_are_said_to_be_uncertain",
        unknown_libraries,
        |ended| {
            let Some(profile) = dump(ended) else { return };
            let said = |what: &str| profile.changes.iter().any(|change| change.what.contains(what));
            assert!(
                said("b.so was first found here") && said("can be of a library that was there before"),
                "{profile:?}"
            );
        },
    )
    .variables(&[("HEAPLEDGER_STACKS", "auto")])
    .prepare(build),
];

const SOURCE: &str =
    "void NAME(void (*call)(unsigned long), unsigned long n) { call(n); __asm__ volatile(\"\"); }
    void run(void (*call)(unsigned long), unsigned long n) { NAME(call, n); __asm__ volatile(\"\"); }";

/// Builds two libraries that differ in one name alone.
fn build(directory: &Path) {
    std::fs::write(directory.join("library.c"), SOURCE).unwrap();
    for name in ["a", "b"] {
        let mut compiler = Command::new("cc");
        compiler.args([
            "-O0",
            "-shared",
            "-fPIC",
            "-Wl,--build-id",
            &format!("-DNAME=step_{name}"),
            "library.c",
        ]);
        // Without a compiler the child finds no library.
        let _ = compiler.args(["-o", &format!("{name}.so")]).current_dir(directory).status();
    }
}

type Run = extern "C" fn(extern "C" fn(usize), usize);

/// A loaded library, and its function.
fn load(path: &str) -> Option<(*mut c_void, Run)> {
    let path = CString::new(path).unwrap();
    // SAFETY: the texts are terminated, and the function has this signature.
    unsafe {
        let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        if handle.is_null() {
            println!("SKIPPED");
            return None;
        }
        Some((handle, std::mem::transmute::<*mut c_void, Run>(libc::dlsym(handle, c"run".as_ptr()))))
    }
}

extern "C" fn keep(size: usize) {
    std::hint::black_box(block(size));
}

fn through_both(look: fn()) {
    lossless_point();
    let Some((handle, first)) = load("./a.so") else { return };
    look();
    (0..2).for_each(|_| first(keep, 10_001));
    // SAFETY: the handle is closed once.
    assert_eq!(unsafe { libc::dlclose(handle) }, 0);
    let Some((_, second)) = load("./b.so") else { return };
    if second as usize != first as usize {
        println!("SKIPPED: other addresses");
        return;
    }
    look();
    (0..3).for_each(|_| second(keep, 20_001));
    lossless_point();
}

/// Each library is found before it is called.
fn known_libraries() {
    through_both(|| drop(heapledger::snapshot().unwrap()));
}

/// None is found before the end.
fn unknown_libraries() {
    through_both(|| ());
}

fn dump(ended: &Ended) -> Option<Profile> {
    if ended.stdout.contains("SKIPPED") {
        println!("  {}: no compiler, or the libraries lie apart", ended.stdout.trim_end());
        return None;
    }
    let profile = ended.with_code(0).dump();
    complete(&profile).unwrap();
    Some(profile)
}

fn each_has_its_blocks(ended: &Ended) {
    let Some(profile) = dump(ended) else { return };
    for (size, blocks, name) in [(10_001, 2, "/a.so"), (20_001, 3, "/b.so")] {
        let kept: Vec<_> = profile.live.iter().filter(|block| block.size == size).collect();
        assert_eq!(kept.len(), blocks);
        for block in kept {
            let frames = &profile.stacks[block.stack as usize].frames;
            let through = |name: &str| {
                let modules = profile.modules.iter().filter(|module| module.path.ends_with(name));
                let mut ranges = modules.map(|module| module.start..module.end);
                ranges.any(|range| frames.iter().any(|frame| range.contains(&(frame - 1))))
            };
            let other = if name == "/a.so" { "/b.so" } else { "/a.so" };
            assert!(through(name) && !through(other), "{size}: {frames:x?} {:?}", profile.modules);
        }
    }
    let change = profile.changes.iter().find(|change| change.what.contains("a.so was found unloaded"));
    let change = change.unwrap_or_else(|| panic!("{:?}", profile.changes));
    assert!(change.what.contains("b.so at its addresses"), "{change:?}");
}
