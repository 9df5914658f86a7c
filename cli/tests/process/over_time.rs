//! What memory does over time: a leak, a cycle of reference counts, a full cache, work that comes and goes, and a queue
//! that is drained at exit are told apart; and where the resident memory of a process is.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::{c_char, c_int, c_void};
use std::hint::black_box;
use std::process::Command;
use std::ptr::null_mut;
use std::rc::Rc;
use std::sync::mpsc::channel;
use std::thread::sleep;
use std::time::Duration;

use heapledger::profile::Profile;
use heapledger_cli::analysis::course::{Course, CourseKind, courses};
use heapledger_cli::analysis::{MemoryKind, View, memory, site_book};
use heapledger_cli::symbols;

use super::case::{Case, Ended};
use super::heap::{Heap, chosen};

const STACKS: &[(&str, &str)] = &[("HEAPLEDGER_STACKS", "auto")];

pub const CASES: &[Case] = &[
    Case::new("a_leak_keeps_growing", leak, |ended| {
        assert_eq!(largest(ended).kind, CourseKind::KeepsGrowing);
        let report = report(ended);
        let line = report.lines().find(|line| line.contains("keeps growing")).expect(&report);
        assert!(line.contains("leak_a_block") || report.contains("leak_a_block"), "{report}");
    })
    .heap(Heap::Plain)
    .variables(STACKS),
    Case::new("a_cycle_of_reference_counts_keeps_growing", cycle, |ended| {
        assert_eq!(largest(ended).kind, CourseKind::KeepsGrowing);
    })
    .heap(Heap::Plain)
    .variables(STACKS),
    Case::new("a_full_cache_levels_off", cache, |ended| {
        let course = largest(ended);
        assert_eq!(course.kind, CourseKind::LevelsOff, "{course:?}");
        assert!(!report(ended).contains("keeps growing"));
    })
    .heap(Heap::Plain)
    .variables(STACKS),
    Case::new("work_that_comes_and_goes_rises_and_falls", batches, |ended| {
        let course = largest(ended);
        assert_eq!(course.kind, CourseKind::RisesAndFalls, "{course:?}");
        assert!(!report(ended).contains("keeps growing"));
    })
    .heap(Heap::Plain)
    .variables(STACKS),
    Case::new("a_queue_that_is_drained_at_exit_was_given_back", queue, |ended| {
        let course = largest(ended);
        assert_eq!(course.kind, CourseKind::GivenBack, "{course:?}");
        assert!(course.highest_bytes() > 8 * course.retained_bytes());
        let report = report(ended);
        assert!(report.contains("given back") && !report.contains("keeps growing"), "{report}");
    })
    .heap(Heap::Plain)
    .variables(STACKS),
    Case::new("memory_that_was_freed_is_kept_by_the_allocator", freed, |ended| {
        most(ended, MemoryKind::AllocatorKeeps)
    })
    .heap(Heap::Plain),
    Case::new("memory_that_the_allocator_gave_back_is_no_part", trimmed, no_part).heap(Heap::Plain),
    Case::new("memory_that_was_never_touched_is_not_resident", untouched, |ended| {
        most(ended, MemoryKind::Untouched)
    })
    .heap(Heap::Plain),
    Case::new("memory_in_live_blocks_is_the_programs", held, |ended| most(ended, MemoryKind::Program))
        .heap(Heap::Plain),
    Case::new("memory_of_own_mappings_is_outside_the_allocator", mapped, |ended| {
        most(ended, MemoryKind::OutsideAllocator)
    })
    .heap(Heap::Plain),
    Case::new("memory_from_malloc_is_of_other_code", from_malloc, |ended| most(ended, MemoryKind::OtherCode))
        .heap(Heap::Plain),
    Case::new("freed_memory_below_a_further_allocator_is_unknown", freed, unknown).heap(Heap::Counted),
    Case::new("memory_of_blocks_that_were_not_sampled_is_no_other_codes", held, |ended| {
        let found = memory(&ended.quietly().dump()).expect("the system says what is resident");
        assert_eq!(found.part(MemoryKind::OtherCode), None, "{found:?}");
    })
    .heap(Heap::Plain)
    .variables(&[("HEAPLEDGER_MODE", "throughput")]),
    Case::new("freed_memory_below_jemalloc_is_kept_by_it", freed, |ended| {
        most_below(ended, "jemalloc", MemoryKind::AllocatorKeeps)
    })
    .heap(Heap::Jemalloc)
    // By default jemalloc returns part of it while the scenario runs.
    .variables(&[("_RJEM_MALLOC_CONF", "dirty_decay_ms:-1")]),
    Case::new("memory_that_jemalloc_gave_back_is_no_part", trimmed, no_part).heap(Heap::Jemalloc),
    Case::new("mapped_memory_is_outside_jemalloc", mapped, |ended| {
        most_below(ended, "jemalloc", MemoryKind::OutsideAllocator)
    })
    .heap(Heap::Jemalloc),
    Case::new("memory_from_malloc_is_outside_jemalloc", from_malloc, |ended| {
        most_below(ended, "jemalloc", MemoryKind::OutsideAllocator)
    })
    .heap(Heap::Jemalloc),
    Case::new("memory_of_other_code_in_jemalloc_is_other_codes", from_the_allocator, |ended| {
        most_below(ended, "jemalloc", MemoryKind::OtherCode)
    })
    .heap(Heap::Jemalloc),
    Case::new("untouched_memory_below_jemalloc_is_not_resident", untouched, |ended| {
        most(ended, MemoryKind::Untouched)
    })
    .heap(Heap::Jemalloc),
    Case::new("live_memory_below_jemalloc_is_the_programs", held, |ended| most(ended, MemoryKind::Program))
        .heap(Heap::Jemalloc),
    Case::new("freed_memory_below_mimalloc_is_in_the_allocator", freed, |ended| {
        most_below(ended, "mimalloc", MemoryKind::InAllocator)
    })
    .heap(Heap::Mimalloc)
    // By default mimalloc returns it after a second.
    .variables(&[("MIMALLOC_PURGE_DELAY", "-1")]),
    Case::new("memory_that_mimalloc_gave_back_is_no_part", trimmed, no_part).heap(Heap::Mimalloc),
    Case::new("mapped_memory_is_outside_mimalloc", mapped, |ended| {
        most_below(ended, "mimalloc", MemoryKind::OutsideAllocator)
    })
    .heap(Heap::Mimalloc),
    Case::new("memory_from_malloc_is_outside_mimalloc", from_malloc, |ended| {
        most_below(ended, "mimalloc", MemoryKind::OutsideAllocator)
    })
    .heap(Heap::Mimalloc),
    Case::new("memory_of_other_code_in_mimalloc_is_in_the_allocator", from_the_allocator, |ended| {
        most_below(ended, "mimalloc", MemoryKind::InAllocator)
    })
    .heap(Heap::Mimalloc),
    Case::new("untouched_memory_below_mimalloc_is_not_resident", untouched, |ended| {
        most(ended, MemoryKind::Untouched)
    })
    .heap(Heap::Mimalloc),
    Case::new("live_memory_below_mimalloc_is_the_programs", held, |ended| most(ended, MemoryKind::Program))
        .heap(Heap::Mimalloc),
];

