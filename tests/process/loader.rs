//! Libraries that are loaded and unloaded, and a second copy of the crate in one of them.

use std::ffi::{CString, c_void};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use super::case::{Case, Ended};
use super::heap::Heap;
use super::laws;
use super::tools::{block, free, lossless_point, threads};

pub const CASES: &[Case] = &[
    Case::new("a_second_copy_stands_down_and_says_so", load_a_second_copy, |ended| {
        laws::complete(&ended.with_code(0).dump()).unwrap();
        if !was_skipped(ended) {
            assert_eq!(ended.stderr, SECOND);
            assert_eq!(ended.names().len(), 1, "{:?}", ended.names());
        }
    }),
    Case::new("libraries_that_come_and_go_during_work_harm_nobody", load_and_unload, |ended| {
        laws::complete(&ended.with_code(0).dump()).unwrap();
        assert!(was_skipped(ended) || ended.stderr == SECOND.repeat(LOADS), "{}", ended.stderr);
    })
    .variables(&[("HEAPLEDGER_STACKS", "auto")]),
    Case::new("stacks_through_an_unloaded_library_lead_to_it", call_through_a_library, leads_to_the_library)
        .variables(&[("HEAPLEDGER_STACKS", "auto")]),
    Case::new("a_copy_in_a_library_records_on_when_that_is_unloaded", record_in_a_library, |ended| {
        if !was_skipped(ended) {
            let profile = ended.quietly().dump();
            laws::complete(&profile).unwrap();
            assert!(profile.totals.total_blocks > 5 * 20_000);
            assert_eq!(profile.live.iter().filter(|block| block.size == 77_777).count(), 5);
        }
    })
    .heap(Heap::Bare),
];

const SECOND: &str = "heapledger: another copy of heapledger records in this process, this one does not\n";
/// Number of times that the library is loaded and unloaded.
const LOADS: usize = 50;

/// Whether the test was skipped, because the library was not built. `cargo test` builds it; a run of this test alone
/// does not.
fn was_skipped(ended: &Ended) -> bool {
    let is_skipped = ended.stdout.contains("SKIPPED");
    if is_skipped {
        println!("  SKIPPED: the library is not built; `cargo build --example plugin` does");
    }
    is_skipped
}

/// A loaded library.
struct Library(*mut c_void);

impl Library {
    fn load() -> Option<Library> {
        let program = std::env::current_exe().unwrap();
        let path = program.parent()?.parent()?.join("examples/libplugin.so");
        if !path.exists() {
            println!("SKIPPED");
            return None;
        }
        let path = CString::new(path.into_os_string().into_encoded_bytes()).unwrap();
        // SAFETY: the path is terminated.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null());
        Some(Library(handle))
    }

    fn find(&self, name: &std::ffi::CStr) -> *mut c_void {
        // SAFETY: the handle is that of a loaded library and the name is terminated.
        let found = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        assert!(!found.is_null());
        found
    }

    fn work(&self, rounds: u32) {
        // SAFETY: the library's function of this name has this signature.
        unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(u32)>(self.find(c"plugin_work"))(rounds) };
    }

    fn records(&self) -> bool {
        // SAFETY: the library's function of this name has this signature.
        unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> bool>(self.find(c"plugin_records"))() }
    }

    fn is_inconclusive(&self) -> bool {
        let found = self.find(c"plugin_is_inconclusive");
        // SAFETY: the library's function of this name has this signature.
        unsafe { std::mem::transmute::<*mut c_void, extern "C" fn() -> bool>(found)() }
    }

    fn unload(self) {
        // SAFETY: the handle is closed once.
        assert_eq!(unsafe { libc::dlclose(self.0) }, 0);
    }
}

fn load_a_second_copy() {
    lossless_point();
    let Some(library) = Library::load() else { return };
    library.work(10_000);
    assert!(!library.records() && heapledger::is_installed());
    assert!(library.is_inconclusive(), "a budget of the copy that stands down");
    heapledger::assert_heap!(allocations == 1; free(block(5), 5));
    library.unload();
    lossless_point();
}

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn work(_number: *mut c_void) -> *mut c_void {
    while !STOP.load(SeqCst) {
        (16..500).for_each(|size| free(block(size), size));
    }
    std::ptr::null_mut()
}

