//! Random programs under random settings, against an exact count of their own.
//!
//! The allocator inside counts the program's calls, and leaves out heapledger's by `heapledger::is_internal`. At
//! thousands of points at which no thread of the program is at work, every total must be the counted one; after lost
//! events it may differ by these. A handler that allocates comes a thousand times a second.
//!
//! The same programs are killed, at any instruction, with a black box, which then obeys every law.
//!
//! A seed decides the program and its settings. `PROCESS_TEST_CHAOS_SEED` repeats one; `PROCESS_TEST_SOAK_S` says for
//! how many seconds new seeds are tried. A seed that fails is printed, and becomes an entry of [`SEEDS`].

use std::alloc::{GlobalAlloc, Layout, alloc_zeroed, realloc};
use std::ffi::c_void;
use std::panic::catch_unwind;
use std::ptr::{null, null_mut, without_provenance_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use heapledger::{DataQualityMode, Degradation, dumps};

use super::case::{self, Case};
use super::heap::Heap;
use super::laws;
use super::tools::{block, free};

pub const CASES: &[Case] = &[
    Case::series("random_programs_under_random_settings_agree_with_an_exact_count", chaos, drive)
        .heap(Heap::Exact),
    Case::series("random_programs_that_are_killed_leave_a_box_that_obeys_the_laws", chaos, kill_some)
        .heap(Heap::Exact),
    Case::new("a_handler_that_books_amid_a_snapshot_does_not_hang", snapshots_under_alarms, |ended| {
        ended.quietly();
    })
    .heap(Heap::Exact),
];

/// Seeds that are always tried.
const SEEDS: [u64; 3] = [1, 2, 5];
/// Number of kills of one test; of `PROCESS_TEST_SOAK_S`, as many as fit into that time.
const KILLS: u64 = 4;
/// Variable with the number of the alarm at which the program kills itself.
const KILL_VARIABLE: &str = "PROCESS_TEST_CHAOS_KILL";
const SEED_VARIABLE: &str = "PROCESS_TEST_CHAOS_SEED";
/// Points of one program at which its totals are compared.
const POINTS: u64 = 40;
const THREADS: usize = 3;

/// The counts of the program's calls: blocks and bytes allocated, blocks and bytes freed.
static COUNTS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

/// An allocator without locks, for handlers, that gives out freed places again, and counts.
#[derive(Debug)]
pub struct Exact;

/// Bytes of address space in each class of sizes.
const CLASS_BYTES: usize = 1 << 30;
/// Classes of places, from 32 bytes on in powers of two.
const CLASSES: usize = 24;
/// Bytes in front of a block, which hold its owner.
const HEADER: usize = 16;
/// Freed places of each class: in the low half the number of the first place plus one, in the high half a count of
/// changes.
static FREED: [AtomicU64; CLASSES] = [const { AtomicU64::new(0) }; CLASSES];
static USED: [AtomicUsize; CLASSES] = [const { AtomicUsize::new(0) }; CLASSES];
static ARENA: AtomicPtr<u8> = AtomicPtr::new(null_mut());

fn arena() -> *mut u8 {
    let known = ARENA.load(SeqCst);
    if !known.is_null() {
        return known;
    }
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let length = CLASS_BYTES * CLASSES;
    // SAFETY: a new mapping touches no other memory. Made at the first call, before there is a second thread.
    let start = unsafe { libc::mmap(null_mut(), length, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    ARENA.store(start.cast(), SeqCst);
    start.cast()
}

fn class_of(layout: Layout) -> Option<usize> {
    let bytes = (layout.size() + HEADER.max(layout.align())).next_power_of_two().max(32);
    Some(bytes.trailing_zeros() as usize - 5).filter(|class| *class < CLASSES)
}

/// Returns the word at the start of a place, which links freed places.
fn link(class: usize, number: u64) -> &'static AtomicU64 {
    let place = arena().wrapping_add(class * CLASS_BYTES + (number as usize) * (32 << class));
    // SAFETY: a place of this class, aligned and never unmapped; also read while another thread takes it.
    unsafe { &*place.cast::<AtomicU64>() }
}

fn take(class: usize) -> Option<u64> {
    loop {
        let top = FREED[class].load(SeqCst);
        let Some(number) = (top & u64::from(u32::MAX)).checked_sub(1) else {
            let number = USED[class].fetch_add(1, SeqCst);
            return (number < CLASS_BYTES / (32 << class)).then_some(number as u64);
        };
        let next = link(class, number).load(SeqCst) & u64::from(u32::MAX);
        let changed = ((top >> 32) + 1) << 32 | next;
        if FREED[class].compare_exchange(top, changed, SeqCst, SeqCst).is_ok() {
            return Some(number);
        }
    }
}

fn give(class: usize, number: u64) {
    loop {
        let top = FREED[class].load(SeqCst);
        link(class, number).store(top & u64::from(u32::MAX), SeqCst);
        let changed = ((top >> 32) + 1) << 32 | (number + 1);
        if FREED[class].compare_exchange(top, changed, SeqCst, SeqCst).is_ok() {
            return;
        }
    }
}

fn count(at: usize, bytes: usize) {
    COUNTS[at].fetch_add(1, SeqCst);
    COUNTS[at + 1].fetch_add(bytes as u64, SeqCst);
}

/// Returns the word in front of a block: 1 if the block is the program's.
fn owner(block: *mut u8) -> *mut u64 {
    block.wrapping_sub(8).cast()
}

fn new_block(layout: Layout, is_internal: bool) -> *mut u8 {
    let Some(class) = class_of(layout) else { return null_mut() };
    let Some(number) = take(class) else { return null_mut() };
    let block = std::ptr::from_ref(link(class, number)).cast_mut().cast::<u8>();
    let block = block.wrapping_add(HEADER.max(layout.align()));
    // SAFETY: the place is ours, and has room in front of the block.
    unsafe { owner(block).write(u64::from(!is_internal)) };
    if !is_internal {
        count(0, layout.size());
    }
    block
}

fn end_block(block: *mut u8, layout: Layout) {
    // SAFETY: the block came from `new_block`.
    if unsafe { owner(block).read() } != 0 {
        count(2, layout.size());
    }
    let Some(class) = class_of(layout) else { return };
    let start = block.addr() - HEADER.max(layout.align()) - arena().addr() - class * CLASS_BYTES;
    give(class, (start / (32 << class)) as u64);
}

// SAFETY: a place is given to one block at a time, aligned to its length, and is never unmapped.
unsafe impl GlobalAlloc for Exact {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        new_block(layout, heapledger::is_internal())
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        end_block(block, layout);
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(new_layout) = Layout::from_size_align(new_size, layout.align()) else { return null_mut() };
        // SAFETY: the block came from `new_block`. A block keeps its owner.
        let new = new_block(new_layout, unsafe { owner(block).read() } == 0);
        if !new.is_null() {
            // SAFETY: both are valid for the smaller size, and are different places.
            unsafe { block.copy_to_nonoverlapping(new, layout.size().min(new_size)) };
            end_block(block, layout);
        }
        new
    }
}

/// Numbers that look random, the same ones for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

static SEED: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicBool = AtomicBool::new(false);
/// Whether threads are to pause, and how many do or have ended.
static PAUSE: AtomicBool = AtomicBool::new(false);
static PAUSING: AtomicUsize = AtomicUsize::new(0);
/// Blocks on their way from thread to thread, by size.
const SIZES: [usize; 6] = [24, 64, 100, 1_248, 4_100, 20_000];
static HANDED: [AtomicPtr<u8>; SIZES.len()] = [const { AtomicPtr::new(null_mut()) }; SIZES.len()];

fn size_of(dice: &mut Dice) -> usize {
    let magnitude = 3 + dice.roll(10);
    1 + dice.roll(1 << magnitude) as usize
}

extern "C" fn churn(_argument: *mut c_void) -> *mut c_void {
    (0..20).for_each(|size| free(block(1 + size), 1 + size));
    null_mut()
}

/// Does one random thing; `held` are the blocks of the thread.
fn act(dice: &mut Dice, held: &mut [(*mut u8, usize)]) {
    let slot = &mut held[dice.roll(64) as usize];
    match dice.roll(100) {
        0..30 => hand_over(dice),
        30..40 if !slot.0.is_null() => {
            let new_size = size_of(dice);
            // SAFETY: the block has this layout.
            slot.0 = unsafe { realloc(slot.0, Layout::from_size_align(slot.1, 8).unwrap(), new_size) };
            slot.1 = new_size;
        }
        40..44 => {
            let zeroed = Layout::from_size_align(size_of(dice), 64).unwrap();
            // SAFETY: no size is zero, and the block is given back with its layout.
            unsafe { std::alloc::dealloc(std::hint::black_box(alloc_zeroed(zeroed)), zeroed) };
        }
        44 if dice.roll(20) == 0 => super::tools::threads::<1>(churn),
        45 if dice.roll(20) == 0 => drop(catch_unwind(|| std::panic::resume_unwind(Box::new([1u8; 100])))),
        46 if dice.roll(50) == 0 => heapledger::flush(),
        48 if dice.roll(50) == 0 => load_and_unload(),
        47 if dice.roll(50) == 0 => {
            drop(std::hint::black_box((heapledger::quality(), heapledger::history())))
        }
        _ => {
            if !slot.0.is_null() {
                free(slot.0, slot.1);
            }
            let size = size_of(dice);
            *slot = (block(size), size);
        }
    }
}

/// Loads a library and unloads it again: the list of loaded objects changes twice.
fn load_and_unload() {
    // SAFETY: a library of the C library's, whose functions are not called.
    unsafe {
        let library = libc::dlopen(c"libresolv.so.2".as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        if !library.is_null() {
            libc::dlclose(library);
        }
    }
}

/// Puts a block where another thread takes one, and frees the one that was there.
fn hand_over(dice: &mut Dice) {
    let kind = dice.roll(SIZES.len() as u64) as usize;
    let given = if dice.roll(3) == 0 { null_mut() } else { block(SIZES[kind]) };
    let taken = HANDED[kind].swap(given, SeqCst);
    if !taken.is_null() {
        free(taken, SIZES[kind]);
    }
}

extern "C" fn work(number: *mut c_void) -> *mut c_void {
    let mut dice = Dice(SEED.load(SeqCst).wrapping_mul(31).wrapping_add(number.addr() as u64));
    let mut held = [(null_mut::<u8>(), 0usize); 64];
    while !STOP.load(SeqCst) {
        for _ in 0..50 {
            act(&mut dice, &mut held);
        }
        if PAUSE.load(SeqCst) {
            PAUSING.fetch_add(1, SeqCst);
            while PAUSE.load(SeqCst) {
                std::thread::yield_now();
            }
            PAUSING.fetch_sub(1, SeqCst);
        }
    }
    held.iter().filter(|(block, _)| !block.is_null()).for_each(|(block, size)| free(*block, *size));
    null_mut()
}

/// Whether the handler allocates: not while the totals are compared.
static HANDLES: AtomicBool = AtomicBool::new(false);

/// Number of alarms until the program kills itself; 0 if it does not.
static KILL_AT: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_alarm(_signal: i32) {
    let left = KILL_AT.load(SeqCst);
    if left > 0 && KILL_AT.fetch_sub(1, SeqCst) == 1 {
        // SAFETY: no memory; the signal ends the process, whatever it is in.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
    if HANDLES.load(SeqCst) {
        let size = 40 + (SEED.load(SeqCst) % 3) as usize * 1_000;
        free(block(size), size);
    }
}

/// Alarms that `book` had.
static BOOKED: AtomicU64 = AtomicU64::new(0);

/// Number of alarms in which `book` makes events.
const BOOKED_MAX: u64 = 1_000;

/// Makes so many events that the thread has to book them, for which it needs the latches of the ledger.
extern "C" fn book(_signal: i32) {
    if BOOKED.load(SeqCst) < BOOKED_MAX {
        (0..60).for_each(|_| free(block(24), 24));
        BOOKED.fetch_add(1, SeqCst);
    }
}

fn snapshots_under_alarms() {
    start_alarms(book);
    while BOOKED.load(SeqCst) < BOOKED_MAX {
        heapledger::snapshot();
    }
}

fn start_alarms(handler: extern "C" fn(i32)) {
    let each = libc::timeval { tv_sec: 0, tv_usec: 1_000 };
    // SAFETY: all zero bytes are a valid action; the handler calls only what it may with an allocator without locks.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        (action.sa_sigaction, action.sa_flags) = (handler as *const () as usize, libc::SA_RESTART);
        assert_eq!(libc::sigaction(libc::SIGALRM, &action, null_mut()), 0);
        let timer = libc::itimerval { it_interval: each, it_value: each };
        assert_eq!(libc::setitimer(libc::ITIMER_REAL, &timer, null_mut()), 0);
    }
}

fn counted() -> [u64; 4] {
    COUNTS.each_ref().map(|count| count.load(SeqCst))
}

/// Compares the totals with the counts, with no thread of the program at work.
fn compare(at: &str) {
    HANDLES.store(false, SeqCst);
    let mut last = String::new();
    for _ in 0..2_000 {
        heapledger::flush();
        let quality = heapledger::quality();
        heapledger::flush();
        let (before, stats, after) = (counted(), heapledger::stats(), counted());
        let lost = heapledger::quality().lost.total();
        let found = [stats.total_blocks, stats.total_bytes, stats.freed_blocks, stats.freed_bytes];
        // A lost realloc leaves two frees without a block: its own, and that of the block at its new address.
        let is_near = found[0].abs_diff(after[0]) <= lost && found[2].abs_diff(after[2]) <= 2 * lost;
        if before == after && (found == after || lost > 0 && is_near) {
            laws::counted(&quality).unwrap_or_else(|broken| panic!("{at}: {broken}"));
            return;
        }
        last = format!("found {found:?}, counted {after:?}, {quality:?}");
        std::thread::yield_now();
    }
    panic!("{at}: {last}");
}

/// A dump that obeys the laws.
fn dump_and_read(at: &str) {
    if heapledger::dump("chaos.hl").is_ok() {
        let dump = dumps::read("chaos.hl").expect("it was written");
        assert!(dump.damage.is_empty(), "{at}: {:?}", dump.damage);
        laws::obeyed(&dump.profile).unwrap_or_else(|broken| panic!("{at}: {broken}"));
    }
}

fn fork_one(executes: bool) {
    // SAFETY: the child uses what works after a fork here, or becomes another program.
    unsafe {
        let pid = libc::fork();
        assert!(pid >= 0);
        if pid == 0 {
            if executes {
                let arguments = [c"/bin/true".as_ptr(), null()];
                libc::execv(arguments[0], arguments.as_ptr());
            }
            (1..300).for_each(|size| free(block(size), size));
            libc::_exit(i32::from(!heapledger::quality().is_conserved()));
        }
        let mut status = 0;
        while libc::waitpid(pid, &mut status, 0) < 0 {}
        assert!(executes || status == 0, "a child ended with {status:#x}");
    }
}

fn chaos() {
    let seed: u64 = std::env::var(SEED_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    SEED.store(seed, SeqCst);
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse().ok());
    KILL_AT.store(number(KILL_VARIABLE).unwrap_or(0), SeqCst);
    let mut dice = Dice(seed);
    let mut threads = [0; THREADS];
    for (number, thread) in threads.iter_mut().enumerate() {
        // SAFETY: `thread` is valid for writes, default attributes are asked for, and the body takes a number.
        let failed = unsafe { libc::pthread_create(thread, null(), work, without_provenance_mut(number)) };
        assert_eq!(failed, 0);
    }
    start_alarms(on_alarm);
    let (mut blocks, mut points) = ([(null_mut::<u8>(), 0usize); 64], 0);
    while points < POINTS {
        HANDLES.store(dice.roll(3) > 0, SeqCst);
        for _ in 0..1 + dice.roll(6) {
            match dice.roll(8) {
                0..3 => heapledger::set_mode(DataQualityMode::ALL[dice.roll(4) as usize]),
                3 => heapledger::set_degradation(Degradation::ALL[dice.roll(4) as usize]),
                4 => fork_one(dice.roll(4) == 0),
                5 => dump_and_read(&format!("seed {seed}, point {points}")),
                6 => std::thread::sleep(Duration::from_micros(dice.roll(3_000))),
                _ => drop(std::hint::black_box(heapledger::snapshot())),
            }
            (0..dice.roll(500)).for_each(|_| act(&mut dice_of(seed, points), &mut blocks));
        }
        PAUSE.store(true, SeqCst);
        while PAUSING.load(SeqCst) < THREADS {
            std::thread::yield_now();
        }
        compare(&format!("seed {seed}, point {points}"));
        points += 1;
        PAUSE.store(false, SeqCst);
        while PAUSING.load(SeqCst) > 0 {
            std::thread::yield_now();
        }
    }
    STOP.store(true, SeqCst);
    for thread in threads {
        // SAFETY: each thread was started, and is waited for once.
        assert_eq!(unsafe { libc::pthread_join(thread, null_mut()) }, 0);
    }
    blocks.iter().filter(|(block, _)| !block.is_null()).for_each(|(block, size)| free(*block, *size));
    compare(&format!("seed {seed}, the end"));
    println!("points={points}");
}

/// Numbers for the main thread, other ones each time.
fn dice_of(seed: u64, points: u64) -> Dice {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    Dice(seed ^ points << 32 ^ CALLS.fetch_add(1, SeqCst).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// Plays a seed with the settings that it decides.
fn play(case: &Case, seed: u64) {
    let mut dice = Dice((seed ^ 0x5EED).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let text = seed.to_string();
    let mut one_of = |values: &[&'static str]| values[dice.roll(values.len() as u64) as usize];
    let variables = [
        (SEED_VARIABLE, text.as_str()),
        ("HEAPLEDGER_MODE", one_of(&["perfect", "perfect", "high", "throughput", "best-effort"])),
        ("HEAPLEDGER_STACKS", one_of(&["off", "off", "auto", "fp", "sampled:4096"])),
        ("HEAPLEDGER_CLOCK", one_of(&["batched", "batched", "per-event", "monotonic"])),
        ("HEAPLEDGER_TRACE", one_of(&["", "", "", "chaos.trace"])),
        ("HEAPLEDGER_TRIGGERS", one_of(&["off", "live:64K,growth:256K,peak,loss,keep:6,pause:0"])),
    ];
    println!("  {variables:?}");
    let ended = case.play_with(&variables);
    ended.with_code(0);
    assert_eq!(ended.said("points"), POINTS);
    // The dumps that triggers took obey every law too.
    for name in ended.names().iter().filter(|name| name.ends_with(".hl")) {
        ended.dump_named(name);
    }
}

/// Kills programs at alarms that the seed decides, and reads their black boxes.
fn kill_some(case: &Case) {
    let soak_s: u64 = std::env::var(case::SOAK_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let first = if soak_s == 0 { 1 } else { u64::from(std::process::id()) << 20 };
    let (began, mut kills, mut seed) = (Instant::now(), 0, first);
    while kills < KILLS || began.elapsed() < Duration::from_secs(soak_s) {
        kills += u64::from(play_and_kill(case, seed));
        seed += 1;
    }
    println!("  {kills} kills");
}

/// Returns whether the program was killed before it ended by itself.
fn play_and_kill(case: &Case, seed: u64) -> bool {
    let mut dice = Dice((seed ^ 0xB0C5).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let (text, alarm) = (seed.to_string(), (1 + dice.roll(400)).to_string());
    let mut one_of = |values: &[&'static str]| values[dice.roll(values.len() as u64) as usize];
    let variables = [
        (SEED_VARIABLE, text.as_str()),
        (KILL_VARIABLE, alarm.as_str()),
        ("HEAPLEDGER_BLACKBOX", "chaos.box"),
        ("HEAPLEDGER_BLACKBOX_BYTES", "67108864"),
        ("HEAPLEDGER_MODE", one_of(&["perfect", "perfect", "high", "throughput", "best-effort"])),
        ("HEAPLEDGER_STACKS", one_of(&["off", "off", "fp", "sampled:4096"])),
        ("HEAPLEDGER_CLOCK", one_of(&["batched", "per-event"])),
    ];
    println!("  {variables:?}");
    let ended = case.play_with(&variables);
    if ended.status.success() {
        return false;
    }
    ended.with_signal(libc::SIGKILL);
    // A child that was forked before the kill can live a little longer, and holds the lock of the box with its parent.
    let begun = Instant::now();
    let read = loop {
        match dumps::read(ended.path("chaos.box")) {
            Ok(read) => break read,
            Err(dumps::ReadError::BeingWritten { .. }) if begun.elapsed() < Duration::from_secs(20) => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => panic!("seed {seed}: {error}"),
        }
    };
    laws::obeyed(&read.profile).unwrap_or_else(|broken| panic!("seed {seed}, killed: {broken}"));
    true
}

fn drive(case: &Case) {
    if let Some(seed) = std::env::var(SEED_VARIABLE).ok().and_then(|text| text.parse().ok()) {
        return play(case, seed);
    }
    SEEDS.into_iter().for_each(|seed| play(case, seed));
    let soak_s: u64 = std::env::var(case::SOAK_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let (began, mut seed) = (Instant::now(), u64::from(std::process::id()) << 20);
    while began.elapsed() < Duration::from_secs(soak_s) {
        seed += 1;
        play(case, seed);
    }
}
