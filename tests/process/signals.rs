//! P5: a signal handler that allocates, at every single instruction of the recorder.
//!
//! The processor's trap flag raises a signal after each instruction of a thread, and the signal's handler allocates and
//! frees a block. So every state of a half-written record occurs, without luck. The handler's events are recorded where
//! that is possible and counted as `reentrant` elsewhere, all events of the program are recorded, and nothing hangs.
//! The inner allocator is one that a handler may call at any time.

use std::arch::asm;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use heapledger::LossReason;

use super::case::{Case, Ended};
use super::heap::Heap;
use super::losses::shown;
use super::tools::{accounted_point, block, free, lossless_point, lost_only, threads};

const PER_EVENT: &[(&str, &str)] = &[("HEAPLEDGER_CLOCK", "per-event")];

pub const CASES: &[Case] = &[
    Case::new(
        "a_handler_at_every_instruction_of_the_recorder_is_accounted_for",
        step_through_work,
        reentrant,
    )
    .heap(Heap::Bump),
    Case::new("a_handler_at_every_instruction_of_a_flush_is_accounted_for", step_through_flush, reentrant)
        .heap(Heap::Bump),
    Case::new("a_handler_at_every_instruction_with_a_stamp_on_every_event", step_through_work, reentrant)
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
    .heap(Heap::Bump),
    Case::new(
        "a_handler_at_every_instruction_of_a_threads_start_is_accounted_for",
        step_through_the_start,
        |ended| {
            assert!(ended.quietly().dump().quality.lost.get(LossReason::Reentrant) > 0);
        },
    )
    .heap(Heap::Bump),
];

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
