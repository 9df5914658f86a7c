//! P5: a signal handler that allocates, at every single instruction of the recorder.
//!
//! The processor's trap flag raises a signal after each instruction of a thread, and the signal's handler allocates and
//! frees a block. So every state of a half-written record occurs, without luck. The handler's events are recorded where
//! that is possible and counted as `reentrant` elsewhere, all events of the program are recorded, and nothing hangs.
//! The inner allocator is one that a handler may call at any time.

use std::arch::asm;
use std::ffi::c_void;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use heapledger::scope::{Inconclusive, Measurement};
use heapledger::{LossReason, Scope};

use super::case::{Case, Ended};
use super::heap::Heap;
use super::laws::complete;
use super::losses::shown;
use super::stack_limits::call_with_frame;
use super::straddling::{handle_traps, stop_traps};
use super::tools::{Body, accounted_point, block, free, lossless_point, lost_only, threads};

const PER_EVENT: &[(&str, &str)] = &[("HEAPLEDGER_CLOCK", "per-event")];
/// heapledger's own thread is there from the start: while one is started all signals are blocked, and one that a trap
/// raises would end the process.
const WITH_THREAD: &[(&str, &str)] = &[("HEAPLEDGER_TRIGGERS", "live:1000G")];

pub const CASES: &[Case] = &[
    Case::new(
        "a_handler_at_every_instruction_of_the_recorder_is_accounted_for",
        step_through_work,
        reentrant,
    )
    .heap(Heap::Bump),
    Case::new("a_handler_at_every_instruction_of_a_flush_is_accounted_for", step_through_flush, reentrant)
        .heap(Heap::Bump)
        .variables(WITH_THREAD),
    Case::new("a_handler_at_every_instruction_with_a_stamp_on_every_event", step_through_work, reentrant)
        .heap(Heap::Bump)
        .variables(PER_EVENT),
    Case::new(
        "a_handler_at_every_instruction_of_scopes_is_in_one_or_the_other",
        step_through_scopes,
        reentrant,
    )
    .heap(Heap::Bump),
    Case::new(
        "a_budget_is_inconclusive_while_another_thread_is_stopped_amid_an_event",
        measure_beside_a_stopped_thread,
        |ended| {
            ended.quietly();
        },
    )
    .heap(Heap::Bump)
    .variables(PER_EVENT),
    Case::new(
        "a_handler_that_comes_thousands_of_times_a_second_during_work_and_dumps",
        interrupt_all,
        |ended| {
            let profile = ended.quietly().dump();
            let lost = lost_only(&profile.quality, LossReason::Reentrant);
            println!("  {} handlers during {} dumps, {lost} events lost", ended.said("handled"), DUMPS);
        },
    )
    .heap(Heap::Bump),
    Case::new(
        "a_handler_at_every_instruction_of_a_threads_end_is_accounted_for",
        step_through_the_end,
        |ended| {
            let profile = ended.quietly().dump();
            let lost = profile.quality.lost;
            let known = [LossReason::Reentrant, LossReason::TlsTeardown].map(|reason| lost.get(reason));
            assert_eq!(lost.total(), known.iter().sum::<u64>());
            for reason in [LossReason::Reentrant, LossReason::TlsTeardown] {
                shown(&profile, reason, lost.get(reason));
            }
        },
    )
    .heap(Heap::Bump)
    .variables(WITH_THREAD),
    Case::new(
        "a_handler_at_every_instruction_of_a_threads_start_is_accounted_for",
        step_through_the_start,
        |ended| {
            assert!(ended.quietly().dump().quality.lost.get(LossReason::Reentrant) > 0);
        },
    )
    .heap(Heap::Bump),
    Case::new(
        "a_handler_at_every_instruction_of_a_threads_start_with_stacks_finds_no_lock",
        step_through_the_start,
        |ended| {
            assert!(ended.quietly().dump().quality.lost.get(LossReason::Reentrant) > 0);
        },
    )
    .heap(Heap::Bump)
    .variables(STACKS),
    Case::new(
        "a_handler_at_every_instruction_of_a_thread_that_asks_for_its_stack_does_not_hang",
        step_through_the_question_for_the_stack,
        |ended| {
            complete(&ended.quietly().dump()).unwrap();
        },
    )
    .heap(Heap::Bump)
    .variables(STACKS),
    Case::new(
        "a_handler_at_every_instruction_of_the_search_for_a_stack_finds_its_bounds_or_none",
        step_through_a_deeper_stack,
        reentrant,
    )
    .heap(Heap::Bump)
    .variables(STACKS),
    Case::new(
        "a_handler_amid_a_threads_start_does_not_walk_the_stack_of_the_thread_before",
        start_on_the_lane_of_another_stack,
        |ended| {
            ended.quietly().dump();
        },
    )
    .heap(Heap::Bump)
    .variables(FRAME_POINTERS),
    Case::new(
        "a_handler_that_interrupts_the_start_of_a_thread_does_not_start_heapledgers_own",
        || interrupt_starts(start_a_thread),
        |ended| println!("  {} starts interrupted", ended.said("fine")),
    )
    .heap(Heap::Bump),
    Case::new(
        "a_handler_that_interrupts_the_start_of_heapledgers_own_thread_does_not_hang",
        || interrupt_starts(start_heapledgers_own),
        |ended| println!("  {} starts interrupted", ended.said("fine")),
    )
    .heap(Heap::Bump),
];

