//! Events that straddle a change: what is left out changes between the halves of a realloc, or another thread has left
//! out what this one frees; a handler or the inner allocator forks in the midst of an event.

use std::alloc::{Layout, realloc};
use std::ffi::c_void;
use std::ptr::{null_mut, without_provenance_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst};

use heapledger::{DataQualityMode, Degradation, LossReason};

use super::case::{Case, Ended};
use super::heap::Heap;
use super::inner::{self, Method};
use super::laws;
use super::signals::{begin_steps, end_steps};
use super::tools::{block, free, settled_accounts};

pub const CASES: &[Case] = &[
    Case::new("a_realloc_that_takes_up_counting_is_recorded_whole", || take_up(only_count, false), obeys)
        .heap(Heap::Alone),
    Case::new("a_realloc_that_takes_up_sampling_is_recorded_whole", || take_up(only_sample, false), obeys)
        .heap(Heap::Alone),
    Case::new("a_refused_realloc_that_takes_up_counting_is_taken_back", || take_up(only_count, true), obeys)
        .heap(Heap::Alone),
    Case::new("a_refused_realloc_that_takes_up_sampling_is_taken_back", || take_up(only_sample, true), obeys)
        .heap(Heap::Alone),
    Case::new("a_realloc_amid_which_counting_begins_is_recorded_whole", || change_amid(false), obeys)
        .heap(Heap::Alone),
    Case::new("a_refused_realloc_amid_which_counting_begins_is_recorded_whole", || change_amid(true), obeys)
        .heap(Heap::Alone),
    Case::new(
        "what_another_thread_only_counted_is_freed_with_its_size",
        || hand_over(only_count, false),
        obeys,
    )
    .heap(Heap::Alone),
    Case::new("what_another_thread_left_out_is_freed_with_its_size", || hand_over(only_sample, false), obeys)
        .heap(Heap::Alone),
    Case::new("what_another_thread_only_counted_grows_from_its_size", || hand_over(only_count, true), obeys)
        .heap(Heap::Alone),
    Case::new("what_another_thread_left_out_grows_from_its_size", || hand_over(only_sample, true), obeys)
        .heap(Heap::Alone),
    Case::new(
        "the_free_of_a_block_left_out_takes_no_bytes_of_the_next_one_at_its_address",
        || mix_up(1_000),
        obeys,
    ),
    // Where nobody flushes in between, more frees wait than there is room for.
    Case::new("more_frees_of_blocks_left_out_than_can_wait_are_all_counted", || leave_out(300_000), obeys)
        .heap(Heap::Alone),
    // heapledger's own thread is what finds out that sampling is over.
    Case::new("a_sample_that_is_reallocated_when_all_is_recorded_again_ends", || outlive(false), obeys)
        .heap(Heap::Counted)
        .variables(&[("HEAPLEDGER_WARN", "1")]),
    Case::new("a_sample_that_another_thread_reallocates_then_ends", || outlive(true), obeys)
        .heap(Heap::Counted)
        .variables(&[("HEAPLEDGER_WARN", "1")]),
    Case::new("a_child_forked_amid_a_realloc_has_no_half_of_it", || fork_amid(false), obeys)
        .heap(Heap::Counted),
    Case::new("a_child_forked_amid_a_refused_realloc_has_no_half_of_it", || fork_amid(true), obeys)
        .heap(Heap::Counted),
    Case::new("a_child_forked_at_any_instruction_has_a_ledger_of_its_own", fork_in_steps, |ended| {
        println!("  {} children", ended.said("children"));
        obeys(ended);
    })
    .heap(Heap::Bump)
    // heapledger's own thread is there from the first turn then: no signal may be raised while one is made.
    .variables(&[("HEAPLEDGER_WARN", "1")]),
    Case::new(
        "a_handler_at_every_instruction_of_a_process_first_event_is_accounted_for",
        step_through_the_first_event,
        |ended| {
            println!("  {} of {} first events stepped through", ended.said("fine"), ended.said("children"));
            assert_eq!(ended.said("fine"), ended.said("children"));
        },
    )
    .heap(Heap::Bump),
    // Its blocks are drawn.
    Case::new(
        "a_handler_at_every_instruction_of_a_sampling_thread_is_accounted_for",
        || step_and_sample(4_000),
        obeys,
    )
    .heap(Heap::Bump)
    .variables(&[("HEAPLEDGER_STACKS", "auto")]),
    // Its blocks are sampled out, and their frees are not, because blocks recorded earlier live.
    Case::new(
        "a_handler_with_small_blocks_at_every_instruction_of_a_sampling_thread_is_accounted_for",
        || step_and_sample(24),
        obeys,
    )
    .heap(Heap::Bump)
    .variables(&[("HEAPLEDGER_STACKS", "auto")]),
    // Its blocks are drawn, and their frees are sampled out, because no block was recorded before sampling began.
    Case::new(
        "a_handler_at_every_instruction_of_a_thread_that_has_always_sampled_is_accounted_for",
        || step_and_sample(4_000),
        obeys,
    )
    .heap(Heap::Bump)
    .variables(&[("HEAPLEDGER_STACKS", "auto"), ("HEAPLEDGER_MODE", "throughput")]),
];

