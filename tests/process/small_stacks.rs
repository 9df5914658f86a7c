//! P5: a signal handler on a small alternate stack that allocates, in every state of the recorder.
//!
//! Below each stack lies a page that nobody can touch. A stack is filled with a pattern before a handler runs on it, so
//! that what the handler used of it is read off afterwards.

use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

use super::case::{Case, Ended};
use super::heap::Heap;
use super::laws::complete;
use super::tools::{block, free, lossless_point, threads};

pub const CASES: &[Case] = &[
    Case::new("a_handler_with_little_stack_records_and_leaves_the_booking_to_others", handle, is_complete)
        .heap(Heap::Bump),
    Case::new("a_handler_with_little_stack_does_the_same_while_stacks_are_walked", handle, is_complete)
        .heap(Heap::Bump)
        .variables(&[("HEAPLEDGER_STACKS", "auto")]),
    Case::new("a_handler_with_little_stack_does_the_same_with_a_stamp_on_every_event", handle, is_complete)
        .heap(Heap::Bump)
        .variables(&[("HEAPLEDGER_CLOCK", "per-event")]),
];

/// What a handler is given beyond what the system itself puts there: an unoptimised build needs more.
const USABLE_BYTES: usize = if cfg!(debug_assertions) { 12 << 10 } else { 4 << 10 };
const PAGE_BYTES: usize = 4096;
const PATTERN: u8 = 0xa5;
/// The entry of the auxiliary vector with the bytes that the system puts on the stack of a handler at most.
const AT_MINSIGSTKSZ: libc::c_ulong = 51;

/// Pairs of events that the handler makes.
static PAIRS: AtomicU64 = AtomicU64::new(0);
/// Stack pointer of the handler that ran last.
static HANDLED_AT: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handler(_signal: libc::c_int) {
    let here = 0u8;
    HANDLED_AT.store((&raw const here).addr(), SeqCst);
    for pair in 0..PAIRS.load(SeqCst) as usize {
        let size = 16 + pair % 3_000;
        free(block(size), size);
    }
}

/// Installs a small stack for the handler in the calling thread, and returns its lowest address.
fn install_stack() -> *mut u8 {
    // SAFETY: no memory is involved.
    let least = unsafe { libc::getauxval(AT_MINSIGSTKSZ) } as usize;
    let bytes = least.max(libc::MINSIGSTKSZ) + USABLE_BYTES;
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a fresh mapping, of which only this thread and its handler know; its first page becomes the guard.
    unsafe {
        let mapped = libc::mmap(null_mut(), PAGE_BYTES + bytes, access, flags, -1, 0);
        assert_ne!(mapped, libc::MAP_FAILED);
        assert_eq!(libc::mprotect(mapped, PAGE_BYTES, libc::PROT_NONE), 0);
        let low = mapped.byte_add(PAGE_BYTES);
        low.cast::<u8>().write_bytes(PATTERN, bytes);
        let stack = libc::stack_t { ss_sp: low, ss_flags: 0, ss_size: bytes };
        assert_eq!(libc::sigaltstack(&stack, null_mut()), 0);
        low.cast()
    }
}

/// Raises the signal, and prints how many bytes of the stack that starts at `low` were used below the handler's frame.
fn raise_on(low: *mut u8, name: &str, pairs: u64) {
    PAIRS.store(pairs, SeqCst);
    // SAFETY: the handler is installed.
    assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0);
    // SAFETY: the stack lies there, and its end was written to.
    let is_touched = |place: &usize| unsafe { low.add(*place).read_volatile() } != PATTERN;
    let untouched = (0..).find(is_touched).unwrap_or(0);
    println!("{name}={}", HANDLED_AT.load(SeqCst) - low.addr() - untouched);
}

extern "C" fn start_in_handler(_number: *mut c_void) -> *mut c_void {
    let low = install_stack();
    raise_on(low, "start", 1);
    null_mut()
}

fn handle() {
    lossless_point();
    // SAFETY: all zero bytes are a valid action; the handler calls only what it may with an allocator that takes no lock.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        (action.sa_sigaction, action.sa_flags) = (handler as *const () as usize, libc::SA_ONSTACK);
        assert_eq!(libc::sigaction(libc::SIGUSR1, &action, null_mut()), 0);
    }
    threads::<1>(start_in_handler);
    let low = install_stack();
    for (name, pairs) in [("first", 1), ("windows", 200), ("rings", 10_000)] {
        raise_on(low, name, pairs);
        // On the thread's own stack: what waits is booked.
        (0..500).for_each(|_| free(block(40), 40));
    }
    lossless_point();
}

fn is_complete(ended: &Ended) {
    let profile = ended.quietly().dump();
    complete(&profile).unwrap();
    let used = ["start", "first", "windows", "rings"].map(|name| ended.said(name));
    println!("  bytes of stack below the handler's frame, of {USABLE_BYTES}: {used:?}");
}