/// Where the figures of the allocator are missing, the parts that depend on them are not named.
fn unknown(ended: &Ended) {
    let found = memory(&ended.quietly().dump()).expect("the system says what is resident");
    println!("  {found:?}");
    let kinds = [MemoryKind::AllocatorKeeps, MemoryKind::InAllocator];
    assert_eq!((found.most, kinds.map(|kind| found.part(kind))), (None, [None, None]), "{found:?}");
    assert!(!found.missing.is_empty());
}

/// With an allocator's feature, the part of this kind has most of the memory; without, that is unknown.
fn most_below(ended: &Ended, allocator: &str, kind: MemoryKind) {
    if ended.quietly().dump().memory.allocator == allocator { most(ended, kind) } else { unknown(ended) }
}

fn no_part(ended: &Ended) {
    let found = memory(&ended.quietly().dump()).expect("the system says what is resident");
    assert!(found.resident_bytes < LARGE as u64 / 2, "{found:?}");
    // mimalloc keeps some megabytes for itself, which are most of what is left.
    assert!(matches!(found.most, None | Some(MemoryKind::InAllocator)), "{found:?}");
    assert!(found.parts.iter().all(|part| part.bytes < LARGE as u64 / 4), "{found:?}");
}

const STEPS: usize = 240;
const STEP: Duration = Duration::from_millis(2);
const BYTES: usize = 4096;

/// Makes `STEPS` steps, which take half a second together.
fn steps(mut step: impl FnMut(usize)) {
    for number in 0..STEPS {
        step(number);
        sleep(STEP);
    }
}

#[inline(never)]
fn leak_a_block() {
    std::mem::forget(black_box(vec![1u8; BYTES]));
}

fn leak() {
    steps(|_| leak_a_block());
}

struct Node {
    next: RefCell<Option<Rc<Node>>>,
    _content: [u8; BYTES],
}

fn cycle() {
    steps(|_| {
        let node = Rc::new(Node { next: RefCell::new(None), _content: [1; BYTES] });
        *node.next.borrow_mut() = Some(Rc::clone(&node));
    });
}