const OLD_BYTES: usize = 4_242;
const NEW_BYTES: usize = 8_000;

fn obeys(ended: &Ended) {
    laws::obeyed(&ended.quietly().dump()).unwrap();
}

fn only_count() {
    heapledger::set_degradation(Degradation::CountersOnly);
}

fn only_sample() {
    heapledger::set_mode(DataQualityMode::HighThroughput);
}

fn grow(block: *mut u8, from: usize, to: usize) -> *mut u8 {
    // SAFETY: the blocks here have this layout.
    unsafe { realloc(block, Layout::from_size_align(from, 8).unwrap(), to) }
}

/// Live blocks and bytes, with nothing in flight and nothing lost.
fn live() -> (u64, u64) {
    let (quality, unaccounted) = settled_accounts();
    assert_eq!((quality.lost.total(), quality.in_flight, unaccounted), (0, 0, 0), "{quality:?}");
    let stats = heapledger::stats();
    (stats.live_blocks, stats.live_bytes)
}

/// The change, and an event that takes it up, come between the halves.
fn change_amid(is_refused: bool) {
    inner::amid_a_realloc(|| {
        only_count();
        free(block(8), 8);
    });
    take_up(|| (), is_refused);
}

/// The first event after a change is the first half of a realloc, one that goes well or one that is refused.
fn take_up(begin: fn(), is_refused: bool) {
    let old = block(OLD_BYTES);
    let (blocks, bytes) = live();
    inner::refuse(Method::Realloc, u64::from(is_refused));
    begin();
    let new = grow(old, OLD_BYTES, NEW_BYTES);
    assert_eq!(new.is_null(), is_refused);
    let grown = if is_refused { 0 } else { NEW_BYTES - OLD_BYTES } as u64;
    assert_eq!(live(), (blocks, bytes + grown));
    if is_refused {
        free(old, OLD_BYTES)
    } else {
        free(new, NEW_BYTES)
    }
    assert_eq!(live(), (blocks - 1, bytes - OLD_BYTES as u64));
}

const PLACED_BYTES: usize = 1_248;
static STEP: AtomicU64 = AtomicU64::new(0);

/// Allocates the block at the one place whenever the step is odd.
extern "C" fn place_one(_argument: *mut c_void) -> *mut c_void {
    loop {
        match STEP.load(SeqCst) {
            u64::MAX => return null_mut(),
            step if step % 2 == 1 => {
                HANDED.store(block(PLACED_BYTES), SeqCst);
                STEP.store(step + 1, SeqCst);
            }
            _ => std::thread::yield_now(),
        }
    }
}