const STACKS: &[(&str, &str)] = &[("HEAPLEDGER_STACKS", "auto")];
const FRAME_POINTERS: &[(&str, &str)] = &[("HEAPLEDGER_STACKS", "fp")];

/// Times that the handler ran.
static HANDLED: AtomicU64 = AtomicU64::new(0);

/// Number of signals that the handler still ignores.
static PASSED_OVER: AtomicU64 = AtomicU64::new(0);

extern "C" fn handler(_signal: libc::c_int) {
    if PASSED_OVER.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok() {
        return;
    }
    HANDLED.fetch_add(1, SeqCst);
    free(block(24), 24);
}

fn install_handler() {
    // SAFETY: all zero bytes are a valid action; the handler calls only what it may, see the module's doc.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        assert_eq!(libc::sigaction(libc::SIGTRAP, &action, null_mut()), 0);
    }
}

/// Makes every instruction from the next one on raise a signal.
#[inline(always)]
pub fn begin_steps() {
    // SAFETY: it sets one flag, and leaves the stack as it was.
    unsafe { asm!("pushfq", "or qword ptr [rsp], 0x100", "popfq") };
}

#[inline(always)]
pub fn end_steps() {
    // SAFETY: as above.
    unsafe { asm!("pushfq", "and qword ptr [rsp], 0xfffffffffffffeff", "popfq") };
}

/// Asserts that only events of the handler were lost, and that they balance: both events of a handler run find the
/// recorder in the same state, so of each block both events are booked or both are lost.
fn settled(live_before: u64) {
    let quality = accounted_point();
    let lost = lost_only(&quality, LossReason::Reentrant);
    assert!(lost > 0 && lost <= 2 * HANDLED.load(SeqCst), "{quality:?}");
    assert_eq!(quality.anomalies.total(), 0, "{quality:?}");
    assert_eq!(heapledger::stats().live_blocks, live_before);
    println!("handled={}\nlost={lost}", HANDLED.load(SeqCst));
}

fn reentrant(ended: &Ended) {
    let profile = ended.quietly().dump();
    assert_eq!(lost_only(&profile.quality, LossReason::Reentrant), ended.said("lost"));
    shown(&profile, LossReason::Reentrant, ended.said("lost"));
    println!("  {} handlers, {} of their events lost", ended.said("handled"), ended.said("lost"));
}

