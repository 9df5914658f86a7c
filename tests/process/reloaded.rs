//! A library that is unloaded, and another one at its addresses: each stack leads to the one that was there, or the
//! dump says that it may not.

use std::ffi::{CString, c_void};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

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
    Case::new("a_library_that_no_list_has_seen_gets_its_own_blocks", unknown_libraries, each_has_its_blocks)
        .variables(&[("HEAPLEDGER_STACKS", "auto")])
        .prepare(build),
    Case::new(
        "a_quiet_program_without_background_thread_gives_each_library_its_blocks",
        quietly,
        each_has_its_blocks,
    )
    .variables(&[("HEAPLEDGER_STACKS", "auto")])
    .prepare(build),
    Case::new(
        "a_library_that_is_called_often_is_watched_and_the_doubt_that_is_left_is_said",
        often,
        |ended| {
            let Some(profile) = dump(ended) else { return };
            let said = |what: &str| profile.changes.iter().any(|change| change.what.contains(what));
            assert!(
                said("a.so was found unloaded, and") && said("before are named after the former"),
                "{profile:?}"
            );
            // Without pause, some of the blocks may be named after the former.
            assert_eq!(through(&profile, "/a.so", 10_001), OFTEN);
            let (former, latter) = (through(&profile, "/a.so", 20_001), through(&profile, "/b.so", 20_001));
            assert!(former + latter == OFTEN && former < OFTEN / 4, "{former} {latter}");
        },
    )
    .variables(&[("HEAPLEDGER_STACKS", "auto")])
    .prepare(build),
    Case::new(
        "stacks_from_before_a_library_was_known_are_said_to_be_uncertain",
        too_many_libraries,
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

/// Number of copies of the first library: as many as heapledger notes.
const COPIES: usize = 16;
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
    for number in 0..COPIES {
        let _ = std::fs::copy(directory.join("a.so"), directory.join(format!("copy{number}.so")));
    }
}

type Run = extern "C" fn(extern "C" fn(usize), usize);

/// A loaded library, and its function.
fn load(path: &str) -> Option<(*mut c_void, Run)> {
    let path = CString::new(path).unwrap();
    // SAFETY: the name is terminated.
    if unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_dl_find_object".as_ptr()) }.is_null() {
        println!("SKIPPED: older than glibc 2.35");
        return None;
    }
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

/// Numbers of calls of the two libraries.
const CALLS: [usize; 2] = [2, 3];
/// Number of calls of each library that is called often.
const OFTEN: usize = 3_000;

/// Loads `a.so`, calls it, unloads it, and does the same with `b.so`, which stays. `calls` are the numbers of calls.
fn through_both(look: fn(), calls: [usize; 2]) {
    let Some((handle, first)) = load("./a.so") else { return };
    look();
    (0..calls[0]).for_each(|_| first(keep, 10_001));
    look();
    // SAFETY: the handle is closed once.
    assert_eq!(unsafe { libc::dlclose(handle) }, 0);
    let Some((_, second)) = load("./b.so") else { return };
    if second as usize != first as usize {
        println!("SKIPPED: other addresses");
        return;
    }
    look();
    (0..calls[1]).for_each(|_| second(keep, 20_001));
    look();
}

/// Each library is found before it is called.
fn known_libraries() {
    lossless_point();
    through_both(|| drop(heapledger::snapshot().unwrap()), CALLS);
    lossless_point();
}

/// No list of the loaded objects is made before the end, except by the background thread.
fn unknown_libraries() {
    lossless_point();
    through_both(|| (), CALLS);
    lossless_point();
}

/// No function of heapledger is called, so there is no background thread.
fn quietly() {
    through_both(|| std::thread::sleep(Duration::from_millis(30)), CALLS);
}

fn often() {
    through_both(|| (), [OFTEN; 2]);
}

/// Loads and calls more other libraries before than heapledger notes.
fn too_many_libraries() {
    for number in 0..COPIES {
        let Some((_, run)) = load(&format!("./copy{number}.so")) else { return };
        run(keep, 1);
    }
    through_both(|| (), CALLS);
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

/// Returns the number of live blocks of `size` bytes whose stack leads through the library with this name.
fn through(profile: &Profile, name: &str, size: u64) -> usize {
    let modules: Vec<_> = profile.modules.iter().filter(|module| module.path.ends_with(name)).collect();
    let is_in = |frame: &u64| modules.iter().any(|module| (module.start..module.end).contains(&(frame - 1)));
    let kept = profile.live.iter().filter(|block| block.size == size);
    kept.filter(|block| profile.stacks[block.stack as usize].frames.iter().any(is_in)).count()
}

fn each_has_its_blocks(ended: &Ended) {
    let Some(profile) = dump(ended) else { return };
    for (size, blocks, name, other) in [(10_001, 2, "/a.so", "/b.so"), (20_001, 3, "/b.so", "/a.so")] {
        assert_eq!(profile.live.iter().filter(|block| block.size == size).count(), blocks);
        let found = (through(&profile, name, size), through(&profile, other, size));
        assert_eq!(found, (blocks, 0), "{size}: {:?}", profile.modules);
    }
    let change = profile.changes.iter().find(|change| change.what.contains("a.so was found unloaded"));
    let change = change.unwrap_or_else(|| panic!("{:?}", profile.changes));
    assert!(change.what.contains("b.so at its addresses"), "{change:?}");
}