/// Two threads have blocks at one address in turn, of which some are sampled, while a block from before sampling lives.
fn mix_up(turns: u64) {
    inner::place_all_of(PLACED_BYTES);
    let earlier = block(100);
    let mut thread = 0;
    // SAFETY: `thread` is valid for writes, and default attributes are asked for.
    assert_eq!(unsafe { libc::pthread_create(&mut thread, std::ptr::null(), place_one, null_mut()) }, 0);
    heapledger::flush();
    let before = heapledger::stats();
    heapledger::set_sampling_bytes(1 << 10);
    only_sample();
    for turn in 0..turns {
        free(block(PLACED_BYTES), PLACED_BYTES);
        STEP.store(2 * turn + 1, SeqCst);
        while STEP.load(SeqCst) != 2 * turn + 2 {
            std::thread::yield_now();
        }
        free(HANDED.load(SeqCst), PLACED_BYTES);
    }
    STEP.store(u64::MAX, SeqCst);
    // SAFETY: it was started, and is waited for once.
    assert_eq!(unsafe { libc::pthread_join(thread, null_mut()) }, 0);
    let (quality, unaccounted) = settled_accounts();
    assert_eq!(
        (quality.lost.total(), unaccounted, quality.anomalies.unmatched_frees),
        (0, 0, 0),
        "{quality:?}"
    );
    assert_eq!(quality.anomalies.double_allocations, 0, "{quality:?}");
    let after = heapledger::stats();
    assert_eq!((after.live_blocks, after.live_bytes), (before.live_blocks, before.live_bytes));
    assert_eq!(after.freed_bytes - before.freed_bytes, after.total_bytes - before.total_bytes);
    free(earlier, 100);
}

/// One thread, and a block from before sampling that lives on: every free is recorded, and finds no block.
fn leave_out(blocks: u64) {
    let earlier = block(100);
    let before = live();
    only_sample();
    (0..blocks).for_each(|_| free(block(64), 64));
    let after = live();
    assert_eq!(after, before);
    free(earlier, 100);
}

/// What one thread hands to the other, and back.
static HANDED: AtomicPtr<u8> = AtomicPtr::new(null_mut());
static IS_READY: AtomicBool = AtomicBool::new(false);
const HANDED_BYTES: usize = 1_000_000;

/// Frees what it is given, or lets it grow. It records everything until then, and had no event since the change.
extern "C" fn receive(grows: *mut c_void) -> *mut c_void {
    free(block(8), 8);
    IS_READY.store(true, SeqCst);
    let given = loop {
        let given = HANDED.load(SeqCst);
        if !given.is_null() {
            break given;
        }
        std::hint::spin_loop();
    };
    if grows.is_null() {
        free(given, HANDED_BYTES);
    } else {
        HANDED.store(grow(given, HANDED_BYTES, NEW_BYTES), SeqCst);
    }
    null_mut()
}

fn with_receiver(grows: bool, give: impl FnOnce() -> *mut u8) {
    let mut thread = 0;
    let argument = without_provenance_mut(usize::from(grows));
    // SAFETY: `thread` is valid for writes, default attributes are asked for, and the body takes a number.
    assert_eq!(unsafe { libc::pthread_create(&mut thread, std::ptr::null(), receive, argument) }, 0);
    while !IS_READY.load(SeqCst) {
        std::hint::spin_loop();
    }
    HANDED.store(give(), SeqCst);
    // SAFETY: it was started, and is waited for once.
    assert_eq!(unsafe { libc::pthread_join(thread, null_mut()) }, 0);
}

fn hand_over(begin: fn(), grows: bool) {
    free(block(8), 8);
    let (blocks, bytes) = live();
    with_receiver(grows, || {
        begin();
        free(block(8), 8);
        block(HANDED_BYTES)
    });
    if grows {
        assert_eq!(live(), (blocks + 1, bytes + NEW_BYTES as u64));
        free(HANDED.load(SeqCst), NEW_BYTES);
    }
    assert_eq!(live(), (blocks, bytes));
}