/// Allocates, frees and reallocates: blocks that stay, move, need wide records and fill segments.
fn step_through_work() {
    let before = lossless_point();
    install_handler();
    begin_steps();
    for round in 0..25 {
        let size = 16 + round * 7;
        let first = block(size);
        let second = block(size + 1);
        let layout = std::alloc::Layout::from_size_align(size, 8).unwrap();
        // SAFETY: the block is ours, and has this layout.
        let first = unsafe { std::alloc::realloc(first, layout, 2 * size) };
        free(second, size + 1);
        free(first, 2 * size);
    }
    let large = block(5 << 30);
    free(large, 5 << 30);
    end_steps();
    settled(before.live_blocks);
}

fn step_through_scopes() {
    install_handler();
    let (outer, inner) = (Scope::named("outer"), Scope::named("inner"));
    let live = lossless_point().live_blocks;
    begin_steps();
    for _ in 0..3 {
        let _outer = outer.enter();
        free(block(100), 100);
        // The first time this makes the cell of the path.
        let _inner = inner.enter();
        free(block(10), 10);
    }
    end_steps();
    settled(live);
    let (all, nested) = (outer.usage(), inner.usage());
    // The rest are the handler's blocks of 24 bytes.
    for (usage, own) in [(all, 330), (nested, 30)] {
        assert!(usage.bytes > own && (usage.bytes - own).is_multiple_of(24), "{usage:?}");
        assert_eq!(usage.retained_blocks, 0);
    }
    free(block(50), 50);
    assert_eq!((outer.usage().bytes, inner.usage().bytes), (all.bytes, nested.bytes));
}

/// Number of the instruction at which the stepping thread stops, and how far it has come.
static STOP_AT: AtomicU64 = AtomicU64::new(0);
static STEPPED: AtomicU64 = AtomicU64::new(0);
static GO_ON: AtomicU64 = AtomicU64::new(0);

extern "C" fn stop_here(_signal: i32, _info: *mut libc::siginfo_t, _context: *mut c_void) {
    let step = STEPPED.fetch_add(1, SeqCst) + 1;
    while step == STOP_AT.load(SeqCst) && GO_ON.load(SeqCst) < step {
        // SAFETY: it only waits.
        unsafe { libc::usleep(50) };
    }
}

extern "C" fn free_in_steps(_number: *mut c_void) -> *mut c_void {
    let blocks: [*mut u8; 20] = std::array::from_fn(|_| block(64));
    begin_steps();
    free(blocks[0], 64);
    end_steps();
    blocks[1..].iter().for_each(|block| free(*block, 64));
    GO_ON.store(u64::MAX, SeqCst);
    null_mut()
}

/// Stops another thread after ever more instructions of a free. Between its time stamp and its publication nothing
/// later can be booked, so a budget waits for a second, and then cannot be decided.
fn measure_beside_a_stopped_thread() {
    handle_traps(stop_here);
    STOP_AT.store(u64::MAX, SeqCst);
    threads::<1>(free_in_steps);
    let steps = STEPPED.load(SeqCst);
    for stop_at in (1..=100).map(|part| steps * part / 101) {
        [&STEPPED, &GO_ON].into_iter().for_each(|count| count.store(0, SeqCst));
        STOP_AT.store(stop_at, SeqCst);
        let (inconclusive, usage) = std::thread::scope(|scope| {
            let other = scope.spawn(|| threads::<1>(free_in_steps));
            while STEPPED.load(SeqCst) < stop_at && GO_ON.load(SeqCst) == 0 {
                std::thread::yield_now();
            }
            let measurement = Measurement::begin();
            free(block(100), 100);
            let (usage, inconclusive) = measurement.end();
            GO_ON.store(u64::MAX, SeqCst);
            other.join().unwrap();
            (inconclusive, usage)
        });
        match inconclusive {
            None => assert_eq!((usage.allocations, usage.bytes), (1, 100)),
            Some(reason) => {
                assert_eq!(reason, Inconclusive::InFlight, "{usage:?}");
                let (usage, inconclusive) = {
                    let measurement = Measurement::begin();
                    free(block(100), 100);
                    measurement.end()
                };
                return assert_eq!(
                    (usage.allocations, inconclusive),
                    (1, None),
                    "once the thread has gone on"
                );
            }
        }
    }
    panic!("no budget was inconclusive");
}