fn load_and_unload() {
    let working = std::thread::spawn(|| threads::<3>(work));
    for _ in 0..LOADS {
        let Some(library) = Library::load() else { break };
        library.work(1_000);
        library.unload();
    }
    STOP.store(true, SeqCst);
    working.join().unwrap();
    lossless_point();
}

/// Size of the blocks allocated below a frame of the library, which no other block has.
const BELOW_SIZE: usize = 23_457;
const BELOW_BLOCKS: usize = 7;

extern "C" fn leave_a_block(size: usize) {
    std::hint::black_box(block(size));
}

fn call_through_a_library() {
    lossless_point();
    let Some(library) = Library::load() else { return };
    let function = library.find(c"plugin_call");
    // SAFETY: the library's function of this name has this signature.
    let call =
        unsafe { std::mem::transmute::<*mut c_void, extern "C" fn(extern "C" fn(usize), usize)>(function) };
    // A snapshot looks for what was loaded; what is called sooner can end with it.
    let modules = heapledger::snapshot().unwrap().modules;
    let at = function.addr() as u64;
    let module = modules.iter().find(|module| (module.start..module.end).contains(&at)).unwrap();
    println!("offset {}", at - module.bias);
    (0..BELOW_BLOCKS).for_each(|_| call(leave_a_block, BELOW_SIZE));
    library.unload();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    println!("{}", if maps.contains("libplugin.so") { "still there" } else { "gone" });
    lossless_point();
}

fn leads_to_the_library(ended: &Ended) {
    let profile = ended.with_code(0).dump();
    laws::complete(&profile).unwrap();
    if was_skipped(ended) {
        return;
    }
    assert!(ended.stdout.lines().any(|line| line == "gone"), "{}", ended.stdout);
    let offset = ended.stdout.lines().find_map(|line| line.strip_prefix("offset ")?.parse::<u64>().ok());
    let offset = offset.expect("where the function begins");
    let library = profile.modules.iter().find(|module| module.path.ends_with("/libplugin.so"));
    let library = library.expect("an object that was unloaded stands in the list");
    let blocks: Vec<_> = profile.live.iter().filter(|block| block.size == BELOW_SIZE as u64).collect();
    assert_eq!(blocks.len(), BELOW_BLOCKS);
    for block in blocks {
        let frames = &profile.stacks[block.stack as usize].frames;
        // Return addresses lie behind their calls, and this one not far into a small function.
        let called_at = |frame: &u64| (frame - 1).wrapping_sub(library.bias).wrapping_sub(offset) < 64;
        let place = frames.iter().position(called_at);
        let place = place.unwrap_or_else(|| panic!("no frame of {frames:x?} is the library's: {library:x?}"));
        // Below it is the function that it called, above it the one that called it: both of the program.
        let is_own = |frame: u64| {
            profile.modules.iter().any(|module| {
                module.path != library.path && (module.start..module.end).contains(&(frame - 1))
            })
        };
        assert!(place > 0 && is_own(frames[place - 1]) && is_own(frames[place + 1]), "{frames:x?}");
    }
    let found =
        |change: &&heapledger::profile::Change| change.what.contains("libplugin.so was found unloaded");
    assert_eq!(profile.changes.iter().filter(found).count(), 1, "{:?}", profile.changes);
}

/// Threads that used the library end after it was unloaded. The code that heapledger runs at their end is in the
/// library.
fn record_in_a_library() {
    let Some(library) = Library::load() else { return };
    library.work(20_000);
    assert!(library.records() && !heapledger::is_installed());
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let late = std::thread::scope(|scope| {
        scope.spawn(|| Library::load().unwrap().work(20_000)).join().unwrap();
        std::thread::spawn(move || {
            Library::load().unwrap().work(20_000);
            receiver.recv().unwrap_err();
        })
    });
    library.work(20_000);
    // As often as it was loaded.
    for _ in 0..3 {
        // SAFETY: the handle is the same for all; one time too many is refused.
        unsafe { libc::dlclose(library.0) };
    }
    drop(sender);
    late.join().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    let again = Library::load().unwrap();
    assert!(again.records());
    again.work(20_000);
    again.unload();
}