/// A block that was sampled outlives all that was left out.
fn outlive(by_another: bool) {
    (0..1_000).for_each(|_| free(block(8), 8));
    let (blocks, bytes) = live();
    heapledger::set_sampling_bytes(1 << 10);
    only_sample();
    free(block(8), 8);
    let sampled = block(HANDED_BYTES);
    heapledger::set_mode(DataQualityMode::PerfectAccuracy);
    free(block(8), 8);
    assert_eq!(live(), (blocks + 1, bytes + HANDED_BYTES as u64));
    // With nothing left out alive, everything is recorded from some moment on.
    for _ in 0..30 {
        std::thread::sleep(std::time::Duration::from_millis(10));
        free(block(8), 8);
    }
    if by_another {
        with_receiver(true, || sampled);
    } else {
        HANDED.store(grow(sampled, HANDED_BYTES, NEW_BYTES), SeqCst);
    }
    assert_eq!(live(), (blocks + 1, bytes + NEW_BYTES as u64));
    free(HANDED.load(SeqCst), NEW_BYTES);
    assert_eq!(live(), (blocks, bytes));
    let profile = heapledger::snapshot().expect("it is recording");
    assert!(profile.sites.iter().all(|site| site.freed_blocks <= site.total_blocks), "{:?}", profile.sites);
    let estimates = profile.estimates.expect("blocks were sampled");
    let off = estimates.live_bytes.value - profile.totals.live_bytes as f64;
    assert!(off.abs() < 1.0, "{estimates:?} {:?}", profile.totals);
}

/// Whether this process was forked amid something.
static IS_CHILD: AtomicBool = AtomicBool::new(false);
static CHILDREN: AtomicU64 = AtomicU64::new(0);
static FAILED_CHILDREN: AtomicU32 = AtomicU32::new(0);

/// Forks, and waits for the child; says whether this is it.
fn fork_here() -> bool {
    // SAFETY: the child uses what works after a fork here, see the allocators.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        IS_CHILD.store(true, SeqCst);
        return true;
    }
    let mut status = 0;
    // SAFETY: `status` is valid for writes.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    CHILDREN.fetch_add(1, SeqCst);
    FAILED_CHILDREN.fetch_add(u32::from(status != 0), SeqCst);
    false
}

/// In a child, at the end of what it was forked amid: what it does now is in its own books, and nothing else is.
fn end_if_child() {
    if !IS_CHILD.load(SeqCst) {
        return;
    }
    (0..100).for_each(|_| free(block(48), 48));
    // The child's background thread may be at an event of its own.
    let mut readings = (0..1_000).map(|_| {
        heapledger::flush();
        heapledger::quality()
    });
    let quality = readings.find(|quality| quality.in_flight == 0).unwrap_or_else(heapledger::quality);
    let is_sound = quality.is_conserved() && quality.in_flight == 0 && quality.recorded >= 200;
    if !is_sound {
        eprintln!("child {}: {quality:?}", CHILDREN.load(SeqCst));
    }
    // SAFETY: ends the process.
    unsafe { libc::_exit(i32::from(!is_sound)) };
}

fn fork_amid(is_refused: bool) {
    let old = block(OLD_BYTES);
    inner::refuse(Method::Realloc, u64::from(is_refused));
    inner::amid_a_realloc(|| {
        fork_here();
    });
    let new = grow(old, OLD_BYTES, NEW_BYTES);
    end_if_child();
    assert_eq!((CHILDREN.load(SeqCst), FAILED_CHILDREN.load(SeqCst)), (1, 0));
    if is_refused { free(old, OLD_BYTES) } else { free(new, NEW_BYTES) }
}

/// The flag of the processor that has it stop after each instruction.
const TRAP: i64 = 0x100;
/// Signals from one fork to the next; no divisor of a loop's length.
const STEPS_EACH: u64 = 499;
static STEPS: AtomicU64 = AtomicU64::new(0);

extern "C" fn fork_now_and_then(_signal: i32, _info: *mut libc::siginfo_t, context: *mut c_void) {
    if STEPS.fetch_add(1, SeqCst).is_multiple_of(STEPS_EACH) && fork_here() {
        stop_traps(context);
    }
}

/// Lets the thread go on without traps when the handler returns that was given this context.
pub fn stop_traps(context: *mut c_void) {
    // SAFETY: the system passes a context of this type, from which the thread goes on.
    unsafe {
        (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_EFL as usize] &= !TRAP;
    }
}

/// Size of the handler's blocks.
static HANDLERS_BYTES: AtomicUsize = AtomicUsize::new(0);