fn step_through_flush() {
    let before = lossless_point();
    install_handler();
    let blocks: [*mut u8; 64] = std::array::from_fn(|number| block(16 + number));
    begin_steps();
    heapledger::flush();
    for (number, block) in blocks.into_iter().enumerate() {
        free(block, 16 + number);
    }
    heapledger::flush();
    end_steps();
    settled(before.live_blocks);
}

static LAST_KEY: AtomicU32 = AtomicU32::new(0);

/// The destructor of the last round, after heapledger's. From here on the system blocks signals, and a raised one would
/// end the process.
unsafe extern "C" fn last_destructor(round: *mut c_void) {
    if round.addr() < 4 {
        set_round(round.addr() + 1);
    } else {
        end_steps();
    }
}

fn set_round(round: usize) {
    let value = std::ptr::without_provenance_mut::<c_void>(round);
    // SAFETY: the key was created before any thread that gets here; its value is a number.
    assert_eq!(unsafe { libc::pthread_setspecific(LAST_KEY.load(SeqCst), value) }, 0);
}

extern "C" fn end_in_steps(_number: *mut c_void) -> *mut c_void {
    free(block(32), 32);
    set_round(1);
    begin_steps();
    null_mut()
}

fn step_through_the_end() {
    let before = lossless_point();
    install_handler();
    let mut key = 0;
    // SAFETY: the key is valid for writes and its destructor lives as long as the program.
    assert_eq!(unsafe { libc::pthread_key_create(&mut key, Some(last_destructor)) }, 0);
    LAST_KEY.store(key, SeqCst);
    threads::<4>(end_in_steps);
    let quality = accounted_point();
    let teardown = quality.lost.get(LossReason::TlsTeardown);
    assert!(teardown > 0 && teardown + quality.lost.get(LossReason::Reentrant) == quality.lost.total());
    assert_eq!(quality.anomalies.total(), 0, "{quality:?}");
    assert_eq!(heapledger::stats().live_blocks, before.live_blocks);
}

extern "C" fn start_in_steps(_number: *mut c_void) -> *mut c_void {
    begin_steps();
    free(block(32), 32);
    end_steps();
    null_mut()
}

/// Steps through the claim of a lane at the thread's first event. That event must not be the handler's, so the handler
/// ignores more signals in each run and thus interrupts the claim at ever later points.
fn step_through_the_start() {
    let before = lossless_point();
    install_handler();
    for skipped in (0..20_000).step_by(250) {
        PASSED_OVER.store(skipped, SeqCst);
        threads::<1>(start_in_steps);
    }
    PASSED_OVER.store(0, SeqCst);
    settled(before.live_blocks);
}

/// The thread's first event is the handler's, while the thread is in the call that std makes at the start of each
/// thread: it takes a lock of the thread's, and allocates.
extern "C" fn ask_in_steps(_number: *mut c_void) -> *mut c_void {
    // SAFETY: the attributes are initialised by the first call, and destroyed once.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        begin_steps();
        let failed = libc::pthread_getattr_np(libc::pthread_self(), &mut attributes);
        end_steps();
        assert_eq!(failed, 0);
        libc::pthread_attr_destroy(&mut attributes);
    }
    null_mut()
}

fn step_through_the_question_for_the_stack() {
    lossless_point();
    install_handler();
    for skipped in (0..1_000).step_by(20) {
        PASSED_OVER.store(skipped, SeqCst);
        threads::<1>(ask_in_steps);
    }
    PASSED_OVER.store(0, SeqCst);
    lossless_point();
}

/// Allocates on ever more of the stack, whose known part grows with each.
#[inline(never)]
fn allocate_deeper(depth: usize) {
    let filled = std::hint::black_box([1u8; 3_000]);
    free(block(48), 48);
    if depth > 0 {
        allocate_deeper(depth - 1);
    }
    std::hint::black_box(filled);
}

