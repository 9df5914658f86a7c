//! Known places in the code have exact counts with every method of taking stacks, and stacks that are hard to walk harm
//! no program.

use std::ffi::c_void;
use std::hint::black_box;
use std::ptr::null_mut;

use heapledger::profile::Profile;

use super::case::{Case, Ended};
use super::laws::complete;
use super::tools::{block, free, lossless_point};

const AUTO: &[(&str, &str)] = &[("HEAPLEDGER_STACKS", "auto")];
const DWARF: &[(&str, &str)] = &[("HEAPLEDGER_STACKS", "dwarf")];
const FRAME_POINTERS: &[(&str, &str)] = &[("HEAPLEDGER_STACKS", "fp")];
const SAMPLED: &[(&str, &str)] = &[("HEAPLEDGER_STACKS", "sampled:4096")];

pub const CASES: &[Case] = &[
    Case::new("known_places_get_their_exact_counts", known_places, each_place_has_its_counts).variables(AUTO),
    Case::new(
        "known_places_get_their_exact_counts_by_unwind_tables",
        known_places,
        each_place_has_its_counts,
    )
    .variables(DWARF),
    Case::new("stacks_that_are_hard_to_walk_harm_nobody", hard_stacks, hard_stacks_are_counted)
        .variables(AUTO),
    Case::new("frame_pointers_where_there_are_none_harm_nobody", hard_stacks, hard_stacks_are_recorded)
        .variables(FRAME_POINTERS),
    Case::new("a_subset_of_stacks_leaves_every_total_exact", many_blocks, totals_are_exact)
        .variables(SAMPLED),
    Case::new("many_distinct_stacks_from_many_threads_are_told_apart", many_stacks, sites_sum_up)
        .variables(AUTO),
];

/// A known place, which allocates blocks of a unique size and frees some of them.
struct Place {
    name: &'static str,
    size: usize,
    made: u64,
    freed: u64,
}

const PLACES: [Place; 8] = [
    Place { name: "place_plain", size: 1001, made: 30, freed: 10 },
    Place { name: "place_generic", size: 1002, made: 20, freed: 20 },
    Place { name: "place_recursive", size: 1003, made: 7, freed: 0 },
    Place { name: "place_inlined", size: 1004, made: 5, freed: 5 },
    Place { name: "place_called_back_by_c", size: 1005, made: 1, freed: 1 },
    Place { name: "place_of_a_trait", size: 1006, made: 4, freed: 2 },
    Place { name: "place_in_a_thread", size: 1007, made: 9, freed: 9 },
    Place { name: "place_that_grows", size: 1008, made: 3, freed: 3 },
];

fn made(size: usize, made: usize, freed: usize) {
    for number in 0..made {
        let block = block(size);
        if number < freed {
            free(block, size);
        } else {
            black_box(block);
        }
    }
}

#[inline(never)]
fn place_plain() {
    black_box(());
    made(1001, 30, 10);
}

#[inline(never)]
fn place_generic<T>(count: usize) {
    black_box(size_of::<T>());
    made(1002, count, count);
}

#[inline(never)]
fn place_recursive(depth: usize) {
    if black_box(depth) > 0 {
        made(1003, 1, 0);
        place_recursive(depth - 1);
        black_box(depth);
    }
}

#[inline(always)]
fn place_inlined() {
    made(1004, 5, 5);
}

#[inline(never)]
fn host_of_inlined() {
    black_box(());
    place_inlined();
}

unsafe extern "C" fn place_called_back_by_c(_: *const c_void, _: *const c_void) -> i32 {
    made(1005, 1, 1);
    0
}

trait Placed {
    fn place_of_a_trait(&self);
}

struct Known;

impl Placed for Known {
    #[inline(never)]
    fn place_of_a_trait(&self) {
        black_box(());
        made(1006, 4, 2);
    }
}

#[inline(never)]
extern "C" fn place_in_a_thread(_: *mut c_void) -> *mut c_void {
    black_box(());
    made(1007, 9, 9);
    null_mut()
}

#[inline(never)]
fn place_that_grows() {
    for _ in 0..3 {
        let mut text: Vec<u8> = black_box(Vec::with_capacity(1008));
        text.push(1);
        drop(black_box(text));
    }
}

fn known_places() {
    lossless_point();
    place_plain();
    place_generic::<u32>(12);
    place_generic::<u64>(8);
    place_recursive(7);
    host_of_inlined();
    let mut pair = [2u32, 1];
    // SAFETY: the array is as long as is said, and the function compares nothing.
    unsafe { libc::qsort(pair.as_mut_ptr().cast(), 2, 4, Some(place_called_back_by_c)) };
    black_box(&Known as &dyn Placed).place_of_a_trait();
    super::tools::threads::<1>(place_in_a_thread);
    place_that_grows();
    lossless_point();
}