fn cache() {
    let mut cache = VecDeque::with_capacity(64);
    steps(|_| {
        if cache.len() == 64 {
            cache.pop_front();
        }
        cache.push_back(vec![1u8; BYTES]);
    });
    std::mem::forget(cache);
}

fn batches() {
    let mut batch = Vec::with_capacity(32);
    steps(|number| {
        if number % 32 == 0 {
            batch.clear();
        }
        batch.push(vec![1u8; BYTES]);
    });
    std::mem::forget(batch);
}

fn queue() {
    let (sender, receiver) = channel();
    steps(|_| sender.send(vec![1u8; BYTES]).unwrap());
    receiver.try_iter().for_each(drop);
    sleep(STEP);
}

const LARGE: usize = 64 << 20;
const SMALL: usize = 512;

/// Small blocks lie on the heap, where a block at the end keeps all the others from being given back.
fn freed() {
    let blocks: Vec<Vec<u8>> = (0..LARGE / SMALL).map(|_| vec![1u8; SMALL]).collect();
    let last = vec![1u8; SMALL];
    drop(blocks);
    std::mem::forget(black_box(last));
}

unsafe extern "C" {
    fn _rjem_malloc(size: usize) -> *mut c_void;
    fn _rjem_mallctl(
        name: *const c_char,
        old: *mut c_void,
        old_length: *mut usize,
        new: *mut c_void,
        new_length: usize,
    ) -> c_int;
    fn mi_malloc(size: usize) -> *mut c_void;
    fn mi_collect(force: bool);
}

fn trimmed() {
    freed();
    let purge = c"arena.4096.purge".as_ptr();
    // SAFETY: the name is terminated, and no memory is involved.
    unsafe {
        match chosen() {
            Heap::Jemalloc => assert_eq!(_rjem_mallctl(purge, null_mut(), null_mut(), null_mut(), 0), 0),
            Heap::Mimalloc => mi_collect(true),
            #[cfg(target_env = "gnu")]
            _ => assert_eq!(libc::malloc_trim(0), 1),
            #[cfg(not(target_env = "gnu"))]
            _ => (),
        }
    }
}

fn untouched() {
    std::mem::forget(black_box(vec![0u8; LARGE]));
}

fn held() {
    std::mem::forget(black_box((0..LARGE / SMALL).map(|_| vec![1u8; SMALL]).collect::<Vec<_>>()));
}

fn mapped() {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, which is written to inside its bounds, and stays.
    unsafe {
        let mapping = libc::mmap(std::ptr::null_mut(), LARGE, access, kind, -1, 0);
        mapping.cast::<u8>().write_bytes(1, LARGE);
    }
}

fn from_malloc() {
    from_function(libc::malloc);
}

/// As C code that calls the allocator below heapledger.
fn from_the_allocator() {
    from_function(if chosen() == Heap::Jemalloc { _rjem_malloc } else { mi_malloc });
}

fn from_function(malloc: unsafe extern "C" fn(usize) -> *mut c_void) {
    for _ in 0..LARGE / SMALL {
        // SAFETY: the block is written to inside its bounds, and stays.
        unsafe { black_box(malloc(SMALL).cast::<u8>()).write_bytes(1, SMALL) };
    }
}

fn named(ended: &Ended) -> Profile {
    let mut profile = ended.quietly().dump();
    symbols::resolve(&mut profile, &symbols::Options::default(), &mut |_| ());
    profile
}

/// Returns the course of the place that held most.
fn largest(ended: &Ended) -> Course {
    let profile = named(ended);
    let all = courses(&profile, &site_book(&profile, &View::default()));
    let course = all.into_iter().max_by_key(Course::highest_bytes).expect("a place with a curve");
    println!("  {}: rose {}, fell {} of {}", course.kind.name(), course.rises, course.falls, course.steps());
    // On a busy machine some blocks come and go within one interval.
    assert!(course.highest_bytes() >= 24 * BYTES as u64, "{course:?}");
    course
}

fn report(ended: &Ended) -> String {
    let dump = ended.path(&format!("{}.hl", ended.pid));
    let output = Command::new(env!("CARGO_BIN_EXE_heapledger")).arg("report").arg(dump).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn most(ended: &Ended, kind: MemoryKind) {
    let profile = ended.quietly().dump();
    if profile.memory.allocator.is_empty() {
        return;
    }
    let found = memory(&profile).expect("the system says what is resident");
    println!("  {found:?}");
    assert_eq!(found.most, Some(kind), "{found:?} {:?}", profile.memory);
    let part = found.part(kind).unwrap();
    assert!(part.bytes >= LARGE as u64 / 10 * 9 && part.bytes <= LARGE as u64 / 10 * 13, "{part:?}");
}