extern "C" fn deepen_in_steps(_number: *mut c_void) -> *mut c_void {
    free(block(32), 32);
    begin_steps();
    allocate_deeper(12);
    end_steps();
    null_mut()
}

fn step_through_a_deeper_stack() {
    let before = lossless_point();
    install_handler();
    threads::<1>(deepen_in_steps);
    settled(before.live_blocks);
}

/// Bytes of the stack that the first thread of a lane has, of which the second one has the lower half.
const BOTH_BYTES: usize = 512 << 10;
/// What the second thread's first function finds in its frame pointer: an address in the half that is gone.
static GONE_FRAME: AtomicU64 = AtomicU64::new(0);

extern "C" fn allocate_far_below(_number: *mut c_void) -> *mut c_void {
    let mut room = std::mem::MaybeUninit::<[u8; BOTH_BYTES * 3 / 4]>::uninit();
    std::hint::black_box(room.as_mut_ptr());
    free(block(32), 32);
    std::hint::black_box(room.as_mut_ptr());
    null_mut()
}

extern "C" fn start_below_what_is_gone(number: *mut c_void) -> *mut c_void {
    extern "C" fn body() {
        start_in_steps(null_mut());
    }
    // SAFETY: the function keeps to the calling convention, and nobody follows the frame but heapledger's walk.
    unsafe { call_with_frame(body, GONE_FRAME.load(SeqCst)) };
    number
}

fn run_on(stack: *mut c_void, bytes: usize, body: Body) {
    // SAFETY: the attributes are initialised first, and the stack is nobody else's until the thread has ended.
    unsafe {
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        assert_eq!(libc::pthread_attr_init(&mut attributes), 0);
        assert_eq!(libc::pthread_attr_setstack(&mut attributes, stack, bytes), 0);
        let mut thread = 0;
        assert_eq!(libc::pthread_create(&mut thread, &attributes, body, null_mut()), 0);
        assert_eq!(libc::pthread_join(thread, null_mut()), 0);
        libc::pthread_attr_destroy(&mut attributes);
    }
}

/// A thread ends, the upper half of its stack is unmapped, and another thread gets its lane, and the lower half as its
/// stack. Its frame pointer leads into the upper half: a walk within the first thread's bounds would read there.
fn start_on_the_lane_of_another_stack() {
    lossless_point();
    install_handler();
    for skipped in (0..20_000).step_by(250) {
        // SAFETY: a fresh mapping, of which only the threads here know.
        unsafe {
            let (access, flags) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let stack = libc::mmap(null_mut(), BOTH_BYTES, access, flags, -1, 0);
            assert_ne!(stack, libc::MAP_FAILED);
            PASSED_OVER.store(u64::MAX, SeqCst);
            run_on(stack, BOTH_BYTES, allocate_far_below);
            let upper = stack.byte_add(BOTH_BYTES / 2);
            assert_eq!(libc::munmap(upper, BOTH_BYTES / 2), 0);
            GONE_FRAME.store(upper.addr() as u64 + 4_096, SeqCst);
            PASSED_OVER.store(skipped, SeqCst);
            run_on(stack, BOTH_BYTES / 2, start_below_what_is_gone);
            assert_eq!(libc::munmap(stack, BOTH_BYTES / 2), 0);
        }
    }
    PASSED_OVER.store(0, SeqCst);
    accounted_point();
}

const DUMPS: u64 = 12;
/// Number of handler runs that suffice.
const INTERRUPTIONS: u64 = 20_000;