fn each_place_has_its_counts(ended: &Ended) {
    use heapledger_cli::{analysis, symbols};
    let mut profile = ended.quietly().dump();
    complete(&profile).unwrap();
    symbols::resolve(&mut profile, &symbols::Options::default(), &mut |_| ());
    let reader = analysis::StackReader::new(&profile);
    for place in &PLACES {
        let here = profile.sites.iter().filter(|site| {
            let frames = reader.whole_stack(site.stack);
            frames.iter().any(|frame| frame.function.contains(place.name))
        });
        let own =
            here.filter(|site| site.sizes.total() > 0).map(|site| (site.total_blocks, site.freed_blocks));
        let (made, freed) = own.fold((0, 0), |(made, freed), site| (made + site.0, freed + site.1));
        assert_eq!((made, freed), (place.made, place.freed), "{}", place.name);
        let live = profile.live.iter().filter(|block| block.size == place.size as u64);
        assert_eq!(live.count() as u64, place.made - place.freed, "{}", place.name);
    }
    let places = profile.symbols.strings.iter().filter(|text| text.ends_with("stacks.rs")).count();
    assert!(places > 0, "the file of the places is known");
    sites_sum_up(ended);
}

/// Asserts that every block belongs to a site and a thread. Blocks whose stack could not be walked are at stack 0, and
/// counted.
fn sites_sum_up(ended: &Ended) {
    let profile = ended.quietly().dump();
    complete(&profile).unwrap();
    let figures = &profile.stack_figures;
    let unattributed = profile.sites.iter().find(|site| site.stack == 0).map_or(0, |site| site.total_blocks);
    let without = figures.failed + figures.table_full + figures.left_out;
    assert!(unattributed <= without, "{unattributed} blocks without a stack: {figures:?}");
    assert!(figures.taken > 0 && !figures.walker.is_empty(), "{figures:?}");
    println!("  {} stacks, {figures:?}", profile.stacks.len());
}

extern "C" fn allocate_a_little(_: *mut c_void) -> *mut c_void {
    free(black_box(block(64)), 64);
    null_mut()
}

#[inline(never)]
fn deep(depth: usize) -> usize {
    if depth == 0 {
        free(black_box(block(64)), 64);
        return 0;
    }
    black_box(deep(black_box(depth - 1))) + 1
}

extern "C" fn allocate_on_the_other_stack(_: libc::c_int) {
    free(black_box(block(48)), 48);
}

/// Walks hard stacks: in a thread with the smallest possible stack, in a recursion thousands of calls deep, and in a
/// handler on a separate stack.
fn hard_stacks() {
    lossless_point();
    // SAFETY: every object is initialised by the call before it, and the thread is waited for.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        libc::pthread_attr_init(&mut attributes);
        let smallest = libc::sysconf(libc::_SC_THREAD_STACK_MIN).max(16 << 10) as usize;
        assert_eq!(libc::pthread_attr_setstacksize(&mut attributes, smallest + (32 << 10)), 0);
        let mut thread: libc::pthread_t = std::mem::zeroed();
        assert_eq!(libc::pthread_create(&mut thread, &attributes, allocate_a_little, null_mut()), 0);
        libc::pthread_join(thread, null_mut());
    }
    assert_eq!(deep(5000), 5000);
    static mut OTHER: [u8; 128 << 10] = [0; 128 << 10];
    // SAFETY: the stack is used by this handler only, which runs while `raise` does.
    unsafe {
        let stack = libc::stack_t { ss_sp: (&raw mut OTHER).cast(), ss_flags: 0, ss_size: 128 << 10 };
        assert_eq!(libc::sigaltstack(&stack, null_mut()), 0);
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = allocate_on_the_other_stack as *const () as usize;
        action.sa_flags = libc::SA_ONSTACK;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, null_mut()), 0);
        libc::raise(libc::SIGUSR1);
    }
    lossless_point();
}

fn hard_stacks_are_recorded(ended: &Ended) {
    complete(&ended.quietly().dump()).unwrap();
}

fn hard_stacks_are_counted(ended: &Ended) {
    let profile = ended.quietly().dump();
    complete(&profile).unwrap();
    let figures = &profile.stack_figures;
    assert!(figures.truncated > 0, "the recursion is cut: {figures:?}");
    assert!(figures.failed > 0, "the handler's stack is not the thread's: {figures:?}");
    assert!(profile.stacks.iter().any(|stack| stack.truncated && stack.frames.len() == 256));
}

fn many_blocks() {
    lossless_point();
    place_plain();
    for _ in 0..10_000 {
        made(100, 1, 1);
    }
    lossless_point();
}

fn totals_are_exact(ended: &Ended) {
    let profile: Profile = ended.quietly().dump();
    complete(&profile).unwrap();
    let figures = &profile.stack_figures;
    // A million bytes, a stack in 4,096 of them.
    assert!((100..600).contains(&figures.taken), "{figures:?}");
    assert!(figures.left_out > 9_000, "{figures:?}");
    assert!(profile.totals.total_blocks >= 10_030);
}

/// Calls functions along a path that the bits of `path` choose, and allocates at its end.
#[inline(never)]
fn left(path: u32, depth: u32) {
    down(path, depth);
    black_box(path);
}

#[inline(never)]
fn right(path: u32, depth: u32) {
    down(path, depth);
    black_box(!path);
}

#[inline(never)]
fn down(path: u32, depth: u32) {
    match (black_box(depth), path & 1) {
        (0, _) => free(black_box(block(32)), 32),
        (_, 0) => left(path >> 1, depth - 1),
        _ => right(path >> 1, depth - 1),
    }
    black_box(depth);
}

extern "C" fn all_paths(_: *mut c_void) -> *mut c_void {
    for path in 0..1 << 12 {
        down(path, 12);
    }
    null_mut()
}

fn many_stacks() {
    lossless_point();
    super::tools::threads::<4>(all_paths);
    lossless_point();
    println!("stacks");
}