extern "C" fn allocate(_signal: i32, _info: *mut libc::siginfo_t, _context: *mut c_void) {
    let size = HANDLERS_BYTES.load(SeqCst);
    free(block(size), size);
}

pub fn handle_traps(handler: extern "C" fn(i32, *mut libc::siginfo_t, *mut c_void)) {
    // SAFETY: all zero bytes are a valid action; the handlers call only what they may with an allocator that takes no lock.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        (action.sa_sigaction, action.sa_flags) = (handler as *const () as usize, libc::SA_SIGINFO);
        assert_eq!(libc::sigaction(libc::SIGTRAP, &action, null_mut()), 0);
    }
}

/// Steps through windows that are turned, and a flush.
fn fork_in_steps() {
    (0..1_000).for_each(|_| free(block(8), 8));
    handle_traps(fork_now_and_then);
    for round in 0..150 {
        begin_steps();
        free(block(16 + round), 16 + round);
        end_steps();
        end_if_child();
    }
    begin_steps();
    heapledger::flush();
    end_steps();
    end_if_child();
    assert_eq!(FAILED_CHILDREN.load(SeqCst), 0, "of {}", CHILDREN.load(SeqCst));
    println!("children={}", CHILDREN.load(SeqCst));
}

/// Blocks that are sampled more often than not, with their stacks, and a handler that makes one of this size at each
/// instruction; then the same while everything is recorded again. Of each of the handler's blocks both events are
/// counted or both are lost.
fn step_and_sample(handlers_bytes: usize) {
    HANDLERS_BYTES.store(handlers_bytes, SeqCst);
    let (blocks, _) = live();
    heapledger::set_sampling_bytes(1 << 10);
    only_sample();
    let left_out = block(8);
    handle_traps(allocate);
    for _ in 0..2 {
        begin_steps();
        for size in [5_000, 100, 6_000, 7_000] {
            free(block(size), size);
        }
        end_steps();
        heapledger::set_mode(DataQualityMode::PerfectAccuracy);
    }
    free(left_out, 8);
    let (quality, unaccounted) = settled_accounts();
    assert_eq!((quality.in_flight, unaccounted, quality.anomalies.total()), (0, 0, 0), "{quality:?}");
    assert_eq!(quality.lost.total(), quality.lost.get(LossReason::Reentrant), "{quality:?}");
    assert_eq!(heapledger::stats().live_blocks, blocks);
}

/// Number of signals that the handler still ignores.
static PASSED_OVER: AtomicU64 = AtomicU64::new(0);

extern "C" fn allocate_after_some(_signal: i32, _info: *mut libc::siginfo_t, _context: *mut c_void) {
    if PASSED_OVER.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_err() {
        free(block(24), 24);
    }
}

/// Steps through the opening of a ledger: a forked child opens its own at its first event. That event must not be the
/// handler's, so the handler ignores more signals in each child.
fn step_through_the_first_event() {
    free(block(8), 8);
    handle_traps(allocate_after_some);
    let (mut children, mut fine) = (0, 0);
    for skipped in (0..30_000).step_by(2_500) {
        // SAFETY: the child uses what works after a fork here, and exits; `status` is valid for writes.
        let status = unsafe {
            let child = libc::fork();
            assert!(child >= 0);
            if child == 0 {
                // A child that hangs ends by SIGALRM.
                libc::alarm(50);
                PASSED_OVER.store(skipped, SeqCst);
                begin_steps();
                free(block(32), 32);
                end_steps();
                PASSED_OVER.store(0, SeqCst);
                let quality = heapledger::quality();
                let lost = quality.lost.total();
                let is_fine = quality.is_conserved() && lost == quality.lost.get(LossReason::Reentrant);
                libc::_exit(i32::from(!is_fine || quality.anomalies.total() > 0));
            }
            let mut status = 0;
            while libc::waitpid(child, &mut status, 0) < 0 {}
            status
        };
        children += 1;
        fine += u64::from(status == 0);
        if status != 0 {
            println!("after {skipped} signals: {status:#x}");
        }
    }
    println!("children={children}\nfine={fine}");
}