/// A timer interrupts allocations, frees, flushes, queries and dumps, wherever they are. What a handler made in the
/// midst of a record, or under a latch, is lost and counted; all else is recorded.
fn interrupt_all() {
    let before = lossless_point();
    install_handler();
    // SAFETY: every object is initialised, and outlives its call. The signal goes to this thread: heapledger's own block
    // all signals, and there is no other.
    unsafe {
        let mut event: libc::sigevent = std::mem::zeroed();
        (event.sigev_notify, event.sigev_signo) = (libc::SIGEV_SIGNAL, libc::SIGTRAP);
        let mut timer: libc::timer_t = std::mem::zeroed();
        assert_eq!(libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer), 0);
        let span = libc::timespec { tv_sec: 0, tv_nsec: 50_000 };
        let every = libc::itimerspec { it_interval: span, it_value: span };
        assert_eq!(libc::timer_settime(timer, 0, &every, null_mut()), 0);
        let mut dumps = 0;
        while HANDLED.load(SeqCst) < INTERRUPTIONS || dumps < DUMPS {
            for size in 16..5_000 {
                free(block(size), size);
            }
            heapledger::flush();
            heapledger::quality();
            if dumps < DUMPS {
                heapledger::dump("under.hl").unwrap();
                dumps += 1;
            }
        }
        assert_eq!(libc::timer_delete(timer), 0);
    }
    std::fs::remove_file("under.hl").unwrap();
    let quality = accounted_point();
    let lost = lost_only(&quality, LossReason::Reentrant);
    assert!(lost > 0 && lost <= 2 * HANDLED.load(SeqCst), "{quality:?}");
    assert_eq!(quality.anomalies.double_allocations + quality.anomalies.layout_mismatches, 0, "{quality:?}");
    println!("handled={}\nlost={lost}\nbefore={}", HANDLED.load(SeqCst), before.live_blocks);
}

/// Steps of `pthread_create` between two children, and steps in each of which a child's handler makes a block: enough
/// events for a window.
const STRIDE: u64 = 100;
const INTERRUPTED: u64 = 150;
/// Steps that starting a thread takes at least.
const STEPS: u64 = 6_000;
/// Steps without and with a block that are left.
static STEPS_LEFT: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

fn start_a_thread() -> i32 {
    extern "C" fn nothing(_argument: *mut c_void) -> *mut c_void {
        null_mut()
    }
    let mut thread = 0;
    // SAFETY: `thread` is valid for writes.
    unsafe { libc::pthread_create(&mut thread, null(), nothing, null_mut()) }
}

fn start_heapledgers_own() -> i32 {
    i32::from(heapledger::set_auto_tune(None).is_err())
}

/// At each of some successive instructions of `start`, where glibc holds its lock for stacks or the allocator's, a
/// handler allocates; heapledger's own thread is due.
fn interrupt_starts(start: fn() -> i32) {
    extern "C" fn allocate_for_a_while(_signal: i32, _info: *mut libc::siginfo_t, context: *mut c_void) {
        let passes = |left: &AtomicU64| left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        if passes(&STEPS_LEFT[0]) {
        } else if passes(&STEPS_LEFT[1]) {
            free(block(24), 24);
        } else {
            stop_traps(context);
        }
    }
    let (mut fine, mut trapped) = (0, 0);
    for skipped in (0..STEPS).step_by(STRIDE as usize) {
        // SAFETY: the child uses what works after a fork here: glibc's allocator and heapledger.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: no memory is involved. A child that hangs is ended.
            unsafe { libc::alarm(100) };
            (0..2_000).for_each(|_| free(block(40), 40));
            heapledger::stats();
            handle_traps(allocate_for_a_while);
            STEPS_LEFT[0].store(skipped, SeqCst);
            STEPS_LEFT[1].store(INTERRUPTED, SeqCst);
            begin_steps();
            let failed = start();
            end_steps();
            // SAFETY: it ends the process without running anything.
            unsafe { libc::_exit(failed) };
        }
        let mut status = 0;
        // SAFETY: the status is valid for writes.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        // Later glibc blocks all signals for a while, and one that a trap raises then ends the process.
        trapped += u64::from(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGTRAP);
        fine += u64::from(status == 0);
    }
    assert_eq!(fine + trapped, STEPS / STRIDE, "the others hang");
    assert!(fine > 10, "{fine} {trapped}");
    println!("fine={fine}");
}
